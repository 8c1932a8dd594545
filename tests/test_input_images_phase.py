"""What a phase means: differences, complex numbers, field maps, padding and the other sign."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import nibabel
import numpy as np
import pytest

import iron_phantom
from accelqsm.api.images import read_images, susceptibility
from accelqsm.cli import main
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.nifti import read_volume, write_image
from scan_files import (
    ECHO_TIMES_S,
    FIELD_T,
    GRID,
    ball,
    echo_path,
    echoes,
    paths,
    write_4d,
    write_json,
    write_scan,
)

KNOWN = {"echo_times_s": ECHO_TIMES_S, "b0_tesla": FIELD_T}


def write(path: Path, values: np.ndarray) -> Path:
    write_image(path, values, GRID)
    return path


def write_complex(path: Path, values: np.ndarray) -> Path:
    image = nibabel.Nifti1Image(values.astype(np.complex64), GRID.matrix)
    image.to_filename(path)
    return path


def write_difference(folder: Path, n_magnitudes: int = 2, **fields: float) -> dict[str, object]:
    one, other = echoes()[:2]
    magnitudes = [
        write(folder / f"sub-01_magnitude{n}.nii", np.abs(image).astype(np.float32))
        for n, image in enumerate((one, other), start=1)
    ]
    phase = np.angle(other * one.conj())
    whole = np.round(phase * 2048 / math.pi).clip(-2048, 2047).astype(np.int16) * 2
    path = write(folder / "sub-01_phasediff.nii", whole)
    told = {"EchoTime1": ECHO_TIMES_S[0], "EchoTime2": ECHO_TIMES_S[1]} | fields
    write_json(folder / "sub-01_phasediff.json", {**told, "MagneticFieldStrength": 3})
    return {"magnitude": magnitudes[-n_magnitudes:], "phase": path}


def test_a_phase_difference_is_that_of_two_echoes_with_their_magnitudes(tmp_path: Path) -> None:
    scan = read_images(**write_difference(tmp_path))
    assert scan.acquisition.echo_times_s == ECHO_TIMES_S[:2]
    one, other = (image.numpy() for image in scan.images[0])
    expected = echoes()[1] * echoes()[0].conj()
    np.testing.assert_allclose(one.conj() * other, expected, atol=2e-3)
    assert scan.source["phase_difference"] is True


def test_one_magnitude_of_a_phase_difference_tells_no_r2star_and_no_csf(tmp_path: Path) -> None:
    scan = read_images(**write_difference(tmp_path, 1))
    assert not scan.tells_decay
    from accelqsm.qsm.settings import QsmSettings

    with pytest.raises(InputError, match=r"^reference csf: expected a magnitude of every echo"):
        susceptibility(scan, mask=ball(), settings=QsmSettings(reference="csf"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"EchoTime1": 4.0, "EchoTime2": 9.0}, r"phasediff\.json: echo times: .* \(milliseconds"),
        ({"EchoTime2": None}, r"phasediff\.json: EchoTime1: expected EchoTime1 and EchoTime2 in s"),
        ({"EchoTime1": None, "EchoTime2": None}, "expected --echo-times-s, or EchoTime1 and Ech"),
        ({"EchoTime1": 0.012}, "strictly increasing seconds, found '0.012 0.009'"),
        ({"EchoTime1": "4"}, r"phasediff\.json: EchoTime1: expected EchoTime1 and EchoTime2 in"),
    ],
)
def test_a_phase_difference_without_its_two_echo_times_is_refused(
    tmp_path: Path, fields: dict[str, float], message: str
) -> None:
    """Not in the case: there both echo times are given and right."""
    with pytest.raises(InputError, match=message):
        read_images(**write_difference(tmp_path, **fields))


def test_a_phase_difference_takes_its_echo_times_from_the_caller(tmp_path: Path) -> None:
    given = write_difference(tmp_path, EchoTime1=None, EchoTime2=None)
    scan = read_images(**given, echo_times_s=ECHO_TIMES_S[:2])
    assert scan.acquisition.echo_times_s == ECHO_TIMES_S[:2]


def test_a_magnitude_of_a_third_echo_does_not_go_with_a_phase_difference(tmp_path: Path) -> None:
    given = write_difference(tmp_path)
    write_json(tmp_path / "sub-01_magnitude2.json", {"EchoTime": 0.014})
    with pytest.raises(InputError, match=r"magnitude2\.json: expected EchoTime 0.004 0.009 as of"):
        read_images(**given)


def test_real_and_imaginary_parts_are_found_by_their_bids_names(tmp_path: Path) -> None:
    for echo, image in enumerate(echoes(), start=1):
        for part, values in (("real", image.real), ("imag", image.imag)):
            write(echo_path(tmp_path, echo, part), np.round(values * 3000).astype(np.int16))
        fields = {"EchoTime": ECHO_TIMES_S[echo - 1], "MagneticFieldStrength": 3}
        write_json(tmp_path / f"sub-01_echo-{echo}_MEGRE.json", fields)
    scan = read_images(tmp_path)
    np.testing.assert_allclose(scan.images[0].numpy() / 3000, np.stack(echoes()), atol=3e-4)
    given = {
        "real": paths(tmp_path, "real", (3, 1, 2)),
        "imaginary": paths(tmp_path, "imag", (2, 3, 1)),
    }
    assert (read_images(given).images == scan.images).all()
    with pytest.raises(InputError, match="expected --magnitude and --phase, or --real and --imag"):
        read_images({"real": given["real"]})
    with pytest.raises(
        InputError, match=r"part-real_MEGRE\.nii: expected part-imag, found part-rea"
    ):
        read_images({"real": given["real"], "imaginary": given["real"]}, **KNOWN)


def test_parts_with_an_offset_are_refused(tmp_path: Path) -> None:
    """Not in a case: unsigned real and imaginary parts, as 12 bits store them."""
    stacked = np.stack(echoes(), -1)
    for name, values in (("re", stacked.real), ("im", stacked.imag)):
        write(tmp_path / f"{name}.nii", np.round(values * 1000 + 2048).astype(np.uint16))
    with pytest.raises(InputError, match=r"re\.nii: expected real parts of both signs, found "):
        read_images({"real": tmp_path / "re.nii", "imaginary": tmp_path / "im.nii"}, **KNOWN)


def test_complex_files_are_read_as_such_and_never_as_one_part(tmp_path: Path) -> None:
    four_d = write_complex(tmp_path / "gre.nii", np.stack(echoes(), -1))
    scan = read_images({"complex": four_d}, **KNOWN)
    np.testing.assert_allclose(scan.images[0].numpy(), np.stack(echoes()), rtol=1e-6)
    write_4d(tmp_path)
    for part, other in (("magnitude", "phase"), ("phase", "mag")):
        given = {part: four_d, {"mag": "magnitude"}.get(other, other): tmp_path / f"{other}.nii.gz"}
        with pytest.raises(InputError, match=f"expected {part}, found complex numbers; --complex"):
            read_images(**given, **KNOWN)
    with pytest.raises(InputError, match=r"mag\.nii\.gz: expected complex numbers, or part-mag"):
        read_images({"complex": tmp_path / "mag.nii.gz"}, **KNOWN)


def test_complex_bids_files_have_no_part(tmp_path: Path) -> None:
    for echo, image in enumerate(echoes(), start=1):
        write_complex(tmp_path / f"sub-01_echo-{echo}_MEGRE.nii.gz", image)
    scan = read_images(tmp_path, **KNOWN)
    np.testing.assert_allclose(scan.images[0].numpy(), np.stack(echoes()), rtol=1e-6)


def field_map_hz() -> np.ndarray:
    x, y, z = GRID.world_mm()
    return (ball() * (40 + 4 * x + 2 * y * np.exp(-((z / 10) ** 2)))).astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, math.tau * 0.06])
@pytest.mark.parametrize("ends", [None, (-200.0, 200.0), (-4096.0, 4096.0), (-3142.0, 3142.0)])
def test_field_maps_and_unwrapped_phase_are_refused_with_any_range(
    tmp_path: Path, scale: float, ends: tuple[float, float] | None
) -> None:
    """Could not be read off a case: following an error message's hint must not be a way in."""
    magnitude = write(tmp_path / "m.nii", np.abs(echoes()[0]).astype(np.float32))
    phase = write(tmp_path / "p.nii", field_map_hz() * scale)
    with pytest.raises(InputError, match=r"p\.nii: expected (phase|radians) .*, found "):
        read_images(
            magnitude=magnitude, phase=phase, phase_range=ends, echo_times_s=(0.02,), b0_tesla=3
        )


