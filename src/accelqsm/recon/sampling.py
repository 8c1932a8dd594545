"""Sampling patterns in (ky, kz): regular and Poisson-disk, with a calibration region."""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import centred_slice

Pair = tuple[int, int]
Floats = npt.NDArray[np.float64]

CENTRE_RADIUS = 0.8
"""Disc radius next to the calibration box, in positions of the axis with the largest field of
view. It is below 1 because a fixed jitter gives every position one trial only, which fills the
plane less densely than repeated trials."""

SMALLEST_RADIUS = 0.5
"""Smallest radius in positions along either axis, as the jitter brings neighbours nearer."""

FIRST_SLOPE = 2.0
STEEPEST = 128.0
TRIALS = 14
CLOSE_ENOUGH = 2e-3


def poisson_disk(
    shape: Pair,
    *,
    acceleration: float,
    calibration: Pair = (24, 24),
    seed: int,
    ellipse: bool = False,
    voxel_size_mm: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """Variable-density Poisson-disk pattern with exactly round(n_y n_z / AF) samples.

    No sample has an earlier one inside its disc, whose radius is 0.8 + s r positions of the axis
    with the largest field of view, and at least 0.5 positions along either axis; r is the distance
    from the calibration box, 1 at the highest spatial frequency, and s is found iteratively. Both
    are isotropic in cycles/mm: anatomy has equal detail along both axes, and where voxels are thin
    along one of them, its highest frequencies have little signal. For voxels of equal sizes the
    density depends on the relative position along each axis, as usual.

    Positions are visited in random order with a fixed jitter inside their cell. A remaining
    difference from the count (a fraction of a percent at AF 3 to 5) is removed where the density is
    lowest, or added where it is highest.

    Args:
        shape: (n_y, n_z), the full rectangle, corners included.
        acceleration: positions of the rectangle over samples, calibration included.
        calibration: size of the fully sampled centre along y and z.
        seed: the same seed gives the same pattern.
        ellipse: leave out the corners of the rectangle (elliptical shutter); AF still counts them.
        voxel_size_mm: along y and z; only their ratio matters.

    Returns:
        bool (y, z), True where measured.

    Raises:
        InputError: voxel sizes that are not positive, acceleration below 1, a calibration region
            that does not fit the grid or exceeds the samples, or more samples than the ellipse
            has positions.

    Source: Lustig and Pauly 2010, Magn Reson Med 64:457, doi 10.1002/mrm.22428.
    """
    if not all(size_mm > 0 for size_mm in voxel_size_mm):
        raise InputError(f"voxel size: expected positive sizes, found {voxel_size_mm}")
    target = _budget(shape, acceleration, calibration)
    rng = np.random.default_rng(seed)
    distance = _distance_from_box(shape, calibration, voxel_size_mm)
    disc = disc_of(shape, voxel_size_mm)
    allowed = _inside_ellipse(shape) | (distance == 0) if ellipse else np.ones(shape, np.bool_)
    if target > allowed.sum():
        raise InputError(
            f"acceleration: expected {shape[0] * shape[1] / allowed.sum():.2f} or more inside the "
            f"ellipse of {shape[0]} x {shape[1]}, found {acceleration:g}"
        )
    order = np.argwhere(allowed & (distance > 0))
    order = order[rng.permutation(len(order))]
    jitter = rng.uniform(-0.5, 0.5, (*shape, 2))
    mask = distance == 0
    mask |= _fit_density(order, jitter, distance, disc, target - int(mask.sum()))
    return torch.from_numpy(adjust_count(mask, allowed, distance, target, rng))


def disc_of(shape: Pair, voxel_size_mm: tuple[float, float]) -> tuple[float, float]:
    """Radii along ky and kz of a disc that is round in cycles/mm, the larger 1."""
    fields_mm = shape[0] * voxel_size_mm[0], shape[1] * voxel_size_mm[1]
    return fields_mm[0] / max(fields_mm), fields_mm[1] / max(fields_mm)


def regions(
    shape: Pair, *, acceleration: float, calibration: Pair, ellipse: bool
) -> tuple[Tensor, Tensor]:
    """Fully sampled centre of a pattern, and where its samples may be, bool (y, z).

    Raises:
        InputError: as ``poisson_disk``.
    """
    _budget(shape, acceleration, calibration)
    centre = torch.zeros(shape, dtype=torch.bool)
    centre[_box(shape, calibration)] = True
    if not ellipse:
        return centre, torch.ones_like(centre)
    return centre, torch.from_numpy(_inside_ellipse(shape)) | centre


def regular(shape: Pair, *, acceleration: Pair, calibration: Pair) -> Tensor:
    """Regular pattern: every r_y-th line along y and r_z-th along z, plus a fully sampled centre.

    Args:
        shape: (n_y, n_z).
        acceleration: (r_y, r_z), steps between lines; the zero frequency is always measured.
        calibration: size of the fully sampled centre along y and z (it may span an axis).

    Returns:
        bool (y, z), True where measured.

    Raises:
        InputError: a step below 1 or a calibration region larger than the grid.
    """
    if min(acceleration) < 1:
        raise InputError(f"acceleration: expected steps >= 1 along y and z, found {acceleration}")
    _check_fits(shape, calibration)
    along_y, along_z = (
        (np.arange(n) - n // 2) % step == 0 for n, step in zip(shape, acceleration, strict=True)
    )
    mask: npt.NDArray[np.bool_] = np.logical_and.outer(along_y, along_z)
    mask[_box(shape, calibration)] = True
    return torch.from_numpy(mask)


def _budget(shape: Pair, acceleration: float, calibration: Pair) -> int:
    """Number of samples of the pattern, after checks of its arguments."""
    if not (np.isfinite(acceleration) and acceleration >= 1):
        raise InputError(f"acceleration: expected a finite value >= 1, found {acceleration:g}")
    _check_fits(shape, calibration)
    target = round(shape[0] * shape[1] / acceleration)
    box = calibration[0] * calibration[1]
    if box > target:
        raise InputError(
            f"calibration: expected at most the {target} samples of acceleration {acceleration:g} "
            f"on {shape[0]} x {shape[1]}, found {calibration[0]} x {calibration[1]} = {box}"
        )
    return target


def _check_fits(shape: Pair, calibration: Pair) -> None:
    if min(calibration) < 0 or calibration[0] > shape[0] or calibration[1] > shape[1]:
        raise InputError(
            f"calibration: expected a region inside {shape[0]} x {shape[1]}, "
            f"found {calibration[0]} x {calibration[1]}"
        )


def _box(shape: Pair, calibration: Pair) -> tuple[slice, slice]:
    return centred_slice(shape[0], calibration[0]), centred_slice(shape[1], calibration[1])


def _distance_from_box(
    shape: Pair, calibration: Pair, voxel_size_mm: tuple[float, float]
) -> Floats:
    """Distance in cycles/mm from the calibration box, 1 at the middle of the farther edge.

    0 inside the box only.
    """
    lines = []
    for n, size, voxel_mm in zip(shape, calibration, voxel_size_mm, strict=True):
        box = centred_slice(n, size)
        positions = np.arange(n)
        outside = np.maximum(np.maximum(box.start - positions, positions - box.stop + 1), 0)
        lines.append(outside / max(outside.max(), 1) * min(voxel_size_mm) / voxel_mm)
    return np.asarray(np.hypot(lines[0][:, None], lines[1][None, :]))


def _inside_ellipse(shape: Pair) -> npt.NDArray[np.bool_]:
    """Ellipse about the zero frequency that touches the edges of the rectangle."""
    along_y, along_z = ((np.arange(n) - n // 2) / max(n // 2, 1) for n in shape)
    return np.asarray(np.hypot(along_y[:, None], along_z[None, :]) <= 1)


def _fit_density(
    order: npt.NDArray[np.int64],
    jitter: Floats,
    distance: Floats,
    disc: tuple[float, float],
    wanted: int,
) -> npt.NDArray[np.bool_]:
    """Poisson-disk samples outside the box, with the slope that comes closest to ``wanted``.

    Regula falsi on the root of the area per sample, which is nearly linear in the slope.
    """
    best = accept(order, jitter, np.full_like(distance, CENTRE_RADIUS), disc)
    miss = int(best.sum()) - wanted
    shallow, many, steep, few = 0.0, int(best.sum()), FIRST_SLOPE, 0
    for _ in range(TRIALS if miss > 0 else 0):
        slope = _slope_between((shallow, many), (steep, few), wanted) if few else steep
        trial = accept(order, jitter, CENTRE_RADIUS + slope * distance, disc)
        found = int(trial.sum())
        if abs(found - wanted) < abs(miss):
            best, miss = trial, found - wanted
        if abs(miss) <= CLOSE_ENOUGH * wanted:
            break
        if found <= wanted:
            steep, few = slope, max(found, 1)
        else:
            shallow, many = slope, found
            steep = steep if few else min(4 * steep, STEEPEST)
    return best


def _slope_between(shallow: tuple[float, int], steep: tuple[float, int], wanted: int) -> float:
    """Slope for ``wanted`` samples, interpolated between two (slope, samples) and kept off both."""
    low, high, level = (1 / math.sqrt(max(n, 1)) for n in (shallow[1], steep[1], wanted))
    fraction = min(max((level - low) / max(high - low, 1e-12), 0.1), 0.9)
    return shallow[0] + fraction * (steep[0] - shallow[0])


def adjust_count(
    mask: npt.NDArray[np.bool_],
    allowed: npt.NDArray[np.bool_],
    distance: Floats,
    target: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Remove samples at high frequencies, or add samples near the centre, to have ``target``."""
    excess = int(mask.sum()) - target
    free = mask & (distance > 0) if excess > 0 else allowed & ~mask
    candidates = rng.permutation(np.argwhere(free))
    far = distance[tuple(candidates.T)]
    if excess > 0:
        candidates = candidates[far >= np.quantile(far, max(0.0, 1 - 4 * excess / len(far)))]
    else:
        candidates = candidates[np.argsort(far, kind="stable")]
    chosen = candidates[: abs(excess)]
    mask[tuple(chosen.T)] = excess < 0
    return mask


@numba.njit(cache=True)
def accept(
    order: npt.NDArray[np.int64],
    jitter: Floats,
    radii: Floats,
    disc: tuple[float, float],
) -> npt.NDArray[np.bool_]:
    """Accept the positions, in order, that have no earlier sample in their ellipse.

    Args:
        order: positions (position, 2).
        jitter: of each position along both axes, (y, z, 2).
        radii: (y, z).
        disc: factors of the radius along both axes.
    """
    n_y, n_z = radii.shape
    kept = np.zeros((n_y, n_z), dtype=np.bool_)
    for index in range(order.shape[0]):
        y, z = order[index]
        radius_y = max(SMALLEST_RADIUS, radii[y, z] * disc[0])
        radius_z = max(SMALLEST_RADIUS, radii[y, z] * disc[1])
        reach_y, reach_z = int(radius_y) + 1, int(radius_z) + 1
        free = True
        for other_y in range(max(0, y - reach_y), min(n_y, y + reach_y + 1)):
            for other_z in range(max(0, z - reach_z), min(n_z, z + reach_z + 1)):
                if kept[other_y, other_z]:
                    along_y = other_y + jitter[other_y, other_z, 0] - y - jitter[y, z, 0]
                    along_z = other_z + jitter[other_y, other_z, 1] - z - jitter[y, z, 1]
                    if (along_y / radius_y) ** 2 + (along_z / radius_z) ** 2 < 1:
                        free = False
                        break
            if not free:
                break
        kept[y, z] = free
    return kept
