"""The report is rebuilt from a folder: what it says, what it leaves out, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.agreement.flow import left_out
from accelqsm.agreement.verdict.words import headline
from accelqsm.cli import main
from accelqsm.errors import InputError, InputWarning
from accelqsm.figures.extreme import largest_difference
from accelqsm.files.tables import read_table, write_table
from accelqsm.reports.cells import typeset
from accelqsm.reports.checklists.items import CLAIM, GRRAS, OPEN
from accelqsm.reports.rebuild import rebuild_report
from accelqsm.results.comparison import read_comparison
from output_folders import resealed, without_checksums
from report_study import QSM, WEIGHTS, values_table, write_comparison, write_study

EVIL = "<script>alert(1)</script>"
PEOPLE = ["sub-01", "sub-02", "sub-03", "sub-04", "sub-05"]


class Text(HTMLParser):
    """The words of a page, tables as rows of cells, figures as captions."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.headings: list[str] = []
        self._in: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")
        if tag not in ("img", "meta", "link", "br", "input"):
            self._in.append(tag)

    def handle_endtag(self, tag):
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data):
        if {"style", "script"} & set(self._in):
            return
        self.words.append(data.strip())
        if {"td", "th"} & set(self._in):
            self.rows[-1][-1] += data
        if {"h1", "h2", "h3"} & set(self._in):
            self.headings[-1] += data

    def __str__(self) -> str:
        return " ".join(filter(None, self.words))


