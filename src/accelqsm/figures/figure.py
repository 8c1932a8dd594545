"""Record of a figure with title, caption and alternative text."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from accelqsm.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


@dataclass(frozen=True)
class Figure:
    """A figure with title, caption and alternative text; displayed in notebooks.

    Attributes:
        title: short heading.
        caption: what is shown and how to read it.
        alt: alternative text for readers who cannot see the figure.
        png: PNG bytes, at the resolution of a screen.
        drawing: what was drawn, for other formats; None for a picture read from a file.
    """

    title: str
    caption: str
    alt: str
    png: bytes = field(repr=False)
    drawing: Drawing | None = field(default=None, repr=False, compare=False)

    def save(self, path: str | Path) -> Path:
        """Write the figure as SVG (``.svg``) or as PNG of 300 dpi, whole or not at all.

        A picture read from a file keeps its bytes.

        Raises:
            InputError: an SVG of a picture read from a file.
        """
        partial = Path(path).with_name(f".partial-{os.getpid()}-{Path(path).name}")
        content = self._as_svg(Path(path)) if Path(path).suffix == ".svg" else self._for_print()
        try:
            partial.write_bytes(content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return Path(path)

    def _repr_png_(self) -> bytes:
        return self.png

    def _for_print(self) -> bytes:
        from accelqsm.figures.canvas import PRINT_DPI, to_png

        return self.png if self.drawing is None else to_png(self.drawing, dpi=PRINT_DPI)

    def _as_svg(self, path: Path) -> bytes:
        from accelqsm.figures.canvas import to_svg

        if self.drawing is None:
            raise InputError(f"{path}: expected a figure drawn here, found a picture from a file")
        return to_svg(self.drawing)
