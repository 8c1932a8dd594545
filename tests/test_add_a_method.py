"""Another inversion, reconstruction, network or atlas is a file and a row, and is found everywhere.

This module is the file; the rows stand in front of each test. Each is found in ``--help``, in a
run, in the saved settings and, with the work that it cites, in the methods text.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from accelqsm.cli import main
from accelqsm.files.atlases import ATLASES, NamedAtlas
from accelqsm.files.mrd.writer import write_mrd
from accelqsm.files.nifti import read_volume
from accelqsm.options.registry import Choice, Registry
from accelqsm.qsm.inversion.registry import INVERSIONS, Inversion
from accelqsm.recon.registry import RECONSTRUCTIONS, NetworkReconstruction, Reconstruction
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.weights import save_network
from accelqsm.simulate.heads.deformation import UPRIGHT
from nuclei_phantom import write_atlas
from nuclei_phantom import write_scan as write_mapped_head
from recon_phantom import channel_images, sample
from scan_files import write_scan
from toy_methods import ToyNetwork, ToySettings

WORK = """@article{toy2026,
  author = {Toy and Doe},
  year = {2026},
  title = {On toys},
  journal = {J Toys},
  volume = {1},
  pages = {1-2},
}"""
CITED = "Toy and Doe 2026. On toys. J Toys 1:1-2."
SHAPE = (16, 32, 24)
PATTERN = poisson_disk(SHAPE[1:], acceleration=2, calibration=(10, 10), seed=0)


def times(
    local_field_ppm: Tensor,
    mask: Tensor,
    *,
    voxel_size_mm: object,
    b0_direction: object,
    data_weight: object,
    edges: object,
    settings: ToySettings,
) -> Tensor:
    """Susceptibility as a multiple of the local field."""
    return torch.where(mask, settings.factor * local_field_ppm, 0)


def toy_atlas() -> Path:
    """The folder of the atlas that goes by the name of toy."""
    return ATLAS_FOLDER


ATLAS_FOLDER = Path()
EYE = np.eye(4)
HERE = __name__
INVERSION = Inversion(
    "toy", f"{HERE}:times", "a multiple ({factor}) of the field (Toy 2026)", (WORK,), ToySettings
)
METHOD = Reconstruction(
    "toy", "toy_methods:scaled", "zero filling times {factor} (Toy 2026)", (WORK,), ToySettings
)
NETWORK = NetworkReconstruction(
    "toy-net", "toy_methods:ToyNetwork", "a toy network (Toy 2026)", (WORK,),
    uses=("network",), architecture=ToySettings,
)  # fmt: skip
ATLAS = NamedAtlas("toy", f"{HERE}:toy_atlas", "the atlas of toys (Toy 2026)", (WORK,))


def helped(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    return " ".join(capsys.readouterr().out.split())


def said(out: Path) -> str:
    """The methods text, which cites the toy's work, also as BibTeX."""
    text = (out / "methods.md").read_text(encoding="utf-8")
    assert CITED in text
    assert WORK in (out / "references.bib").read_text(encoding="utf-8")
    return text


def settings_of(out: Path) -> dict[str, dict[str, object]]:
    return tomllib.loads((out / "settings.toml").read_text())


