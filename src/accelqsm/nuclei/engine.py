"""Interface to ANTs: volumes in, affine matrices and displacement fields out.

One thread and a fixed seed make results reproducible: with several threads, mutual information
is summed in varying order.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.grid import Grid
from accelqsm.nuclei.volume import Volume
from accelqsm.runtime.disk import check_temporary

SEED = 1
TRANSFORM_BYTES = 2**16
"""Space for the files of one affine transform; a displacement field has 12 bytes a voxel."""
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""ANTs uses LPS coordinates; all other modules use RAS+."""


def ants_module() -> Any:
    """Import ANTsPy, with one thread.

    Raises:
        InputError: not installed.
    """
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    try:
        import ants
    except ImportError as error:
        raise InputError(
            "registration: expected the package antspyx, found none (pip install antspyx)"
        ) from error
    return ants


def to_ants(volume: Volume) -> Any:
    """Convert a volume to an ANTs image, in LPS coordinates."""
    matrix = LPS @ volume.grid.matrix
    sizes = np.asarray(volume.grid.voxel_size_mm)
    return ants_module().from_numpy(
        np.ascontiguousarray(volume.values, dtype=np.float32),
        origin=tuple(matrix[:3, 3]),
        spacing=tuple(sizes),
        direction=LPS[:3, :3] @ volume.grid.rotation,
    )


def linear_registration(
    fixed: Volume,
    moving: Volume,
    *,
    kind: str,
    initial: npt.NDArray[np.float64],
    iterations: Sequence[int],
    shrink: Sequence[int],
    sampling_rate: float,
) -> npt.NDArray[np.float64]:
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
    ants = ants_module()
    check_temporary(TRANSFORM_BYTES, "the registration")
    with tempfile.TemporaryDirectory(prefix="accelqsm-") as folder:
        start = _write_affine(Path(folder) / "start.mat", initial, fixed)
        found = ants.registration(
            to_ants(fixed),
            to_ants(moving),
            type_of_transform=kind,
            initial_transform=[str(start)],
            outprefix=str(Path(folder) / "out_"),
            aff_metric="mattes",
            aff_sampling=32,
            aff_random_sampling_rate=sampling_rate,
            aff_iterations=tuple(iterations),
            aff_shrink_factors=tuple(shrink),
            aff_smoothing_sigmas=tuple(factor // 2 for factor in shrink),
            random_seed=SEED,
        )
        return _read_affine(found["fwdtransforms"][-1])


def deformable_registration(
    fixed: Sequence[Volume],
    moving: Sequence[Volume],
    *,
    initial: npt.NDArray[np.float64],
    iterations: Sequence[int],
    step: float,
    radius: int,
    smoothing_voxels: float,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], Grid]:
    """Symmetric normalisation (SyN) driven by the local correlation of one or more contrasts.

    Args:
        fixed, moving: one image per contrast; fixed images share a grid.
        initial: 4 x 4, takes world points of ``fixed`` to those of ``moving``; not optimised.
        iterations: per resolution, coarsest first; each is twice as fine as the one before.
        step: gradient step, voxels.
        radius: of the window of the local correlation, voxels.
        smoothing_voxels: variance of the smoothing of each update, voxels^2.

    Returns:
        Forward and inverse displacement fields (3, x, y, z) in mm (RAS+) on the grid of ``fixed``,
        and that grid. Forward: moving = initial(p + forward(p)). Inverse:
        fixed = q + inverse(q) with q = initial^-1(moving).

    Source: Avants et al. 2008, Med Image Anal 12:26, doi 10.1016/j.media.2007.06.004.
    """
    ants = ants_module()
    first, *others = zip(map(to_ants, fixed), map(to_ants, moving), strict=True)
    check_temporary(4 * TRANSFORM_BYTES + 2 * 12 * fixed[0].values.size, "the registration")
    with tempfile.TemporaryDirectory(prefix="accelqsm-") as folder:
        start = _write_affine(Path(folder) / "start.mat", initial, fixed[0])
        found = ants.registration(
            *first,
            type_of_transform="SyNOnly",
            initial_transform=[str(start)],
            outprefix=str(Path(folder) / "out_"),
            grad_step=step,
            flow_sigma=smoothing_voxels,
            total_sigma=0,
            syn_metric="CC",
            syn_sampling=radius,
            reg_iterations=tuple(iterations),
            multivariate_extras=[("CC", f, m, 1, radius) for f, m in others] or None,
            random_seed=SEED,
        )
        forward = [p for p in found["fwdtransforms"] if p.endswith("Warp.nii.gz")]
        inverse = [p for p in found["invtransforms"] if p.endswith("InverseWarp.nii.gz")]
        return _read_warp(forward[0]), _read_warp(inverse[0]), fixed[0].grid


def _write_affine(path: Path, matrix: npt.NDArray[np.float64], fixed: Volume) -> Path:
    # About the centre of the image: a rotation about a distant origin also translates it.
    ants = ants_module()
    lps = LPS @ matrix @ LPS
    grid = fixed.grid
    middle = grid.matrix[:3, :3] @ ((np.asarray(grid.shape) - 1) / 2) + grid.matrix[:3, 3]
    centre = LPS[:3, :3] @ middle
    offset = lps[:3, 3] + lps[:3, :3] @ centre - centre
    transform = ants.create_ants_transform(
        transform_type="AffineTransform", dimension=3, precision="double"
    )
    transform.set_parameters(np.concatenate([lps[:3, :3].ravel(), offset]))
    transform.set_fixed_parameters(centre)
    ants.write_transform(transform, str(path))
    return path


def _read_affine(path: str) -> npt.NDArray[np.float64]:
    transform = ants_module().read_transform(path)
    parameters = np.asarray(transform.parameters, dtype=np.float64)
    centre = np.asarray(transform.fixed_parameters, dtype=np.float64)
    lps = np.eye(4)
    lps[:3, :3] = parameters[:9].reshape(3, 3)
    lps[:3, 3] = parameters[9:12] + centre - lps[:3, :3] @ centre
    return LPS @ lps @ LPS


def _read_warp(path: str) -> npt.NDArray[np.float32]:
    field = np.asarray(ants_module().image_read(path).numpy(), dtype=np.float32)
    signs = np.asarray([-1, -1, 1], dtype=np.float32)
    return np.ascontiguousarray(np.moveaxis(field * signs, -1, 0))
