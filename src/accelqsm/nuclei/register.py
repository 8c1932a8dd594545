"""Registration: rigid between two scans, affine and deformable (SyN) to a template."""

from __future__ import annotations

from collections.abc import Mapping as Named
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from accelqsm.acquisition import check_grid
from accelqsm.errors import InputError, naming
from accelqsm.grid import Grid
from accelqsm.nuclei.engine.registration import deformable_registration, linear_registration
from accelqsm.nuclei.settings import COARSE_MM, SynSettings
from accelqsm.nuclei.volume import (
    Points,
    Volume,
    affine_transform,
    grid_points,
    isotropic_grid,
    part_of,
    resample_to,
    value_at,
)

Matrix = npt.NDArray[np.float64]

FINE_SPACING_MM = 1.2
HISTOGRAM_BINS = 32
BRAIN_MARGIN_MM = 4.0
MOVING_MARGIN_MM = 10.0
LEAST_VOXELS = 4


@dataclass(frozen=True)
class TemplateMap:
    """Transform from a scan to a template, and its inverse.

    ``template = q + to_template(q)`` with ``q = affine(scan)``;
    ``scan = affine^-1(p + from_template(p))`` with ``p`` in the template.

    Attributes:
        affine: 4 x 4, takes world points of the scan to those of the template.
        to_template_mm, from_template_mm: displacement fields (3, x, y, z), RAS+.
        grid: grid of the displacement fields, in the template.
    """

    affine: Matrix
    to_template_mm: npt.NDArray[np.float32]
    from_template_mm: npt.NDArray[np.float32]
    grid: Grid

    def to_template(self, points: Points) -> Points:
        """Map world points (3, ...) of the scan to those of the template."""
        q = affine_transform(self.affine)(points)
        return q + _displacement(self.to_template_mm, self.grid, q)

    def from_template(self, points: Points) -> Points:
        """Map world points (3, ...) of the template to those of the scan."""
        displaced = points + _displacement(self.from_template_mm, self.grid, points)
        return affine_transform(np.linalg.inv(self.affine))(displaced)

    def jacobian(self) -> npt.NDArray[np.float64]:
        """Jacobian determinant, volume in the scan per volume in the template, on ``grid``."""
        index_to_mm = self.grid.matrix[:3, :3]
        by_index = np.stack(
            [np.stack(np.gradient(self.from_template_mm[i].astype(np.float64))) for i in range(3)]
        )
        by_mm = np.einsum("ijxyz,jk->xyzik", by_index, np.linalg.inv(index_to_mm))
        local = np.linalg.det(np.eye(3) + by_mm)
        return np.asarray(local / np.linalg.det(self.affine[:3, :3]))


def register_rigid(fixed: Volume, moving: Volume) -> Matrix:
    """Rigid registration of two images of one head, of equal or different contrast.

    Mutual information at 8 and 4 mm, initialised by the scanner coordinates, or by the centres
    of mass where these fit better; finally near the voxel size, because interpolation artefacts of
    two images on one grid bias the rotation by up to 0.3 degrees at 2 mm.

    Args:
        fixed, moving: images without NaN.

    Returns:
        4 x 4, takes world points (RAS+, mm) of ``fixed`` to those of ``moving``.

    Raises:
        InputError: an image without contrast.

    Source: Jenkinson et al. 2002, NeuroImage 17:825, doi 10.1006/nimg.2002.1132 (what FLIRT
    does); Mattes et al. 2003, IEEE Trans Med Imaging 22:120, doi 10.1109/TMI.2003.809072.
    """
    coarse_fixed, coarse_moving = coarse_image(fixed), coarse_image(moving)
    shift = np.eye(4)
    shift[:3, 3] = _middle(coarse_moving) - _middle(coarse_fixed)
    starts = [
        linear_registration(
            coarse_fixed,
            coarse_moving,
            kind="Rigid",
            initial=start,
            iterations=(100,),
            shrink=(4,),
            sampling_rate=0.25,
        )
        for start in (np.eye(4), shift)
    ]
    best = max(starts, key=lambda start: _similarity(coarse_fixed, coarse_moving, start))
    near = linear_registration(
        coarse_fixed,
        coarse_moving,
        kind="Rigid",
        initial=best,
        iterations=(50,),
        shrink=(2,),
        sampling_rate=0.25,
    )
    spacing_mm = max(FINE_SPACING_MM, min(fixed.grid.voxel_size_mm))
    return linear_registration(
        resample_to(_smooth(fixed, spacing_mm), isotropic_grid(fixed.grid, spacing_mm)),
        _smooth(moving, spacing_mm),
        kind="Rigid",
        initial=near,
        iterations=(10,),
        shrink=(1,),
        sampling_rate=0.05,
    )


