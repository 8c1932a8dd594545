"""The brain in the sums over channels, without what alternating readouts add to their phase."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.morphology import bounding_box, in_head_mm
from accelqsm.qsm.field.bipolar import readout_phase, remove_readout_phase
from accelqsm.qsm.field.lags import LagProducts
from accelqsm.qsm.field.mdi import phase_coherence
from accelqsm.qsm.mask import brain_mask, remove_incoherent
from accelqsm.qsm.scale import length_scale

N_PASSES = 3
SAME_SCALE = 0.9


@dataclass(frozen=True)
class Brain:
    """Where the object is, and how large.

    Attributes:
        mask: bool (x, y, z).
        length_scale: lengths that suit it over those that suit a human head.
    """

    mask: Tensor
    length_scale: float


def found_brain(
    magnitude: Tensor, mask: Tensor | None, voxel_size_mm: Triple, scale: float | None = None
) -> Brain:
    """The brain, given or extracted, and its scale.

    The extraction needs the scale and the scale of a small animal the brain: the head comes first.

    Args:
        magnitude: (x, y, z), of the first echo.
        mask: bool (x, y, z), or None to extract the brain.
        voxel_size_mm: edge lengths of a voxel in mm.
        scale: where it is known.
    """
    size_mm = voxel_size_mm
    if mask is not None:
        return Brain(mask, scale or length_scale(magnitude, mask, voxel_size_mm=size_mm))
    now = scale or length_scale(magnitude, voxel_size_mm=size_mm)
    for _ in range(N_PASSES):
        brain = brain_mask(magnitude, voxel_size_mm=in_head_mm(size_mm, now))
        if scale is not None:
            break
        before, now = now, length_scale(magnitude, brain, voxel_size_mm=size_mm)
        if now > SAME_SCALE * before:
            break
    return Brain(brain, now)


def coherent_sums(
    products: LagProducts, mask: Tensor, *, least_coherence: float, fill_holes: bool = True
) -> tuple[LagProducts, Tensor]:
    """The sums without the phase of alternating readouts, and where they are then coherent.

    Alternating readouts turn pairs of echoes against each other, which is no lack of coherence;
    but whether the readouts alternate is best told where the sums are coherent. So what stands
    out in the whole mask is taken out first, coherence of the rest says where to look again, and
    that look alone counts.

    Args:
        products: sums over all channels.
        mask: bool (x, y, z), the brain.
        least_coherence, fill_holes: as in ``remove_incoherent``.

    Returns:
        The sums, themselves where the readouts do not alternate, and bool (x, y, z).
    """
    box, left = bounding_box(mask.cpu().numpy()), torch.zeros_like(mask)
    steady = remove_readout_phase(products, readout_phase(products, mask))
    coherence = phase_coherence(steady.crop(box))
    del steady
    coherent = left.clone()
    coherent[box] = remove_incoherent(mask[box], coherence, least_coherence=least_coherence)
    found = remove_readout_phase(products, readout_phase(products, coherent))
    left[box] = remove_incoherent(
        mask[box],
        phase_coherence(found.crop(box)),
        least_coherence=least_coherence,
        fill_holes=fill_holes,
    )
    return found, left
