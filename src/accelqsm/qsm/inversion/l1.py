"""Dipole inversion with an L1 penalty on the gradient (total variation), by ADMM."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accelqsm.dipole import dipole_kernel
from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.qsm.inversion.dynamic import (
    DynamicTerms,
    Weights,
    restored_field,
    update_weights,
)
from accelqsm.qsm.inversion.gradient import Gradient
from accelqsm.qsm.inversion.settings import L1Settings
from accelqsm.qsm.spikes import spike_weight
from accelqsm.qsm.volume import box_of
from accelqsm.runtime.progress import staged

DEFAULT = L1Settings()
MARGIN_VOXELS = (12, 12, 12)
PENALTY_PER_REGULARISATION = 25.0
DATA_PENALTY = 0.1
RELAXATION = 1.7
"""Over-relaxation of the iterations, which all but halves their number."""

EDGE_WEIGHT = 0.3
"""Factor of the regularisation on an edge of the tissue."""

OUTSIDE_WEIGHT = 0.02
"""Factor of the regularisation outside the mask, where sources may model residual background."""


@staged("Dipole inversion")
def l1_dipole_inversion(
    local_field_ppm: Tensor,
    mask: Tensor,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple,
    data_weight: Tensor | None = None,
    edges: Tensor | None = None,
    settings: L1Settings = DEFAULT,
) -> Tensor:
    """Susceptibility that minimises 1/2 ||W (D chi - f)||^2 + lambda sum V h(grad chi), by ADMM.

    D is the unit dipole, grad the forward difference per mm, W the data weight, V the structure
    weight: 0.3 on edges of the tissue, 0.02 outside the mask, 1 elsewhere, and less across edges
    of an estimate (``update_weights``). h is the absolute value, rounded where it is small
    (Huber): an absolute value acts less on tissue where noise is added, and values would move with
    the noise; the mean of a linear filter does not.

    After 26 iterations what the penalty has taken of f is added to it (``restored_field``).
    The split z = grad chi has the penalty rho = 25 lambda. A second split v = D chi makes the
    weighted data term separable, and is left out where W = 1.

    Args:
        local_field_ppm: (x, y, z) in ppm of the main field.
        mask: bool (x, y, z); the field outside is taken as zero, or as unknown where
            ``data_weight`` is given.
        voxel_size_mm: edge lengths of a voxel in mm.
        b0_direction: unit vector of the main field along the array axes.
        data_weight: (x, y, z), about 1 in the mask; proportional to 1 / sd of the field. The field
            outside the mask is then unknown, and sources there have a small penalty, so that they
            model residual background field.
        edges: bool (3, x, y, z), where susceptibility may have an edge along each axis
            (``tissue_edges``); None for no edges.
        settings: lambda in ppm mm (field in ppm, gradient in ppm / mm), small gradient, dynamic
            terms, number of iterations and tolerance.

    Returns:
        chi in ppm, (x, y, z), zero outside the mask, up to a constant that the field leaves open.

    Raises:
        InputError: shapes that differ, or an empty mask.

    Source: Bilgic et al. 2014, Magn Reson Med 72:1444, doi 10.1002/mrm.25029; noise term after
        Liu et al. 2013, Magn Reson Med 69:467, doi 10.1002/mrm.24272; rounded penalty: Huber
        1964, Ann Math Stat 35:73, doi 10.1214/aoms/1177703732; over-relaxation: Eckstein and
        Bertsekas 1992, Math Program 55:293, doi 10.1007/BF01581204.
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
        None if edges is None or not settings.magnitude_edges else [*map(box.frame, edges)],
        inside,
    )
    field = box.frame(local_field_ppm) * inside
    if dynamic is not None and dynamic.noise and weights.data is not None:
        without_spikes = spike_weight(field, inside)
        # Weights the field too: the first estimate comes from it, whatever the data weights.
        field = field * without_spikes
        weights = replace(weights, data=weights.data * without_spikes)
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
        contrast=settings.restore_contrast,
        scale=settings.dynamic_scale,
        edge_gradient=settings.edge_gradient,
    )
    switched_on = terms.noise or terms.structure or terms.contrast or terms.scale
    return terms if switched_on else None


def _initial_weights(
    regularisation: float,
    data_weight: Tensor | None,
    edges: list[Tensor] | None,
    inside: Tensor,
) -> Weights:
    """Initial weights of the inversion; all volumes are framed."""
    structure = None if data_weight is None else _outside_weight(inside, like=data_weight)
    if edges is not None:
        factor = torch.where(torch.stack(edges), EDGE_WEIGHT, 1.0)
        structure = factor if structure is None else factor * structure
    data = None if data_weight is None else data_weight * inside
    return Weights(regularisation=regularisation, data=data, structure=structure)


def _outside_weight(inside: Tensor, *, like: Tensor) -> Tensor:
    """Structure weight: 1 between two voxels of the mask, ``OUTSIDE_WEIGHT`` elsewhere."""
    return torch.stack(
        [
            torch.where(inside & inside.roll(-1, axis), 1.0, OUTSIDE_WEIGHT).to(like)
            for axis in range(3)
        ]
    )


