"""Brain extraction on a schematic head, a stripped head and a crop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.qsm import brain
from accelqsm.qsm.mask import brain_mask, otsu_threshold, remove_incoherent

SHAPE = (88, 104, 72)
SIZE_MM: Triple = (2.0, 2.0, 2.0)


def ellipsoid(semi_axes_mm: Triple, centre_mm: Triple = (0, 0, 0)) -> Tensor:
    axes = (
        ((torch.arange(n) - n // 2) * size - c) / a
        for n, size, c, a in zip(SHAPE, SIZE_MM, centre_mm, semi_axes_mm, strict=True)
    )
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return x**2 + y**2 + z**2 <= 1


BRAIN = ellipsoid((58, 74, 50))


def head(*, bias: float = 0.0, stripped: bool = False) -> Tensor:
    """Brain of 1 with dark ventricles, dark skull, bright scalp, two eyes on stalks; noisy."""
    image = torch.zeros(SHAPE)
    if not stripped:
        image[ellipsoid((76, 92, 68))] = 1.4
        image[ellipsoid((69, 85, 61))] = 0.08
        for side in (-30, 30):
            image[ellipsoid((14, 14, 14), (side, 82, -20))] = 1.1
            image[ellipsoid((3, 14, 3), (side, 66, -20))] = 1.0
    image[BRAIN] = 1.0
    image[ellipsoid((8, 22, 10), (0, 5, 5))] = 0.35
    x = torch.linspace(-1, 1, SHAPE[0]).view(-1, 1, 1)
    image = image * torch.exp(bias * x) * (1 + bias * x**2)
    noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)) * 0.03
    return ((image + noise[0]) ** 2 + noise[1] ** 2).sqrt() * (1 if not stripped else (image > 0))


def dice(a: Tensor, b: Tensor) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.slow
@pytest.mark.parametrize("bias", [0.0, 0.7])
@pytest.mark.parametrize("stripped", [False, True])
def test_the_brain_is_found(bias: float, stripped: bool) -> None:
    mask = brain_mask(head(bias=bias, stripped=stripped), voxel_size_mm=SIZE_MM)
    assert dice(mask, BRAIN) > 0.96
    assert mask[ellipsoid((8, 22, 10), (0, 5, 5))].all(), "ventricles are holes to be filled"
    scalp = ellipsoid((76, 92, 68)) & ~ellipsoid((69, 85, 61))
    assert not (mask & scalp).any()


def test_the_scale_of_the_magnitude_does_not_matter() -> None:
    image = head(bias=0.5)
    mask = brain_mask(image, voxel_size_mm=SIZE_MM)
    assert torch.equal(brain_mask(image * 1024, voxel_size_mm=SIZE_MM), mask)


def test_a_crop_inside_the_brain_is_kept_whole() -> None:
    crop = head()[50:66, 40:62, 30:44]
    assert brain_mask(crop, voxel_size_mm=SIZE_MM).float().mean() > 0.99


def test_an_image_without_signal_is_refused() -> None:
    with pytest.raises(InputError, match="no brain mask"):
        brain_mask(torch.zeros(8, 8, 8), voxel_size_mm=SIZE_MM)
    with pytest.raises(InputError, match="expected"):
        brain_mask(torch.zeros(8, 8), voxel_size_mm=SIZE_MM)


def test_otsu_splits_two_classes_between_them() -> None:
    values = torch.cat([torch.linspace(0, 1, 500), torch.linspace(4, 5, 300)]).numpy()
    assert 1 <= otsu_threshold(values) <= 4


def test_incoherent_voxels_leave_at_the_edge_and_stay_inside_unless_asked() -> None:
    mask = torch.zeros(12, 12, 12, dtype=torch.bool)
    mask[2:10, 2:10, 2:10] = True
    coherence = mask * 0.8
    coherence[2, 2:10, 2:10] = 0.5
    coherence[6, 6, 6] = 0.1
    left = remove_incoherent(mask, coherence, least_coherence=0.9)
    expected = mask.clone()
    expected[2] = False
    assert torch.equal(left, expected)
    assert torch.equal(remove_incoherent(mask, coherence, least_coherence=0.0), mask)
    expected[6, 6, 6] = False
    everywhere = remove_incoherent(mask, coherence, least_coherence=0.9, fill_holes=False)
    assert torch.equal(everywhere, expected)


def test_each_part_of_a_mask_keeps_its_largest_coherent_part() -> None:
    mask = torch.zeros(24, 6, 6, dtype=torch.bool)
    mask[1:11, 1:5, 1:5] = mask[14:19, 1:5, 1:5] = True
    coherence = mask * 0.8
    coherence[3, 1:5, 1:5] = 0.3
    expected = mask.clone()
    expected[1:4] = False
    assert torch.equal(remove_incoherent(mask, coherence, least_coherence=0.9), expected)


@pytest.mark.parametrize("size_mm", [1.0, 2.0, 2.5])
def test_a_thin_stalk_is_kept_as_far_as_the_opening_reaches(size_mm: float) -> None:
    """Up to 5 mm and half a voxel from the core: of 2 mm three voxels, no less and no more."""
    image = torch.zeros(44, 40, 40)
    image[6:34, 6:34, 6:34] = 1.0
    image[34:40, 20, 20] = 1.0
    mask = brain_mask(image, voxel_size_mm=(size_mm, size_mm, size_mm))
    assert mask[33, 20, 20]
    assert int(mask[34:, 20, 20].sum()) == 1


@pytest.mark.parametrize(
    ("scale", "shrinks", "n_passes"), [(None, 0.5, 3), (None, 1.0, 1), (0.8, 0.5, 1)]
)
def test_a_brain_is_sought_again_while_its_scale_falls_at_most_three_times(
    monkeypatch: pytest.MonkeyPatch, scale: float | None, shrinks: float, n_passes: int
) -> None:
    sizes: list[float] = []
    scales = iter(shrinks**n for n in range(9))

    def extracted(_: Tensor, *, voxel_size_mm: Triple) -> Tensor:
        sizes.append(voxel_size_mm[0])
        return torch.ones(2, 2, 2, dtype=torch.bool)

    monkeypatch.setattr(brain, "brain_mask", extracted)
    monkeypatch.setattr(brain, "length_scale", lambda *_, **__: next(scales))
    found = brain.found_brain(torch.ones(2, 2, 2), None, (1.0, 1.0, 1.0), scale)
    assert len(sizes) == n_passes
    first = scale or 1.0
    assert sizes == pytest.approx([1 / (first * shrinks**n) for n in range(n_passes)])
    assert found.length_scale == (scale or shrinks**n_passes)
