"""The same commands as jobs of an existing engine (Snakemake), for a cluster."""

from pathlib import Path

SNAKEFILE = Path(__file__).with_name("Snakefile")
