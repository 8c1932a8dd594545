"""The notebook example runs as it stands, and what it calls accepts what people have."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from types import ModuleType

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

import accelqsm as aq
from accelqsm.errors import InputError
from accelqsm.files.nifti import write_image
from accelqsm.nuclei.register import TemplateMap
from accelqsm.simulate.cohort import Cohort
from accelqsm.simulate.heads.deformation import UPRIGHT
from accelqsm.virtual import scans as virtual
from nuclei_phantom import GRID as T1W_GRID
from nuclei_phantom import t1w, write_atlas
from test_study import SMALL

EXAMPLE = Path(__file__).parents[1] / "examples" / "notebook.py"
SEED = 11


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebook", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of raw data, one of images, and a T1w image of one small head."""
    out = tmp_path_factory.mktemp("notebook")
    small = dataclasses.replace(SMALL, n_channels=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(virtual.PRESETS, "demo", small)
        scans = virtual.simulate_study(
            out / "scans", Cohort(1, SEED), preset="demo", protocols=["pi", "af5"]
        )
    scans[1].raw.rename(out / "scan.h5")
    images = aq.reconstruct_echoes(aq.read_mrd(scans[0].raw), method="grappa")
    images.save_bids(out / "sub-01" / "anat", subject="sub-01", acq="pi")
    write_image(out / "T1w.nii.gz", t1w(SEED, UPRIGHT, noise_seed=6).values, T1W_GRID)
    write_atlas(out / "atlas", 9, UPRIGHT)
    return out


@pytest.fixture
def _no_syn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Affine and SyN left out: they have tests of their own and take minutes."""

    def still(templates, images, *, box, affine, settings, start=None):  # type: ignore[no-untyped-def]
        zero = np.zeros((3, *box.shape), dtype=np.float32)
        return TemplateMap(affine, zero, zero, box)

    registration = "accelqsm.pipeline.nuclei.registration"
    monkeypatch.setattr(f"{registration}.register_affine", lambda *_, **__: np.eye(4))
    monkeypatch.setattr(f"{registration}.register_template", still)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*the registration is doubtful")  # it is left out here
@pytest.mark.usefixtures("_no_syn")
def test_the_notebook_runs_and_prints_nothing(
    example: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = example.notebook(folder, str(folder / "atlas"))
    assert capsys.readouterr().out == ""
    assert "Agreement with PI" in report.read_text(encoding="utf-8")
    assert (folder / "maps.png").read_bytes().startswith(b"\x89PNG")
    back = aq.read_maps(folder / "out")
    assert back.recon is not None
    assert back.recon.method == "reconnet3d"
    verdict = aq.read_comparison(folder / "agreement")
    assert verdict.reference == "PI"
    assert set(verdict.agreement["protocol"]) == {"AF5"}


@pytest.mark.slow
def test_what_is_saved_is_read_back_as_the_record_that_was_written(
    folder: Path, tmp_path: Path
) -> None:
    settings = aq.QsmSettings(reference="none", field_mode="lag1")
    maps = aq.susceptibility(aq.read_images(folder / "sub-01" / "anat"), settings=settings)
    back = aq.read_maps(maps.save(tmp_path / "out"))
    for field in dataclasses.fields(maps):
        one, other = getattr(maps, field.name), getattr(back, field.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other, field.name)
        else:
            assert one == other, field.name
    labels = np.zeros(maps.grid.shape, np.int16)
    labels[20:30, 30:40, 15:25] = 1
    lookup = pd.DataFrame({"index": [1], "name": ["box"]})
    values = maps.chi_ppm[(labels == 1) & maps.mask]
    for given in (labels, torch.from_numpy(labels), nibabel.Nifti1Image(labels, maps.grid.matrix)):
        table = aq.measure_nuclei(
            maps, labels=given, lookup=lookup, settings=aq.MeasureSettings(reference="none")
        )
        assert table["mean_ppb"].item() == pytest.approx(1000 * values.mean(), rel=1e-5)


def test_images_in_memory_are_mapped_as_those_on_disk(folder: Path) -> None:
    stored = aq.read_images(folder / "sub-01" / "anat")
    affine = stored.acquisition.grid.matrix
    echoes = stored.images[0].movedim(0, -1).numpy()
    magnitude, phase = (
        nibabel.Nifti1Image(part.astype(np.float32), affine)
        for part in (np.abs(echoes), np.angle(echoes))
    )
    given = aq.read_images(
        magnitude=magnitude,
        phase=phase,
        echo_times_s=stored.acquisition.echo_times_s,
        b0_tesla=3.0,
    )
    torch.testing.assert_close(given.images, stored.images, atol=1e-3, rtol=1e-5)
    assert given.acquisition.grid.shape == stored.acquisition.grid.shape
    with pytest.raises(InputError, match="expected echo_times_s and b0_tesla"):
        aq.read_images(magnitude=magnitude, phase=phase)


def test_values_name_what_is_wrong() -> None:
    with pytest.raises(InputError, match="values: expected the nuclei of one scan or more"):
        aq.values({})
    with pytest.raises(InputError, match="values: expected a table of nuclei, found no column"):
        aq.values({("sub-01", "PI"): pd.DataFrame({"region": ["Pu"]})})
    with pytest.raises(InputError, match="compare: expected a reference protocol, found none"):
        aq.compare(pd.DataFrame())


def test_progress_is_silent_until_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    from accelqsm.runtime.progress import step

    aq.show_progress(False)
    with step("quiet"):
        pass
    assert capsys.readouterr().out == ""
    aq.show_progress()
    try:
        with step("heard"):
            pass
        assert "heard" in capsys.readouterr().out
    finally:
        aq.show_progress(False)
