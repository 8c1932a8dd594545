"""Atomic output folders: checked in advance, locked by one run, complete or unchanged.

A run writes into a hidden folder next to its output folder; files are exchanged at the end. The
previous results remain until then, and remain if a run fails. What a killed run left, the next one
with the same output undoes.
"""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from accelqsm.errors import InputError, OutputError, output_error
from accelqsm.files.atomic import PARTIAL
from accelqsm.files.toml import write_settings
from accelqsm.results.integrity.check import written_here
from accelqsm.results.integrity.exchange import exchange, remove_empty, undo
from accelqsm.results.integrity.seal import seal, seal_folders
from accelqsm.results.lock import locked
from accelqsm.results.names import CACHES, owner_of, results_in
from accelqsm.results.records import SETTINGS, UNFINISHED
from accelqsm.runtime.disk import check_free, no_space

LEAST_FREE_BYTES = 2**20
"""Without it no run begins: what a comparison writes, with its report."""


@contextmanager
def results_folder(
    out: str | Path, command: str, *, overwrite: bool = False, inputs: Sequence[Path] = ()
) -> Iterator[Path]:
    """Context manager of a temporary folder whose files replace those of ``out`` on success.

    After an exception ``out`` is as it was. Files that no run left in ``out`` stay there. The
    record, ``settings.toml``, names the checksums of all files.

    Args:
        out: folder for the results; made with the folders above it.
        command: whose results they are.
        overwrite: replace all results of an earlier run in ``out``.
        inputs: files that are read, which must not be among what is replaced.

    Raises:
        InputError: ``out`` is a file, is in use by another run, or holds results.
        OutputError: ``out`` cannot be written.
        DiskError: no space is left.
    """
    folder = _resolved(out)
    with _claimed(folder, Path(out)) as (workplace, mark):
        _recover(folder, workplace, mark)
        old = _replaceable(folder, Path(out), command, overwrite=overwrite, inputs=inputs)
        with _staging(workplace, mark) as staging:
            yield staging
            if any(staging.iterdir()) and not (staging / SETTINGS).is_file():
                write_settings(staging / SETTINGS, {"command": command})
            seal_folders(path for path in staging.rglob("*") if path.is_file())
            exchange(staging, folder, old, note=_note(command))


@contextmanager
def folder_in_place(
    out: Path, command: str, *, overwrite: bool = False, resume: bool = False
) -> Iterator[None]:
    """Lock a folder that is written in place, as a run resumes in it or it refers to itself.

    Until the run ends well, the folder says that it is unfinished.

    Args:
        out: the folder.
        command: whose results it holds; an earlier run's of the same command may be there.
        overwrite: replace results of any command.
        resume: leave the earlier run's results to go on from.

    Raises:
        InputError: as ``results_folder``.
    """
    folder = _resolved(out)
    with _claimed(folder, out) as (workplace, mark):
        _recover(folder, workplace, mark)
        own = owner_of(folder) == command
        old = _replaceable(folder, out, command, overwrite=overwrite or own, inputs=())
        write_settings(folder / UNFINISHED, _note(command))
        if overwrite or not resume:
            old = sorted(old, key=lambda path: path != folder / SETTINGS)
            for path in old:
                if path != folder / UNFINISHED:
                    path.unlink()
            remove_empty(folder, old)
        try:
            with written_here(folder):
                yield
            made = results_in(folder, command)
            seal_folders(path for path in made if path.relative_to(folder).parts[0] not in CACHES)
            (folder / UNFINISHED).unlink()
        except BaseException:
            if results_in(folder, command) == [folder / UNFINISHED]:  # nothing came about
                (folder / UNFINISHED).unlink()
                _unmake([folder])
            raise


@contextmanager
def results_table(
    out: str | Path, *, overwrite: bool = False, inputs: Sequence[Path] = ()
) -> Iterator[Path]:
    """Context manager of a temporary path of a table, with the files of the same stem beside it.

    The table goes first and comes last: where it is, the others are its own. A record of the same
    stem, as TOML, names their checksums.

    Args:
        out: the table.
        overwrite: replace a table that is there.
        inputs: files that are read.

    Raises:
        InputError: ``out`` is a folder or an input, or is there.
        OutputError: ``out`` cannot be written.
        DiskError: no space is left.
    """
    path = _resolved(out)
    if path.is_dir():
        raise InputError(
            f"{out}: expected a file such as {Path(out) / 'nuclei.tsv'}, found a folder"
        )
    if any(_resolved(one) == path for one in inputs):
        raise InputError(f"{out}: expected another file than the inputs, found one of them")
    folder, mark = path.parent, f".{path.name}"
    with _locked(folder, folder, mark, Path(out)):
        _recover(folder, folder, mark, last=path.name)
        if path.exists() and not overwrite:
            raise InputError(f"{out}: expected no file, found one; --overwrite replaces it")
        with _staging(folder, mark) as staging:
            table = staging / path.name
            yield table
            if (record := table.with_suffix(".toml")).is_file():
                seal(record, [one for one in staging.iterdir() if one != record])
            old = [one for one in (folder / new.name for new in staging.iterdir()) if one.is_file()]
            exchange(staging, folder, old, last=path.name)


