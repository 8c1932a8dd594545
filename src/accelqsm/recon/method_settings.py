"""Settings of each reconstruction, and of what several of them use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from accelqsm.errors import InputError
from accelqsm.options.setting import Settings, setting

PER_COIL, JOINT = "per-coil", "joint"
SENSITIVITIES = (
    "sensitivities by ESPIRiT (Uecker et al. 2014), refined where the centre is small (Ying and "
    "Sheng 2007)"
)
OF_SENSITIVITIES = ("espirit", "jsense")
"""Their description in the methods text, and the keys of what it cites."""

CONSISTENCIES: Mapping[str, str] = {
    PER_COIL: "every coil channel by itself",
    JOINT: "one image, kept consistent with the samples of all channels through " + SENSITIVITIES,
}
"""Data consistency of a network, with its description in the methods text."""

FORMER_CONSISTENCIES: Mapping[str, str] = {"channel": PER_COIL, "channels": JOINT}
"""Names of the same in older settings and weights files."""


@dataclass(frozen=True)
class GrappaSettings(Settings):
    """Settings of GRAPPA.

    Raises:
        InputError: a kernel that is not symmetric about the missing lines.
    """

    kernel: tuple[int, int, int] = setting(
        (5, 4, 3),
        least=1,
        most=15,
        unit="samples",
        help="size of the kernel: readout taps (odd), acquired lines (even), partitions (odd)",
    )
    tikhonov: float = setting(
        1e-4,
        least=1e-9,
        most=1e12,
        help="Tikhonov regularisation of the weights, relative to the mean diagonal of A^H A",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        taps, lines, partitions = self.kernel
        if taps % 2 == 0 or lines % 2 == 1 or partitions % 2 == 0:
            raise InputError(
                "kernel: expected odd readout taps, an even number of acquired lines and odd "
                f"partitions, found {taps} {lines} {partitions}"
            )


@dataclass(frozen=True)
class SenseSettings(Settings):
    """Settings of CG-SENSE."""

    n_iterations: int = setting(15, least=1, most=10_000, help="iterations of conjugate gradients")
    weight: float = setting(
        1e-2,
        least=0,
        most=100,
        help="Tikhonov weight of the image, relative to the norm of the encoding, which is one",
    )


@dataclass(frozen=True)
class WaveletSettings(Settings):
    """Settings of compressed sensing with an L1 penalty on wavelet coefficients."""

    n_iterations: int = setting(40, least=1, most=10_000, help="iterations of FISTA")
    regularisation: float = setting(
        0.004,
        least=0,
        most=1,
        help="weight of the L1 norm of the wavelet coefficients, relative to the largest "
        "magnitude of the zero-filled image",
    )


@dataclass(frozen=True)
class EchoWaveletSettings(Settings):
    """Settings of compressed sensing over echoes."""

    n_iterations: int = setting(
        30, least=1, most=10_000, help="iterations of FISTA in each of two rounds"
    )
    regularisation: float = setting(
        0.004,
        least=0,
        most=1,
        help="weight of the L1 norm of the wavelet coefficients, relative to the largest "
        "magnitude of the zero-filled images",
    )


@dataclass(frozen=True)
class SensitivitySettings(Settings):
    """Settings of the receive sensitivities (ESPIRiT)."""

    kernel: int = setting(
        5,
        least=2,
        most=16,
        unit="samples",
        help="size of the calibration kernel along ky and kz; down to 3 where the centre of all "
        "echoes is small for it",
    )
    singular_share: float | None = setting(
        None,
        above=0,
        below=1,
        help="singular values of the calibration matrix, relative to the largest, above which "
        "vectors span the signal space; unless given, each is weighted by the noise of the scan",
    )
    n_virtual: int = setting(
        12,
        least=1,
        most=1024,
        unit="channels",
        help="virtual channels that more receive channels are compressed to",
    )
    calibration: tuple[int, int] | None = setting(
        None,
        least=2,
        most=1024,
        unit="samples",
        help="largest part of the fully sampled centre along ky and kz that is used; all of it "
        "unless given",
    )
    file: str = setting(
        "",
        flag="sensitivities-file",
        metavar="FILE",
        help="sensitivities of every receive channel instead of ESPIRiT's: a complex array "
        "(channel, x, y, z) in .npy or .h5, or (x, y, z, channel) in NIfTI, on the grid of the "
        "raw data (readout, PE1, PE2)",
    )


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """Settings of a reconstruction by a network."""

    weights: str = setting(
        "",
        flag="weights",
        metavar="NAME_OR_FILE",
        help="network weights: a name of the package's (per-coil, per-coil-wide, joint) or a "
        "safetensors file; those of the package for method and consistency unless given",
    )
    consistency: str | None = setting(
        None,
        flag="consistency",
        choices=tuple(CONSISTENCIES),
        aliases=FORMER_CONSISTENCIES,
        help="data consistency of the network: with the samples of each channel by itself, as "
        "published (per-coil), or of one image with those of all channels (joint); joint, or that "
        "of the weights, unless given",
    )
    sample_weight: float | None = setting(
        None,
        flag="sample-weight",
        least=0.01,
        most=100,
        help="weight of the samples against what the network puts in, relative to that of its "
        "training; more gives small structures more of their contrast, and lets more noise "
        "through; unless given, as the noise allows with joint consistency (1 to 6, with "
        "echo-joint to 12), 1 per coil",
    )


class SharedSettings(Protocol):
    """The attributes of ``ReconSettings`` that several reconstructions read."""

    @property
    def sensitivities(self) -> SensitivitySettings:
        """Settings of the receive sensitivities."""

    @property
    def network(self) -> NetworkSettings:
        """Settings of the network."""


Own = TypeVar("Own", bound=Settings, covariant=True)


class MethodSettings(SharedSettings, Protocol[Own]):
    """The attributes of ``ReconSettings`` that one reconstruction reads, with its own settings."""

    @property
    def method_settings(self) -> Own:
        """Settings of this method."""
