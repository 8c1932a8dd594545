"""The chain keeps to one device, and falls back to the CPU where a GPU is too small."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor

from accelqsm.errors import InputWarning
from accelqsm.kspace import KSpace
from accelqsm.pipeline.scan import SummedScan, map_susceptibility
from accelqsm.qsm.background.settings import DipoleFitSettings
from accelqsm.qsm.chain import susceptibility
from accelqsm.qsm.inversion.settings import L1Settings
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.blocks import combine
from accelqsm.recon.method_settings import NetworkSettings
from accelqsm.recon.network.architecture import Architecture
from accelqsm.recon.network.reconnet3d import ReconNet3D
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.sampling import poisson_disk, regular
from accelqsm.recon.settings import ReconSettings
from accelqsm.results.maps import SusceptibilityMaps
from accelqsm.runtime.device import CPU, best_device, on_device, on_gpu_or_cpu
from accelqsm.training.data import training_pairs
from accelqsm.training.settings import TrainingSettings
from accelqsm.training.state import State
from pretend_gpu import on_gpu, pretend_gpu
from recon_phantom import channel_images, sample
from test_qsm_chain import GRID, scan
from training_phantom import blob_volumes

SHAPE = (20, 24, 16)
PER_COIL = ReconSettings("reconnet3d", network=NetworkSettings(consistency="per-coil"))
REGULAR = regular((24, 16), acceleration=(2, 1), calibration=(10, 16))
POISSON = poisson_disk((24, 16), acceleration=2, calibration=(8, 8), seed=0)
FEW = QsmSettings(
    length_scale=1.0,
    background_settings=DipoleFitSettings(n_coarse=8, n_fine=3),
    inversion_settings=L1Settings(n_iterations=3),
)
MIDDLE = torch.zeros(SHAPE, dtype=torch.bool)
MIDDLE[4:-4, 4:-4, 4:-4] = True


def _network(consistency: str = "per-coil") -> ReconNet3D:
    torch.manual_seed(0)
    return ReconNet3D(Architecture(4, 2, (3, 1, 3), consistency=consistency)).eval()


@pytest.mark.parametrize(
    ("method", "consistency"),
    [
        ("zero-filled", "per-coil"),
        ("grappa", "per-coil"),
        ("cg-sense", "per-coil"),
        ("l1-wavelet", "per-coil"),
        ("l1-echoes", "per-coil"),
        ("reconnet3d", "per-coil"),
        ("reconnet3d", "joint"),
    ],
)
def test_every_method_reconstructs_where_the_pattern_lies(
    monkeypatch: pytest.MonkeyPatch, method: str, consistency: str
) -> None:
    pattern = REGULAR if method == "grappa" else POISSON
    kspace = sample(channel_images(SHAPE, 4), pattern, noise_sd=0.01)

    def combined(device: torch.device) -> list[Tensor]:
        network = _network(consistency) if method == "reconnet3d" else None
        there = kspace.on(device)
        blocks = reconstruct(there, method, network=network)
        parts = [combine(block, there) for block in blocks]
        assert all(on_gpu(p.numerator) == on_gpu(p.power) == on_gpu(there.sampled) for p in parts)
        return [part.numerator.cpu() for part in parts]

    expected = combined(CPU)
    with pretend_gpu(monkeypatch) as gpu:
        found = combined(best_device())
        assert gpu.n_operations > 20
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        QsmSettings(inversion_settings=L1Settings(n_iterations=3)),
        QsmSettings(
            background="vsharp",
            field_mode="lag1",
            inversion_settings=L1Settings(n_iterations=2),
        ),
        QsmSettings(
            reference="none",
            inversion_settings=L1Settings(
                n_iterations=28, dynamic_structure=True, dynamic_scale=True
            ),
        ),
    ],
)
def test_the_chain_keeps_to_the_device_of_the_sums(
    monkeypatch: pytest.MonkeyPatch, settings: QsmSettings
) -> None:
    products = scan(GRID)
    expected = susceptibility(products, grid=GRID, field_strength_t=3.0, settings=settings)
    with pretend_gpu(monkeypatch) as gpu:
        found = susceptibility(
            on_device(products, best_device()),
            grid=GRID,
            field_strength_t=3.0,
            settings=settings,
        )
        values = [getattr(found, field.name) for field in fields(found)]
        tensors = [value for value in values if isinstance(value, Tensor)]
        assert len(tensors) >= 4
        assert all(on_gpu(value) for value in tensors)
        assert gpu.n_operations > 200
    torch.testing.assert_close(on_device(found, CPU).chi_ppm, expected.chi_ppm)


def test_a_scan_is_mapped_on_the_gpu_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    kspace = sample(channel_images(SHAPE, 4), POISSON, noise_sd=0.01)
    expected = map_susceptibility(kspace, method="zero-filled", mask=MIDDLE, settings=FEW)
    with pretend_gpu(monkeypatch) as gpu:
        found = map_susceptibility(kspace, method="zero-filled", mask=MIDDLE, settings=FEW)
        assert gpu.n_operations > 200
    np.testing.assert_allclose(found.chi_ppm, expected.chi_ppm, rtol=1e-5, atol=1e-6)


def test_a_training_step_keeps_to_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelqsm.training.data.CALIBRATIONS", ((6, 6),))
    settings = TrainingSettings(network_settings=Architecture(4, 2, (3, 1, 1)), readouts=4)
    pairs = training_pairs([blob_volumes()], step=0, settings=settings)
    with pretend_gpu(monkeypatch):
        state = State(settings)
        assert state.device.type == "cuda"
        assert state.advance(pairs) > 0
        assert on_gpu(state.averaged_network().log_weights)


def test_a_gpu_that_is_too_small_leaves_the_whole_scan_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kspace = sample(channel_images(SHAPE, 4), POISSON, noise_sd=0.01)
    network = _network()

    def mapped() -> SusceptibilityMaps:
        return map_susceptibility(
            kspace, method="reconnet3d", network=network, mask=MIDDLE, settings=FEW
        )

    expected = mapped()
    run = network.forward

    def forward(measured: Tensor, *rest: Tensor) -> Tensor:
        if on_gpu(measured):
            raise torch.OutOfMemoryError
        return run(measured, *rest)

    monkeypatch.setattr(network, "forward", forward)
    with pretend_gpu(monkeypatch), pytest.warns(InputWarning, match="memory"):
        found = mapped()
    assert found.device.startswith("cpu")
    assert np.array_equal(found.chi_ppm, expected.chi_ppm)


def test_the_network_stays_when_a_scan_is_left_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []

    def sums(kspace: KSpace, *_: object, network: ReconNet3D, null_space: bool) -> SummedScan:
        assert null_space
        used.append(network.architecture.width)
        raise torch.OutOfMemoryError

    monkeypatch.setattr("accelqsm.pipeline.scan.sum_channels", sums)
    kspace = sample(channel_images(SHAPE, 4), POISSON, noise_sd=0.01)
    with (
        pretend_gpu(monkeypatch),
        pytest.warns(InputWarning, match="memory"),
        pytest.raises(torch.OutOfMemoryError),
    ):
        map_susceptibility(kspace, PER_COIL)
    assert used == [64, 64]


@pytest.mark.parametrize("message", ["CUFFT_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED"])
def test_libraries_without_memory_are_understood(
    monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    def compute(device: torch.device) -> str:
        if device.type == "cuda":
            raise RuntimeError(message)
        return device.type

    with pretend_gpu(monkeypatch), pytest.warns(InputWarning):
        assert on_gpu_or_cpu(compute) == ("cpu", CPU)


def test_other_errors_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def compute(device: torch.device) -> None:
        raise RuntimeError(f"wrong on {device.type}")

    with pretend_gpu(monkeypatch), pytest.raises(RuntimeError, match="wrong on cuda"):
        on_gpu_or_cpu(compute)
