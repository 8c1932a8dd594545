"""What several commands share: arguments of one kind, and settings from file and command line."""

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
    """A module of a command.

    Attributes:
        NAME: as it is called.
        HELP: one line.
        EXAMPLE: one call, or several lines of them.
    """

    NAME: str
    HELP: str
    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, options: argparse.Namespace) -> None: ...


@dataclass(frozen=True)
class SettingsFile:
    """A settings file that a command replays, and what was given on top of it.

    Attributes:
        options: of the command line.
        record: the whole file; empty without one.
    """

    options: argparse.Namespace
    record: Mapping[str, Any]

    @classmethod
    def of(cls, options: argparse.Namespace, *sections: str) -> SettingsFile:
        """Read the file named by ``--settings``, in which only these tables may set anything.

        Raises:
            InputError: a file that is not TOML, or a key that the command does not use.
        """
        return cls(options, read_settings_tables(options.settings, *sections))

    def settings(
        self, record: type[Record], section: str, table: Mapping[str, Any] | None = None
    ) -> Record:
        """Defaults, then the table of the file, then what was given on the command line.

        Raises:
            InputError: a setting that cannot be used.
        """
        given = given_table(self.options, record)
        file = self.record.get(section, {}) if table is None else table
        path = getattr(self.options, "settings", None)
        return settings_from(record, section, path=path, file=file, given=given)


def add_settings_file(parser: argparse.ArgumentParser) -> None:
    """The settings file that is replayed."""
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="TOML",
        help="replay the settings.toml of an earlier run; what is given here wins",
    )


def add_scan_arguments(parser: argparse.ArgumentParser) -> None:
    """A raw scan, where results go, and how it is reconstructed."""
    parser.add_argument(
        "scan", type=Path, metavar="SCAN.h5", help="raw data, ISMRMRD/MRD, Cartesian 3D"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the results")
    parser.add_argument(
        "--b0-direction",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="of the main field along the array axes (readout, PE1, PE2); by default scanner +z "
        "by the directions in the lines",
    )
    add_settings_file(parser)
    add_settings(parser, ReconSettings)


def add_mask(parser: argparse.ArgumentParser, otherwise: str) -> None:
    """A mask in place of one that is found."""
    parser.add_argument(
        "--mask", type=Path, metavar="FILE", help=f"NIfTI on the same grid; by default {otherwise}"
    )


def add_qsm(parser: argparse.ArgumentParser) -> None:
    """Every setting of the chain from field to susceptibility."""
    add_settings(parser, QsmSettings)


def recon_of(settings: SettingsFile) -> ReconSettings:
    """How the scan is reconstructed.

    Raises:
        InputError: no method, or settings that cannot be used.
    """
    from accelqsm.results.records import recon_table

    return settings.settings(ReconSettings, "recon", recon_table(settings.record))


def say(path: Path, what: str) -> None:
    """Say in one line what was written."""
    print(f"{path}: {what}", flush=True)


def save_maps(maps: SusceptibilityMaps, out: Path) -> None:
    """Write maps and their methods text, and say so."""
    from accelqsm.reports.boilerplate import write_methods

    maps.save(out)
    write_methods(out)
    say(out, "susceptibility (ppm), fields (Hz), R2*, magnitude, mask, settings, methods text")
