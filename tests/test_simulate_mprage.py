"""The T1-weighted scan: the closed form is what a step-by-step simulation gives."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from accelqsm.errors import InputError
from accelqsm.files.nifti import read_image
from accelqsm.grid import centred_grid
from accelqsm.simulate.cohort import Subject
from accelqsm.simulate.heads.head import digital_head
from accelqsm.simulate.mprage import T1W_GRID, Mprage, mprage_signal, t1w_scan
from accelqsm.virtual import scans as virtual
from accelqsm.virtual.protocols import PRESETS

GRID = centred_grid((44, 54, 46), (4.0, 4.0, 4.0), centre_mm=(0.0, -17.0, 4.0))


def stepped(t1_s: float, timing: Mprage, cycles: int = 60) -> float:
    """The signal after many inversions, one excitation at a time."""
    magnetisation, seen = 1.0, 0.0
    before, after = timing.waiting_times_s
    cosine, sine = (f(math.radians(timing.flip_angle_deg)) for f in (math.cos, math.sin))

    def wait(value: float, time_s: float) -> float:
        return 1 - (1 - value) * math.exp(-time_s / t1_s)

    for _ in range(cycles):
        magnetisation = wait((1 - 2 * timing.inversion_efficiency) * magnetisation, before)
        for number in range(timing.n_excitations):
            if number == timing.n_excitations // 2:
                seen = abs(magnetisation) * sine
            magnetisation = wait(cosine * magnetisation, timing.echo_spacing_s)
        magnetisation = wait(magnetisation, after)
    return seen


@pytest.mark.parametrize("t1_s", [0.3, 0.85, 1.45, 4.0])
@pytest.mark.parametrize("timing", [Mprage(), Mprage(2.0, 0.8, 0.009, 121, 12.0, 0.004, 0.9)])
def test_signal_is_the_steady_state_of_the_sequence(t1_s: float, timing: Mprage) -> None:
    one = torch.ones(1, dtype=torch.float64)
    found = float(mprage_signal(0.7 * one, t1_s * one, 20 * one, timing=timing))
    expected = 0.7 * stepped(t1_s, timing) * math.exp(-20 * timing.echo_time_s)
    assert found == pytest.approx(expected, rel=1e-9)


def test_white_matter_is_brighter_than_grey_and_grey_than_fluid() -> None:
    t1_s = torch.tensor([0.85, 1.45, 4.0])
    density = torch.tensor([0.70, 0.82, 1.00])
    white, grey, fluid = mprage_signal(density, t1_s, torch.full((3,), 15.0), timing=Mprage())
    assert white > 1.3 * grey
    assert grey > 1.8 * fluid


def test_scan_has_the_asked_noise_and_repeats() -> None:
    head = digital_head(GRID, seed=3)
    clean, noisy, again = (t1w_scan(head, snr=snr, seed=5) for snr in (1e9, 20.0, 20.0))
    assert torch.equal(noisy, again)
    white = head.brain & (head.t1_s < 1.0) & (head.labels == 0)
    assert float((noisy - clean)[white].std()) == pytest.approx(1000 / 20, rel=0.05)
    assert 750 < float(clean[white].mean()) <= 1000
    air = noisy[0, 0, -6:]
    assert float(air.mean()) == pytest.approx(50 * math.sqrt(math.pi / 2), rel=0.25)


def test_train_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"MPRAGE: expected 400 excitations of 0\.007 s"):
        Mprage(n_excitations=400)
    with pytest.raises(InputError, match="snr: expected a positive number, found 0"):
        t1w_scan(digital_head(GRID, seed=3), snr=0.0, seed=1)


@pytest.mark.slow
def test_the_study_scans_a_head_t1_weighted_in_a_pose_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert T1W_GRID.voxel_size_mm == (1.0, 1.0, 1.0)
    monkeypatch.setattr(virtual, "t1w_grid", lambda _: GRID)
    subject = Subject("sub-01", 45.0, "F", 5, {})
    path = virtual.simulate_t1w(tmp_path, subject, preset=PRESETS["demo"])
    assert path.name == "sub-01_T1w.nii.gz"
    again = virtual.simulate_t1w(tmp_path / "again", subject, preset=PRESETS["demo"])
    assert path.read_bytes() == again.read_bytes()
    image = read_image(path)
    upright = t1w_scan(digital_head(GRID, seed=5), snr=1e9, seed=0).numpy()
    similarity = np.corrcoef(image.values.ravel(), upright.ravel())[0, 1]
    assert 0.7 < similarity < 0.99
