"""Gaussian smoothing, beside SciPy's."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage

from accelqsm.grid import Triple
from accelqsm.qsm.smooth import CUT_SD, gaussian


@pytest.mark.parametrize(
    "sd_voxels", [(0.7, 0.7, 0.7), (0.5, 1.25, 2.0), (0.0, 1.0, 0.1), (0.625, 0.625, 0.625)]
)
def test_it_is_scipys_gaussian(sd_voxels: Triple) -> None:
    volume = torch.rand(9, 12, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = ndimage.gaussian_filter(volume.numpy(), sd_voxels, mode="nearest", truncate=CUT_SD)
    torch.testing.assert_close(gaussian(volume, sd_voxels), torch.from_numpy(expected))
