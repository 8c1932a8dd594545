"""Background field removal by a joint fit of dipole sources outside and inside the mask."""

from __future__ import annotations

import torch
from torch import Tensor

from accelqsm.dipole import dipole_kernel
from accelqsm.errors import InputError
from accelqsm.grid import Shape, Triple
from accelqsm.qsm.background.local import LocalField
from accelqsm.qsm.background.settings import DipoleFitSettings
from accelqsm.qsm.background.sources import FIELD_SD_PPM, DipoleSources, coarsening
from accelqsm.qsm.volume import box_of, voxels_within
from accelqsm.runtime.progress import staged

DEFAULT = DipoleFitSettings()
MARGIN_MM = 30.0
MOST_SHORT_MARGIN = 48
"""Voxels that the margin of a short mask may have."""

INSIDE_SD_PPM = 0.025
"""Spread of the susceptibility over a brain."""


@staged("Background field: dipole fit")
def dipole_fit(
    field_ppm: Tensor,
    mask: Tensor,
    data_weight: Tensor | None = None,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple,
    settings: DipoleFitSettings = DEFAULT,
) -> LocalField:
    """Local field after subtraction of the fitted field of sources outside the mask.

    Minimise ||W (D (chi_in + chi_out) - f)||^2 / s^2 + ||chi_in||^2 / s_in^2
    + ||chi_out||^2 / s_out^2, and return f - D chi_out. The sources inside (s_in = 0.025 ppm, the
    spread over a brain) keep those outside (s_out = 1 ppm, of bone and air) from explaining what
    is local, which is what projection onto dipole fields alone does. Solved by conjugate
    gradients, first on a coarse grid of about 3 mm, then from that start on the full grid.

    Args:
        field_ppm: (x, y, z) in ppm of the main field, unwrapped.
        mask: bool (x, y, z), where the field is measured.
        data_weight: W, (x, y, z), about 1 in the mask; proportional to 1 / sd of the field.
        voxel_size_mm: edge lengths of a voxel in mm.
        b0_direction: unit vector of the main field along the array axes.
        settings: iterations on the coarse and on the full grid (all of them on the full grid where
            its voxels are coarse).

    Returns:
        The local field in ppm, with the input mask unchanged.

    Raises:
        InputError: an empty mask, or shapes that differ.

    Source: after Liu et al. 2011, NMR Biomed 24:1129, doi 10.1002/nbm.1670 (PDF), and Liu et al.
        2017, Magn Reson Med 78:303, doi 10.1002/mrm.26331 (total field inversion).
    """
    if field_ppm.shape != mask.shape:
        raise InputError(
            f"dipole fit: expected field and mask of one shape, found {tuple(field_ppm.shape)} "
            f"and {tuple(mask.shape)}"
        )
    factors = coarsening(voxel_size_mm)
    box = box_of(mask, margin_voxels=_margin(mask, voxel_size_mm), multiple_of=factors)
    inside = box.frame(mask)
    weight = inside.to(field_ppm) if data_weight is None else box.frame(data_weight) * inside
    fine = DipoleSources(
        field=box.frame(torch.where(mask, field_ppm, 0)),
        power=weight.square(),
        inside=inside,
        noise_variance=FIELD_SD_PPM**2,
        kernel=_kernel(inside, field_ppm, voxel_size_mm, b0_direction),
        inside_sd_ppm=INSIDE_SD_PPM,
    )
    if max(factors) > 1:
        coarse = fine.coarsen(factors)
        chi = fine.solve(settings.n_fine, fine.interpolate(coarse.solve(settings.n_coarse), coarse))
    else:
        chi = fine.solve(settings.n_coarse + settings.n_fine)
    background = fine.field_of(torch.where(inside, 0, chi))
    local = box.unframe((fine.field - background) * inside, mask.shape)
    return LocalField(local, mask)


def _kernel(inside: Tensor, like: Tensor, voxel_size_mm: Triple, b0_direction: Triple) -> Tensor:
    """Unit dipole kernel on the grid of ``inside``."""
    x, y, z = inside.shape
    return dipole_kernel(
        (x, y, z),
        voxel_size_mm=voxel_size_mm,
        b0_direction=b0_direction,
        dtype=like.dtype,
        device=like.device,
    )


def _margin(mask: Tensor, voxel_size_mm: Triple) -> Shape:
    """Voxels of ``MARGIN_MM``, but no more than the mask is long: fine ones cost time alone."""
    most = max(MOST_SHORT_MARGIN, *box_of(mask, margin_voxels=(0, 0, 0)).shape)
    x, y, z = (min(n, most) for n in voxels_within(MARGIN_MM, voxel_size_mm))
    return x, y, z
