"""Progress bars and timing lines, shown where they are switched on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

Item = TypeVar("Item")
Given = ParamSpec("Given")
Made = TypeVar("Made")
_SHOWN = False


def show_progress(on: bool = True) -> None:
    """Switch progress output on (as the command line does) or off (the default in Python)."""
    global _SHOWN
    _SHOWN = on


@contextmanager
def progress_shown() -> Iterator[None]:
    """Context manager that switches progress output on, and restores its state afterwards."""
    before = _SHOWN
    show_progress()
    try:
        yield
    finally:
        show_progress(before)


def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Iterate over ``items`` with a progress bar on a terminal."""
    if not (_SHOWN and sys.stderr.isatty()):
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(
        items, description=description, total=total, console=Console(stderr=True), transient=True
    )


@contextmanager
def step(description: str, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Print a description (on a terminal, at the start as well) and the seconds taken."""
    if say is None and _SHOWN and sys.stdout.isatty():
        print(f"  {description} ...", end="\r", flush=True)
    say = say or _say
    start = time.perf_counter()
    yield
    say(f"  {description:<58s} {time.perf_counter() - start:6.1f} s")


def _say(line: str) -> None:
    if _SHOWN:
        print(line, flush=True)


def stage(description: str = "") -> None:
    """Name what is being done until the next call, on a terminal alone; nothing is left of it."""
    if _SHOWN and sys.stderr.isatty():
        print(f"\r\x1b[2K{f'  {description} ...' if description else ''}", end="", file=sys.stderr)
        sys.stderr.flush()


def staged(description: str) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """Name a function (``stage``) while it runs."""

    def named(function: Callable[Given, Made]) -> Callable[Given, Made]:
        @wraps(function)
        def run(*given: Given.args, **words: Given.kwargs) -> Made:
            stage(description)
            try:
                return function(*given, **words)
            finally:
                stage()

        return run

    return named
