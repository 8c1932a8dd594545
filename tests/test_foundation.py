"""Grids, acquisitions, transforms, units and the dipole against closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from accelqsm.acquisition import Acquisition
from accelqsm.dipole import dipole_kernel, forward_field
from accelqsm.errors import InputError
from accelqsm.fourier import centred_slice, even_fast_size, fft, ifft
from accelqsm.grid import Grid, Shape, as_affine, centred_grid
from accelqsm.kspace import KSpace
from accelqsm.runtime.arrays import as_tensor
from accelqsm.units import hz_to_ppm, larmor_hz_per_ppm, ppm_to_hz


def oblique_grid(degrees: float, voxel_size_mm: tuple[float, float, float]) -> Grid:
    a = math.radians(degrees)
    rotation = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * voxel_size_mm
    return Grid((8, 8, 8), as_affine(matrix))


def test_one_ppm_at_3_tesla() -> None:
    assert larmor_hz_per_ppm(3.0) == pytest.approx(127.732434)
    assert hz_to_ppm(ppm_to_hz(0.25, 7.0), 7.0) == pytest.approx(0.25)


def test_b0_direction_of_an_anisotropic_oblique_grid_has_no_voxel_size_in_it() -> None:
    grid = oblique_grid(30, (0.8, 0.8, 2.0))
    assert grid.voxel_size_mm == pytest.approx((0.8, 0.8, 2.0))
    assert grid.b0_direction == pytest.approx((0.0, 0.5, math.sqrt(3) / 2))
    assert grid.voxel_volume_mm3 == pytest.approx(1.28)


@pytest.mark.parametrize("shape", [(8, 6, 4), (9, 7, 5)])
def test_refined_grid_keeps_the_point_at_the_zero_frequency(shape: tuple[int, int, int]) -> None:
    grid = centred_grid(shape, (1.6, 1.6, 2.0), centre_mm=(1.0, -2.0, 3.0))
    fine = grid.refined((2, 3, 2))
    assert fine.voxel_size_mm == pytest.approx((0.8, 1.6 / 3, 1.0))
    centre = [n // 2 for n in grid.shape]
    fine_centre = [n // 2 for n in fine.shape]
    np.testing.assert_allclose(grid.world_mm()[:, *centre], (1, -2, 3), atol=1e-5)
    np.testing.assert_allclose(fine.world_mm()[:, *fine_centre], (1, -2, 3), atol=1e-5)


@pytest.mark.parametrize("size", [8, 9])
def test_transforms_are_orthonormal_and_centred(size: int) -> None:
    image = torch.zeros(size, dtype=torch.complex128)
    image[size // 2] = 1
    np.testing.assert_allclose(fft(image, (0,)), np.full(size, size**-0.5), atol=1e-14)
    wave = torch.exp(2j * math.pi * 2 * (torch.arange(size) - size // 2) / size)
    spectrum = fft(wave.to(torch.complex128), (0,))
    assert int(spectrum.abs().argmax()) == size // 2 + 2
    random = torch.randn(3, size, dtype=torch.complex128, generator=torch.manual_seed(0))
    torch.testing.assert_close(ifft(fft(random, (-1,)), (-1,)), random)
    assert fft(random, (-1,)).norm() == pytest.approx(float(random.norm()))


def test_centred_crop_keeps_the_zero_frequency() -> None:
    for full in (8, 9, 12):
        for size in (3, 4, 8):
            assert list(range(full))[centred_slice(full, size)][size // 2] == full // 2


def point_dipole(r_mm: np.ndarray, b0_direction: tuple[float, float, float]) -> np.ndarray:
    """Field per unit of integrated susceptibility (mm^3) outside any spherical source."""
    distance = np.maximum(np.linalg.norm(r_mm, axis=0), 1e-9)
    cosine = np.tensordot(b0_direction, r_mm, 1) / distance
    return (3 * cosine**2 - 1) / (4 * math.pi * distance**3)


def test_fast_sizes_are_even_products_of_2_3_and_5() -> None:
    assert [even_fast_size(n) for n in (1, 7, 11, 13, 31, 97, 201)] == [2, 8, 12, 16, 32, 100, 216]


@pytest.mark.parametrize("b0_direction", [(0.0, 0.0, 1.0), (0.0, 0.6, 0.8), (0.48, -0.6, 0.64)])
def test_field_outside_a_smooth_ball_is_the_point_dipole(
    b0_direction: tuple[float, float, float],
) -> None:
    sigma_mm, voxel_size_mm = 2.5, (1.0, 1.0, 1.25)
    r = centred_grid((72, 72, 60), voxel_size_mm).world_mm().astype(np.float64)
    distance = np.linalg.norm(r, axis=0)
    chi = torch.from_numpy(np.exp(-(distance**2) / (2 * sigma_mm**2)))
    field = forward_field(chi, voxel_size_mm=voxel_size_mm, b0_direction=b0_direction).numpy()
    closed = (2 * math.pi) ** 1.5 * sigma_mm**3 * point_dipole(r, b0_direction)
    outside = (distance > 4.5 * sigma_mm) & (np.abs(r).max(0) < 30)
    assert np.abs(field - closed)[outside].max() < 0.005 * np.abs(closed[outside]).max()
    assert field[36, 36, 30] == pytest.approx(0, abs=1e-3)
    assert field[closed > 0.02].min() > 0, "paramagnetic: adds to B0 above and below"


def test_field_of_a_voxelised_sphere_is_within_two_percent() -> None:
    radius_mm, grid = 8.0, centred_grid((64, 64, 64), (1.0, 1.0, 1.0))
    r = grid.world_mm().astype(np.float64)
    distance = np.linalg.norm(r, axis=0)
    partial_volume = np.clip(radius_mm - distance + 0.5, 0, 1)
    chi = torch.from_numpy(partial_volume)
    field = forward_field(chi, voxel_size_mm=(1, 1, 1), b0_direction=(0, 0, 1)).numpy()
    closed = float(chi.sum()) * point_dipole(r, (0, 0, 1))
    outside = (distance > radius_mm + 2) & (np.abs(r).max(0) < 28)
    assert np.abs(field - closed)[outside].max() < 0.02 * np.abs(closed[outside]).max()
    assert np.abs(field[distance < 3]).max() < 0.02, "no field inside, Lorentz-corrected"


@pytest.mark.parametrize("shape", [(6, 8, 4), (6, 7, 4), (5, 8, 6), (2, 4, 2)])
def test_dipole_kernel_at_the_highest_frequencies_is_the_mean_over_both_signs(shape: Shape) -> None:
    """Which makes it Hermitian in an oblique field."""
    b0, size_mm = (0.2, 0.3, 0.87**0.5), (1.0, 1.2, 1.5)
    kernel = dipole_kernel(shape, voxel_size_mm=size_mm, b0_direction=b0, dtype=torch.float64)
    lines = [np.fft.fftfreq(n, mm).tolist() for n, mm in zip(shape, size_mm, strict=True)]
    for index in itertools.product(*(range(n) for n in kernel.shape)):
        at = [line[i] for line, i in zip(lines, index, strict=True)]
        signs = [(1, -1) if 2 * i == n else (1,) for i, n in zip(index, shape, strict=True)]
        found = []
        for sign in itertools.product(*signs) if any(at) else ():
            k = [s * f for s, f in zip(sign, at, strict=True)]
            along = sum(b * f for b, f in zip(b0, k, strict=True))
            found.append(1 / 3 - along**2 / sum(f * f for f in k))
        expected = sum(found) / len(found) if found else 0.0
        assert float(kernel[index]) == pytest.approx(expected, abs=1e-12)
    again = torch.fft.rfftn(torch.fft.irfftn(kernel.to(torch.complex128), s=shape))
    torch.testing.assert_close(again, kernel.to(torch.complex128))


def test_dipole_kernel_rotates_with_the_axes() -> None:
    along_z = dipole_kernel((8, 8, 8), voxel_size_mm=(1, 1, 2), b0_direction=(0, 0, 1))
    along_x = dipole_kernel((8, 8, 8), voxel_size_mm=(2, 1, 1), b0_direction=(1, 0, 0))
    full_x = torch.fft.fftn(torch.fft.irfftn(along_x, s=(8, 8, 8))).real
    full_z = torch.fft.fftn(torch.fft.irfftn(along_z, s=(8, 8, 8))).real
    torch.testing.assert_close(full_x.permute(2, 1, 0), full_z, atol=1e-6, rtol=0)
    assert float(along_z[0, 0, 0]) == 0.0


def test_uniform_surroundings_cause_no_field() -> None:
    chi = torch.full((10, 12, 8), 9.4, dtype=torch.float64)
    field = forward_field(chi, voxel_size_mm=(1, 1, 1), b0_direction=(0, 0, 1), outside_ppm=9.4)
    assert float(field.abs().max()) < 1e-12


@pytest.mark.parametrize(
    ("echo_times_s", "message"),
    [
        ((4.0, 8.0), "milliseconds"),
        ((0.008, 0.004), "strictly increasing"),
        ((), "finite"),
        ((0.0, 0.004), "above"),
        ((0.004, math.nan), "finite"),
    ],
)
def test_echo_times_that_cannot_be_are_named(echo_times_s: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Acquisition(centred_grid((4, 4, 4), (1, 1, 1)), echo_times_s, 3.0)


def test_impossible_grid_and_field_are_named() -> None:
    with pytest.raises(InputError, match="singular"):
        Grid((4, 4, 4), as_affine(np.diag([1.0, 0.0, 1.0, 1.0])))
    with pytest.raises(InputError, match="finite"):
        Grid((4, 4, 4), as_affine(np.full((4, 4), np.nan)))
    with pytest.raises(InputError, match="tesla"):
        Acquisition(centred_grid((4, 4, 4), (1, 1, 1)), (0.004,), -3.0)


def test_kspace_scatters_samples_to_their_places() -> None:
    acquisition = Acquisition(centred_grid((2, 3, 4), (1, 1, 1)), (0.004,), 3.0)
    sampled = torch.zeros(3, 4, dtype=torch.bool)
    sampled[1, 2] = sampled[2, 0] = True
    samples = np.arange(8, dtype=np.complex64).reshape(2, 1, 2, 2)
    kspace = KSpace(acquisition, sampled, samples)
    planes = kspace.planes(slice(1, 2))
    assert planes.shape == (1, 1, 2, 3, 4)
    assert planes[0, 0, :, 1, 2].tolist() == [4, 6]
    assert planes[0, 0, :, 2, 0].tolist() == [5, 7]
    assert kspace.acceleration == pytest.approx(6.0)
    with pytest.raises(InputError, match="expected"):
        KSpace(acquisition, sampled, samples[..., :1])


@pytest.mark.parametrize("shape", [(1, 3, 4), (3, 1, 4), (2, 3, 4), (1, 1, 1), (3,), (0, 1)])
def test_a_tensor_holds_the_values_of_an_array_that_runs_backwards(shape: tuple[int, ...]) -> None:
    values = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    for backwards in (values[::-1], np.flip(values), values.T[::-1], values):
        tensor = as_tensor(backwards)
        assert np.array_equal(tensor.numpy(), backwards)
        assert tensor.is_contiguous()
    assert np.shares_memory(as_tensor(values).numpy(), values) or not values.size


def test_samples_of_one_channel_that_run_backwards_are_read_as_others() -> None:
    grid = centred_grid((2, 6, 4), (1.0, 1.0, 1.0))
    acquisition = Acquisition(grid, (0.01,), 3.0)
    pattern = torch.ones(6, 4, dtype=torch.bool)
    samples = np.arange(3 * 2 * 24, dtype=np.complex64).reshape(3, 1, 2, 24)
    turned = KSpace(acquisition, pattern, samples[::-1, ::-1])
    assert torch.equal(
        turned.planes(slice(0, 1)), KSpace(acquisition, pattern, samples).planes(slice(2, 3))
    )