@pytest.mark.parametrize("noise", [False, True])
def test_exactly_the_ends_of_a_field_map_are_no_range_either(tmp_path: Path, noise: bool) -> None:
    """With noise around the head a field map reaches both ends of a range, as phase does."""
    magnitude = write(tmp_path / "m.nii", np.abs(echoes()[0]).astype(np.float32))
    values = field_map_hz()
    if noise:
        around = np.random.default_rng(0).uniform(values.min(), values.max(), GRID.shape)
        values = np.where(ball(), values, around).astype(np.float32)
    phase = write(tmp_path / "p.nii", values)
    ends = float(values.min()), float(values.max())
    with pytest.raises(InputError, match=r"expected radians .* which may be a field map's as"):
        read_images(
            magnitude=magnitude, phase=phase, phase_range=ends, echo_times_s=(0.02,), b0_tesla=3
        )


@pytest.mark.parametrize(
    ("name", "fields", "found"),
    [
        ("sub-01_fieldmap", {}, r"a field map \(suffix fieldmap\)"),
        ("sub-01_phase", {"Units": "Hz"}, r'a field map \(Units "Hz" in sub-01_phase\.json\)'),
        (
            "sub-01_ph",
            {"ImageType": ["ORIGINAL", "B0", "FFE"]},
            r"a field map \(ImageType of sub-01_ph\.json\)",
        ),
        ("sub-01_desc-unwrapped_phase", {}, r"unwrapped phase \(desc-unwrapped\)"),
    ],
)
def test_what_says_that_it_is_a_field_map_is_believed(
    tmp_path: Path, name: str, fields: dict[str, object], found: str
) -> None:
    magnitude = write(tmp_path / "m.nii", np.abs(echoes()[0]).astype(np.float32))
    phase = write(tmp_path / f"{name}.nii", np.angle(echoes()[0]).astype(np.float32))
    write_json(tmp_path / f"{name}.json", fields)
    with pytest.raises(InputError, match=f"expected phase, found {found}; give the phase images"):
        read_images(magnitude=magnitude, phase=phase, echo_times_s=(0.02,), b0_tesla=3)