def register_affine(
    template: Volume, scan: Volume, *, template_brain: Volume, scan_brain: Volume
) -> Matrix:
    """Affine registration of the template's brain to the scan's, by mutual information.

    Args:
        template, scan: images of equal or different contrast.
        template_brain, scan_brain: above one half in the brain, on any grid in the same space.

    Returns:
        4 x 4, takes world points of the template to those of the scan.
    """
    fixed = _strip_skull(coarse_image(template), template_brain)
    moving = _strip_skull(coarse_image(scan), scan_brain)
    shift = np.eye(4)
    shift[:3, 3] = _middle(moving) - _middle(fixed)
    matrix = shift
    for kind, iterations, shrink in (("Rigid", (100,), (4,)), ("Affine", (100, 50), (4, 2))):
        matrix = linear_registration(
            fixed,
            moving,
            kind=kind,
            initial=matrix,
            iterations=iterations,
            shrink=shrink,
            sampling_rate=0.25,
        )
    return matrix


def register_template(
    template: Named[str, Volume],
    scan: Named[str, Volume],
    *,
    box: Grid,
    affine: Matrix,
    settings: SynSettings,
    start: TemplateMap | None = None,
) -> TemplateMap:
    """Deformable registration (SyN) of a scan to a template near the nuclei.

    Every contrast of ``template`` is compared with that of the same name in ``scan`` by local
    correlation, whose sign does not matter: a T1-weighted template can be registered to a
    T2*-weighted scan.

    Args:
        template, scan: images by contrast; those of one space may have different grids.
        box: part of the template that is compared.
        affine: 4 x 4, takes world points of the template to those of the scan.
        settings: settings of SyN.
        start: an earlier run with this box, affine and voxel size, which this one continues.

    Returns:
        The transform from the scan to the template, with its inverse.

    Source: Avants et al. 2008, Med Image Anal 12:26, doi 10.1016/j.media.2007.06.004.
    """
    names = [name for name in template if name in scan]
    fixed = near_nuclei({name: template[name] for name in names}, box, settings.spacing_mm)
    grid = fixed[names[0]].grid
    forward, inverse = deformable_registration(
        [fixed[name] for name in names],
        [_crop_smoothed(scan[name], grid, affine) for name in names],
        initial=affine,
        start=None if start is None else start.from_template_mm,
        iterations=settings.iterations,
        step=settings.step,
        radius=settings.radius,
        smoothing_voxels=settings.smoothing_voxels,
    )
    if start is not None:
        forward = _compose(start.from_template_mm, forward, grid)
        inverse = _compose(inverse, start.to_template_mm, grid)
    return TemplateMap(np.asarray(np.linalg.inv(affine), dtype=np.float64), inverse, forward, grid)


def near_nuclei(template: Named[str, Volume], box: Grid, spacing_mm: float) -> dict[str, Volume]:
    """Smooth images of a template and resample them to cubic voxels of ``box``, as SyN sees them.

    Images that lie there already stay as they are.
    """
    grid, still = isotropic_grid(box, spacing_mm), np.eye(4)
    return {
        name: image
        if image.grid == grid
        else resample_to(_crop_smoothed(image, grid, still), grid, order=3)
        for name, image in template.items()
    }


def paired_contrasts(
    template: Named[str, Volume], scan: Named[str, Volume]
) -> tuple[dict[str, Volume], dict[str, Volume]]:
    """Common contrasts of template and scan; without any, the first of each.

    Args:
        template, scan: images by contrast, one at least.
    """
    common = [name for name in template if name in scan]
    if common:
        return {n: template[n] for n in common}, {n: scan[n] for n in common}
    name = next(iter(template))
    return {name: template[name]}, {name: next(iter(scan.values()))}


def mutual_information(
    one: npt.NDArray[np.float32], other: npt.NDArray[np.float32], bins: int = HISTOGRAM_BINS
) -> float:
    """Mutual information of two images in nats: sum p(a, b) log(p(a, b) / (p(a) p(b))).

    Values beyond the 0.5th and 99.5th percentile are in the outermost bins.

    Args:
        one, other: values of the same voxels, any shape.
        bins: of each image's histogram.

    Source: Viola and Wells 1997, Int J Comput Vis 24:137, doi 10.1023/A:1007958904918.
    """
    a, b = (_bin_index(values.ravel(), bins) for values in (one, other))
    joint = np.bincount(a * bins + b, minlength=bins * bins).reshape(bins, bins) / a.size
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    occupied = joint > 0
    ratio = joint[occupied] / independent[occupied]
    return float((joint[occupied] * np.log(ratio)).sum())


