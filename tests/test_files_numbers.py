"""Numbers that decide how a file is read: times of day, neighbours across a wrap, signs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from accelqsm.errors import InputError
from accelqsm.files.dicom.header.values import seconds
from accelqsm.files.megre.phase_unit import _wrap_fraction
from accelqsm.files.megre.signal import complex_echoes


def test_times_of_dicom_are_seconds() -> None:
    assert seconds("", "010203.5") == 3723.5
    assert seconds("", "23:59:59") == 86399.0
    assert seconds("20260302", "000000") - seconds("20260301", "230000") == 3600.0
    assert seconds("20260301", "") is None


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("step", [1, -1])
def test_a_wrap_is_a_neighbour_of_the_top_at_the_bottom(axis: int, step: int) -> None:
    """Two ramps from 1 to 10: of the three neighbours of both tops one is at the bottom."""
    shape = [1, 1, 1]
    shape[axis] = 20
    echo = np.tile(np.arange(1.0, 11.0), 2)[::step].reshape(shape)
    assert _wrap_fraction([echo], 1.0, 10.0) == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", ["real", "imag"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_part_of_one_sign_and_zeros_is_refused(name: str, sign: float) -> None:
    both = np.array([-1.0, 0.0, 2.0, 1.0]).reshape(2, 2, 1)
    parts: dict[str, Any] = {
        part: [SimpleNamespace(path=Path(f"{part}.nii"), values=values)]
        for part, values in {"real": both, "imag": both, name: sign * np.abs(both)}.items()
    }
    with pytest.raises(InputError, match=rf"^{name}\.nii: expected .* parts of both signs"):
        complex_echoes(parts)
