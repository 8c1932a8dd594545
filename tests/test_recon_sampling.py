"""Poisson-disk and regular patterns: counts, spacing, spectrum, and what cannot be made."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import centred_slice, ifft
from accelqsm.kspace import calibration_box, from_centre
from accelqsm.recon import sampling
from accelqsm.recon.sampling import poisson_disk, regular
from accelqsm.virtual.protocols import PRESETS, PROTOCOLS
from accelqsm.virtual.sampling import sampling_pattern

SHAPE = (96, 48)


@pytest.mark.parametrize("acceleration", [1.0, 1.3, 2.0, 3.0, 4.16, 5.0, 6.2])
def test_count_is_exact_and_centre_is_full(acceleration: float) -> None:
    pattern = poisson_disk(SHAPE, acceleration=acceleration, calibration=(16, 12), seed=3)
    assert int(pattern.sum()) == round(96 * 48 / acceleration)
    assert pattern[40:56, 18:30].all()


@pytest.mark.slow
@pytest.mark.parametrize("ellipse", [False, True])
def test_every_grid_ends_with_the_exact_count(ellipse: bool) -> None:
    """A thousand random grids, accelerations, calibration regions and seeds."""
    rng = np.random.default_rng(11)
    for _ in range(500):
        n_y, n_z = rng.integers(9, 100, 2)
        acceleration = rng.uniform(1.5 if ellipse else 1.0, 12.0)
        target = round(n_y * n_z / acceleration)
        calibration = (
            int(rng.integers(0, min(n_y, int(target**0.5)) + 1)),
            int(rng.integers(0, min(n_z, int(target**0.5)) + 1)),
        )
        pattern = poisson_disk(
            (int(n_y), int(n_z)),
            acceleration=acceleration,
            calibration=calibration,
            seed=int(rng.integers(2**31)),
            ellipse=ellipse,
        )
        assert int(pattern.sum()) == target
        box = tuple(centred_slice(int(n), c) for n, c in zip((n_y, n_z), calibration, strict=True))
        assert pattern[box].all()


@pytest.mark.parametrize("name", list(PRESETS))
@pytest.mark.parametrize("protocol", ["af3", "af4", "af5"])
def test_the_grids_of_the_presets_end_with_the_exact_count(name: str, protocol: str) -> None:
    preset = PRESETS[name]
    pattern = sampling_pattern(PROTOCOLS[protocol], preset, seed=1)
    plane = preset.shape[1] * preset.shape[2]
    assert int(pattern.sum()) == round(plane / PROTOCOLS[protocol].acceleration)


def test_an_ellipse_has_no_corners() -> None:
    pattern = poisson_disk(SHAPE, acceleration=3, calibration=(16, 16), seed=1, ellipse=True)
    y, z = torch.meshgrid(*(torch.arange(n) - n // 2 for n in SHAPE), indexing="ij")
    radius = torch.hypot(y / (SHAPE[0] / 2), z / (SHAPE[1] / 2))
    assert int(pattern.sum()) == 96 * 48 // 3
    assert not pattern[radius > 1].any()
    assert pattern[(radius > 0.9) & (radius <= 1)].any()
    with pytest.raises(InputError, match=r"1\.2\d or more .*96 x 48, found 1\.1"):
        poisson_disk(SHAPE, acceleration=1.1, calibration=(16, 16), seed=1, ellipse=True)


def test_seed_decides() -> None:
    first, again, other = (poisson_disk(SHAPE, acceleration=4, seed=s) for s in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def _halo(pattern: Tensor, box: slice) -> float:
    """Mean energy of the point spread 8 to 20 voxels from its peak, centre left out."""
    outside = pattern.clone()
    outside[box, box] = False
    spread = ifft(outside.to(torch.complex64), (0, 1)).abs().square()
    offset = torch.arange(96) - 48
    radius = torch.hypot(*torch.meshgrid(offset.float(), offset.float(), indexing="ij"))
    return float(spread[(radius >= 8) & (radius < 20)].mean() / spread.max())


def test_blue_noise_keeps_aliasing_away() -> None:
    """Shuffled within rings of equal density, the same samples alias twice as much nearby."""
    box = slice(42, 54)
    offset = (torch.arange(96) - 48).abs().sub(5).clamp_min(0).float()
    ring = torch.hypot(offset[:, None], offset[None, :]).ceil().int()
    for seed in range(3):
        pattern = poisson_disk((96, 96), acceleration=5, calibration=(12, 12), seed=seed)
        shuffled = pattern.clone()
        rng = np.random.default_rng(seed)
        for number in range(1, int(ring.max()) + 1):
            inside = pattern[ring == number]
            shuffled[ring == number] = inside[rng.permutation(len(inside))]
        assert _halo(pattern, box) < 0.5 * _halo(shuffled, box)


def test_samples_keep_their_distance() -> None:
    """Far out at AF 6 the disks are wide: hardly a sample has a direct neighbour along y."""
    pattern = poisson_disk((96, 96), acceleration=6, calibration=(8, 8), seed=1)
    rim = torch.ones_like(pattern)
    rim[16:80, 16:80] = False
    touching = (pattern[1:] & pattern[:-1] & rim[1:]).sum()
    share = (pattern & rim).sum() / rim.sum()
    by_chance = rim.sum() * share**2
    assert touching < 0.1 * by_chance


@pytest.mark.parametrize("acceleration", [3.0, 4.0, 5.0])
def test_little_is_trimmed(acceleration: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bisection brings the pattern to within 1 % before samples are added or removed."""
    misses = []

    def record(mask, allowed, distance, target, rng):  # type: ignore[no-untyped-def]
        misses.append(abs(int(mask.sum()) - target) / target)
        return mask

    monkeypatch.setattr(sampling, "adjust_count", record)
    for seed in range(3):
        poisson_disk(SHAPE, acceleration=acceleration, calibration=(16, 16), seed=seed)
    assert max(misses) < 0.01