def text_of(report: Path) -> Text:
    return Text(report.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_comparison(tmp_path_factory.mktemp("compared"), PEOPLE)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = write_study(tmp_path_factory.mktemp("study"), ["sub-01"])
    _, lost = rebuilt_at_a_loss(out)
    assert lost.count("Left out") == 1  # there is no k-space to show
    return out


@pytest.fixture(scope="module")
def page_of_compared(compared: Path) -> str:
    return rebuild_report(compared).read_text(encoding="utf-8")


def rebuilt_at_a_loss(out: Path) -> tuple[str, str]:
    """The page, and what was warned of."""
    with pytest.warns(InputWarning) as lost:
        page = rebuild_report(out).read_text(encoding="utf-8")
    return page, " ".join(str(entry.message) for entry in lost)


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def test_verdict_comes_first_and_says_what_the_table_says(
    compared: Path, page_of_compared: str
) -> None:
    page = Text(page_of_compared)
    table = read_table(compared / "agreement.tsv")
    table = table[table["region"] != "all"]
    assert (table["verdict"] == "not equivalent").any()
    line = typeset(headline(read_comparison(compared).verdicts))
    assert line.endswith("AF5: 0 of 4.")
    first = str(page).index(line)
    assert first < str(page).index("Figures")
    shown = {row[0]: row[1:] for row in reversed(page.rows) if len(row) == 3}
    for row in table.to_dict("records"):
        column = ["AF3", "AF5"].index(row["protocol"])
        assert re.sub(r"^\W+|\s*\(\d+\)$", "", shown[row["region"]][column]) == row["verdict"]


def test_printed_tables_keep_every_digit(compared: Path, page_of_compared: str) -> None:
    page = Text(page_of_compared)
    for name in ("table-2", "table-3", "table-4"):
        lines = (compared / f"{name}.tsv").read_text().splitlines()
        for line in lines:
            assert line.split("\t") in page.rows


def test_figures_follow_the_paper_and_have_words(page_of_compared: str, study: Path) -> None:
    captions = re.findall(r"<b>Figure \d+\. ([^<]*)\.</b>", page_of_compared)
    assert captions == [
        "Bland-Altman: difference from PI",
        "The subject with the largest difference",
        "Susceptibility against age",
    ]
    page = (study / "report.html").read_text()
    captions = re.findall(r"<b>Figure \d+\. ([^<]*)\.</b>", page)
    assert captions == [
        "The nuclei",
        "Protocols side by side",
        "Nuclei, magnified",
        "Bland-Altman: difference from PI",
        "The subject with the largest difference",
        "Where the maps differ",
    ]
    alternatives = re.findall(r"<img[^>]* alt=\"([^\"]*)\"", page)
    assert len(alternatives) == 8
    assert min(map(len, alternatives)) > 40
    assert len(page) < 8e6


@pytest.mark.slow
def test_same_folder_gives_the_same_bytes_and_computes_nothing(
    compared: Path, page_of_compared: str, tmp_path: Path
) -> None:
    out = copied(compared, tmp_path / "out")
    assert rebuild_report(out).read_text(encoding="utf-8") == page_of_compared
    table = (out / "agreement.tsv").read_text().split("\n")
    names = table[0].split("\t")
    cells = table[1].split("\t")
    cells[names.index("bias")] = "123.456"
    (out / "agreement.tsv").write_text("\n".join([table[0], "\t".join(cells), *table[2:]]))
    assert "123.5" in str(text_of(rebuild_report(resealed(out))))


def test_methods_settings_and_provenance_come_from_the_folder(study: Path) -> None:
    page = str(text_of(study / "report.html"))
    for words in (
        "seed 4711", "matrix 40 x 44 x 24, voxels 2 x 2 x 2 mm", "echo times 4, 11 ms",
        "repetition time 31 ms", "flip angle 17 degrees", "6 receive channels",
        "vSHARP (Wu et al. 2012) with radii of 12, 4 mm and a threshold of 0.05",
        "lambda 0.00031 ppm mm", "at most 77 iterations", "AF5 (acceleration 2.00) by ReconNet3D",
        "PI (acceleration 2.00) by GRAPPA", "every coil channel by itself",
        "two one-sided tests (Schuirmann 1987) at 5 % each", WEIGHTS,
        "9.8.7 (scans); 9.8.6 (PI maps, AF3 maps",
        "doi 10.1002/mrm.23000",
    ):  # fmt: skip
        assert words in page, words
    for name in QSM:
        assert f"qsm: {name}" in page
    for name in ("reference", "margin_percent", "confidence", "power"):
        assert f"compare: {name}" in page


def test_checklists_have_every_item_and_leave_to_authors_what_is_theirs(
    page_of_compared: str,
) -> None:
    page = Text(page_of_compared)
    rows = [row for row in page.rows if len(row) == 3 and row[0].isdigit()]
    grras, claim = rows[: len(GRRAS)], rows[len(GRRAS) :]
    assert [int(row[0]) for row in grras] == list(range(1, 16))
    assert [int(row[0]) for row in claim] == list(CLAIM)
    answers = {int(row[0]): row[2] for row in grras}
    assert answers[11].startswith("5 people per nucleus")
    assert answers[7] == OPEN
    assert answers[14] == OPEN
    assert {int(row[0]): row[2] for row in claim}[42] == OPEN


@pytest.mark.slow
def test_who_was_left_out_is_named_with_the_reason(tmp_path: Path) -> None:
    values = values_table([*PEOPLE, EVIL])
    gone = (values["subject"] == "sub-02") & (values["protocol"] == "AF5")
    values.loc[gone, "value_ppb"] = np.nan
    values["note"] = np.where(gone, "moved during the scan", "")
    one = (values["subject"] == EVIL) & (values["protocol"] == "PI") & (values["region"] == "L Pu")
    values = values[~one]
    out = write_comparison(tmp_path, [*PEOPLE, "sub-09"], values=values)
    raw = rebuild_report(out).read_text(encoding="utf-8")
    rows = Text(raw).rows
    assert ["sub-02", "AF5", "every", "moved during the scan", "AF5"] in rows
    assert [EVIL, "PI", "L Pu", "no value", "every comparison"] in rows
    assert [EVIL, "every", "every", "no age", "analysis of age"] in rows
    said = ["sub-09", "every", "every", "among the participants, but not measured", "everything"]
    assert said in rows
    assert "<script" not in raw.lower()
    assert "People with values under both protocols, per nucleus: 4 to 6." in str(Text(raw))


def test_nobody_missing_is_said_too(page_of_compared: str) -> None:
    page = str(Text(page_of_compared))
    assert "5 measured; nobody was left out: no value and no age is missing." in page


def test_people_without_gaps_are_not_listed() -> None:
    values = values_table(["a", "b", "c"])
    assert left_out(values, reference="PI").empty
    values.loc[0, "value_ppb"] = np.nan
    rows = left_out(values, reference="PI").to_dict("records")
    assert [(row["subject"], row["regions"]) for row in rows] == [("a", "L Pu")]


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    values = values_table([EVIL, *PEOPLE]).replace({"AF5": f"AF5 {EVIL}", "L Pu": f"L Pu {EVIL}"})
    out = write_comparison(tmp_path, [EVIL, *PEOPLE], values=values)
    page = rebuild_report(out).read_text(encoding="utf-8")
    assert "<script" not in page.lower()
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.slow
def test_hostile_folder_name_stays_a_word_beside_scripts(tmp_path: Path) -> None:
    evil = "sub-<script>alert(1)<"
    out = write_study(tmp_path / "study", [evil])
    page, _ = rebuilt_at_a_loss(out)
    assert page.lower().count("<script>") == 1  # the one that starts the viewer
    assert "&lt;script&gt;alert(1)&lt;" in page


def test_viewer_holds_the_maps_around_the_nuclei(study: Path) -> None:
    page = (study / "report.html").read_text(encoding="utf-8")
    facts = json.loads(re.search(r'id="viewer-facts">([^<]*)', page)[1])
    assert [(m["name"], m["unit"], m["colours"]) for m in facts["maps"]] == [
        *((name, "ppb", "gray") for name in ("PI", "AF3", "AF5", "truth")),
        *((f"{name} − PI", "ppb", "difference") for name in ("AF3", "AF5")),
        *((f"{name} magnitude", "", "gray") for name in ("PI", "AF3", "AF5")),
    ]
    assert facts["colours"]["labels"] == ["", "L Pu", "R Pu", "L RN", "R RN"]
    assert facts["colours"]["I"] == [0, 1, 2, 3, 4]
    same = [facts["colours"][channel][1] == facts["colours"][channel][2] for channel in "RGB"]
    assert all(same)


def test_missing_volumes_leave_out_their_figures_and_say_so(study: Path, tmp_path: Path) -> None:
    out = copied(study, tmp_path / "out")
    (out / "maps" / "sub-01" / "acq-pi" / "Chimap.nii.gz").unlink()
    page, lost = rebuilt_at_a_loss(out)
    assert "Pictures of the maps" in lost
    assert "Chimap.nii.gz of PI, found none" in page
    assert "Bland-Altman: difference from PI" in page
    assert "viewer-canvas" not in page
    assert "script-src" not in page


@pytest.mark.slow
def test_a_damaged_volume_costs_no_more_than_its_figures(study: Path, tmp_path: Path) -> None:
    out = copied(study, tmp_path / "out")
    echo = out / "maps" / "sub-01" / "acq-af3" / "echo-2_part-mag.nii.gz"
    echo.write_bytes(echo.read_bytes()[:200])
    with pytest.raises(InputError, match=r"echo-2_part-mag.nii.gz: expected SHA-256 .* found"):
        rebuild_report(out)
    for record in out.rglob("settings.toml"):
        without_checksums(record)
    page, lost = rebuilt_at_a_loss(out)
    assert "settings.toml and 4 more: no checksums" in lost
    assert "Protocols side by side" in lost
    assert "echo-2_part-mag.nii.gz: truncated or damaged" in page
    assert "Nuclei, magnified" in page
    assert "viewer-canvas" in page


def test_missing_values_leave_the_tables(compared: Path, tmp_path: Path) -> None:
    out = copied(compared, tmp_path / "out")
    (out / "compared-values.tsv").unlink()
    page, lost = rebuilt_at_a_loss(out)
    assert "compared-values.tsv: no such file" in lost
    assert "<figure" not in page
    assert "Equivalent to PI?" in page
    assert "so that excluded subjects cannot be named" in page


@pytest.mark.parametrize("state", ["absent", "empty", "half"])
def test_folder_without_results_is_one_line(
    state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    if state != "absent":
        out.mkdir()
    if state == "half":
        (out / "settings.toml").write_text('command = "compare"\n')
    before = sorted(out.rglob("*")) if out.exists() else []
    assert main(["report", str(out)]) == 65
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"accelqsm: {out}: expected the folder of a finished demo")
    assert said.out == ""
    assert (sorted(out.rglob("*")) if out.exists() else []) == before


def test_results_that_cannot_be_read_are_one_line(
    compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copied(compared, tmp_path / "out")
    (out / "report.html").unlink(missing_ok=True)
    write_table(out / "agreement.tsv", pd.DataFrame({"region": ["Pu"], "protocol": ["AF3"]}))
    assert main(["report", str(resealed(out))]) == 65
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "agreement.tsv: expected the tab-separated column(s) n, mean_reference" in said
    assert not (out / "report.html").exists()


def test_command_prints_where_the_page_is(
    compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(compared)]) == 0
    assert capsys.readouterr().out.strip() == str(compared / "report.html")


@pytest.mark.slow
def test_report_of_a_comparison_needs_no_torch(compared: Path) -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from accelqsm.reports.rebuild import rebuild_report;"
        f"rebuild_report(Path({str(compared)!r}));"
        "print(sorted({'torch', 'matplotlib.pyplot'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_largest_difference_is_the_largest_of_either_sign() -> None:
    values = values_table(["a", "b"])
    values["value_ppb"] = 10.0
    chosen = (values["subject"] == "b") & (values["region"] == "R RN")
    values.loc[chosen & (values["protocol"] == "AF3"), "value_ppb"] = 4.0
    values.loc[(values["subject"] == "a") & (values["protocol"] == "AF5"), "value_ppb"] = 15.0
    found = largest_difference(values, reference="PI")
    assert (found.subject, found.region, found.protocol) == ("b", "R RN", "AF3")
    assert found.difference_ppb == -6.0
    with pytest.raises(InputError, match="expected pairs with 'full', found none"):
        largest_difference(values, reference="full")
