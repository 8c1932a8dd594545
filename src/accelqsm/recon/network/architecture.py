"""Architectures of the networks."""

from __future__ import annotations

from dataclasses import dataclass

from accelqsm.errors import InputError
from accelqsm.options.setting import Settings, setting
from accelqsm.recon.method_settings import CONSISTENCIES, FORMER_CONSISTENCIES, JOINT, PER_COIL

MOST_LAYERS = 64


class Cascades(Settings):
    """What cascades of 3D convolutions have in common; the fields are those of each record."""

    width: int
    cascades: int
    readout_kernels: tuple[int, ...]
    patch: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_kernels(self.readout_kernels)

    @property
    def readout_reach(self) -> int:
        """Half-width of the receptive field along the readout, in positions."""
        return self.cascades * sum(size // 2 for size in self.readout_kernels)

    @property
    def hidden_per_voxel(self) -> float:
        """Values of a hidden layer per voxel of an image."""
        return self.width / self.patch**2


@dataclass(frozen=True)
class Architecture(Cascades):
    """Architecture of ReconNet3D: width, cascades, kernels and data consistency.

    Aliasing is in the (y, z) plane, where every kernel is 3 x 3; kernels along x cost three times
    as much and are used in some layers only. Folding 2 x 2 voxels of the plane into channels
    reduces the cost to a quarter and doubles the receptive field in the plane.

    Raises:
        InputError: besides values out of range, not 2 to 64 layers, or even kernels.
    """

    width: int = setting(
        48, flag="width", least=1, most=1024, unit="channels", help="channels of the hidden layers"
    )
    cascades: int = setting(
        5,
        flag="cascades",
        least=1,
        most=64,
        help="blocks of convolutions, each followed by data consistency",
    )
    readout_kernels: tuple[int, ...] = setting(
        (3, 1, 3, 1, 1),
        flag="readout-kernels",
        least=1,
        most=31,
        unit="voxels",
        help="kernel size along the readout (odd) of each convolution of a block",
    )
    patch: int = setting(
        2,
        flag="patch",
        least=1,
        most=16,
        unit="voxels",
        help="voxels along y and z that are folded into channels before the first convolution",
    )
    consistency: str = setting(
        PER_COIL,
        flag="consistency",
        choices=tuple(CONSISTENCIES),
        aliases=FORMER_CONSISTENCIES,
        help="data consistency: with the samples of the channel that goes in (per-coil), or of "
        "one image with those of all channels (joint)",
    )


@dataclass(frozen=True)
class DcrArchitecture(Settings):
    """Architecture of DCRNet: width, residual blocks and data consistency."""

    width: int = setting(
        64, least=1, most=1024, unit="channels", help="complex channels of the hidden layers"
    )
    blocks: int = setting(5, least=1, most=64, help="residual blocks of two layers")
    consistency: str = setting(
        JOINT,
        choices=tuple(CONSISTENCIES),
        help="data consistency: with the samples of the channel that goes in (per-coil), or of "
        "one image with those of all channels (joint)",
    )

    @property
    def readout_reach(self) -> int:
        """Planes are reconstructed one by one."""
        return 0

    @property
    def hidden_per_voxel(self) -> float:
        """Values of a hidden layer per voxel of the image."""
        return 2.0 * self.width


@dataclass(frozen=True)
class EchoArchitecture(Cascades):
    """Architecture of the network of all echoes: width, cascades and kernels.

    Raises:
        InputError: besides values out of range, not 2 to 64 layers, or even kernels.
    """

    width: int = setting(
        48, least=1, most=1024, unit="channels", help="channels of the hidden layers"
    )
    cascades: int = setting(
        5, least=1, most=64, help="blocks of convolutions, each followed by data consistency"
    )
    readout_kernels: tuple[int, ...] = setting(
        (3, 1, 3, 1, 1),
        least=1,
        most=31,
        unit="voxels",
        help="kernel size along the readout (odd) of each convolution of a block but the one from "
        "echo to echo, which takes one position alone",
    )
    patch: int = setting(
        2,
        least=1,
        most=16,
        unit="voxels",
        help="voxels along y and z that are folded into channels before the first convolution",
    )

    @property
    def consistency(self) -> str:
        """With the samples of all channels."""
        return JOINT


def _check_kernels(sizes: tuple[int, ...]) -> None:
    if not 2 <= len(sizes) <= MOST_LAYERS:
        raise InputError(f"readout_kernels: expected 2 to {MOST_LAYERS} layers, found {len(sizes)}")
    if any(size % 2 == 0 for size in sizes):
        raise InputError(f"readout_kernels: expected odd sizes, found {sizes}")
