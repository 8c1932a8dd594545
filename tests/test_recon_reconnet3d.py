"""Data consistency and the network's invariants, which hold for any weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.recon.method_settings import SenseSettings
from accelqsm.recon.methods.cg_sense import cg_sense
from accelqsm.recon.network.architecture import Architecture
from accelqsm.recon.network.folding import fold, unfold
from accelqsm.recon.network.reconnet3d import ReconNet3D, data_consistency
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.sense import Encoding, least_squares, unit_maps

SMALL = Architecture(width=4, cascades=2, readout_kernels=(3, 1, 3))


def _noise(*shape: int, dtype: torch.dtype = torch.complex64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _pattern(n_y: int = 15, n_z: int = 12) -> Tensor:
    return poisson_disk((n_y, n_z), acceleration=2.5, calibration=(4, 4), seed=1)


def _random_network(architecture: Architecture = SMALL, seed: int = 0) -> ReconNet3D:
    """Weights drawn at random, the zeroed last convolutions too."""
    torch.manual_seed(seed)
    network = ReconNet3D(architecture)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 5:
                parameter.normal_(0, 0.15)
    return network.eval()


@pytest.mark.parametrize("n_y", [14, 15])
def test_hard_consistency_puts_samples_back_and_leaves_the_rest(n_y: int) -> None:
    pattern = _pattern(n_y)
    image, measured = _noise(2, 3, n_y, 12), _noise(2, 3, n_y, 12, seed=1) * pattern
    spectrum = fft(data_consistency(image, ifft(measured, PHASE_ENCODES), pattern), PHASE_ENCODES)
    before = fft(image, PHASE_ENCODES)
    assert (spectrum - measured)[..., pattern].abs().max() < 2e-6
    assert (spectrum - before)[..., ~pattern].abs().max() < 2e-6


def test_soft_consistency_is_the_weighted_mean() -> None:
    """(Z + v y) / (1 + v) with v = 3, in double precision."""
    pattern = _pattern()
    image = _noise(1, 2, 15, 12, dtype=torch.complex128)
    measured = _noise(1, 2, 15, 12, dtype=torch.complex128, seed=1) * pattern
    weight = torch.tensor(math.log(3.0), dtype=torch.float64)
    result = data_consistency(image, ifft(measured, PHASE_ENCODES), pattern, log_weight=weight)
    expected = (fft(image, PHASE_ENCODES) + 3 * measured) / 4
    found = fft(result, PHASE_ENCODES)
    assert (found - expected)[..., pattern].abs().max() < 1e-12


def test_a_large_weight_is_hard_consistency() -> None:
    pattern = _pattern()
    image, zero_filled = _noise(1, 2, 15, 12), ifft(_noise(1, 2, 15, 12) * pattern, PHASE_ENCODES)
    soft = data_consistency(image, zero_filled, pattern, log_weight=torch.tensor(40.0))
    assert (soft - data_consistency(image, zero_filled, pattern)).abs().max() < 1e-6


@pytest.mark.parametrize("log_weight", [-2.0, 0.0, 3.0])
def test_per_coil_consistency_is_a_case_of_joint(log_weight: float) -> None:
    """With sensitivity one, (A^H A + 1 / v) is solved by the weighted mean in k-space."""
    pattern, weight = _pattern(), torch.tensor(log_weight, dtype=torch.float64)
    image = _noise(1, 2, 15, 12, dtype=torch.complex128)
    measured = _noise(1, 2, 15, 12, dtype=torch.complex128, seed=1) * pattern
    encoding = Encoding(torch.ones(1, 1, 1, 15, 12, dtype=torch.complex128), pattern)
    found = least_squares(
        encoding,
        encoding.adjoint(measured[None]),
        start=image,
        weight=torch.exp(-weight),
        n_iterations=3,
    )
    zero_filled = ifft(measured, PHASE_ENCODES)
    expected = data_consistency(image, zero_filled, pattern, log_weight=weight)
    assert (found - expected).abs().max() < 1e-10


@pytest.mark.slow
def test_gradients_pass_through_joint_consistency() -> None:
    pattern = _pattern(8, 6)
    maps = _noise(3, 1, 1, 8, 6, dtype=torch.complex128)
    encoding = Encoding(unit_maps(maps), pattern)
    wanted = encoding.adjoint(_noise(3, 1, 2, 8, 6, dtype=torch.complex128, seed=1) * pattern)
    image = _noise(1, 2, 8, 6, dtype=torch.complex128, seed=2).requires_grad_()
    weight = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, w: torch.view_as_real(
            least_squares(encoding, wanted, start=x, weight=w, n_iterations=3)
        ),
        (image, weight),
    )


def _channels(seed: int = 3) -> tuple[Tensor, Tensor]:
    """Samples (channel, batch, x, ky, kz) of a random object, and the maps."""
    maps = unit_maps(_noise(4, 6, 15, 12, seed=seed))
    truth = _noise(2, 6, 15, 12, seed=seed + 1)
    return fft(maps[:, None] * truth, PHASE_ENCODES) * _pattern(), maps


def test_untrained_joint_network_is_conjugate_gradients() -> None:
    measured, maps = _channels()
    network = ReconNet3D(Architecture(4, 2, (3, 1, 3), consistency="joint"))
    image = network(measured, _pattern(), maps)
    expected = cg_sense(
        measured,
        maps,
        sampled=_pattern(),
        settings=SenseSettings(n_iterations=40, weight=1e-3),
    )
    assert (image - expected).norm() < 0.15 * expected.norm()


def test_joint_result_scales_with_the_data() -> None:
    measured, maps = _channels()
    network = _random_network(Architecture(8, 2, (3, 1, 3), consistency="joint"))
    image, scaled = (network(s * measured, _pattern(), maps) for s in (1.0, 1e5))
    assert (scaled / 1e5 - image).abs().max() < 1e-4 * image.abs().max()


def test_sensitivities_belong_to_joint_consistency() -> None:
    measured, maps = _channels()
    with pytest.raises(InputError, match="with joint consistency, and with that alone"):
        _random_network()(measured, _pattern(), maps)
    with pytest.raises(InputError, match="with joint consistency, and with that alone"):
        ReconNet3D(Architecture(4, 2, (3, 1, 3), consistency="joint"))(measured[0], _pattern())


@pytest.mark.parametrize("patch", [1, 2, 3])
@pytest.mark.parametrize("plane", [(15, 12), (14, 11), (5, 5)])
def test_folding_loses_nothing(plane: tuple[int, int], patch: int) -> None:
    image = _noise(2, 3, 4, *plane, dtype=torch.float32)
    folded = fold(image, patch)
    n_y, n_z = (-(-n // patch) for n in plane)
    assert folded.shape == (2, 3 * patch**2, 4, n_y, n_z)
    assert torch.equal(unfold(folded, patch, plane), image)
    # Neighbours in the plane become channels of one voxel.
    part = image[:, 0, :, patch : 2 * patch, patch : 2 * patch].flatten(2)
    if part.shape[-1] == patch**2:
        assert torch.equal(folded[:, : patch**2, :, 1, 1], part.transpose(1, 2))


def test_full_sampling_is_the_identity_for_any_weights() -> None:
    truth = _noise(1, 6, 15, 12)
    full = torch.ones(15, 12, dtype=torch.bool)
    image = _random_network()(fft(truth, PHASE_ENCODES), full)
    assert (image - truth).abs().max() < 1e-5


def test_measured_samples_are_honoured() -> None:
    pattern = _pattern()
    measured = _noise(2, 6, 15, 12) * pattern
    image = _random_network()(measured, pattern)
    assert (fft(image, PHASE_ENCODES) - measured)[..., pattern].abs().max() < 1e-5
    assert (image - ifft(measured, PHASE_ENCODES)).abs().max() > 0.1


def test_untrained_network_returns_the_zero_filled_image() -> None:
    pattern = _pattern()
    measured = _noise(1, 6, 15, 12) * pattern
    image = ReconNet3D(SMALL)(measured, pattern)
    assert (image - ifft(measured, PHASE_ENCODES)).abs().max() < 1e-5


@pytest.mark.parametrize("scale", [1e-9, 1e7])
def test_result_scales_with_the_data(scale: float) -> None:
    pattern, network = _pattern(), _random_network()
    measured = _noise(1, 6, 15, 12) * pattern
    image, scaled = network(measured, pattern), network(scale * measured, pattern)
    assert (scaled / scale - image).abs().max() < 1e-5


def test_result_depends_on_readouts_within_reach_only() -> None:
    pattern, network = _pattern(), _random_network()
    assert SMALL.readout_reach == 4
    measured = _noise(1, 12, 15, 12) * pattern
    changed = measured.clone()
    changed[:, 11] = 0
    difference = (network(changed, pattern) - network(measured, pattern)).abs().amax(dim=(0, 2, 3))
    assert difference[:7].max() == 0
    assert difference[7] > 0


def test_patterns_may_differ_within_a_batch() -> None:
    network = _random_network()
    patterns = torch.stack([_pattern(), _pattern().flip(0)])[:, None]
    measured = _noise(2, 6, 15, 12) * patterns
    together = network(measured, patterns)
    alone = network(measured[1:], patterns[1, 0])
    assert (together[1:] - alone).abs().max() < 1e-5


def test_five_cascades_of_five_convolutions() -> None:
    network = ReconNet3D(Architecture())
    assert [sum(isinstance(m, torch.nn.Conv3d) for m in b) for b in network.blocks] == [5] * 5
    assert all(m.bias is None for m in network.modules() if isinstance(m, torch.nn.Conv3d))
    assert len(network.log_weights) == 4


@pytest.mark.parametrize(
    "settings",
    [
        {"width": 0},
        {"cascades": 0},
        {"patch": 0},
        {"consistency": "none"},
        {"readout_kernels": (3,)},
        {"readout_kernels": (2, 3)},
    ],
)
def test_impossible_architectures_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Architecture(**settings)  # type: ignore[arg-type]
