"""Convolutions in bfloat16 where the processor multiplies it, and their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.recon.network.architecture import Architecture
from accelqsm.recon.network.convolution import Convolution, convolution_type
from accelqsm.recon.network.reconnet3d import ReconNet3D
from accelqsm.runtime.device import (
    AUTOMATIC,
    CPU,
    PRECISION_VARIABLE,
    convolves_in_bfloat16,
    device_name,
)

SIZES = [(8, 48, 1), (48, 8, 1), (64, 2, 3), (48, 48, 3), (18, 64, 5), (4, 4, 1)]
PLANES = [(2, 4, 86, 44), (1, 1, 127, 27), (1, 8, 33, 20)]


def gradients(
    convolution: Convolution, images: Tensor, of_result: Tensor, half: bool
) -> list[Tensor]:
    images = images.clone().requires_grad_()
    convolution.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        result = convolution(images)
    result.backward(of_result.to(result.dtype))
    assert convolution.weight.grad is not None
    assert images.grad is not None
    return [result.detach().float(), convolution.weight.grad.clone(), images.grad]


@pytest.mark.parametrize("planes", PLANES)
@pytest.mark.parametrize("sizes", SIZES)
def test_in_bfloat16_images_and_gradients_are_those_of_single_precision(
    sizes: tuple[int, int, int], planes: tuple[int, int, int, int]
) -> None:
    """To its eight bits; torch's own gradients of kernels are wrong for some of these sizes."""
    torch.manual_seed(0)
    convolution = Convolution(*sizes)
    images = torch.randn(planes[0], sizes[0], *planes[1:])
    images = images.to(memory_format=torch.channels_last_3d)
    of_result = torch.randn(planes[0], sizes[1], *planes[1:])
    single, half = (gradients(convolution, images, of_result, half) for half in (False, True))
    for expected, found in zip(single, half, strict=True):
        assert (found - expected).norm() < 0.01 * expected.norm()


def test_the_gradient_of_a_kernel_is_its_own_whatever_else_needs_none() -> None:
    torch.manual_seed(0)
    convolution, images = Convolution(3, 5, 3), torch.randn(2, 3, 4, 9, 8)
    with torch.autocast("cpu", torch.bfloat16):
        convolution(images).float().square().sum().backward()
    found = convolution.weight.grad
    convolution.zero_grad()
    convolution(images).square().sum().backward()
    assert found is not None
    assert convolution.weight.grad is not None
    assert (found - convolution.weight.grad).norm() < 0.02 * found.norm()


def test_precision_is_automatic_or_single(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = {"amx_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: tiles, raising=False)
    assert not convolves_in_bfloat16(CPU)
    assert "bfloat16" not in device_name(CPU)
    monkeypatch.setenv(PRECISION_VARIABLE, AUTOMATIC)
    assert convolves_in_bfloat16(CPU)
    assert device_name(CPU).endswith("threads, bfloat16)")
    tiles["amx_bf16"] = False
    assert not convolves_in_bfloat16(CPU)
    monkeypatch.setenv(PRECISION_VARIABLE, "half")
    with pytest.raises(InputError, match="ACCELQSM_PRECISION: expected 'single' or 'automatic', f"):
        convolves_in_bfloat16(CPU)


def test_a_network_in_bfloat16_gives_the_same_image_and_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    network = ReconNet3D(Architecture(width=16, cascades=2, readout_kernels=(3, 1)))
    for kernel in network.blocks.parameters():
        torch.nn.init.normal_(kernel, std=0.05)
    sampled = torch.rand(24, 20) < 0.4
    measured = torch.randn(1, 4, 24, 20, dtype=torch.complex64) * sampled
    found = []
    for half in (False, True):
        monkeypatch.setattr(
            "accelqsm.recon.network.convolution.convolves_in_bfloat16", lambda _, half=half: half
        )
        with convolution_type(measured):
            assert torch.is_autocast_enabled("cpu") == half
        network.zero_grad()
        image = network(measured, sampled)
        image.abs().square().mean().backward()
        assert image.dtype == torch.complex64
        found.append([image.detach(), *(p.grad.clone() for p in network.blocks.parameters())])
    for expected, other in zip(*found, strict=True):
        assert (other - expected).norm() < 0.1 * expected.norm()
    assert not torch.equal(*(images[0] for images in found))
