"""The scanner: Ernst's signal, phase that evolves with the field, exact sampling, known noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, centred_slice, cropped_spectrum, fft, ifft
from accelqsm.grid import Grid, centred_grid
from accelqsm.kspace import KSpace
from accelqsm.simulate.heads.head import Head
from accelqsm.simulate.scanner import (
    acquire,
    field_map,
    scan,
    spoiled_gradient_echo,
    transverse_signal,
)

GRID = centred_grid((12, 16, 10), (12.0, 12.0, 14.0), centre_mm=(0.0, -17.0, 4.0))
FACTORS = (2, 2, 2)
NOISELESS = 1e9


def acquisition(grid: Grid = GRID, echo_times_s: tuple[float, ...] = (0.004, 0.01)) -> Acquisition:
    return Acquisition(grid, echo_times_s, 3.0, repetition_time_s=0.03, flip_angle_deg=15.0)


def ball(grid: Grid, *, chi_ppm: float = 0.0, r2star_per_s: float = 0.0) -> Head:
    """White matter in a ball, all of it brain."""
    x, y, z = torch.from_numpy(grid.world_mm())
    distance = (x**2 + (y + 17) ** 2 + (z - 4) ** 2).sqrt()
    brain = distance < 55
    ones = torch.ones(grid.shape)
    labels = torch.zeros(grid.shape, dtype=torch.int16)
    chi = chi_ppm * torch.exp(-((distance / 30) ** 2))
    return Head(grid, chi, r2star_per_s * ones, 0.85 * ones, 0.7 * brain, labels, brain)


def full() -> dict[str, torch.Tensor]:
    return {"full": torch.ones(GRID.shape[1:], dtype=torch.bool)}


def complex_noise(one: KSpace, other: KSpace) -> np.ndarray:
    """Difference of two scans of one head, over sqrt 2: (channel, sample)."""
    difference = (one.samples - other.samples) / math.sqrt(2)
    return difference.reshape(one.n_channels, -1)


def test_signal_is_largest_at_the_ernst_angle() -> None:
    t1_s = torch.tensor([0.85, 1.35, 4.0], dtype=torch.float64)
    recovery = torch.exp(-0.0302 / t1_s)
    for index, angle in enumerate(torch.rad2deg(torch.acos(recovery)).tolist()):
        at = [
            spoiled_gradient_echo(torch.ones(3), t1_s, repetition_time_s=0.0302, flip_angle_deg=a)[
                index
            ]
            for a in (angle - 1, angle, angle + 1)
        ]
        assert at[1] > max(at[0], at[2])
        expected = math.sqrt((1 - recovery[index]) / (1 + recovery[index]))
        assert at[1] == pytest.approx(expected, rel=1e-6)


def test_signal_with_full_recovery() -> None:
    signal = spoiled_gradient_echo(
        torch.tensor([2.0]), torch.tensor([0.5]), repetition_time_s=50.0, flip_angle_deg=30.0
    )
    assert signal.item() == pytest.approx(1.0)


def test_signal_refuses_an_unknown_repetition_time() -> None:
    with pytest.raises(InputError, match="repetition time"):
        spoiled_gradient_echo(
            torch.ones(1), torch.ones(1), repetition_time_s=0.0, flip_angle_deg=15.0
        )


@pytest.mark.parametrize("wave", [(0, 0, 0), (2, -3, 1), (-5, 4, -4)])
def test_plane_wave_is_acquired_exactly(wave: tuple[int, int, int]) -> None:
    fine, coarse = (24, 16, 20), (12, 16, 10)

    def plane_wave(shape: tuple[int, int, int]) -> torch.Tensor:
        turns = [
            w * (torch.arange(n, dtype=torch.float64) - n // 2) / n
            for w, n in zip(wave, shape, strict=True)
        ]
        x, y, z = torch.meshgrid(*turns, indexing="ij")
        return torch.exp(2j * torch.pi * (x + y + z))

    image = ifft(acquire(plane_wave(fine), coarse), PHASE_ENCODES)
    torch.testing.assert_close(image, plane_wave(coarse), atol=1e-9, rtol=0)


def test_wave_beyond_the_acquired_k_space_is_not_seen() -> None:
    line = torch.exp(2j * torch.pi * 9 * torch.arange(24, dtype=torch.float64) / 24)
    assert acquire(line[:, None, None].expand(24, 4, 4), (12, 4, 4)).abs().max() < 1e-9


@pytest.mark.parametrize(("full", "size"), [(24, 12), (24, 7), (21, 10), (21, 21), (9, 3), (1, 1)])
@pytest.mark.parametrize("axis", [-1, -2])
def test_a_cropped_spectrum_is_the_middle_of_the_centred_one(
    full: int, size: int, axis: int
) -> None:
    shape = (3, full, 4) if axis == -2 else (3, 4, full)
    image = torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    cut = centred_slice(full, size)
    expected = fft(image, (axis,)).narrow(axis, cut.start, size)
    torch.testing.assert_close(cropped_spectrum(image, axis, size), expected)


def test_phase_evolves_with_the_field() -> None:
    head = ball(GRID.refined(FACTORS), chi_ppm=0.4)
    first, second = transverse_signal(head, acquisition(), seed=1)
    field_hz = field_map(head, field_strength_t=3.0, seed=1)
    expected = 2 * torch.pi * field_hz * (0.010 - 0.004)
    rotation = second * first.conj() * torch.exp(-1j * expected)
    assert rotation.angle()[head.brain].abs().max() < 1e-4


def test_signal_decays_with_r2star() -> None:
    head = ball(GRID.refined(FACTORS), r2star_per_s=40.0)
    flat = Head(**{**head.__dict__, "chi_ppm": torch.zeros(head.grid.shape)})
    first, second = transverse_signal(flat, acquisition(), seed=1).abs()
    ratio = (second / first)[head.brain]
    assert ratio.max() <= math.exp(-0.006 * 40.0) + 1e-4
    assert ratio.median() == pytest.approx(math.exp(-0.006 * 40.0), rel=0.05)


def test_dephasing_within_a_voxel_is_that_of_finer_voxels() -> None:
    coarse_grid = centred_grid((20, 20, 20), (6.0, 6.0, 6.0), centre_mm=(0.0, -17.0, 4.0))
    late = acquisition(coarse_grid, (0.02,))
    coarse = ball(coarse_grid, chi_ppm=4.0)
    fine = ball(coarse_grid.refined((5, 5, 5)), chi_ppm=4.0)
    ours = transverse_signal(coarse, late, seed=1)[0].abs()
    finer = transverse_signal(fine, late, seed=1)[0]
    # A coarse voxel's centre is every fifth fine voxel, and belongs in the middle of five.
    centred = finer.roll((2, 2, 2), (0, 1, 2))
    pool = torch.nn.functional.avg_pool3d
    parts = [pool(part[None, None], 5)[0, 0] for part in (centred.real, centred.imag)]
    mean = torch.complex(*parts).abs()
    inner = (coarse.grid.world_mm() - np.array([0, -17, 4])[:, None, None, None]) ** 2
    inside = torch.from_numpy(inner.sum(0) < 42**2)
    steady = ours[inside].max()
    assert (mean[inside] / steady).min() < 0.9
    assert (ours - mean)[inside].abs().max() < 0.06 * steady


def test_scan_without_noise_is_the_received_image() -> None:
    head = ball(GRID.refined(FACTORS), r2star_per_s=20.0)
    measured = scan(head, acquisition(), full(), n_channels=4, snr=NOISELESS, seed=3)["full"]
    image = ifft(measured.planes(), PHASE_ENCODES)
    combined = image.abs().square().sum(0).sqrt()
    assert image.shape == (4, 2, *GRID.shape)
    inside = ball(GRID).brain & (ball(GRID).brain.roll(1, 0) & ball(GRID).brain.roll(-1, 0))
    steady = 0.7 * float(
        spoiled_gradient_echo(
            torch.ones(1), torch.tensor([0.85]), repetition_time_s=0.03, flip_angle_deg=15.0
        )
    )
    assert combined[0][inside].mean() == pytest.approx(steady * math.exp(-0.004 * 20), rel=0.15)
    ratio = (combined[1] / combined[0])[inside].median()
    assert ratio == pytest.approx(math.exp(-0.006 * 20), rel=0.02)


def test_pattern_keeps_the_samples_of_the_full_scan() -> None:
    head = ball(GRID.refined(FACTORS), chi_ppm=0.2)
    half = torch.zeros(GRID.shape[1:], dtype=torch.bool)
    half[::2, 1:] = True
    scans = scan(head, acquisition(), {"half": half, **full()}, n_channels=2, snr=NOISELESS, seed=3)
    everything = scans["full"].planes()
    torch.testing.assert_close(
        scans["half"].planes(), everything * half, atol=1e-5 * float(everything.abs().max()), rtol=0
    )


def test_noise_has_the_asked_strength_and_covariance() -> None:
    snr = 50.0
    head = ball(GRID.refined(FACTORS))
    twice = {"one": full()["full"], "two": full()["full"]}
    noisy = scan(head, acquisition(), twice, n_channels=4, snr=snr, seed=3)
    clean = scan(head, acquisition(), full(), n_channels=4, snr=NOISELESS, seed=3)["full"]
    noise = complex_noise(noisy["one"], noisy["two"])
    covariance = noise @ noise.conj().T / noise.shape[1]
    apart = noisy["one"].noise_samples
    assert apart is not None
    assert apart.shape[1] >= 4096
    expected = apart @ apart.conj().T / apart.shape[1]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(covariance, expected, atol=0.06 * scale)
    assert np.abs((noise @ noise.T) / noise.shape[1]).max() < 0.06 * scale
    off_diagonal = np.abs(expected - np.diag(np.diag(expected))).max(1)
    assert (off_diagonal > 0.05 * scale).all()

    image = ifft(clean.planes(), PHASE_ENCODES)[:, 0]
    inside = ball(GRID).brain
    received = image[:, inside].numpy()
    combined = np.einsum("cv,cd,dv->v", received.conj(), np.linalg.inv(expected), received).real
    # Per real component the noise is smaller by sqrt 2 than that of the complex value.
    assert np.sqrt(2 * combined).mean() == pytest.approx(snr, rel=0.15)


def test_noise_of_two_scans_is_independent_and_repeatable() -> None:
    head = ball(GRID.refined(FACTORS))
    twice = {"one": full()["full"], "two": full()["full"]}
    first = scan(head, acquisition(), twice, n_channels=2, snr=20.0, seed=3)
    again = scan(head, acquisition(), twice, n_channels=2, snr=20.0, seed=3)
    assert first["one"].samples.tobytes() == again["one"].samples.tobytes()
    clean = scan(head, acquisition(), full(), n_channels=2, snr=NOISELESS, seed=3)["full"]
    noises = [(first[name].samples - clean.samples).ravel() for name in ("one", "two")]
    overlap = np.abs(np.vdot(*noises)) / np.prod([np.linalg.norm(n) for n in noises])
    assert overlap < 0.05


def test_scan_refuses_what_does_not_fit() -> None:
    head = ball(GRID.refined(FACTORS))
    with pytest.raises(InputError, match="snr"):
        scan(head, acquisition(), full(), n_channels=2, snr=0.0, seed=1)
    with pytest.raises(InputError, match="pattern full"):
        scan(head, acquisition(), {"full": torch.ones(3, 3) > 0}, n_channels=2, snr=9, seed=1)
    shifted = ball(centred_grid(head.grid.shape, head.grid.voxel_size_mm))
    with pytest.raises(InputError, match="head grid"):
        scan(shifted, acquisition(), full(), n_channels=2, snr=9, seed=1)


def test_each_echo_is_scanned_with_its_own_pattern() -> None:
    """Samples are those of a scan with the echo's pattern; the same patterns change nothing."""
    head, of_scan = ball(GRID.refined(FACTORS)), acquisition()
    first = torch.rand(GRID.shape[1:], generator=torch.Generator().manual_seed(0)) < 0.5
    second = first.roll(1, 0)

    def scanned(pattern: torch.Tensor, snr: float = NOISELESS) -> KSpace:
        return scan(head, of_scan, {"a": pattern}, n_channels=2, snr=snr, seed=1)["a"]

    apart = scanned(torch.stack([first, second]))
    largest = float(np.abs(apart.samples).max())
    for echo, pattern in enumerate((first, second)):
        expected = scanned(pattern).samples[:, echo]
        np.testing.assert_allclose(apart.samples[:, echo], expected, atol=1e-6 * largest)
    assert np.abs(apart.samples[:, 1] - scanned(first).samples[:, 1]).max() > 0.1 * largest
    same = scanned(first.expand(2, -1, -1), snr=30.0)
    np.testing.assert_array_equal(same.samples, scanned(first, snr=30.0).samples)
    with pytest.raises(InputError, match="pattern a: expected as many samples in every echo"):
        scanned(torch.stack([first, ~first]))


