"""Dipole inversion: the susceptibility with the fewest edges that explains the local field."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accelqsm.dipole import dipole_kernel
from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.qsm.inversion.dynamic import DynamicTerms, Weights, learnt_weights, magnitude_edges
from accelqsm.qsm.inversion.gradient import Gradient
from accelqsm.qsm.inversion.settings import L1Settings
from accelqsm.qsm.spikes import spike_weight
from accelqsm.qsm.volume import box_of
from accelqsm.runtime.progress import staged

DEFAULT = L1Settings()
MARGIN_VOXELS = (12, 12, 12)
PENALTY_PER_REGULARISATION = 100.0
DATA_PENALTY = 0.3
EDGE_WEIGHT = 0.3
"""Share of the regularisation that stays on an edge of the magnitude."""

OUTSIDE_WEIGHT = 0.1
"""Share of it outside the mask, where sources may stand for what is left of the background."""


@staged("Dipole inversion")
def l1_dipole_inversion(
    local_field_ppm: Tensor,
    mask: Tensor,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple,
    data_weight: Tensor | None = None,
    magnitude: Tensor | None = None,
    settings: L1Settings = DEFAULT,
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
        data_weight: (x, y, z), about 1 in the mask; proportional to 1 / sd of the field. The field
            outside the mask then is unknown, and sources there cost little, so that they take up
            what background removal has left.
        magnitude: (x, y, z) whose edges the susceptibility may share; None where it has none.
        settings: lambda in ppm mm (field in ppm, gradient in ppm / mm), terms learnt on the way,
            and when to stop.

    Returns:
        chi in ppm, (x, y, z), zero outside the mask; the field does not tell its level.

    Raises:
        InputError: shapes that differ, or an empty mask.

    Source: Bilgic et al. 2014, Magn Reson Med 72:1444, doi 10.1002/mrm.25029; noise term after
        Liu et al. 2013, Magn Reson Med 69:467, doi 10.1002/mrm.24272.
    """
    if local_field_ppm.shape != mask.shape:
        raise InputError(
            f"dipole inversion: expected field and mask of one shape, found "
            f"{tuple(local_field_ppm.shape)} and {tuple(mask.shape)}"
        )
    dynamic = _dynamic_terms(settings)
    if dynamic is not None and data_weight is None:
        data_weight = torch.ones_like(local_field_ppm)
    box = box_of(mask, margin_voxels=MARGIN_VOXELS)
    inside = box.frame(mask)
    weights = _initial_weights(
        settings.regularisation,
        None if data_weight is None else box.frame(data_weight),
        box.frame(magnitude) if settings.magnitude_edges and magnitude is not None else None,
        inside,
        voxel_size_mm,
    )
    field = box.frame(local_field_ppm) * inside
    if dynamic is not None and dynamic.noise and weights.data is not None:
        unlike_spikes = spike_weight(field, inside)
        # Out of the field too: the first estimate comes from it, whatever the weights.
        field = field * unlike_spikes
        weights = replace(weights, data=weights.data * unlike_spikes)
    kernel = dipole_kernel(
        box.padded,
        voxel_size_mm=voxel_size_mm,
        b0_direction=b0_direction,
        dtype=field.dtype,
        device=field.device,
    )
    problem = _Problem(field, inside, kernel, Gradient(voxel_size_mm), weights)
    chi = _admm(problem, dynamic, settings)
    return torch.where(mask, box.unframe(chi, mask.shape), 0)


def _dynamic_terms(settings: L1Settings) -> DynamicTerms | None:
    """The dynamic terms that are switched on, or None for a fixed problem."""
    terms = DynamicTerms(
        noise=settings.dynamic_noise,
        structure=settings.dynamic_structure,
        scale=settings.dynamic_scale,
    )
    return terms if terms.noise or terms.structure or terms.scale else None


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


@dataclass(frozen=True)
class _Problem:
    """What is minimised, on one periodic grid; all tensors are (x, y, z).

    Attributes:
        field: f in ppm, zero outside the mask.
        inside: bool, the mask.
        kernel: unit dipole, half spectrum.
        gradient: forward difference per mm.
        weights: W, V and lambda at the start.
    """

    field: Tensor
    inside: Tensor
    kernel: Tensor
    gradient: Gradient
    weights: Weights

    def field_of(self, spectrum: Tensor) -> Tensor:
        """D chi, from the half spectrum of chi."""
        field: Tensor = torch.fft.irfftn(spectrum * self.kernel, s=self.field.shape)
        return field


class _FieldSplit:
    """The split v = D chi, which makes the weighted data term separable.

    Attributes:
        penalty: of v from D chi.
        pull: half spectrum of penalty D^T (v - dual), what the data add to the equation of chi.
    """

    def __init__(self, problem: _Problem) -> None:
        self._problem = problem
        self._confidence = problem.weights.confidence(problem.field)
        self._dual = torch.zeros_like(problem.field)
        self.penalty = 1.0 if problem.weights.data is None else DATA_PENALTY
        self.pull = torch.fft.rfftn(problem.field) * problem.kernel * self.penalty

    def reweigh(self, weights: Weights) -> None:
        """Take new data weights; the dual is proportional to W^2 and falls with it."""
        before = self._confidence
        self._confidence = weights.confidence(self._problem.field)
        self._dual *= _lost_share(before, self._confidence)

    def update(self, explained: Tensor) -> None:
        """The v that fits the field and ``explained`` = D chi best, and its dual."""
        proposed = explained + self._dual
        split = (self._confidence * self._problem.field + self.penalty * proposed) / (
            self._confidence + self.penalty
        )
        self._dual = proposed - split
        self.pull = torch.fft.rfftn(split - self._dual) * self._problem.kernel * self.penalty


def _admm(problem: _Problem, dynamic: DynamicTerms | None, settings: L1Settings) -> Tensor:
    """Alternate between chi (Fourier space), its gradient and its field (image space)."""
    field, gradient, weights = problem.field, problem.gradient, problem.weights
    penalty = PENALTY_PER_REGULARISATION * weights.regularisation
    data = _FieldSplit(problem)
    system = data.penalty * problem.kernel**2 + penalty * gradient.power_spectrum(field)
    system[0, 0, 0] = torch.inf
    chi = torch.zeros_like(field)
    dual = gradient(chi)
    target = dual
    for iteration in range(1, settings.n_iterations + 1):
        spectrum = torch.fft.rfftn(gradient.adjoint(target)) * penalty
        spectrum += data.pull
        spectrum /= system
        previous, chi = chi, torch.fft.irfftn(spectrum, s=field.shape)
        change = torch.linalg.vector_norm(chi - previous)
        if change <= settings.tolerance * torch.linalg.vector_norm(chi):
            break
        slope = gradient(chi)
        target = slope + dual
        limit = weights.shrinkage(penalty, field)
        dual = torch.clamp(target, -limit, limit)
        target -= 2 * dual
        if weights.data is None:
            continue
        explained = problem.field_of(spectrum)
        if dynamic is not None and iteration % dynamic.period == 0:
            weights = learnt_weights(
                weights,
                dynamic,
                problem.weights,
                update=iteration // dynamic.period,
                residual=explained - field,
                slope=slope,
                inside=problem.inside,
            )
            data.reweigh(weights)
        data.update(explained)
    return chi
