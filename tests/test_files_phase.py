"""Phase as files store it: every convention gives the same angle, and guesses are refused."""

from __future__ import annotations

import math
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

from accelqsm.errors import InputError
from accelqsm.files.megre.phase import given_unit, phase_rad, phase_unit
from accelqsm.files.nifti import Image, read_volume
from scan_files import GRID, as_siemens, echoes

TRUTH = [np.angle(image) for image in echoes()]
EXPECTED = (
    "expected phase in radians (-pi..pi or 0..2 pi), milliradians, 0..4095 or -4096..4096, found "
)
SETTLES = " (--phase-range LOW HIGH settles it)"


def images(values: list[np.ndarray], stored: list[np.ndarray] | None = None) -> list[Image]:
    pairs = zip(values, values if stored is None else stored, strict=True)
    return [Image(Path(f"phase{n}.nii"), GRID, v, s) for n, (v, s) in enumerate(pairs, start=1)]


def error_rad(found: list[np.ndarray]) -> float:
    differences = [np.angle(np.exp(1j * (f - t))) for f, t in zip(found, TRUTH, strict=True)]
    return float(np.abs(differences).max())


def siemens(step: int) -> list[np.ndarray]:
    half = 4096 // step
    return [((t * half / math.pi).round().clip(-half, half - 1) * step) for t in TRUTH]


@pytest.mark.parametrize(
    ("name", "values", "tolerance_rad"),
    [
        ("-pi..pi", TRUTH, 1e-6),
        ("0..2 pi", [np.mod(t, 2 * math.pi) for t in TRUTH], 1e-6),
        ("-4096..4096", siemens(1), 8e-4),
        ("-4096..4096", siemens(2), 2e-3),
        ("-4096..4096", siemens(4), 4e-3),
        ("0..4095", [((t + math.pi) * 4095 / (2 * math.pi)).round() for t in TRUTH], 1e-3),
        ("milliradians", [(1000 * t).round() for t in TRUTH], 6e-4),
        ("milliradians", [(1000 * t / 1.53455).round() * 1.53455 for t in TRUTH], 1e-3),
    ],
)
def test_every_convention_is_recognised_and_gives_the_same_angle(
    name: str, values: list[np.ndarray], tolerance_rad: float
) -> None:
    found = images(values)
    assert phase_unit(found).name == name
    assert error_rad(phase_rad(found)) < tolerance_rad
    assert max(float(np.abs(p).max()) for p in phase_rad(found)) < math.pi + 0.01


def header(tmp_path: Path, stored: np.ndarray, slope: float, intercept: float = 0.0) -> Image:
    raw = bytearray(nibabel.Nifti1Image(stored, GRID.matrix).to_bytes())
    raw[112:116], raw[116:120] = np.float32(slope).tobytes(), np.float32(intercept).tobytes()
    (tmp_path / "phase.nii").write_bytes(bytes(raw))
    return read_volume(tmp_path / "phase.nii")


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "name", "as_stored"),
    [
        (as_siemens(TRUTH[2]) // 2 + 2048, 2.0, -4096.0, "-4096..4096", False),
        (as_siemens(TRUTH[2]), 2.0, -4096.0, "-4096..4096", True),
        (as_siemens(TRUTH[2]), 0.37, 0.0, "-4096..4096", True),
        (as_siemens(TRUTH[2]), math.pi / 4096, 0.0, "-pi..pi", False),
        (TRUTH[2].astype(np.float32), 0.00117, 0.0, "-pi..pi", True),
        (TRUTH[2].astype(np.float32), 0.73, 0.0, "-pi..pi", True),
        ((TRUTH[2] / 5).astype(np.float32), 5.0, 0.0, "-pi..pi", False),
    ],
)
def test_a_slope_counts_only_where_the_values_obey_a_rule_with_it(
    tmp_path: Path, stored: np.ndarray, slope: float, intercept: float, name: str, as_stored: bool
) -> None:
    image = header(tmp_path, stored, slope, intercept)
    unit = phase_unit([image])
    assert (unit.name, unit.stored) == (name, as_stored)
    angle = unit.radians(image)
    assert np.abs(np.angle(np.exp(1j * (angle - TRUTH[2])))).max() < 2e-3


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([t * 4000 / math.pi for t in TRUTH], "-4000..4000"),
        ([(t * 3600 / math.pi).round() for t in TRUTH], "-3600..3600"),
        ([t / math.pi for t in TRUTH], "-1..1"),
        ([t / 2 / math.pi + 0.5 for t in TRUTH], "0..1"),
        ([t / 2 / math.pi for t in TRUTH], "-0.5..0.5"),
        ([t.round() for t in TRUTH], "-3..3"),
        ([t * 500 / math.pi for t in TRUTH], "-500..500"),
        ([np.clip(t, 0, 1) * 2000.0 for t in TRUTH], "0..2000"),
        ([t * 0.05 for t in TRUTH], "-0.157..0.157"),
    ],
)
def test_a_range_of_nobody_is_refused(values: list[np.ndarray], shown: str) -> None:
    with pytest.raises(InputError) as refused:
        phase_unit(images(values))
    found = re.fullmatch(
        re.escape(f"phase1.nii: {EXPECTED}") + r"(\S+)\.\.(\S+)" + re.escape(SETTLES),
        str(refused.value),
    )
    assert found
    expected = [float(end) for end in shown.split("..")]
    assert [float(end) for end in found.groups()] == pytest.approx(expected, rel=2e-3, abs=1e-3)


