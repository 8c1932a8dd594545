"""``accelqsm pattern``: a sampling pattern as a table that a scanner can play."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelqsm.commands.common import SettingsFile, add_out, add_settings_file, say, table
from accelqsm.errors import InputError
from accelqsm.options.arguments import add_settings
from accelqsm.options.table import plain
from accelqsm.recon.sampling_settings import PATTERN, PatternSettings

if TYPE_CHECKING:
    from torch import Tensor

NAME = "pattern"
HELP = "a sampling pattern of given acceleration: a table for the scanner, and its picture"
EXAMPLE = "accelqsm pattern af5.tsv --shape 280 96 --voxel-size-mm 0.8 2 --acceleration 5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of output and pattern."""
    add_out(parser, "table to write, with settings and picture beside it", metavar="OUT.tsv")
    add_settings_file(parser)
    add_settings(parser, PatternSettings)


def run(options: argparse.Namespace) -> None:
    """Draw, write and picture the pattern."""
    if options.out.suffix != ".tsv":
        raise InputError(f"{options.out}: expected a table to write, such as pattern.tsv")
    settings = SettingsFile.of(options, PATTERN).settings(PatternSettings, PATTERN)
    with table(options) as path:
        from accelqsm.recon.sampling import drawn_pattern

        pattern = drawn_pattern(settings)
        _write(path, pattern, settings, {})
    n_samples, n_positions = int(pattern.sum()) // settings.echoes, pattern.numel()
    of = f" in each of {settings.echoes} echoes" if settings.echoes > 1 else ""
    n_positions //= settings.echoes
    factor = f"acceleration {n_positions / n_samples:.3f}"
    say(options.out, f"{n_samples} of {n_positions} positions{of}, {factor}; settings, picture")


def _write(
    path: Path, pattern: Tensor, settings: PatternSettings, further: Mapping[str, Any]
) -> None:
    """Write the table with its sidecar, picture and settings."""
    from accelqsm.figures.sampling import sampling_figure
    from accelqsm.files.atomic import whole_file
    from accelqsm.files.text.pattern import write_pattern
    from accelqsm.files.toml import write_settings
    from accelqsm.recon.sampling import in_order
    from accelqsm.results.provenance import software

    write_pattern(path, in_order(pattern, settings))
    each = pattern.numpy().reshape(-1, *settings.shape)
    name = "echo {}" if len(each) > 1 else path.stem
    figure = sampling_figure({name.format(n): one for n, one in enumerate(each, start=1)})
    with whole_file(path.with_suffix(".png")) as temporary:
        temporary.write_bytes(figure.png)
    record = {"command": NAME, PATTERN: plain(settings), **further, "software": software()}
    write_settings(path.with_suffix(".toml"), record)