def _decrease_ratio(before: Tensor, after: Tensor) -> Tensor:
    """Ratio of W^2 after to before an update, at most 1; the dual of the field scales with W^2."""
    return torch.where(before > 0, after / before.clamp_min(1e-30), 1.0).clamp_max(1.0)


@dataclass(frozen=True)
class _Problem:
    """Data and operators of the minimisation on one periodic grid; all tensors are (x, y, z).

    Attributes:
        field: f in ppm, zero outside the mask.
        inside: bool, the mask.
        kernel: unit dipole, half spectrum.
        gradient: forward difference per mm.
        weights: initial W, V and lambda.
    """

    field: Tensor
    inside: Tensor
    kernel: Tensor
    gradient: Gradient
    weights: Weights

    def field_of(self, spectrum: Tensor) -> Tensor:
        """Field D chi from the half spectrum of chi."""
        field: Tensor = torch.fft.irfftn(spectrum * self.kernel, s=self.field.shape)
        return field


class _FieldSplit:
    """ADMM variable v = D chi, which makes the weighted data term separable.

    Attributes:
        field: f, with what was added back to it.
        penalty: weight of ||v - D chi||^2.
        pull: half spectrum of penalty D^T (v - dual), the data part of the normal equation of chi.
    """

    def __init__(self, problem: _Problem) -> None:
        self._kernel = problem.kernel
        self._confidence = problem.weights.confidence(problem.field)
        self.field = problem.field
        self._dual = torch.zeros_like(problem.field)
        self._split = problem.field
        self.penalty = 1.0 if problem.weights.data is None else DATA_PENALTY
        self.pull = torch.fft.rfftn(problem.field) * problem.kernel * self.penalty

    def reweigh(self, weights: Weights) -> None:
        """Set new data weights; the dual is proportional to W^2 and is scaled with it."""
        before = self._confidence
        self._confidence = weights.confidence(self.field)
        self._dual *= _decrease_ratio(before, self._confidence)

    def restore(self, residual: Tensor, voxel_size_mm: Triple) -> None:
        """Add back to the field what the penalty has taken, by ``residual`` = D chi - f."""
        self.field = restored_field(self.field, residual, self._confidence, voxel_size_mm)

    def update(self, explained: Tensor) -> None:
        """Update v and its dual from ``explained`` = D chi."""
        proposed = RELAXATION * explained + (1 - RELAXATION) * self._split + self._dual
        self._split = (self._confidence * self.field + self.penalty * proposed) / (
            self._confidence + self.penalty
        )
        self._dual = proposed - self._split
        pull = torch.fft.rfftn(self._split - self._dual)
        self.pull = pull.mul_(self._kernel).mul_(self.penalty)


def _admm(problem: _Problem, dynamic: DynamicTerms | None, settings: L1Settings) -> Tensor:
    """ADMM iterations: chi in Fourier space, its gradient and field in image space."""
    field, gradient, weights = problem.field, problem.gradient, problem.weights
    penalty = PENALTY_PER_REGULARISATION * weights.regularisation
    data = _FieldSplit(problem)
    system = data.penalty * problem.kernel**2 + penalty * gradient.power_spectrum(field)
    system[0, 0, 0] = torch.inf
    limit = weights.shrinkage(penalty, field)
    within = limit / (limit + settings.small_gradient)
    chi = torch.zeros_like(field)
    dual = gradient(chi)
    # z - dual, of the split z = grad chi.
    target = dual.clone()
    for iteration in range(1, settings.n_iterations + 1):
        spectrum = torch.fft.rfftn(gradient.adjoint(target)) * penalty
        spectrum += data.pull
        spectrum /= system
        previous, chi = chi, torch.fft.irfftn(spectrum, s=field.shape)
        change = torch.linalg.vector_norm(chi - previous)
        settled = dynamic is None or iteration > dynamic.last_step
        if settled and change <= settings.tolerance * torch.linalg.vector_norm(chi):
            break
        slope = gradient(chi)
        target += dual
        target *= 1 - RELAXATION
        target.add_(slope, alpha=RELAXATION).add_(dual)
        dual = torch.clamp(target * within, -limit, limit)
        target.sub_(dual, alpha=2)
        if weights.data is None:
            continue
        explained = problem.field_of(spectrum)
        if dynamic is not None and iteration % dynamic.period == 0:
            before, residual = weights, explained - data.field
            weights = update_weights(
                before,
                dynamic,
                problem.weights,
                iteration=iteration,
                residual=residual,
                slope=slope,
                inside=problem.inside,
                voxel_size_mm=gradient.voxel_size_mm,
            )
            data.reweigh(weights)
            if dynamic.contrast and iteration == dynamic.last_step:
                data.restore(residual, gradient.voxel_size_mm)
            if (weights.structure is not before.structure) or (
                weights.regularisation != before.regularisation
            ):
                limit = weights.shrinkage(penalty, field)
                within = limit / (limit + settings.small_gradient)
        data.update(explained)
    return chi
