"""Headers of raw files as writers really write them: read right, or one line that says it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.mrd.reader import read_mrd
from accelqsm.fourier import fft
from accelqsm.kspace import KSpace
from raw_object import FOV_MM, SHAPE, encoding, header, lines, save, spectrum

VALUES = spectrum()
LINES = lines(VALUES)
STORAGES = ["scalar", "fixed", "fixed scalar", "strings", "attribute", "vlen"]
USER = "<userParameters><userParameterLong><name>gpu</name><value>{}</value></userParameterLong>{}"


def found(scan: KSpace) -> np.ndarray:
    spectral: np.ndarray = fft(scan.planes(), (-3,)).numpy()
    return spectral


@pytest.mark.parametrize("storage", STORAGES)
def test_the_header_is_found_however_it_is_stored(tmp_path: Path, storage: str) -> None:
    scan = read_mrd(save(tmp_path / "scan.h5", header(), LINES, storage=storage))
    np.testing.assert_allclose(found(scan), VALUES, atol=1e-5)


def test_a_group_of_another_name_is_the_scan_where_it_is_the_only_one(tmp_path: Path) -> None:
    """Not in any case: files of several measurements, of which none may be guessed."""
    path = save(tmp_path / "scan.h5", header(), LINES)
    with h5py.File(path, "r+") as file:
        file.move("dataset", "meas_2")
    np.testing.assert_allclose(found(read_mrd(path)), VALUES, atol=1e-5)
    with h5py.File(path, "r+") as file:
        file.copy("meas_2", "meas_3")
    with pytest.raises(InputError, match=r"scan.h5: expected one scan, found 2: meas_2 meas_3"):
        read_mrd(path)


@pytest.mark.parametrize(
    "beside",
    [
        USER.format("false", "</userParameters>"),
        f"<userParameters>{USER.format(1, '</userParameters>')}</userParameters>",
        "<studyInformation><studyDescription>T1 & T2*</studyDescription></studyInformation>",
        "<subjectInformation><patientName>A<B</patientName></subjectInformation>",
        "<waveformInformation><waveformName>ECG</waveformInformation>",
        "<sequenceParameters><flipAngle_deg>auto</flipAngle_deg></sequenceParameters>",
    ],
)
def test_what_nobody_needs_may_be_anything(tmp_path: Path, beside: str) -> None:
    """The flip angle that is no number stands in a second element, as no case has it."""
    scan = read_mrd(save(tmp_path / "scan.h5", header(beside=beside) + " \n and more", LINES))
    np.testing.assert_allclose(found(scan), VALUES, atol=1e-5)


def test_a_name_that_is_no_utf_8_is_no_reason(tmp_path: Path) -> None:
    path = save(tmp_path / "scan.h5", header(beside="<x>NAME</x>"), LINES)
    with h5py.File(path, "r+") as file:
        text = file["dataset/xml"][0].replace(b"NAME", b"M\xfcller")
        file["dataset/xml"][0] = text
    np.testing.assert_allclose(found(read_mrd(path)), VALUES, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tesla": "", "larmor_hz": "127"}, "H1resonanceFrequency_Hz: .* found 127 (MHz?)"),
        ({"tesla": "", "larmor_hz": "123200"}, "H1resonanceFrequency_Hz: .* found 123200 (kHz?)"),
        ({"tesla": "3000"}, "systemFieldStrength_T: .* found 3000 (millitesla?)"),
        ({"tesla": "30000"}, "systemFieldStrength_T: .* found 30000 (gauss?)"),
        ({"tesla": "0.003"}, "systemFieldStrength_T: .* found 0.003 (kilotesla?)"),
        ({"tesla": "-3"}, "systemFieldStrength_T: .* found -3"),
        ({"tesla": "7"}, "expected the same field, found two"),
        ({"echo_times_ms": (0.004, 0.009, 0.014)}, "TE: expected ms, found .* (seconds?)"),
        ({"echo_times_ms": (4000, 9000, 14000)}, "TE: expected ms, found .* (microseconds?)"),
        ({"encodings": encoding(fov_mm=(0.12, 0.1, 0.08), recon=(SHAPE, (0.12, 0.1, 0.08)))},
         "encoding.encodedSpace.fieldOfView_mm: expected mm, found 0.12 x 0.1 x 0.08 .*metres"),
        ({"encodings": encoding(fov_mm=(12e4, 10e4, 8e4), recon=(SHAPE, (12e4, 10e4, 8e4)))},
         "fieldOfView_mm: expected mm, found 120000 x .* (micrometres, "),
        ({"encodings": encoding(recon=(SHAPE, (0.12, 0.1, 0.08)))},
         "expected fields of view along the readout in one unit, found 120 .* and 0.12"),
        ({"encodings": encoding((24, 20000, 16))}, "expected at most 4096 samples"),
        ({"encodings": encoding().replace("<y>20</y>", "<y>20.5</y>")},
         "matrixSize: expected whole numbers, found 24 20.5 16"),
        ({"encodings": encoding().replace("100.0", "100,0")},
         "fieldOfView_mm.y: expected a number, found '100,0'"),
    ],
)  # fmt: skip
def test_a_value_in_another_unit_is_named(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    """The contradiction of two fields in range (7 T, 127 MHz) is in no case."""
    path = save(tmp_path / "scan.h5", header(**changes), LINES)  # type: ignore[arg-type]
    pattern = message.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?")
    with pytest.raises(InputError, match=pattern) as error:
        read_mrd(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("tesla", "larmor_hz", "expected", "said"),
    [
        ("3.0", "0", 3.0, ""),
        ("3.0", "127732435", 3.0, ""),
        ("", "123200000", 2.8936, ""),
        ("2.97", "127000000", 2.9828, ""),
        ("3.0", "123200000", 2.8936, "differ by 3.5 %; the frequency is taken"),
        ("3.0", "127", 3.0, "the field strength of 3 T is taken"),
        ("3.0", "127.7 MHz", 3.0, "expected a number, found '127.7 MHz'; it is left"),
        ("7.0", "298000000", 7.0, ""),
        ("0.064", "2725000", 0.064, ""),
    ],
)
def test_field_strength_and_frequency_are_weighed(
    tmp_path: Path, tesla: str, larmor_hz: str, expected: float, said: str
) -> None:
    """A nominal 3 T at 123.2 MHz is 2.89 T: the frequency decides, which no case asks for."""
    path = save(tmp_path / "scan.h5", header(tesla=tesla, larmor_hz=larmor_hz), LINES)
    if said:
        with pytest.warns(InputWarning, match=said):
            scan = read_mrd(path)
    else:
        scan = read_mrd(path)
    assert scan.acquisition.field_strength_t == pytest.approx(expected, rel=1e-4)


def test_a_head_in_centimetres_is_not_told_from_an_animal(tmp_path: Path) -> None:
    """Both have voxels of 0.1 mm: no case can be refused for it, but it is said."""
    fov_mm = (12.0, 10.0, 8.0)
    values = np.repeat(VALUES, 3, axis=2)
    text = header(encodings=encoding((72, 20, 16), fov_mm, recon=((72, 20, 16), fov_mm)))
    with pytest.warns(InputWarning, match="smaller than a head; if these are centimetres"):
        read_mrd(save(tmp_path / "scan.h5", text, lines(values)))


def turned(
    read: tuple[float, ...], phase: tuple[float, ...], along: tuple[float, ...]
) -> np.ndarray:
    made = LINES.copy()
    made["head"]["read_dir"], made["head"]["phase_dir"] = read, phase
    made["head"]["slice_dir"] = along
    return made


NONE = (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("axes", "said", "b0"),
    [
        ((NONE, NONE, NONE), r"perpendicular directions .* --b0-direction X Y Z", (0, 0, 1)),
        (((0, 0, 1), (1, 0, 0), (1, 0, 0)), "expected perpendicular directions", (0, 0, 1)),
        (((np.nan, 0, 1), (1, 0, 0), (0, 1, 0)), "expected perpendicular directions", (0, 0, 1)),
        (((0, 0, 1), (1, 0, 0), NONE), "slice_dir is taken for read_dir x phase_dir", (1, 0, 0)),
        (((0, 0.03, 1), (1, 0, 0), (0, 1, 0)), "not quite perpendicular", (1, 0, -0.015)),
        (((0, 0, 250), (2, 0, 0), (0, 2, 0)), "", (1, 0, 0)),
    ],
)  # fmt: skip
def test_directions_that_say_nothing_are_asked_for(
    tmp_path: Path, axes: tuple[tuple[float, ...], ...], said: str, b0: tuple[float, ...]
) -> None:
    """Directions longer than 1 (the last) say where B0 is, although no case has them."""
    path = save(tmp_path / "scan.h5", header(), turned(*axes))
    if said:
        with pytest.warns(InputWarning, match=said):
            scan = read_mrd(path)
    else:
        scan = read_mrd(path)
    assert scan.acquisition.b0_direction == pytest.approx(b0, abs=2e-3)
    asked = read_mrd(path, b0_direction=(1.0, 0.0, 0.0))
    assert asked.b0_direction == (1.0, 0.0, 0.0)


def test_lines_of_several_orientations_are_noticed(tmp_path: Path) -> None:
    made = LINES.copy()
    made["head"]["read_dir"][100:], made["head"]["phase_dir"][100:] = (0, -1, 0), (1, 0, 0)
    with pytest.warns(InputWarning, match="expected one orientation in all lines, found several"):
        read_mrd(save(tmp_path / "scan.h5", header(), made))


def test_the_field_of_view_of_a_head_is_as_it_was(tmp_path: Path) -> None:
    scan = read_mrd(save(tmp_path / "scan.h5", header(), LINES))
    sizes = [mm / n for mm, n in zip(FOV_MM, SHAPE, strict=True)]
    assert scan.acquisition.voxel_size_mm == pytest.approx(sizes)