@pytest.mark.parametrize(
    ("scale", "offset", "step", "name"),
    [
        (1 / math.pi, 0.0, 0, "-1..1"),
        (500 / math.pi, 0.0, 0, "-500..500"),
        (500 / math.pi, 0.0, 4, "-500..496"),
        (2000 / math.pi, 2000.0, 0, "0..4000"),
    ],
)
def test_an_arbitrary_range_is_one_turn_where_its_ends_touch(
    scale: float, offset: float, step: int, name: str
) -> None:
    values = [t * scale + offset for t in TRUTH]
    if step:
        values = [((v / step).round() * step).clip(-500, 500 - step) for v in values]
    unit = phase_unit(images(values), units="arbitrary")
    low, high = (float(end) for end in name.split(".."))
    assert unit.low == pytest.approx(low, abs=2e-3 * (high - low))
    assert unit.high - unit.low == pytest.approx(high - low + step, rel=2e-3 * (step == 0))
    assert "whole circle" in unit.name
    offset_rad = phase_rad(images(values), unit)[0] - TRUTH[0]
    assert np.abs(np.angle(np.exp(1j * offset_rad))).max() < 0.03


def unwrapped_rad() -> list[np.ndarray]:
    x, y, z = GRID.world_mm()
    return [scale * (x + 0.3 * y + 0.1 * z) for scale in (0.1, 0.2)]


def with_one_spike() -> list[np.ndarray]:
    spiked = [t * 100 for t in TRUTH]
    spiked[0][3, 4, 5], spiked[0][4, 4, 5] = 5000.0, -5000.0
    return spiked


@pytest.mark.parametrize(
    "values",
    [
        [v * 50 for v in unwrapped_rad()],
        with_one_spike(),
        [t * 700 + 300 for t in TRUTH],
        [np.where(np.abs(t) < 2, 100 + t, 0) for t in TRUTH],
    ],
)
def test_an_arbitrary_range_without_wraps_or_middle_is_refused(values: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match=re.escape(EXPECTED)):
        phase_unit(images(values), units="arbitrary")


def test_arbitrary_radians_must_reach_both_ends_and_declared_radians_need_not() -> None:
    assert phase_unit(images(TRUTH), units="arbitrary").name == "-pi..pi"
    half = [t / 3 for t in unwrapped_rad()]
    assert phase_unit(images(half)).name == "-pi..pi"
    with pytest.raises(InputError, match=re.escape(EXPECTED)):
        phase_unit(images(half), units="arbitrary")
    little = images([t * 0.05 for t in TRUTH])
    assert phase_unit(little, units="rad").name == "-pi..pi"
    assert phase_unit(images([t / math.pi for t in TRUTH]), units="rad").name == "-pi..pi"


def test_units_that_the_values_contradict_are_refused() -> None:
    message = (
        'phase1.nii: expected radians, as Units "rad" says, found -4096..4094'
        "(--phase-range LOW HIGH settles it)"
    ).replace("4094(", "4094 (")
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        phase_unit(images(siemens(2)), units="rad")


def test_a_given_range_maps_its_ends_to_minus_pi_and_pi() -> None:
    values = images([t * 4000 / math.pi + 100 for t in TRUTH])
    unit = given_unit(values, -3900, 4100)
    assert error_rad(phase_rad(values, unit)) < 1e-5
    assert unit.name == "-3900..4100, as given"


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (4096, -4096, "--phase-range: expected LOW below HIGH, found 4096 -4096"),
        (0, math.inf, "--phase-range: expected LOW below HIGH, found 0 inf"),
        (
            0,
            4095,
            "phase1.nii: expected phase of the range 0..4095 (--phase-range), found -4096..4094",
        ),
    ],
)
def test_a_given_range_must_be_that_of_the_values(low: float, high: float, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        given_unit(images(siemens(2)), low, high)
    with pytest.raises(InputError, match=r"^phase1.nii: expected phase of the range 0..4095 "):
        given_unit(images(TRUTH), 0, 4095)


def test_constant_phase_is_refused_but_may_be_the_reference_of_the_others() -> None:
    flat = np.zeros(GRID.shape)
    for values, number in (([flat], 1), ([TRUTH[0], flat + 3], 2)):
        message = (
            f"phase{number}.nii: expected phase that varies, found {number * 3 - 3} everywhere"
        )
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            phase_unit(images(values))
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            given_unit(images(values), -4, 4)
    assert phase_unit(images([flat, TRUTH[1]])).name == "-pi..pi"
