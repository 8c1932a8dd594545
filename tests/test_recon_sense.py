"""Sensitivities, SENSE and wavelets against closed forms and dense algebra."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import recon_phantom
from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, centred_slice, fft
from accelqsm.kspace import KSpace, from_centre
from accelqsm.recon.channels import low_resolution
from accelqsm.recon.method_settings import SenseSettings, SensitivitySettings, WaveletSettings
from accelqsm.recon.methods.cg_sense import cg_sense
from accelqsm.recon.methods.l1_wavelet import l1_wavelet
from accelqsm.recon.methods.wavelet import HIGH, LOW, Wavelet
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.sampling import poisson_disk, regular
from accelqsm.recon.sense import Encoding, unit_maps
from accelqsm.recon.sensitivities.espirit import (
    LEAST_NOISE,
    Sensitivities,
    _weights,
    espirit,
    noise_power_of,
)
from accelqsm.recon.trust import READOUTS, _some_readouts
from recon_phantom import channel_images, sample

SHAPE = (12, 48, 40)


def complex_noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.complex128)


def pattern(acceleration: float, calibration: tuple[int, int] = (16, 16)) -> Tensor:
    return poisson_disk(SHAPE[1:], acceleration=acceleration, calibration=calibration, seed=1)


def nrmse(found: Tensor, true: Tensor) -> float:
    return float((found - true).norm() / true.norm())


@pytest.mark.parametrize("shape", [(16, 8, 24), (13, 10, 17), (1, 16, 12), (5, 9, 3)])
def test_wavelets_come_back_and_keep_the_energy(shape: tuple[int, int, int]) -> None:
    volume = complex_noise(*shape)
    wavelet = Wavelet(shape)
    coefficients = wavelet.forward(volume)
    torch.testing.assert_close(wavelet.inverse(coefficients), volume)
    if all(n % wavelet.period == 0 for n in shape):
        assert float(coefficients.norm()) == pytest.approx(float(volume.norm()), rel=1e-12)
    torch.testing.assert_close(wavelet.shrink(volume, 0.0, (3, 1, 5)), volume)


def test_wavelets_of_a_line_are_nought_away_from_its_ends() -> None:
    line = torch.arange(64.0, dtype=torch.float64).view(-1, 1, 1).expand(64, 8, 8)
    details = Wavelet((64, 8, 8)).forward(line.to(torch.complex128))[32:, :, :]
    assert details[:-2].abs().max() < 1e-10 < details[-1:].abs().max()


def test_the_adjoint_is_the_adjoint() -> None:
    maps = unit_maps(complex_noise(3, *SHAPE))
    sampled = pattern(3.0)
    encoding = Encoding(maps, sampled)
    image, samples = complex_noise(*SHAPE, seed=1), complex_noise(3, *SHAPE, seed=2)
    measured = samples * sampled
    forward = fft(maps * image, PHASE_ENCODES) * sampled
    left = (forward.conj() * measured).sum()
    right = (image.conj() * encoding.adjoint(measured)).sum()
    torch.testing.assert_close(left, right)
    torch.testing.assert_close(encoding.normal(image), encoding.adjoint(forward))


def test_sense_solves_the_normal_equation() -> None:
    shape = (1, 6, 5)
    maps = unit_maps(complex_noise(2, *shape))
    sampled = torch.rand(6, 5, generator=torch.Generator().manual_seed(1)) < 0.6
    measured = complex_noise(2, *shape, seed=3) * sampled
    encoding = Encoding(maps, sampled)
    basis = torch.eye(30, dtype=torch.complex128).reshape(30, *shape)
    matrix = torch.stack([encoding.normal(column).flatten() for column in basis], 1)
    matrix += 0.02 * torch.eye(30)
    expected = torch.linalg.solve(matrix, encoding.adjoint(measured).flatten())
    found = cg_sense(
        measured, maps, sampled=sampled, settings=SenseSettings(n_iterations=60, weight=0.02)
    )
    torch.testing.assert_close(found.flatten(), expected, atol=1e-9, rtol=1e-7)


def test_sensitivities_are_those_of_the_channels() -> None:
    images = channel_images(SHAPE, 6)
    kspace = sample(images, pattern(3.0))
    maps = espirit(kspace).maps
    torch.testing.assert_close(maps.abs().square().sum(0), torch.ones(SHAPE))
    power = images[:, 0].abs().square().sum(0)
    true = images[:, 0] / power.clamp_min(1e-20).sqrt()
    inside = power > 0.2 * power.max()
    alike = (true.conj() * maps).sum(0).abs()[inside]
    assert alike.min() > 0.999
    part = espirit(kspace, x=slice(4, 7)).maps
    torch.testing.assert_close(part, maps[:, 4:7], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        SensitivitySettings(kernel=4),
        SensitivitySettings(kernel=6, singular_share=0.01),
        SensitivitySettings(calibration=(12, 14)),
    ],
)
def test_other_settings_find_the_same_sensitivities_by_other_numbers(
    settings: SensitivitySettings,
) -> None:
    """Any kernel and part of the centre that hold smooth sensitivities find them."""
    images = channel_images(SHAPE, 6)
    kspace = sample(images, pattern(3.0))
    found, usual = (espirit(kspace, settings=s).maps for s in (settings, SensitivitySettings()))
    power = images[:, 0].abs().square().sum(0)
    true = images[:, 0] / power.clamp_min(1e-20).sqrt()
    alike = (true.conj() * found).sum(0).abs()[power > 0.2 * power.max()]
    assert alike.min() > 0.995
    assert not torch.equal(found, usual)


def test_samples_beyond_the_part_of_the_centre_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But for the image that the phase is that of, and the noise, which are held here."""
    kspace = sample(channel_images(SHAPE, 6), pattern(3.0), noise_sd=0.01)
    larger = SensitivitySettings(calibration=(400, 400))
    assert torch.equal(espirit(kspace, settings=larger).maps, espirit(kspace).maps)
    reference = low_resolution(kspace)
    monkeypatch.setattr(
        "accelqsm.recon.sensitivities.espirit.low_resolution", lambda *_, **__: reference
    )
    inside = torch.zeros(SHAPE[1:], dtype=torch.bool)
    inside[centred_slice(SHAPE[1], 10), centred_slice(SHAPE[2], 12)] = True
    samples = kspace.samples.copy()
    samples[..., ~inside[kspace.sampled].numpy()] *= 1.2
    changed = replace(kspace, samples=samples)
    part, known = SensitivitySettings(calibration=(10, 12)), 2 * 0.01**2
    same, other = (
        [espirit(k, settings=s, noise_power=known).maps for k in (kspace, changed)]
        for s in (part, SensitivitySettings())
    )
    assert torch.equal(*same)
    assert not torch.equal(*other)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_given_sensitivities_of_any_scale_get_the_phase_of_the_image(scale: float) -> None:
    kspace = sample(channel_images(SHAPE, 4), pattern(3.0), noise_sd=0.01)
    size = 10 ** torch.linspace(-6, 0, SHAPE[0]).view(-1, 1, 1)  # below a thousandth: nothing
    size[0] = 0
    given = scale * size * complex_noise(4, *SHAPE).to(torch.complex64)
    found = espirit(replace(kspace, sensitivities=given.numpy()))
    reference = low_resolution(kspace)
    norm = given.abs().square().sum(0).sqrt()
    known = norm > 1e-3 * norm.max()
    assert 0.3 < known.float().mean() < 0.7
    assert torch.equal(found.support, torch.where(known, 1.0, 0.1))
    torch.testing.assert_close(found.maps.abs().square().sum(0), torch.ones(SHAPE))
    along = (reference.conj() * found.maps).sum(0)
    torch.testing.assert_close(along.imag, torch.zeros(SHAPE), atol=1e-4, rtol=0)
    assert along.real.min() >= 0
    torch.testing.assert_close(found.maps.abs()[:, known], (given.abs() / norm)[:, known])
    alike = (given.conj() * found.maps).sum(0).abs() / norm
    torch.testing.assert_close(alike[known], torch.ones(int(known.sum())))
    # Where nothing is given, the channels are those of the image.
    of_image = reference / reference.abs().square().sum(0).sqrt()
    torch.testing.assert_close(found.maps[:, ~known], of_image[:, ~known], atol=1e-5, rtol=1e-4)


