"""Dipole inversion: the susceptibility with the fewest edges that explains the local field."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from accelqsm.dipole import dipole_kernel
from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.qsm.dynamic import DynamicTerms, Weights, learnt_weights, magnitude_edges
from accelqsm.qsm.gradient import Gradient
from accelqsm.qsm.volume import box_of

MARGIN_VOXELS = (12, 12, 12)
PENALTY_PER_REGULARISATION = 300.0
DATA_PENALTY = 0.1


def l1_dipole_inversion(
    local_field_ppm: Tensor,
    mask: Tensor,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple,
    regularisation: float = 1e-4,
    data_weight: Tensor | None = None,
    magnitude: Tensor | None = None,
    dynamic: DynamicTerms | None = None,
    reference: str | Tensor = "brain",
    n_iterations: int = 100,
    tolerance: float = 1e-3,
) -> Tensor:
    """Solve min_chi 1/2 ||W (D chi - f)||^2 + lambda ||V grad chi||_1 by ADMM.

    D is the unit dipole, grad the forward difference per mm, W the data weight, V the structure
    weight (1 without dynamic terms). The split z = grad chi has the penalty rho = 300 lambda; a
    second split v = D chi makes the weighted data term separable, and is left out where W = 1.

    Args:
        local_field_ppm: (x, y, z) in ppm of the main field.
        mask: bool (x, y, z); the field outside is taken as zero, or as unknown where
            ``data_weight`` is given.
        voxel_size_mm: edge lengths of a voxel in mm.
        b0_direction: unit vector of the main field along the array axes.
        regularisation: lambda, in ppm mm (field in ppm, gradient in ppm / mm).
        data_weight: (x, y, z), about 1 in the mask; proportional to 1 / sd of the field. The field
            outside the mask then is unknown, which takes most of the error away.
        magnitude: (x, y, z) whose edges the structure term starts from.
        dynamic: terms learnt on the way, or None for a fixed problem.
        reference: what has zero susceptibility: the mean of the "brain" mask, "none" (the mean
            of the volume), or a bool (x, y, z) region.
        n_iterations: upper limit.
        tolerance: relative change of chi at which to stop.

    Returns:
        chi in ppm, (x, y, z), zero outside the mask.

    Raises:
        InputError: shapes that differ, a regularisation that is not positive, an empty mask or
            reference region.

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
    weights = Weights(
        regularisation=regularisation,
        data=None if data_weight is None else box.frame(data_weight) * inside,
        structure=None,
    )
    if dynamic is not None and dynamic.structure and magnitude is not None:
        edges = magnitude_edges(box.frame(magnitude), inside, voxel_size_mm=voxel_size_mm)
        weights = replace(weights, structure=1 - (1 - dynamic.edge_weight) * edges.to(magnitude))
    chi = _admm(
        box.frame(local_field_ppm) * inside,
        inside,
        weights,
        voxel_size_mm=voxel_size_mm,
        b0_direction=b0_direction,
        dynamic=dynamic,
        n_iterations=n_iterations,
        tolerance=tolerance,
    )
    return _referenced(box.unframe(chi, mask.shape), mask, reference)


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
        proposed = explained + field_dual
        confidence = weights.data**2
        split = (confidence * field + data_penalty * proposed) / (confidence + data_penalty)
        field_dual = proposed - split
        field_spectrum = torch.fft.rfftn(split - field_dual) * kernel * data_penalty
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
    return chi


def _referenced(chi_ppm: Tensor, mask: Tensor, reference: str | Tensor) -> Tensor:
    """chi inside the mask, less its mean over the reference region."""
    if isinstance(reference, str):
        if reference not in ("brain", "none"):
            raise InputError(f"reference: expected brain, none or a region, found {reference}")
        region = mask if reference == "brain" else None
    else:
        region = reference & mask
        if not bool(region.any()):
            raise InputError("reference region: expected some voxels in the mask, found none")
    level = 0.0 if region is None else chi_ppm[region].mean()
    return torch.where(mask, chi_ppm - level, 0)
