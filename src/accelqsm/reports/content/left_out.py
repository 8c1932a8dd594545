"""Collector of report parts that cannot be made."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

from accelqsm.errors import InputError, InputWarning

Made = TypeVar("Made")


class LeftOut:
    """Makes parts of a report, and records those that fail.

    Attributes:
        lines: a sentence for each part that is left out.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def make(self, title: str, draw: Callable[[], Made]) -> list[Made]:
        """Return the part in a list, or an empty list after adding the reason to ``lines``."""
        try:
            return [draw()]
        except InputError as error:
            self.lines.append(f"Left out: {title} ({error}).")
            warnings.warn(InputWarning(self.lines[-1]), stacklevel=2)
            return []
