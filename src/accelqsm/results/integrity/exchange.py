"""Exchange of old results for new ones, such that a killed run can be undone by the next.

A folder in which nothing else lies is exchanged in one step where the system has it (Linux).
Otherwise files move one by one: a note says that the folder is unfinished, the old record goes
first and the new one comes last. After it go the magnitudes of a scan, and before it they come:
between the two, readers find phases without magnitudes, and refuse.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.files.atomic import write_text
from accelqsm.files.toml import write_settings
from accelqsm.results.records import SETTINGS, UNFINISHED

ASIDE, COMING = ".replaced", ".coming"
"""Folder of the old files, and list of the new ones, in the folder of a run that exchanges them."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def exchange(
    staging: Path,
    folder: Path,
    old: Sequence[Path],
    *,
    last: str = SETTINGS,
    note: Mapping[str, str] | None = None,
) -> None:
    """Replace old files by the new ones of ``staging``, all or none.

    Args:
        staging: folder of the new files, on the same file system.
        folder: where they go; files that are not in ``old`` stay there.
        old: files in ``folder`` and below that go.
        last: the file that says that all are there: it goes first and comes last.
        note: content of the file that says the contrary meanwhile; none without it.
    """
    if not folder.exists():
        _rename(staging, folder)
        return
    if last == SETTINGS and _is_all(folder, old) and _swapped(staging, folder):
        return
    new = _in_order(staging, (path for path in staging.rglob("*") if path.is_file()), last)[::-1]
    write_text(staging / COMING, "".join(f"{path.relative_to(staging)}\n" for path in new))
    aside = staging / ASIDE
    aside.mkdir()
    leaving = _in_order(folder, old, last)
    coming = _wholes(new, staging, folder)
    with ExitStack() as back:
        if note:
            back.callback((folder / UNFINISHED).unlink, missing_ok=True)
            write_settings(folder / UNFINISHED, note)
        for source, target in (
            *((path, aside / path.relative_to(folder)) for path in leaving),
            *((path, folder / path.relative_to(staging)) for path in coming),
        ):
            if source == staging / last:
                (folder / UNFINISHED).unlink(missing_ok=True)
            _move(source, target)
            back.callback(_move, target, source)
        back.pop_all()
    remove_empty(folder, old)


def undo(staging: Path, folder: Path, *, last: str = SETTINGS) -> None:
    """Undo what a killed run left half-exchanged: the old files are as they were.

    Args:
        staging: folder of that run.
        folder: where its files were to go.
        last: as for ``exchange``.
    """
    aside = staging / ASIDE
    if not aside.is_dir():
        return
    if (staging / last).is_file():  # it comes last: not all are there
        coming = (staging / COMING).read_text(encoding="utf-8").splitlines()
        for name in reversed(coming):
            if (folder / name).is_file() and not (staging / name).exists():
                _move(folder / name, staging / name)
        remove_empty(folder, (folder / name for name in coming))
        replaced = [path for path in aside.rglob("*") if path.is_file()]
        for path in _in_order(aside, replaced, last)[::-1]:
            _move(path, folder / path.relative_to(aside))
    (folder / UNFINISHED).unlink(missing_ok=True)


def remove_empty(folder: Path, gone: Iterable[Path]) -> None:
    """Remove the folders below ``folder`` that are empty since files are gone."""
    above = {parent for path in gone for parent in path.parents if folder in parent.parents}
    for empty in sorted(above, key=lambda path: len(path.parts), reverse=True):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()


def _in_order(folder: Path, paths: Iterable[Path], last: str) -> list[Path]:
    """Files in the order in which old ones go, and against which new ones come.

    The record, magnitudes, phases, and the rest, which describes images.
    """

    def rank(path: Path) -> int:
        if path == folder / last:
            return 0
        if path.suffix == ".json":
            return 3
        return 1 if "part-mag" in path.name else 2

    return sorted(paths, key=rank)


def _wholes(new: Sequence[Path], staging: Path, folder: Path) -> list[Path]:
    """New files, or the outermost folder of each that is new itself and so moves in one step."""
    found = []
    for path in new:
        name = path.relative_to(staging)
        above = [parent for parent in reversed(name.parents) if parent.name]
        found.append(next((p for p in above if not (folder / p).exists()), name))
    return [staging / name for name in dict.fromkeys(found)]


def _move(source: Path, target: Path) -> None:
    if target.exists():
        raise InputError(f"{target}: expected no file of this name, found one")
    target.parent.mkdir(parents=True, exist_ok=True)
    _rename(source, target)


def _rename(source: Path, target: Path) -> None:
    source.rename(target)


def _is_all(folder: Path, old: Sequence[Path]) -> bool:
    """Whether nothing else lies in a folder, and nobody who would miss it works there."""
    known = {*old, *(parent for path in old for parent in path.parents)}
    return all(path in known for path in folder.rglob("*")) and not any(
        path == folder for path in (Path.cwd(), *Path.cwd().parents)
    )


def _swapped(staging: Path, folder: Path) -> bool:
    """Exchange two folders in one step; False where the system or its owner does not allow it."""
    here, there = folder.stat(), staging.stat()
    if (here.st_uid, here.st_gid) != (there.st_uid, there.st_gid):
        return False
    rename = None
    if sys.platform.startswith("linux"):
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    shutil.copystat(folder, staging)
    sys.audit("os.rename", str(staging), str(folder), -1, -1)
    names = os.fsencode(staging), os.fsencode(folder)
    done: int = rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    return done == 0
