"""Dipole inversion against an independent solver, closed forms and symmetries."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from accelqsm.dipole import forward_field
from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.qsm.chain import reference_to
from accelqsm.qsm.inversion.dynamic import (
    RESTORED_SD_MM,
    DynamicTerms,
    Weights,
    restored_field,
    update_weights,
)
from accelqsm.qsm.inversion.edges import tissue_edges
from accelqsm.qsm.inversion.gradient import Gradient
from accelqsm.qsm.inversion.l1 import (
    PENALTY_PER_REGULARISATION,
    RELAXATION,
    l1_dipole_inversion,
)
from accelqsm.qsm.inversion.settings import L1Settings

SIZE_MM: Triple = (1.0, 1.0, 1.0)
OBLIQUE: Triple = (0.36, -0.48, 0.8)
FIXED = L1Settings(dynamic_noise=False, dynamic_structure=False, restore_contrast=False)
NOISE = L1Settings()


def ball(shape: tuple[int, int, int], radius: float, centre: Triple = (0, 0, 0)) -> Tensor:
    axes = (
        torch.arange(n, dtype=torch.float64) - n // 2 - c
        for n, c in zip(shape, centre, strict=True)
    )
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return x**2 + y**2 + z**2 <= radius**2


def soft_sphere(shape: tuple[int, int, int], radius: float) -> Tensor:
    axes = (torch.arange(n, dtype=torch.float64) - n // 2 for n in shape)
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return (radius + 0.5 - (x**2 + y**2 + z**2).sqrt()).clamp(0, 1)


def plain_huber_admm(field: Tensor, *, lam: float, rho: float, direction: Triple, n: int) -> Tensor:
    """Bilgic's iteration with complex FFTs, over-relaxed, for the Huber function."""
    shape = (field.shape[0], field.shape[1], field.shape[2])
    frequencies = torch.meshgrid(
        *(torch.fft.fftfreq(size, dtype=torch.float64) for size in shape), indexing="ij"
    )
    square = sum(k**2 for k in frequencies)
    along = sum(k * b for k, b in zip(frequencies, direction, strict=True))
    kernel = torch.where(square > 0, 1 / 3 - along**2 / square.clamp_min(1e-12), 0)
    edges = [torch.exp(2j * math.pi * k) - 1 for k in frequencies]
    below = (kernel**2 + rho * sum(e.abs() ** 2 for e in edges)).clone()
    below[0, 0, 0] = 1
    split = [torch.zeros_like(field) for _ in edges]
    dual = [torch.zeros_like(field) for _ in edges]
    chi = torch.zeros_like(field)
    for _ in range(n):
        above = kernel * torch.fft.fftn(field)
        for e, z, u in zip(edges, split, dual, strict=True):
            above = above + rho * e.conj() * torch.fft.fftn(z - u)
        above[0, 0, 0] = 0
        chi = torch.fft.ifftn(above / below).real
        for axis in range(3):
            slope = torch.roll(chi, -1, axis) - chi
            moved = RELAXATION * slope + (1 - RELAXATION) * split[axis] + dual[axis]
            small = moved.abs() <= lam / rho + FIXED.small_gradient
            split[axis] = torch.where(
                small,
                moved * FIXED.small_gradient / (FIXED.small_gradient + lam / rho),
                torch.sign(moved) * (moved.abs() - lam / rho),
            )
            dual[axis] = moved - split[axis]
    return chi


