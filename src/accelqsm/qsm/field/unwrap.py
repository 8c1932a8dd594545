"""SPUN: exact phase unwrapping by region growing from prioritised seeds."""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.runtime.progress import staged

TWO_PI = 2 * math.pi
N_BUCKETS = 256
SLOPE_LIMIT_RAD = math.pi
"""Steepest phase step that is extrapolated; a steeper slope is itself ambiguous."""

FRAME = 2
"""Empty voxels around the volume, so that two steps from any voxel stay in the array."""

DEFERRAL = 4
"""A deferred seed is queued again at its quality divided by this number."""

EMPTY, WAITING, QUEUED, DEFERRED, DONE = 0, 1, 2, 3, 4
Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int32]
Steps = npt.NDArray[np.int64]


@staged("Unwrapping")
def unwrap_spun(
    phase_rad: Tensor,
    magnitude: Tensor,
    mask: Tensor,
    *,
    residual_limit_rad: float = math.pi / 2,
) -> Tensor:
    """Unwrap phase by region growing in the order of voxel quality (SPUN).

    Quality of a voxel: mean over its 6 neighbours of (1 - |wrapped difference| / pi) times
    (smaller / larger magnitude), times its magnitude over the 95th percentile. The region grows
    from the best voxel by the best neighbouring seed; the phase of a seed is predicted from its
    unwrapped neighbours and their slopes, and a seed further than ``residual_limit_rad`` from its
    prediction is deferred. Residues are therefore reached last, when their surroundings are
    unwrapped, and their errors do not spread.

    Args:
        phase_rad: (x, y, z), wrapped.
        magnitude: (x, y, z), not negative.
        mask: bool (x, y, z); outside, and where it is not finite, the phase stays as it is.
        residual_limit_rad: largest distance from the prediction that is accepted without deferral.

    Returns:
        (x, y, z): ``phase_rad + 2 pi k`` with integer k, whose median in the largest connected
        part of the mask lies within pi of zero. Parts that are not connected are shifted to the
        branch that is nearest across the gap.

    Raises:
        InputError: arrays whose shapes differ.

    Source: after the description of Ye et al. 2019, J Magn Reson Imaging 50:62 (SPUN).
    """
    if not phase_rad.shape == magnitude.shape == mask.shape or phase_rad.ndim != 3:
        raise InputError(
            f"phase, magnitude and mask: expected one shape (x, y, z), found "
            f"{tuple(phase_rad.shape)}, {tuple(magnitude.shape)} and {tuple(mask.shape)}"
        )
    usable = mask & torch.isfinite(phase_rad) & torch.isfinite(magnitude)
    if not bool(usable.any()):
        return phase_rad.clone()
    inside = usable.cpu().numpy()
    wrapped = np.where(inside, phase_rad.detach().cpu().numpy(), 0).astype(np.float32)
    relative = np.where(inside, magnitude.detach().cpu().numpy(), 0).astype(np.float32)
    brightest = float(np.percentile(relative[inside][::8], 95)) or 1.0
    cycles = _cycles(wrapped, relative / brightest, inside, residual_limit_rad)
    return phase_rad + TWO_PI * torch.from_numpy(cycles).to(phase_rad)


