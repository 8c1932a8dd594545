"""The whole chain on a schematic head whose fields are closed forms."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import tomli_w
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Grid, as_affine, centred_grid
from accelqsm.options.table import from_table, plain
from accelqsm.qsm.background.settings import VsharpSettings
from accelqsm.qsm.chain import DEFAULT, QsmResult, susceptibility, total_field
from accelqsm.qsm.field.lags import LagProducts, lag_products
from accelqsm.qsm.inversion.edges import tissue_edges
from accelqsm.qsm.inversion.settings import L1Settings
from accelqsm.qsm.settings import QsmSettings

GRID = centred_grid((56, 60, 36), (1.5, 1.5, 2.0))
ECHO_TIMES_S = tuple(0.004 + 0.005 * k for k in range(4))
NUCLEI = {(-12.0, 4.0, 0.0): 0.10, (12.0, 4.0, 0.0): 0.06, (0.0, -14.0, 4.0): 0.14}
AIR_PPM, AIR_MM, AIR_RADIUS_MM = 9.4, (0.0, 44.0, -18.0), 9.0
RADIUS_MM = 5.0


def positions_mm(grid: Grid) -> list[Tensor]:
    return list(torch.from_numpy(grid.world_mm()).double())


def sphere_field_ppm(grid: Grid, centre_mm: tuple[float, ...], radius_mm: float) -> Tensor:
    """Field of a sphere of 1 ppm, B0 along the world's z; zero inside."""
    x, y, z = (p - c for p, c in zip(positions_mm(grid), centre_mm, strict=True))
    square = (x**2 + y**2 + z**2).clamp_min(1e-6)
    field = (radius_mm**2 / square) ** 1.5 / 3 * (3 * z**2 / square - 1)
    return torch.where(square > radius_mm**2, field, 0)


def sphere(grid: Grid, centre_mm: tuple[float, ...], radius_mm: float) -> Tensor:
    x, y, z = (p - c for p, c in zip(positions_mm(grid), centre_mm, strict=True))
    return x**2 + y**2 + z**2 <= radius_mm**2


def brain(grid: Grid) -> Tensor:
    x, y, z = positions_mm(grid)
    return (x / 36) ** 2 + (y / 40) ** 2 + (z / 30) ** 2 <= 1


def shifted(grid: Grid, voxels: tuple[float, ...]) -> Grid:
    matrix = grid.matrix.copy()
    matrix[:3, 3] += matrix[:3, :3] @ list(voxels)
    return Grid(grid.shape, as_affine(matrix))


def echoes_at(grid: Grid, iron_per_s: float = 0.0) -> Tensor:
    """Signal at the voxel centres of ``grid``, (echo, x, y, z); nuclei decay faster by iron."""
    field_ppm = AIR_PPM * sphere_field_ppm(grid, AIR_MM, AIR_RADIUS_MM)
    rate_per_s = torch.full_like(field_ppm, 20)
    for centre_mm, chi_ppm in NUCLEI.items():
        field_ppm = field_ppm + chi_ppm * sphere_field_ppm(grid, centre_mm, RADIUS_MM)
        rate_per_s = rate_per_s + iron_per_s * sphere(grid, centre_mm, RADIUS_MM)
    times = torch.tensor(ECHO_TIMES_S, dtype=torch.float64).view(-1, 1, 1, 1)
    phase_rad = 2 * math.pi * 127.732434 * field_ppm * times
    return torch.exp(-rate_per_s * times + 1j * phase_rad) * brain(grid)


def scan(
    grid: Grid, *, n_channels: int = 2, noise_sd: float = 0.01, iron_per_s: float = 0.0
) -> LagProducts:
    """Echoes of three nuclei in a brain behind an air ball; a voxel is the mean of 8 points."""
    points = list(product((-0.25, 0.25), repeat=3))
    echoes = sum(echoes_at(shifted(grid, point), iron_per_s) for point in points) / len(points)
    phases = torch.linspace(0, 2, n_channels).view(-1, 1, 1, 1, 1)
    images = echoes * torch.polar(torch.full_like(phases, n_channels**-0.5), phases)
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(images.shape, dtype=torch.complex64, generator=generator)
    return lag_products(
        images.to(torch.complex64) + noise_sd * math.sqrt(2) * noise, echo_times_s=ECHO_TIMES_S
    )