def test_density_falls_from_the_centre_outwards() -> None:
    pattern = poisson_disk((96, 96), acceleration=5, calibration=(8, 8), seed=2).float()
    inner, outer = pattern[28:68, 28:68].clone(), pattern.clone()
    inner[16:24, 16:24] = 0
    outer[20:76, 20:76] = 0
    assert inner.sum() / (40**2 - 64) > 2 * outer.sum() / (96**2 - 56**2)


def test_the_surroundings_of_the_centre_are_dense() -> None:
    """Bridson's sampling fills 0.7 of the positions there (mean of five masks of SigPy)."""
    y, z = torch.meshgrid(*(torch.arange(n) - n // 2 for n in (128, 48)), indexing="ij")
    frame = (y.abs() < 14) & (z.abs() < 10) & ((y.abs() > 8) | (z.abs() > 8))
    for acceleration, least in ((3, 0.6), (5, 0.5)):
        pattern = poisson_disk((128, 48), acceleration=acceleration, calibration=(16, 16), seed=3)
        assert pattern[frame].float().mean() > least


@pytest.mark.parametrize(
    ("acceleration", "calibration", "message"),
    [
        (0.9, (8, 8), "acceleration: expected a finite value >= 1, found 0.9"),
        (float("nan"), (8, 8), "acceleration: expected a finite value >= 1, found nan"),
        (4.0, (97, 8), "calibration: expected a region inside 96 x 48, found 97 x 8"),
        (4.0, (-1, 8), "calibration: expected a region inside 96 x 48, found -1 x 8"),
        (
            40.0,
            (24, 24),
            "calibration: expected at most the 115 samples of acceleration 40 on 96 x 48, found "
            "24 x 24 = 576",
        ),
    ],
)
def test_impossible_patterns_are_refused(
    acceleration: float, calibration: tuple[int, int], message: str
) -> None:
    with pytest.raises(InputError) as error:
        poisson_disk(SHAPE, acceleration=acceleration, calibration=calibration, seed=0)
    assert str(error.value) == message


def test_regular_has_the_scan_time_of_the_protocol() -> None:
    """256 x 96, every second line and 24 central ones: 140 lines of 96 (13440 repetitions)."""
    pattern = regular((256, 96), acceleration=(2, 1), calibration=(24, 96))
    assert int(pattern.sum()) == 140 * 96
    assert pattern[128].all()
    assert pattern[130, 5]
    assert not pattern[101].any()


@pytest.mark.parametrize(("size_mm", "least", "most"), [((0.8, 2.0), 0.7, 1.5), ((1, 1), 3, 6)])
def test_density_follows_cycles_per_mm_where_voxels_are_given(
    size_mm: tuple[float, float], least: float, most: float
) -> None:
    shape = (264, 76)
    patterns = [
        poisson_disk(shape, acceleration=5, calibration=(40, 28), seed=s, voxel_size_mm=size_mm)
        for s in range(6)
    ]
    density = torch.stack(patterns).double().mean(0)
    # At 0.15 to 0.22 cycles/mm of 0.8 x 2 mm voxels, beside either axis.
    y, z = (
        (torch.arange(n) - n // 2).abs() / (n * d) for n, d in zip(shape, (0.8, 2.0), strict=True)
    )
    ring_y, ring_z = ((f > 0.15) & (f < 0.22) for f in (y, z))
    along_y, along_z = density[ring_y][:, z < 0.05].mean(), density[y < 0.05][:, ring_z].mean()
    assert least < along_y / along_z < most


@pytest.mark.parametrize("size_mm", [0, float("nan")])
def test_voxels_without_size_are_refused(size_mm: float) -> None:
    with pytest.raises(InputError, match="positive sizes"):
        poisson_disk(
            (16, 16), acceleration=2, calibration=(4, 4), seed=0, voxel_size_mm=(0.8, size_mm)
        )


def test_regular_refuses_a_step_of_zero() -> None:
    with pytest.raises(InputError, match="steps >= 1"):
        regular((16, 16), acceleration=(0, 1), calibration=(4, 4))


@pytest.mark.parametrize("calibration", [(16, 12), (15, 9), (24, 48)])
def test_calibration_box_finds_the_centre(calibration: tuple[int, int]) -> None:
    pattern = torch.zeros(SHAPE, dtype=torch.bool)
    pattern[::3, ::2] = True
    pattern[48, 24] = True
    start = [n // 2 - size // 2 for n, size in zip(SHAPE, calibration, strict=True)]
    wanted = tuple(slice(s, s + size) for s, size in zip(start, calibration, strict=True))
    pattern[wanted] = True
    found = calibration_box(pattern)
    assert pattern[found].all()
    assert pattern[found].numel() >= calibration[0] * calibration[1]
    assert all(a.start <= b.start for a, b in zip(found, wanted, strict=True))


def test_calibration_box_needs_the_zero_frequency() -> None:
    with pytest.raises(InputError, match="zero frequency"):
        calibration_box(torch.zeros(8, 8, dtype=torch.bool))


@pytest.mark.parametrize("slope", [0.0, 2.0, 9.0])
@pytest.mark.parametrize("disc", [(1.0, 1.0), (1.0, 0.4), (0.5, 1.0)])
def test_a_sample_is_taken_where_no_earlier_one_lies_in_its_ellipse(
    slope: float, disc: tuple[float, float]
) -> None:
    """Against a search through all earlier samples; wide ellipses reach beyond the edges."""
    shape = (19, 13)
    rng = np.random.default_rng(2)
    jitter = rng.uniform(-0.5, 0.5, (*shape, 2))
    distance = np.hypot(*np.meshgrid(np.linspace(-1, 1, 19), np.linspace(-1, 1, 13), indexing="ij"))
    order = rng.permutation(np.argwhere(distance > 0.2))
    places: list[np.ndarray] = []
    expected = np.zeros(shape, dtype=bool)
    for y, z in order:
        place = np.array([y, z]) + jitter[y, z]
        radius = np.maximum(0.8 + slope * distance[y, z] * np.ones(2), 0) * disc
        radius = np.maximum(radius, 0.5)
        if all((((other - place) / radius) ** 2).sum() >= 1 for other in places):
            places.append(place)
            expected[y, z] = True
    found = sampling.accept(order, jitter, 0.8 + slope * distance, disc)
    np.testing.assert_array_equal(found, expected)


def test_an_ellipse_touches_the_first_line_of_each_axis() -> None:
    inside = sampling._inside_ellipse((20, 15))
    y, z = np.argwhere(inside).T
    assert (y.min(), z.min(), z.max()) == (0, 0, 14)
    assert inside[0, 7]
    assert inside[0].sum() == 1
    np.testing.assert_array_equal(inside[1:], inside[:0:-1])
    assert inside.mean() == pytest.approx(np.pi / 4, abs=0.06)
    assert sampling._inside_ellipse((1, 9)).all()


@pytest.mark.parametrize(("size_mm", "farthest"), [((1.0, 1.0), (1, 1)), ((1.0, 2.0), (1, 0.5))])
def test_distance_from_the_centre_is_in_cycles_per_mm(
    size_mm: tuple[float, float], farthest: tuple[float, float]
) -> None:
    distance = sampling._distance_from_box((21, 17), (5, 3), size_mm)
    assert (distance == 0).sum() == 15
    assert (distance[8:13, 7:10] == 0).all()
    assert (distance[0, 8], distance[10, 0]) == pytest.approx(farthest)
    assert distance[7, 8] == pytest.approx(farthest[0] / 8)
    assert distance[0, 0] == pytest.approx(np.hypot(*farthest))
    assert sampling._distance_from_box((5, 3), (5, 3), size_mm).max() == 0


@pytest.mark.parametrize("change", [-3, 0, 3])
def test_a_count_is_met_where_samples_are_sparse_or_dense(change: int) -> None:
    """Removed among the farthest, added nearest to the centre, none in the box or out of reach."""
    shape = (24, 24)
    distance = sampling._distance_from_box(shape, (6, 6), (1.0, 1.0))
    allowed = sampling._inside_ellipse(shape) | (distance == 0)
    mask = (distance == 0) | (allowed & (np.indices(shape).sum(0) % 2 == 0))
    target = int(mask.sum()) + change
    found = sampling.adjust_count(mask.copy(), allowed, distance, target, np.random.default_rng(0))
    assert found.sum() == target
    changed = found != mask
    assert changed.sum() == abs(change)
    assert allowed[changed].all()
    if change < 0:
        rest = distance[mask & (distance > 0)]
        assert distance[changed].min() >= np.quantile(rest, 1 - 4 * 3 / len(rest))
    if change > 0:
        rest = np.sort(distance[allowed & ~mask])
        np.testing.assert_allclose(np.sort(distance[changed]), rest[:3])


def test_positions_come_by_their_distance_from_the_centre_relative_to_each_axis() -> None:
    """On 8 x 4, centre (4, 2): (2, 2) and (4, 1) are a quarter away, (4, 3) too, (0, 0) 0.71."""
    sampled = torch.zeros(8, 4, dtype=torch.bool)
    for place in ((0, 0), (2, 2), (4, 1), (4, 2), (4, 3), (7, 2)):
        sampled[place] = True
    order = sampled.nonzero()[from_centre(sampled)].tolist()
    assert order == [[4, 2], [2, 2], [4, 1], [4, 3], [7, 2], [0, 0]]