def _cycles(
    wrapped: Floats, magnitude: Floats, inside: npt.NDArray[np.bool_], residual_limit_rad: float
) -> Integers:
    """Number of cycles k to add to every voxel, zero outside."""
    phase = np.pad(wrapped, FRAME)
    state = np.pad(inside, FRAME).astype(np.uint8)
    forward = np.array([s // phase.itemsize for s in phase.strides], dtype=np.int64)
    steps = np.concatenate([forward, -forward])
    quality = _quality(phase.ravel(), np.pad(magnitude, FRAME).ravel(), state.ravel(), forward)
    cycles = np.zeros(phase.size, dtype=np.int32)
    part = np.zeros(phase.size, dtype=np.int32)
    order = _best_first(quality, state > EMPTY)
    n_parts = _grow(
        phase.ravel(), quality, state.ravel(), steps, order, residual_limit_rad, cycles, part
    )
    crop = (slice(FRAME, -FRAME),) * 3
    cycles, part = cycles.reshape(phase.shape)[crop], part.reshape(phase.shape)[crop]
    if n_parts > 1:
        _join_parts(wrapped, cycles, part)
    main = part == np.bincount(part[part > 0]).argmax()
    median_rad = float(np.median((wrapped + TWO_PI * cycles)[main]))
    cycles[inside] -= round(median_rad / TWO_PI)
    return np.ascontiguousarray(cycles)


def _join_parts(wrapped: Floats, cycles: Integers, part: Integers) -> None:
    """Shift the smaller parts, in place, to the branch nearest to the largest part."""
    main = part == np.bincount(part[part > 0]).argmax()
    distance, nearest = ndimage.distance_transform_edt(~main, return_indices=True)
    voxels = np.nonzero((part > 0) & ~main)
    across = tuple(axis[voxels] for axis in nearest)
    jump = (wrapped + TWO_PI * cycles)[voxels] - (wrapped + TWO_PI * cycles)[across]
    order = np.lexsort((distance[voxels], part[voxels]))
    labels, starts = np.unique(part[voxels][order], return_index=True)
    shift = np.zeros(part.max() + 1, dtype=np.int32)
    for label, members in zip(labels, np.split(order, starts[1:]), strict=True):
        gap = distance[voxels][members]
        facing = members[: np.searchsorted(gap, gap[0] + 1, side="right")]
        shift[label] = round(float(np.median(jump[facing])) / TWO_PI)
    cycles[voxels] -= shift[part[voxels]]


@numba.njit(cache=True)
def _quality(phase: Floats, magnitude: Floats, state: Bytes, forward: Steps) -> Bytes:
    """Quality of every voxel in 256 levels, from its 6 neighbours."""
    total = np.zeros(phase.size, dtype=np.float32)
    for voxel in range(phase.size):
        if state[voxel] == EMPTY:
            continue
        for step in forward:
            neighbour = voxel + step
            if state[neighbour] == EMPTY:
                continue
            turns = (phase[neighbour] - phase[voxel]) / TWO_PI
            turns -= math.floor(turns + 0.5)
            low = min(magnitude[voxel], magnitude[neighbour])
            high = max(magnitude[voxel], magnitude[neighbour])
            if high > 0:
                coherence = (1 - 2 * abs(turns)) * low / high
                total[voxel] += coherence
                total[neighbour] += coherence
    quality = np.zeros(phase.size, dtype=np.uint8)
    for voxel in range(phase.size):
        if state[voxel] != EMPTY:
            fraction = total[voxel] / 6 * min(1.0, magnitude[voxel])
            quality[voxel] = int(fraction * (N_BUCKETS - 1) + 0.5)
    return quality


def _best_first(quality: Bytes, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Indices of voxels in the mask by decreasing quality, the most central of the best first."""
    voxels = np.flatnonzero(inside)
    order = voxels[np.argsort(N_BUCKETS - 1 - quality[voxels], kind="stable")]
    best = order[: np.count_nonzero(quality[voxels] == quality[order[0]])]
    place = np.stack(np.unravel_index(best, inside.shape))
    centre = [np.average(index) for index in np.unravel_index(voxels, inside.shape)]
    central = int(((place.T - centre) ** 2).sum(1).argmin())
    order[[0, central]] = order[[central, 0]]
    return order


@numba.njit(cache=True)
def _predict(
    voxel: int, phase: Floats, cycles: Integers, state: Bytes, steps: Steps, quality: Bytes
) -> float:
    """Phase of ``voxel`` extrapolated from its unwrapped neighbours; NaN where there is none."""
    total, weights = 0.0, 0.0
    for step in steps:
        neighbour = voxel + step
        if state[neighbour] != DONE:
            continue
        prediction = phase[neighbour] + TWO_PI * cycles[neighbour]
        behind = neighbour + step
        if state[behind] == DONE:
            slope = prediction - phase[behind] - TWO_PI * cycles[behind]
            prediction += min(max(slope, -SLOPE_LIMIT_RAD), SLOPE_LIMIT_RAD)
        weight = 1.0 + quality[neighbour]
        total += weight * prediction
        weights += weight
    return total / weights if weights > 0 else math.nan


@numba.njit(cache=True)
def _grow(
    phase: Floats,
    quality: Bytes,
    state: Bytes,
    steps: Steps,
    order: npt.NDArray[np.int64],
    residual_limit_rad: float,
    cycles: Integers,
    part: Integers,
) -> int:
    """Grow regions, filling ``cycles`` and ``part`` (from 1); return the number of parts."""
    head = np.full(N_BUCKETS, -1, dtype=np.int64)
    following = np.empty(phase.size, dtype=np.int32)
    n_parts = 0
    for start in order:
        if state[start] == DONE:
            continue
        n_parts += 1
        top = np.int64(quality[start])
        head[top], following[start], state[start] = start, -1, QUEUED
        while top >= 0:
            voxel = head[top]
            if voxel < 0:
                top -= 1
                continue
            head[top] = following[voxel]
            expected = _predict(voxel, phase, cycles, state, steps, quality)
            turns = 0.0 if math.isnan(expected) else (expected - phase[voxel]) / TWO_PI
            nearest = math.floor(turns + 0.5)
            too_far = TWO_PI * abs(turns - nearest) > residual_limit_rad
            if state[voxel] == QUEUED and too_far and top > 0:
                later = top // DEFERRAL
                following[voxel], head[later], state[voxel] = head[later], voxel, DEFERRED
                continue
            cycles[voxel], part[voxel], state[voxel] = np.int32(nearest), n_parts, DONE
            for step in steps:
                seed = voxel + step
                if state[seed] == WAITING:
                    bucket = np.int64(quality[seed])
                    following[seed], head[bucket], state[seed] = head[bucket], seed, QUEUED
                    top = max(top, bucket)
    return n_parts
