"""The command: an atlas, another scan's labels, and what cannot be used."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.api.nuclei import as_atlas, locate_nuclei, mapped_head
from accelqsm.cli import main
from accelqsm.errors import InputWarning
from accelqsm.files.atlas import read_atlas
from accelqsm.files.nifti import read_image, write_image
from accelqsm.files.tables import read_table
from accelqsm.grid import Grid, as_affine, centred_grid
from accelqsm.nuclei.atlas import SEVEN, Atlas, one_hot, paste, propagate_labels
from accelqsm.nuclei.metrics import scan_fall
from accelqsm.nuclei.quality import registration_doubts
from accelqsm.nuclei.register import SynSettings, motion_of
from accelqsm.nuclei.volume import Volume, affine_transform
from accelqsm.pipeline.nuclei import coregistered
from accelqsm.simulate.heads.deformation import UPRIGHT, Pose
from accelqsm.simulate.heads.head import LOOKUP
from nuclei_phantom import (
    GRID,
    dice,
    head,
    lookup,
    magnitude,
    pose_matrix,
    reoriented,
    t1w,
    write_atlas,
    write_scan,
)

pytestmark = pytest.mark.slow

CIT168 = Path(__file__).parents[2] / "shared" / "data" / "cit168"
COARSE = SynSettings(spacing_mm=3.0, iterations=(20, 10), margin_mm=9.0)
FINER = SynSettings(iterations=(6, 4, 1), margin_mm=4.0)
TURNED = Pose(rotation_deg=(2.0, -1.0, 1.5), translation_mm=(2.0, -1.0, 1.5))
T1W_POSE = Pose(rotation_deg=(-2.0, 1.0, 1.0), translation_mm=(-3.0, 2.0, 1.0))


def atlas_nuclei(
    chimap: Path,
    magnitude: Path,
    out: Path,
    *,
    atlas: str,
    t1w: Path | None = None,
    syn: SynSettings,
) -> None:
    head = mapped_head(chimap, magnitude=magnitude)
    locate_nuclei(head, atlas=atlas, t1w=t1w, syn=syn).save(out)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan with its T1w, an atlas of another person, and a second scan of the first one."""
    folder = tmp_path_factory.mktemp("nuclei")
    write_atlas(folder / "atlas", 9, UPRIGHT)
    write_scan(folder / "scan", 5, UPRIGHT)
    write_scan(folder / "rescan", 5, TURNED, noise_seed=4)
    write_image(folder / "scan" / "T1w.nii.gz", t1w(5, T1W_POSE, noise_seed=6).values, GRID)
    return folder


@pytest.fixture(scope="module")
def results(inputs: Path) -> Path:
    atlas_nuclei(
        inputs / "scan" / "Chimap.nii.gz",
        inputs / "scan" / "mag.nii.gz",
        inputs / "out",
        t1w=inputs / "scan" / "T1w.nii.gz",
        atlas=str(inputs / "atlas"),
        syn=COARSE,
    )
    return inputs / "out"


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main(["nuclei", *map(str, arguments)]) == 65
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error.removeprefix("accelqsm: ").rstrip("\n")


def test_an_atlas_finds_the_nuclei_of_another_head(results: Path) -> None:
    ours = read_image(results / "dseg.nii.gz").values
    truth = head(5, UPRIGHT).labels.numpy()
    # 2.2 mm voxels and 3 mm registration: the full gates are in the benchmark at 1 mm.
    for index, name in LOOKUP:
        least = {"Pu": 0.85, "Ca": 0.8, "GPe": 0.75, "GPi": 0.75}.get(name[2:], 0.5)
        assert dice(ours == index, truth == index) > least, name


