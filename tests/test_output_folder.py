"""OUT holds the results of one run alone: replaced whole when asked to, refused otherwise.

The member not readable off a case: raw data and texts of others next to results, and an
input that a run would replace, are never lost.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from accelqsm.cli import main
from accelqsm.errors import InputError
from accelqsm.files.tables import read_table
from accelqsm.results.folder import folder_in_place, results_folder
from accelqsm.results.names import owner_of, results_in
from output_folders import compare, contents, refusal, values


def test_a_folder_with_results_is_refused_and_stays_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = values(tmp_path / "v.tsv"), tmp_path / "out"
    assert compare(table, out) == 0
    before = contents(out)
    capsys.readouterr()
    assert compare(table, out) == 65
    said = refusal(capsys)
    assert "out: expected a folder without results, found those of compare" in said
    assert "--overwrite" in said
    assert main(["cohort", "zhou2025", str(out)]) == 65
    assert contents(out) == before
    assert {path.name for path in tmp_path.iterdir()} == {"v.tsv", "out"}


def test_overwriting_leaves_nothing_of_the_earlier_run_and_what_no_run_wrote(
    tmp_path: Path,
) -> None:
    table, out = values(tmp_path / "v.tsv"), tmp_path / "out"
    assert compare(table, out) == 0
    assert main(["report", str(out)]) == 0
    (out / "notes.txt").write_text("mine")
    assert main(["cohort", "zhou2025", str(out), "--overwrite"]) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {"values.tsv", "participants.tsv", "settings.toml", "notes.txt"}
    assert compare(values(tmp_path / "w.tsv", 1, ("RN",)), out, "--overwrite") == 0
    left = {path.name for path in out.iterdir()}
    assert not {"values.tsv", "participants.tsv", "report.html"} & left
    assert "notes.txt" in left
    assert set(read_table(out / "agreement.tsv")["region"]) == {"RN", "all"}


def test_maps_without_settings_and_a_table_next_to_them_are_results(tmp_path: Path) -> None:
    """As an interrupted run of an earlier version left them; ``nuclei.tsv`` is of the old map."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("Chimap.nii.gz", "R2starmap.nii.gz", "echo-7_part-mag.nii.gz", "nuclei.tsv"):
        (out / name).write_text("old")
    with pytest.raises(InputError, match=r"found those of an earlier run \(Chimap.nii.gz and 3 mo"):
        results_folder(out, "qsm").__enter__()
    with results_folder(out, "qsm", overwrite=True) as new:
        (new / "Chimap.nii.gz").write_text("new")
    assert set(contents(out)) == {"Chimap.nii.gz", "settings.toml"}
    assert (out / "Chimap.nii.gz").read_text() == "new"


@pytest.mark.parametrize("name", ["mask.nii.gz", "magnitude.nii.gz"])
def test_an_input_that_would_be_replaced_is_refused_even_with_overwrite(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="expected a folder without results"):
        results_folder(tmp_path, "qsm").__enter__()
    with pytest.raises(InputError, match=f"{name}: expected inputs outside"):
        results_folder(tmp_path, "qsm", overwrite=True, inputs=[tmp_path / name]).__enter__()
    assert contents(tmp_path) == {name: b"mine"}
    with results_folder(tmp_path, "compare") as new:  # which writes neither
        (new / "agreement.tsv").write_text("new")
    assert set(contents(tmp_path)) == {name, "agreement.tsv", "settings.toml"}


def test_raw_data_of_others_are_never_results(tmp_path: Path) -> None:
    raw = tmp_path / "sub-01" / "sub-01_acq-af3_MEGRE.h5"
    raw.parent.mkdir()
    raw.write_text("measured")
    with results_folder(tmp_path, "map", overwrite=True) as new:
        (new / "settings.toml").write_text('command = "map"\n')
    assert results_in(tmp_path, "map") == [tmp_path / "settings.toml"]
    assert raw.read_text() == "measured"


