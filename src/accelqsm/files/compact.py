"""Volumes as compressed 16-bit NIfTI for embedding in an HTML page."""

from __future__ import annotations

import gzip
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from accelqsm.grid import Grid

LARGEST = 32767


def compact_nifti(values: npt.NDArray[Any], grid: Grid, *, step: float = 1.0) -> bytes:
    """Encode a volume as gzipped NIfTI-1 of 16-bit integers, ``value = step * stored``.

    Values are rounded to a multiple of ``step`` and clipped at 32767 of them. The same values
    give the same bytes.

    Args:
        values: (x, y, z) on ``grid``, in any unit.
        grid: voxel grid of the values.
        step: resolution, in the unit of the values.
    """
    stored = np.clip(np.rint(values / step), -LARGEST, LARGEST).astype(np.int16)
    image = nibabel.Nifti1Image(stored, grid.matrix)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_slope_inter(step, 0.0)
    image.set_sform(grid.matrix, code=1)
    image.set_qform(grid.matrix, code=1)
    return gzip.compress(image.to_bytes(), 9, mtime=0)
