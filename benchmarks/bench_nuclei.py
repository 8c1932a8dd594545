"""What this package does with maps, as calls on ``bench_inputs`` that are measured beside peers.

Every function loads its input and returns the call that is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from accelqsm.agreement.similarity import psnr_db, ssim
from accelqsm.grid import Grid, as_affine
from accelqsm.nuclei.register import register_affine, register_rigid, register_template
from accelqsm.nuclei.settings import SynSettings
from accelqsm.nuclei.volume import Volume, affine_transform, box_around, grid_points

Call = Callable[[], Any]


def rigid(folder: Path) -> Call:
    """Matrix (4, 4) from world points of one pose to those of the other."""
    fixed, moving = _t1w(folder, "fixed"), _t1w(folder, "moved")
    return lambda: register_rigid(fixed, moving)


def deformable(folder: Path) -> Call:
    """Labels of the template on the head's grid, (x, y, z)."""
    scan, template = _t1w(folder, "fixed"), _t1w(folder, "template")
    scan_brain, template_brain = (_labels(folder, n, "brain") for n in ("fixed", "template"))
    labels = _labels(folder, "template", "labels")
    there = _labels(folder, "fixed", "labels").grid
    nuclei = Volume((labels.values > 0).astype(np.float32), labels.grid)
    spacing_mm = max(SynSettings().spacing_mm, *template.grid.voxel_size_mm)
    syn = SynSettings(spacing_mm=spacing_mm)
    box = box_around(nuclei, margin_mm=syn.margin_mm)
    images = {"T1w": template}, {"T1w": scan}

    def call() -> npt.NDArray[Any]:
        affine = register_affine(
            template, scan, template_brain=template_brain, scan_brain=scan_brain
        )
        coarse = register_template(*images, box=box, affine=affine, settings=syn.coarse)
        fine = register_template(*images, box=box, affine=affine, settings=syn.fine, start=coarse)
        return propagated(labels, there, fine.to_template)

    return call


def propagated(
    labels: Volume, grid: Grid, transform: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """Labels at the nearest voxel, on a grid whose world points are taken to theirs."""
    found = np.zeros(grid.shape, np.int32)
    for start in range(0, grid.shape[0], 16):
        points = transform(grid_points(grid, start, min(start + 16, grid.shape[0])))
        index = affine_transform(np.linalg.inv(labels.grid.matrix))(points)
        found[start : start + 16] = ndimage.map_coordinates(labels.values, index, order=0)
    return found


def similarity(folder: Path) -> Call:
    """SSIM and PSNR over the whole volume."""
    found, true = (np.load(folder / f"{n}.npy") for n in ("chi", "true_chi"))
    return lambda: np.array(
        [ssim(found, true, dynamic_range=0.5), psnr_db(found, true, dynamic_range=0.5)]
    )


def _t1w(folder: Path, name: str) -> Volume:
    stored = np.load(folder / f"{name}.npz")
    return _volume(stored["image"], stored["affine"])


def _labels(folder: Path, name: str, what: str) -> Volume:
    stored = np.load(folder / f"{name}.npz")
    values = stored[what]
    return _volume(values.astype(np.float32 if what == "brain" else np.int32), stored["affine"])


def _volume(values: npt.NDArray[Any], affine: npt.NDArray[Any]) -> Volume:
    return Volume(values, Grid(values.shape, as_affine(affine)))
