"""Progress of long work: bars and lines where somebody asked for them, silence elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
_SHOWN = False


def show_progress(on: bool = True) -> None:
    """Switch progress on (the command line does) or off, as it is when Python starts."""
    global _SHOWN
    _SHOWN = on


@contextmanager
def progress_shown() -> Iterator[None]:
    """Progress within a block, and as it was before afterwards."""
    before = _SHOWN
    show_progress()
    try:
        yield
    finally:
        show_progress(before)


def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Pass ``items`` on, showing how many of ``total`` are done when on a terminal."""
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
    """Say what is being done (on a terminal, from the start) and how many seconds it took."""
    if say is None and _SHOWN and sys.stdout.isatty():
        print(f"  {description} ...", end="\r", flush=True)
    say = say or _say
    start = time.perf_counter()
    yield
    say(f"  {description:<58s} {time.perf_counter() - start:6.1f} s")


def _say(line: str) -> None:
    if _SHOWN:
        print(line, flush=True)
