"""``accelqsm similarity``: similarity measures of two susceptibility maps."""

from __future__ import annotations

import argparse
from pathlib import Path

from accelqsm.commands.common import add_out, table

NAME = "similarity"
HELP = "similarity of two susceptibility maps, every figure with its range and region"
EXAMPLE = "accelqsm similarity af5/Chimap.nii.gz pi/Chimap.nii.gz out.tsv --mask pi/mask.nii.gz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of two maps on one grid, and their mask."""
    parser.add_argument("chimap", type=Path, metavar="CHIMAP", help="susceptibility, NIfTI, ppm")
    parser.add_argument("reference", type=Path, metavar="REFERENCE", help="the map to compare with")
    add_out(parser, "table to write", metavar="OUT.tsv")
    parser.add_argument(
        "--mask", type=Path, required=True, metavar="FILE", help="where both maps are defined"
    )


def run(options: argparse.Namespace) -> None:
    """Compute, write and print the similarity measures."""
    with table(options) as path:
        from accelqsm.agreement.columns import column_dictionary
        from accelqsm.agreement.similarity import similarity_figures
        from accelqsm.files.nifti import check_same_grid, read_header, read_volume
        from accelqsm.files.tables import write_described_table
        from accelqsm.reports.console import show, similarity_summary
        from accelqsm.results.integrity.check import check_file

        grid = read_header(options.chimap).grid
        for one in (options.chimap, options.reference, options.mask):
            check_same_grid(read_header(one).grid, grid, one, reference=options.chimap)
            check_file(one)
        image = read_volume(options.chimap)
        figures = similarity_figures(
            image.values,
            read_volume(options.reference, grid=grid).values,
            read_volume(options.mask, grid=grid).values > 0.5,
        )
        write_described_table(path, figures, column_dictionary(map(str, figures)))
    show(similarity_summary(figures))
