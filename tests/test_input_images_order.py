"""Which file is which echo: names, sidecars and options agree, or one line says how not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from accelqsm.api.images import read_images
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.megre.description import describe_scan, find_files
from accelqsm.files.megre.sidecar import read_sidecar
from accelqsm.files.nifti import write_image
from scan_files import (
    ECHO_TIMES_S,
    FIELD_T,
    GRID,
    echo_path,
    echoes,
    write_dataset,
    write_json,
    write_scan,
)

ELEVEN_S = tuple(round(0.003 + 0.002 * n, 4) for n in range(11))
KNOWN = {"echo_times_s": ECHO_TIMES_S, "field_strength_t": FIELD_T}


def names_of(files: tuple[Path, ...]) -> list[str]:
    return [path.stem for path in files]


@pytest.mark.parametrize(
    "names",
    [
        [f"mag{n}" for n in range(1, 12)],
        [f"GRE_s5_e{n}" for n in range(1, 12)],
        [f"img_te{t:g}" for t in (2.5, 4.9, 7.38, 9.8, 12, 14.1, 17, 19, 22, 24, 100)],
        [f"echo{n}_te{5 * n}" for n in range(1, 12)],
    ],
)
def test_plain_names_are_sorted_by_their_numbers_and_not_as_a_shell_does(
    tmp_path: Path, names: list[str]
) -> None:
    """The first is the case; echo times in names, and two numbers in step, are not in it."""
    shell = sorted(names)
    assert shell != names
    magnitude = [tmp_path / f"{name}.nii" for name in shell]
    phase = [tmp_path / f"{name}_ph.nii" for name in shell]
    with pytest.warns(InputWarning, match="echoes put in the order of the numbers in their names"):
        scan = describe_scan(
            find_files(magnitude, phase), echo_times_s=ELEVEN_S, field_strength_t=3.0
        )
    assert names_of(scan.files.magnitude) == names
    assert names_of(scan.files.phase) == [f"{name}_ph" for name in names]


def test_names_without_a_number_or_with_two_at_odds_stay_as_they_were_given(
    tmp_path: Path,
) -> None:
    for names in (["b", "a", "c"], ["e1_s9", "e2_s8", "e3_s7"]):
        files = find_files(*([tmp_path / f"{part}_{n}.nii" for n in names] for part in "mp"))
        scan = describe_scan(files, **KNOWN)
        assert names_of(scan.files.magnitude) == [f"m_{n}" for n in names]


def test_series_numbers_pair_files_in_their_order(tmp_path: Path) -> None:
    magnitude = [tmp_path / f"{n}.nii" for n in (12, 4, 8)]
    phase = [tmp_path / f"{n}.nii" for n in (13, 5, 9)]
    with pytest.warns(InputWarning, match="names: 4 8 12$"):
        scan = describe_scan(find_files(magnitude, phase), **KNOWN)
    assert names_of(scan.files.phase) == ["5", "9", "13"]


def test_echo_times_of_either_part_are_enough(tmp_path: Path) -> None:
    folder = write_scan(tmp_path, sidecars=False)
    write_json(folder / "sub-01_MEGRE.json", {"MagneticFieldStrength": 3})
    for echo, part in ((1, "mag"), (2, "phase"), (3, "mag")):
        path = folder / f"sub-01_echo-{echo}_part-{part}_MEGRE.json"
        write_json(path, {"EchoTime": ECHO_TIMES_S[echo - 1]})
    assert describe_scan(find_files((), (), folder)).echo_times_s == ECHO_TIMES_S


@pytest.mark.parametrize(
    ("sidecars", "message"),
    [
        (
            {"sub-01_echo-2_MEGRE": {}},
            "sub-01_echo-2_part-mag_MEGRE.nii: expected EchoTime in a JSON sidecar, as the other "
            "echoes have, or --echo-times-s, found only other fields in sub-01_MEGRE.json",
        ),
        (
            {"sub-01_echo-3_MEGRE": {"EchoTime": 14}},
            "sub-01_echo-3_MEGRE.json: echo times: expected seconds below 0.5, found '14' "
            "(milliseconds? divide by 1000)",
        ),
        (
            {"sub-01_part-mag_MEGRE": {"EchoTime": 0.004}},
            "sub-01_part-mag_MEGRE.json: expected the EchoTime of sub-01_echo-2_MEGRE.json, which "
            "applies to sub-01_echo-2_part-mag_MEGRE.nii as well, found another",
        ),
    ],
)
def test_the_sidecar_at_fault_is_named(
    tmp_path: Path, sidecars: dict[str, dict[str, object]], message: str
) -> None:
    """The last could not be read off the case: two sidecars of one rank, which BIDS forbids."""
    folder = write_scan(tmp_path)
    for name, fields in sidecars.items():
        write_json(folder / f"{name}.json", fields)
    with pytest.raises(InputError) as refused:
        describe_scan(find_files((), (), folder))
    found = str(refused.value)
    assert found.startswith(str(folder))
    if "part-mag_MEGRE.json" in message:
        assert re.search(r"part-mag_MEGRE\.json: expected the EchoTime of .* found another$", found)
    else:
        assert found == f"{folder}/{message}"


def test_two_sidecars_of_one_rank_that_agree_are_both_used(tmp_path: Path) -> None:
    write_json(tmp_path / "sub-01_echo-1_MEGRE.json", {"EchoTime": 0.004, "Units": "rad"})
    write_json(tmp_path / "sub-01_part-phase_MEGRE.json", {"EchoTime": 0.004, "a": 1})
    fields = read_sidecar(echo_path(tmp_path, 1, "phase")).fields
    assert fields == {"EchoTime": 0.004, "Units": "rad", "a": 1}


def test_the_command_line_does_not_contradict_usable_sidecars(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    message = "expected the EchoTime 0.004 0.009 0.014 of its sidecars, found --echo-times-s 0.004 "
    with pytest.raises(InputError, match=message):
        read_images(folder, echo_times_s=(0.004, 0.008, 0.012))
    with pytest.raises(InputError, match=r"MEGRE\.json: expected MagneticFieldStrength 7 as --b0-"):
        read_images(folder, b0_tesla=7.0)
    scan = read_images(folder, echo_times_s=(0.004, 0.009, 0.01401), b0_tesla=2.89)
    assert scan.acquisition.field_strength_t == 2.89


def test_pairs_of_two_echoes_are_refused(tmp_path: Path) -> None:
    folder = write_scan(tmp_path, sidecars=False)
    for part in ("mag", "phase"):
        echo_path(folder, 2, part).rename(echo_path(folder, 5 if part == "mag" else 4, part))
    files = find_files(
        [echo_path(folder, n, "mag") for n in (1, 3, 5)],
        [echo_path(folder, n, "phase") for n in (1, 3, 4)],
    )
    with pytest.raises(InputError, match=r"echo-4_part-phase_MEGRE\.nii: expected echo-5 as sub-0"):
        describe_scan(files, **KNOWN)
    again = find_files([files.magnitude[0]] * 3, list(files.phase))
    with pytest.raises(InputError, match=r"expected another file for each echo, found it twice$"):
        describe_scan(again, **KNOWN)


def test_phases_whose_times_are_swapped_against_their_names_are_refused(tmp_path: Path) -> None:
    """Could not be read off the case: every file has its echo time, and each list can be sorted."""
    folder = write_scan(tmp_path)
    for echo, other in ((2, 3), (3, 2)):
        path = folder / f"sub-01_echo-{echo}_part-phase_MEGRE.json"
        write_json(path, {"EchoTime": ECHO_TIMES_S[other - 1]})
    with pytest.raises(
        InputError, match=r"expected echo-2 as sub-01_echo-2_part-mag.*, found echo"
    ):
        read_images(folder)


def test_times_against_numbers_are_believed_only_where_the_magnitude_falls(tmp_path: Path) -> None:
    folder = write_scan(tmp_path)
    for echo in (1, 2, 3):
        path = folder / f"sub-01_echo-{echo}_MEGRE.json"
        write_json(path, {"EchoTime": ECHO_TIMES_S[3 - echo]})
    with pytest.raises(InputError, match=r"rise with EchoTime, found 3 2 1, and a magnitude that"):
        read_images(folder)
    for n, image in enumerate(echoes(), start=1):
        values = np.abs(image) * np.exp(0.3 * n)
        write_image(echo_path(folder, n, "mag"), values.astype(np.float32), GRID)
    with pytest.warns(InputWarning, match=r"found 3 2 1; the echoes are in the order of time$"):
        scan = read_images(folder)
    assert scan.source["magnitude"] == [str(echo_path(folder, n, "mag")) for n in (3, 2, 1)]


def test_milliseconds_in_one_sidecar_are_named_before_anything_is_sorted(tmp_path: Path) -> None:
    folder = write_scan(tmp_path)
    path = write_json(folder / "sub-01_echo-2_part-phase_MEGRE.json", {"EchoTime": 9})
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: echo times: .*milliseconds"):
        read_images(folder)


def test_the_frequency_of_hydrogen_tells_the_field_where_nothing_else_does(tmp_path: Path) -> None:
    folder = write_scan(tmp_path)
    for path in folder.glob("*.json"):
        fields = json.loads(path.read_text())
        if fields.pop("MagneticFieldStrength", None) is not None:
            write_json(path, fields | {"ImagingFrequency": 123.255})
    with pytest.warns(InputWarning, match=r"no MagneticFieldStrength; 2\.895 T is taken, by Imag"):
        assert read_images(folder).acquisition.field_strength_t == 2.895
    assert read_images(folder, b0_tesla=3.0).acquisition.field_strength_t == 3.0


def test_echoes_that_grow_are_told(tmp_path: Path) -> None:
    """Could not be read off the case: nothing but the decay tells of a 4D file out of order."""
    reverse = echoes()[::-1]
    for part, values in (("m", np.abs), ("p", np.angle)):
        stacked = np.stack([values(image) for image in reverse], -1).astype(np.float32)
        write_image(tmp_path / f"{part}.nii", stacked, GRID)
    weights = np.exp(-np.array([0.6, 0.3, 0.0]))
    faded = np.stack([np.abs(i) * w for i, w in zip(reverse, weights, strict=True)], -1)
    write_image(tmp_path / "m.nii", faded.astype(np.float32), GRID)
    with pytest.warns(InputWarning, match=r"m\.nii: the magnitude of echo 2 is 1\.\d+ times that"):
        read_images(
            magnitude=tmp_path / "m.nii",
            phase=tmp_path / "p.nii",
            echo_times_s=ECHO_TIMES_S,
            b0_tesla=FIELD_T,
        )
