"""``accelqsm cohort``: synthetic participants and values with the statistics of a study."""

from __future__ import annotations

import argparse

from accelqsm.commands.common import add_out, results
from accelqsm.options.arguments import SEED

NAME = "cohort"
HELP = "synthetic participants and values with the statistics of a published study"
EXAMPLE = "accelqsm cohort zhou2025 cohort"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of study, output folder and seed."""
    parser.add_argument("study", metavar="STUDY", help="a published study: zhou2025")
    add_out(parser, "folder for values.tsv and participants.tsv")
    parser.add_argument(
        "--seed",
        **SEED,
        default=0,
        metavar="S",
        help="seed of the individual values, on which no statistic depends (default 0)",
    )


def run(options: argparse.Namespace) -> None:
    """Write the tables and their source, and print the path."""
    from accelqsm.agreement.published import published
    from accelqsm.agreement.synthetic import cohort_with_statistics
    from accelqsm.files.tables import write_table
    from accelqsm.files.toml import write_settings
    from accelqsm.results.provenance import software

    study = published(options.study)
    source = {
        "name": options.study,
        "citation": study.citation,
        "doi": study.doi,
        "seed": options.seed,
    }
    with results(options, NAME) as folder:
        cohort = cohort_with_statistics(study, seed=options.seed)
        write_table(folder / "values.tsv", cohort.values)
        write_table(folder / "participants.tsv", cohort.participants)
        write_settings(
            folder / "settings.toml",
            {"command": "cohort", "source": source, "software": software()},
        )
    print(options.out / "values.tsv")
