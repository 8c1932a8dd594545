"""Dynamic Bayesian terms: what the inversion learns from its own estimate while it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.qsm.inversion.gradient import Gradient
from accelqsm.qsm.smooth import gaussian

MAGNITUDE_EDGE_SHARE = 0.3
FIRST_EDGE_SHARE, LAST_EDGE_SHARE = 0.1, 0.3
SMOOTHING_VOXELS = (0.7, 0.7, 0.7)
LARGEST_CHANGE = 3.0
SD_PER_MEDIAN = 1.4826
"""Standard deviation of a normal variable over the median of its absolute value."""

SMALLEST = 1e-30


@dataclass(frozen=True)
class DynamicTerms:
    """Which parts of the inversion are learnt again from the estimate while it is being solved.

    Attributes:
        noise: voxels whose residual lies beyond ``outlier_sd`` deviations lose weight (MERIT).
        structure: edges of the estimate are smoothed less.
        scale: regularisation follows the ratio of noise variance to mean gradient, within a
            factor of 3.
        period: iterations between two updates.
        structure_updates: updates after which the edges are frozen.
        outlier_sd: residual in standard deviations beyond which a voxel loses weight.
        edge_weight: share of the regularisation that stays on an edge.
    """

    noise: bool = True
    structure: bool = True
    scale: bool = True
    period: int = 2
    structure_updates: int = 12
    outlier_sd: float = 12.0
    edge_weight: float = 0.1


@dataclass(frozen=True)
class Weights:
    """Weights of the inversion at one moment.

    Attributes:
        regularisation: lambda, in ppm mm.
        data: W, (x, y, z), or None for 1 everywhere.
        structure: V, (3, x, y, z), or None for 1 everywhere.
    """

    regularisation: float
    data: Tensor | None
    structure: Tensor | None

    def confidence(self, like: Tensor) -> Tensor:
        """W^2, (x, y, z)."""
        return torch.ones_like(like) if self.data is None else self.data.square()

    def shrinkage(self, penalty: float, like: Tensor) -> Tensor:
        """lambda V / penalty, the gradient in ppm / mm that is shrunk away."""
        limit = self.regularisation / penalty
        return like.new_tensor(limit) if self.structure is None else limit * self.structure


def magnitude_edges(magnitude: Tensor, inside: Tensor, *, voxel_size_mm: Triple) -> Tensor:
    """The steepest 30 % of the voxels of a magnitude along each axis, bool (3, x, y, z)."""
    slope = Gradient(voxel_size_mm)(magnitude).abs()
    return torch.stack([_steepest(along, inside, MAGNITUDE_EDGE_SHARE) for along in slope])


def learnt_weights(
    weights: Weights,
    terms: DynamicTerms,
    initial: Weights,
    *,
    update: int,
    residual: Tensor,
    slope: Tensor,
    inside: Tensor,
) -> Weights:
    """The weights after one look at the estimate.

    Noise: s = 1.48 median |W r|; where |W r| > t s, the W of the start is divided by
    (W r / (t s))^2. Structure: V is lowered where the smoothed gradient of the estimate is among
    the steepest 10 % at the first update, up to 30 % at the last. Scale: with a Laplacian prior
    of mean gradient b, the most probable lambda is s^2 / b; half of the way to it (of the
    logarithm) is gone at once.

    Args:
        weights: the weights so far.
        terms: which of them are learnt.
        initial: the weights at the start, which bound the scale.
        update: number of this update, from 1.
        residual: D chi - f in ppm, (x, y, z).
        slope: grad chi in ppm / mm, (3, x, y, z).
        inside: bool (x, y, z).

    Returns:
        The weights for the iterations to come.

    Source: noise term after Liu et al. 2013, Magn Reson Med 69:467, doi 10.1002/mrm.24272.
    """
    # From the first weights each time: what was not explained yet may be explained now.
    data = torch.ones_like(residual) if initial.data is None else initial.data
    weighted = (data * residual).abs()
    # The median is blind to the very outliers that a standard deviation would hide.
    sd = max(SD_PER_MEDIAN * float(weighted[inside].median()), SMALLEST)
    if terms.noise:
        excess = weighted / (terms.outlier_sd * sd)
        weights = replace(weights, data=data / excess.clamp_min(1) ** 2)
    if terms.structure and update <= terms.structure_updates:
        done = (update - 1) / max(terms.structure_updates - 1, 1)
        share = FIRST_EDGE_SHARE + done * (LAST_EDGE_SHARE - FIRST_EDGE_SHARE)
        weights = replace(weights, structure=_structure(weights, terms, slope, inside, share))
    if terms.scale:
        steepness = slope if weights.structure is None else weights.structure * slope
        mean_slope = max(float(steepness.abs().sum(0)[inside].mean()), SMALLEST)
        lowest, highest = (
            initial.regularisation / LARGEST_CHANGE,
            initial.regularisation * LARGEST_CHANGE,
        )
        likeliest = min(max(sd**2 / mean_slope, lowest), highest)
        weights = replace(weights, regularisation=math.sqrt(weights.regularisation * likeliest))
    return weights


def _structure(
    weights: Weights, terms: DynamicTerms, slope: Tensor, inside: Tensor, share: float
) -> Tensor:
    """Structure weights lowered on the edges of the estimate."""
    edges = torch.stack(
        [_steepest(gaussian(along.abs(), SMOOTHING_VOXELS), inside, share) for along in slope]
    )
    so_far = torch.ones_like(slope) if weights.structure is None else weights.structure
    return torch.where(edges, so_far.clamp_max(terms.edge_weight), so_far)


def _steepest(slope: Tensor, inside: Tensor, share: float) -> Tensor:
    """Bool (x, y, z), the ``share`` of the voxels inside whose slope is largest."""
    values = slope[inside]
    rank = max(round(values.numel() * (1 - share)), 1)
    return (slope > values.kthvalue(rank).values) & inside
