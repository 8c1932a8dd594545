"""Snakemake workflow that runs the commands as jobs, for a cluster."""

from pathlib import Path

SNAKEFILE = Path(__file__).with_name("Snakefile")
