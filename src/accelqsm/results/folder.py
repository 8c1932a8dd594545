"""Atomic output folders: checked in advance, locked by one run, complete or unchanged.

A run writes into a hidden folder next to its output folder; files are exchanged at the end. The
previous results remain until then, and remain if a run fails.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.results.lock import locked
from accelqsm.results.names import owner_of, results_in
from accelqsm.results.records import SETTINGS

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
LEAST_FREE_BYTES = 2**26


@contextmanager
def results_folder(
    out: str | Path, command: str, *, overwrite: bool = False, inputs: Sequence[Path] = ()
) -> Iterator[Path]:
    """Context manager of a temporary folder whose files replace those of ``out`` on success.

    After an exception ``out`` is as it was. Files that no run left in ``out`` stay there.

    Args:
        out: folder for the results; made with the folders above it.
        command: whose results they are.
        overwrite: replace all results of an earlier run in ``out``.
        inputs: files that are read, which must not be among what is replaced.

    Raises:
        InputError: ``out`` is a file, cannot be written, is in use by another run, or holds
            results; or no space is left.
    """
    folder = _resolved(out)
    with _claimed(folder, Path(out)) as (workplace, mark):
        old = _replaceable(folder, Path(out), command, overwrite=overwrite, inputs=inputs)
        staging = workplace / f"{mark}.partial-{os.getpid()}"
        for stale in workplace.glob(f"{mark}.partial-*"):
            shutil.rmtree(stale, ignore_errors=True)
        try:
            staging.mkdir()
            yield staging
            _exchange(staging, folder, old)
        except OSError as error:
            if error.errno not in NO_SPACE or _free_bytes(workplace) > LEAST_FREE_BYTES:
                raise
            raise InputError(f"{out}: expected space for the results, found none left") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def folder_in_place(
    out: Path, command: str, *, overwrite: bool = False, resume: bool = False
) -> Iterator[None]:
    """Lock a folder that is written in place, as a run resumes in it or it refers to itself.

    Args:
        out: the folder.
        command: whose results it holds; an earlier run's of the same command may be there.
        overwrite: replace results of any command.
        resume: leave the earlier run's results to go on from.

    Raises:
        InputError: as ``results_folder``.
    """
    folder = _resolved(out)
    with _claimed(folder, out):
        own = owner_of(folder) == command
        old = _replaceable(folder, out, command, overwrite=overwrite or own, inputs=())
        if overwrite or not resume:
            for path in old:
                path.unlink()
            _remove_empty(folder, old)
        yield


def check_table_file(out: Path, *, overwrite: bool = False, inputs: Sequence[Path] = ()) -> None:
    """Check that the file of a table can be written and does not exist.

    Raises:
        InputError: a folder, an input, a file without ``overwrite``, or a place that cannot be
            written.
    """
    path = _resolved(out)
    if path.is_dir():
        raise InputError(f"{out}: expected a file such as {out / 'nuclei.tsv'}, found a folder")
    if any(_resolved(one) == path for one in inputs):
        raise InputError(f"{out}: expected another file than the inputs, found one of them")
    if path.exists() and not overwrite:
        raise InputError(f"{out}: expected no file, found one; --overwrite replaces it")
    made = _make(path.parent, out)
    _check_writable(path.parent, out)
    _unmake(made)


def check_space(out: Path, n_bytes: int) -> None:
    """Check that there is enough disk space.

    Raises:
        InputError: less space than ``n_bytes`` in the nearest folder that exists.
    """
    place = _resolved(out)
    while not place.is_dir():
        place = place.parent
    free = _free_bytes(place)
    if free < n_bytes:
        raise InputError(
            f"{out}: expected {n_bytes / 2**20:.0f} MiB of free space for the results, found "
            f"{free / 2**20:.0f} MiB"
        )


@contextmanager
def _claimed(folder: Path, out: Path) -> Iterator[tuple[Path, str]]:
    """Lock a folder; yield the folder for temporary files, and the prefix of their names."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{out}: expected a folder for the results, found a file")
    made = _make(folder.parent, out)
    try:
        workplace, mark = _workplace(folder, out)
        with locked(workplace / f"{mark}.lock", out):
            yield workplace, mark
    finally:
        _unmake(made)


