"""A crop of a real head: the unwrapped field is congruent and has no wrap lines."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from accelqsm.cli import main
from accelqsm.files.megre.phase import phase_rad
from accelqsm.files.nifti import read_image, read_volume

DATA = Path(__file__).parents[2] / "shared" / "data" / "romeo_small"
ECHO_TIMES_S = (0.004, 0.008, 0.012)

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="../shared/data/romeo_small is absent (real multi-echo phase)"
)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Maps from the published lag-1 estimator, whose field is the unwrapped phase itself."""
    out = tmp_path_factory.mktemp("romeo")
    (out / "lag1.toml").write_text('[qsm]\nfield_mode = "lag1"\n')
    words = ["qsm", "--magnitude", str(DATA / "Mag.nii"), "--phase", str(DATA / "Phase.nii")]
    words += ["--echo-times-s", *map(str, ECHO_TIMES_S), "--b0-tesla", "3"]
    assert main([*words, "--settings", str(out / "lag1.toml"), str(out)]) == 0
    return out


def unwrapped_rad(mapped: Path) -> np.ndarray:
    field_hz = np.asarray(read_volume(mapped / "fieldmap.nii.gz").values, dtype=np.float64)
    return 2 * math.pi * field_hz * (ECHO_TIMES_S[1] - ECHO_TIMES_S[0])


def test_unwrapped_phase_differs_from_the_wrapped_by_whole_turns_everywhere(mapped: Path) -> None:
    magnitude = read_image(DATA / "Mag.nii").stored
    (phase,) = phase_rad([read_image(DATA / "Phase.nii")])
    echoes = magnitude.astype(np.complex128) * np.exp(1j * phase)
    wrapped = np.angle((echoes[..., :-1].conj() * echoes[..., 1:]).sum(-1))
    turns = (unwrapped_rad(mapped) - wrapped) / (2 * math.pi)
    assert np.abs(turns - np.round(turns)).max() < 1e-4


def test_no_wrap_line_is_left_in_the_mask(mapped: Path) -> None:
    phase = unwrapped_rad(mapped)
    inside = np.asarray(read_volume(mapped / "mask.nii.gz").values) > 0
    assert inside.mean() > 0.3
    for axis in range(3):
        both = np.minimum(
            inside.take(range(1, inside.shape[axis]), axis),
            inside.take(range(inside.shape[axis] - 1), axis),
        )
        jumps = np.abs(np.diff(phase, axis=axis))[both]
        assert jumps.max() < math.pi
