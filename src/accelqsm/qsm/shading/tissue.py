"""Shading of a susceptibility map, found by the levels of its tissues."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.qsm.shading.modes import harmonic_modes, positions
from accelqsm.qsm.smooth import gaussian_within
from accelqsm.runtime.progress import staged

N_TISSUES = 4
MOST_VOXELS = 30_000
N_ITERATIONS = 60
LEAST_GAIN = 1e-5
"""Of the logarithm of the likelihood of a voxel, below which iterations end."""

OUTLIERS = 0.01
"""Share of the voxels at either end of susceptibility, veins and calcifications, that are left
out."""

R2STAR_SD_MM = 2.0
MOST_R2STAR = 3.0
"""Over the median: more is iron, a vein or the edge of air."""

MODE_SD_PPB = 10.0
INDEPENDENT_MM3 = 1000.0
"""Volume of tissue whose levels are alike beyond what its class says."""

LEAST_SHARE, LEAST_VARIANCE = 1e-3, 1e-6
VOXELS_AT_ONCE = 100_000


@staged("Shading")
def tissue_shading(
    chi_ppm: Tensor,
    mask: Tensor,
    r2star_per_s: Tensor | None,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple,
) -> Tensor:
    """What background removal takes of susceptibility, to be added to its map.

    Some broad susceptibilities have a field that is harmonic in the brain, and so is taken for
    that of sources outside (``harmonic_modes``): grey matter and veins lie at the rim of a brain,
    white matter deep inside, and a map without that bowl has its rim too low and its depth too
    high. What the field does not tell, the tissue does: voxels of one tissue are alike wherever
    they are. So susceptibility and R2* are a mixture of normal distributions, shifted by
    the modes, whose sizes are those of the greatest likelihood (by expectation maximisation, as
    the bias field of an MR image is found), each with a spread of 10 ppb beforehand.

    Args:
        chi_ppm: (x, y, z) in ppm.
        mask: bool (x, y, z).
        r2star_per_s: (x, y, z), decay rate, which tells tissues better than susceptibility alone;
            or None.
        voxel_size_mm: edge lengths of a voxel in mm.
        b0_direction: unit vector of the main field along the array axes.

    Returns:
        (x, y, z) in ppm, of mean zero in the mask and zero outside.

    Source: mixture with a bias: Van Leemput et al. 1999, IEEE Trans Med Imaging 18:885,
        doi 10.1109/42.811268.
    """
    where = positions(mask, voxel_size_mm=voxel_size_mm, b0_direction=b0_direction)
    chi_ppb = 1000 * chi_ppm[mask].double()
    seen = [chi_ppb]
    if r2star_per_s is not None:
        rate = gaussian_within(r2star_per_s, mask, R2STAR_SD_MM, voxel_size_mm)[mask].double()
        seen.append(rate.clamp(0, MOST_R2STAR * float(rate.median())))
    some = _usual(chi_ppb)
    volume_mm3 = math.prod(voxel_size_mm) * chi_ppb.numel()
    sizes_ppb = mode_sizes_ppb(
        torch.stack([values[some] for values in seen]),
        harmonic_modes(where[:, some]),
        n_independent=volume_mm3 / INDEPENDENT_MM3,
    )
    pieces = torch.split(where, VOXELS_AT_ONCE, dim=1)
    shading = torch.cat([sizes_ppb @ harmonic_modes(piece) for piece in pieces]) / 1000
    return torch.zeros_like(chi_ppm).masked_scatter_(mask, (shading - shading.mean()).to(chi_ppm))


def _usual(chi_ppb: Tensor) -> Tensor:
    """Some of the voxels, without those of the least and the greatest susceptibility, bool."""
    n = chi_ppb.numel()
    some = torch.zeros_like(chi_ppb, dtype=torch.bool)
    some[:: max(1, n // MOST_VOXELS)] = True
    ordered = chi_ppb.sort().values
    low, high = (float(ordered[round(share * (n - 1))]) for share in (OUTLIERS, 1 - OUTLIERS))
    return some & (chi_ppb >= low) & (chi_ppb <= high)


def mode_sizes_ppb(seen: Tensor, modes: Tensor, *, n_independent: float) -> Tensor:
    """Sizes of the modes that, added to susceptibility, make tissues most alike.

    Args:
        seen: (feature, voxel), susceptibility in ppb and what else tells tissues.
        modes: (mode, voxel).
        n_independent: number of independent voxels that these are worth.

    Returns:
        (mode,) in ppb, zero where susceptibility does not vary.
    """
    if seen.shape[1] < 2 or float(seen[0].var()) < LEAST_VARIANCE:
        return modes.new_zeros(len(modes))
    modes = modes - modes.mean(1, keepdim=True)
    scale = modes.std(1, keepdim=True).clamp_min(1e-12)
    modes = modes / scale
    worth = n_independent / seen.shape[1]
    seen, unshaded = seen.clone(), seen[0]
    floor = torch.diag(LEAST_SHARE * seen.var(1) + LEAST_VARIANCE)
    tissues = _Tissues.of(seen, _at_start(seen[0]), floor)
    sizes, before = modes.new_zeros(len(modes)), -math.inf
    for _ in range(N_ITERATIONS):
        share, likelihood = tissues.shares(seen)
        tissues = _Tissues.of(seen, share, floor)
        sizes = _sizes(unshaded, seen, modes, tissues, share, worth)
        seen[0] = unshaded + sizes @ modes
        if likelihood - before < LEAST_GAIN:
            break
        before = likelihood
    return sizes / scale[:, 0]


def _at_start(chi_ppb: Tensor) -> Tensor:
    """Which tissue each voxel is of (tissue, voxel): as many in each, in order of ``chi_ppb``."""
    share = chi_ppb.new_zeros(N_TISSUES, chi_ppb.numel())
    for tissue, members in zip(share, chi_ppb.argsort().tensor_split(N_TISSUES), strict=True):
        tissue[members] = 1
    return share


@dataclass(frozen=True)
class _Tissues:
    """Normal distributions of what is seen of a few tissues.

    Attributes:
        mean: (tissue, feature).
        precision: (tissue, feature, feature).
        share: (tissue,), of the voxels.
    """

    mean: Tensor
    precision: Tensor
    share: Tensor

    @classmethod
    def of(cls, seen: Tensor, share: Tensor, floor: Tensor) -> _Tissues:
        """The distributions of voxels that belong to tissues by ``share`` (tissue, voxel).

        To each covariance ``floor`` (feature, feature) is added.
        """
        total = share.sum(1).clamp_min(LEAST_VARIANCE)
        mean = share @ seen.T / total[:, None]
        offset = seen[None] - mean[:, :, None]
        spread = (share[:, None] * offset) @ offset.transpose(1, 2) / total[:, None, None]
        return cls(mean, torch.linalg.inv(spread + floor), total / seen.shape[1])

    def shares(self, seen: Tensor) -> tuple[Tensor, float]:
        """Probability of each tissue (tissue, voxel), and the mean logarithm of the likelihood."""
        offset = seen[None] - self.mean[:, :, None]
        distance = (offset * (self.precision @ offset)).sum(1)
        level = self.share.log() + torch.logdet(self.precision) / 2
        logarithm = level[:, None] - distance / 2
        return logarithm.softmax(0), float(logarithm.logsumexp(0).mean())


def _sizes(
    unshaded: Tensor, seen: Tensor, modes: Tensor, tissues: _Tissues, share: Tensor, worth: float
) -> Tensor:
    """Most probable sizes of the modes, given which tissue each voxel is."""
    own = tissues.precision[:, 0, :]
    weight = own[:, 0] @ share
    offset = seen[None] - tissues.mean[:, :, None]
    offset[:, 0] = unshaded - tissues.mean[:, :1]
    pull = -(share * (own[:, :, None] * offset).sum(1)).sum(0)
    normal = worth * (weight * modes) @ modes.T
    normal.diagonal().add_(MODE_SD_PPB**-2)
    sizes: Tensor = torch.linalg.solve(normal, worth * (modes @ pull))
    return sizes
