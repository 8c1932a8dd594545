"""Self-contained HTML page of a report, without network requests."""

from __future__ import annotations

import base64
import struct
from importlib import resources

import jinja2

from accelqsm.errors import InputError
from accelqsm.figures.canvas import DPI, WIDTH_INCHES
from accelqsm.figures.figure import Figure
from accelqsm.reports.cells import shown, typeset
from accelqsm.reports.page.content import ReportContent, Viewer
from accelqsm.reports.page.viewer import script_policy, viewer_context

PAGE_WIDTH_PX = 1040
SCREEN_SCALE = PAGE_WIDTH_PX / (WIDTH_INCHES * DPI)
CONTENTS = {
    "forest": "Each nucleus", "viewer": "Viewer", "details": "Details", "figures": "Figures",
    "tables": "Tables", "people": "Participants", "methods": "Methods", "settings": "Settings",
    "provenance": "Provenance", "references": "References", "checklists": "Checklists",
}  # fmt: skip
"""Anchor -> name of each part of the page."""
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
    viewer, forest = report.viewer, report.forest
    context = {
        "report": report,
        "answer": report.answer.outcome,
        "forest": None if forest is None else shown_figure(forest),
        "script_policy": "" if viewer is None else script_policy(),
        "viewer": None if viewer is None else _viewer(viewer),
        "figures": [shown_figure(figure) for figure in report.figures],
        "tables": [shown(table) for table in report.tables],
        "people": report.people,
        "people_table": None if report.people_table is None else shown(report.people_table),
        "checklists": [shown(table) for table in report.checklists],
        "settings": {name: _setting(value) for name, value in report.settings.items()},
        "provenance": {name: _setting(value) for name, value in report.provenance.items()},
        "page_width_px": PAGE_WIDTH_PX,
    }
    contents = [(name, heading) for name, heading in CONTENTS.items() if _has(name, report)]
    return environment.get_template("template.html.j2").render(contents=contents, **context)


def _has(part: str, report: ReportContent) -> bool:
    if part == "people":
        return bool(report.people) or report.people_table is not None
    found = getattr(report, "summary" if part == "details" else part)
    return found is not None and bool(found)


def _source(name: str) -> str:
    return resources.files("accelqsm.reports.page").joinpath(name).read_text("utf-8")


def _viewer(viewer: Viewer) -> dict[str, object]:
    still = shown_figure(viewer.still)
    return viewer_context(viewer) | {
        "title": viewer.title,
        "caption": viewer.caption,
        "still": still,
        "alt": f"{viewer.title}. The sliders above move through the volume. {viewer.still.alt}",
    }


def shown_figure(figure: Figure) -> dict[str, object]:
    """A figure as templates show it.

    Raises:
        InputError: no PNG, or no text in its place.
    """
    if not figure.png.startswith(PNG_SIGNATURE):
        raise InputError(f"figure '{figure.title}': expected PNG bytes, found something else")
    if not figure.alt.strip():
        raise InputError(f"figure '{figure.title}': expected an alternative text, found none")
    width, height = struct.unpack(">II", figure.png[16:24])
    return {
        "title": figure.title,
        "caption": typeset(figure.caption),
        "alt": figure.alt,
        "source": "data:image/png;base64," + base64.b64encode(figure.png).decode("ascii"),
        "width": min(round(width * SCREEN_SCALE), PAGE_WIDTH_PX),
        "height": round(height * min(SCREEN_SCALE, PAGE_WIDTH_PX / width)),
    }


def _setting(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(_setting(item) for item in value)
    return str(value)