def test_scans_that_are_drawn_from_a_session_have_its_samples_noise_and_all() -> None:
    head, of_scan = ball(GRID.refined(FACTORS)), acquisition()
    generator = torch.Generator().manual_seed(0)
    own, one, two = (torch.rand(GRID.shape[1:], generator=generator) < p for p in (0.5, 0.6, 0.7))
    patterns = {"session": own, "one": one, "two": two}

    def scanned(sessions: dict[str, str]) -> dict[str, KSpace]:
        return scan(
            head, of_scan, patterns, n_channels=2, snr=20.0, seed=1, sessions=sessions
        )  # fmt: skip

    drawn, apart = scanned({"one": "session", "two": "session"}), scanned({})
    np.testing.assert_array_equal(drawn["session"].samples, apart["session"].samples)
    planes = {name: kspace.planes() for name, kspace in drawn.items()}
    for first, second in (("session", "one"), ("session", "two"), ("one", "two")):
        shared = patterns[first] & patterns[second]
        torch.testing.assert_close(
            planes[first][..., shared], planes[second][..., shared], rtol=0, atol=0
        )
    shared = own & one
    assert (apart["one"].planes() - planes["one"])[..., shared].abs().min() > 0
    # Beyond the session's own samples the noise is as strong, and not that within.
    clean = scan(head, of_scan, patterns, n_channels=2, snr=NOISELESS, seed=1)["one"].planes()
    noise = planes["one"] - clean
    within, beyond = (noise[..., one & part].abs().square().mean() for part in (own, ~own))
    assert float(beyond / within) == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(drawn["one"].noise_samples, drawn["session"].noise_samples)