def test_an_inversion_is_a_file_and_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scan(tmp_path / "anat")
    with INVERSIONS.with_row(INVERSION):
        text = helped("qsm", capsys)
        assert "{l1,toy}" in text
        assert "--toy-factor X of the result (above 0; default 2.0)" in text
        words = ["qsm", str(tmp_path / "out"), "--megre", str(tmp_path / "anat")]
        bare = ["--reference", "none", "--no-shading-correction"]
        assert main([*words, "--inversion", "toy", "--toy-factor", "3", *bare]) == 0
        table = settings_of(tmp_path / "out")["qsm"]
        assert (table["inversion"], table["toy"]) == ("toy", {"factor": 3.0})
        assert "a multiple (3) of the field (Toy 2026)" in said(tmp_path / "out")
        again = [*words[:1], str(tmp_path / "again"), *words[2:]]
        assert main([*again, "--settings", str(tmp_path / "out" / "settings.toml")]) == 0
    chi, field_hz = (
        read_volume(tmp_path / "out" / name).values
        for name in ("Chimap.nii.gz", "localfield.nii.gz")
    )
    np.testing.assert_allclose(chi, 3 * field_hz / 127.732, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(read_volume(tmp_path / "again" / "Chimap.nii.gz").values, chi)
    assert "toy" not in helped("qsm", capsys)


@pytest.mark.parametrize("row", [METHOD, NETWORK], ids=["reconstruction", "network"])
def test_a_reconstruction_or_a_network_is_a_file_and_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: Reconstruction
) -> None:
    scan, out = tmp_path / "scan.h5", tmp_path / "out"
    write_mrd(scan, sample(channel_images(SHAPE, 3), PATTERN, noise_sd=0.001))
    assert main(["recon", str(scan), str(tmp_path / "plain"), "--method", "zero-filled"]) == 0
    with RECONSTRUCTIONS.with_row(row):
        assert f",{row.name}}}" in helped("recon", capsys)
        words = ["recon", str(scan), str(out), "--method", row.name]
        if row is METHOD:
            words += ["--toy-factor", "4"]
        else:
            save_network(ToyNetwork(ToySettings(4.0)), tmp_path / "toy.safetensors", about={})
            words += ["--weights", str(tmp_path / "toy.safetensors")]
        assert main(words) == 0
        assert settings_of(out)["recon"]["method"] == row.name
        assert "(Toy 2026)" in said(out)
    ours, plain = (
        read_volume(folder / "echo-1_part-mag.nii.gz").values
        for folder in (out, tmp_path / "plain")
    )
    middle = (slice(4, 12), slice(8, 24), slice(6, 18))
    np.testing.assert_allclose(ours[middle], 4 * plain[middle], rtol=1e-3)


@pytest.mark.filterwarnings("ignore:.*the registration is doubtful")  # three balls in a ramp
def test_a_named_atlas_is_a_function_and_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atlas(tmp_path / "atlas", 9, UPRIGHT)
    head = write_mapped_head(tmp_path / "head", 5, UPRIGHT)
    monkeypatch.setattr(f"{HERE}.ATLAS_FOLDER", tmp_path / "atlas")
    registration = "accelqsm.pipeline.nuclei.registration"
    monkeypatch.setattr(f"{registration}.register_affine", lambda *_, **__: EYE)
    monkeypatch.setattr(f"{registration}.register_template", _affine_alone)
    out = tmp_path / "out"
    with ATLASES.with_row(ATLAS):
        assert "folder, or cit168 or toy" in helped("nuclei", capsys)
        words = ["nuclei", str(head / "Chimap.nii.gz"), str(out), "--atlas", "toy"]
        assert main([*words, "--magnitude", str(head / "mag.nii.gz")]) == 0
        assert settings_of(out)["source"]["atlas"] == "toy"
        assert "the atlas of toys (Toy 2026)" in said(out)
    assert (out / "nuclei.tsv").is_file()


def _affine_alone(templates, images, *, box, affine, settings, start=None):  # type: ignore[no-untyped-def]
    """The affine transform alone: registration is not what this module is about."""
    from accelqsm.nuclei.register import TemplateMap

    still = np.zeros((3, *box.shape), dtype=np.float32)
    return TemplateMap(affine, still, still, box)


@pytest.mark.parametrize("registry", [INVERSIONS, RECONSTRUCTIONS, ATLASES])
def test_every_row_loads_and_cites_what_is_known(registry: Registry[Choice]) -> None:
    from accelqsm.reports.bibliography import references

    for row in registry:
        assert callable(row.load())
        assert len(references(row.citations)) == len(row.citations)
        assert row.describe()
