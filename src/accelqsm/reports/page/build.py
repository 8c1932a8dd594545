"""Self-contained HTML page of a report, without network requests."""

from __future__ import annotations

import base64
import re
import struct
from importlib import resources
from typing import Any

import jinja2
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.figures.canvas import DPI, WIDTH_INCHES
from accelqsm.figures.figure import Figure
from accelqsm.reports.page.content import ReportContent, Table, Viewer
from accelqsm.reports.page.viewer import script_policy, viewer_context
from accelqsm.reports.tables import MISSING, show

PAGE_WIDTH_PX = 1040
NUMBER = re.compile(r"[-<\N{MINUS SIGN}]?[\d.∞]+( \[[^\]]*\])?")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def build_page(report: ReportContent) -> str:
    """Render a report as one self-contained HTML page.

    Figures, volumes and styles are inlined. A content security policy forbids all requests and all
    scripts except that of the viewer, which is identified by checksum. All text is escaped, so
    that labels from data sets cannot become markup.

    Args:
        report: content of the report; empty parts are left out.

    Returns:
        The page, to be written as UTF-8.

    Raises:
        InputError: a figure whose bytes are not a PNG, or that has no alternative text; volumes
            or a viewer's script that are damaged.
    """
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_source),
    )
    viewer = report.viewer
    return environment.get_template("template.html.j2").render(
        report=report,
        script_policy="" if viewer is None else script_policy(),
        viewer=None if viewer is None else _viewer(viewer),
        verdict=None if report.verdict is None else _table(report.verdict),
        figures=[_figure(figure) for figure in report.figures],
        tables=[_table(table) for table in report.tables],
        people=report.people,
        people_table=None if report.people_table is None else _table(report.people_table),
        checklists=[_table(table) for table in report.checklists],
        settings={name: _setting(value) for name, value in report.settings.items()},
        provenance={name: _setting(value) for name, value in report.provenance.items()},
        page_width_px=PAGE_WIDTH_PX,
    )


def _source(name: str) -> str:
    return resources.files("accelqsm.reports.page").joinpath(name).read_text("utf-8")


def _viewer(viewer: Viewer) -> dict[str, object]:
    still = _figure(viewer.still)
    return viewer_context(viewer) | {
        "title": viewer.title,
        "caption": viewer.caption,
        "still": still,
        "alt": f"{viewer.title}. The sliders above move through the volume. {viewer.still.alt}",
    }


def _figure(figure: Figure) -> dict[str, object]:
    if not figure.png.startswith(PNG_SIGNATURE):
        raise InputError(f"figure '{figure.title}': expected PNG bytes, found something else")
    if not figure.alt.strip():
        raise InputError(f"figure '{figure.title}': expected an alternative text, found none")
    width, height = struct.unpack(">II", figure.png[16:24])
    scale = PAGE_WIDTH_PX / (WIDTH_INCHES * DPI)
    return {
        "title": figure.title,
        "caption": figure.caption,
        "alt": figure.alt,
        "source": "data:image/png;base64," + base64.b64encode(figure.png).decode("ascii"),
        "width": min(round(width * scale), PAGE_WIDTH_PX),
        "height": round(height * min(scale, PAGE_WIDTH_PX / width)),
    }


def _table(table: Table) -> dict[str, object]:
    names = [str(column) for column in table.frame.columns]
    rows = [
        [
            show(value, table.formats.get(name, ".4g"))
            for name, value in zip(names, row, strict=True)
        ]
        for row in table.frame.itertuples(index=False, name=None)
    ]
    first = [row[0] if row else "" for row in rows]
    return {
        "title": table.title,
        "caption": table.caption,
        "headings": [table.headings.get(name, name) for name in names],
        "numeric": [_is_numeric(table.frame.iloc[:, i]) for i in range(len(names))],
        "rows": rows,
        # A line above each new group, because rows of one nucleus are read together.
        "starts": [i > 0 and first[i] != first[i - 1] for i in range(len(rows))],
        "grouped": len(set(first)) < len(first),
    }


def _is_numeric(column: pd.Series[Any]) -> bool:
    if pd.api.types.is_numeric_dtype(column):
        return True
    texts = [text for text in column.dropna().astype(str) if text != MISSING]
    return bool(texts) and all(NUMBER.fullmatch(text) for text in texts)


def _setting(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(_setting(item) for item in value)
    return str(value)
