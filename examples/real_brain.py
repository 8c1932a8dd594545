"""Reconstruct one under-sampled slice of a real brain in three ways, and draw them side by side.

Usage: python examples/real_brain.py KSPACE.npy PICTURE.png

KSPACE.npy is complex (channel, ky, kz), zero where nothing was measured, with a measured centre.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.grid import centred_grid
from accelqsm.kspace import KSpace
from accelqsm.recon.methods.cg_sense import cg_sense
from accelqsm.recon.methods.l1_wavelet import l1_wavelet
from accelqsm.recon.sense import Encoding
from accelqsm.recon.sensitivities.estimate import estimate


def main(measured: Path, picture: Path) -> Path:
    """Sensitivities from the centre, then images zero-filled, by CG-SENSE and by L1-wavelet."""
    kspace = one_slice(torch.from_numpy(np.load(measured)))
    maps, planes, sampled = estimate(kspace).maps, kspace.planes()[:, 0], kspace.sampled
    images = {
        f"Zero-filled, AF {kspace.acceleration:.1f}": Encoding(maps, sampled).adjoint(planes),
        "CG-SENSE": cg_sense(planes, maps, sampled=sampled),
        "L1-wavelet": l1_wavelet(planes, maps, sampled=sampled),
    }
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    brightest = float(images["L1-wavelet"].abs().quantile(0.99))
    for axis, (title, image) in zip(figure.subplots(1, 3), images.items(), strict=True):
        axis.imshow(image[0].abs(), cmap="gray", vmin=0, vmax=brightest)
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    figure.savefig(picture, dpi=80)
    return picture


def one_slice(spectrum: Tensor) -> KSpace:
    """A slice as a scan of one readout position, one echo; its geometry is unknown."""
    sampled = (spectrum != 0).any(0)
    acquisition = Acquisition(centred_grid((1, *sampled.shape), (1.0, 1.0, 1.0)), (0.01,), 3.0)
    return KSpace(acquisition, sampled, spectrum[:, sampled][:, None, None].numpy())


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2])))
