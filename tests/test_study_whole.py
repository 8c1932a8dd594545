"""A whole study of two small brains by the command line, from images to the report."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.cli import main
from accelqsm.files.bids.description import write_description
from accelqsm.files.megre.writer import write_megre
from accelqsm.files.nifti import read_volume, write_image
from accelqsm.files.tables import read_table, write_table
from object_phantom import phantom
from study_folder import results

SUBJECTS, PROTOCOLS = ("sub-01", "sub-02"), ("pi", "af3")
QUICK = """
[study]
reference = "pi"
labels = "derivatives/labels"
[qsm]
background = "vsharp"
[qsm.l1]
n_iterations = 3
"""


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two brains with two protocols, of which the last has a truncated file."""
    root = tmp_path_factory.mktemp("study") / "bids"
    write_description(root, name="brains", kind="raw", readme="Brains.")
    labels = root / "derivatives" / "labels"
    for number, subject in enumerate(SUBJECTS):
        for protocol in PROTOCOLS:
            made = phantom((0.004, 0.012, 0.020), n_voxels=24, noise_sd=1 / (80 + 10 * number))
            stem = root / subject / "anat" / f"{subject}_acq-{protocol}"
            echoes = made.echoes.numpy()
            write_megre(
                stem, np.abs(echoes), np.angle(echoes), made.grid,
                echo_times_s=made.echo_times_s, field_strength_t=3.0,
            )  # fmt: skip
            name = f"{subject}_acq-{protocol}_desc-nuclei_dseg.nii.gz"
            write_image(labels / subject / "anat" / name, made.labels.numpy(), made.grid)
    last = root / "sub-02/anat/sub-02_acq-af3_echo-2_part-phase_MEGRE.nii.gz"
    last.write_bytes(last.read_bytes()[:200])
    names = [{"index": i, "name": f"N{i}"} for i in range(1, 6)]
    write_table(labels / "desc-nuclei_dseg.tsv", pd.DataFrame(names))
    return root


@pytest.fixture(scope="module")
def settings(bids: Path) -> str:
    path = bids.parent / "quick.toml"
    path.write_text(QUICK)
    return str(path)


@pytest.fixture(scope="module")
def out(bids: Path, settings: str) -> Path:
    """The study, one participant after the other."""
    out = bids.parent / "out"
    assert main(["run", str(bids), str(out), "participant", "--settings", settings]) == 1
    return out


