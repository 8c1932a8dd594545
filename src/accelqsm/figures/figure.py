"""Record of a figure with title, caption and alternative text."""

from __future__ import annotations

import os
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
        """Write the figure as PNG, whole or not at all."""
        partial = Path(path).with_name(f".partial-{os.getpid()}-{Path(path).name}")
        try:
            partial.write_bytes(self.png)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return Path(path)

    def _repr_png_(self) -> bytes:
        return self.png
