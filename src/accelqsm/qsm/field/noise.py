"""Uncertainty of the field of a scan, and the data weights that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.morphology import depth_mm
from accelqsm.qsm.background.dipole_fit import FIELD_SD_PPM
from accelqsm.qsm.field.lags import LagProducts
from accelqsm.qsm.field.relaxation import r2star_per_s
from accelqsm.qsm.field.uncertainty import field_sd_hz, field_uncertainty_hz, noise_sd
from accelqsm.qsm.spikes import spike_weight
from accelqsm.units import ppm_to_hz

LARGEST_DATA_WEIGHT = 3.0
NOISE_VOXELS = 50_000
MISFIT_DEPTH_MM = 2.0, 8.0
"""Below the first depth in the mask the misfit counts whole for the inversion, beyond the second
not at all."""

ASSUMED_NOISE = 1 / 30
"""Standard deviation of the noise over the root mean square of the brain in the first echo,
where fewer than three echoes do not tell. Nuclei come out the same for 1/8 to 1/80."""


@dataclass(frozen=True)
class Noise:
    """Uncertainty of the field and decay rate, estimated from the echoes; zero outside the brain.

    Attributes:
        bound_hz: standard deviation of the field from noise alone (Cramer-Rao bound); infinite
            where there is no signal.
        uncertainty_hz: standard deviation that also includes the misfit of the signal model.
        r2star_per_s: decay rate, or None for a single echo.
        snr: signal of the first echo over the noise, median of the brain; None where fewer than
            three echoes leave the noise unknown.
        added_hz: standard deviation that a reconstruction adds, where it is known.
    """

    bound_hz: Tensor
    uncertainty_hz: Tensor
    r2star_per_s: Tensor | None
    snr: float | None = None
    added_hz: Tensor | None = None

    @property
    def random_hz(self) -> Tensor:
        """Standard deviation of the field from noise and reconstruction."""
        if self.added_hz is None:
            return self.bound_hz
        return torch.hypot(self.bound_hz, self.added_hz)

    @property
    def whole_hz(self) -> Tensor:
        """Standard deviation of the field from noise, misfit of the model and reconstruction."""
        if self.added_hz is None:
            return self.uncertainty_hz
        return torch.hypot(self.uncertainty_hz, self.added_hz)

    @classmethod
    def of(cls, products: LagProducts, field_hz: Tensor, brain: Tensor) -> Noise:
        """Estimate from the voxels of the brain, the noise from a subset of them."""
        row, row_hz = products.inside(brain), field_hz[brain][:, None, None]

        def volume(values: Tensor) -> Tensor:
            return torch.zeros_like(field_hz).masked_scatter_(brain, values)

        n_echoes = len(products.echo_times_s)
        rate_per_s = r2star_per_s(row, row_hz) if n_echoes > 1 else None
        if rate_per_s is None or n_echoes < 3:
            sd = ASSUMED_NOISE * float(row.echo_power[0].mean().sqrt())
            bound_hz = volume(sd * field_sd_hz(row))
            return cls(bound_hz, bound_hz, None if rate_per_s is None else volume(rate_per_s))
        some = torch.zeros_like(row_hz, dtype=torch.bool)
        some[:: max(1, len(some) // NOISE_VOXELS)] = True
        sd = noise_sd(row.inside(some), row_hz[some][:, None, None], some[some][:, None, None])
        return cls(
            volume(field_sd_hz(row, noise_sd=sd)),
            volume(field_uncertainty_hz(row, row_hz, rate_per_s, noise_sd=sd)),
            volume(rate_per_s),
            _snr(row, sd),
        )

    def inversion_weight(self, brain: Tensor, size_mm: Triple) -> Tensor:
        """Data weight of the inversion: from noise, and near the edge from the misfit as well.

        Beside air the signal model fails, and the field with it. Deep inside, strong sources, as
        of a calcification or a bleed, raise the misfit where the field still tells of them.
        """
        depth = torch.from_numpy(depth_mm(brain.cpu().numpy(), size_mm)).to(self.bound_hz)
        shallow, deep = MISFIT_DEPTH_MM
        share = ((deep - depth) / (deep - shallow)).clamp(0, 1)
        # Infinite without signal, both; NaN would be their difference.
        misfit = torch.where(
            self.bound_hz.isfinite(), self.uncertainty_hz.square() - self.bound_hz.square(), 0
        )
        variance = self.bound_hz.square() + share * misfit
        return _relative_weight(variance.sqrt(), brain)

    def background_weight(
        self, field_ppm: Tensor, brain: Tensor, field_strength_t: float
    ) -> Tensor:
        """Data weight of background removal, from noise and voxel size alone.

        Near air the field is uncertain, yet its voxels still hold information on the background.
        """
        voxel_hz = ppm_to_hz(FIELD_SD_PPM, field_strength_t)
        weight = _relative_weight((self.bound_hz.square() + voxel_hz**2).sqrt(), brain)
        return weight * spike_weight(field_ppm, brain)


def _snr(products: LagProducts, sd: float) -> float | None:
    """Median over voxels of the signal of all channels in the first echo, over its noise."""
    if sd == 0:
        return None
    of_noise = 2 * products.n_channels * sd**2
    return float((products.echo_power[0] - of_noise).clamp_min(0).median().sqrt()) / sd


def _relative_weight(sd: Tensor, mask: Tensor) -> Tensor:
    """1 / sd of median 1 in the mask, at most 3, zero outside and where sd is infinite."""
    middle = sd[mask & sd.isfinite()].median()
    return torch.where(mask, (middle / sd).clamp_max(LARGEST_DATA_WEIGHT), 0)