@pytest.mark.parametrize("scale", [1.0, 0.25, 1e-2])
def test_a_smooth_map_of_no_unit_is_no_phase_of_a_single_echo(tmp_path: Path, scale: float) -> None:
    """In ppm, or in Hz of a good shim: within -pi..pi, which nothing but a wrap tells apart."""
    field = 3.1 * scale * np.sin(GRID.world_mm()[0] / 15) * ball()
    write_image(tmp_path / "m.nii", 100.0 * ball().astype(np.float32), GRID)
    write_image(tmp_path / "f.nii", field.astype(np.float32), GRID)
    given = {"magnitude": tmp_path / "m.nii", "phase": tmp_path / "f.nii", "b0_tesla": 3.0}
    with pytest.raises(InputError, match=r"f\.nii: expected (a )?phase") as error:
        read_images(**given, echo_times_s=[0.02])
    assert "--phase-range -" not in str(error.value)
    write_json(tmp_path / "f.json", {"Units": "rad"})
    assert read_images(**given, echo_times_s=[0.02]).acquisition.n_echoes == 1


def test_a_range_wider_than_the_wraps_is_refused(tmp_path: Path) -> None:
    folder = write_scan(tmp_path, siemens=True)
    with pytest.raises(InputError, match=r"found -4096\.\.4094, where it wraps$"):
        read_images(folder, phase_range=(-5000.0, 5000.0))


@pytest.mark.parametrize(
    ("value", "siemens", "kind"),
    [(-8192, True, np.int16), (-999, False, np.float32), (9999, True, np.int16)],
)
def test_padding_is_told_and_left_out(
    tmp_path: Path, value: float, siemens: bool, kind: type
) -> None:
    """-8192 is the case; radians with -999, and padding above the range, are not in it."""
    folder = write_scan(tmp_path / "scan", siemens=siemens)
    whole = read_images(folder).images[0].numpy()
    for path in map(Path, paths(folder, "phase")):
        write(path, np.where(ball(), read_volume(path).values, value).astype(kind))
    with pytest.warns(InputWarning, match=rf"echo-1_part-phase_MEGRE\.nii: phase is {value} in "):
        padded = read_images(folder).images[0].numpy()
    np.testing.assert_array_equal(padded[:, ball()], whole[:, ball()])
    assert not padded[:, ~ball()].any()


