"""An atlas on a real T1w image: ch2, one person scanned 27 times, against the labels of AAL.

Usage: python benchmarks/nuclei_ch2.py FOLDER OUT [--atlas ATLAS]

FOLDER holds ch2.nii.gz, ch2bet.nii.gz and aal.nii.gz: templates of Debian's package mricron-data.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from accelqsm.api.nuclei import locate_nuclei, mapped_head
from accelqsm.files.nifti import read_image, write_image
from accelqsm.grid import Grid

AAL = {"Ca": (71, 72), "Pu": (73, 74), "GPe+GPi": (75, 76)}
"""Left and right of caudate, putamen and pallidum."""


def main() -> None:
    """Register ch2 to the atlas; prints Dice with AAL, volumes, flags and the status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--atlas", default="cit168")
    options = parser.parse_args()
    image, brain, aal = (
        read_image(options.folder / f"{name}.nii.gz") for name in ("ch2", "ch2bet", "aal")
    )
    # There is no map: the T1w stands for magnitude and susceptibility, whose values are not read.
    write_image(options.out / "map.nii.gz", image.values.astype(np.float32) / 255, image.grid)
    write_image(options.out / "mask.nii.gz", brain.values > 0, brain.grid)
    t1w = options.folder / "ch2.nii.gz"
    start = time.process_time()
    head = mapped_head(options.out / "map.nii.gz", magnitude=t1w, mask=options.out / "mask.nii.gz")
    found = locate_nuclei(head, atlas=options.atlas, t1w=t1w)
    found.save(options.out / "nuclei", overwrite=True)
    print(f"{time.process_time() - start:.0f} CPU s; registration {found.source['registration']}")
    truth = on_grid(aal.values, aal.grid, image.grid)
    index = dict(zip(found.lookup["name"], found.lookup["index"], strict=True))
    for region, (left, right) in AAL.items():
        shown = []
        for side, number in (("L", left), ("R", right)):
            ours = np.isin(found.labels, [index[f"{side} {name}"] for name in region.split("+")])
            theirs = truth == number
            shown.append(
                f"{side} Dice {dice(ours, theirs):.3f}, {ours.sum()} and {theirs.sum()} mm3, "
                f"{100 * (ours & theirs).sum() / ours.sum():.0f} % of it in AAL's"
            )
        print(f"{region:8s} {'; '.join(shown)}")


def on_grid(labels: np.ndarray, own: Grid, grid: Grid) -> np.ndarray:
    """Labels in the nearest voxel of another grid of the same world."""
    index = np.indices(grid.shape).reshape(3, -1)
    matrix = np.linalg.inv(own.matrix) @ grid.matrix
    there = np.rint(matrix[:3, :3] @ index + matrix[:3, 3:]).astype(int)
    inside = np.all((there >= 0) & (there < np.asarray(own.shape)[:, None]), axis=0)
    found = np.zeros(index.shape[1], dtype=labels.dtype)
    found[inside] = labels[tuple(there[:, inside])]
    return found.reshape(grid.shape)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap of two regions."""
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


if __name__ == "__main__":
    main()
