"""Command-line entry point: argument parser, exit codes and one-line error messages.

Numerical libraries are imported when a command runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from accelqsm import __version__
from accelqsm.errors import InputError, InputWarning, PartlyFailed, output_error
from accelqsm.runtime.disk import no_space
from accelqsm.runtime.memory import keep_freed_memory
from accelqsm.runtime.progress import progress_shown, stage

if TYPE_CHECKING:
    from accelqsm.commands.common import Command

EXIT_BAD_INPUT = 65
EXIT_UNEXPECTED = 70
EXIT_INTERRUPTED = 130
LONGEST_LINE = 1200
UNUSABLE_NAMES = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)
COMMANDS = (
    "simulation.demo",
    "study.run",
    "study.init",
    "study.values",
    "study.workflow",
    "images.dicom_import",
    "images.map",
    "images.recon",
    "images.qsm",
    "images.dicom_export",
    "tables.nuclei",
    "tables.similarity",
    "tables.compare",
    "tables.plan",
    "tables.report",
    "simulation.simulate",
    "simulation.cohort",
    "tools.pattern",
    "tools.train",
    "tools.doctor",
)
"""Modules of ``accelqsm.commands``, in the order in which ``--help`` lists them."""


class _CommandParser(argparse.ArgumentParser):
    """Parser of a command; one with the default ``passed_on`` leaves words after ``--`` there."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Namespace of the words, and those that are not known."""
        words = list(args)
        passed_on: list[str] = []
        if self.get_default("passed_on") is not None and "--" in words:
            place = words.index("--")
            words, passed_on = words[:place], words[place + 1 :]
        found, unknown = super().parse_known_args(words, namespace)
        if passed_on:
            found.passed_on = passed_on
        return found, unknown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0: done; 1: some participants of a study failed, 75: another attempt may end otherwise, each
    with its line; 65: unusable input, 66: no data set, 73: no place for the results, 74: a full
    disk, each with one line on stderr; 70: an error of this software, with one line and how to
    report it (``--debug``: with its traceback); 130: interrupted. A command line that cannot be
    read ends with 2 (``SystemExit``).
    """
    given = sys.argv[1:] if arguments is None else arguments
    try:
        options = parser().parse_args(given)
    except InputError as error:
        return _refuse(error)
    keep_freed_memory()
    try:
        return _run(options, given)
    except Exception as error:
        if options.debug:
            raise
        stage()
        status, said = _unexpected(options, error)
        print(f"accelqsm: {_one_line(said)}", file=sys.stderr)
        return status


def _run(options: argparse.Namespace, given: Sequence[str]) -> int:
    """Run a command; its exit status where it ends as it may."""
    try:
        _check_words(given)
        with _warnings_in_one_line(), _terminated_as_interrupted(), progress_shown():
            options.run(options)
    except InputError as error:
        return _refuse(error)
    except OSError as error:
        told = output_error("files", error)
        if told is None or not no_space(error):
            raise
        return _refuse(told)
    except KeyboardInterrupt:
        stage()
        print("accelqsm: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _refuse(error: InputError) -> int:
    """Say in one line what cannot be used; the exit status."""
    stage()
    for line in error.lines if isinstance(error, PartlyFailed) else (str(error),):
        print(f"accelqsm: {_one_line(line)}", file=sys.stderr)
    return error.status


def _check_words(given: Sequence[str]) -> None:
    """Refuse words that no name can be, and an empty one, which is the folder that one is in."""
    if "" in given:
        before = " ".join(given[: given.index("")][-2:])
        raise InputError(
            f"command line: expected a word after '{before}', found an empty one (a variable that "
            "is not set?)"
        )
    for word in given:
        try:
            os.fsencode(word)
        except UnicodeEncodeError:
            raise InputError(
                f"command line: expected words that can be names of files, found {word!a}"
            ) from None


def parser() -> argparse.ArgumentParser:
    """Argument parser with one sub-parser for each command."""
    top = argparse.ArgumentParser(
        prog="accelqsm",
        description="Accelerated quantitative susceptibility mapping: under-sampled k-space in, "
        "deep-brain nuclei and their agreement out. Research software, not a medical device.",
    )
    top.add_argument("--version", action="version", version=f"accelqsm {__version__}")
    top.add_argument(
        "--debug", action="store_true", help="show the traceback of an error of this software"
    )
    commands = top.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=_CommandParser
    )
    for command in all_commands():
        added = commands.add_parser(
            command.NAME,
            help=command.HELP,
            description=f"{command.HELP[0].upper()}{command.HELP[1:]}.",
            epilog=_format_example(command.EXAMPLE),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(added)
        added.set_defaults(run=command.run)
    return top


def all_commands() -> list[Command]:
    """Import the modules of all commands, in the order of ``COMMANDS``."""
    return [importlib.import_module(f"accelqsm.commands.{name}") for name in COMMANDS]


def _format_example(text: str) -> str:
    lines = text.splitlines()
    return "\n".join(["example:" if len(lines) == 1 else "examples:", *(f"  {x}" for x in lines)])


def _unexpected(options: argparse.Namespace, error: Exception) -> tuple[int, str]:
    """Exit status of an error that no check has foreseen, and what is said of it."""
    from accelqsm.commands.common import inputs_of

    files = " ".join(map(str, inputs_of(options) or [Path(getattr(options, "out", "input"))]))
    if isinstance(error, OSError) and error.errno in UNUSABLE_NAMES:
        reason = (error.strerror or str(error)).lower()
        return EXIT_BAD_INPUT, f"{error.filename}: expected the name of a file, found {reason}"
    if isinstance(error, MemoryError):
        return EXIT_UNEXPECTED, f"{files}: expected enough memory, found too little ({error})"
    return EXIT_UNEXPECTED, (
        f"{files}: unexpected {type(error).__name__}: {error}; please report it, with what "
        "accelqsm --debug COMMAND ... prints"
    )


def _one_line(text: str) -> str:
    """Text without line breaks or control characters, shortened in its middle."""
    words = " ".join(text.split())
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} ... {line[-half:]}"


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print an ``InputWarning`` as one line, without Python's file name and source line."""
    usual = warnings.formatwarning

    def one_line(message: Warning | str, category: type[Warning], *place: Any, **line: Any) -> str:
        if issubclass(category, InputWarning):
            return f"accelqsm: warning: {message}\n"
        return usual(message, category, *place, **line)

    warnings.formatwarning = one_line
    try:
        yield
    finally:
        warnings.formatwarning = usual


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """End as on Ctrl-C where a scheduler ends the run, so that nothing half-written stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
