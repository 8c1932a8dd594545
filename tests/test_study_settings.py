"""Settings of a study: what the dataset tells, one explained file, and the index of the dataset."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.cli import main
from accelqsm.errors import InputError
from accelqsm.files.bids.dataset import Scan, entities_of, read_dataset
from accelqsm.files.bids.description import write_description
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.settings import ReconSettings
from accelqsm.results.nuclei import write_nuclei
from accelqsm.study.defaults import complete
from accelqsm.study.plan import Selection
from accelqsm.study.run import plan_states, run_participants
from accelqsm.study.settings import Study, StudySettings, read_study, study_text
from accelqsm.study.tables import join_tables
from accelqsm.workflow.engine import jobs_of
from scan_files import write_json
from scan_files import write_scan as write_images
from study_folder import context_of, do_nothing, write_raw


def lines(step: int) -> np.ndarray:
    """Every n-th line of (ky, kz), with four more in the middle."""
    sampled = np.zeros((48, 20), dtype=bool)
    sampled[::step] = sampled[22:26] = True
    return sampled


def scattered() -> np.ndarray:
    sampled = np.random.default_rng(1).random((48, 20)) < 0.25
    sampled[22:26, 8:12] = True
    return sampled


def test_patterns_tell_the_reconstruction_and_the_reference(tmp_path: Path) -> None:
    root = write_raw(tmp_path / "bids", 1, ("af4", "each", "full", "pi"))
    of_each_echo = np.stack([scattered(), scattered()[:, ::-1]])
    full = np.ones((48, 20), dtype=bool)
    patterns = {"af4": scattered(), "each": of_each_echo, "full": full, "pi": lines(2)}

    def sampling(path: Path) -> np.ndarray:
        return patterns[path.name.split("acq-")[1].removesuffix("_MEGRE.h5")]

    study, notes = complete(Study(), read_dataset(root), sampling=sampling)
    methods = {protocol: recon.method for protocol, recon in study.recon.items()}
    expected = {
        "af4": "reconnet3d", "each": "l1-echoes", "full": "zero-filled", "pi": "grappa",
    }  # fmt: skip
    assert methods == expected
    assert study.study.reference == study.compare.reference == "full"
    assert study.recon["af4"].network.weights == "joint"  # the same on machines with a GPU
    assert "assumed: full" in notes["study"]
    assert set(notes) == {"study", *(f"recon.{name}" for name in expected)}
    again, said = complete(study, read_dataset(root), sampling=sampling)
    assert again == study
    assert said == {}


def test_settings_are_written_with_their_help_and_read_back(tmp_path: Path) -> None:
    study = Study(
        study=StudySettings(reference="pi", runs="last"),
        recon={"pi": ReconSettings("grappa"), "af4+x": ReconSettings("l1-wavelet")},
        qsm=QsmSettings(background="vsharp"),
    )
    study = replace(study, compare=replace(study.compare, reference="pi"))
    path = tmp_path / "study.toml"
    path.write_text(study_text(study, {"study": "assumed: pi"}))
    assert read_study(path) == study
    text = path.read_text()
    assert "# assumed: pi\n[study]" in text
    assert '# runs = "only"' not in text
    assert 'runs = "last"' in text
    assert "# threads = 2" in text
    assert "# which run of a scan that was repeated" in text
    assert tomllib.loads(text)["recon"]["pi"] == {"method": "grappa", "grappa": {}}
    # What is commented out is the default: without the marks, the settings are the same.
    marks = re.compile(r"^# (?=\w+ = .)", re.M)
    assert len(marks.findall(text)) > 40
    path.write_text(marks.sub("", text))
    assert read_study(path) == study


def test_settings_that_do_not_belong_are_refused(tmp_path: Path) -> None:
    root = write_raw(tmp_path / "bids", 1)
    dataset = read_dataset(root)
    path = tmp_path / "study.toml"
    for text, words in (
        ('[study]\nreference = "pi"\n[compare]\nreference = "af3"\n', "expected one reference"),
        ('[recon]\nmethod = "grappa"\n', r"expected a table of each protocol"),
        ("[study]\nthreads = 0\n", r"\[study\] threads: expected 1 to 1024, found 0"),
        ('[recon.pi]\nmethod = "best"\n', r"\[recon.pi\] method: expected"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_study(path)
    with pytest.raises(InputError, match=r"\[recon.af9\]: expected a protocol of .*af3, pi"):
        complete(Study(recon={"af9": ReconSettings("grappa")}), dataset)
    given = {name: ReconSettings("zero-filled") for name in ("pi", "af3")}
    with pytest.raises(InputError, match="reference: expected a protocol"):
        complete(Study(study=StudySettings(reference="x"), recon=given), dataset)


def test_images_do_not_tell_the_reference(tmp_path: Path) -> None:
    write_description(tmp_path, name="images", kind="raw", readme="")
    for acq in ("pi", "af3"):
        write_images(tmp_path / "sub-01/anat", f"sub-01_acq-{acq}")
    with pytest.raises(InputError, match="--reference PROTOCOL, one of af3, pi"):
        complete(Study(), read_dataset(tmp_path))


def test_init_writes_what_a_run_would_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_description(tmp_path, name="images", kind="raw", readme="")
    write_images(tmp_path / "sub-01/anat", "sub-01_acq-pi")
    out = tmp_path / "study.toml"
    assert main(["init", str(tmp_path), str(out), "--runs", "last"]) == 0
    assert "the only protocol is the reference" in capsys.readouterr().out
    read = read_study(out)
    assert (read.study.reference, read.study.runs) == ("pi", "last")
    before = out.read_text()
    assert main(["init", str(tmp_path), str(out)]) == 65
    assert "expected no file, found one" in capsys.readouterr().err
    assert out.read_text() == before


def test_workflow_without_snakemake_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_description(tmp_path / "bids", name="images", kind="raw", readme="")
    write_images(tmp_path / "bids/sub-01/anat", "sub-01_acq-pi")
    monkeypatch.setattr("accelqsm.workflow.engine.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    words = ["workflow", str(tmp_path / "bids"), str(tmp_path / "out"), "--", "--cores", "1"]
    assert main(words) == 65
    assert "expected Snakemake, found none (pip install" in capsys.readouterr().err


def test_dataset_tells_scans_sessions_and_what_it_leaves(tmp_path: Path) -> None:
    root = write_raw(tmp_path / "bids", 1)
    folder = root / "sub-01/ses-2/anat"
    write_images(folder, "sub-01_ses-2_acq-pi_rec-x")
    write_images(root / "sub-01/anat", "sub-01_acq-pi")
    write_json(root / "acq-pi_MEGRE.json", {"MagneticFieldStrength": 3.0})
    (folder / "sub-01_ses-2_T1w.nii.gz").write_text("")
    (root / "sourcedata/sub-01/anat/scan.h5").write_text("")
    dataset = read_dataset(root)
    keys = [(s.name(), s.protocol, s.is_kspace) for s in dataset.scans]
    assert keys == [
        ("sub-01_acq-af3", "af3", True),
        ("sub-01_acq-pi", "pi", True),
        ("sub-01_ses-2_acq-pi_rec-x", "pi+x", False),
    ]
    images = dataset.scans[2]
    assert root / "acq-pi_MEGRE.json" in images.files  # inherited: its content is part of the key
    assert images.images == folder / "sub-01_ses-2_acq-pi_rec-x"
    assert dataset.t1w_of("sub-01", "") == folder / "sub-01_ses-2_T1w.nii.gz"
    assert any("raw k-space of the same scan" in note for note in dataset.notes)
    assert any("scan.h5: not used" in note for note in dataset.notes)


def test_what_is_no_dataset_is_refused_with_its_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["run", str(tmp_path / "bids"), str(tmp_path / "out"), "participant"]
    assert main(run) == 66
    (tmp_path / "bids").mkdir()
    assert main(run) == 65
    write_description(tmp_path / "bids", name="empty", kind="raw", readme="")
    assert main(run) == 65
    errors = capsys.readouterr().err.splitlines()
    assert "expected a BIDS dataset, found no such folder" in errors[0]
    assert "expected the description of a BIDS dataset, found none" in errors[1]
    assert "found neither" in errors[2]
    assert not (tmp_path / "out").exists()
    write_raw(tmp_path / "raw", 1)
    words = ["run", str(tmp_path / "raw"), str(tmp_path / "raw"), "participant"]
    assert main(words) == 65
    assert "expected another folder than that of the dataset" in capsys.readouterr().err


def test_names_of_bids_are_in_the_order_of_bids() -> None:
    scan = Scan("sub-01", "ses-2", "pi", "", "3", (), is_kspace=True)
    assert scan.name("grappa") == "sub-01_ses-2_acq-pi_rec-grappa_run-3"
    assert entities_of(Path("my-data/sub-07/acq-af3_run-2/nuclei.tsv")) == {
        "my": "data", "sub": "07", "acq": "af3", "run": "2",
    }  # fmt: skip


def test_paths_of_a_study_are_uris_and_other_words_stay(tmp_path: Path) -> None:
    context = context_of(write_raw(tmp_path / "bids", 1), tmp_path / "out")
    record = {
        "scan": str(tmp_path / "bids/sourcedata/a.h5"),
        "maps": [str(tmp_path / "out/steps/x.nii"), "1//s", "https://doi.org/10"],
        "n": 3,
    }
    assert context.uris(record) == {
        "scan": "bids:raw:sourcedata/a.h5",
        "maps": ["bids::steps/x.nii", "1//s", "https://doi.org/10"],
        "n": 3,
    }


def nuclei_at(path: Path, value: float) -> Path:
    rows = [
        {"region": "Pu", "side": side, "mean_ppb": value + i}
        for i, side in enumerate(("L", "R", "both"))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nuclei(path, pd.DataFrame(rows))
    return path


def test_tables_of_anyone_are_joined_by_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nuclei_at(tmp_path / "mine/sub-01/acq-pi/nuclei.tsv", 10.0)
    nuclei_at(tmp_path / "mine/sub-01/acq-af3/nuclei.tsv", 20.0)
    other = nuclei_at(tmp_path / "other/sub-02_acq-pi_desc-nuclei_stats.tsv", 30.0)
    table = join_tables([tmp_path / "mine", other])
    assert table[["subject", "protocol", "value_ppb"]].values.tolist() == [
        ["sub-01", "af3", 22.0], ["sub-01", "pi", 12.0], ["sub-02", "pi", 32.0],
    ]  # fmt: skip
    sides = join_tables([other], subject="me", protocol="x", sides=True)
    assert sides["region"].tolist() == ["L Pu", "R Pu"]
    assert set(sides["subject"]) == {"me"}
    out = tmp_path / "values.tsv"
    assert main(["values", str(tmp_path / "mine"), str(other), "--to", str(out)]) == 0
    assert "value_ppb" in out.read_text()
    assert "ppb" in json.loads(out.with_suffix(".json").read_text())["value_ppb"]["Units"]
    assert main(["values", str(other), str(other.parent), "--to", str(out), "--overwrite"]) == 65
    assert "expected one table of sub-02 pi" in capsys.readouterr().err
    unknown = nuclei_at(tmp_path / "unknown/nuclei.tsv", 1.0)
    with pytest.raises(InputError, match="expected sub- in its path, or --subject"):
        join_tables([unknown])


def test_jobs_hold_what_is_not_finished(tmp_path: Path) -> None:
    context = context_of(write_raw(tmp_path / "bids"), tmp_path / "out")
    run_participants(context, Selection(subjects=("01",)), do=do_nothing, page=False)
    everything = Selection()
    jobs = jobs_of(context, everything, plan_states(context, everything))
    assert set(jobs["subjects"]) == {"sub-02"}
    assert jobs["scans"]["sub-02_acq-pi"]["chosen"] == "--participant-label 02 --protocol pi"
    assert jobs["subjects"]["sub-02"]["scans"] == ["sub-02_acq-af3", "sub-02_acq-pi"]
    assert not jobs["scans"]["sub-02_acq-pi"]["network"]
