"""Snakemake workflow that runs the commands of a study as jobs, and profiles for clusters."""

from pathlib import Path

SNAKEFILE = Path(__file__).with_name("Snakefile")
PROFILES = Path(__file__).with_name("profiles")
