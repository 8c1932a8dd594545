"""Training pairs: what is drawn, what is kept, and that it can be replayed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, fft
from accelqsm.training import data
from accelqsm.training.data import Pair, training_pairs, validation_pairs
from accelqsm.training.processes import in_processes
from accelqsm.training.settings import TrainingSettings
from accelqsm.training.volumes import digital
from accelqsm.training.volumes.digital import cached_volumes, simulate_volumes
from accelqsm.training.volumes.volumes import Kind, Volumes
from training_phantom import blob_volumes

pytestmark = pytest.mark.usefixtures("small_calibration")


def training_pair(heads: list[Volumes], *, step: int, **known: Any) -> Pair:
    """The pair of a step, with some settings."""
    (pair,) = training_pairs(heads, step=step, settings=TrainingSettings(**known))
    return pair


def test_pairs_are_replayed_from_seed_and_step() -> None:
    heads = [blob_volumes()]
    first, again, next_one = (
        training_pair(heads, readouts=5, seed=1, step=step) for step in (7, 7, 8)
    )
    assert torch.equal(first.measured, again.measured)
    assert torch.equal(first.sampled, again.sampled)
    assert not torch.equal(first.measured, next_one.measured)


@pytest.mark.parametrize("n_channels", [0, 3])
def test_slabs_of_one_readout_position_are_turned_as_any_other(n_channels: int) -> None:
    heads = [blob_volumes(2, 0, n_channels=n_channels)]
    for step in range(12):
        assert training_pair(heads, readouts=1, step=step).truth.shape[1] == 1


def test_measured_is_the_truth_where_sampled_plus_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MOTION_FRACTION", 0.0)
    pair = training_pair([blob_volumes()], step=3, readouts=16, noise=(0.01, 0.01))
    assert not pair.measured[..., ~pair.sampled].any()
    noise = (pair.measured - fft(pair.truth, PHASE_ENCODES))[..., pair.sampled]
    torch.testing.assert_close(pair.truth.abs().mean((1, 2, 3)), torch.ones(2))
    # The volumes' 99.9 percentile is 1 before they are scaled to a mean magnitude of 1.
    for item, truth in zip(noise, pair.truth, strict=True):
        expected = 0.01 * np.quantile(truth.abs().numpy(), 0.999)
        assert float(item.real.std()) == pytest.approx(expected, rel=0.05)
        assert float(item.imag.std()) == pytest.approx(expected, rel=0.05)


def test_all_channels_measure_the_truth_through_their_maps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(data, "MOTION_FRACTION", 0.0)
    pair = training_pair([blob_volumes(n_channels=3)], step=1, readouts=8, noise=(1e-9, 1e-9))
    assert pair.maps is not None
    assert pair.measured.shape == (3, 2, 8, 36, 30)
    expected = fft(pair.maps * pair.truth, PHASE_ENCODES) * pair.sampled
    assert (pair.measured - expected).abs().max() < 1e-4
    one = pair.items(slice(1, 2))
    assert one.maps is not None
    assert torch.equal(one.measured, pair.measured[:, 1:])
    assert torch.equal(one.maps, pair.maps[:, 1:])


def test_moved_samples_keep_their_size_and_the_centre(monkeypatch: pytest.MonkeyPatch) -> None:
    """A translation multiplies samples by phases; the centre was measured before it."""
    monkeypatch.setattr(data, "MOTION_FRACTION", 1.0)
    pair = training_pair([blob_volumes()], step=1, readouts=8, noise=(1e-9, 1e-9))
    expected = fft(pair.truth, PHASE_ENCODES) * pair.sampled
    assert (pair.measured.abs() - expected.abs()).abs().max() < 1e-4
    assert (pair.measured - expected).abs().max() > 1e-2
    box = (slice(18 - 3, 18 + 3), slice(15 - 3, 15 + 3))
    assert (pair.measured - expected)[(..., *box)].abs().max() < 1e-4


def test_acceleration_four_is_never_trained() -> None:
    heads = [blob_volumes()]
    counts = {
        int(training_pair(heads, readouts=2, seed=0, step=step).sampled.sum()) for step in range(25)
    }
    assert counts == {round(36 * 30 / 3), round(36 * 30 / 5)}


def test_some_patterns_leave_the_corners_out_and_some_do_not() -> None:
    heads = [blob_volumes()]
    y, z = np.ogrid[-1:1:36j, -1:1:30j]
    corners = torch.from_numpy(y**2 + z**2 > 1.3)
    empty = [
        not training_pair(heads, readouts=1, seed=0, step=step).sampled[corners].any()
        for step in range(40)
    ]
    assert 10 <= sum(empty) <= 30


def test_augmentation_keeps_magnitudes() -> None:
    """Flips, conjugation and phases permute the magnitudes of a slab, up to its scale."""
    heads = [blob_volumes(1)]
    original = np.sort(np.abs(heads[0].images[0]), axis=None)
    for step in range(5):
        truth = training_pair(heads, readouts=16, seed=0, step=step).truth[0].abs().numpy()
        np.testing.assert_allclose(
            np.sort(truth, axis=None), original / original.mean(), rtol=1e-4, atol=1e-5
        )


def test_validation_pairs_are_the_same_at_each_call_and_use_every_volume() -> None:
    heads = [blob_volumes(4), blob_volumes(4, seed=1)]

    def draw() -> list[data.Pair]:
        return list(validation_pairs(heads, readouts=4, acceleration=4, pairs_per_head=2))

    first, second = draw(), draw()
    assert len(first) == 4
    assert all(torch.equal(a.measured, b.measured) for a, b in zip(first, second, strict=True))
    times = sorted(t for pair in first[:2] for t in pair.echo_times_s)
    assert times == pytest.approx([0.01, 0.02, 0.03, 0.04])


@pytest.mark.slow
def test_simulated_volumes_are_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digital, "GRIDS", (((20, 26, 16), (8.0, 8.0, 9.0)),))
    drawn = simulate_volumes(seed=31, n_volumes=2)
    assert drawn.images.shape == (2, 20, 26, 16)
    np.testing.assert_allclose(
        np.quantile(np.abs(drawn.images), 0.999, axis=(1, 2, 3)), 1, rtol=1e-4
    )
    assert all(0.003 <= c.echo_time_s <= 0.035 for c in drawn.contrasts)
    (cached,) = cached_volumes(tmp_path, range(31, 32), Kind(2))
    np.testing.assert_array_equal(np.asarray(cached.images), drawn.images)
    assert cached.contrasts == drawn.contrasts

    def never(**_: object) -> Volumes:
        raise AssertionError("simulated twice")

    monkeypatch.setattr(digital, "simulate_volumes", never)
    (again,) = cached_volumes(tmp_path, range(31, 32), Kind(2))
    np.testing.assert_array_equal(np.asarray(again.images), drawn.images)
    with pytest.raises(InputError, match="expected 3 volumes"):
        cached_volumes(tmp_path, range(31, 32), Kind(3))


@pytest.mark.slow
def test_heads_are_simulated_at_once_and_in_order() -> None:
    assert list(in_processes(partial(pow, 2), [1, 2, 3], each_bytes=10**8)) == [2, 4, 8]
