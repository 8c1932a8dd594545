"""The loss against closed forms."""

from __future__ import annotations

import pytest
import torch

from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.training import loss as module
from accelqsm.training.data import training_pairs
from accelqsm.training.loss import FAINT_SIGNAL, loss, relevance
from accelqsm.training.settings import TrainingSettings
from training_phantom import blob_volumes

pytestmark = pytest.mark.usefixtures("small_calibration")


def test_faint_tissue_weighs_as_much_as_a_bright_scalp() -> None:
    """m / (m^2 + c^2): ten times fainter, about ten times heavier; nothing weighs nothing."""
    truth = torch.zeros(1, 9, 60, 20, dtype=torch.complex64)
    truth[:, :, 20:40], truth[:, :, 40:] = 1.0, 10.0
    weight = relevance(truth)
    assert float(weight.mean()) == pytest.approx(1.0, rel=1e-5)
    expected = (1 / (1 + FAINT_SIGNAL**2)) / (10 / (100 + FAINT_SIGNAL**2))
    assert float(weight[0, 4, 30, 10] / weight[0, 4, 50, 10]) == pytest.approx(expected, rel=1e-3)
    assert weight[0, 4, 10, 10] == 0


def test_loss_vanishes_for_the_truth_alone() -> None:
    (pair,) = training_pairs([blob_volumes()], step=0, settings=TrainingSettings(readouts=4))
    assert float(loss(pair.truth, pair)) == 0
    assert float(loss(pair.truth * 1j, pair)) > 0.1


@pytest.mark.parametrize("readouts", [1, 2])
def test_slabs_thinner_than_the_neighbourhood_have_a_loss(readouts: int) -> None:
    chosen = TrainingSettings(readouts=readouts)
    (pair,) = training_pairs([blob_volumes()], step=0, settings=chosen)
    assert pair.truth.shape[1] == readouts
    assert float(loss(pair.truth, pair)) == 0
    torch.testing.assert_close(relevance(pair.truth).mean(dim=(1, 2, 3)), torch.ones(2))
    assert float(loss(pair.truth * 1j, pair)) > 0.1


@pytest.mark.parametrize("measured", [True, False])
def test_unmeasured_kspace_counts_a_tenth_more(
    measured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pair,) = training_pairs([blob_volumes()], step=0, settings=TrainingSettings(readouts=4))
    y, z = (pair.sampled if measured else ~pair.sampled).nonzero()[0]
    error = torch.zeros_like(pair.measured)
    error[..., y, z] = 3.0
    image = pair.truth + ifft(error, PHASE_ENCODES)
    both = float(loss(image, pair))
    monkeypatch.setattr(module, "KSPACE_WEIGHT", 0.0)
    expected = 0.0 if measured else 0.1 * 3.0 / (2 * pair.sampled.numel())
    assert both - float(loss(image, pair)) == pytest.approx(expected, abs=1e-7)
