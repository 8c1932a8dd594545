"""What is broad in susceptibility and background removal takes, and how tissues tell it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.dipole import forward_field
from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.grid import Triple, centred_grid, unit_vector
from accelqsm.qsm.chain import susceptibility
from accelqsm.qsm.field.lags import lag_products
from accelqsm.qsm.inversion.settings import L1Settings
from accelqsm.qsm.settings import QsmSettings
from accelqsm.qsm.shading.modes import harmonic_modes, positions
from accelqsm.qsm.shading.tissue import tissue_shading
from accelqsm.reports.methods import susceptibility_citations, susceptibility_text
from accelqsm.simulate.heads.head import digital_head
from accelqsm.simulate.scanner import acquire, transverse_signal
from accelqsm.virtual.scans import at_scan_resolution

SIZE_MM: Triple = (3.0, 2.5, 4.0)
SHAPE = (48, 56, 36)
UPRIGHT, OBLIQUE = (0.0, 0.0, 1.0), unit_vector((0.28, -0.6, 0.75))


def distance_mm() -> Tensor:
    axes = [(torch.arange(n) - (n - 1) / 2) * size for n, size in zip(SHAPE, SIZE_MM, strict=True)]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return (x**2 + y**2 + z**2).sqrt()


def modes(b0_direction: Triple) -> Tensor:
    """Every mode, (mode, x, y, z)."""
    everywhere = torch.ones(SHAPE, dtype=torch.bool)
    where = positions(everywhere, voxel_size_mm=SIZE_MM, b0_direction=b0_direction)
    return harmonic_modes(where).reshape(-1, *SHAPE)


def laplacian(volume: Tensor) -> Tensor:
    total = torch.zeros_like(volume)
    for axis, size in enumerate(SIZE_MM):
        total += (volume.roll(1, axis) + volume.roll(-1, axis) - 2 * volume) / size**2
    return total


@pytest.mark.parametrize("b0_direction", [UPRIGHT, OBLIQUE])
def test_the_field_of_a_mode_is_harmonic(b0_direction: Triple) -> None:
    distance = distance_mm()
    taper = torch.sigmoid((50 - distance) / 3).double()
    inside = distance < 24
    every = modes(b0_direction)
    everywhere = torch.ones(SHAPE, dtype=torch.bool)
    along = positions(everywhere, voxel_size_mm=SIZE_MM, b0_direction=b0_direction)[2]

    def of_field(chi: Tensor) -> float:
        field = forward_field(
            (chi * taper).float(), voxel_size_mm=SIZE_MM, b0_direction=b0_direction
        )
        return float(laplacian(field.double())[inside].abs().max())

    largest = of_field(along.reshape(SHAPE) ** 2)
    assert len(every) == 24
    assert torch.linalg.matrix_rank(every.reshape(24, -1)) == 24
    assert max(of_field(mode) for mode in every) < 0.05 * largest


def tissues(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Susceptibility in ppm and R2* in 1/s of two tissues in blobs, and where the brain is."""
    generator = torch.Generator().manual_seed(seed)
    blobs = torch.randn(1, 1, 12, 14, 9, generator=generator)
    grey = torch.nn.functional.interpolate(blobs, size=SHAPE, mode="trilinear")[0, 0] > 0.1
    noise = torch.randn(2, *SHAPE, generator=generator)
    chi_ppm = torch.where(grey, 0.02, -0.02) + 0.01 * noise[0]
    rate = torch.where(grey, 15.0, 22.0) + 4 * noise[1]
    return chi_ppm, rate, distance_mm() < 62


def shading_of(seed: int, b0_direction: Triple, brain: Tensor) -> Tensor:
    """Some sum of modes, in ppm, of mean zero and a standard deviation of 8 ppb in the brain."""
    generator = torch.Generator().manual_seed(100 + seed)
    every = modes(b0_direction)
    sizes = torch.randn(len(every), generator=generator).double()
    sizes /= every[:, brain].std(1)
    shading = torch.einsum("m,mxyz->xyz", sizes, every)
    shading -= shading[brain].mean()
    return (0.008 * shading / shading[brain].std()).float() * brain


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("b0_direction", [UPRIGHT, OBLIQUE])
@pytest.mark.parametrize("with_r2star", [True, False])
def test_tissues_tell_the_modes(seed: int, b0_direction: Triple, with_r2star: bool) -> None:
    chi_ppm, rate, brain = tissues(seed)
    taken = shading_of(seed, b0_direction, brain)
    found = tissue_shading(
        chi_ppm - taken,
        brain,
        rate if with_r2star else None,
        voxel_size_mm=SIZE_MM,
        b0_direction=b0_direction,
    )
    assert float((found - taken)[brain].std()) < 0.002
    assert float(found[brain].mean()) == pytest.approx(0, abs=1e-6)
    assert not found[~brain].any()


