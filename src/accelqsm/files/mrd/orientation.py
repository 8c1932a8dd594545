"""Where the image lies in the scanner, as the lines of a raw file say it (LPS to RAS+)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputWarning

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_NAMES = ("read_dir", "phase_dir", "slice_dir")

PERPENDICULAR = 1e-3
NEARLY_PERPENDICULAR = 0.05
"""Cosines between axes up to which they are as they should be, or are made so with a word."""

SAME_DIRECTION = 0.02

ASK = "--b0-direction X Y Z says where B0 is along the array axes (readout, PE1, PE2)"


def directions_of(
    path: Path, heads: npt.NDArray[np.void], *, said: bool
) -> npt.NDArray[np.float64]:
    """Directions of the array axes, as columns (RAS+, 3 x 3, orthonormal).

    Args:
        path: named in warnings.
        heads: of the imaging lines.
        said: whether the direction of B0 is known apart from this.

    Returns:
        As the first line has them; where it has none, the axes of an axial scan.

    Warns:
        InputWarning: no directions, or some that are not perpendicular or not all the same,
            unless B0 is said apart.
    """
    axes = np.array([heads[name][0] for name in _NAMES], dtype=float).T
    with np.errstate(invalid="ignore"):
        lengths = np.linalg.norm(axes, axis=0)
    usable = np.isfinite(lengths) & (lengths > 0)
    shown = ", ".join(
        f"{name} ({' '.join(f'{v:.4g}' for v in axis)})"
        for name, axis in zip(_NAMES, axes.T, strict=True)
    )
    units = axes / np.where(usable, lengths, 1.0)
    if list(usable) == [True, True, False] and abs(units[:, 0] @ units[:, 1]) < PERPENDICULAR:
        third = np.cross(units[:, 0], units[:, 1])
        _warn(f"{path}: {shown}: slice_dir is taken for read_dir x phase_dir; {ASK}", said)
        return LPS_TO_RAS @ np.column_stack([units[:, 0], units[:, 1], third])
    cosines = np.abs(units.T @ units - np.eye(3)).max() if usable.all() else np.inf
    if cosines > NEARLY_PERPENDICULAR:
        _warn(
            f"{path}: expected perpendicular directions in the lines, found {shown}; B0 is taken "
            f"to lie along the third array axis, which is wrong unless the scan is axial; {ASK}",
            said,
        )
        return np.eye(3)
    if cosines > PERPENDICULAR:
        _warn(f"{path}: {shown}: not quite perpendicular, made so; {ASK}", said)
        left, _, right = np.linalg.svd(units)
        units = left @ right
    spread = max(float(np.abs(np.ptp(heads[name], axis=0)).max()) for name in _NAMES)
    if spread > SAME_DIRECTION:
        _warn(
            f"{path}: expected one orientation in all lines, found several; that of the first "
            f"imaging line is taken, {shown}; {ASK}",
            said,
        )
    return np.asarray(LPS_TO_RAS @ units, dtype=np.float64)


def centre_mm(head: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    """The centre of the image, RAS+."""
    position = np.nan_to_num(np.asarray(head["position"], dtype=float))
    return np.asarray(LPS_TO_RAS @ position, dtype=np.float64)


def _warn(message: str, said: bool) -> None:
    if not said:
        warnings.warn(InputWarning(message), stacklevel=4)