def motion_of(matrix: Matrix, centre: npt.ArrayLike) -> tuple[float, float]:
    """Displacement of a point by a rigid transform in mm, and its rotation angle in degrees."""
    point = np.asarray(centre, dtype=np.float64)
    displacement = matrix[:3, :3] @ point + matrix[:3, 3] - point
    # The half-angle form is accurate for small angles, where the cosine is flat.
    half = np.linalg.norm(matrix[:3, :3] - np.eye(3)) / (2 * np.sqrt(2))
    angle = float(np.rad2deg(2 * np.arcsin(min(1.0, half))))
    return float(np.linalg.norm(displacement)), angle


def coarse_image(volume: Volume) -> Volume:
    """Smooth an image against aliasing and resample it to 2 mm.

    Raises:
        InputError: an image without contrast.
    """
    with naming("registration"):
        check_grid(volume.grid)
    values = volume.values.astype(np.float32)
    if not np.ptp(values) > 0:
        raise InputError("registration: expected an image with contrast, found one value alone")
    sizes = np.asarray(volume.grid.voxel_size_mm)
    width = 0.35 * np.sqrt(np.maximum(COARSE_MM**2 - sizes**2, 0)) / sizes
    smooth = Volume(ndimage.gaussian_filter(values, width), volume.grid)
    return resample_to(smooth, isotropic_grid(volume.grid, COARSE_MM))


def _middle(volume: Volume) -> npt.NDArray[np.float64]:
    """Centre of mass in world coordinates."""
    index = ndimage.center_of_mass(np.clip(volume.values, 0, None))
    return affine_transform(volume.grid.matrix)(np.asarray(index)[:, None])[:, 0]


def _similarity(fixed: Volume, moving: Volume, matrix: Matrix) -> float:
    return mutual_information(
        fixed.values, resample_to(moving, fixed.grid, affine_transform(matrix)).values
    )


def _bin_index(values: npt.NDArray[np.float32], bins: int) -> npt.NDArray[np.int64]:
    low, high = np.percentile(values, [0.5, 99.5])
    unit = (values - low) / max(float(high - low), 1e-12)
    return np.asarray(np.clip((unit * bins).astype(np.int64), 0, bins - 1))


def _strip_skull(image: Volume, brain: Volume) -> Volume:
    """Image with zeros further than ``BRAIN_MARGIN_MM`` from the brain."""
    inside = resample_to(brain, image.grid).values > 0.5
    reach = ndimage.distance_transform_edt(~inside, sampling=image.grid.voxel_size_mm)
    return Volume(np.where(reach <= BRAIN_MARGIN_MM, image.values, 0), image.grid)


def _smooth(volume: Volume, spacing_mm: float) -> Volume:
    """Smooth a volume to the resolution of voxels of ``spacing_mm``."""
    sizes = np.asarray(volume.grid.voxel_size_mm)
    width = 0.35 * np.sqrt(np.maximum(spacing_mm**2 - sizes**2, 0)) / sizes
    return Volume(ndimage.gaussian_filter(volume.values.astype(np.float32), width), volume.grid)


def _crop_smoothed(volume: Volume, box: Grid, matrix: Matrix) -> Volume:
    """Smooth a volume and crop it to where ``matrix`` maps the box, without resampling.

    A resampling here and another one during the registration would blur it more than the template.
    """
    ends = [(0.0, float(n - 1)) for n in box.shape]
    corners = np.stack(np.meshgrid(*ends, indexing="ij")).reshape(3, -1)
    index = affine_transform(np.linalg.inv(volume.grid.matrix) @ matrix @ box.matrix)(corners)
    margin = MOVING_MARGIN_MM / np.asarray(volume.grid.voxel_size_mm)
    low = np.clip(np.floor(index.min(1) - margin), 0, None).astype(int)
    high = np.minimum(np.ceil(index.max(1) + margin) + 1, volume.grid.shape).astype(int)
    if (high - low < LEAST_VOXELS).any():
        raise InputError(
            "registration: expected the nuclei inside the image, found the head elsewhere"
        )
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    grid = part_of(volume.grid, [int(v) for v in low], [int(v) for v in high])
    return _smooth(Volume(volume.values[part], grid), box.voxel_size_mm[0])


def _compose(
    outer: npt.NDArray[np.float32], inner: npt.NDArray[np.float32], grid: Grid
) -> npt.NDArray[np.float32]:
    """Displacement field of ``p -> q + outer(q)`` with ``q = p + inner(p)``."""
    moved = grid_points(grid) + inner
    return np.asarray(inner + _displacement(outer, grid, moved), dtype=np.float32)


def _displacement(field: npt.NDArray[np.float32], grid: Grid, points: Points) -> Points:
    return np.stack([value_at(Volume(part, grid), points) for part in field]).astype(np.float64)
