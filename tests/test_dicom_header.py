"""Elements of DICOM headers, one at a time: what each is read as, and how series sort by them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset

from accelqsm.errors import InputError
from accelqsm.files.dicom import convert, dataset
from accelqsm.files.dicom.convert import Converted, convert_stacks
from accelqsm.files.dicom.header.parts import FIELD_MAP, part_of
from accelqsm.files.dicom.header.reader import find_files, read_file
from accelqsm.files.dicom.header.records import DicomFile, Frame, Header
from accelqsm.files.dicom.header.values import seconds
from accelqsm.files.dicom.plan import plan_import
from accelqsm.files.dicom.scans import Scan, group_scans
from accelqsm.files.dicom.series import Series, Stack, group_series
from dicom_files import MR, Exam, base, item, parts, save, small_grid, write_enhanced, write_series

GRID = small_grid()
GE, PHILIPS = "GE MEDICAL SYSTEMS", "Philips Medical Systems"


def classic(
    path: Path,
    manufacturer: str = "SIEMENS",
    change: Callable[[Dataset], Any] | None = None,
    **elements: Any,
) -> DicomFile:
    """Header of one slice of 8 x 6 with some elements changed; None leaves one out."""
    data = base(Exam(path, GRID, manufacturer=manufacturer), 5, "gre_qsm")
    data.SOPClassUID, data.SOPInstanceUID = MR, "1.2.3.4"
    data.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    data.EchoTime = 4
    data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 3]
    data.Rows, data.Columns = 8, 6
    data.PixelData = bytes(96)
    for keyword, value in elements.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    if change:
        change(data)
    found = read_file(save(data, path / "one.dcm"))
    assert found is not None
    return found


def test_files_are_found_in_order_at_any_depth_and_hidden_ones_are_not(tmp_path: Path) -> None:
    names = [f"{n:02d}.dcm" for n in range(16)]
    folders = ["", "b", "a/deep", "bids"]
    places = [f"{folder}/{name}".lstrip("/") for folder in folders for name in names]
    hidden = [".one.dcm", "a/.two.dcm", ".trash/three.dcm"]
    for place in np.random.default_rng(0).permutation([*places, *hidden]).tolist():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"")
    found = [str(path.relative_to(tmp_path)) for path in find_files(tmp_path)]
    assert found == [f"{folder}{n}" for folder in ("", "a/deep/", "b/", "bids/") for n in names]
    less = find_files(tmp_path, (tmp_path / "bids").resolve())
    assert [str(path.relative_to(tmp_path)) for path in less] == found[:48]


def header(path: Path, manufacturer: str = "SIEMENS", **elements: Any) -> Header:
    found = classic(path, manufacturer, **elements).header
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("stored", "tesla"),
    [(3, 3.0), (0.064, 0.064), (100, 100), (15000, 1.5), (30000, 3.0), (0, None), (-3, None),
     (None, None)],
)  # fmt: skip
def test_fields_above_any_magnet_are_in_gauss(tmp_path: Path, stored: Any, tesla: Any) -> None:
    found = header(tmp_path, MagneticFieldStrength=stored).field_t
    assert found == (None if tesla is None else pytest.approx(tesla))


@pytest.mark.parametrize(
    ("elements", "gradient", "planar"),
    [
        ({"ScanningSequence": "GR"}, True, False),
        ({"ScanningSequence": None}, None, False),
        ({"ScanningSequence": "SE"}, False, False),
        ({"ScanningSequence": ["GR", "SE"]}, False, False),
        ({"ScanningSequence": ["EP", "GR"]}, True, True),
        ({"ScanningSequence": None, "EchoPulseSequence": "GRADIENT"}, True, False),
        ({"ScanningSequence": None, "EchoPulseSequence": "SPIN"}, False, False),
        ({"ScanningSequence": None, "EchoPulseSequence": "BOTH"}, False, False),
        ({"EchoPulseSequence": "SPIN"}, False, False),
        ({"EchoPlanarPulseSequence": "YES"}, True, True),
        ({"EchoPlanarPulseSequence": "NO"}, True, False),
    ],
)
def test_the_sequence_is_told_by_either_element(
    tmp_path: Path, elements: dict[str, Any], gradient: bool | None, planar: bool
) -> None:
    found = header(tmp_path, **elements)
    assert (found.gradient, found.echo_planar) == (gradient, planar)


@pytest.mark.parametrize(
    ("elements", "inversion"),
    [
        ({}, False),
        ({"InversionTime": 900}, True),
        ({"InversionTime": 0}, False),
        ({"ScanningSequence": ["GR", "IR"]}, True),
        ({"MRModifierSequence": item(InversionRecovery="YES")}, False),  # of no functional group
        (
            {
                "SharedFunctionalGroupsSequence": item(
                    MRModifierSequence=item(InversionRecovery="YES")
                )
            },
            True,
        ),
        (
            {
                "SharedFunctionalGroupsSequence": item(
                    MRModifierSequence=item(InversionRecovery="NO")
                )
            },
            False,
        ),
    ],
)
def test_an_inversion_is_told_by_any_element(
    tmp_path: Path, elements: dict[str, Any], inversion: bool
) -> None:
    assert header(tmp_path, **elements).inversion is inversion


def test_what_is_missing_or_zero_is_unknown(tmp_path: Path) -> None:
    found = header(tmp_path)
    assert (found.number, found.repetition_time_s, found.flip_angle_deg) == (5, 0.04, 15)
    assert (found.shape, found.slices, found.three_d) == ((8, 6), 0, True)
    found = header(
        tmp_path, SeriesNumber=None, RepetitionTime=None, FlipAngle=None, MRAcquisitionType="2D"
    )
    assert (found.number, found.repetition_time_s, found.flip_angle_deg) == (-1, None, None)
    assert not found.three_d
    assert header(tmp_path, SeriesNumber=0, RepetitionTime=0).number == 0
    assert header(tmp_path, RepetitionTime=0).repetition_time_s is None
    for keyword in ("Rows", "Columns"):
        assert classic(tmp_path, **{keyword: 0}).problem == "no image"
    (frame,) = classic(tmp_path, EchoTime=0).frames
    assert frame.echo_time_s is None
    (frame,) = classic(tmp_path).frames
    assert frame.echo_time_s == 0.004
    assert (frame.position, frame.acquisition) == ((0, 0, 3), (0, 0))


def test_slices_that_the_header_promises(tmp_path: Path) -> None:
    def philips(data: Dataset) -> None:
        block = data.private_block(0x2001, "Philips Imaging DD 001", create=True)
        block.add_new(0x18, "SL", 12)

    assert header(tmp_path, NumberOfSlices=9).slices == 9
    assert header(tmp_path, PHILIPS, change=philips).slices == 12
    assert header(tmp_path, PHILIPS, change=philips, NumberOfSlices=14).slices == 14
    assert header(tmp_path, change=philips).slices == 0  # another maker's element


def test_of_ge_the_description_is_the_protocol(tmp_path: Path) -> None:
    names = {"ProtocolName": "whole exam", "SeriesDescription": "WIP swan"}
    assert header(tmp_path, **names).protocol == "whole exam"
    assert header(tmp_path, GE, **names).protocol == "swan"
    assert header(tmp_path, GE, ProtocolName="a", SeriesDescription=None).protocol == "a"
    assert header(tmp_path, ProtocolName="", SeriesDescription="b").protocol == "b"


@pytest.mark.parametrize("kind", ["SS", "bytes"])
@pytest.mark.parametrize(
    ("number", "part"), [(0, "mag"), (1, "phase"), (2, "real"), (3, "imag"), (4, "mag")]
)
def test_of_ge_a_private_number_tells_the_part(
    tmp_path: Path, number: int, part: str, kind: str
) -> None:
    def ge(data: Dataset) -> None:
        block = data.private_block(0x0043, "GEMS_PARM_01", create=True)
        if kind == "SS":
            block.add_new(0x2F, "SS", number)
        else:
            block.add_new(0x2F, "UN", number.to_bytes(2, "little"))

    assert classic(tmp_path, GE, change=ge).frames[0].part == part
    assert classic(tmp_path, "SIEMENS", change=ge).frames[0].part == "mag"


@pytest.mark.parametrize(
    ("words", "component", "part"),
    [
        (("ORIGINAL", "PRIMARY", "P", "ND"), "", "phase"),
        (("ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"), "", "phase"),
        (("P", "M"), "", "mag"),  # the first two words are of another kind
        (("ORIGINAL", "PRIMARY", "OTHER"), "", "mag"),
        (("ORIGINAL", "PRIMARY", "OTHER"), "IMAGINARY", "imag"),
        (("ORIGINAL", "PRIMARY", "M"), "PHASE", "phase"),
        (("ORIGINAL", "PRIMARY", "B0 MAP", "M"), "PHASE", FIELD_MAP),
        (("ORIGINAL", "PRIMARY", "W", "M"), "MAGNITUDE", "water image"),
        (("W", "B0", "R"), "", "real"),
    ],
)
def test_words_tell_the_part(words: tuple[str, ...], component: str, part: str) -> None:
    assert part_of(words, component, None) == part


def test_a_private_number_outweighs_words_but_not_another_kind_of_image() -> None:
    assert part_of(("ORIGINAL", "PRIMARY", "M"), "MAGNITUDE", 1.0) == "phase"
    assert part_of(("ORIGINAL", "PRIMARY", "M"), "REAL", 7.0) == "real"
    assert part_of(("ORIGINAL", "PRIMARY", "FF"), "", 1.0) == "fat fraction"


def test_moments_are_in_order_across_midnight_and_months() -> None:
    moments = [
        ("20251231", "235959.5"),
        ("20260101", "000000"),
        ("20260131", "235900"),
        ("20260201", "00:00:30"),
    ]
    found = [seconds(*moment) for moment in moments]
    assert found == sorted(found)
    assert found[3] - found[2] == 90
    assert found[1] - found[0] == 0.5
    assert seconds("", "101530.25") == 10 * 3600 + 15 * 60 + 30.25
    assert seconds("20260101", "") is None


def test_the_time_of_acquisition_is_that_of_one_element_or_of_two(tmp_path: Path) -> None:
    (one,) = classic(tmp_path, AcquisitionDateTime="20260301101500.5").frames
    (two,) = classic(tmp_path, AcquisitionTime="101500.5").frames
    assert one.acquired_s == two.acquired_s == seconds("20260301", "101500.5")
    (none,) = classic(tmp_path, AcquisitionTime=None).frames
    assert none.acquired_s is None


HEADER = Header(
    series="1.2", study="1", number=5, protocol="gre", manufacturer="SIEMENS", patient_id="P",
    sex="F", age="", study_time="", gradient=True, echo_planar=False, inversion=False, three_d=True,
    field_t=3.0, repetition_time_s=0.04, flip_angle_deg=15.0, shape=(8, 6), slices=0,
)  # fmt: skip
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def but(record: Any, **changes: Any) -> Any:
    return type(record)(**{**vars(record), **changes})


def frame(n: int, **changes: Any) -> Frame:
    own = {
        "path": Path(f"{n}.dcm"), "index": 0, "part": "mag", "echo_time_s": 0.004,
        "image_type": ("ORIGINAL",), "position": (0.0, 0.0, 2.0 * n), "orientation": AXIAL,
        "acquisition": (1.0, 0.0), "acquired_s": 100.0 + n,
    }  # fmt: skip
    return Frame(**{**own, **changes})


def sorted_series(*frames: Frame, **of_header: Any) -> list[Series]:
    head = but(HEADER, **of_header)
    return group_series(
        [DicomFile(f.path, f"{f.path}.{n}", head, (f,)) for n, f in enumerate(frames)]
    )


def test_slices_are_sorted_along_their_normal_and_by_part_and_echo() -> None:
    frames = [
        frame(n, part=part, echo_time_s=t)
        for n, part, t in itertools.product((2, 0, 1), ("phase", "mag"), (0.009, 0.004))
    ]
    (one,) = sorted_series(*frames)
    assert [stack.key for stack in one.stacks] == [
        ("mag", 0.004), ("mag", 0.009), ("phase", 0.004), ("phase", 0.009),
    ]  # fmt: skip
    assert all(stack.places_mm == (0, 2, 4) for stack in one.stacks)
    assert (one.parts, one.echo_times_s, one.acquired_s) == (("mag", "phase"), (0.004, 0.009), 100)
    assert one.problem == ""


@pytest.mark.parametrize(
    ("places_mm", "problem"),
    [
        ((0, 2, 4, 6), ""),
        ((0, 2, 4.03, 6), ""),  # 1.5 % off
        ((0, 2, 4.05, 6), "slices at uneven distances"),
        ((0, 2, 6, 8), "1 slice(s) missing"),
        ((0, 2, 8, 10), "2 slice(s) missing"),
        ((0, 2, 3, 5), "slices at uneven distances"),
        ((0,), "a single slice"),
    ],
)
def test_distances_between_slices_tell_what_is_missing(
    places_mm: tuple[float, ...], problem: str
) -> None:
    assert Stack("mag", 0.004, (), places_mm).problem == problem


@pytest.mark.parametrize("which", [0, 1])
def test_images_of_one_slice_are_repetitions_by_number_or_moment(which: int) -> None:
    def order(count: int) -> tuple[float, float]:
        return (float(count), 0.0) if which == 0 else (1.0, float(count))

    frames = [
        frame(n, path=Path(f"{n}-{count}.dcm"), acquisition=order(count))
        for n in range(3)
        for count in (2, 1)
    ]
    found = sorted_series(*frames)
    assert [one.stacks[0].frames[0][0].name for one in found] == ["0-1.dcm", "0-2.dcm"]
    assert all(one.problem == "" and len(one.stacks[0].places_mm) == 3 for one in found)
    # Of one that was stopped, nobody knows which slices belong together.
    (left,) = sorted_series(*frames[:-1])
    assert left.problem == "several images of each slice (channels or repetitions)"
    assert left.stacks == ()
    # Nor of several in one file, which the converter takes as one.
    (left,) = sorted_series(*(but(f, path=Path("all.dcm")) for f in frames))
    assert left.problem.startswith("several images of each slice")


@pytest.mark.parametrize(
    ("of_frame", "of_header", "problem"),
    [
        ({}, {"gradient": None}, ""),
        ({}, {"gradient": False}, "no gradient echo"),
        ({}, {"echo_planar": True}, "echo-planar images"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "MNIP")}, {},
         "susceptibility-weighted or filtered (MNIP)"),
        ({"image_type": ("DERIVED", "SECONDARY", "M")}, {}, "derived images (DERIVED SECONDARY M)"),
        ({"image_type": ("DERIVED", "SECONDARY", "M")}, {"manufacturer": "GE MEDICAL"}, ""),
        ({"image_type": ("DERIVED", "PRIMARY", "MPR")}, {}, "derived images (DERIVED PRIMARY MPR)"),
        ({"image_type": ("DERIVED", "PRIMARY", "M")}, {}, ""),
        ({"image_type": ("ORIGINAL", "PRIMARY", "MPR")}, {}, ""),
        ({"part": "water image"}, {}, "water image"),
        ({"orientation": None}, {}, "no position or orientation of its slices"),
        ({"position": None}, {}, "no position or orientation of its slices"),
        ({"image_type": ("ORIGINAL", "LOCALIZER")}, {},
         "localiser: slices of several orientations"),
    ],
)  # fmt: skip
def test_why_a_series_is_left(
    of_frame: Mapping[str, Any], of_header: Mapping[str, Any], problem: str
) -> None:
    (one,) = sorted_series(*(frame(n, **of_frame) for n in range(3)), **of_header)
    assert one.problem == problem
    assert bool(one.stacks) == (problem == "")


@pytest.mark.parametrize(("tilt", "problem"), [(9e-4, ""), (1.1e-3, "localiser: slices of")])
def test_slices_are_parallel_to_a_thousandth(tilt: float, problem: str) -> None:
    (one,) = sorted_series(frame(0), frame(1, orientation=(1.0, tilt, 0.0, 0.0, 1.0, 0.0)))
    assert one.problem.startswith(problem)
    assert bool(one.problem) == bool(problem)


def series(number: int, part: str, acquired_s: float | None, *times_s: float) -> Series:
    stacks = [Stack(part, t, (), (0.0, 2.0, 4.0)) for t in times_s or (0.004, 0.009)]
    head = but(HEADER, number=number, series=f"1.2.{number}")
    return Series(head, tuple(stacks), AXIAL, frozenset(), acquired_s, ())


def numbers(scans: list[Scan]) -> list[list[int]]:
    return [[one.header.number for one in scan.series] for scan in scans]


def test_parts_join_the_scan_of_their_time() -> None:
    together = [series(1, "mag", 0.0), series(2, "phase", 60.0)]
    assert numbers(group_scans(together)) == [[1, 2]]
    assert group_scans(together)[0].problem == ""
    assert numbers(group_scans([series(1, "mag", 0.0), series(2, "phase", 60.5)])) == [[1], [2]]
    assert numbers(group_scans([series(1, "mag", None), series(2, "phase", 500.0)])) == [[1, 2]]
    twice = [series(1, "mag", 0.0), series(2, "mag", 30.0), series(3, "phase", 30.0),
             series(4, "phase", 0.0)]  # fmt: skip
    assert numbers(group_scans(twice)) == [[1, 4], [2, 3]]
    # At one time, the nearer number decides.
    same = [series(n, part, 0.0) for n, part in ((1, "mag"), (7, "mag"), (8, "phase"))]
    assert numbers(group_scans(same)) == [[1], [7, 8]]
    unnumbered = [series(3, "mag", 0.0), but(series(1, "mag", 0.0), problem="broken")]
    assert numbers(group_scans(unnumbered)) == [[1], [3]]


@pytest.mark.parametrize(
    ("times_s", "problem"),
    [
        ({"mag": (0.004, 0.009), "phase": (0.009,)}, "phase of 1 of 2 echoes: a phase diff"),
        ({"mag": (0.004, 0.009, 0.014), "phase": (0.009,)}, "phase of 1 of 3 echoes"),
        ({"mag": (0.004, 0.009), "phase": (0.004, 0.009), "real": (0.004,)},
         "real of 1 of 2 echoes"),
        ({"real": (0.004, 0.009), "phase": (0.004, 0.009)}, "phase and real alone, expected mag"),
        ({"real": (0.004, 0.009), "imag": (0.004, 0.009)}, ""),
        ({"mag": (0.004,), "phase": (0.004,)}, "one echo: susceptibility mapping takes several"),
    ],
)  # fmt: skip
def test_which_parts_are_enough(times_s: dict[str, tuple[float, ...]], problem: str) -> None:
    (scan,) = group_scans([series(n, part, 0.0, *t) for n, (part, t) in enumerate(times_s.items())])
    assert scan.problem.startswith(problem)
    assert bool(scan.problem) == bool(problem)


@pytest.mark.parametrize(("off_mm", "fits"), [(0.019, True), (0.021, False)])
def test_stacks_share_their_places(off_mm: float, fits: bool) -> None:
    mag, phase = series(1, "mag", 0.0), series(2, "phase", 0.0)
    moved = tuple(but(s, places_mm=tuple(p + off_mm for p in s.places_mm)) for s in phase.stacks)
    (scan,) = group_scans([mag, but(phase, stacks=moved)])
    assert bool(scan.problem) is not fits
    if not fits:
        assert scan.problem == "phase at 4 ms: slices in other places than those of mag"


def test_promised_slices_and_sizes_are_held_against_what_is_there() -> None:
    mag, phase = series(1, "mag", 0.0), series(2, "phase", 0.0)
    for promised, problem in ((3, ""), (4, "mag at 4 ms has 3 of 4 slices")):
        (scan,) = group_scans([but(mag, header=but(mag.header, slices=promised)), phase])
        assert scan.problem == problem
    (scan,) = group_scans([but(mag, header=but(mag.header, shape=(9, 6))), phase])
    assert scan.problem == "series of different sizes (8 x 6, 9 x 6)"


@pytest.mark.parametrize(
    ("age", "years"),
    [("046Y", "46"), ("089Y", "89"), ("095Y", "89"), ("018M", "1.5"), ("026W", "0.498"),
     ("100D", "0.274"), ("", "n/a"), ("46Y", "n/a")],
)  # fmt: skip
def test_ages_are_in_years_and_of_nobody_who_is_known_by_it(age: str, years: str) -> None:
    assert dataset._age_years(age) == years


def stack_of(n_slices: int = 8, part: str = "mag", echo_time_s: float = 0.004) -> Stack:
    return Stack(part, echo_time_s, (), tuple(2.0 * n for n in range(n_slices)))


def converted(path: Path, shape: tuple[int, ...], name: str = "image_e1", **fields: Any) -> Any:
    image = path / f"{name}.nii.gz"
    nibabel.Nifti1Image(np.ones(shape, np.float32), np.eye(4)).to_filename(image)
    return Converted(image, fields)


def test_a_converted_image_has_the_slices_and_the_echo_of_its_stack(tmp_path: Path) -> None:
    convert._check(stack_of(), converted(tmp_path, (6, 5, 8), EchoTime=0.00401))
    for shape in ((6, 5, 7), (6, 5, 8, 2)):
        with pytest.raises(InputError, match=r"expected 8 slices of mag at 4 ms, found an image"):
            convert._check(stack_of(), converted(tmp_path, shape, EchoTime=0.004))
    with pytest.raises(InputError, match=r"expected mag at 4 ms, found EchoTime 0\.00403 s"):
        convert._check(stack_of(), converted(tmp_path, (6, 5, 8), EchoTime=0.00403))


def test_of_several_images_that_of_part_and_echo_is_taken(tmp_path: Path) -> None:
    wanted = {
        (part, t): converted(tmp_path, (6, 5, 8), f"image_e{n}{ending}", EchoTime=t)
        for ending, part in (("", "mag"), ("_ph", "phase"), ("_real", "real"))
        for n, t in enumerate((0.004, 0.0041))
    }
    nothing = converted(tmp_path, (6, 5, 8), "image_e9")
    several = [*wanted.values(), nothing]
    for (part, t), one in wanted.items():
        stack = stack_of(part=part, echo_time_s=t)
        assert convert._matching(stack, several, alone=False, said="") is one
        # What was converted alone needs no name, but is one image.
        assert convert._matching(stack, [nothing], alone=True, said="") is nothing
        with pytest.raises(InputError, match=r"expected one image of .*, found 2 \(Error: split"):
            convert._matching(stack, several[:2], alone=True, said="a\nError: split\nb\n")
    with pytest.raises(InputError, match=r"expected one image of imag at 4 ms, found 0$"):
        convert._matching(stack_of(part="imag"), several, alone=False, said="")


def test_compressed_frames_are_converted_together_and_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exam = Exam(tmp_path / "dicom", GRID, manufacturer=PHILIPS)
    write_enhanced(exam, 5, parts(GRID, ("mag", "phase"), (0.004, 0.008)))
    (planned,) = plan_import(tmp_path / "dicom").scans
    stacks = list(planned.scan.stacks.values())
    values = []
    for split in (True, False):
        monkeypatch.setattr(convert, "can_split", lambda files, split=split: split)
        made = convert_stacks(stacks, tmp_path)
        values.append([nibabel.load(one.image).get_fdata() for one in made])
    for apart, together in zip(*values, strict=True):
        np.testing.assert_allclose(apart, together, atol=1e-3 * np.ptp(apart))
    assert all(math.isfinite(v.sum()) for v in values[0])


def test_nothing_is_replaced_by_default(tmp_path: Path) -> None:
    exam = Exam(tmp_path / "dicom", GRID)
    write_series(exam, 5, parts(GRID, ("mag", "phase"), (0.004, 0.008)))
    plan = plan_import(tmp_path / "dicom")
    taken = tmp_path / "bids" / plan.scans[0].folder
    taken.mkdir(parents=True)
    name = f"{plan.scans[0].stem}_echo-1_part-mag_MEGRE.nii.gz"
    (taken / name).write_text("of yesterday")
    with pytest.raises(InputError, match="exists already"):
        dataset.import_scans(plan, tmp_path / "bids", tmp_path / "new")
    assert (taken / name).read_text() == "of yesterday"