def nuclei_ppm(result: QsmResult, grid: Grid) -> list[float]:
    """Means in the nuclei relative to the brain beside them."""
    beside = result.mask.clone()
    for centre_mm in NUCLEI:
        beside &= ~sphere(grid, centre_mm, 9.0)
    level = result.chi_ppm[beside].mean()
    return [float(result.chi_ppm[sphere(grid, c, 4.0)].mean() - level) for c in NUCLEI]


@pytest.fixture(scope="module")
def products() -> LagProducts:
    return scan(GRID)


@pytest.fixture(scope="module")
def result(products: LagProducts) -> QsmResult:
    return susceptibility(products, grid=GRID, field_strength_t=3.0, mask=brain(GRID))


def test_the_nuclei_come_back(result: QsmResult) -> None:
    assert nuclei_ppm(result, GRID) == pytest.approx(list(NUCLEI.values()), rel=0.15)


def test_the_mask_is_respected_and_only_loses_its_edge(result: QsmResult) -> None:
    inside = brain(GRID)
    assert not (result.brain & ~inside).any()
    assert (inside & ~result.brain).sum() < 0.002 * inside.sum()
    assert not (result.mask & ~result.brain).any()
    assert result.mask.sum() > 0.7 * inside.sum()
    assert (result.chi_ppm[~result.mask] == 0).all()
    assert abs(result.chi_ppm[result.mask].mean()) < 1e-6


@pytest.mark.slow
def test_without_a_least_coherence_a_given_mask_stays_whole(products: LagProducts) -> None:
    settings = replace(DEFAULT, least_coherence=0.0)
    found = susceptibility(
        products, grid=GRID, field_strength_t=3.0, mask=brain(GRID), settings=settings
    )
    assert torch.equal(found.brain, brain(GRID))


@pytest.mark.parametrize(("noise_sd", "n_channels"), [(0.01, 2), (0.1, 8)])
def test_the_snr_of_the_first_echo_is_found(noise_sd: float, n_channels: int) -> None:
    noisy = scan(GRID, noise_sd=noise_sd, n_channels=n_channels)
    found = total_field(noisy, grid=GRID, field_strength_t=3.0, mask=brain(GRID))
    assert found.subject.noise is not None
    signal = math.exp(-20 * ECHO_TIMES_S[0])
    assert found.subject.noise.snr == pytest.approx(signal / noise_sd, rel=0.1)
    kept = float(found.subject.brain.sum() / brain(GRID).sum())
    assert found.incoherent_share == pytest.approx(1 - kept, abs=1e-6)


def test_the_field_holds_the_air_ball_and_the_local_field_does_not(result: QsmResult) -> None:
    field_hz = AIR_PPM * 127.732434 * sphere_field_ppm(GRID, AIR_MM, AIR_RADIUS_MM)
    near_air = result.mask & (field_hz.abs() > 20)
    assert near_air.sum() > 100
    slope = (result.field_hz * field_hz)[near_air].sum() / field_hz[near_air].square().sum()
    assert slope == pytest.approx(1, abs=0.05)
    assert result.local_field_hz[near_air].abs().median() < 0.05 * field_hz[near_air].abs().median()


