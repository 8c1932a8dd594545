"""Interface of reconstruction networks: callables from samples and sensitivities to images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from accelqsm.errors import InputError
from accelqsm.options.setting import Settings
from accelqsm.recon.method_settings import JOINT


class Sizes(Protocol):
    """What an architecture tells of its network, and the network itself.

    Attributes:
        consistency: "per-coil" or "joint" (``method_settings.CONSISTENCIES``).
        readout_reach: half-width of the receptive field along the readout, in positions.
        hidden_per_voxel: values of its widest layer per voxel, which limits the slab thickness.
    """

    @property
    def consistency(self) -> str: ...

    @property
    def readout_reach(self) -> int: ...

    @property
    def hidden_per_voxel(self) -> float: ...


class Network(Sizes, Protocol):
    """Reconstruction network, a callable from samples to images.

    The images of one call are independent of each other, or the echoes of a scan in their order
    where the network's row in ``RECONSTRUCTIONS`` joins echoes.

    Attributes:
        device: the device of its weights.
    """

    @property
    def device(self) -> torch.device: ...

    def __call__(self, measured: Tensor, sampled: Tensor, maps: Tensor | None = None) -> Tensor:
        """Reconstruct under-sampled planes; the images scale with the samples.

        Args:
            measured: complex (batch, x, ky, kz), zero where not sampled; with ``maps``
                (channel, batch, x, ky, kz).
            sampled: bool (ky, kz), or (batch, 1, ky, kz) for a pattern of each image.
            maps: sensitivities, complex (channel, x, y, z); only for joint consistency.

        Returns:
            complex (batch, x, y, z).
        """


class StoredNetwork(Network, Protocol):
    """A network whose weights can be saved and loaded, as those of a ``torch.nn.Module``.

    Its class is constructed from ``architecture`` alone.
    """

    @property
    def architecture(self) -> Settings: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...

    def eval(self) -> Self: ...

    def requires_grad_(self, requires_grad: bool = True) -> Self: ...


class TrainableNetwork(StoredNetwork, Protocol):
    """A ``torch.nn.Module`` that ``accelqsm train`` can train."""

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def buffers(self) -> Iterator[Tensor]: ...

    def zero_grad(self, set_to_none: bool = True) -> None: ...

    def to(self, device: torch.device) -> Self: ...


def check_maps(consistency: str, maps: Tensor | None) -> None:
    """Refuse sensitivities with per-coil consistency, and joint consistency without them.

    Raises:
        InputError: as said.
    """
    if (maps is not None) != (consistency == JOINT):
        raise InputError(
            f"network of consistency {consistency}: expected sensitivities with joint "
            "consistency, and with that alone"
        )
