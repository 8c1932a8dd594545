"""Registrations by ANTs: volumes in, affine matrices and displacement fields out.

Fixed seeds make results reproducible, and one thread where mutual information is summed: with
several, in varying order. Local correlation is summed by voxel, the same with any number of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from accelqsm.nuclei.engine.files import (
    Field,
    Matrix,
    read_affine,
    read_field,
    write_affine,
    write_field,
    write_image,
)
from accelqsm.nuclei.engine.process import ants_registration, usable_threads
from accelqsm.nuclei.volume import Volume
from accelqsm.runtime.disk import check_temporary

TRANSFORM_BYTES = 2**16
"""Space for the files of an affine transform; an image has 4 bytes a voxel, a field 12."""
MATTES_BINS = 32


def linear_registration(
    fixed: Volume,
    moving: Volume,
    *,
    kind: str,
    initial: Matrix,
    iterations: Sequence[int],
    shrink: Sequence[int],
    sampling_rate: float,
) -> Matrix:
    """Rigid or affine registration by mutual information (Mattes, 32 bins).

    Args:
        fixed, moving: the two images.
        kind: "Rigid" or "Affine".
        initial: 4 x 4, takes world points of ``fixed`` to those of ``moving``.
        iterations, shrink: per resolution, coarsest first; images are shrunk by so many voxels of
            ``fixed``, and smoothed by half as many before.
        sampling_rate: fraction of the voxels that the metric uses.

    Returns:
        4 x 4, takes world points of ``fixed`` to those of ``moving``.

    Source: Mattes et al. 2003, IEEE Trans Med Imaging 22:120, doi 10.1109/TMI.2003.809072;
    Avants et al. 2011, NeuroImage 54:2033, doi 10.1016/j.neuroimage.2010.09.025.
    """
    voxels = fixed.values.size + moving.values.size
    check_temporary(2 * TRANSFORM_BYTES + 4 * voxels, "the registration")
    with tempfile.TemporaryDirectory(prefix="accelqsm-") as name:
        folder = Path(name)
        f = write_image(folder / "fixed.mha", fixed)
        m = write_image(folder / "moving.mha", moving)
        start = write_affine(folder / "start.txt", initial, fixed.grid)
        arguments = [
            *("-r", str(start)),
            *("-m", f"Mattes[{f},{m},1,{MATTES_BINS},regular,{sampling_rate}]"),
            *("-t", f"{kind}[0.25]"),
            *("-c", f"[{_levels(iterations)},1e-6,10]"),
            *_resolutions(shrink, [factor // 2 for factor in shrink]),
            *("-z", "1", "-o", str(folder / "out_")),
        ]
        ants_registration(arguments, threads=1)
        return read_affine(folder / "out_0GenericAffine.mat")


def deformable_registration(
    fixed: Sequence[Volume],
    moving: Sequence[Volume],
    *,
    initial: Matrix,
    start: Field | None = None,
    iterations: Sequence[int],
    step: float,
    radius: int,
    smoothing_voxels: float,
) -> tuple[Field, Field]:
    """Symmetric normalisation (SyN) driven by the local correlation of one or more contrasts.

    Args:
        fixed, moving: one image per contrast; fixed images share a grid.
        initial: 4 x 4, takes world points of ``fixed`` to those of ``moving``; not optimised.
        start: forward field of an earlier run, on the grid of ``fixed``, that this one continues.
        iterations: per resolution, coarsest first; each is twice as fine as the one before.
        step: gradient step, voxels.
        radius: of the window of the local correlation, voxels.
        smoothing_voxels: variance of the smoothing of each update, voxels^2.

    Returns:
        Forward and inverse displacement fields (3, x, y, z) in mm (RAS+) on the grid of ``fixed``.
        Forward: moving = initial(p + forward(p)). Inverse: fixed = q + inverse(q) with
        q = initial^-1(moving). With a start they are of this run alone:
        moving = initial(q + start(q)) with q = p + forward(p).

    Source: Avants et al. 2008, Med Image Anal 12:26, doi 10.1016/j.media.2007.06.004.
    """
    grid = fixed[0].grid
    check_temporary(_bytes_of(fixed, moving), "the registration")
    with tempfile.TemporaryDirectory(prefix="accelqsm-") as name:
        folder = Path(name)
        metrics: list[str] = []
        for number, (one, other) in enumerate(zip(fixed, moving, strict=True)):
            f = write_image(folder / f"fixed{number}.mha", one)
            m = write_image(folder / f"moving{number}.mha", other)
            metrics += ["-m", f"CC[{f},{m},1,{radius}]"]
        factors = [2**level for level in reversed(range(len(iterations)))]
        arguments = [
            # What is given last is applied to points of ``fixed`` last.
            *([] if start is None else ["-r", str(write_field(folder / "s.mha", start, grid))]),
            *("-r", str(write_affine(folder / "start.txt", initial, grid))),
            *metrics,
            *("-t", f"SyN[{step:.6f},{smoothing_voxels:.6f},0.0]"),
            *("-c", f"[{_levels(iterations)},1e-7,8]"),
            *_resolutions(factors, list(reversed(range(len(iterations))))),
            *("-z", "0", "-o", str(folder / "out_")),
        ]
        ants_registration(arguments, threads=usable_threads())
        number = 1 if start is None else 2
        forward, inverse = (folder / f"out_{number}{w}Warp.nii.gz" for w in ("", "Inverse"))
        return read_field(forward), read_field(inverse)


def _bytes_of(fixed: Sequence[Volume], moving: Sequence[Volume]) -> int:
    """Space for the images, the start and the two fields of a deformable registration."""
    images = 4 * sum(volume.values.size for volume in (*fixed, *moving))
    return 3 * TRANSFORM_BYTES + images + 3 * 12 * fixed[0].values.size


def _levels(values: Sequence[int]) -> str:
    return "x".join(map(str, values))


def _resolutions(shrink: Sequence[int], smoothing: Sequence[int]) -> list[str]:
    """Options for the resolutions of a stage: shrink factors, and SD of the smoothing in voxels."""
    return ["-s", _levels(smoothing), "-f", _levels(shrink), "-u", "1"]