def test_one_tissue_has_no_shading() -> None:
    _, rate, brain = tissues(3)
    noise = 0.02 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    place = {"voxel_size_mm": SIZE_MM, "b0_direction": UPRIGHT}
    assert float(tissue_shading(noise, brain, rate, **place)[brain].std()) < 0.0015
    assert not tissue_shading(torch.zeros(SHAPE), brain, rate, **place).any()


def test_a_vein_or_a_calcification_is_no_tissue() -> None:
    chi_ppm, rate, brain = tissues(4)
    place = {"voxel_size_mm": SIZE_MM, "b0_direction": UPRIGHT}
    before = tissue_shading(chi_ppm, brain, rate, **place)
    corner = (distance_mm() < 12).roll(10, 1)
    strong = torch.where(corner, -2.0, chi_ppm)
    after = tissue_shading(strong, brain, rate, **place)
    assert float((after - before)[brain].abs().max()) < 0.003


def test_the_methods_text_says_that_it_was_used() -> None:
    plain = QsmSettings(shading_correction=False)
    assert "Van Leemput" in susceptibility_text(QsmSettings())
    assert "Van Leemput" not in susceptibility_text(plain)
    added = set(susceptibility_citations(QsmSettings())) - set(susceptibility_citations(plain))
    assert added == {"mixture"}


def test_the_methods_text_says_that_contrast_was_given_back() -> None:
    plain = QsmSettings(inversion_settings=L1Settings(restore_contrast=False))
    assert "Osher" in susceptibility_text(QsmSettings())
    assert "Osher" not in susceptibility_text(plain)
    added = set(susceptibility_citations(QsmSettings())) - set(susceptibility_citations(plain))
    assert added == {"bregman"}


def test_the_methods_text_names_no_term_that_comes_after_the_last_iteration() -> None:
    few = QsmSettings(inversion_settings=L1Settings(n_iterations=26))
    assert "Osher" not in susceptibility_text(few)
    assert "bregman" not in susceptibility_citations(few)
    assert "edges found during" in susceptibility_text(few)
    fewer = QsmSettings(inversion_settings=L1Settings(n_iterations=16))
    assert "edges found during" not in susceptibility_text(fewer)


@pytest.mark.slow
@pytest.mark.parametrize("background", ["dipole-fit", "vsharp"])
def test_the_map_of_a_head_is_nearer_to_the_truth(background: str) -> None:
    grid = centred_grid((66, 80, 44), (2.6, 2.6, 3.2), centre_mm=(0.0, -17.0, 5.0))
    acquisition = Acquisition(grid, (0.004, 0.010, 0.016), 3.0, 0.03, 15.0)
    fine = grid.refined((2, 2, 2))
    head = digital_head(fine, seed=41)
    _, truth = at_scan_resolution(head, acquisition)
    echoes = transverse_signal(head, acquisition, seed=41)
    images = torch.stack([ifft(acquire(echo, grid.shape), PHASE_ENCODES) for echo in echoes])
    level = float(images[0].abs().mean()) / 30
    noise = torch.randn(*images.shape, 2, generator=torch.Generator().manual_seed(41))
    products = lag_products(
        (images + level * torch.view_as_complex(noise))[None],
        echo_times_s=acquisition.echo_times_s,
    )

    def error(shading_correction: bool) -> tuple[float, float]:
        found = susceptibility(
            products,
            grid=grid,
            field_strength_t=3.0,
            settings=QsmSettings(background=background, shading_correction=shading_correction),
        )
        known = found.mask & (truth != 0)
        wrong = (found.chi_ppm - truth)[known]
        where = positions(known, voxel_size_mm=grid.voxel_size_mm, b0_direction=UPRIGHT)
        broad = torch.cat([harmonic_modes(where), torch.ones_like(where[:1])]).T
        wrong = wrong.double()[:, None]
        left = wrong - broad @ torch.linalg.lstsq(broad, wrong).solution
        return float(wrong.std()), float(1 - left.var() / wrong.var())

    (before, shading_before), (after, shading_after) = error(False), error(True)
    assert after < 0.98 * before
    assert shading_after < 0.5 * shading_before