def test_demo_rebuilds_its_own_folder_and_training_resumes(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "settings.toml").write_text("seed = 1\n")
    (tmp_path / "values.tsv").write_text("old")
    assert owner_of(tmp_path) == "demo"
    with folder_in_place(tmp_path, "demo"):
        assert [path.name for path in tmp_path.rglob("*.t*")] == ["unfinished.toml"]
        assert owner_of(tmp_path) == "demo"
    (tmp_path / "settings.toml").write_text("[training]\nsteps = 3\n")
    (tmp_path / "checkpoint.safetensors").write_text("trained")
    with folder_in_place(tmp_path, "train", resume=True):
        assert (tmp_path / "checkpoint.safetensors").read_text() == "trained"
    with pytest.raises(InputError, match="found those of train"):
        folder_in_place(tmp_path, "demo").__enter__()
    with folder_in_place(tmp_path, "train", resume=True, overwrite=True):
        assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_table_is_not_replaced_unasked_and_never_an_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = values(tmp_path / "v.tsv")
    assert compare(table, tmp_path / "out") == 0
    plan = ["plan", str(tmp_path / "out" / "agreement.tsv"), "--out"]
    assert main([*plan, str(tmp_path / "plan.tsv")]) == 0
    capsys.readouterr()
    assert main([*plan, str(tmp_path / "plan.tsv")]) == 65
    assert "plan.tsv: expected no file, found one; --overwrite replaces it" in refusal(capsys)
    assert main([*plan, str(tmp_path / "plan.tsv"), "--overwrite"]) == 0
    capsys.readouterr()
    assert main([*plan, plan[1], "--overwrite"]) == 65
    assert "expected another file than the inputs" in refusal(capsys)
    assert main([*plan, str(tmp_path)]) == 65
    assert "expected a file such as " in refusal(capsys)


def test_every_file_that_results_are_written_to_is_known_as_one(tmp_path: Path) -> None:
    from accelqsm.recon.registry import NETWORKS
    from accelqsm.reports.boilerplate import METHODS, REFERENCES
    from accelqsm.results import comparison, echoes, maps, nuclei, study
    from accelqsm.training import loop, run

    constants = {
        "map": [
            maps.CHIMAP, maps.FIELD, maps.FIELD_SD, maps.LOCAL_FIELD, maps.R2STAR, maps.MAGNITUDE,
            maps.MASK, maps.SETTINGS, echoes.echo_name(12, "mag"), METHODS, REFERENCES,
        ],
        "recon": [echoes.echo_name(1, "phase"), echoes.SETTINGS, METHODS, REFERENCES],
        "nuclei": [
            nuclei.TABLE, nuclei.LABELS, nuclei.LOOKUP, nuclei.QUALITY, nuclei.FIGURE,
            nuclei.SETTINGS, METHODS, REFERENCES, "nuclei.json", "quality.json",
        ],
        "compare": [
            comparison.AGREEMENT, comparison.AGE, comparison.CHECKS, comparison.VALUES,
            comparison.PEOPLE, comparison.SETTINGS, *(f"{t}.tsv" for t in comparison.PRINTED),
            "agreement.json", study.REPORT, METHODS, REFERENCES,
        ],
        "demo": [
            study.SIMILARITY, study.NUCLEI, study.VALUES, study.VALUES_AND_TRUTH, study.REPORT,
        ],
        "train": [
            *map(run.weights_name, NETWORKS.names), run.ERRORS, run.CURVE, run.SETTINGS,
            loop.CHECKPOINT, loop.LOG,
        ],
    }  # fmt: skip
    for command, names in constants.items():
        folder = tmp_path / command
        folder.mkdir()
        for name in names:
            (folder / name).write_text("")
        assert {path.name for path in results_in(folder, command)} == set(names), command
    scan = study.scan_files(tmp_path / "simulate", "sub-01", "af3")
    t1w = study.t1w_file(tmp_path / "simulate", "sub-01")
    for path in (scan.raw, scan.labels, scan.truth, t1w):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert len(results_in(tmp_path / "simulate", "simulate")) == 4


def test_an_empty_word_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``accelqsm qsm "$OUT"`` without OUT would write into the folder that one is in."""
    monkeypatch.chdir(tmp_path)
    assert main(["qsm", "", "--megre", "."]) == 65
    assert main(["qsm", "out", "--megre", ""]) == 65
    first, second = capsys.readouterr().err.splitlines()
    assert "expected a word after 'qsm', found an empty one" in first
    assert "after 'out --megre'" in second


def test_a_folder_of_texts_is_no_folder_of_results(tmp_path: Path) -> None:
    """As of a paper: a run that writes no such file may put its own there."""
    (tmp_path / "references.bib").write_text("mine")
    assert main(["cohort", "zhou2025", str(tmp_path)]) == 0
    assert (tmp_path / "references.bib").read_text() == "mine"
