"""A picture with the words that go with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A picture with the words that go with it.

    Attributes:
        title: short heading.
        caption: what is shown and how to read it.
        alt: what the picture says, for those who do not see it.
        png: the picture, PNG bytes.
    """

    title: str
    caption: str
    alt: str
    png: bytes