@pytest.mark.slow
def test_nothing_beyond_an_incoherent_rim_of_a_given_mask_reaches_the_nuclei(
    products: LagProducts, result: QsmResult
) -> None:
    x, y, z = positions_mm(GRID)
    island = (x.abs() < 4) & (y > 30) & (y < 36) & (z.abs() < 5)
    rim = (x.abs() < 6) & (y > 27) & (z.abs() < 7) & ~island
    generator = torch.Generator().manual_seed(8)
    noise = torch.randn(products.products.shape, dtype=torch.complex64, generator=generator)
    # Behind voxels that hold noise alone, the phase of an island goes on from anywhere.
    island_turned = torch.where(island, products.products.conj(), products.products)
    broken = replace(products, products=torch.where(rim, 1e-3 * noise, island_turned))
    found = susceptibility(broken, grid=GRID, field_strength_t=3.0, mask=brain(GRID))
    assert not (found.brain & (rim | island)).any()
    lost = ((rim | island) & brain(GRID)).sum() / brain(GRID).sum()
    assert found.incoherent_share == pytest.approx(float(lost), abs=0.002)
    assert nuclei_ppm(found, GRID) == pytest.approx(nuclei_ppm(result, GRID), abs=0.002)


@pytest.mark.slow
def test_an_automatic_mask_gives_the_same_nuclei(products: LagProducts) -> None:
    automatic = susceptibility(products, grid=GRID, field_strength_t=3.0)
    assert nuclei_ppm(automatic, GRID) == pytest.approx(list(NUCLEI.values()), rel=0.15)


@pytest.mark.slow
def test_a_tilted_slab_finds_the_same_nuclei() -> None:
    angle = math.radians(25)
    matrix = GRID.matrix.copy()
    turn = torch.tensor(
        [[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]]
    ).numpy()
    matrix[:3] = turn @ matrix[:3]
    tilted = Grid((56, 60, 40), as_affine(matrix))
    found = susceptibility(scan(tilted), grid=tilted, field_strength_t=3.0, mask=brain(tilted))
    assert nuclei_ppm(found, tilted) == pytest.approx(list(NUCLEI.values()), rel=0.15)


@pytest.mark.slow
def test_combined_images_are_one_channel(result: QsmResult) -> None:
    combined = scan(GRID, n_channels=1)
    found = susceptibility(combined, grid=GRID, field_strength_t=3.0, mask=brain(GRID))
    assert nuclei_ppm(found, GRID) == pytest.approx(nuclei_ppm(result, GRID), abs=0.004)


def chain(inversion: L1Settings, **own: Any) -> QsmSettings:
    return QsmSettings(inversion_settings=inversion, **own)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        replace(DEFAULT, field_mode="lag1"),
        chain(L1Settings(dynamic_noise=False), least_coherence=0.0),
        chain(L1Settings(dynamic_structure=True, dynamic_scale=True)),
        chain(L1Settings(dynamic_noise=False), data_weighting=False),
    ],
)
def test_every_setting_finds_the_nuclei(
    products: LagProducts, result: QsmResult, settings: QsmSettings
) -> None:
    found = susceptibility(
        products, grid=GRID, field_strength_t=3.0, mask=brain(GRID), settings=settings
    )
    assert nuclei_ppm(found, GRID) == pytest.approx(list(NUCLEI.values()), rel=0.3)
    assert found.chi_ppm.ne(result.chi_ppm).any()


@pytest.mark.slow
def test_nuclei_that_darken_late_echoes_lose_less_to_smoothing() -> None:
    dark = scan(GRID, iron_per_s=40.0)
    smooth = L1Settings(regularisation=2e-3, dynamic_structure=False, restore_contrast=False)
    lost = lost_ppm(dark, smooth)
    assert abs(lost) < 0.3 * lost_ppm(dark, replace(smooth, magnitude_edges=False))


@pytest.mark.slow
def test_edges_of_the_estimate_keep_what_smoothing_takes_from_nuclei(products: LagProducts) -> None:
    smooth = L1Settings(regularisation=2e-3, magnitude_edges=False, restore_contrast=False)
    assert abs(lost_ppm(products, smooth)) < 0.06 * sum(NUCLEI.values())
    without = replace(smooth, dynamic_structure=False)
    assert lost_ppm(products, without) > 0.3 * sum(NUCLEI.values())


@pytest.mark.slow
def test_contrast_given_back_leaves_nuclei_less_to_lose(products: LagProducts) -> None:
    lost = lost_ppm(products, L1Settings())
    assert abs(lost) < 0.5 * lost_ppm(products, L1Settings(restore_contrast=False))


