"""How far sensitivities can be trusted: whether they predict samples that they were not given."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, fft
from accelqsm.grid import cut_grid
from accelqsm.kspace import KSpace, calibration_box, from_centre
from accelqsm.recon.channels import compress_channels, prewhiten
from accelqsm.recon.method_settings import SensitivitySettings
from accelqsm.recon.methods.cg_sense import cg_sense
from accelqsm.recon.sensitivities.espirit import espirit

READOUTS = 5
NEAR, HELD_OUT = 0.5, 0.2
"""Of the samples outside the centre, the half nearest to it is drawn from: one in five."""

FAR = 0.1
FEWEST = 12


@dataclass(frozen=True)
class Trust:
    """Errors of an image by sensitivities, relative to the norm of the samples, less their noise.

    Attributes:
        predicted: of samples that it was not given; 1 for zero filling.
        explained: of samples that it was given; 0 for zero filling.
    """

    predicted: float
    explained: float


def trust_in(kspace: KSpace, settings: SensitivitySettings) -> Trust | None:
    """Errors of CG-SENSE on samples that it is given, and on some that are kept from it.

    A few readout positions of most signal, in the first echo; what is kept from it lies outside
    the calibration, near it, where signal is well above noise.

    Args:
        kspace: not whitened.
        settings: of the sensitivities.

    Returns:
        None where nothing can be held out: one channel, few samples outside the calibration, or
        noise alone in them.

    Raises:
        InputError: a calibration that the sensitivities cannot be found from.
    """
    held_out = _held_out(kspace)
    if kspace.n_channels < 2 or held_out is None:
        return None
    few = compress_channels(prewhiten(_some_readouts(kspace)).balanced(), settings.n_virtual)
    # Of the centre alone: samples that are held out must not have told of them.
    found = espirit(few, settings=settings)
    measured, sampled = few.planes(echoes=slice(0, 1))[:, 0], few.pattern(0)
    used = sampled & ~held_out
    image = cg_sense(measured * used, found.supported, sampled=used)
    residual = fft(found.supported * image, PHASE_ENCODES) - measured
    noise = _noise_energy(measured, sampled)
    predicted, explained = (
        _relative(residual[..., some], measured[..., some], noise) for some in (held_out, used)
    )
    return None if predicted is None or explained is None else Trust(predicted, explained)


def _relative(residual: Tensor, measured: Tensor, noise: float) -> float | None:
    """Norm over norm, less the noise of each position; None where that is most of it."""
    noise *= measured.shape[-1]
    signal = float(measured.abs().square().sum()) - noise
    error = max(float(residual.abs().square().sum()) - noise, 0.0)
    return math.sqrt(error / signal) if signal > noise else None


def _noise_energy(measured: Tensor, sampled: Tensor) -> float:
    """Energy of the samples of one position far from the centre, which are noise for the most."""
    far = sampled.nonzero()[from_centre(sampled)]
    far = far[-max(1, round(FAR * len(far))) :]
    return float(measured[..., far[:, 0], far[:, 1]].abs().square().sum()) / len(far)


def _held_out(kspace: KSpace) -> Tensor | None:
    """Samples that are drawn, bool (y, z); None where there are too few."""
    outside = kspace.pattern(0).clone()
    if kspace.calibration is None:
        try:
            outside[calibration_box(kspace.pattern(0))] = False
        except InputError:
            return None
    near = outside.nonzero()[from_centre(outside)]
    near = near[: round(NEAR * len(near))]
    drawn = np.random.default_rng(0).permutation(len(near))[: round(HELD_OUT * len(near))]
    if len(drawn) < FEWEST:
        return None
    held_out = torch.zeros_like(outside)
    rows = near[torch.from_numpy(drawn).to(near.device)]
    held_out[rows[:, 0], rows[:, 1]] = True
    return held_out


def _some_readouts(kspace: KSpace) -> KSpace:
    """The readout positions about the one of most signal in the first echo."""
    n_x, n_y, n_z = kspace.acquisition.grid.shape
    energy = sum((np.abs(c[0].astype(np.complex128)) ** 2).sum(1) for c in kspace.samples)
    strongest = int(np.argmax(energy))
    start = min(max(strongest - READOUTS // 2, 0), max(n_x - READOUTS, 0))
    x = slice(start, min(start + READOUTS, n_x))
    acquisition = replace(
        kspace.acquisition,
        grid=cut_grid(kspace.acquisition.grid, (x, slice(0, n_y), slice(0, n_z))),
    )
    apart, maps = kspace.calibration, kspace.sensitivities
    return replace(
        kspace,
        acquisition=acquisition,
        samples=np.ascontiguousarray(kspace.samples[:, :, x]),
        calibration=None if apart is None else np.ascontiguousarray(apart[:, :, x]),
        sensitivities=None if maps is None else np.ascontiguousarray(maps[:, x]),
    )
