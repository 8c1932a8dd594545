"""Atlases on disk: a folder, CIT168 as published, the cache, and no network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from accelqsm.errors import InputError
from accelqsm.files import cit168 as module
from accelqsm.files.atlas import read_atlas
from accelqsm.files.atlases import find_atlas
from accelqsm.files.cit168 import CACHE_VARIABLE, CIT168_SHA256, CIT168_URL
from accelqsm.files.nifti import write_image
from accelqsm.files.tables import write_table
from accelqsm.grid import centred_grid

SHARED = Path(__file__).parents[2] / "shared" / "data" / "cit168"
GRID = centred_grid((6, 5, 4), (1.0, 1.0, 1.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labels = np.zeros(GRID.shape, dtype=np.int16)
    labels[1], labels[4] = 1, 2
    write_image(tmp_path / "sub_T1w.nii.gz", np.ones(GRID.shape, dtype=np.float32), GRID)
    write_image(tmp_path / "sub_dseg.nii.gz", labels, GRID)
    write_table(
        tmp_path / "sub_dseg.tsv", pd.DataFrame({"index": [1, 2], "name": ["L Pu", "R Pu"]})
    )
    return tmp_path


def message(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        read_atlas(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_with_labels_and_table_is_an_atlas(folder: Path) -> None:
    found = read_atlas(folder)
    assert set(found.templates) == {"T1w"}
    assert found.labels is not None
    assert (found.labels == 1).sum() == 20
    assert found.lookup["name"].tolist() == ["L Pu", "R Pu"]
    assert find_atlas(str(folder)) == folder


def test_a_susceptibility_map_is_a_template_too(folder: Path) -> None:
    write_image(folder / "sub_Chimap.nii.gz", np.ones(GRID.shape, dtype=np.float32), GRID)
    assert list(read_atlas(folder).templates) == ["T1w", "susceptibility"]


def test_probabilities_are_read_in_the_order_of_the_table(folder: Path) -> None:
    (folder / "sub_dseg.nii.gz").unlink()
    values = np.zeros((*GRID.shape, 2), dtype=np.float32)
    values[1, ..., 0], values[4, ..., 1] = 0.7, 0.4
    write_image(folder / "sub_probseg.nii.gz", values, GRID)
    found = read_atlas(folder)
    assert found.labels is None
    assert found.probabilities[2][4].max() == pytest.approx(0.4)
    write_image(folder / "sub_probseg.nii.gz", values[..., :1], GRID)
    path = folder / "sub_probseg.nii.gz"
    assert message(folder) == (f"{path}: expected one volume for each of the 2 labels, found 1")
    write_image(path, 100 * values, GRID)
    assert message(folder) == f"{path}: expected probabilities from 0 to 1, found 0 to 70"


def test_an_atlas_without_a_lookup_is_refused(folder: Path) -> None:
    (folder / "sub_dseg.tsv").unlink()
    assert message(folder) == (
        f"{folder}: expected one table *.tsv with columns index and name of the labels, found none"
    )


def test_an_empty_label_is_refused(folder: Path) -> None:
    write_table(folder / "sub_dseg.tsv", pd.DataFrame({"index": [1, 3], "name": ["L Pu", "L RN"]}))
    assert message(folder) == (
        f"{folder / 'sub_dseg.nii.gz'}: expected voxels of label 3 (L RN), found none"
    )


def test_missing_template_and_labels_are_named(folder: Path) -> None:
    (folder / "sub_dseg.nii.gz").unlink()
    assert message(folder) == (
        f"{folder}: expected labels named *dseg.nii.gz or *probseg.nii.gz, found none"
    )
    (folder / "sub_T1w.nii.gz").unlink()
    assert message(folder) == (
        f"{folder}: expected a template named *T1w.nii.gz, *mag.nii.gz or *Chimap.nii.gz, "
        "found none"
    )


def test_two_images_of_a_kind_are_refused(folder: Path) -> None:
    write_image(folder / "a_T1w.nii.gz", np.ones(GRID.shape, dtype=np.float32), GRID)
    assert message(folder) == (
        f"{folder}: expected one image *T1w.nii.gz, found a_T1w.nii.gz and sub_T1w.nii.gz"
    )


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        find_atlas(str(tmp_path / "nowhere"))
    assert str(error.value) == (
        f"{tmp_path / 'nowhere'}: expected a folder with an atlas or cit168, found none"
    )


def write_packed(folder: Path) -> None:
    """CIT168's own format: two labels and two probabilities in each voxel."""
    packed = np.zeros(GRID.shape, dtype=[(c, "u1") for c in "RGBA"])
    packed["R"], packed["B"] = 1, 204
    packed["G"][2:], packed["A"][2:] = 2, 51
    nibabel.Nifti1Image(packed, GRID.matrix).to_filename(folder / "CIT168.nii.gz")
    names = {"labels": ["Unknown", "L Putamen", "R Putamen"]}
    (folder / "CIT168.json").write_text(json.dumps(names))
    template = folder / "CIT168toMNI152-2009c_T1w_brain.nii.gz"
    write_image(template, np.ones(GRID.shape, dtype=np.float32), GRID)