def lost_ppm(products: LagProducts, inversion: L1Settings) -> float:
    """Susceptibility that the three nuclei lose in all."""
    found = susceptibility(
        products, grid=GRID, field_strength_t=3.0, mask=brain(GRID), settings=chain(inversion)
    )
    return sum(NUCLEI.values()) - sum(nuclei_ppm(found, GRID))


def test_edges_are_those_of_late_echoes_and_of_r2star() -> None:
    generator = torch.Generator().manual_seed(5)
    magnitude = 1 + 0.03 * torch.randn(4, 24, 24, 24, generator=generator)
    magnitude[0, 6:] -= 0.3
    magnitude[3, 18:] -= 0.3
    products = lag_products(magnitude.to(torch.complex64)[None], echo_times_s=ECHO_TIMES_S)
    rate = 20 + 2 * torch.randn(24, 24, 24, generator=generator)
    rate[12:] += 20
    inside = torch.ones(24, 24, 24, dtype=torch.bool)

    def share_at(x: int, r2star_per_s: Tensor | None) -> float:
        found = tissue_edges(
            products.late_magnitude_s, r2star_per_s, inside, voxel_size_mm=(1.0, 1.0, 1.0)
        )
        assert found.float().mean() == pytest.approx(0.4, abs=0.001)
        return float(found[0, x - 1].float().mean())

    assert share_at(18, None) > 0.99
    assert share_at(18, rate) > 0.99
    assert share_at(12, rate) > 0.99
    assert share_at(12, None) < 0.4
    assert share_at(6, None) < 0.6


@pytest.mark.parametrize("of_rate", [False, True])
def test_ringing_does_not_take_the_place_of_edges(of_rate: bool) -> None:
    ringing = torch.ones(24, 24, 24)
    ringing[..., ::2] += 0.1
    gentle = 1 + 0.02 * torch.arange(24.0).expand(24, 24, 24)
    shown = torch.where(torch.arange(24)[:, None, None] < 12, ringing, gentle)
    magnitude = torch.ones(24, 24, 24) if of_rate else shown
    inside = torch.ones(24, 24, 24, dtype=torch.bool)
    rate = 100 * shown if of_rate else None
    found = tissue_edges(magnitude, rate, inside, voxel_size_mm=(1.0, 1.0, 1.0))[2]
    assert found[:8, :, 6:-6].float().mean() < 0.01
    assert found[16:, :, 6:-6].float().mean() > 0.6


def test_the_chain_takes_edges_of_r2star_too(products: LagProducts) -> None:
    subject = total_field(products, grid=GRID, field_strength_t=3.0, mask=brain(GRID)).subject
    late, size_mm = products.late_magnitude_s, GRID.voxel_size_mm
    assert subject.edges is not None
    assert subject.r2star_per_s is not None

    def same_with(rate: Tensor | None) -> float:
        edges = tissue_edges(late, rate, subject.brain, voxel_size_mm=size_mm)
        return float((edges == subject.edges).float().mean())

    assert same_with(subject.r2star_per_s) == 1
    assert same_with(None) < 0.99


def test_settings_come_back_from_toml_and_from_that_of_earlier_versions() -> None:
    settings = QsmSettings(
        background="vsharp", background_settings=VsharpSettings(radii_mm=(9.0, 4.0))
    )
    assert from_table(QsmSettings, tomllib.loads(tomli_w.dumps(plain(settings)))) == settings
    former = {"background": "vsharp", "radii_mm": [9, 4], "sharp_threshold": 0.02, "edge_mm": 2.0}
    assert from_table(QsmSettings, former) == settings
    with pytest.raises(InputError, match="field_mode"):
        QsmSettings(field_mode="both")


def test_a_mask_of_another_shape_is_refused(products: LagProducts) -> None:
    with pytest.raises(InputError, match="expected bool"):
        susceptibility(
            products, grid=GRID, field_strength_t=3.0, mask=torch.ones(3, 3, 3, dtype=torch.bool)
        )
