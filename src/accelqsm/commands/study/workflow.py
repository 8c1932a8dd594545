"""``accelqsm workflow``: a study by Snakemake, on one machine or a cluster."""

from __future__ import annotations

import argparse

from accelqsm.commands.study.common import (
    add_selection,
    add_study,
    add_study_settings,
    open_study,
    selection_of,
)

NAME = "workflow"
HELP = "a study as jobs of Snakemake, whose options follow --"
EXAMPLE = """accelqsm workflow bids out -- --cores 2
accelqsm workflow bids out -- --profile slurm --jobs 50"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of dataset, selection and settings; what follows -- is Snakemake's."""
    add_study(parser)
    parser.set_defaults(passed_on=[])
    add_selection(parser)
    add_study_settings(parser)


def run(options: argparse.Namespace) -> None:
    """Run Snakemake, and tell what was not done."""
    from accelqsm.study.plan import NUCLEI
    from accelqsm.workflow.engine import run_workflow

    run_workflow(open_study(options, write=True), selection_of(options, NUCLEI), options.passed_on)