def test_two_labels_in_a_voxel_keep_their_probabilities(tmp_path: Path) -> None:
    write_packed(tmp_path)
    found = read_atlas(tmp_path)
    assert found.lookup["name"].tolist() == ["L Pu", "R Pu"]
    np.testing.assert_allclose(found.probabilities[1], 0.8, rtol=1e-6)
    np.testing.assert_allclose(found.probabilities[2][2:], 0.2, rtol=1e-6)
    assert found.probabilities[2][:2].max() == 0


def test_packed_labels_without_names_are_refused(tmp_path: Path) -> None:
    write_packed(tmp_path)
    (tmp_path / "CIT168.json").unlink()
    assert message(tmp_path) == f"{tmp_path / 'CIT168.json'}: no such file"
    (tmp_path / "CIT168.json").write_text("{}")
    assert message(tmp_path) == (
        f"{tmp_path / 'CIT168.json'}: expected a list 'labels', found none"
    )


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a network that cannot be reached."""
    import pooch

    def fails(self: object, url: str, output_file: str, pooch: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", fails)
    return tmp_path / "cache" / "cit168"


def test_no_network_and_no_cache_is_one_line(offline: Path) -> None:
    with pytest.raises(InputError) as error:
        find_atlas("cit168")
    assert str(error.value) == (
        f"atlas cit168: not in {offline}, and {CIT168_URL}CIT168.nii.gz cannot be reached; "
        "give a folder that has it with --atlas"
    )


def test_the_cache_needs_no_network(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline.mkdir(parents=True)
    write_packed(offline)
    digests = {n: hashlib.sha256((offline / n).read_bytes()).hexdigest() for n in CIT168_SHA256}
    monkeypatch.setattr(module, "CIT168_SHA256", digests)
    assert find_atlas("cit168") == offline
    assert read_atlas(find_atlas("CIT168")).lookup["name"].tolist() == ["L Pu", "R Pu"]


def test_a_download_with_another_checksum_is_not_kept(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pooch

    def other(self: object, url: str, output_file: str, pooch: object) -> None:
        Path(output_file).write_bytes(b"something else")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", other)
    with pytest.raises(InputError) as error:
        find_atlas("cit168")
    assert str(error.value) == (
        f"{CIT168_URL}CIT168.nii.gz: expected SHA-256 {CIT168_SHA256['CIT168.nii.gz']}, "
        "found another; nothing was kept"
    )
    assert not list(offline.glob("*.nii.gz"))


@pytest.mark.skipif(not SHARED.exists(), reason="the atlas is not beside the repository")
def test_cit168_as_published_has_its_checksums_and_volumes() -> None:
    for name, digest in CIT168_SHA256.items():
        assert hashlib.sha256((SHARED / name).read_bytes()).hexdigest() == digest
    found = read_atlas(SHARED)
    by_name = dict(zip(found.lookup["name"], found.lookup["index"], strict=True))
    # Pauli et al. 2018, doi 10.1038/sdata.2018.63: probabilistic volumes in mm^3.
    for name, volume in {"L Pu": 6917, "R GPe": 944, "L SNc": 154, "R SNr": 345}.items():
        assert found.probabilities[by_name[name]].sum() == pytest.approx(volume, rel=0.03), name