def test_an_atlas_with_a_susceptibility_map_alone_meets_the_map(
    inputs: Path, tmp_path: Path
) -> None:
    atlas = write_scan(tmp_path / "atlas", 9, UPRIGHT)
    (atlas / "mag.nii.gz").unlink()
    atlas_nuclei(
        inputs / "scan" / "Chimap.nii.gz",
        inputs / "scan" / "mag.nii.gz",
        tmp_path / "out",
        atlas=str(atlas),
        syn=COARSE,
    )
    settings = tomllib.loads((tmp_path / "out" / "settings.toml").read_text())
    assert settings["source"]["contrasts"] == ["susceptibility"]
    ours = read_image(tmp_path / "out" / "dseg.nii.gz").values
    truth = head(5, UPRIGHT).labels.numpy()
    for index, name in LOOKUP:
        if name[2:] in ("Pu", "Ca"):
            assert dice(ours == index, truth == index) > 0.8, name


def test_results_say_what_they_are(results: Path) -> None:
    table = read_table(results / "nuclei.tsv")
    assert list(dict.fromkeys(table["region"])) == list(SEVEN)
    assert table["side"].tolist() == ["L", "R", "both"] * 7
    assert set(table["reference"]) == {"brain"}
    meanings = json.loads((results / "nuclei.json").read_text())
    assert set(meanings) == set(table.columns)
    assert meanings["mean_ppb"]["Units"] == "ppb"
    settings = tomllib.loads((results / "settings.toml").read_text())
    assert settings["source"]["registration"] == "plausible"
    assert not any("doubtful" in str(flag) for flag in table["flag"])
    assert settings["source"]["contrasts"] == ["T1w", "magnitude"]
    assert settings["nuclei"]["reference"] == "brain"
    assert settings["software"]["antspyx"] != "missing"
    quality = read_table(results / "quality.tsv").set_index("metric")["value"]
    better = quality["mutual_information_template_magnitude"]
    assert better > quality["mutual_information_template_magnitude_affine"]
    assert 0 < quality["jacobian_least_in_nuclei"] <= quality["jacobian_largest_in_nuclei"] < 4
    assert quality["on_tissue_L_Pu"] > 0.95
    shift_mm, turn_deg = motion_of(pose_matrix(T1W_POSE), (0.0, -18.0, 2.8))
    assert quality["t1w_shift"] == pytest.approx(shift_mm, abs=0.6)
    assert quality["t1w_turn"] == pytest.approx(turn_deg, abs=0.4)
    assert (results / "quality.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(results.glob(".partial*"))


def test_the_reference_region_is_subtracted_and_named(inputs: Path, tmp_path: Path) -> None:
    scan = inputs / "scan"
    chi = read_image(scan / "Chimap.nii.gz").values
    write_image(tmp_path / "moved.nii.gz", np.where(chi != 0, chi + 0.02, 0), GRID)
    tables = {}
    for reference in ("brain", "none"):
        out = tmp_path / f"{reference}.tsv"
        assert (
            main(
                ["nuclei", str(tmp_path / "moved.nii.gz"), "--labels", str(scan / "dseg.nii.gz"),
                 "--lookup", str(scan / "dseg.tsv"), "--reference", reference, str(out)]
            )
            == 0
        )  # fmt: skip
        tables[reference] = read_table(out)
    shift = tables["none"]["mean_ppb"] - tables["brain"]["mean_ppb"]
    np.testing.assert_allclose(shift, 20.0, atol=0.1)
    np.testing.assert_allclose(tables["brain"]["reference_ppb"], 20.0, atol=0.1)
    assert (tables["none"]["reference_ppb"] == 0).all()
    assert (tmp_path / "brain.json").is_file()


def rescan(inputs: Path, out: Path, *more: str) -> pd.DataFrame:
    first, second = inputs / "scan", inputs / "rescan"
    command = [
        "nuclei", str(second / "Chimap.nii.gz"), "--magnitude", str(second / "mag.nii.gz"),
        "--reference-magnitude", str(first / "mag.nii.gz"),
        "--labels", str(first / "dseg.nii.gz"), "--lookup", str(first / "dseg.tsv"), *more,
        str(out),
    ]  # fmt: skip
    assert main(command) == 0
    return read_table(out / "nuclei.tsv").set_index(["region", "side"])


def truly_moved(inputs: Path) -> np.ndarray:
    """The first scan's labels in the second scan, by the motion that was simulated."""
    matrix = pose_matrix(TURNED)
    image = read_image(inputs / "scan" / "dseg.nii.gz")
    labels = Volume(image.values, image.grid)
    probabilities = one_hot(labels, [index for index, _ in LOOKUP])
    propagated = propagate_labels(
        Atlas("", {}, labels, probabilities, lookup(), probabilistic=False),
        GRID,
        to_template=affine_transform(np.linalg.inv(matrix)),
        from_template=affine_transform(matrix),
    )
    return paste(propagated.labels, propagated.offset, GRID)


def test_labels_follow_the_head_to_its_second_scan(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rescan(inputs, tmp_path / "moved")
    ours = read_image(tmp_path / "moved" / "dseg.nii.gz").values
    truth = truly_moved(inputs)
    for index, name in LOOKUP:
        assert dice(ours == index, truth == index) > 0.93, name
    quality = read_table(tmp_path / "moved" / "quality.tsv").set_index("metric")["value"]
    true = motion_of(pose_matrix(TURNED), GRID.world_mm().mean((1, 2, 3)))
    assert quality["motion_shift"] == pytest.approx(true[0], abs=0.2)
    assert quality["motion_turn"] == pytest.approx(true[1], abs=0.2)
    grid = read_image(tmp_path / "moved" / "dseg.nii.gz").grid
    np.testing.assert_allclose(grid.matrix, GRID.matrix, atol=1e-4)
    # The same two images would give the same motion once more.
    settings = tomllib.loads((tmp_path / "moved" / "settings.toml").read_text())
    found = np.asarray(settings["source"]["to_reference"])
    monkeypatch.setattr(coregistered, "register_rigid", lambda *_: found)
    resampled = rescan(inputs, tmp_path / "resampled", "--resample")
    # A resampled map is a smoother one: in the same voxels of the head its values spread less.
    first = inputs / "scan"
    command = ["nuclei", str(first / "Chimap.nii.gz"), "--labels", str(first / "dseg.nii.gz"),
               "--lookup", str(first / "dseg.tsv"), str(tmp_path / "first.tsv")]  # fmt: skip
    assert main(command) == 0
    in_place = read_table(tmp_path / "first.tsv").set_index(["region", "side"])
    spread = resampled["sd_ppb"] / in_place["sd_ppb"]
    large = [("GPe", "both"), ("GPi", "both"), ("RN", "both"), ("SNr", "both")]
    assert spread.loc[large].max() < 1.0
    settings = tomllib.loads((tmp_path / "resampled" / "settings.toml").read_text())
    assert settings["source"]["moved"] == "map"


def cropped(image: Volume, slices: tuple[slice, slice, slice]) -> Volume:
    matrix = image.grid.matrix.copy()
    matrix[:3, 3] += matrix[:3, :3] @ [s.start or 0 for s in slices]
    values = image.values[slices]
    x, y, z = values.shape
    return Volume(values, Grid((x, y, z), as_affine(matrix)))


def test_a_cropped_brain_gives_no_number_for_what_is_cut_off(inputs: Path, tmp_path: Path) -> None:
    scan = inputs / "rescan"
    # The midbrain lies in the slices that are cut away.
    low = int(np.floor((-8.0 - GRID.matrix[2, 3]) / 2.2))
    slices = (slice(None), slice(None), slice(low, None))
    for name in ("Chimap", "mag"):
        image = read_image(scan / f"{name}.nii.gz")
        part = cropped(Volume(image.values, image.grid), slices)
        write_image(tmp_path / f"{name}.nii.gz", part.values, part.grid)
    (tmp_path / "rescan").mkdir()
    for path in tmp_path.glob("*.nii.gz"):
        path.rename(tmp_path / "rescan" / path.name)
    (tmp_path / "scan").symlink_to(inputs / "scan")
    table = rescan(tmp_path, tmp_path / "out")
    snr = table.loc[("SNr", "both")]
    assert np.isnan(snr["mean_ppb"])
    assert "of it lies outside the image" in snr["note"]
    assert np.isfinite(table.loc[("Ca", "both"), "mean_ppb"])


def test_a_scan_upside_down_is_doubtful_in_every_row(inputs: Path, tmp_path: Path) -> None:
    """The labels lie in a brain, and have values, which are no nuclei's."""
    for name in ("Chimap", "mag"):
        image = read_image(inputs / "scan" / f"{name}.nii.gz")
        write_image(tmp_path / f"{name}.nii.gz", image.values[:, :, ::-1], image.grid)
    head = mapped_head(tmp_path / "Chimap.nii.gz", magnitude=tmp_path / "mag.nii.gz")
    with pytest.warns(InputWarning, match="registration is doubtful.*head and template agree"):
        found = locate_nuclei(head, atlas=inputs / "atlas", syn=COARSE)
    assert all("registration doubtful" in flag for flag in found.table["flag"])
    assert found.source["registration"].startswith("doubtful: head and template agree")


def test_a_t1w_of_somebody_else_or_turned_over_is_doubtful() -> None:
    scan, brain = magnitude(5, UPRIGHT), head(5, UPRIGHT).brain.numpy()
    own, other = t1w(5, T1W_POSE, noise_seed=6), t1w(9, UPRIGHT, noise_seed=6)

    def doubts(image: Volume, matrix: np.ndarray) -> list[str]:
        fall = scan_fall(scan, image, brain, matrix)
        return registration_doubts([("similarity_fall_t1w_magnitude", fall, "1")])

    to_t1w = pose_matrix(T1W_POSE)
    assert doubts(own, to_t1w) == []
    shading = np.exp(np.linspace(-0.7, 0.7, GRID.shape[1]))[:, None]
    assert doubts(Volume(own.values * shading, GRID), to_t1w) == []
    assert doubts(other, np.eye(4)) != []
    for axes in ((0,), (1,), (2,), (0, 1)):
        assert doubts(Volume(np.flip(own.values, axes), GRID), to_t1w) != [], axes


def test_labels_without_a_voxel_are_refused(
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scan, empty = inputs / "scan", tmp_path / "empty.nii.gz"
    write_image(empty, np.zeros(GRID.shape, dtype=np.int16), GRID)
    chimap, mag, lookup = (scan / n for n in ("Chimap.nii.gz", "mag.nii.gz", "dseg.tsv"))
    command = (chimap, "--magnitude", mag, "--reference-magnitude", mag, "--lookup", lookup,
               "--regions", "RN,SNr", tmp_path / "out")  # fmt: skip
    assert refusal(capsys, *command, "--labels", empty) == (
        f"{empty}: expected voxels of RN, SNr, found none"
    )
    # A head that lies so that the midbrain is not in the image.
    away = pose_matrix(Pose(translation_mm=(0.0, 0.0, -75.0)))
    monkeypatch.setattr(coregistered, "register_rigid", lambda *_: np.linalg.inv(away))
    assert refusal(capsys, *command, "--labels", scan / "dseg.nii.gz") == (
        f"{chimap}: expected the nuclei inside the image, found them outside"
    )
    assert not (tmp_path / "out").exists()


def test_map_and_magnitude_must_share_a_grid(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chimap, mag = inputs / "scan" / "Chimap.nii.gz", tmp_path / "mag.nii.gz"
    image = magnitude(5, UPRIGHT)
    command = (chimap, "--magnitude", mag, "--atlas", inputs / "atlas", tmp_path / "out")
    short = (GRID.shape[0] - 1, *GRID.shape[1:])
    write_image(mag, image.values[:-1], centred_grid(short, (2.2, 2.2, 2.2)))
    assert refusal(capsys, *command) == (
        f"{mag}: expected shape {GRID.shape} of {chimap}, found {short}"
    )
    flipped = reoriented(image, (0, 1, 2), (0,))
    write_image(mag, flipped.values, flipped.grid)
    assert refusal(capsys, *command) == (
        f"{mag}: expected the same affine as {chimap}, found its x axis flipped"
    )
    turn = pose_matrix(Pose(rotation_deg=(10.0, 0.0, 0.0)))
    write_image(mag, image.values, Grid(GRID.shape, as_affine(turn @ GRID.matrix)))
    # A point moves by the chord, from where it is about the x axis.
    _, y_mm, z_mm = GRID.world_mm()
    chord_mm = 2 * np.sin(np.deg2rad(10.0) / 2) * np.hypot(y_mm, z_mm).max()
    assert refusal(capsys, *command) == (
        f"{mag}: expected the same affine as {chimap}, found voxels up to {chord_mm:.2f} mm away"
    )
    assert not (tmp_path / "out").exists()


def test_arguments_that_do_not_belong_together_are_refused(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, out = inputs / "scan", tmp_path / "out"
    chimap, labels, lookup = (scan / n for n in ("Chimap.nii.gz", "dseg.nii.gz", "dseg.tsv"))
    for arguments, expected in [
        ((), "nuclei: expected --magnitude FILE, or --labels FILE, found neither"),
        (("--labels", labels), "nuclei: expected --lookup TSV with --labels, found none"),
        (
            ("--labels", labels, "--lookup", lookup, "--resample"),
            "nuclei: expected --reference-magnitude with --resample, found none",
        ),
        (
            ("--labels", labels, "--lookup", lookup, "--reference", "csf"),
            "--reference csf: expected an R2* map (--r2star FILE), found none",
        ),
        (
            ("--labels", labels, "--lookup", lookup, "--erode-mm", "-1"),
            "--erode-mm: expected 0 to 1000 mm, found -1",
        ),
        (
            ("--labels", labels, "--lookup", lookup, "--regions", "VTA"),
            "regions: expected some of Pu Ca GPe GPi RN SNc SNr, found VTA",
        ),
        (
            ("--magnitude", scan / "mag.nii.gz", "--atlas", tmp_path / "none"),
            f"{tmp_path / 'none'}: expected a folder with an atlas or cit168, found none",
        ),
        (
            ("--magnitude", scan / "mag.nii.gz", "--atlas", inputs / "atlas", "--threshold", "2"),
            "--threshold: expected above 0 to 1, found 2",
        ),
    ]:
        assert refusal(capsys, chimap, *arguments, out) == expected
    assert not out.exists()


def test_a_map_of_zeros_is_refused(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zeros = tmp_path / "zeros.nii.gz"
    write_image(zeros, np.zeros(GRID.shape, dtype=np.float32), GRID)
    mag = inputs / "scan" / "mag.nii.gz"
    assert refusal(
        capsys, zeros, "--magnitude", mag, "--atlas", inputs / "atlas", tmp_path / "out"
    ) == (f"{zeros}: expected a map with values, found zeros alone")


@pytest.mark.nightly
@pytest.mark.skipif(not CIT168.exists(), reason="the atlas is not beside the repository")
def test_cit168_registered_to_itself_stays_where_it_is(tmp_path: Path) -> None:
    template = CIT168 / "CIT168toMNI152-2009c_T1w_brain.nii.gz"
    image = read_image(template)
    write_image(tmp_path / "map.nii.gz", image.values.astype(np.float32) / 255, image.grid)
    atlas_nuclei(tmp_path / "map.nii.gz", template, tmp_path / "out", atlas=str(CIT168), syn=FINER)
    known = as_atlas(read_atlas(CIT168))
    ours = read_image(tmp_path / "out" / "dseg.nii.gz").values
    best, shape = np.zeros(image.grid.shape), image.grid.shape
    truth = np.zeros(shape, dtype=int)
    for index, share in known.probabilities.items():
        start = np.round(share.grid.matrix[:3, 3] - image.grid.matrix[:3, 3]).astype(int)
        box = tuple(slice(s, s + n) for s, n in zip(start, share.grid.shape, strict=True))
        wins = share.values > best[box]
        truth[box] = np.where(wins & (share.values >= 0.5), index, truth[box])
        best[box] = np.maximum(best[box], share.values)
    names = dict(zip(known.lookup["name"], known.lookup["index"], strict=True))
    for region in SEVEN:
        sides = [names[f"{side} {region}"] for side in "LR"]
        assert dice(np.isin(ours, sides), np.isin(truth, sides)) >= 0.97, region
