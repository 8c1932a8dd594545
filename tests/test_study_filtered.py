"""High-pass filtered phase is told from a shimmed head, simulated and real, by a wide margin."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputWarning
from accelqsm.files.megre.description import describe_scan, find_files
from accelqsm.files.megre.echoes import read_scan
from accelqsm.files.nifti import read_image, write_image
from accelqsm.grid import centred_grid
from accelqsm.pipeline.images import warn_of_losses
from accelqsm.qsm.filtered import looks_filtered, slow_phase_rad


def homodyne(image: np.ndarray, n_lines: int) -> np.ndarray:
    """An image whose phase went through the filter of susceptibility weighting."""
    axes = (0, 1)
    spectrum = np.fft.fftshift(np.fft.fft2(image, axes=axes), axes=axes)
    lines = []
    for axis in axes:
        offset = np.arange(image.shape[axis]) - image.shape[axis] // 2
        hamming = 0.54 + 0.46 * np.cos(math.tau * offset / n_lines)
        lines.append(hamming * (2 * np.abs(offset) <= n_lines))
    window = np.multiply.outer(*lines)[..., None]
    low = np.fft.ifft2(np.fft.ifftshift(spectrum * window, axes=axes), axes=axes)
    return np.abs(image) * np.exp(1j * np.angle(image * low.conj()))


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, Acquisition]:
    """A shimmed head at TE 5 and 20 ms, 192 x 224 x 132 mm, (echo, x, y, z), with noise."""
    from accelqsm.simulate.heads.head import digital_head
    from accelqsm.simulate.scanner import transverse_signal

    grid = centred_grid((48, 56, 22), (4.0, 4.0, 6.0), centre_mm=(0, -16, 8))
    acquisition = Acquisition(grid, (0.005, 0.020), 3.0, 0.03, 15.0)
    signal = transverse_signal(digital_head(grid, seed=3), acquisition, seed=3).numpy()
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, *signal.shape)) * np.abs(signal).max() / 100
    return signal + noise[0] + 1j * noise[1], acquisition


def slow_ppm(image: np.ndarray, acquisition: Acquisition, echo: int) -> float:
    slow_rad = slow_phase_rad(
        torch.from_numpy(image.astype(np.complex64)), voxel_size_mm=acquisition.voxel_size_mm
    )
    return slow_rad / (math.tau * 42.577 * 3.0 * acquisition.echo_times_s[echo])


@pytest.mark.parametrize("n_lines", [32, 64])
def test_homodyne_filtered_phase_is_told_from_a_shimmed_head_by_a_wide_margin(
    head: tuple[np.ndarray, Acquisition], n_lines: int
) -> None:
    images, acquisition = head
    filtered = np.stack([homodyne(image, n_lines) for image in images])
    for echo in (0, 1):
        assert slow_ppm(images[echo], acquisition, echo) > 4 * 0.012
        assert slow_ppm(filtered[echo], acquisition, echo) < 0.8 * 0.012
    assert not looks_filtered(torch.from_numpy(images)[None], acquisition)
    assert looks_filtered(torch.from_numpy(filtered)[None], acquisition)
    # One echo that is not flat is enough to be believed.
    mixed = np.stack([images[0], filtered[1]])
    assert not looks_filtered(torch.from_numpy(mixed)[None], acquisition)


def test_phase_that_looks_filtered_is_warned_of(
    tmp_path: Path, head: tuple[np.ndarray, Acquisition]
) -> None:
    images, acquisition = head
    names: dict[str, list[Path]] = {"mag": [], "phase": []}
    for echo, image in enumerate(images):
        for part, values in (("mag", np.abs(image)), ("phase", np.angle(homodyne(image, 64)))):
            names[part].append(tmp_path / f"{part}{echo}.nii")
            write_image(names[part][-1], values.astype(np.float32), acquisition.grid)
    scan = describe_scan(
        find_files(names["mag"], names["phase"]), echo_times_s=(0.005, 0.020), field_strength_t=3.0
    )
    with pytest.warns(InputWarning) as warned:
        warn_of_losses(read_scan(scan))
    (message,) = (str(warning.message) for warning in warned)
    assert message == (
        f"{tmp_path}/phase0.nii: phase is almost zero over 20 mm (in a small object, over "
        "as much less) in every echo, as high-pass "
        "filtered (SWI) phase is; if it was filtered, the map is wrong"
    )


@pytest.mark.parametrize(
    ("echo_time_s", "strength_t", "limit_rad"),
    # 2 pi 42.577 Hz/T B0 TE 0.012 ppm, and at most 0.2 rad.
    [(0.005, 3.0, 0.04815), (0.020, 3.0, 0.19262), (0.030, 3.0, 0.2), (0.020, 7.0, 0.2)],
)
def test_the_limit_of_filtered_phase_is_where_it_is_said_to_be(
    echo_time_s: float, strength_t: float, limit_rad: float
) -> None:
    """A uniform phase passes every low-pass filter as it is."""
    grid = centred_grid((16, 16, 12), (8.0, 8.0, 8.0))
    inside = np.zeros((16, 16, 12))
    inside[2:-2, 2:-2, 2:-2] = 1
    acquisition = Acquisition(grid, (echo_time_s,), strength_t)
    for share in (0.97, 1.03):
        image = torch.from_numpy(inside * np.exp(1j * share * limit_rad)).to(torch.complex64)
        slow_rad = slow_phase_rad(image, voxel_size_mm=grid.voxel_size_mm)
        assert slow_rad == pytest.approx(share * limit_rad, rel=1e-4)
        assert looks_filtered(image[None, None], acquisition) == (share < 1)


DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent (real phase)")
def test_real_unfiltered_phase_is_far_from_looking_filtered() -> None:
    crop = DATA / "romeo_small"
    magnitude, phase = (read_image(crop / f"{name}.nii").stored for name in ("Mag", "Phase"))
    images = np.moveaxis(magnitude * np.exp(1j * phase), -1, 0)
    acquisition = Acquisition(read_image(crop / "Mag.nii").grid, (0.004, 0.008, 0.012), 3.0)
    assert min(slow_ppm(images[n], acquisition, n) for n in range(3)) > 8 * 0.012
    ge = DATA / "ge_invivo_fieldmap"
    strength = read_image(ge / "GE_6_CV_Neuro_HH_Adv.nii")
    field_hz = read_image(ge / "GE_6_CV_Neuro_HH_Adv_fieldmaphz.nii").values
    acquisition = Acquisition(strength.grid, (0.005, 0.030), 3.0)
    for echo, t in enumerate(acquisition.echo_times_s):
        image = strength.values * np.exp(2j * math.pi * t * field_hz)
        assert slow_ppm(image, acquisition, echo) > 5 * 0.012
        assert slow_ppm(homodyne(image, 64), acquisition, echo) < 0.25 * 0.012