@pytest.mark.slow
@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), OBLIQUE])
def test_without_weights_and_dynamic_terms_it_is_rounded_total_variation(direction: Triple) -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(27, 25, 27, dtype=torch.bool)
    mask[:15, :13, :15] = True  # with 12 voxels of margin the periodic box is the volume
    field = torch.randn(mask.shape, dtype=torch.float64, generator=generator) * mask * 0.05
    lam = 2e-3
    chi = l1_dipole_inversion(
        field,
        mask,
        voxel_size_mm=SIZE_MM,
        b0_direction=direction,
        settings=replace(FIXED, regularisation=lam, n_iterations=25, tolerance=0.0),
    )
    expected = plain_huber_admm(
        field, lam=lam, rho=PENALTY_PER_REGULARISATION * lam, direction=direction, n=25
    )
    torch.testing.assert_close(
        chi[mask], expected[mask], atol=1e-6 * float(expected.abs().max()), rtol=0
    )


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), OBLIQUE])
def test_a_sphere_is_recovered_to_95_percent(weighted: bool, direction: Triple) -> None:
    shape = (40, 40, 40)
    truth = 0.1 * soft_sphere(shape, 6)
    field = forward_field(truth, voxel_size_mm=SIZE_MM, b0_direction=direction)
    mask = ball(shape, 17)
    chi = l1_dipole_inversion(
        field,
        mask,
        voxel_size_mm=SIZE_MM,
        b0_direction=direction,
        data_weight=torch.ones_like(field) if weighted else None,
        settings=replace(FIXED, regularisation=2e-5, tolerance=1e-4),
    )
    chi = reference_to(chi, mask, mask & ~ball(shape, 9))
    assert chi[ball(shape, 4)].mean() == pytest.approx(0.1, rel=0.05)
    assert (chi[~mask] == 0).all()


def test_both_splits_solve_the_same_problem() -> None:
    shape = (26, 26, 26)
    field = forward_field(
        0.1 * soft_sphere(shape, 3), voxel_size_mm=SIZE_MM, b0_direction=(0, 0, 1)
    )
    mask = ball(shape, 12)
    plain, weighted = (
        reference_to(
            l1_dipole_inversion(
                field,
                mask,
                voxel_size_mm=SIZE_MM,
                b0_direction=(0, 0, 1),
                data_weight=weight,
                settings=replace(FIXED, regularisation=1e-3, n_iterations=80, tolerance=1e-5),
            ),
            mask,
            mask & ~ball(shape, 6),
        )[ball(shape, 2)].mean()
        for weight in (None, torch.ones_like(field))
    )
    assert plain < 0.095, "the regularisation must be felt for this comparison to say something"
    assert weighted == pytest.approx(float(plain), rel=0.05)


def test_no_field_gives_no_susceptibility() -> None:
    mask = ball((16, 16, 16), 6)
    weight = torch.ones(16, 16, 16)
    chi = l1_dipole_inversion(
        torch.zeros(16, 16, 16),
        mask,
        voxel_size_mm=SIZE_MM,
        b0_direction=(0, 0, 1),
        data_weight=weight,
        edges=torch.ones(3, 16, 16, 16, dtype=torch.bool),
        settings=L1Settings(dynamic_structure=True, dynamic_scale=True),
    )
    assert (chi == 0).all()


def test_turning_the_head_and_the_field_together_turns_the_map() -> None:
    shape = (26, 22, 30)
    truth = 0.1 * soft_sphere(shape, 4) - 0.05 * ball(shape, 2, (5, 0, -6)).double()
    size_mm: Triple = (1.0, 1.2, 1.5)
    mask = ball(shape, 10)
    field = forward_field(truth, voxel_size_mm=size_mm, b0_direction=(0, 0, 1))
    upright = l1_dipole_inversion(
        field, mask, voxel_size_mm=size_mm, b0_direction=(0, 0, 1), settings=FIXED
    )
    turned = l1_dipole_inversion(
        field.permute(2, 0, 1).contiguous(),
        mask.permute(2, 0, 1).contiguous(),
        voxel_size_mm=(1.5, 1.0, 1.2),
        b0_direction=(1, 0, 0),
        settings=FIXED,
    )
    torch.testing.assert_close(turned.permute(1, 2, 0), upright, atol=1e-9, rtol=0)


@pytest.mark.slow
def test_voxels_offset_by_a_whole_turn_do_little_harm_with_the_noise_term() -> None:
    shape = (36, 36, 36)
    truth = 0.1 * soft_sphere(shape, 5)
    mask = ball(shape, 15)
    generator = torch.Generator().manual_seed(4)
    field = forward_field(truth, voxel_size_mm=SIZE_MM, b0_direction=(0, 0, 1))
    field = field + 0.002 * torch.randn(shape, dtype=torch.float64, generator=generator)
    wrapped = torch.rand(shape, generator=generator) < 0.01
    broken = field + torch.where(wrapped, 1.26, 0.0)

    def error(f: Tensor, settings: L1Settings) -> float:
        chi = l1_dipole_inversion(
            f,
            mask,
            voxel_size_mm=SIZE_MM,
            b0_direction=(0, 0, 1),
            data_weight=torch.ones_like(f),
            settings=replace(settings, n_iterations=60, tolerance=1e-3),
        )
        chi = reference_to(chi, mask, mask & ~ball(shape, 8))
        return float((chi - truth)[mask].square().mean().sqrt())

    assert error(broken, NOISE) < 1.5 * error(field, FIXED)
    assert error(broken, FIXED) > 2 * error(broken, NOISE)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["magnitude", "R2*", "estimate", "residual"])
