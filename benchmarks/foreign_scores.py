"""Scores of a head of another origin, as images with its brain mask, truth and labels.

Error of the map in the brain and 6 mm inside it, slope of six nuclei with their values, and the
share of its value at which a calcification comes out.

Usage: python benchmarks/foreign_scores.py FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from accelqsm.files.nifti import read_image
from accelqsm.qsm.chain import susceptibility
from accelqsm.qsm.field.lags import lag_products
from accelqsm.qsm.mask import erode
from qsm_head import FIELD_STRENGTH_T, foreign_head
from qsm_noise import FOREIGN
from qsm_scores import map_scores

INSIDE_MM = 6.0
CALCIFICATION = 16


def main() -> None:
    """Map the head and print its scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    echoes, true_ppm, brain = foreign_head(folder)
    acquisition = echoes.acquisition
    labels = torch.from_numpy(np.asarray(read_image(folder / "classes_dseg.nii.gz").values, int))
    found = susceptibility(
        lag_products(echoes.images, echo_times_s=acquisition.echo_times_s),
        grid=acquisition.grid,
        field_strength_t=FIELD_STRENGTH_T,
        mask=brain,
    )
    known = found.mask & brain
    inside = known & erode(brain, INSIDE_MM, voxel_size_mm=acquisition.grid.voxel_size_mm)
    nuclei = torch.where(labels <= len(FOREIGN), labels, 0)
    for place, voxels in (("brain", known), (f"{INSIDE_MM:g} mm inside", inside)):
        scores = map_scores(found.chi_ppm, true_ppm, nuclei, voxels, acquisition.grid.voxel_size_mm)
        print(f"{place}: NRMSE {scores['NRMSE']:.1f} %, slope {scores['slope']:.3f}")
    true_ppm = true_ppm - true_ppm[known].mean()
    for index, name in enumerate((*FOREIGN, "calcification"), 1):
        region = (labels == (index if name in FOREIGN else CALCIFICATION)) & known
        value, true = (1000 * float(volume[region].mean()) for volume in (found.chi_ppm, true_ppm))
        print(f"{name}: {value:.1f} of {true:.1f} ppb ({value / true:.2f})")


if __name__ == "__main__":
    main()
