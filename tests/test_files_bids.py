"""BIDS names and sidecars: which files are one scan, and which JSON fields apply to an image."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from accelqsm.errors import InputError
from accelqsm.files.megre.bids import bids_name, find_megre
from accelqsm.files.megre.sidecar import (
    check_unfiltered,
    read_sidecar,
    sidecar_b0_direction,
    sidecar_echo_times_s,
    sidecar_field_strength_t,
    sidecar_phase_units,
)
from scan_files import echo_path, write_json


def touch(folder: Path, *scans: str, echoes: tuple[int, ...] = (1, 2), end: str = "nii.gz") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for scan in scans:
        for echo in echoes:
            for part in ("mag", "phase"):
                echo_path(folder, echo, part, scan, end).touch()


def refusal(message: str) -> str:
    """A pattern for exactly this message."""
    return f"^{re.escape(message)}$"


def test_a_name_falls_into_entities_and_suffix() -> None:
    name = bids_name(Path("sub-01/sub-01_acq-af4_run-2_echo-03_part-mag_MEGRE.nii.gz"))
    assert name.scan == "sub-01_acq-af4_run-2"
    assert (name.echo, name.label("part"), name.suffix) == (3, "mag", "MEGRE")
    plain = bids_name(Path("phase_e1.nii"))
    assert (plain.entities, plain.suffix, plain.echo) == ((), "phase_e1", None)


def test_a_scan_is_found_by_folder_prefix_or_file_in_the_order_of_echo_numbers(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "sub-01", echoes=(10, 2, 1))
    (tmp_path / "sub-01_T1w.nii.gz").touch()
    (tmp_path / "sub-01_echo-1_part-real_MEGRE.nii.gz").touch()
    expected = tuple(echo_path(tmp_path, n, "mag", end="nii.gz") for n in (1, 2, 10))
    for where in (tmp_path, tmp_path / "sub-01", tmp_path / "sub-01_", expected[1]):
        files = find_megre(where)
        assert files.magnitude == expected
        assert files.phase == tuple(
            echo_path(tmp_path, n, "phase", end="nii.gz") for n in (1, 2, 10)
        )


def test_a_prefix_ends_with_a_whole_entity_and_an_exact_one_wins(tmp_path: Path) -> None:
    touch(tmp_path, "sub-01", "sub-01_run-1", "sub-01_run-10", end="nii")
    assert find_megre(tmp_path / "sub-01_run-1").phase[0].name.startswith("sub-01_run-1_")
    assert find_megre(tmp_path / "sub-01").phase[0].name.startswith("sub-01_echo")
    touch(tmp_path, "sub-02_acq-af4", "sub-021_acq-af4")
    assert find_megre(tmp_path / "sub-02").phase[0].name.startswith("sub-02_acq-af4_")


def test_two_scans_in_a_folder_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "sub-01_acq-af3", "sub-01_acq-af4")
    message = (
        f"{tmp_path}: expected the files of one scan, found those of 2: "
        "sub-01_acq-af3, sub-01_acq-af4"
    )
    with pytest.raises(InputError, match=refusal(message)):
        find_megre(tmp_path)


@pytest.mark.parametrize(("missing", "present"), [("phase", "mag"), ("mag", "phase")])
def test_an_echo_without_one_of_its_parts_is_named(
    tmp_path: Path, missing: str, present: str
) -> None:
    touch(tmp_path, "sub-01")
    echo_path(tmp_path, 2, missing, end="nii.gz").unlink()
    message = (
        f"{echo_path(tmp_path, 2, present, end='nii.gz')}: expected a part-{missing} file of "
        "echo 2 in its folder, found none"
    )
    with pytest.raises(InputError, match=refusal(message)):
        find_megre(tmp_path)


def test_an_echo_that_is_there_twice_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "sub-01")
    twin = echo_path(tmp_path, 1, "mag", end="nii")
    twin.touch()
    message = (
        f"{echo_path(tmp_path, 1, 'mag', end='nii.gz')}: expected one part-mag file of echo 1, "
        f"found also {twin}"
    )
    with pytest.raises(InputError, match=refusal(message)):
        find_megre(tmp_path)


def test_what_is_there_instead_is_shown(tmp_path: Path) -> None:
    expected = (
        "expected files named *_echo-<n>_part-mag_MEGRE.nii[.gz] and "
        "*_echo-<n>_part-phase_MEGRE.nii[.gz], found "
    )
    with pytest.raises(InputError, match=refusal(f"{tmp_path}: {expected}no NIfTI file")):
        find_megre(tmp_path)
    for n in range(6):
        (tmp_path / f"sub-01_run-{n}_bold.nii.gz").touch()
    shown = ", ".join(f"sub-01_run-{n}_bold.nii.gz" for n in range(4)) + " and 2 more"
    with pytest.raises(InputError, match=refusal(f"{tmp_path / 'sub-01'}: {expected}{shown}")):
        find_megre(tmp_path / "sub-01")
    with pytest.raises(InputError, match=refusal(f"{tmp_path / 'no'}: no such folder")):
        find_megre(tmp_path / "no" / "sub-01")


def test_fields_are_inherited_from_the_root_down_and_the_more_specific_name_wins(
    tmp_path: Path,
) -> None:
    root, anat = tmp_path / "data", tmp_path / "data" / "sub-01" / "anat"
    image = echo_path(anat, 2, "phase")
    write_json(tmp_path / "MEGRE.json", {"above": 1})
    write_json(root / "dataset_description.json", {})
    write_json(root / "MEGRE.json", {"a": "root", "b": "root", "c": "root", "d": "root"})
    write_json(root / "part-phase_MEGRE.json", {"d": "part"})
    write_json(root / "sub-01" / "sub-01_MEGRE.json", {"b": "subject", "c": "subject"})
    write_json(anat / "sub-01_echo-2_MEGRE.json", {"c": "echo"})
    write_json(anat / "sub-01_echo-2_part-phase_MEGRE.json", {"e": "own"})
    for other in ("sub-01_echo-1_MEGRE", "sub-01_part-mag_MEGRE", "sub-01_T1w"):
        write_json(anat / f"{other}.json", {"a": "another file's"})
    sidecar = read_sidecar(image)
    assert sidecar.fields == {"a": "root", "b": "subject", "c": "echo", "d": "part", "e": "own"}
    assert sidecar.sources["b"] == root / "sub-01" / "sub-01_MEGRE.json"


def test_without_a_dataset_only_the_images_folder_counts(tmp_path: Path) -> None:
    write_json(tmp_path / "MEGRE.json", {"a": 1})
    write_json(tmp_path / "anat" / "sub-01_MEGRE.json", {"b": 2})
    assert read_sidecar(echo_path(tmp_path / "anat", 1, "mag")).fields == {"b": 2}


def test_a_file_outside_bids_has_the_sidecar_of_its_own_name_only(tmp_path: Path) -> None:
    write_json(tmp_path / "gre_e1_ph.json", {"EchoTime": 0.005})
    write_json(tmp_path / "ph.json", {"EchoTime": 0.5})
    assert read_sidecar(tmp_path / "gre_e1_ph.nii.gz").fields == {"EchoTime": 0.005}
    assert read_sidecar(tmp_path / "gre_e2_ph.nii.gz").fields == {}


def sidecar_of(folder: Path, fields: dict[str, object], name: str = "phase") -> object:
    write_json(folder / f"{name}.json", fields)
    return read_sidecar(folder / f"{name}.nii")


def test_fields_come_in_their_units(tmp_path: Path) -> None:
    sidecar = sidecar_of(
        tmp_path,
        {"EchoTime": 0.02, "MagneticFieldStrength": 3, "B0_dir": [0, 3, 4], "Units": "rad"},
    )
    assert sidecar_echo_times_s(sidecar) == (0.02,)
    assert sidecar_field_strength_t(sidecar) == 3.0
    assert sidecar_b0_direction(sidecar) == (0.0, 0.6, 0.8)
    assert sidecar_phase_units(sidecar) == "rad"
    many = sidecar_of(tmp_path, {"EchoTime": [0.004, 0.009]})
    assert sidecar_echo_times_s(many) == (0.004, 0.009)
    nothing = sidecar_of(tmp_path, {})
    for read in (
        sidecar_echo_times_s,
        sidecar_field_strength_t,
        sidecar_b0_direction,
        sidecar_phase_units,
    ):
        assert read(nothing) is None


@pytest.mark.parametrize(
    ("read", "key", "value", "message"),
    [
        (
            sidecar_echo_times_s,
            "EchoTime",
            4.6,
            "echo times: expected seconds below 0.5, found '4.6' (milliseconds? divide by 1000)",
        ),
        (
            sidecar_echo_times_s,
            "EchoTime",
            "4",
            'EchoTime: expected seconds, such as 0.02, found "4"',
        ),
        (
            sidecar_echo_times_s,
            "EchoTime",
            [],
            "EchoTime: expected seconds, such as 0.02, found []",
        ),
        (
            sidecar_field_strength_t,
            "MagneticFieldStrength",
            30000,
            "field strength: expected a value in tesla, such as 3, found 30000",
        ),
        (
            sidecar_field_strength_t,
            "MagneticFieldStrength",
            True,
            "MagneticFieldStrength: expected tesla, such as 3, found true",
        ),
        (
            sidecar_b0_direction,
            "B0_dir",
            [0, 0, 0],
            "B0 direction: expected three numbers, not all 0, found [0, 0, 0]",
        ),
        (sidecar_b0_direction, "B0_dir", "z", 'B0_dir: expected three numbers, found "z"'),
        (sidecar_phase_units, "Units", "Hz", 'Units: expected "rad" or "arbitrary", found "Hz"'),
    ],
)
def test_unusable_fields_are_named_with_their_file(
    tmp_path: Path, read: object, key: str, value: object, message: str
) -> None:
    sidecar = sidecar_of(tmp_path, {key: value})
    with pytest.raises(InputError, match=refusal(f"{tmp_path / 'phase.json'}: {message}")):
        read(sidecar)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"EchoTime": 0.004',
            "not a readable JSON file (Expecting ',' delimiter: line 1 column 19 (char 18))",
        ),
        ("[3]", "expected a JSON object, found list"),
    ],
)
def test_a_damaged_sidecar_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "phase.json").write_text(text)
    with pytest.raises(InputError, match=refusal(f"{tmp_path / 'phase.json'}: {message}")):
        read_sidecar(tmp_path / "phase.nii")


@pytest.mark.parametrize(
    ("image_type", "word"),
    [
        (["ORIGINAL", "PRIMARY", "P", "SWI", "ND"], "SWI"),
        (["DERIVED", "PRIMARY", "MNIP"], "MNIP"),
        ("DERIVED\\SECONDARY\\MINIP", "MINIP"),
        (["ORIGINAL", "PRIMARY", "PHASE FILTERED"], "FILTERED"),
    ],
)
def test_an_image_type_of_filtered_phase_is_refused(
    tmp_path: Path, image_type: object, word: str
) -> None:
    sidecar = sidecar_of(tmp_path, {"ImageType": image_type})
    message = (
        f"{tmp_path / 'phase.nii'}: expected unfiltered phase, found {word} in ImageType of "
        "phase.json"
    )
    with pytest.raises(InputError, match=refusal(message)):
        check_unfiltered(sidecar)


@pytest.mark.parametrize("suffix", ["swi", "minIP"])
def test_a_suffix_of_filtered_phase_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sub-01_part-phase_{suffix}.nii.gz"
    message = f"{path}: expected unfiltered phase, found the suffix {suffix}"
    with pytest.raises(InputError, match=refusal(message)):
        check_unfiltered(read_sidecar(path))


@pytest.mark.parametrize(
    "image_type",
    [["ORIGINAL", "PRIMARY", "P", "ND"], ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "UNFILTERED"]],
)
def test_an_image_type_of_plain_phase_is_kept(tmp_path: Path, image_type: object) -> None:
    check_unfiltered(
        sidecar_of(tmp_path, {"ImageType": image_type, "ScanOptions": "FILTERED_GEMS"})
    )