@contextmanager
def added_files(out: Path, *, last: str) -> Iterator[tuple[Path, list[Path]]]:
    """Context manager of a temporary folder whose files are added to those of ``out`` on success.

    Yields the folder, and a list to fill with the files of ``out`` that make way.

    Args:
        out: a folder that grows, such as a BIDS data set; nothing is made where nothing is added.
        last: a file that every run writes: it goes first and comes last.

    Raises:
        InputError: as ``results_folder``, but for results in it.
    """
    folder = _resolved(out)
    with _claimed(folder, out) as (workplace, mark):
        _recover(folder, workplace, mark, last=last)
        with _staging(workplace, mark) as staging:
            replaced: list[Path] = []
            yield staging, replaced
            if any(staging.iterdir()):
                exchange(staging, folder, [_resolved(path) for path in replaced], last=last)


@contextmanager
def locked_folder(out: str | Path) -> Iterator[None]:
    """Lock a folder to add a page to results, or to make another form of them.

    Raises:
        InputError: as ``results_folder``.
    """
    folder = _resolved(out)
    with _claimed(folder, Path(out)):
        _remove_partial(folder)
        yield


def check_space(out: Path, n_bytes: int) -> None:
    """Check that there is enough disk space for results.

    Raises:
        DiskError: less space than ``n_bytes`` in the nearest folder that exists.
    """
    check_free(_resolved(out), n_bytes, name=out, use="the results")


@contextmanager
def _claimed(folder: Path, out: Path) -> Iterator[tuple[Path, str]]:
    """Lock a folder; yield the folder for temporary files, and the prefix of their names."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{out}: expected a folder for the results, found a file")
    made = _make(folder.parent, out)
    try:
        workplace, mark = _workplace(folder, out)
        with _locked(folder, workplace, mark, out):
            yield workplace, mark
    finally:
        _unmake(made)


@contextmanager
def _locked(folder: Path, workplace: Path, mark: str, out: Path) -> Iterator[None]:
    """Lock what is to be written; errors of the disk are told in one line."""
    made = _make(workplace, out)
    try:
        _check_writable(workplace, out)
        check_free(workplace, LEAST_FREE_BYTES, name=out, use="the results")
        with locked(workplace / f"{mark}.lock", out):
            yield
    except OSError as error:
        if (told := _told(error, out, (folder, workplace))) is None:
            raise
        raise told from error
    finally:
        _unmake(made)


@contextmanager
def _staging(workplace: Path, mark: str) -> Iterator[Path]:
    """Temporary folder of a run, for the files that are to be exchanged."""
    staging = workplace / f"{mark}.partial-{os.getpid()}"
    try:
        staging.mkdir()
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _recover(folder: Path, workplace: Path, mark: str, *, last: str = SETTINGS) -> None:
    """Undo what a killed run left behind."""
    for stale in workplace.glob(f"{glob.escape(mark)}.partial-*"):
        undo(stale, folder, last=last)
        shutil.rmtree(stale, ignore_errors=True)
    if last == SETTINGS:
        _remove_partial(folder)


def _remove_partial(folder: Path) -> None:
    """Remove the temporary files of single files that a killed run was writing."""
    for partial in folder.glob(f"{PARTIAL}*"):
        partial.unlink(missing_ok=True)


def _note(command: str) -> dict[str, str]:
    """What a folder says of itself until it is finished."""
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    return {
        "command": command,
        "unfinished": f"This run began at {started}. {SETTINGS} takes the place of this file when "
        "it ends well; until then the files here do not belong together.",
    }


def _told(error: OSError, out: Path, places: Sequence[Path]) -> InputError | None:
    """An error of the disk in one line; None for another error."""
    if not no_space(error):
        return None
    here = any(str(error.filename or place).startswith(str(place)) for place in places)
    return output_error(out if here else "temporary files", error)


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


def _make(folder: Path, out: Path) -> list[Path]:
    """Make a folder and its parents; return the new ones, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _unmake(missing)
        raise output_error(out, error) or OutputError(f"{out}: {error}") from error
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
    try:
        with tempfile.TemporaryFile(dir=folder):  # without a name, so that none can stay
            pass
    except OSError as error:
        raise output_error(out, error) or OutputError(f"{out}: {error}") from error


def _resolved(path: str | Path) -> Path:
    return Path(os.path.realpath(path))
