"""Dipole inversion: the susceptibility with the fewest edges that explains the local field."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from accelqsm.dipole import dipole_kernel
from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.qsm.inversion.dynamic import DynamicTerms, Weights, learnt_weights, magnitude_edges
from accelqsm.qsm.inversion.gradient import Gradient
from accelqsm.qsm.spikes import spike_weight
from accelqsm.qsm.volume import box_of

MARGIN_VOXELS = (12, 12, 12)
PENALTY_PER_REGULARISATION = 100.0
DATA_PENALTY = 0.3
EDGE_WEIGHT = 0.3
"""Share of the regularisation that stays on an edge of the magnitude."""

OUTSIDE_WEIGHT = 0.1
"""Share of it outside the mask, where sources may stand for what is left of the background."""


def l1_dipole_inversion(
    local_field_ppm: Tensor,
    mask: Tensor,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple,
    regularisation: float = 2.5e-4,
    data_weight: Tensor | None = None,
    magnitude: Tensor | None = None,
    dynamic: DynamicTerms | None = None,
    n_iterations: int = 100,
    tolerance: float = 3e-2,
) -> Tensor:
    """Solve min_chi 1/2 ||W (D chi - f)||^2 + lambda ||V grad chi||_1 by ADMM.

    D is the unit dipole, grad the forward difference per mm, W the data weight, V the structure
    weight: 0.3 on the edges of the magnitude, 0.1 outside the mask, 1 elsewhere. The split
    z = grad chi has the penalty rho = 100 lambda; a second split v = D chi makes the weighted
    data term separable, and is left out where W = 1.

    Args:
        local_field_ppm: (x, y, z) in ppm of the main field.
        mask: bool (x, y, z); the field outside is taken as zero, or as unknown where
            ``data_weight`` is given.
        voxel_size_mm: edge lengths of a voxel in mm.
        b0_direction: unit vector of the main field along the array axes.
        regularisation: lambda, in ppm mm (field in ppm, gradient in ppm / mm).
        data_weight: (x, y, z), about 1 in the mask; proportional to 1 / sd of the field. The field
            outside the mask then is unknown, and sources there cost little, so that they take up
            what background removal has left.
        magnitude: (x, y, z) whose edges the susceptibility may share; None where it has none.
        dynamic: terms learnt on the way, or None for a fixed problem.
        n_iterations: upper limit.
        tolerance: relative change of chi at which to stop.

    Returns:
        chi in ppm, (x, y, z), zero outside the mask; the field does not tell its level, which
        ``reference.referenced`` sets.

    Raises:
        InputError: shapes that differ, a regularisation that is not positive, or an empty mask.

    Source: Bilgic et al. 2014, Magn Reson Med 72:1444, doi 10.1002/mrm.25029; noise term after
        Liu et al. 2013, Magn Reson Med 69:467, doi 10.1002/mrm.24272.
    """
    if local_field_ppm.shape != mask.shape or not regularisation > 0:
        raise InputError(
            f"dipole inversion: expected field and mask of one shape and regularisation > 0, found "
            f"{tuple(local_field_ppm.shape)}, {tuple(mask.shape)} and {regularisation}"
        )
    if dynamic is not None and data_weight is None:
        data_weight = torch.ones_like(local_field_ppm)
    box = box_of(mask, margin_voxels=MARGIN_VOXELS)
    inside = box.frame(mask)
    weights = _initial_weights(
        regularisation,
        None if data_weight is None else box.frame(data_weight),
        None if magnitude is None else box.frame(magnitude),
        inside,
        voxel_size_mm,
    )
    field = box.frame(local_field_ppm) * inside
    if dynamic is not None and dynamic.noise and weights.data is not None:
        unlike_spikes = spike_weight(field, inside)
        # Out of the field too: the first estimate comes from it, whatever the weights.
        field = field * unlike_spikes
        weights = replace(weights, data=weights.data * unlike_spikes)
    chi = _admm(
        field,
        inside,
        weights,
        voxel_size_mm=voxel_size_mm,
        b0_direction=b0_direction,
        dynamic=dynamic,
        n_iterations=n_iterations,
        tolerance=tolerance,
    )
    return torch.where(mask, box.unframe(chi, mask.shape), 0)


def _initial_weights(
    regularisation: float,
    data_weight: Tensor | None,
    magnitude: Tensor | None,
    inside: Tensor,
    voxel_size_mm: Triple,
) -> Weights:
    """The weights before anything is learnt; all arguments are framed."""
    structure = None if data_weight is None else _outside_weight(inside, like=data_weight)
    if magnitude is not None:
        edges = magnitude_edges(magnitude, inside, voxel_size_mm=voxel_size_mm)
        share = torch.where(edges, EDGE_WEIGHT, 1.0).to(magnitude)
        structure = share if structure is None else share * structure
    data = None if data_weight is None else data_weight * inside
    return Weights(regularisation=regularisation, data=data, structure=structure)


def _outside_weight(inside: Tensor, *, like: Tensor) -> Tensor:
    """1 between two voxels of the mask and ``OUTSIDE_WEIGHT`` elsewhere, (3, x, y, z)."""
    return torch.stack(
        [
            torch.where(inside & inside.roll(-1, axis), 1.0, OUTSIDE_WEIGHT).to(like)
            for axis in range(3)
        ]
    )


def _lost_share(before: Tensor, after: Tensor) -> Tensor:
    """By how much W^2, which the dual of the field is proportional to, has fallen; at most 1."""
    return torch.where(before > 0, after / before.clamp_min(1e-30), 1.0).clamp_max(1.0)


def _admm(
    field: Tensor,
    inside: Tensor,
    weights: Weights,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple,
    dynamic: DynamicTerms | None,
    n_iterations: int,
    tolerance: float,
) -> Tensor:
    """Alternate between chi (Fourier space), its gradient and its field (image space)."""
    shape = (field.shape[0], field.shape[1], field.shape[2])
    kernel = dipole_kernel(
        shape,
        voxel_size_mm=voxel_size_mm,
        b0_direction=b0_direction,
        dtype=field.dtype,
        device=field.device,
    )
    gradient = Gradient(voxel_size_mm)
    initial = weights
    penalty = PENALTY_PER_REGULARISATION * weights.regularisation
    data_penalty = 1.0 if weights.data is None else DATA_PENALTY
    system = data_penalty * kernel**2 + penalty * gradient.power_spectrum(field)
    system[0, 0, 0] = torch.inf
    confidence = weights.confidence(field)
    chi = torch.zeros_like(field)
    gradient_dual = gradient(chi)
    gradient_target = gradient_dual
    field_dual = chi
    field_spectrum = torch.fft.rfftn(field) * kernel * data_penalty
    for iteration in range(1, n_iterations + 1):
        spectrum = torch.fft.rfftn(gradient.adjoint(gradient_target)) * penalty
        spectrum += field_spectrum
        spectrum /= system
        previous, chi = chi, torch.fft.irfftn(spectrum, s=shape)
        change = torch.linalg.vector_norm(chi - previous)
        if change <= tolerance * torch.linalg.vector_norm(chi):
            break
        slope = gradient(chi)
        gradient_target = slope + gradient_dual
        limit = weights.shrinkage(penalty, field)
        gradient_dual = torch.clamp(gradient_target, -limit, limit)
        gradient_target -= 2 * gradient_dual
        if weights.data is None:
            continue
        explained = torch.fft.irfftn(spectrum * kernel, s=shape)
        if dynamic is not None and iteration % dynamic.period == 0:
            weights = learnt_weights(
                weights,
                dynamic,
                initial,
                update=iteration // dynamic.period,
                residual=explained - field,
                slope=slope,
                inside=inside,
            )
            before, confidence = confidence, weights.confidence(field)
            field_dual *= _lost_share(before, confidence)
        proposed = explained + field_dual
        split = (confidence * field + data_penalty * proposed) / (confidence + data_penalty)
        field_dual = proposed - split
        field_spectrum = torch.fft.rfftn(split - field_dual) * kernel * data_penalty
    return chi
