"""Progress of long work: bars on a terminal, silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Pass ``items`` on, showing how many of ``total`` are done when on a terminal."""
    if not sys.stderr.isatty():
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
    import time

    if say is None and sys.stdout.isatty():
        print(f"  {description} ...", end="\r", flush=True)
    say = say or (lambda line: print(line, flush=True))
    start = time.perf_counter()
    yield
    say(f"  {description:<58s} {time.perf_counter() - start:6.1f} s")
