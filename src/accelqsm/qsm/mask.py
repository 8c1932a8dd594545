"""Brain mask from a magnitude image of a whole head, a skull-stripped head or a crop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.morphology import Mask, bounding_box, dilate_mask, erode_mask
from accelqsm.runtime.progress import staged

BIAS_WIDTH_MM = 25.0
OPENING_MM = 5.0
CLOSING_MM = 6.0
HIGHEST_THRESHOLD = 0.5
"""Upper bound relative to the local mean: without air background, Otsu's threshold would split
the tissue."""

SPECK = 0.1
"""Of the brightest thousandth: a brightest hundredth below is background about a small object."""

N_BINS = 256
LEAST_CONTRAST = 1e-4
Image = npt.NDArray[np.float32]


@staged("Brain mask")
def brain_mask(magnitude: Tensor, *, voxel_size_mm: Triple) -> Tensor:
    """Brain mask by thresholding and morphological opening.

    Otsu threshold, on the magnitude and again after division by its local mean over 25 mm;
    erosion by 5 mm, which separates the brain from scalp, eyes and muscles; largest component;
    dilation of it within the tissue; closing; filling of holes. Outside the volume counts as
    tissue, so that a crop inside the brain is kept whole.

    Args:
        magnitude: (x, y, z), not negative, any scale; the root of the sum of squares over
            channels of the first echo is a good choice.
        voxel_size_mm: edge lengths of a voxel in mm.

    Returns:
        bool (x, y, z).

    Raises:
        InputError: a magnitude that is not (x, y, z) or in which no brain is found.

    Source: Otsu 1979, IEEE Trans Syst Man Cybern 9:62, doi 10.1109/TSMC.1979.4310076.
    """
    if magnitude.ndim != 3:
        raise InputError(f"magnitude: expected (x, y, z), found {tuple(magnitude.shape)}")
    image = finite_image(magnitude)
    if not image.max() > 0:
        raise InputError("magnitude: expected positive values, found none; no brain mask")
    if not has_contrast(image):
        raise InputError(
            "magnitude: expected tissue and background, found one value everywhere; no brain mask"
        )
    tissue = _tissue(image, voxel_size_mm)
    core = _largest(erode_mask(tissue, OPENING_MM, voxel_size_mm=voxel_size_mm))
    if not core.any():
        core = _largest(tissue)
    reach_mm = OPENING_MM + max(voxel_size_mm) / 2
    brain = tissue & dilate_mask(core, reach_mm, voxel_size_mm=voxel_size_mm)
    brain = _fill_holes(_close(brain, voxel_size_mm))
    if not brain.any():
        raise InputError("magnitude: expected a brain, found an empty mask")
    return torch.from_numpy(brain).to(magnitude.device)


def remove_incoherent(
    mask: Tensor, coherence: Tensor, *, least_coherence: float, fill_holes: bool = True
) -> Tensor:
    """Remove voxels of low phase coherence at the edge of a mask, or wherever they are.

    Of each connected part of the mask, the largest coherent component is kept. Near air the field
    varies so much in a voxel that its phase is not proportional to the echo time. Such voxels are
    less than a hundredth of the brain and hold nine tenths of the squared error of a field map,
    which background removal would spread; regions that they separate from the rest may have
    unwrapping errors of whole turns.

    Args:
        mask: bool (x, y, z).
        coherence: (x, y, z) in 0 to 1, such as ``phase_coherence`` of the lag products.
        least_coherence: fraction of the median in the mask below which a voxel is removed (noise
            lowers both the median and the voxel); 0 keeps every voxel.
        fill_holes: keep incoherent voxels that coherent ones enclose.

    Returns:
        bool (x, y, z); ``mask`` itself where nothing would be left.
    """
    level = least_coherence * coherence[mask].median()
    whole = mask.cpu().numpy()
    box, kept = bounding_box(whole), np.zeros_like(whole)
    coherent = (mask[box] & (coherence[box] >= level)).cpu().numpy()
    kept[box] = _largest_in_each(coherent, whole[box])
    left = (_fill_holes(kept) if fill_holes else kept) & whole
    return torch.from_numpy(left).to(mask.device) if left.any() else mask


def erode(mask: Tensor, by_mm: float, *, voxel_size_mm: Triple) -> Tensor:
    """Erode ``mask``: keep voxels further than ``by_mm`` from the nearest one outside.

    What lies beyond the volume counts as mask, so that a crop keeps its sides. The distance is
    between voxel centres: 2 mm removes one layer of voxels of 1.5 mm or of 2 mm.
    """
    eroded = erode_mask(mask.cpu().numpy(), by_mm, voxel_size_mm=voxel_size_mm)
    return torch.from_numpy(eroded).to(mask.device)


def _tissue(image: Image, voxel_size_mm: Triple) -> Mask:
    """Voxels brighter than background, first globally, then relative to their surroundings."""
    bright = image > global_threshold(image)
    widths = [max(round(BIAS_WIDTH_MM / size), 1) for size in voxel_size_mm]
    local_sum, fraction = image * bright, bright.astype(np.float32)
    for _ in range(2):
        local_sum = ndimage.uniform_filter(local_sum, widths, mode="constant")
        fraction = ndimage.uniform_filter(fraction, widths, mode="constant")
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(fraction > 1e-3, image * fraction / local_sum, 0.0)
    return relative > min(otsu_threshold(np.minimum(relative, 1.5)), HIGHEST_THRESHOLD)


def finite_image(magnitude: Tensor) -> Image:
    """A magnitude as an array, zero where it is not a number; it may share the memory."""
    image = magnitude.detach().cpu().numpy().astype(np.float32, copy=False)
    finite = np.isfinite(image.sum(dtype=np.float64))
    return image if finite else np.nan_to_num(image)


def global_threshold(image: Image) -> float:
    """Otsu's threshold of an image whose brightest hundredth, such as fat, counts as one value.

    Unless that is the object: then it is the brightest thousandth.
    """
    sorted_in_part = image.flatten()
    highest = np.percentile(sorted_in_part, 99, overwrite_input=True)
    if highest < SPECK * (most := np.percentile(sorted_in_part, 99.9, overwrite_input=True)):
        highest = most
    return otsu_threshold(np.minimum(image, highest))


def otsu_threshold(values: npt.NDArray[np.float32]) -> float:
    """The value that splits ``values`` into two classes of the largest variance between them.

    Of values that are all about the same, none is below it.
    """
    if not has_contrast(values):
        lowest = float(values.min())
        return lowest - LEAST_CONTRAST * abs(lowest)
    counts, edges = np.histogram(values, bins=N_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    distance = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(edges[1 + int((below * above * distance**2).argmax())])


def has_contrast(values: npt.NDArray[np.float32]) -> bool:
    """Whether values differ by more than what is left of rounding."""
    lowest, highest = values.min(), values.max()
    return float(highest - lowest) > LEAST_CONTRAST * max(abs(float(lowest)), abs(float(highest)))


def _largest(mask: Mask) -> Mask:
    """Largest face-connected component of ``mask``."""
    box, largest = bounding_box(mask), np.zeros_like(mask)
    labels, n_parts = ndimage.label(mask[box])
    if n_parts == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest[box] = labels == sizes.argmax()
    return largest


def _largest_in_each(mask: Mask, whole: Mask) -> Mask:
    """Largest component of ``mask`` in each component of ``whole``, of which it is a subset."""
    parts, _ = ndimage.label(whole)
    largest = np.zeros_like(mask)
    for part, box in enumerate(ndimage.find_objects(parts), start=1):
        largest[box] |= _largest(mask[box] & (parts[box] == part))
    return largest


def _close(mask: Mask, voxel_size_mm: Triple) -> Mask:
    """Morphological closing of gaps narrower than twice ``CLOSING_MM``."""
    dilated = dilate_mask(mask, CLOSING_MM, voxel_size_mm=voxel_size_mm)
    return erode_mask(dilated, CLOSING_MM, voxel_size_mm=voxel_size_mm)


def _fill_holes(mask: Mask) -> Mask:
    """``mask`` with what it encloses: background that no path over faces leads out of."""
    if not mask.any():
        return mask
    box, filled = bounding_box(mask), mask.copy()
    parts, n_parts = ndimage.label(~mask[box])
    leads_out = np.zeros(n_parts + 1, dtype=bool)
    for axis in range(parts.ndim):
        leads_out[parts.take((0, -1), axis)] = True
    leads_out[0] = False
    filled[box] = ~leads_out[parts]
    return filled
