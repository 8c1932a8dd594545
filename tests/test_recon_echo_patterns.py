"""Sampling patterns that differ from echo to echo: record, files, simulation, reconstruction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.files.mrd.lines import read_sampling
from accelqsm.files.mrd.reader import read_mrd
from accelqsm.files.mrd.writer import write_mrd
from accelqsm.fourier import PHASE_ENCODES, fft
from accelqsm.kspace import KSpace, sample_index
from accelqsm.recon.channels import calibration_samples, low_resolution
from accelqsm.recon.method_settings import SensitivitySettings
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.sensitivities.estimate import estimate_in_slabs
from accelqsm.recon.trust import trust_in
from accelqsm.virtual.protocols import PRESETS, PROTOCOLS
from accelqsm.virtual.sampling import sampling_pattern
from recon_phantom import channel_images, sample

SHAPE = (8, 24, 20)
FIRST, SECOND = (
    poisson_disk(SHAPE[1:], acceleration=2, calibration=(10, 10), seed=seed) for seed in (1, 2)
)
PATTERNS = torch.stack([FIRST, SECOND])


def of_each_echo(images: Tensor, patterns: Tensor) -> KSpace:
    """Noiseless samples of each echo with its own pattern."""
    apart = [sample(images, pattern).samples[:, [e]] for e, pattern in enumerate(patterns)]
    acquisition = sample(images, patterns[0]).acquisition
    return KSpace(acquisition, patterns, np.concatenate(apart, axis=1))


def test_planes_hold_each_echo_where_it_was_measured() -> None:
    images = channel_images(SHAPE, 3)
    kspace = of_each_echo(images, PATTERNS)
    expected = fft(images, PHASE_ENCODES) * PATTERNS[:, None]
    torch.testing.assert_close(kspace.planes(), expected)
    torch.testing.assert_close(kspace.planes(echoes=slice(1, 2)), expected[:, 1:])
    assert kspace.acceleration == pytest.approx(2.0)
    assert not kspace.shared_pattern
    assert torch.equal(kspace.pattern(1), SECOND)


def test_samples_are_counted_echo_by_echo() -> None:
    index = sample_index(PATTERNS)
    for pattern, each in zip(PATTERNS, index, strict=True):
        assert torch.equal(each[pattern], torch.arange(int(pattern.sum())))
        assert (each[~pattern] == -1).all()


def test_the_centre_of_an_echo_is_that_of_its_pattern() -> None:
    images = channel_images(SHAPE, 3)
    both = of_each_echo(images, PATTERNS)
    for echo, pattern in enumerate(PATTERNS):
        alone = sample(images, pattern)
        torch.testing.assert_close(
            calibration_samples(both, echo=echo), calibration_samples(alone, echo=echo)
        )
        torch.testing.assert_close(
            low_resolution(both, echo=echo), low_resolution(alone, echo=echo)
        )


@pytest.mark.parametrize("method", ["zero-filled", "cg-sense", "l1-wavelet", "l1-echoes"])
def test_the_same_pattern_for_each_echo_gives_the_images_of_one_for_all(method: str) -> None:
    kspace = sample(channel_images(SHAPE, 3), FIRST, noise_sd=0.01)
    apart = replace(kspace, sampled=FIRST.expand(2, -1, -1))
    for one, other in zip(reconstruct(kspace, method), reconstruct(apart, method), strict=True):
        assert torch.equal(one.images, other.images)


@pytest.mark.parametrize("method", ["cg-sense", "l1-wavelet", "reconnet3d"])
def test_methods_of_single_echoes_use_the_pattern_of_each(method: str) -> None:
    """The second echo is that of a scan in which both have its pattern, with the same maps."""
    images = channel_images(SHAPE, 4)
    maps = estimate_in_slabs(sample(images, FIRST)).maps.numpy()
    both, second = (
        torch.cat([b.images for b in reconstruct(replace(k, sensitivities=maps), method)], dim=2)
        for k in (of_each_echo(images, PATTERNS), sample(images, SECOND))
    )
    torch.testing.assert_close(both[:, 1], second[:, 1], atol=2e-3, rtol=0)
    first = torch.cat(
        [b.images for b in reconstruct(replace(sample(images, FIRST), sensitivities=maps), method)],
        dim=2,
    )
    assert (both[:, 1] - first[:, 1]).abs().max() > 0.02


def test_echoes_together_gain_from_patterns_that_differ() -> None:
    images = channel_images((8, 40, 32), 4)
    patterns = [
        poisson_disk((40, 32), acceleration=5, calibration=(10, 10), seed=seed) for seed in (1, 2)
    ]

    def error(kspace: KSpace) -> float:
        found = next(iter(reconstruct(kspace, "l1-echoes"))).images[0]
        maps = estimate_in_slabs(kspace).maps
        return float((maps[:, None] * found - images).norm() / images.norm())

    same = error(sample(images, patterns[0]))
    differ = error(of_each_echo(images, torch.stack(patterns)))
    assert differ < 0.95 * same


def test_sensitivities_are_tried_on_the_first_echo() -> None:
    images = channel_images(SHAPE, 4)
    settings = SensitivitySettings()
    alone = trust_in(sample(images, FIRST), settings)
    assert alone is not None
    assert trust_in(of_each_echo(images, PATTERNS), settings) == alone


def test_grappa_needs_one_pattern_and_says_so() -> None:
    kspace = of_each_echo(channel_images(SHAPE, 2), PATTERNS)
    with pytest.raises(
        InputError,
        match=r"k-space: expected one sampling pattern for all echoes with method grappa, "
        r"found one for each; use zero-filled, cg-sense, .*, dcrnet or echo-joint$",
    ):
        reconstruct(kspace, "grappa")


def test_patterns_of_other_counts_are_refused() -> None:
    kspace = sample(channel_images(SHAPE, 2), FIRST)
    fewer = FIRST.clone()
    fewer[0] = False
    with pytest.raises(InputError, match=r"pattern: expected as many samples in every echo, found"):
        replace(kspace, sampled=torch.stack([FIRST, fewer]))
    with pytest.raises(InputError, match=r"expected bool \(24, 20\) or \(2, 24, 20\), found"):
        replace(kspace, sampled=torch.stack([FIRST, FIRST, FIRST]))


def test_a_file_keeps_the_pattern_of_each_echo(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    written = of_each_echo(channel_images(SHAPE, 3), PATTERNS)
    write_mrd(path, written)
    read = read_mrd(path)
    assert torch.equal(read.sampled, PATTERNS)
    assert np.array_equal(read_sampling(path), PATTERNS.numpy())
    np.testing.assert_allclose(read.samples, written.samples, atol=1e-5)


def test_a_line_that_is_misplaced_is_no_pattern_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    write_mrd(path, sample(channel_images(SHAPE, 3), FIRST))
    ky, kz = (~FIRST).nonzero()[0].tolist()
    with h5py.File(path, "r+") as file:
        lines = file["dataset/data"][:]
        index = lines["head"]["idx"]
        line = np.flatnonzero(index["contrast"] == 1)[0]
        index["kspace_encode_step_1"][line], index["kspace_encode_step_2"][line] = ky, kz
        file["dataset/data"][:] = lines
    with pytest.raises(InputError, match="echo 2 differs from echo 1 at 2 "):
        read_mrd(path)


def test_each_echo_draws_a_pattern_of_exactly_the_acceleration() -> None:
    preset, protocol = PRESETS["demo"], PROTOCOLS["af5"]
    patterns = sampling_pattern(protocol, preset, seed=3, of_each_echo=True)
    _, n_y, n_z = preset.shape
    assert patterns.shape == (len(preset.echo_times_s), n_y, n_z)
    assert patterns.sum((1, 2)).tolist() == [round(n_y * n_z / 5)] * len(patterns)
    assert (patterns != patterns[0]).sum((1, 2))[1:].min() > 1000
    assert torch.equal(patterns, sampling_pattern(protocol, preset, seed=3, of_each_echo=True))
