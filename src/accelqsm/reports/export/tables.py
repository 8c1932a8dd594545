"""Tables of a report as Word document or LaTeX, with the digits of the page."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.atomic import whole_file
from accelqsm.reports.cells import MINUS, Shown, Table, shown

if TYPE_CHECKING:
    from docx.document import Document

STEM = "tables"
MANY_COLUMNS = 7
"""From here on a LaTeX table is set in small type."""
MATHEMATICS = {
    MINUS: "$-$", "∞": r"$\infty$", "≤": r"$\leq$", "±": r"$\pm$", "×": r"$\times$",
    "³": r"\textsuperscript{3}", "²": r"\textsuperscript{2}", "✓": r"$\checkmark$",
    "✗": r"$\times$", "–": "--", "\N{NO-BREAK SPACE}": "~",
}  # fmt: skip
"""Characters that pdfLaTeX does not know in text."""
SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "%": r"\%", "&": r"\&", "#": r"\#",
        "_": r"\_", "$": r"\$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    }
)  # fmt: skip
HEAD = r"""% Tables of an accelqsm report. In the preamble:
% \usepackage{booktabs,longtable,amssymb} \usepackage[T1]{fontenc}
"""


def write_tables(tables: Iterable[Table], out: Path, formats: Sequence[str]) -> list[Path]:
    """Write ``tables.docx`` or ``tables.tex``, each whole or not at all.

    Args:
        tables: as on the page, numbered in their order.
        out: folder of the report.
        formats: keys of ``FORMATS``.

    Raises:
        InputError: an unknown format, or one whose library is not installed.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InputError(f"tables: expected {' or '.join(FORMATS)}, found '{unknown[0]}'")
    numbered = [shown(table) for table in tables]
    made = {name: FORMATS[name](numbered) for name in formats}
    paths = []
    for name, content in made.items():
        paths.append(out / f"{STEM}.{name}")
        with whole_file(paths[-1]) as temporary:
            temporary.write_bytes(content)
    return paths


def latex(tables: Sequence[Shown]) -> bytes:
    """Tables as LaTeX (booktabs, longtable), to be read in with ``\\input``."""
    return "\n".join([HEAD, *(_latex_table(t, n) for n, t in enumerate(tables, 1))]).encode()


def _latex_table(table: Shown, number: int) -> str:
    frame = pd.DataFrame(
        [[_latex_text(cell) for cell in row] for row in table.rows],
        columns=[_latex_text(heading) for heading in table.headings],
    )
    stop = "" if table.title.endswith("?") else "."
    caption = f"{_latex_text(table.title)}{stop} {_latex_text(table.caption)}".strip()
    text = frame.to_latex(
        index=False,
        longtable=True,
        caption=(caption, _latex_text(table.title)),
        label=f"tab:accelqsm-{number}",
        column_format="".join("r" if numeric else "l" for numeric in table.numeric),
    )
    wide = len(table.headings) >= MANY_COLUMNS
    return f"{{\\footnotesize\n{text}}}\n" if wide else text


def _latex_text(text: str) -> str:
    escaped = text.translate(SPECIAL)
    for character, written in MATHEMATICS.items():
        escaped = escaped.replace(character, written)
    return escaped


def word(tables: Sequence[Shown]) -> bytes:
    """Tables as Word document, landscape, headings repeated on every page.

    Raises:
        InputError: python-docx is not installed.
    """
    try:
        import docx
        from docx.enum.section import WD_ORIENT
    except ImportError as error:
        raise InputError(
            "tables.docx: expected the package python-docx, found none: pip install "
            "'accelqsm[word]'"
        ) from error
    document = docx.Document()
    section = document.sections[0]
    section.orientation = WD_ORIENT.LANDSCAPE
    section.page_width, section.page_height = section.page_height, section.page_width
    for number, table in enumerate(tables, 1):
        document.add_heading(f"Table {number}. {table.title}", level=2)
        _word_table(document, table)
        if table.caption:
            document.add_paragraph(table.caption)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def _word_table(document: Document, table: Shown) -> None:
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.oxml import OxmlElement
    from docx.shared import Pt

    grid: Any = document.add_table(rows=0, cols=len(table.headings), style="Light List")
    for place, row in enumerate([table.headings, *table.rows]):
        cells = grid.add_row().cells
        for cell, text, numeric in zip(cells, row, table.numeric, strict=True):
            paragraph = cell.paragraphs[0]
            run = paragraph.add_run(text)
            run.font.size, run.bold = Pt(8), place == 0
            if numeric:
                paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
    if grid.rows:
        heading = OxmlElement("w:tblHeader")
        grid.rows[0]._tr.get_or_add_trPr().append(heading)


FORMATS: Mapping[str, Callable[[Sequence[Shown]], bytes]] = {"docx": word, "tex": latex}
"""Ending of the file -> its content."""
