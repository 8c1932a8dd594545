"""``accelqsm pattern``: a sampling pattern, drawn or learned, as a table for a scanner to play."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelqsm.commands.common import SettingsFile, add_out, add_settings_file, say, table
from accelqsm.errors import InputError, InputWarning
from accelqsm.options.arguments import add_settings, given_table
from accelqsm.options.table import plain
from accelqsm.recon.patterns.settings import PATTERN, PatternSettings
from accelqsm.training.patterns.settings import LEARNING, LearningSettings

if TYPE_CHECKING:
    from torch import Tensor

    from accelqsm.training.patterns.learn import LearnedPattern

NAME = "pattern"
HELP = "a sampling pattern, drawn or learned: a table for the scanner, and its picture"
EXAMPLE = """accelqsm pattern af5.tsv --shape 280 96 --voxel-size-mm 0.8 2 --acceleration 5
accelqsm pattern af8.tsv --shape 280 96 --voxel-size-mm 0.8 2 --acceleration 8 --learn af8-work"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of output, pattern and learning."""
    add_out(parser, "table to write, with settings and picture beside it", metavar="OUT.tsv")
    add_settings_file(parser)
    add_settings(parser, PatternSettings)
    group = parser.add_argument_group("learned patterns")
    group.add_argument(
        "--learn",
        type=Path,
        metavar="DIR",
        help="learn where to sample, on digital heads and for a network, instead of drawing a "
        "Poisson disk; DIR keeps heads and checkpoint, from which the same command goes on",
    )
    add_settings(group, LearningSettings)


def run(options: argparse.Namespace) -> None:
    """Draw or learn, write and picture the pattern."""
    if options.out.suffix != ".tsv":
        raise InputError(f"{options.out}: expected a table to write, such as pattern.tsv")
    file = SettingsFile.of(options, PATTERN, LEARNING)
    settings = file.settings(PatternSettings, PATTERN)
    learning = file.settings(LearningSettings, LEARNING)
    if options.learn is None and (
        given_table(options, LearningSettings) or LEARNING in file.record
    ):
        raise InputError("pattern: expected --learn DIR with settings of learning, found none")
    with table(options) as path:
        if options.learn is None:
            from accelqsm.recon.patterns.drawn import drawn_pattern

            pattern, further, told = drawn_pattern(settings), {}, ""
        else:
            learned = _learned(options, settings, learning)
            pattern, further = learned.pattern, _record(learned, learning)
            told = "; " + _told(options.out, learned, learning)
        _write(path, pattern, settings, further)
    n_positions = settings.shape[0] * settings.shape[1]
    of = f" in each of {settings.echoes} echoes" if settings.echoes > 1 else ""
    factor = f"acceleration {n_positions / settings.n_samples:.3f}"
    counts = f"{settings.n_samples} of {n_positions} positions{of}"
    say(options.out, f"{counts}, {factor}{told}; settings, picture")


def _learned(
    options: argparse.Namespace, settings: PatternSettings, learning: LearningSettings
) -> LearnedPattern:
    """Learn in the folder of the command line, which resumes."""
    from accelqsm.files.toml import write_settings
    from accelqsm.results.folder import folder_in_place
    from accelqsm.results.records import SETTINGS
    from accelqsm.training.patterns.learn import learn_pattern

    with folder_in_place(options.learn, NAME, resume=True):
        learned = learn_pattern(options.learn, settings, learning)
        tables = {"command": NAME, PATTERN: plain(settings), **_record(learned, learning)}
        write_settings(options.learn / SETTINGS, tables)
    return learned


def _record(learned: LearnedPattern, learning: LearningSettings) -> dict[str, Any]:
    """Tables of a learned pattern in its settings file."""
    source = {
        "form": learned.form,
        "weights_sha256": learned.weights_sha256,
        "nrmse": dict(learned.nrmse),
    }
    return {LEARNING: plain(learning), "source": source}


def _told(out: Path, learned: LearnedPattern, learning: LearningSettings) -> str:
    """Errors on other heads, with a warning where the Poisson disk has the least."""
    from accelqsm.training.patterns.learn import POISSON

    disk, own = learned.nrmse[POISSON], learned.nrmse[learned.form]
    if disk < own:
        message = (
            f"{out}: the Poisson disk has an NRMSE of {100 * disk:.2f} %, the learned pattern "
            f"{100 * own:.2f} %; more --steps or --heads may help"
        )
        warnings.warn(InputWarning(message), stacklevel=2)
    each = ", ".join(f"{name} {100 * value:.2f} %" for name, value in learned.nrmse.items())
    n = learning.validation_heads
    return f"{learned.form} is kept, NRMSE on {n} other heads: {each}"


def _write(
    path: Path, pattern: Tensor, settings: PatternSettings, further: Mapping[str, Any]
) -> None:
    """Write the table with its sidecar, picture and settings."""
    from accelqsm.figures.sampling import sampling_figure
    from accelqsm.files.atomic import whole_file
    from accelqsm.files.text.pattern import write_pattern
    from accelqsm.files.toml import write_settings
    from accelqsm.recon.patterns.drawn import in_order
    from accelqsm.results.provenance import software

    write_pattern(path, in_order(pattern, settings))
    each = pattern.numpy().reshape(-1, *settings.shape)
    name = "echo {}" if len(each) > 1 else path.stem
    figure = sampling_figure({name.format(n): one for n, one in enumerate(each, start=1)})
    with whole_file(path.with_suffix(".png")) as temporary:
        temporary.write_bytes(figure.png)
    record = {"command": NAME, PATTERN: plain(settings), **further, "software": software()}
    write_settings(path.with_suffix(".toml"), record)
