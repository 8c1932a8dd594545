"""Channel images to susceptibility: the stages in order, one line each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Grid, Triple
from accelqsm.qsm.background.dipole_fit import FIELD_SD_PPM, dipole_fit
from accelqsm.qsm.background.vsharp import DEFAULT_RADII_MM, DEFAULT_THRESHOLD, LocalField, vsharp
from accelqsm.qsm.field.bipolar import readout_phase, without_readout_phase
from accelqsm.qsm.field.lags import LagProducts
from accelqsm.qsm.field.mdi import lag1_phase_rad, multilag_field, phase_coherence
from accelqsm.qsm.field.relaxation import r2star_per_s
from accelqsm.qsm.field.uncertainty import field_sd_hz, field_uncertainty_hz, noise_sd
from accelqsm.qsm.field.unwrap import spun
from accelqsm.qsm.inversion.dynamic import DynamicTerms
from accelqsm.qsm.inversion.l1 import l1_dipole_inversion
from accelqsm.qsm.mask import brain_mask, erode, without_incoherent
from accelqsm.qsm.reference import referenced, ventricle_fluid
from accelqsm.qsm.smooth import gaussian
from accelqsm.qsm.spikes import spike_weight
from accelqsm.units import hz_to_ppm, ppm_to_hz

LARGEST_DATA_WEIGHT = 3.0
NOISE_VOXELS = 50_000
EDGE_SD_MM = 1.0
FIELD_MODES = ("multi", "lag1")
BACKGROUNDS = ("dipole-fit", "vsharp")
REFERENCES = ("brain", "csf", "none")


@dataclass(frozen=True)
class QsmSettings:
    """Every choice of the chain, in simple types that a settings file can hold.

    Attributes:
        field_mode: "multi" uses every echo-time difference, "lag1" the smallest, as published.
        least_coherence: phase coherence, as a share of its median, below which voxels at its edge
            leave the mask, and with them what they cut off (0: none do).
        background: "dipole-fit" keeps the whole mask and weighs the field; "vsharp", as published,
            loses the edge.
        radii_mm: ball radii of vSHARP; the smallest is what the mask loses at its edge.
        sharp_threshold: spectral truncation of vSHARP.
        edge_mm: what an automatic mask loses at its edge after a dipole fit; a given one keeps it.
        regularisation: lambda of the inversion, in ppm mm.
        data_weighting: weigh the field by the inverse of its standard deviation.
        magnitude_edges: smooth less across edges of the magnitude of late echoes.
        dynamic_noise, dynamic_structure, dynamic_scale: terms learnt during the inversion.
        reference: what has zero susceptibility: "brain", "csf" (fluid of the ventricles) or "none".
        n_iterations: most iterations of the inversion.
        tolerance: relative change at which the inversion stops.
    """

    field_mode: str = "multi"
    least_coherence: float = 0.9
    background: str = "dipole-fit"
    radii_mm: tuple[float, ...] = DEFAULT_RADII_MM
    sharp_threshold: float = DEFAULT_THRESHOLD
    edge_mm: float = 2.0
    regularisation: float = 2.5e-4
    data_weighting: bool = True
    magnitude_edges: bool = True
    dynamic_noise: bool = True
    dynamic_structure: bool = False
    dynamic_scale: bool = False
    reference: str = "brain"
    n_iterations: int = 100
    tolerance: float = 3e-2

    def __post_init__(self) -> None:
        for name, choices in (
            ("field_mode", FIELD_MODES),
            ("background", BACKGROUNDS),
            ("reference", REFERENCES),
        ):
            if getattr(self, name) not in choices:
                raise InputError(
                    f"{name}: expected {', '.join(choices[:-1])} or {choices[-1]}, "
                    f"found {getattr(self, name)}"
                )


DEFAULT = QsmSettings()


@dataclass(frozen=True)
class QsmResult:
    """What the chain found; all (x, y, z).

    Attributes:
        chi_ppm: susceptibility relative to the reference, zero outside ``mask``.
        mask: bool, where ``chi_ppm`` is known: ``brain`` less what is lost at its edge.
        brain: bool, the mask that field and background removal used.
        field_hz: total field, unwrapped in ``brain``.
        local_field_hz: field of the sources in ``brain``, zero outside ``mask``.
        field_sd_hz: standard deviation of ``field_hz`` in ``brain``, zero outside; relative where
            fewer than three echoes leave the noise unknown.
        r2star_per_s: decay rate in 1/s in ``brain``, zero outside; None for a single echo.
        magnitude: root of the sum over channels and echoes of |S|^2.
    """

    chi_ppm: Tensor
    mask: Tensor
    brain: Tensor
    field_hz: Tensor
    local_field_hz: Tensor
    field_sd_hz: Tensor
    r2star_per_s: Tensor | None
    magnitude: Tensor


def susceptibility(
    products: LagProducts,
    *,
    grid: Grid,
    field_strength_t: float,
    b0_direction: Triple | None = None,
    mask: Tensor | None = None,
    settings: QsmSettings = DEFAULT,
) -> QsmResult:
    """Field map, unwrapping, background removal and dipole inversion, in that order.

    Args:
        products: sums over all channels (``lag_products``); combined images are one channel.
        grid: voxel size and direction of the main field.
        field_strength_t: main field in tesla.
        b0_direction: unit vector along the array axes, where the grid's is not to be trusted.
        mask: bool (x, y, z) to use instead of a brain extraction; it only loses what
            ``settings.least_coherence`` says.
        settings: every other choice; the defaults keep the slope of the nuclei near one.

    Returns:
        Susceptibility in ppm with the maps that it came from.

    Raises:
        InputError: a mask of another shape or without voxels, or settings out of range.

    Source: the chain of Zhou et al. 2025, Front Neurosci 19:1522227,
    doi 10.3389/fnins.2025.1522227.
    """
    size_mm = grid.voxel_size_mm
    magnitude = products.echo_power.sum(0).sqrt()
    if mask is None:
        brain = brain_mask(products.magnitude[0], voxel_size_mm=size_mm)
    else:
        brain = _checked(mask, grid).to(magnitude.device)
    brain = without_incoherent(
        brain, phase_coherence(products), least_coherence=settings.least_coherence
    )
    products = without_readout_phase(products, readout_phase(products, brain))
    unwrapped_rad = spun(lag1_phase_rad(products), products.products[0].abs(), brain)
    field_hz = unwrapped_rad / (math.tau * products.spacing_s)
    if settings.field_mode == "multi":
        field_hz = multilag_field(products, field_hz, brain)
    noise = _Noise.of(products, field_hz, brain)
    weigh = settings.data_weighting
    direction = b0_direction or grid.b0_direction
    field_ppm = hz_to_ppm(field_hz, field_strength_t)
    local = _local_field(
        field_ppm,
        brain,
        noise.background_weight(field_ppm, brain, field_strength_t) if weigh else None,
        size_mm,
        direction,
        settings,
    )
    chi_ppm = l1_dipole_inversion(
        local.field_ppm,
        local.mask,
        voxel_size_mm=size_mm,
        b0_direction=direction,
        regularisation=settings.regularisation,
        data_weight=_relative_weight(noise.uncertainty_hz, brain) if weigh else None,
        magnitude=iron_magnitude(products, size_mm) if settings.magnitude_edges else None,
        dynamic=_dynamic_terms(settings),
        n_iterations=settings.n_iterations,
        tolerance=settings.tolerance,
    )
    left = local.mask
    if mask is None and settings.background == "dipole-fit":
        left = erode(left, settings.edge_mm, voxel_size_mm=size_mm)
    return QsmResult(
        chi_ppm=referenced(chi_ppm, left, _reference(noise.r2star_per_s, left, size_mm, settings)),
        mask=left,
        brain=brain,
        field_hz=field_hz,
        local_field_hz=torch.where(left, ppm_to_hz(local.field_ppm, field_strength_t), 0),
        field_sd_hz=noise.uncertainty_hz,
        r2star_per_s=noise.r2star_per_s,
        magnitude=magnitude,
    )


def iron_magnitude(products: LagProducts, voxel_size_mm: Triple) -> Tensor:
    """The magnitude whose edges susceptibility shares: weighted by TE, smoothed by 1 mm.

    Iron darkens late echoes. Early ones show water and T1 as well, whose edges need not be its;
    noise and ringing have more edges than tissue unless they are smoothed.
    """
    x, y, z = (EDGE_SD_MM / size for size in voxel_size_mm)
    return gaussian(products.late_magnitude_s, (x, y, z))


@dataclass(frozen=True)
class _Noise:
    """What the echoes of the voxels of the brain say of noise and decay; zero outside.

    Attributes:
        bound_hz: standard deviation that noise alone gives the field.
        uncertainty_hz: with what echoes disagree on beyond it.
        r2star_per_s: decay rate, or None for a single echo.
    """

    bound_hz: Tensor
    uncertainty_hz: Tensor
    r2star_per_s: Tensor | None

    @classmethod
    def of(cls, products: LagProducts, field_hz: Tensor, brain: Tensor) -> _Noise:
        """From the voxels of the brain alone, of which some tell the noise."""
        row, row_hz = products.inside(brain), field_hz[brain][:, None, None]

        def volume(values: Tensor) -> Tensor:
            return torch.zeros_like(field_hz).masked_scatter_(brain, values)

        n_echoes = len(products.echo_times_s)
        rate_per_s = r2star_per_s(row, row_hz) if n_echoes > 1 else None
        if rate_per_s is None or n_echoes < 3:
            bound_hz = volume(field_sd_hz(row))
            return cls(bound_hz, bound_hz, None if rate_per_s is None else volume(rate_per_s))
        some = torch.zeros_like(row_hz, dtype=torch.bool)
        some[:: max(1, len(some) // NOISE_VOXELS)] = True
        sd = noise_sd(row.inside(some), row_hz[some][:, None, None], some[some][:, None, None])
        return cls(
            volume(field_sd_hz(row, noise_sd=sd)),
            volume(field_uncertainty_hz(row, row_hz, rate_per_s, noise_sd=sd)),
            volume(rate_per_s),
        )

    def background_weight(
        self, field_ppm: Tensor, brain: Tensor, field_strength_t: float
    ) -> Tensor:
        """Of noise and voxel size alone: beside air, a doubtful field still tells of the air."""
        voxel_hz = ppm_to_hz(FIELD_SD_PPM, field_strength_t)
        weight = _relative_weight((self.bound_hz.square() + voxel_hz**2).sqrt(), brain)
        return weight * spike_weight(field_ppm, brain)


def _local_field(
    field_ppm: Tensor,
    brain: Tensor,
    weight: Tensor | None,
    size_mm: Triple,
    b0_direction: Triple,
    settings: QsmSettings,
) -> LocalField:
    """The field less that of sources outside the brain, by the method of the settings."""
    if settings.background == "vsharp":
        return vsharp(
            field_ppm,
            brain,
            voxel_size_mm=size_mm,
            radii_mm=settings.radii_mm,
            threshold=settings.sharp_threshold,
        )
    return dipole_fit(field_ppm, brain, weight, voxel_size_mm=size_mm, b0_direction=b0_direction)


def _reference(
    rate_per_s: Tensor | None, mask: Tensor, size_mm: Triple, settings: QsmSettings
) -> Tensor | None:
    """The region whose mean is taken as zero, or None for no reference."""
    if settings.reference == "csf":
        if rate_per_s is None:
            raise InputError(
                "reference csf: expected two echoes or more, which tell R2*, found one"
            )
        return ventricle_fluid(rate_per_s, mask, voxel_size_mm=size_mm)
    return mask if settings.reference == "brain" else None


def _checked(mask: Tensor, grid: Grid) -> Tensor:
    """A mask that fits the grid."""
    if mask.dtype != torch.bool or tuple(mask.shape) != grid.shape:
        raise InputError(
            f"mask: expected bool {grid.shape}, found {mask.dtype} {tuple(mask.shape)}"
        )
    return mask


def _relative_weight(sd: Tensor, mask: Tensor) -> Tensor:
    """1 / sd of median 1 in the mask, at most 3, zero outside."""
    return torch.where(mask, (sd[mask].median() / sd).clamp_max(LARGEST_DATA_WEIGHT), 0)


def _dynamic_terms(settings: QsmSettings) -> DynamicTerms | None:
    """The dynamic terms that are switched on, or None for a fixed problem."""
    terms = DynamicTerms(
        noise=settings.dynamic_noise,
        structure=settings.dynamic_structure,
        scale=settings.dynamic_scale,
    )
    return terms if terms.noise or terms.structure or terms.scale else None
