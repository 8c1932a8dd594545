"""Susceptibility from a total or local field: what comes out, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import accelqsm as aq
from accelqsm.cli import main
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.nifti import read_volume, write_image
from accelqsm.grid import centred_grid
from accelqsm.qsm.background.settings import DipoleFitSettings
from accelqsm.qsm.inversion.settings import L1Settings
from accelqsm.results.maps import SusceptibilityMaps
from accelqsm.units import ppm_to_hz
from field_phantom import (
    B0_TESLA,
    CHI_PPM,
    GRID,
    LOCAL_PPM,
    MAGNITUDE,
    NOISE_PPM,
    NUCLEUS,
    TISSUE,
    ball,
    contrast_ppm,
    field_ppm,
    write_phantom,
)

FAST = aq.QsmSettings(background_settings=DipoleFitSettings(n_coarse=20, n_fine=10))
SHORT = ["--dipole-fit-n-coarse", "20", "--dipole-fit-n-fine", "10"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom(tmp_path_factory.mktemp("fields"))


def of_local(files: Path, settings: aq.QsmSettings = FAST, **known: Any) -> SusceptibilityMaps:
    given = {"field_unit": "ppm", "b0_tesla": B0_TESLA} | known
    field = aq.read_field(local_field=files / "local_ppm.nii.gz", **given)
    return aq.susceptibility(field, mask=files / "mask.nii.gz", settings=settings)


@pytest.fixture(scope="module")
def local(files: Path) -> SusceptibilityMaps:
    return of_local(files)


def test_the_nucleus_comes_back_from_its_local_field(local: SusceptibilityMaps) -> None:
    assert contrast_ppm(local.chi_ppm) == pytest.approx(CHI_PPM, rel=0.1)
    assert (local.mask == TISSUE).all()
    assert (local.chi_ppm[~TISSUE] == 0).all()
    assert local.local_field_hz is None
    assert local.magnitude is None


def test_hz_and_ppm_are_the_same_field(files: Path, local: SusceptibilityMaps) -> None:
    field = aq.read_field(local_field=files / "local_hz.nii.gz", field_unit="hz", b0_tesla=B0_TESLA)
    found = aq.susceptibility(field, mask=files / "mask.nii.gz", settings=FAST)
    assert np.abs(found.chi_ppm - local.chi_ppm).max() < 1e-5


def test_a_total_field_is_its_local_field_and_then_susceptibility(
    files: Path, tmp_path: Path
) -> None:
    known = {"field_unit": "ppm", "b0_tesla": B0_TESLA, "magnitude": files / "mag.nii.gz"}
    total = aq.read_field(files / "total_ppm.nii.gz", **known)
    at_once = aq.susceptibility(total, mask=files / "mask.nii.gz", settings=FAST)
    assert contrast_ppm(at_once.chi_ppm) == pytest.approx(CHI_PPM, rel=0.15)
    fields = aq.susceptibility(
        total, mask=files / "mask.nii.gz", settings=FAST, until="local-field"
    )
    fields.save(tmp_path / "out")
    # Unit, field strength and direction come from the sidecar of the first run.
    then = aq.read_field(
        local_field=tmp_path / "out/localfield.nii.gz", magnitude=files / "mag.nii.gz"
    )
    assert then.unit == "ppm"
    in_steps = aq.susceptibility(then, mask=tmp_path / "out/mask.nii.gz", settings=FAST)
    assert np.abs(in_steps.chi_ppm - at_once.chi_ppm).max() < 1e-4


def test_what_a_standard_deviation_marks_as_unsure_does_not_count(files: Path) -> None:
    spoiled = TISSUE & ball(8.0, (-14.0, 8.0, 4.0))
    rng = np.random.default_rng(1)
    wrong = LOCAL_PPM + spoiled * rng.normal(0, 0.15, GRID.shape).astype(np.float32)
    sd = np.where(spoiled, 10.0, 0.01).astype(np.float32)
    for name, values in (("wrong", wrong), ("sd", sd)):
        write_image(files / f"{name}_ppm.nii.gz", values, GRID)

    def error(**known: Any) -> float:
        field = aq.read_field(
            local_field=files / "wrong_ppm.nii.gz", field_unit="ppm", b0_tesla=B0_TESLA, **known
        )
        chi = aq.susceptibility(field, mask=files / "mask.nii.gz", settings=FAST).chi_ppm
        return float((chi - CHI_PPM * NUCLEUS)[TISSUE].std())

    assert error(field_sd=files / "sd_ppm.nii.gz") < 0.6 * error()


def test_the_direction_of_the_field_is_that_which_is_said(files: Path) -> None:
    tilted = (0.6, 0.0, 0.8)
    write_image(files / "tilted_ppm.nii.gz", field_ppm(CHI_PPM * NUCLEUS, tilted) + NOISE_PPM, GRID)

    def error(**known: Any) -> float:
        field = aq.read_field(
            local_field=files / "tilted_ppm.nii.gz", field_unit="ppm", b0_tesla=B0_TESLA, **known
        )
        chi = aq.susceptibility(field, mask=files / "mask.nii.gz", settings=FAST).chi_ppm
        return float((chi - CHI_PPM * NUCLEUS)[TISSUE].std())

    assert error(b0_direction=tilted) < 0.5 * error()


def test_edges_of_a_magnitude_keep_the_contrast_of_the_nucleus(files: Path) -> None:
    plain = L1Settings(dynamic_structure=False, restore_contrast=False)
    fixed = replace(FAST, inversion_settings=plain)
    found, local = (
        of_local(files, fixed, **known) for known in ({"magnitude": files / "mag.nii.gz"}, {})
    )
    with_edges, without = (abs(contrast_ppm(m.chi_ppm) - CHI_PPM) for m in (found, local))
    assert with_edges < 0.5 * without
    assert np.array_equal(found.magnitude, MAGNITUDE)


def test_late_echoes_weigh_more_where_echo_times_are_known(files: Path) -> None:
    both = np.stack([MAGNITUDE, 2 * MAGNITUDE], -1)
    write_image(files / "mag4d.nii.gz", both, GRID)
    known = {"field_unit": "ppm", "b0_tesla": B0_TESLA, "magnitude": files / "mag4d.nii.gz"}
    field = aq.read_field(files / "total_ppm.nii.gz", echo_times_s=(0.01, 0.03), **known)
    assert field.late_magnitude == pytest.approx(MAGNITUDE * np.hypot(0.01, 0.06), rel=1e-5)
    assert field.magnitude == pytest.approx(MAGNITUDE * np.hypot(1, 2), rel=1e-5)
    with pytest.raises(InputError, match=r"mag4d.nii.gz: expected 3 echoes .* found 2"):
        aq.read_field(files / "total_ppm.nii.gz", echo_times_s=(0.01, 0.02, 0.03), **known)


def test_a_field_that_is_zero_at_the_edge_of_the_mask_is_left_out_there(files: Path) -> None:
    write_image(files / "eroded_ppm.nii.gz", LOCAL_PPM * ball(28.0), GRID)
    field = aq.read_field(
        local_field=files / "eroded_ppm.nii.gz", field_unit="ppm", b0_tesla=B0_TESLA
    )
    with pytest.warns(InputWarning, match=r"eroded_ppm.nii.gz: the field is 0 at the edge"):
        maps = aq.susceptibility(field, mask=files / "mask.nii.gz", settings=FAST)
    assert (maps.mask == ball(28.0)).all()


def test_a_field_of_another_unit_warns_or_is_refused(files: Path) -> None:
    mask = files / "mask.nii.gz"
    weak = aq.read_field(local_field=files / "local_ppm.nii.gz", field_unit="hz", b0_tesla=7.0)
    with pytest.warns(InputWarning, match=r"alone at 7 T; is hz its unit\?"):
        aq.susceptibility(weak, mask=mask, settings=FAST)
    strong = aq.read_field(local_field=files / "local_hz.nii.gz", field_unit="ppm", b0_tesla=3.0)
    with pytest.raises(InputError, match=r"expected a local field within 2 ppm, found .* ppm at"):
        aq.susceptibility(strong, mask=mask, settings=FAST)


def test_iron_that_comes_out_negative_is_said(files: Path) -> None:
    write_image(files / "turned_ppm.nii.gz", -LOCAL_PPM, GRID)
    field = aq.read_field(
        local_field=files / "turned_ppm.nii.gz",
        field_unit="ppm",
        b0_tesla=B0_TESLA,
        magnitude=files / "mag.nii.gz",
    )
    with pytest.warns(InputWarning, match="as with a field of the other sign"):
        aq.susceptibility(field, mask=files / "mask.nii.gz", settings=FAST)


def sidecar(fields: dict[str, Any]) -> Callable[[Path], None]:
    return lambda path: path.with_name("field.json").write_text(json.dumps(fields))


def changed(change: Callable[[np.ndarray], Any]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        values = LOCAL_PPM.copy()
        change(values)
        write_image(path, values, GRID)

    return write


def wrapped(values: np.ndarray) -> None:
    values[:] = np.linspace(-np.pi, np.pi, values.size, dtype=np.float32).reshape(values.shape)
    values[TISSUE & (ball(31.0) == 0)] = np.float32(np.pi)
    values[ball(4.0)] = np.float32(-np.pi)


UNIT, B0 = ["--field-unit", "ppm"], ["--b0-tesla", "3"]
OTHER = centred_grid((28, 30, 26), (3.0, 3.0, 3.2))


@pytest.mark.parametrize(
    ("prepare", "words", "said"),
    [
        (None, B0, "field.nii.gz: expected --field-unit hz or ppm, or Units in a JSON sidecar"),
        (None, UNIT, "field.nii.gz: expected --b0-tesla, or MagneticFieldStrength in a JSON"),
        (sidecar({"Units": "rad/s"}), B0, 'Units: expected "Hz" or "ppm" of a field, found "ra'),
        (sidecar({"Units": "rad"}), UNIT + B0, 'Units: expected "Hz" or "ppm" of a field, found'),
        (sidecar({"Units": "Hz"}), UNIT + B0, "expected Units ppm as --field-unit, found Hz"),
        (
            sidecar({"MagneticFieldStrength": 7}),
            UNIT + B0,
            "expected MagneticFieldStrength 3 as --b0-tesla, found 7",
        ),
        (changed(wrapped), UNIT + B0, "-3.1416..3.1416, as of wrapped phase in radians"),
        (
            changed(lambda v: v.__setitem__((14, 15, 13), np.nan)),
            UNIT + B0,
            "field.nii.gz: expected finite values in the mask, found 1 NaN",
        ),
        (changed(lambda v: v.fill(0)), UNIT + B0, "expected a field in the mask, found 0 every"),
        (
            changed(lambda v: v.__imul__(200)),
            UNIT + B0,
            "expected a local field within 2 ppm, found",
        ),
        (None, [*UNIT, *B0, "--reference", "csf"], "reference csf: expected magnitude and phase"),
        (None, [*UNIT, *B0, "--total-field", "field.nii.gz"], "--local-field, found both"),
        (None, [*UNIT, *B0, "--until", "local-field"], "--until local-field: expected a map after"),
        (None, [*UNIT, *B0, "--until", "total-field"], "--until total-field: expected a map after"),
        (None, [*UNIT, *B0, "--no-invert-phase"], "no arguments of phase, found --invert-phase"),
        (None, [*UNIT, *B0, "--phase", "field.nii.gz"], "no arguments of phase, found --phase"),
        (None, [*UNIT, *B0, "--mask", "shifted.nii.gz"], "shifted.nii.gz: expected the same"),
        (None, [*UNIT, *B0, "--field-sd", "shifted.nii.gz"], "shifted.nii.gz: expected the same"),
        (None, [*UNIT, *B0, "--magnitude", "shifted.nii.gz"], "shifted.nii.gz: expected the same"),
        (None, [*UNIT, *B0, "--field-sd", "field.nii.gz"], "field.nii.gz: expected values >= 0"),
        (None, [*UNIT, *B0, "--field-sd", "nothing.nii.gz"], "nothing.nii.gz: expected values abo"),
    ],
)  # fmt: skip
def test_what_contradicts_is_refused_in_one_line(
    prepare: Callable[[Path], None] | None,
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(Path("field.nii.gz"), LOCAL_PPM, GRID)
    write_image(Path("mask.nii.gz"), TISSUE, GRID)
    write_image(Path("shifted.nii.gz"), TISSUE, OTHER)
    write_image(Path("nothing.nii.gz"), 0 * LOCAL_PPM, GRID)
    if prepare is not None:
        prepare(Path("field.nii.gz"))
    mask = [] if "--mask" in words else ["--mask", "mask.nii.gz"]
    assert main(["qsm", "out", "--local-field", "field.nii.gz", *mask, *words]) == 65
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning" not in line]
    assert len(lines) == 1
    assert said in lines[0]
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--local-field", "local_ppm.nii.gz", *UNIT, *B0], "expected --mask, where the field is"),
        (["--field-unit", "hz"], "--field-unit: expected --total-field or --local-field with it"),
        (["--field-sd", "mag.nii.gz"], "--field-sd: expected --total-field or --local-field with"),
    ],
)
def test_a_field_and_its_mask_are_given_together(
    words: list[str],
    said: str,
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(files)
    assert main(["qsm", str(tmp_path / "out"), *words]) == 65
    assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def written(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("written") / "out"
    field = ["--total-field", str(files / "total_ppm.nii.gz"), *UNIT, *B0]
    images = ["--mask", str(files / "mask.nii.gz"), "--magnitude", str(files / "mag.nii.gz")]
    assert main(["qsm", str(out), *field, *images, *SHORT]) == 0
    return out


def test_the_folder_holds_what_was_computed_and_its_settings(written: Path) -> None:
    texts = {"settings.toml", "methods.md", "references.bib"}
    assert {path.name for path in written.iterdir()} == texts | {
        "Chimap.nii.gz", "localfield.nii.gz", "localfield.json", "magnitude.nii.gz", "mask.nii.gz",
    }  # fmt: skip
    described = json.loads((written / "localfield.json").read_text())
    assert described == {"Units": "ppm", "MagneticFieldStrength": 3.0, "B0_dir": [0.0, 0.0, 1.0]}
    methods = (written / "methods.md").read_text()
    assert methods.startswith("The total field was given, computed elsewhere; the background fiel")
    assert "weights from the standard deviation" not in methods
    assert "edges of the magnitude" in methods
    assert "Ye et al." not in methods


def test_a_folder_reads_back_in_hz_and_its_settings_replay(
    files: Path, written: Path, tmp_path: Path
) -> None:
    maps = aq.read_maps(written)
    stored_ppm = read_volume(written / "localfield.nii.gz").values
    assert maps.local_field_hz == pytest.approx(ppm_to_hz(stored_ppm, B0_TESLA), rel=1e-5)
    assert maps.field_hz is None
    assert maps.settings == FAST
    maps.save(tmp_path / "again")
    again = (tmp_path / "again/Chimap.nii.gz").read_bytes()
    assert again == (written / "Chimap.nii.gz").read_bytes()
    field = ["--total-field", str(files / "total_ppm.nii.gz"), *UNIT, *B0]
    images = ["--mask", str(files / "mask.nii.gz"), "--magnitude", str(files / "mag.nii.gz")]
    replayed = tmp_path / "replayed"
    words = ["qsm", str(replayed), *field, *images, "--settings", str(written / "settings.toml")]
    assert main(words) == 0
    assert (replayed / "Chimap.nii.gz").read_bytes() == again


def test_nuclei_are_measured_on_the_map_of_a_field(local: SusceptibilityMaps) -> None:
    lookup = pd.DataFrame({"index": [3], "name": ["Putamen"]})
    table = aq.measure_nuclei(local, labels=3 * NUCLEUS.astype(np.int16), lookup=lookup)
    inside = float(local.chi_ppm[NUCLEUS].mean())
    assert float(table["mean_ppb"].iloc[0]) == pytest.approx(1000 * inside, rel=1e-4)


def test_images_may_end_at_a_field(tmp_path: Path) -> None:
    times_s, field_hz = (0.004, 0.009, 0.014), ppm_to_hz(LOCAL_PPM, B0_TESLA) + 20.0
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.005, (2, len(times_s), *GRID.shape))
    images = [
        TISSUE * np.exp(-20 * t + 2j * np.pi * field_hz * t) + a + 1j * b
        for t, a, b in zip(times_s, *noise, strict=True)
    ]
    for part, of in (("mag", np.abs), ("phase", np.angle)):
        write_image(tmp_path / f"{part}.nii.gz", np.stack([of(i) for i in images], -1), GRID)
    write_image(tmp_path / "mask.nii.gz", TISSUE, GRID)
    given = {"magnitude": tmp_path / "mag.nii.gz", "phase": tmp_path / "phase.nii.gz"}
    known = {"echo_times_s": times_s, "b0_tesla": B0_TESLA}
    echoes = aq.read_images(**given, **known, invert_phase=False)
    mask = tmp_path / "mask.nii.gz"
    whole = aq.susceptibility(echoes, mask=mask, settings=FAST)
    local = aq.susceptibility(echoes, mask=mask, settings=FAST, until="local-field")
    total = aq.susceptibility(echoes, mask=mask, settings=FAST, until="total-field")
    assert np.array_equal(total.field_hz, whole.field_hz)
    assert np.array_equal(total.field_sd_hz, whole.field_sd_hz)
    assert np.array_equal(local.local_field_hz, whole.local_field_hz)
    assert total.local_field_hz is None
    assert total.r2star_per_s is not None
    total.save(tmp_path / "out")
    with pytest.raises(InputError, match=r"found the maps of a run that ended at the total field"):
        aq.read_maps(tmp_path / "out")
    then = aq.read_field(
        tmp_path / "out/fieldmap.nii.gz",
        field_sd=tmp_path / "out/fieldsd.nii.gz",
        magnitude=tmp_path / "mag.nii.gz",
        echo_times_s=times_s,
    )
    found = aq.susceptibility(then, mask=tmp_path / "out/mask.nii.gz", settings=FAST)
    assert contrast_ppm(found.chi_ppm) == pytest.approx(contrast_ppm(whole.chi_ppm), rel=0.05)
    unsaid = aq.read_images(**given, **known)
    with pytest.warns(InputWarning, match="which is not checked without susceptibility"):
        aq.susceptibility(unsaid, mask=mask, settings=FAST, until="total-field")
