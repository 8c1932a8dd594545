"""Where a NIfTI header says its voxels are: which of its two transforms, in which unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Space = Literal["scanner", "aligned", "template", "nowhere"]
Matrix = npt.NDArray[np.float64]

SCANNER, TALAIRACH = 1, 3
MM_PER_UNIT = {"meter": 1000.0, "micron": 0.001}
SAME_SIZE = 0.05
SAME_COSINE = float(np.cos(np.deg2rad(5)))


@dataclass(frozen=True)
class Orientation:
    """What a header says of the place of its voxels.

    Attributes:
        affine: voxel indices to mm (4 x 4).
        space: "scanner" (code 1), "aligned" (2) to another image, a "template" (3 and more), or
            "nowhere" (no code), where the affine is voxel sizes alone.
        unit: of the header: "mm", "metre", "micron" or "unknown".
        form: the transform that counts: "sform", "qform", or "" for voxel sizes alone.
        doubt: how sform and qform contradict each other where both are of the scanner, or "".
    """

    affine: Matrix
    space: Space
    unit: str
    form: str = ""
    doubt: str = ""


def orientation_of(header: Any, affine: Any) -> Orientation:
    """The transform of a scanner (code 1) before that of an aligned, and this before a template.

    Where both have the same rank, the sform counts, as in NIfTI's own rule.

    Args:
        header: of nibabel.
        affine: what nibabel takes the affine for.

    Source: https://nifti.nimh.nih.gov/nifti-1/documentation/nifti1fields (qform and sform).
    """
    codes = {name: int(header[f"{name}_code"]) for name in ("sform", "qform")}
    forms = {name: _form(header, name) for name, code in codes.items() if code > 0}
    known = {name: form for name, form in forms.items() if form is not None}
    unit = _unit(header)
    scale = np.diag([*[MM_PER_UNIT.get(unit, 1.0)] * 3, 1.0])
    unit = {"meter": "metre"}.get(unit, unit)
    if not known:
        return Orientation(scale @ np.asarray(affine, dtype=float), "nowhere", unit)
    name = min(known, key=lambda form: (min(codes[form], TALAIRACH), form == "qform"))
    code = codes[name]
    space: Space = "scanner" if code == SCANNER else "aligned"
    if code >= TALAIRACH:
        space = "template"
    both = len(known) == 2 and set(codes.values()) == {SCANNER}
    doubt = _difference(known["sform"], known["qform"]) if both else ""
    return Orientation(scale @ known[name], space, unit, name, doubt)


def _form(header: Any, name: str) -> Matrix | None:
    """A transform of the header, or None where it cannot be used."""
    try:
        form = np.asarray(getattr(header, f"get_{name}")(), dtype=float)
    except Exception:  # nibabel's own for a quaternion that is none
        return None
    usable = np.isfinite(form).all() and abs(np.linalg.det(form[:3, :3])) > 0
    return form if usable else None


def _unit(header: Any) -> str:
    try:
        return str(header.get_xyzt_units()[0])
    except KeyError:
        return "unknown"


def _difference(sform: Matrix, qform: Matrix) -> str:
    """How two transforms differ in voxel size or direction, or "" where they do not."""
    ours, theirs = (np.linalg.norm(form[:3, :3], axis=0) for form in (sform, qform))
    if not np.allclose(ours, theirs, rtol=SAME_SIZE):
        shown = [" x ".join(f"{size:.3g}" for size in sizes) for sizes in (ours, theirs)]
        return f"voxels of {shown[0]} mm in the sform and {shown[1]} mm in the qform"
    cosines = (sform[:3, :3] / ours * (qform[:3, :3] / theirs)).sum(0)
    if cosines.min() < SAME_COSINE:
        degrees = float(np.rad2deg(np.arccos(np.clip(cosines.min(), -1, 1))))
        return f"an axis that sform and qform turn {degrees:.0f} degrees apart"
    return ""