def test_two_echoes_with_one_phase_are_refused(tmp_path: Path) -> None:
    folder = write_scan(tmp_path)
    twice = read_volume(echo_path(folder, 1, "phase")).values
    write(echo_path(folder, 2, "phase"), twice)
    with pytest.raises(InputError, match=r"echo-2_part-phase.*found the same values"):
        read_images(folder)


def test_files_whose_sidecars_call_them_the_other_part_are_refused(tmp_path: Path) -> None:
    folder = write_scan(tmp_path)
    for n in (1, 2, 3):
        echo_path(folder, n, "mag").rename(folder / f"a{n}.nii")
        echo_path(folder, n, "phase").rename(folder / f"b{n}.nii")
        write_json(folder / f"a{n}.json", {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]})
    given = ([folder / f"{name}{n}.nii" for n in (1, 2, 3)] for name in "ab")
    magnitude, phase = given
    with pytest.raises(InputError, match=r"a1\.nii: expected part-mag, found ImageType P \(part-p"):
        read_images(magnitude=magnitude, phase=phase, **KNOWN)


@pytest.mark.parametrize("largest", [3196, 4095])
def test_magnitude_and_phase_in_each_others_place_are_found_out(
    tmp_path: Path, largest: int
) -> None:
    """Both from 0 to 4095, as a scanner stores them, so that no range tells."""
    images = np.stack(echoes())
    values = {
        "a": np.abs(images) / np.abs(images).max() * largest,
        "b": np.clip((np.angle(images) + math.pi) / math.tau * 4096, 0, 4095),
    }
    files = {
        name: [write(tmp_path / f"{name}{n}.nii", np.round(echo).astype(np.int16))
               for n, echo in enumerate(of)]
        for name, of in values.items()
    }  # fmt: skip
    with pytest.raises(InputError, match=r"b0\.nii: expected a magnitude, .* swapped\?$"):
        read_images(magnitude=files["b"], phase=files["a"], **KNOWN)
    assert read_images(magnitude=files["a"], phase=files["b"], **KNOWN).acquisition.n_echoes == 3


@pytest.fixture(scope="module")
def inverted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Maps of phase of the other sign, with the sign found and kept."""
    folder = tmp_path_factory.mktemp("inverted")
    scan = iron_phantom.write_iron(folder / "scan", sign=-1.0)
    with pytest.warns(InputWarning, match=r"phase was inverted \(--no-invert-phase keeps it"):
        assert main(["qsm", str(folder / "found"), "--megre", str(scan)]) == 0
    words = ["qsm", str(folder / "kept"), "--megre", str(scan), "--no-invert-phase"]
    with pytest.warns(InputWarning, match=r"negative where .* is --no-invert-phase right\?$"):
        assert main(words) == 0
    return folder / "found", folder / "kept"


@pytest.mark.slow
def test_the_other_sign_is_found_from_the_decay_and_said(inverted: tuple[Path, Path]) -> None:
    found, kept = (read_volume(folder / "Chimap.nii.gz").values for folder in inverted)
    np.testing.assert_allclose(found, -kept, atol=1e-7)
    mask = read_volume(inverted[0] / "mask.nii.gz").values > 0
    assert 0.85 < iron_phantom.slope(found, mask) < 1.1
    source = tomllib.loads((inverted[0] / "settings.toml").read_text())["source"]
    assert (source["invert_phase"], source["phase_sign"]) == (True, "found from the decay")
    source = tomllib.loads((inverted[1] / "settings.toml").read_text())["source"]
    assert source["invert_phase"] is False
    fields = [read_volume(folder / "localfield.nii.gz").values for folder in inverted]
    np.testing.assert_array_equal(fields[0], -fields[1])


@pytest.mark.slow
def test_the_right_sign_is_left_alone_without_a_word(tmp_path: Path) -> None:
    scan = iron_phantom.write_iron(tmp_path / "scan")
    maps = susceptibility(read_images(scan))
    assert 0.85 < iron_phantom.slope(maps.chi_ppm, maps.mask) < 1.1
    assert maps.source["invert_phase"] is False