def test_contrast_is_kept_by_edges_and_by_what_the_residual_gives_back(source: str) -> None:
    shape = (32, 32, 32)
    inside = soft_sphere(shape, 5)
    mask = ball(shape, 13)
    field = forward_field(0.1 * inside, voxel_size_mm=SIZE_MM, b0_direction=(0, 0, 1))

    def recovered(edges: Tensor | None, settings: L1Settings) -> float:
        chi = l1_dipole_inversion(
            field,
            mask,
            voxel_size_mm=SIZE_MM,
            b0_direction=(0, 0, 1),
            data_weight=torch.ones_like(field),
            edges=edges,
            settings=replace(settings, regularisation=4e-3, tolerance=1e-3),
        )
        return float(reference_to(chi, mask, mask & ~ball(shape, 8))[ball(shape, 3)].mean())

    flat = torch.ones_like(field)
    if source == "magnitude":
        kept = recovered(tissue_edges(1 - 0.3 * inside, None, mask, voxel_size_mm=SIZE_MM), FIXED)
    elif source == "R2*":
        rate = 20 + 30 * inside
        kept = recovered(tissue_edges(flat, rate, mask, voxel_size_mm=SIZE_MM), FIXED)
    elif source == "estimate":
        kept = recovered(None, replace(FIXED, dynamic_structure=True))
    else:
        kept = recovered(None, replace(FIXED, restore_contrast=True))
    assert recovered(None, FIXED) + 0.01 < kept < 0.11


def test_sources_outside_take_up_what_background_removal_left() -> None:
    shape = (40, 40, 40)
    truth = 0.1 * soft_sphere(shape, 4)
    mask = ball(shape, 13)
    outside = 0.5 * ball(shape, 2, (0, 3, 16)).double()
    field = forward_field(truth + outside, voxel_size_mm=SIZE_MM, b0_direction=(0, 0, 1))

    def error(weight: Tensor | None) -> float:
        chi = l1_dipole_inversion(
            field,
            mask,
            voxel_size_mm=SIZE_MM,
            b0_direction=(0, 0, 1),
            data_weight=weight,
            # Little smoothing, whose own error would be most of what both leave.
            settings=replace(FIXED, regularisation=2e-5),
        )
        chi = reference_to(chi, mask, mask & ~ball(shape, 8))
        return float((chi - truth)[mask].square().mean().sqrt())

    assert error(torch.ones_like(field)) < 0.3 * error(None)


def test_the_scale_follows_the_noise_within_a_factor_of_two() -> None:
    inside = torch.ones(4, 4, 4, dtype=torch.bool)
    slope = torch.full((3, 4, 4, 4), 0.01)
    start = Weights(regularisation=1e-4, data=torch.ones(4, 4, 4), structure=None)
    terms = DynamicTerms(noise=False, structure=False)
    for noise, likeliest in ((0.5, 2e-4), (1e-6, 0.5e-4), (0.002, 0.002**2 / 0.03)):
        residual = torch.full((4, 4, 4), noise / 1.4826)  # median of a normal variable of that sd
        weights = start
        for update in range(1, 30):
            weights = update_weights(
                weights, terms, start, iteration=2 * update, residual=residual,
                slope=slope, inside=inside, voxel_size_mm=SIZE_MM,
            )  # fmt: skip
        assert weights.regularisation == pytest.approx(likeliest, rel=1e-3)


