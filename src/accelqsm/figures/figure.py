"""A picture with the words that go with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """A picture with the words that go with it; a notebook shows it by itself.

    Attributes:
        title: short heading.
        caption: what is shown and how to read it.
        alt: what the picture says, for those who do not see it.
        png: the picture, PNG bytes.
    """

    title: str
    caption: str
    alt: str
    png: bytes = field(repr=False)

    def save(self, path: str | Path) -> Path:
        """Write the picture as PNG."""
        Path(path).write_bytes(self.png)
        return Path(path)

    def _repr_png_(self) -> bytes:
        return self.png