def _workplace(folder: Path, out: Path) -> tuple[Path, str]:
    """Folder for temporary files: the parent, or the folder itself if it is a mount point."""
    if folder.is_dir():
        _check_writable(folder, out)
        same_disk = folder.stat().st_dev == folder.parent.stat().st_dev
        if not (same_disk and os.access(folder.parent, os.W_OK | os.X_OK)):
            return folder, ".accelqsm"
    _check_writable(folder.parent, out)
    return folder.parent, f".{folder.name}"


def _replaceable(
    folder: Path, out: Path, command: str, *, overwrite: bool, inputs: Sequence[Path]
) -> list[Path]:
    """Existing results in a folder, after a check that all may be replaced."""
    old = results_in(folder, command)
    if old and not overwrite:
        owner = owner_of(folder)
        of = f"of {'qsm or map' if owner == 'map' else owner} " if owner else ""
        more = f" and {len(old) - 1} more" if len(old) > 1 else ""
        raise InputError(
            f"{out}: expected a folder without results, found those {of}of an earlier run "
            f"({old[0].relative_to(folder)}{more}); --overwrite (overwrite=True) replaces them, "
            "also for the same run again"
        )
    for path in inputs:
        if _resolved(path) in old:
            raise InputError(f"{path}: expected inputs outside of what is replaced in {out}")
    return old


def _exchange(staging: Path, folder: Path, old: Sequence[Path]) -> None:
    """Replace old files by new ones, all or none."""
    if not folder.exists():
        staging.rename(folder)
        return
    aside = staging / ".replaced"
    new = [path for path in staging.rglob("*") if path.is_file()]
    # The settings say that a folder is complete: they go first and come last.
    leaving = sorted(old, key=lambda path: path.name != SETTINGS)
    coming = sorted(new, key=lambda path: path.name == SETTINGS)
    moves = [(path, aside / path.relative_to(folder)) for path in leaving]
    moves += [(path, folder / path.relative_to(staging)) for path in coming]
    with ExitStack() as back:
        for source, target in moves:
            if target.exists():
                raise InputError(f"{target}: expected no file of this name, found one")
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
            back.callback(_rename_back, target, source)
        back.pop_all()
    _remove_empty(folder, old)


def _rename_back(moved: Path, origin: Path) -> None:
    origin.parent.mkdir(parents=True, exist_ok=True)
    moved.rename(origin)


def _remove_empty(folder: Path, gone: Iterable[Path]) -> None:
    """Remove empty folders below ``folder``."""
    above = {parent for path in gone for parent in path.parents if folder in parent.parents}
    for empty in sorted(above, key=lambda path: len(path.parts), reverse=True):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()


def _make(folder: Path, out: Path) -> list[Path]:
    """Make a folder and its parents; return the new ones, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _unmake(missing)
        raise InputError(f"{out}: expected a place to write, found {_reason(error)}") from error
    return missing


def _unmake(made: Sequence[Path]) -> None:
    """Remove new folders that are still empty."""
    for path in made:
        try:
            path.rmdir()
        except OSError:  # something lies in it, perhaps of another run
            return


def _check_writable(folder: Path, out: Path) -> None:
    """Check by a temporary file that a folder is writable, as permissions are not sufficient."""
    probe = folder / f".accelqsm-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{out}: expected a place to write, found {_reason(error)}") from error


def _reason(error: OSError) -> str:
    return f"{(error.strerror or str(error)).lower()} ({error.filename})"


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _resolved(path: str | Path) -> Path:
    return Path(os.path.realpath(path))
