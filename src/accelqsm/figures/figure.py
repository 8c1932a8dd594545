"""Record of a figure with title, caption and alternative text."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """A figure with title, caption and alternative text; displayed in notebooks.

    Attributes:
        title: short heading.
        caption: what is shown and how to read it.
        alt: alternative text for readers who cannot see the figure.
        png: PNG bytes.
    """

    title: str
    caption: str
    alt: str
    png: bytes = field(repr=False)

    def save(self, path: str | Path) -> Path:
        """Write the figure as PNG."""
        Path(path).write_bytes(self.png)
        return Path(path)

    def _repr_png_(self) -> bytes:
        return self.png
