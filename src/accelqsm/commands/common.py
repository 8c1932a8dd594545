"""Arguments and settings that several commands have in common."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.settings import read_settings_tables, settings_from
from accelqsm.options.arguments import add_settings, given_table, number
from accelqsm.options.setting import Settings
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.settings import ReconSettings

if TYPE_CHECKING:
    from accelqsm.results.maps import FieldMaps

Record = TypeVar("Record", bound=Settings)


FILES_IN_SETTINGS = ("sensitivities.file", "network.weights")
"""Settings that name a file, or may name one."""


class Command(Protocol):
    """Interface of a command's module.

    Attributes:
        NAME: name on the command line.
        HELP: help text, one line.
        EXAMPLE: example calls, one per line.
    """

    NAME: str
    HELP: str
    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, options: argparse.Namespace) -> None: ...


@dataclass(frozen=True)
class SettingsFile:
    """A settings file and the command-line options that override it.

    Attributes:
        options: options of the command line.
        record: contents of the file; empty without one.
    """

    options: argparse.Namespace
    record: Mapping[str, Any]

    @classmethod
    def of(cls, options: argparse.Namespace, *sections: str) -> SettingsFile:
        """Read the file of ``--settings``, which may have settings in the given tables only.

        Raises:
            InputError: a file that is not TOML, or a key that the command does not use.
        """
        return cls(options, read_settings_tables(options.settings, *sections))

    def settings(
        self, record: type[Record], section: str, table: Mapping[str, Any] | None = None
    ) -> Record:
        """Settings record from defaults, the table of the file and the command line, in this order.

        Raises:
            InputError: a setting that cannot be used.
        """
        given = given_table(self.options, record)
        file = self.record.get(section, {}) if table is None else table
        path = getattr(self.options, "settings", None)
        return settings_from(record, section, path=path, file=file, given=given)


def add_settings_file(parser: argparse.ArgumentParser) -> None:
    """Add the argument ``--settings``."""
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="TOML",
        help="repeat the settings.toml of an earlier run; options given here take precedence",
    )


def add_out(
    parser: argparse.ArgumentParser,
    help: str = "folder for the results",
    *,
    metavar: str = "OUT",
    default: Path | None = None,
) -> None:
    """Where results go, and whether they may replace those of an earlier run."""
    optional: dict[str, Any] = {} if default is None else {"nargs": "?", "default": default}
    parser.add_argument("out", type=Path, metavar=metavar, help=help, **optional)
    add_overwrite(parser)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Whether results may replace those of an earlier run."""
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what an earlier run left in OUT, all of it; refused without",
    )


@contextmanager
def results(options: argparse.Namespace, command: str) -> Iterator[Path]:
    """The folder to write into, whose files become those of OUT when the block ends well.

    Raises:
        InputError: an OUT that cannot be used, before anything is computed.
    """
    from accelqsm.results.folder import results_folder

    with results_folder(
        options.out, command, overwrite=options.overwrite, inputs=inputs_of(options)
    ) as folder:
        yield folder


@contextmanager
def unsaid() -> Iterator[None]:
    """Check without warnings, which are said when the same inputs are read to be used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        yield


def check_space(out: Path, n_bytes: int) -> None:
    """Refuse to begin what the disk has no room for.

    Raises:
        InputError: less space than ``n_bytes`` where ``out`` is.
    """
    from accelqsm.results import folder

    folder.check_space(out, n_bytes)


@contextmanager
def table(options: argparse.Namespace) -> Iterator[Path]:
    """The path to write a table to, which becomes OUT when the block ends well.

    Raises:
        InputError: an OUT that cannot be used, before anything is computed.
    """
    from accelqsm.results.folder import results_table

    with results_table(options.out, overwrite=options.overwrite, inputs=inputs_of(options)) as path:
        yield path


def inputs_of(options: argparse.Namespace) -> list[Path]:
    """Every file that a command line names, but OUT and the settings that are replayed."""
    named = {name: v for name, v in vars(options).items() if name not in ("out", "settings")}
    many = [v if isinstance(v, list | tuple) else [v] for v in named.values()]
    settings = [Path(v) for name, v in named.items() if v and name.endswith(FILES_IN_SETTINGS)]
    return [path for paths in many for path in paths if isinstance(path, Path)] + settings


def add_scan_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a raw scan, the output folder and the reconstruction."""
    parser.add_argument(
        "scan", type=Path, metavar="SCAN.h5", help="raw data, ISMRMRD/MRD, Cartesian 3D"
    )
    add_out(parser)
    parser.add_argument(
        "--b0-direction",
        **number(float, least=-1e6, most=1e6),
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="of the main field along the array axes (readout, PE1, PE2); by default scanner +z "
        "by the directions in the lines",
    )
    add_settings_file(parser)
    add_settings(parser, ReconSettings)


def add_mask(parser: argparse.ArgumentParser, otherwise: str) -> None:
    """Add the argument ``--mask``."""
    parser.add_argument(
        "--mask", type=Path, metavar="FILE", help=f"NIfTI on the same grid; by default {otherwise}"
    )


def add_invert_phase(parser: argparse.ArgumentParser) -> None:
    """Add the argument ``--invert-phase``."""
    parser.add_argument(
        "--invert-phase",
        action=argparse.BooleanOptionalAction,
        help="the scanner's phase decreases with TE where the field adds to B0; by default it is "
        "inverted where iron comes out clearly negative, with a warning",
    )


def add_columns(parser: argparse.ArgumentParser, *names: str, example: str) -> None:
    """What a table calls its columns."""
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="NAME=COLUMN",
        help=f"what the table calls {', '.join(names)}: {example}",
    )


def columns_of(options: argparse.Namespace) -> dict[str, str]:
    """What a table calls its columns, by our names.

    Raises:
        InputError: a word of another form, or a name that comes twice.
    """
    names: dict[str, str] = {}
    for word in options.columns:
        ours, equals, theirs = word.partition("=")
        if not (ours and equals and theirs):
            raise InputError(f"--columns: expected NAME=COLUMN, found '{word}'")
        if ours in names:
            raise InputError(f"--columns: expected {ours} once, found it twice")
        names[ours] = theirs
    return names


def add_qsm(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the QSM pipeline."""
    add_settings(parser, QsmSettings)


def recon_of(settings: SettingsFile) -> ReconSettings:
    """Reconstruction settings from file and command line.

    Raises:
        InputError: no method, or settings that cannot be used.
    """
    from accelqsm.results.records import recon_table

    return settings.settings(ReconSettings, "recon", recon_table(settings.record))


def say(path: Path, what: str) -> None:
    """Print a path and a description of what was written."""
    print(f"{path}: {what}", flush=True)


def write_maps(maps: FieldMaps, folder: Path) -> None:
    """Write maps and their methods text."""
    from accelqsm.reports.boilerplate import write_methods

    maps.write(folder)
    write_methods(folder)


def say_maps(out: Path, maps: FieldMaps) -> None:
    """Say in one line which maps were written."""
    say(out, f"{maps.said}, settings, methods text")