def alike(kspace: KSpace, true: Tensor, **options: object) -> float:
    """Root mean square of the sine of the angle between true and found sensitivities."""
    power = true.abs().square().sum(0)
    inside = power > 0.2 * power.max()
    found = espirit(kspace, **options).maps  # type: ignore[arg-type]
    along = (true.conj() * found).sum(0).abs()[inside] / power[inside].sqrt()
    return float((1 - along.clamp(max=1) ** 2).mean().sqrt())


def test_later_echoes_lower_the_noise() -> None:
    both = sample(channel_images(SHAPE, 6), pattern(3.0), noise_sd=0.2)
    first = replace(
        both,
        samples=np.ascontiguousarray(both.samples[:, :1]),
        acquisition=replace(both.acquisition, echo_times_s=both.acquisition.echo_times_s[:1]),
    )
    true = channel_images(SHAPE, 6)[:, 0]
    assert alike(both, true) < 0.85 * alike(first, true)


@pytest.mark.parametrize("size", [(6, 6), (8, 8), (16, 16)])
def test_echoes_of_one_object_are_no_reason_for_a_larger_kernel(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = channel_images(SHAPE, 6)[:, :1]
    errors = []
    for n in (2, 8):
        monkeypatch.setattr(recon_phantom, "ECHO_TIMES_S", tuple(0.004 * (e + 1) for e in range(n)))
        kspace = sample(images.expand(-1, n, *SHAPE), pattern(3.0, size), noise_sd=0.01)
        errors.append(alike(kspace, images[:, 0]))
    assert errors[1] < 1.05 * errors[0]


@pytest.mark.parametrize("centre_of_later", [None, (3, 3)])
def test_echoes_whose_centre_is_not_sampled_do_not_count(
    centre_of_later: tuple[int, int] | None,
) -> None:
    both = sample(channel_images(SHAPE, 6), torch.ones(SHAPE[1:], dtype=torch.bool), noise_sd=0.01)
    later = torch.rand(SHAPE[1:], generator=torch.Generator().manual_seed(2)) < 0.3
    later[centred_slice(SHAPE[1], 8), centred_slice(SHAPE[2], 8)] = False
    if centre_of_later:
        later[centred_slice(SHAPE[1], 3), centred_slice(SHAPE[2], 3)] = True
    first = pattern(3.0)
    count = min(int(first.sum()), int(later.sum()))
    first, later = (_trimmed(p, count) for p in (first, later))
    planes = both.planes().numpy()
    samples = np.stack([planes[:, e][..., p] for e, p in enumerate((first, later))], axis=1)
    own = replace(both, sampled=torch.stack([first, later]), samples=samples)
    alone = replace(
        both,
        sampled=first,
        samples=np.ascontiguousarray(samples[:, :1]),
        acquisition=replace(both.acquisition, echo_times_s=both.acquisition.echo_times_s[:1]),
    )
    power, settings = 2 * 0.01**2, SensitivitySettings(kernel=4)
    found, expected = (espirit(k, settings=settings, noise_power=power) for k in (own, alone))
    torch.testing.assert_close(found.maps, expected.maps)


def _trimmed(sampled: Tensor, count: int) -> Tensor:
    """As many samples, the outermost left out."""
    kept, order = torch.zeros_like(sampled), from_centre(sampled)[:count]
    y, z = sampled.nonzero()[order].T
    kept[y, z] = True
    return kept


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_a_calibration_apart_has_the_noise_of_its_own(scale: float) -> None:
    kspace = sample(channel_images(SHAPE, 6), pattern(3.0), noise_sd=0.03)
    centre = tuple(centred_slice(n, 16) for n in SHAPE[1:])
    own = np.ascontiguousarray(kspace.planes().numpy()[(..., *centre)])
    apart = replace(kspace, calibration=scale * own)
    same_in_tissue(espirit(apart), espirit(replace(apart, calibration=own)))
    assert noise_power_of(apart) == pytest.approx(2 * (0.03 * scale) ** 2, rel=0.5)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scale_and_gain_change_nothing(scale: float) -> None:
    kspace = sample(channel_images(SHAPE, 6), pattern(3.0), noise_sd=0.03)
    other = replace(kspace, samples=np.float32(scale) * kspace.samples)
    expected = espirit(kspace)
    for found in (espirit(other), espirit(other.balanced()), espirit(replace(kspace, gain=64.0))):
        same_in_tissue(found, expected)


def same_in_tissue(found: Sensitivities, expected: Sensitivities) -> None:
    """But for rounding; in air the largest eigenvalues of several are much alike."""
    power = channel_images(SHAPE, 6)[:, 0].abs().square().sum(0)
    tissue = power > 0.2 * power.max()
    torch.testing.assert_close(
        found.maps[:, tissue], expected.maps[:, tissue], atol=1e-3, rtol=1e-3
    )
    torch.testing.assert_close(found.support, expected.support, atol=0.05, rtol=0)


def test_samples_of_nought_tell_nothing_of_the_noise() -> None:
    """Corners that a scanner filled in."""
    everything = torch.ones(SHAPE[1:], dtype=torch.bool)
    kspace = sample(channel_images(SHAPE, 6), everything, noise_sd=0.03)
    samples = kspace.samples.copy()
    samples[..., from_centre(everything)[-400:].numpy()] = 0
    filled = replace(kspace, samples=samples)
    assert noise_power_of(filled) == pytest.approx(noise_power_of(kspace), rel=0.1)
    nothing = replace(kspace, samples=np.zeros_like(samples))
    assert noise_power_of(nothing) == 0


def test_no_threshold_is_as_good_at_every_noise_as_weights_by_it() -> None:
    true = channel_images(SHAPE, 6)[:, 0]
    settings = [SensitivitySettings()]
    settings += [SensitivitySettings(singular_share=s) for s in (0.002, 0.005, 0.01, 0.02, 0.05)]
    errors = []
    for noise_sd in (0.01, 0.03, 0.3):
        kspace = sample(channel_images(SHAPE, 6), pattern(3.0), noise_sd=noise_sd)
        errors.append([alike(kspace, true, settings=each) for each in settings])
    over_best = np.array(errors) / np.min(errors, axis=1, keepdims=True)
    assert over_best[:, 0].max() < 1.25
    assert over_best[:, 1:].max(0).min() > 1.4


def test_weights_follow_the_noise() -> None:
    """A value at the edge of noise has one half, whatever the number of windows."""
    for n_rows in (10, 1000):
        edge = 2.0 * (math.sqrt(n_rows) + 2) ** 2
        values = torch.tensor([0.0, edge, 3 * edge, 1e3 * edge], dtype=torch.float64)
        found = _weights(values, n_rows, 2.0, None)
        expected = torch.tensor([0, 0.5, 0.75, 1 / 1.001], dtype=torch.float64)
        torch.testing.assert_close(found, expected)
    given = _weights(torch.tensor([0.0, 3.9, 4.1, 100.0]), 10, 1e9, 0.2)
    assert given.tolist() == [0, 0, 1, 1]
    assert _weights(torch.zeros(3), 10, 0.0, None).tolist() == [0, 0, 0]
    least = LEAST_NOISE**2 * 50
    found = _weights(torch.tensor([least, 50.0]), 10, 0.0, None)
    torch.testing.assert_close(found, torch.tensor([0.5, 1.0]), atol=2e-4, rtol=0)


def test_a_plane_smaller_than_the_lags_of_the_kernel_is_refused() -> None:
    kspace = sample(channel_images((4, 12, 8), 2), torch.ones(12, 8, dtype=torch.bool))
    with pytest.raises(InputError, match=r"expected 9 positions or more .* found 12 x 8"):
        espirit(kspace)
    kspace = sample(channel_images((4, 12, 9), 2), torch.ones(12, 9, dtype=torch.bool))
    assert espirit(kspace).maps.shape == (2, 4, 12, 9)


def test_air_that_is_not_trusted_leaves_tissue_less_noise() -> None:
    """Every other line of an object in the middle: most of its voxels fold onto air."""
    images = torch.nn.functional.pad(channel_images(SHAPE, 6), (0, 0, 12, 12))
    sampled = regular((72, 40), acceleration=(2, 1), calibration=(16, 16))
    kspace = sample(images, sampled, noise_sd=0.05)
    found, power = espirit(kspace), images[:, 0].abs().square().sum(0)
    tissue, air = power > 0.1 * power.max(), power < 1e-3 * power.max()
    air &= tissue.flatten(1).any(1)[:, None, None]  # planes of noise alone say nothing
    assert found.support[tissue].min() > 0.9
    assert found.support[air].median() < 0.2
    torch.testing.assert_close(espirit(kspace).maps, found.maps)
    measured, true = kspace.planes(echoes=slice(0, 1))[:, 0], images[:, 0, tissue]
    errors = [
        nrmse((maps * cg_sense(measured, maps, sampled=sampled))[:, tissue], true)
        for maps in (found.supported, found.maps)
    ]
    assert errors[0] < 0.05
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize(
    ("method", "largest"), [("cg-sense", 0.45), ("l1-wavelet", 0.25), ("l1-echoes", 0.25)]
)
def test_methods_bring_missing_samples_back(method: str, largest: float) -> None:
    images = channel_images(SHAPE, 6)
    sampled = pattern(3.0)
    kspace = sample(images, sampled)
    found = torch.zeros_like(images)
    for block in reconstruct(kspace, method):
        found[:, :, block.x] = espirit(kspace, x=block.x).maps[:, None] * block.images
    zero_filled = torch.cat([b.images for b in reconstruct(sample(images, sampled), "zero-filled")])
    assert nrmse(found, images) < largest * nrmse(zero_filled, images)
    phase = (found * images.conj()).sum(0).angle()
    assert (phase[0] - phase[1]).abs()[3:9, 16:32, 14:26].max() < 0.05


def test_wavelets_lower_what_they_minimise() -> None:
    """1/2 sum_c ||M F C_c x - y_c||^2 + lambda ||details of x||_1, the more the longer."""
    sampled = pattern(4.0)
    kspace = sample(channel_images(SHAPE, 6), sampled, noise_sd=0.05)
    maps, measured = espirit(kspace).maps, kspace.planes(echoes=slice(0, 1))[:, 0]
    wanted = Encoding(maps, sampled).adjoint(measured)

    def objective(image: Tensor, share: float) -> float:
        misfit = (fft(maps * image, PHASE_ENCODES) - measured)[..., sampled]
        details = Wavelet(SHAPE).forward(image).abs()
        x, y, z = (n // 8 for n in details.shape)
        details[:x, :y, :z] = 0
        weight = share * float(wanted.abs().max())
        return float(misfit.abs().square().sum() / 2 + weight * details.sum())

    def at(n_iterations: int, share: float) -> float:
        settings = WaveletSettings(n_iterations=n_iterations, regularisation=share)
        return objective(l1_wavelet(measured, maps, sampled=sampled, settings=settings), share)

    for share in (0.004, 0.03):
        assert objective(wanted, share) > at(2, share) > at(8, share) > at(40, share)


def test_wavelets_take_noise_that_least_squares_leave() -> None:
    images = channel_images(SHAPE, 6)
    sampled = pattern(4.0)
    kspace = sample(images, sampled, noise_sd=0.05)
    maps = espirit(kspace).maps
    measured = kspace.planes(echoes=slice(0, 1))[:, 0]
    errors = [
        nrmse(maps * image, images[:, 0])
        for image in (
            cg_sense(measured, maps, sampled=sampled),
            l1_wavelet(
                measured, maps, sampled=sampled, settings=WaveletSettings(regularisation=0.01)
            ),
        )
    ]
    assert errors[1] < 0.9 * errors[0]


def test_too_small_a_centre_is_refused() -> None:
    kspace = sample(channel_images(SHAPE, 2), pattern(3.0, (4, 4)))
    with pytest.raises(InputError, match="calibration: expected 5 x 5 samples or more"):
        espirit(kspace)


def test_filters_are_orthonormal() -> None:
    assert np.dot(LOW, LOW) == pytest.approx(1)
    assert np.dot(LOW, HIGH) == pytest.approx(0, abs=1e-15)
    assert np.dot(LOW[2:], LOW[:2]) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(("strongest", "place"), [(0, 0), (1, 1), (7, 2), (13, 3), (14, 4)])
def test_sensitivities_are_judged_where_the_signal_is(strongest: int, place: int) -> None:
    """As many readout positions at the ends of the object as in its middle."""
    images = torch.full((2, 2, 15, 6, 6), 0.1, dtype=torch.complex64)
    images[:, 0, strongest] = 1
    images[:, 1, 14 - strongest] = 5  # later echoes do not count
    scan = sample(images, torch.ones(6, 6, dtype=torch.bool))
    few = _some_readouts(scan)
    n = few.acquisition.grid.shape[0]
    assert n == READOUTS == few.samples.shape[2]
    energy = (np.abs(few.samples[:, 0].astype(np.complex128)) ** 2).sum((0, 2))
    assert energy.argmax() == place
    offset = few.acquisition.grid.matrix[:3, 3] - scan.acquisition.grid.matrix[:3, 3]
    assert offset[0] / 2.0 == pytest.approx(strongest - place)
    assert few.acquisition.echo_times_s == scan.acquisition.echo_times_s
    assert few.samples.shape[1] == 2
