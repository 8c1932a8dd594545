"""The maps behind a comparison: found by their values, brought into one pose, shown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from accelqsm.api.agreement import compare, values
from accelqsm.errors import InputWarning
from accelqsm.files.nifti import write_image
from accelqsm.files.tables import write_table
from accelqsm.files.toml import write_settings
from accelqsm.grid import Grid, as_affine
from accelqsm.nuclei.measure import measure_nuclei
from accelqsm.reports.content.comparison import comparison_content
from accelqsm.reports.content.pictures import read_images
from accelqsm.reports.content.pose import Pose, phase_in_pose, pose_of_labels, read_in_pose
from accelqsm.reports.content.scans import measured_scans, measured_study
from accelqsm.reports.rebuild import rebuild_report
from report_study import GAIN, GRID, LABELS, LOOKUP, chi_map, head_labels

ROWS = pd.DataFrame({"index": list(LOOKUP), "name": list(LOOKUP.values())})
SUBJECTS = ("sub-01", "sub-02", "sub-03", "sub-04")


def turned(degrees: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> Grid:
    """The same voxels, of a head that lay elsewhere."""
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    motion[:3, 3] = shift_mm
    return Grid(GRID.shape, as_affine(motion @ GRID.matrix))


MOVED = turned((3, -2, 5), (4, -3, 2))


def write_scan(root: Path, subject: str, protocol: str, grid: Grid = GRID) -> Path:
    """Map and nuclei of one scan, in folders as ``qsm`` and ``nuclei`` write them."""
    name = f"{subject}-{protocol}"
    chi = chi_map(GAIN[protocol] * (1 + 0.02 * SUBJECTS.index(subject)))
    maps, nuclei = root / "maps" / name, root / "nuclei" / name
    for folder in (maps, nuclei):
        folder.mkdir(parents=True)
    write_image(maps / "Chimap.nii.gz", chi, grid)
    write_image(maps / "mask.nii.gz", np.ones(chi.shape, dtype=bool), grid)
    write_image(maps / "magnitude.nii.gz", 1 + 100 * np.abs(chi), grid)
    write_image(nuclei / "dseg.nii.gz", head_labels(), grid)
    write_table(nuclei / "dseg.tsv", ROWS)
    far = 4.0 if name == "sub-04-af3" else 0.01 * SUBJECTS.index(subject)
    metrics = [("t1w_shift", 1 + far, "mm"), ("label_overlap", 0.9, "")]
    write_table(nuclei / "quality.tsv", pd.DataFrame(metrics, columns=["metric", "value", "unit"]))
    table = measure_nuclei(chi, head_labels(), ROWS, voxel_volume_mm3=8.0)
    write_table(nuclei / "nuclei.tsv", table)
    source = {"chimap": str(maps / "Chimap.nii.gz")}
    write_settings(nuclei / "settings.toml", {"command": "nuclei", "source": source})
    return nuclei


def write_compared(root: Path, grids: dict[str, Grid] | None = None) -> Path:
    """A comparison of measured scans; ``grids`` are those of protocols that are not GRID."""
    tables = {
        (subject, LABELS[p]): write_scan(root, subject, p, (grids or {}).get(p, GRID))
        for subject in SUBJECTS
        for p in ("pi", "af3")
    }
    write_table(root / "values.tsv", values(tables))
    return compare(root / "values.tsv", reference="PI").save(root / "compared" / "out")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_compared(tmp_path_factory.mktemp("study"))


def titles(page: str) -> list[str]:
    return re.findall(r"<b>Figure \d+\. ([^<]*)\.</b>", page)


def maps_of(page: str) -> list[str]:
    facts = json.loads(re.search(r'id="viewer-facts">([^<]*)', page)[1])
    return [shown["name"] for shown in facts["maps"]]


def test_maps_beside_the_table_are_shown(compared: Path) -> None:
    page = rebuild_report(compared).read_text(encoding="utf-8")
    assert titles(page) == [
        "The nuclei", "Protocols side by side", "Nuclei, magnified",
        "Bland-Altman: difference from PI", "The subject with the largest difference",
        "Where the maps differ", "Quality of the scans and their labels",
    ]  # fmt: skip
    assert maps_of(page) == ["PI", "AF3", "AF3 − PI", "PI magnitude", "AF3 magnitude"]
    assert "Named: sub-04 AF3." in page
    assert "resampled" not in page


def test_a_map_is_known_by_its_values_and_by_nothing_else(tmp_path: Path) -> None:
    out = write_compared(tmp_path)
    stored = compare(tmp_path / "values.tsv", reference="PI")
    assert len(measured_scans(stored, out)) == 2 * len(SUBJECTS)
    table = tmp_path / "nuclei" / "sub-02-af3" / "nuclei.tsv"
    rows = pd.read_csv(table, sep="\t")
    rows["mean_ppb"] *= 1 + 1e-4
    write_table(table, rows)
    found = {(scan.subject, scan.protocol) for scan in measured_scans(stored, out)}
    assert ("sub-02", "AF3") not in found
    assert len(found) == 2 * len(SUBJECTS) - 1
    assert stored.values is not None
    twins = stored.values.assign(subject=stored.values["subject"] + "-twin")
    both = replace(stored, values=pd.concat([stored.values, twins]))
    assert measured_scans(both, out) == []  # of whom a map is, nobody knows


def test_maps_are_found_from_a_dataset_and_its_addresses(tmp_path: Path) -> None:
    write_compared(tmp_path)
    (tmp_path / "dataset_description.json").write_text("{}")
    for record in tmp_path.glob("nuclei/*/settings.toml"):
        text = record.read_text().replace(f"{tmp_path}/", "bids::")
        assert "bids::maps/" in text
        record.write_text(text)
    stored = replace(compare(tmp_path / "values.tsv", reference="PI"), inputs={})
    found = measured_scans(stored, tmp_path / "compared" / "out")
    assert len(found) == 2 * len(SUBJECTS)
    assert {scan.paths.chimap.parent.parent for scan in found} == {tmp_path / "maps"}
    assert measured_scans(stored, tmp_path / "elsewhere") != []
    (tmp_path / "dataset_description.json").unlink()
    assert measured_scans(stored, tmp_path / "compared" / "out") == []


def test_without_maps_there_is_a_page_without_pictures(tmp_path: Path) -> None:
    out = write_compared(tmp_path)
    for path in tmp_path.glob("maps/*/Chimap.nii.gz"):
        path.unlink()
    page = rebuild_report(out).read_text(encoding="utf-8")
    assert "viewer-canvas" not in page
    assert "Left out" not in page
    assert "The nuclei" not in titles(page)


def test_pose_is_that_between_the_centres_of_the_labels() -> None:
    labels = head_labels()
    pose = pose_of_labels(labels, MOVED, labels, GRID)
    assert pose is not None
    np.testing.assert_allclose(pose.matrix, MOVED.matrix @ np.linalg.inv(GRID.matrix), atol=1e-9)
    cosine = (np.trace(pose.matrix[:3, :3]) - 1) / 2
    assert pose.turn_deg == pytest.approx(np.degrees(np.arccos(cosine)), abs=1e-6)
    few = np.where(labels <= 3, labels, 0)
    assert pose_of_labels(few, MOVED, few, GRID) is None
    swapped = np.select([labels == 1, labels == 4], [4, 1], labels)
    assert pose_of_labels(swapped, MOVED, labels, GRID) is None


def test_a_head_that_moved_is_shown_in_the_pose_of_the_reference(tmp_path: Path) -> None:
    out = write_compared(tmp_path, {"af3": MOVED})
    stored = compare(tmp_path / "values.tsv", reference="PI")
    folder = measured_study(measured_scans(stored, out), "sub-01", "PI")
    images = read_images(folder)
    # The same voxels under another affine: back in place, they are the same values.
    inner = (slice(3, -3),) * 3
    np.testing.assert_allclose(images.chi_ppm["AF3"][inner], chi_map(GAIN["af3"])[inner], atol=2e-4)
    content = comparison_content(stored, out)
    said = " ".join(content.cautions)
    assert "AF3 is resampled to the pose of PI" in said
    assert "degrees away; its values were measured in its own images" in said
    assert content.viewer is not None
    assert list(content.viewer.maps)[:3] == ["PI", "AF3", "AF3 − PI"]


def test_phase_of_a_head_that_moved_keeps_its_wraps(tmp_path: Path) -> None:
    """Against the plane wave at the points of the scan; interpolated as it is, wraps smear."""
    slope = np.array([0.4, -0.3, 0.2]) / 2

    def wave(points_mm: np.ndarray) -> np.ndarray:
        return np.angle(np.exp(1j * np.tensordot(slope, points_mm, axes=1)))

    write_image(tmp_path / "phase.nii.gz", wave(GRID.world_mm()).astype(np.float32), GRID)
    matrix = MOVED.matrix @ np.linalg.inv(GRID.matrix)
    pose, world = Pose(matrix, 0.0, 0.0), GRID.world_mm()
    there = np.tensordot(matrix[:3, :3], world, axes=1) + matrix[:3, 3].reshape(3, 1, 1, 1)
    inner = (slice(6, -6),) * 3
    found = {
        read: read(tmp_path / "phase.nii.gz", GRID, pose) for read in (phase_in_pose, read_in_pose)
    }
    apart = {
        read: np.abs(np.angle(np.exp(1j * (values - wave(there)))))[inner].max()
        for read, values in found.items()
    }
    assert apart[phase_in_pose] < 0.02
    assert apart[read_in_pose] > 1


def test_a_damaged_record_costs_the_pictures_and_no_more(tmp_path: Path) -> None:
    out = write_compared(tmp_path)
    (tmp_path / "nuclei" / "sub-02-af3" / "settings.toml").write_text("[source\n")
    with pytest.warns(InputWarning, match="Left out: Maps behind the values"):
        page = rebuild_report(out).read_text(encoding="utf-8")
    assert "sub-02-af3/settings.toml" in page
    assert titles(page)[0] == "Bland-Altman: difference from PI"
