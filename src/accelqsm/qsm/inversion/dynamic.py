"""Dynamic terms: weights and field of the inversion that are re-estimated while it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.qsm.inversion.settings import STRUCTURE_ITERATIONS, L1Settings
from accelqsm.qsm.smooth import gaussian_mm, gaussian_within

EDGE_TAIL = 0.3
"""Least factor of the regularisation on an edge of the edge gradient; on steeper ones it is less
in inverse proportion."""

SLOPE_SD_MM = 1.2
"""Smoothing of an estimate's gradient before it tells edges: those of tissue are surfaces, those
of noise are not."""

EDGE_SHARPNESS = 4
"""Power of the gradient with which the regularisation ends on an edge."""

LEAST_EDGE = 1.6
"""Gradient of an edge over the median: where noise makes all of an estimate steep, as below a
signal-to-noise ratio of about 20, what is no steeper than most of it is no edge."""

RESTORED_SD_MM = 1.5
"""Smoothing of what is added back to the field: tissue is broad, noise is not."""

LARGEST_VOXEL_MM = 2.0
"""Larger voxels are smoothed as if they were of this size: noise is as wide as they are."""

LARGEST_CHANGE = 2.0
SD_PER_MEDIAN = 1.4826
"""Standard deviation of a normal variable over its median absolute value."""

LEAST_SD_PPM = 1e-3
"""Of the field about its model: without noise, a median would make outliers of all that the
regularisation leaves."""

SMALLEST = 1e-30


@dataclass(frozen=True)
class DynamicTerms:
    """Which weights are re-estimated from the current solution during the inversion.

    Attributes:
        noise: reduce the data weight of voxels whose residual exceeds ``outlier_sd`` (MERIT).
        structure: reduce the regularisation across edges of the estimate.
        contrast: add back to the field what the penalty has taken of it (``restored_field``).
        scale: set the regularisation from the ratio of noise variance to mean gradient, within a
            factor of 2.
        period: iterations between two updates.
        structure_iterations: those after which that is done, from the gradient of then; contrast
            comes back after the last.
        outlier_sd: residual in standard deviations above which a voxel's weight is reduced.
        edge_gradient: smoothed gradient along an axis, in ppm / mm, that halves its regularisation.
    """

    noise: bool = True
    structure: bool = True
    contrast: bool = True
    scale: bool = True
    period: int = 2
    structure_iterations: tuple[int, ...] = STRUCTURE_ITERATIONS
    outlier_sd: float = 6.0
    edge_gradient: float = L1Settings.edge_gradient

    @property
    def last_step(self) -> int:
        """The iteration after which structure weights and field stay."""
        return max(self.structure_iterations) if self.structure or self.contrast else 0


@dataclass(frozen=True)
class Weights:
    """Weights of the inversion at one iteration.

    Attributes:
        regularisation: lambda, in ppm mm.
        data: W, (x, y, z), or None for 1 everywhere.
        structure: V, (3, x, y, z), or None for 1 everywhere.
    """

    regularisation: float
    data: Tensor | None
    structure: Tensor | None

    def confidence(self, like: Tensor) -> Tensor:
        """Squared data weight W^2, (x, y, z)."""
        return torch.ones_like(like) if self.data is None else self.data.square()

    def shrinkage(self, penalty: float, like: Tensor) -> Tensor:
        """Soft threshold of the gradient, lambda V / penalty in ppm / mm."""
        limit = self.regularisation / penalty
        return like.new_tensor(limit) if self.structure is None else limit * self.structure


def update_weights(
    weights: Weights,
    terms: DynamicTerms,
    initial: Weights,
    *,
    iteration: int,
    residual: Tensor,
    slope: Tensor,
    inside: Tensor,
    voxel_size_mm: Triple,
) -> Weights:
    """Weights re-estimated from the current residual and gradient.

    Noise: s = 1.48 median |W r|, or 1 ppb if it is less; where |W r| > t s, the initial W is
    divided by |W r| / (t s). Structure: V / (1 + (g / g1)^4), at least 0.3 V g1 / g, with the
    gradient g of the estimate along the same axis, smoothed by 1.2 mm: an absolute value lowers
    what it bounds by as much as it lowers noise, a penalty that ends on edges does not, and the
    smoothing tells low edges of tissue (a putamen's are 10 ppb / mm) from noise. On steep edges
    the penalty grows as the logarithm of g. g1 is the edge gradient, or 1.6 times the median of |g|
    if that is more, as noise makes it. Scale: with a Laplacian prior of mean gradient b, the most
    probable lambda is s^2 / b; the geometric mean of it and the present lambda is taken.

    Args:
        weights: the present weights.
        terms: which of them to re-estimate.
        initial: the initial weights, which bound the scale.
        iteration: its number, from 1.
        residual: D chi - f in ppm, (x, y, z).
        slope: grad chi in ppm / mm, (3, x, y, z).
        inside: bool (x, y, z).
        voxel_size_mm: edge lengths of a voxel in mm.

    Returns:
        The weights for the next iterations.

    Source: noise term after Liu et al. 2013, Magn Reson Med 69:467, doi 10.1002/mrm.24272;
        structure after Candes et al. 2008, J Fourier Anal Appl 14:877,
        doi 10.1007/s00041-008-9045-x.
    """
    # From the initial weights each time, so that a voxel can recover its weight.
    data = torch.ones_like(residual) if initial.data is None else initial.data
    weighted = (data * residual).abs()
    # The median is robust against the outliers, which would inflate a standard deviation.
    sd = max(SD_PER_MEDIAN * float(weighted[inside].median()), SMALLEST)
    if terms.noise:
        excess = weighted / (terms.outlier_sd * max(sd, LEAST_SD_PPM))
        weights = replace(weights, data=data / excess.clamp_min(1))
    if terms.structure and iteration in terms.structure_iterations:
        smooth = torch.stack([gaussian_mm(along, SLOPE_SD_MM, voxel_size_mm) for along in slope])
        smooth = smooth.abs()
        median = float(smooth[:, inside].median())
        steepness = smooth / max(terms.edge_gradient, LEAST_EDGE * median)
        # Where it is flat the tail is infinite.
        tail = (EDGE_TAIL / steepness).clamp_max(1)
        factor = torch.maximum(1 / (1 + steepness**EDGE_SHARPNESS), tail)
        if initial.structure is not None:
            factor *= initial.structure
        weights = replace(weights, structure=factor)
    if terms.scale:
        prior = slope if initial.structure is None else initial.structure * slope
        mean_slope = max(float(prior.abs().sum(0)[inside].mean()), SMALLEST)
        lowest, highest = (
            initial.regularisation / LARGEST_CHANGE,
            initial.regularisation * LARGEST_CHANGE,
        )
        most_likely = min(max(sd**2 / mean_slope, lowest), highest)
        weights = replace(weights, regularisation=math.sqrt(weights.regularisation * most_likely))
    return weights


def restored_field(
    field: Tensor, residual: Tensor, confidence: Tensor, voxel_size_mm: Triple
) -> Tensor:
    """The field with what the penalty has taken of it added back, in ppm.

    A penalty on the gradient lowers the contrast of tissue, and what it took is in the residual
    beside the noise. Added to the field once (a Bregman iteration) it raises the contrast by about
    as much; smoothed by 1.5 mm before, or 0.75 voxels of more than 2 mm, it holds little noise.

    Args:
        field: f in ppm, (x, y, z).
        residual: D chi - f in ppm, (x, y, z).
        confidence: W^2, (x, y, z), zero where the field is not known.
        voxel_size_mm: edge lengths of a voxel in mm.

    Source: Osher et al. 2005, Multiscale Model Simul 4:460, doi 10.1137/040605412.
    """
    x, y, z = (min(size, LARGEST_VOXEL_MM) for size in voxel_size_mm)
    taken = gaussian_within(residual, confidence, RESTORED_SD_MM, (x, y, z))
    return torch.where(confidence > 0, field - taken, field)