def test_derivatives_have_bids_names_and_units(bids: Path, out: Path) -> None:
    anat = out / "sub-01/anat"
    chi = json.loads((anat / "sub-01_acq-pi_Chimap.json").read_text())
    assert chi["Units"] == "ppm"
    assert chi["SkullStripped"] is True
    assert chi["Sources"][0].startswith("bids:raw:sub-01/anat/sub-01_acq-pi_echo-1")
    described = json.loads((out / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"][0]["Name"] == "accelqsm"
    assert (out / described["DatasetLinks"]["raw"]).resolve() == bids.resolve()
    assert not [line for line in (out / ".bidsignore").read_text().split() if line.endswith("/")]
    labels = read_volume(anat / "sub-01_acq-pi_desc-nuclei_dseg.nii.gz").values
    assert set(np.unique(labels)) == set(range(6))
    # No path of this machine, so that the results are the same wherever they were made.
    records = [path.read_text() for path in out.rglob("settings.toml")]
    assert not [text for text in records if str(bids.parent) in text]


def test_each_participant_has_a_page_with_what_failed_and_pictures(out: Path) -> None:
    page = (out / "sub-02.html").read_text(encoding="utf-8")
    assert "2 of 4 steps are finished" in page
    assert "sub-02 acq-af3 map: failed:" in page
    assert "truncated or damaged gzip file" in page
    assert page.count("data:image/png") == 2  # maps and labels of the scan that is there
    assert "N3" in page
    whole = (out / "sub-01.html").read_text(encoding="utf-8")
    assert "4 of 4 steps are finished" in whole
    assert whole.count("data:image/png") == 4
    assert "mask (ml)" in whole


def test_the_group_compares_who_is_there_and_names_who_is_not(
    out: Path, bids: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["run", str(bids), str(out), "group"]) == 1
    said = capsys.readouterr()
    assert said.out.strip() == str(out / "index.html")
    index = (out / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"', index)
    assert set(links) == {
        "group/values.tsv", "group/agreement/report.html", "sub-01.html", "sub-02.html"
    }  # fmt: skip
    assert all((out / link).is_file() for link in links)
    assert 'alt="Strip plots of mask' in index
    assert "default-src 'none'" in index
    assert "sub-02_acq-af3: needs sub-02 acq-af3 map:" in index
    assert "sub-02_acq-af3: left out: needs sub-02 acq-af3 map:" in said.err
    values = read_table(out / "group/values.tsv", text=("note",))
    assert len(values) == len(SUBJECTS) * len(PROTOCOLS) * 5
    missing = values[values["value_ppb"].isna()]
    assert set(zip(missing["subject"], missing["protocol"], strict=True)) == {("sub-02", "af3")}
    page = (out / "group/agreement/report.html").read_text()
    assert "sub-02_acq-af3_echo-2_part-phase_MEGRE.nii.gz" in page
    before = os.stat(out / "group/agreement/report.html").st_mtime_ns
    assert main(["run", str(bids), str(out), "group"]) == 1
    assert os.stat(out / "group/agreement/report.html").st_mtime_ns == before


def test_a_group_of_some_compares_their_ages_and_names_nobody_else(
    out: Path, bids: Path, tmp_path: Path
) -> None:
    people = bids / "participants.tsv"
    people.write_text("participant_id\tage\nsub-01\t30\nsub-02\t40\nsub-09\t50\n")
    try:
        other = Path(shutil.copytree(out, tmp_path / "out"))
        assert main(["run", str(bids), str(other), "group", "--participant-label", "01"]) == 0
        assert main(["run", str(bids), str(out), "group"]) == 1
    finally:
        people.unlink()
    kept = [read_table(o / "group/agreement/compared-participants.tsv", text=("participant_id",))
            for o in (other, out)]  # fmt: skip
    assert [list(table["participant_id"]) for table in kept] == [
        ["sub-01"],
        ["sub-01", "sub-02", "sub-09"],
    ]


def test_one_protocol_has_values_and_a_page_without_a_comparison(
    out: Path, bids: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(out, tmp_path / "out", ignore=shutil.ignore_patterns("group")))
    assert main(["run", str(bids), str(other), "group", "--protocol", "pi"]) == 0
    values = read_table(other / "group/values.tsv")
    assert set(values["protocol"]) == {"pi"}
    assert values["value_ppb"].notna().all()
    index = (other / "index.html").read_text(encoding="utf-8")
    assert "One protocol: there is nothing to compare it with." in index
    links = set(re.findall(r'href="([^"]+)"', index))
    assert links == {"group/values.tsv", "sub-01.html", "sub-02.html"}
    assert not (other / "group/agreement").exists()


def test_a_dry_run_tells_states_and_writes_nothing(
    out: Path, bids: Path, settings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(bids), str(out), "participant", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    states = {line[:21].strip(): line[21:] for line in printed.splitlines()}
    assert states["sub-01 acq-pi map"].split() == ["finished"]
    assert states["sub-02 acq-af3 map"].split()[0] == "failed"
    assert "waits     needs sub-02 acq-af3 map" in states["sub-02 acq-af3 nuclei"]
    assert printed.splitlines()[-1] == "6 finished, 1 failed, 1 waits"
    new = tmp_path / "new"
    assert (
        main(["run", str(bids), str(new), "participant", "--settings", settings, "--dry-run"]) == 0
    )
    assert not new.exists()


@pytest.mark.slow
def test_a_second_run_elsewhere_gives_the_same_bytes(bids: Path, out: Path, settings: str) -> None:
    other = bids.parent / "again"
    words = ["--settings", settings, "--participant-label", "sub-01"]
    assert main(["run", str(bids), str(other), "participant", *words]) == 0
    one, two = results(out), results(other)
    own = {name for name in one if "sub-01" in name}
    assert own
    assert own == {name for name in two if "sub-01" in name}
    assert [name for name in own if one[name] != two[name]] == []


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("snakemake") is None, reason="needs Snakemake")
def test_snakemake_on_two_cores_gives_the_same_bytes(bids: Path, out: Path, settings: str) -> None:
    main(["run", str(bids), str(out), "group"])
    other = bids.parent / "workflow"
    assert (
        main(["workflow", str(bids), str(other), "--settings", settings, "--", "--cores", "2"]) == 1
    )
    one, two = results(out), results(other)
    assert [name for name in one if one[name] != two.get(name)] == []
