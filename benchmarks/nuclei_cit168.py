"""CIT168's template registered to itself: the labels should stay where they are.

Usage: python benchmarks/nuclei_cit168.py CIT168_FOLDER OUT
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from accelqsm.api.nuclei import as_atlas, locate_nuclei
from accelqsm.files.atlas import read_atlas
from accelqsm.files.cit168 import CIT168_TEMPLATE
from accelqsm.files.nifti import read_image, write_image
from accelqsm.nuclei.atlas import SEVEN, paste, propagate_labels
from accelqsm.nuclei.volume import affine_transform


def main() -> None:
    """Register, and print Dice of both sides and the lower of each side."""
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    template = read_image(folder / CIT168_TEMPLATE)
    chimap = out / "map.nii.gz"
    write_image(chimap, template.values.astype(np.float32) / 255, template.grid)
    start = time.perf_counter()
    found = locate_nuclei(chimap, magnitude=folder / CIT168_TEMPLATE, atlas=folder)
    found.save(out / "nuclei", overwrite=True)
    print(f"{time.perf_counter() - start:.0f} s")
    atlas = as_atlas(read_atlas(folder))
    same = affine_transform(np.eye(4))
    still = propagate_labels(atlas, template.grid, to_template=same, from_template=same)
    truth = paste(still.labels, still.offset, template.grid)
    ours = read_image(out / "nuclei" / "dseg.nii.gz").values
    index = dict(zip(atlas.lookup["name"], atlas.lookup["index"], strict=True))
    for region in SEVEN:
        sides = [index[f"{side} {region}"] for side in "LR"]
        both = _dice(np.isin(ours, sides), np.isin(truth, sides))
        lower = min(_dice(ours == i, truth == i) for i in sides)
        print(f"{region:4s} both sides {both:.3f}  lower side {lower:.3f}")


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


if __name__ == "__main__":
    main()
