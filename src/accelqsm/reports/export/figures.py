"""Figures of a report as SVG and PNG for print, and one picture for a slide."""

from __future__ import annotations

import re
from pathlib import Path

from accelqsm.figures.figure import Figure
from accelqsm.reports.page.content import ReportContent

FOLDER = "figures"
ENDINGS = (".svg", ".png")
OWN = ("figure-*", "forest", "slide")
"""Names of earlier figures, which are removed: their numbers may be others."""
LONGEST_NAME = 50


def write_figures(report: ReportContent, slide: Figure | None, out: Path) -> list[Path]:
    """Write every figure of a report, its forest plot and its slide, as SVG and PNG of 300 dpi.

    Args:
        report: its content.
        slide: picture of its answer for a slide.
        out: folder of the report; the figures go to ``figures`` in it.

    Returns:
        Paths of the files.
    """
    folder = out / FOLDER
    folder.mkdir(exist_ok=True)
    for ending in ENDINGS:
        for stem in OWN:
            for old in folder.glob(f"{stem}{ending}"):
                old.unlink()
    named = {f"figure-{n}-{_slug(f.title)}": f for n, f in enumerate(report.figures, 1)}
    named |= {} if report.forest is None else {"forest": report.forest}
    named |= {} if slide is None else {"slide": slide}
    return [
        figure.save(folder / f"{name}{ending}")
        for name, figure in named.items()
        for ending in ENDINGS
    ]


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:LONGEST_NAME].rstrip("-")
