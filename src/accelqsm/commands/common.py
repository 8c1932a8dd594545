"""Arguments and settings that several commands have in common."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from accelqsm.files.settings import read_settings_tables, settings_from
from accelqsm.options.arguments import add_settings, given_table
from accelqsm.options.setting import Settings
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.settings import ReconSettings

if TYPE_CHECKING:
    from accelqsm.results.maps import SusceptibilityMaps

Record = TypeVar("Record", bound=Settings)


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


def add_scan_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a raw scan, the output folder and the reconstruction."""
    parser.add_argument(
        "scan", type=Path, metavar="SCAN.h5", help="raw data, ISMRMRD/MRD, Cartesian 3D"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the results")
    add_settings_file(parser)
    add_settings(parser, ReconSettings)


def add_mask(parser: argparse.ArgumentParser, otherwise: str) -> None:
    """Add the argument ``--mask``."""
    parser.add_argument(
        "--mask", type=Path, metavar="FILE", help=f"NIfTI on the same grid; by default {otherwise}"
    )


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


def save_maps(maps: SusceptibilityMaps, out: Path) -> None:
    """Write maps and their methods text, and print the folder."""
    from accelqsm.reports.boilerplate import write_methods

    maps.save(out)
    write_methods(out)
    say(out, "susceptibility (ppm), fields (Hz), R2*, magnitude, mask, settings, methods text")