def test_the_gradient_and_its_adjoint_agree() -> None:
    generator = torch.Generator().manual_seed(1)
    gradient = Gradient((0.8, 1.0, 2.0))
    volume = torch.randn(6, 5, 8, dtype=torch.float64, generator=generator)
    slopes = torch.randn(3, 6, 5, 8, dtype=torch.float64, generator=generator)
    left, right = (gradient(volume) * slopes).sum(), (volume * gradient.adjoint(slopes)).sum()
    torch.testing.assert_close(left, right)
    spectrum = torch.fft.rfftn(volume) * gradient.power_spectrum(volume)
    torch.testing.assert_close(
        torch.fft.irfftn(spectrum, s=volume.shape), gradient.adjoint(gradient(volume))
    )


def test_bad_input_is_refused() -> None:
    mask = ball((8, 8, 8), 3)
    field = torch.zeros(8, 8, 8)
    with pytest.raises(InputError, match="regularisation: expected 1e-08 to 10 ppm mm, found 0"):
        L1Settings(regularisation=0.0)
    with pytest.raises(InputError, match="one shape"):
        l1_dipole_inversion(field[:4], mask, voxel_size_mm=SIZE_MM, b0_direction=(0, 0, 1))


@pytest.mark.parametrize("noise", [True, False])
def test_the_noise_term_divides_the_weight_of_outliers_by_their_excess(noise: bool) -> None:
    inside = torch.ones(5, 5, 5, dtype=torch.bool)
    residual = torch.full((5, 5, 5), 0.01)
    residual[2, 2, 2] = -6.0 * 1.4826 * 0.01 * 3  # three times the limit of six sd
    data = torch.full((5, 5, 5), 0.5)
    start = Weights(regularisation=1e-4, data=data, structure=None)
    found = update_weights(
        start, DynamicTerms(noise=noise, structure=False, scale=False), start, iteration=2,
        residual=residual, slope=torch.full((3, 5, 5, 5), 0.01), inside=inside,
        voxel_size_mm=SIZE_MM,
    )  # fmt: skip
    expected = data.clone()
    expected[2, 2, 2] /= 3.0 if noise else 1.0
    torch.testing.assert_close(found.data, expected)


@pytest.mark.parametrize("initial", [None, 0.7])
@pytest.mark.parametrize(
    ("gradient", "expected_factor"),
    # A fourth power, until it is less than the tail.
    [(0.003, 1 / 2), (-0.0036, 1 / (1 + 1.2**4)), (0.0075, 0.3 / 2.5), (-0.03, 0.03)],
)
def test_the_structure_term_ends_on_edges_and_on_steep_ones_in_proportion(
    gradient: float, expected_factor: float, initial: float | None
) -> None:
    inside = torch.ones(4, 4, 4, dtype=torch.bool)
    terms = DynamicTerms(noise=False, scale=False, edge_gradient=0.003)
    # Alike everywhere, so that smoothing leaves it; the median of all axes is zero.
    slope = torch.tensor([gradient, 0.0, 0.0])[:, None, None, None].expand(3, 4, 4, 4).clone()
    first = None if initial is None else torch.full_like(slope, initial)
    start = Weights(regularisation=1e-4, data=torch.ones(4, 4, 4), structure=first)
    factor = torch.tensor([expected_factor, 1.0, 1.0])
    expected = (initial or 1.0) * factor[:, None, None, None].expand(3, 4, 4, 4)
    for iteration in range(2, 30, 2):
        found = update_weights(
            start, terms, start, iteration=iteration,
            residual=torch.zeros(4, 4, 4), slope=slope, inside=inside, voxel_size_mm=SIZE_MM,
        )  # fmt: skip
        if iteration in terms.structure_iterations:
            assert found.structure is not None
            torch.testing.assert_close(found.structure, expected)
        else:
            assert found.structure is first


