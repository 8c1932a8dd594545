"""Parts of a report that can or cannot be made."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

from accelqsm.errors import InputError, InputWarning

Made = TypeVar("Made")


class LeftOut:
    """Makes the parts of a report, and notes those that cannot be made."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def make(self, title: str, draw: Callable[[], Made]) -> list[Made]:
        """The part in a list, or an empty list and a line that says why."""
        try:
            return [draw()]
        except InputError as error:
            self.lines.append(f"Left out: {title} ({error}).")
            warnings.warn(InputWarning(self.lines[-1]), stacklevel=2)
            return []
