"""A report in other formats: tables for Word and LaTeX, figures for print, a slide."""

from __future__ import annotations

import io
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest

from accelqsm.cli import main
from accelqsm.errors import InputError
from accelqsm.figures.figure import Figure
from accelqsm.reports.cells import Shown, Table, shown
from accelqsm.reports.content.comparison import comparison_content
from accelqsm.reports.content.first_screen import answer
from accelqsm.reports.export.tables import latex, word, write_tables
from accelqsm.results.comparison import read_comparison
from report_study import write_comparison

PEOPLE = ["sub-01", "sub-02", "sub-03", "sub-04", "sub-05"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_comparison(tmp_path_factory.mktemp("compared"), PEOPLE)


@pytest.fixture(scope="module")
def exported(compared: Path) -> Path:
    assert main(["report", str(compared), "--tables", "tex", "--figures"]) == 0
    return compared


def tables_of(folder: Path) -> list[Shown]:
    return [shown(table) for table in comparison_content(read_comparison(folder), folder).tables]


def read_latex(cell: str) -> str:
    """The text that LaTeX would print."""
    commands = {
        "$-$": "−", r"$\pm$": "±", r"$\times$": "✗", r"$\checkmark$": "✓", "--": "–",
        r"\textless{}": "<", r"\textsuperscript{3}": "³", r"\%": "%", r"\_": "_", r"\&": "&",
    }  # fmt: skip
    for written, read in commands.items():
        cell = cell.replace(written, read)
    return cell.replace("~", " ")


def test_latex_has_every_cell_of_the_page(exported: Path) -> None:
    text = (exported / "tables.tex").read_text(encoding="utf-8")
    tables = tables_of(exported)
    assert len(tables) >= 8
    parts = text.split(r"\endlastfoot")[1:]
    assert len(parts) == len(tables)
    for part, table in zip(parts, tables, strict=True):
        lines = part[: part.index(r"\end{longtable}")].split("\n")[1:-1]
        cells = [read_latex(line.removesuffix(r" \\")).split(" & ") for line in lines]
        assert cells == [[cell.replace("\xa0", " ") for cell in row] for row in table.rows]


def test_latex_takes_no_command_from_a_label() -> None:
    evil = r"50 % \input{/etc/passwd} $x_1^2$ #1 & {a}~b <c> −1.5 ± 2"
    table = shown(Table(evil, pd.DataFrame({evil: [evil]}), evil))
    text = latex([table]).decode()
    assert r"\input{" not in text
    body = text[text.index(r"\endlastfoot") : text.index(r"\end{longtable}")].splitlines()[1]
    assert body == (
        r"50 \% \textbackslash{}input\{/etc/passwd\} \$x\_1\textasciicircum{}2\$ \#1 \& "
        r"\{a\}\textasciitilde{}b \textless{}c\textgreater{} $-$1.5 $\pm$ 2 \\"
    )
    assert text.isascii()


def test_word_has_every_cell_of_the_page(compared: Path) -> None:
    docx = pytest.importorskip("docx")
    tables = tables_of(compared)
    document = docx.Document(io.BytesIO(word(tables)))
    assert len(document.tables) == len(tables)
    for found, table in zip(document.tables, tables, strict=True):
        cells = [[cell.text for cell in row.cells] for row in found.rows]
        assert cells == [list(table.headings), *map(list, table.rows)]
        assert "tblHeader" in found.rows[0]._tr.xml
    section = document.sections[0]
    assert section.page_width > section.page_height


def test_without_its_library_word_is_refused_in_one_line(
    compared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "docx", None)
    assert main(["report", str(compared), "--tables", "docx"]) == 65
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "expected the package python-docx, found none: pip install 'accelqsm[word]'" in said
    assert not (compared / "tables.docx").exists()
    with pytest.raises(InputError, match="expected docx or tex, found 'pdf'"):
        write_tables([], compared, ["pdf"])


def test_figures_are_for_print_and_their_text_is_text(exported: Path) -> None:
    folder = exported / "figures"
    stems = {path.stem for path in folder.iterdir()}
    assert {"forest", "slide", "figure-1-bland-altman-difference-from-pi"} <= stems
    assert {path.suffix for path in folder.iterdir()} == {".svg", ".png"}
    content = comparison_content(read_comparison(exported), exported)
    assert content.forest is not None
    screen = matplotlib.image.imread(io.BytesIO(content.forest.png))
    printed = matplotlib.image.imread(folder / "forest.png")
    assert printed.shape[0] == pytest.approx(2 * screen.shape[0], abs=1)
    words = " ".join(ET.parse(folder / "forest.svg").getroot().itertext())
    assert "difference from PI (%)" in words
    assert "left putamen" in words
    assert "<script" not in (folder / "forest.svg").read_text()


def test_the_slide_says_line_one(exported: Path) -> None:
    said = " ".join(
        " ".join(ET.parse(exported / "figures" / "slide.svg").getroot().itertext()).split()
    )
    found = answer(read_comparison(exported))
    for text in (found.text, f"{found.outcome.sign} {found.outcome.word}"):
        assert " ".join(text.split()) in said
    height, width, _ = matplotlib.image.imread(exported / "figures" / "slide.png").shape
    assert width / height == pytest.approx(16 / 9, abs=0.01)


@pytest.mark.slow
def test_figures_of_an_earlier_report_go_and_the_results_stay_whole(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale, foreign = (exported / "figures" / n for n in ("figure-9-old.png", "mine.png"))
    before = (exported / "figures" / "forest.svg").read_bytes()
    for path in (stale, foreign):
        path.write_bytes(b"")
    assert main(["report", str(exported), "--figures"]) == 0
    assert not stale.exists()
    assert foreign.exists()
    assert (exported / "figures" / "forest.svg").read_bytes() == before
    foreign.unlink()
    values = str(exported.parent / "values.tsv")
    assert main(["compare", values, str(exported), "--reference", "PI", "--overwrite"]) == 0
    assert not (exported / "tables.tex").exists()
    assert not list(exported.glob("figures/*"))
    assert capsys.readouterr().err == ""


def test_a_picture_from_a_file_has_no_svg(tmp_path: Path) -> None:
    figure = Figure("t", "c", "words", b"\x89PNG")
    assert figure.save(tmp_path / "a.png").read_bytes() == b"\x89PNG"
    with pytest.raises(InputError, match=r"a\.svg: expected a figure drawn here"):
        figure.save(tmp_path / "a.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