def test_what_was_taken_of_the_field_comes_back_without_its_noise() -> None:
    shape = (32, 32, 32)
    known = torch.ones(shape, dtype=torch.float64)
    known[:, :, 20:] = 0
    field = torch.zeros_like(known)
    broad = torch.full_like(field, 0.002)
    # What lies where the field is not known counts for nothing, and nothing is added there.
    taken = torch.where(known > 0, broad, 1.0)
    found = restored_field(field, -taken, known, SIZE_MM)
    torch.testing.assert_close(found, broad * known)
    noise = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    found = restored_field(field, noise, torch.ones_like(noise), SIZE_MM)
    # A Gaussian of variance s^2 averages 8 (pi s^2)^1.5 voxels; those at the border fewer.
    expected = (8 * math.pi**1.5 * RESTORED_SD_MM**3) ** -0.5
    assert float(found[4:-4, 4:-4, 4:-4].std()) == pytest.approx(expected, rel=0.05)
    # Voxels too large to be smoothed in mm are smoothed in voxels.
    of_2_mm, of_4_mm = (
        restored_field(field, noise, torch.ones_like(noise), (size, size, size)) for size in (2, 4)
    )
    torch.testing.assert_close(of_4_mm, of_2_mm)
    along = torch.exp(-((2 * torch.arange(-4, 5) / RESTORED_SD_MM) ** 2) / 2)
    expected = float(along.square().sum() / along.sum() ** 2) ** 1.5
    assert float(of_4_mm[4:-4, 4:-4, 4:-4].std()) == pytest.approx(expected, rel=0.05)


def test_a_surface_is_an_edge_where_noise_as_steep_is_none() -> None:
    shape = (24, 24, 24)
    terms = DynamicTerms(noise=False, scale=False)
    start = Weights(regularisation=1e-4, data=torch.ones(shape), structure=None)
    steep = 3 * terms.edge_gradient

    def factor(slope: Tensor) -> Tensor:
        found = update_weights(
            start, terms, start, iteration=terms.structure_iterations[0],
            residual=torch.zeros(shape), slope=slope, inside=torch.ones(shape, dtype=torch.bool),
            voxel_size_mm=(1.0, 1.0, 1.0),
        ).structure  # fmt: skip
        assert found is not None
        return found

    surface = torch.zeros(3, *shape)
    surface[0, 12] = steep
    assert float(factor(surface)[0, 12].max()) < 0.6
    assert torch.equal(factor(surface)[1:], torch.ones(2, *shape))
    noise = steep * torch.randn(3, *shape, generator=torch.Generator().manual_seed(2))
    assert float(factor(noise).mean()) > 0.9
    # However strong the noise is, most of it is no edge, and a surface above it is one.
    assert float(factor(100 * noise).mean()) > 0.7
    assert float(factor(100 * noise + 1000 * surface)[0, 12].mean()) < 0.2


def test_it_does_not_stop_before_edges_weigh_less() -> None:
    shape = (28, 28, 28)
    mask, inside = ball(shape, 11), soft_sphere(shape, 4)
    field = forward_field(0.1 * inside, voxel_size_mm=SIZE_MM, b0_direction=(0, 0, 1))

    def found(settings: L1Settings) -> Tensor:
        # A change of one half is met by the first iterations.
        return l1_dipole_inversion(
            field,
            mask,
            voxel_size_mm=SIZE_MM,
            b0_direction=(0, 0, 1),
            data_weight=torch.ones_like(field),
            settings=replace(settings, tolerance=0.5),
        )

    early = found(FIXED)
    assert not torch.equal(found(replace(FIXED, dynamic_structure=True)), early)
    few = replace(FIXED, n_iterations=3)
    torch.testing.assert_close(found(few), early)


@pytest.mark.parametrize("structure", [True, False])
def test_a_wrap_is_left_out_with_dynamic_noise_and_fitted_without(structure: bool) -> None:
    shape = (24, 24, 24)
    mask = ball(shape, 9)
    smooth = forward_field(
        0.1 * soft_sphere(shape, 4), voxel_size_mm=SIZE_MM, b0_direction=(0, 0, 1)
    )
    wrapped = smooth.clone()
    wrapped[12, 12, 12] += 2.5

    def harm(dynamic_noise: bool) -> float:
        settings = replace(NOISE, dynamic_noise=dynamic_noise, dynamic_structure=structure)
        both = [
            l1_dipole_inversion(
                field, mask, voxel_size_mm=SIZE_MM, b0_direction=(0, 0, 1),
                data_weight=torch.ones_like(field), settings=settings,
            )
            for field in (smooth, wrapped)
        ]  # fmt: skip
        return float((both[1] - both[0])[mask].abs().max())

    with_term, without = harm(True), harm(False)
    assert with_term < 0.01
    assert without > 20 * with_term
