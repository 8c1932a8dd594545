"""Channel images to susceptibility: the stages in order, one line each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Grid, Triple
from accelqsm.qsm.background import DEFAULT_RADII_MM, DEFAULT_THRESHOLD, vsharp
from accelqsm.qsm.dynamic import DynamicTerms
from accelqsm.qsm.field import (
    LagProducts,
    field_sd_hz,
    lag1_phase_rad,
    multilag_field,
    phase_coherence,
)
from accelqsm.qsm.inversion import l1_dipole_inversion
from accelqsm.qsm.mask import brain_mask, without_incoherent
from accelqsm.qsm.unwrap import spun
from accelqsm.units import hz_to_ppm

LARGEST_DATA_WEIGHT = 3.0
FIELD_MODES = ("multi", "lag1")


@dataclass(frozen=True)
class QsmSettings:
    """Every choice of the chain, in simple types that a settings file can hold.

    Attributes:
        field_mode: "multi" uses every echo-time difference, "lag1" the smallest, as published.
        least_coherence: phase coherence, as a share of its median, below which a voxel leaves
            an automatic mask (0: none does).
        radii_mm: ball radii of vSHARP; the smallest is what the mask loses at its edge.
        sharp_threshold: spectral truncation of vSHARP.
        regularisation: lambda of the inversion, in ppm mm.
        data_weighting: weigh the field by the inverse of its standard deviation.
        dynamic_noise, dynamic_structure, dynamic_scale: terms learnt during the inversion.
        reference: what has zero susceptibility, "brain" or "none".
        n_iterations: most iterations of the inversion.
        tolerance: relative change at which the inversion stops.
    """

    field_mode: str = "multi"
    least_coherence: float = 0.9
    radii_mm: tuple[float, ...] = DEFAULT_RADII_MM
    sharp_threshold: float = DEFAULT_THRESHOLD
    regularisation: float = 1e-4
    data_weighting: bool = True
    dynamic_noise: bool = True
    dynamic_structure: bool = False
    dynamic_scale: bool = False
    reference: str = "brain"
    n_iterations: int = 100
    tolerance: float = 3e-2

    def __post_init__(self) -> None:
        if self.field_mode not in FIELD_MODES:
            raise InputError(f"field_mode: expected multi or lag1, found {self.field_mode}")


DEFAULT = QsmSettings()


@dataclass(frozen=True)
class QsmResult:
    """What the chain found; all (x, y, z).

    Attributes:
        chi_ppm: susceptibility relative to the reference, zero outside ``mask``.
        mask: bool, where ``chi_ppm`` is known: ``brain`` less what vSHARP loses.
        brain: bool, the mask that field and background removal used.
        field_hz: total field, unwrapped in ``brain``.
        local_field_hz: field of the sources in ``brain``, zero outside ``mask``.
        magnitude: root of the sum over channels and echoes of |S|^2.
    """

    chi_ppm: Tensor
    mask: Tensor
    brain: Tensor
    field_hz: Tensor
    local_field_hz: Tensor
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
        mask: bool (x, y, z) to use instead of a brain extraction; it is not refined.
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
    brain = _automatic_mask(products, grid, settings) if mask is None else _checked(mask, grid)
    wrapped_rad = lag1_phase_rad(products)
    unwrapped_rad = spun(wrapped_rad, products.products[0].abs(), brain)
    field_hz = unwrapped_rad / (math.tau * products.spacing_s)
    if settings.field_mode == "multi":
        field_hz = multilag_field(products, field_hz)
    local = vsharp(
        field_hz,
        brain,
        voxel_size_mm=size_mm,
        radii_mm=settings.radii_mm,
        threshold=settings.sharp_threshold,
    )
    chi_ppm = l1_dipole_inversion(
        hz_to_ppm(local.field_hz, field_strength_t),
        local.mask,
        voxel_size_mm=size_mm,
        b0_direction=b0_direction or grid.b0_direction,
        regularisation=settings.regularisation,
        data_weight=_data_weight(products, local.mask) if settings.data_weighting else None,
        magnitude=magnitude,
        dynamic=_dynamic_terms(settings),
        reference=settings.reference,
        n_iterations=settings.n_iterations,
        tolerance=settings.tolerance,
    )
    return QsmResult(chi_ppm, local.mask, brain, field_hz, local.field_hz, magnitude)


def _automatic_mask(products: LagProducts, grid: Grid, settings: QsmSettings) -> Tensor:
    """The brain, less what the phase of its channels and echoes disagrees on."""
    brain = brain_mask(products.magnitude[0], voxel_size_mm=grid.voxel_size_mm)
    return without_incoherent(
        brain, phase_coherence(products), least_coherence=settings.least_coherence
    )


def _checked(mask: Tensor, grid: Grid) -> Tensor:
    """A mask that fits the grid."""
    if mask.dtype != torch.bool or tuple(mask.shape) != grid.shape:
        raise InputError(
            f"mask: expected bool {grid.shape}, found {mask.dtype} {tuple(mask.shape)}"
        )
    return mask


def _data_weight(products: LagProducts, mask: Tensor) -> Tensor:
    """1 / sd of the field, of median 1 in the mask, at most 3."""
    weight = 1 / field_sd_hz(products)
    return (weight / weight[mask].median()).clamp_max(LARGEST_DATA_WEIGHT)


def _dynamic_terms(settings: QsmSettings) -> DynamicTerms | None:
    """The dynamic terms that are switched on, or None for a fixed problem."""
    terms = DynamicTerms(
        noise=settings.dynamic_noise,
        structure=settings.dynamic_structure,
        scale=settings.dynamic_scale,
    )
    return terms if terms.noise or terms.structure or terms.scale else None
