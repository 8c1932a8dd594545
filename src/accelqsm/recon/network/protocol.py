"""What a network is: anything that can be called with samples and sensitivities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from accelqsm.options.setting import Settings


class Network(Protocol):
    """A callable from the samples of one echo to its image.

    Attributes:
        consistency: "per-coil" or "joint" (``method_settings.CONSISTENCIES``).
        readout_reach: readout positions to either side that a result depends on.
        hidden_per_voxel: values that its widest layer holds per voxel, for the thickness of slabs.
        device: where it computes.
    """

    @property
    def consistency(self) -> str: ...

    @property
    def readout_reach(self) -> int: ...

    @property
    def hidden_per_voxel(self) -> float: ...

    @property
    def device(self) -> torch.device: ...

    def __call__(self, measured: Tensor, sampled: Tensor, maps: Tensor | None = None) -> Tensor:
        """Images of under-sampled planes, proportional to the samples.

        Args:
            measured: complex (batch, x, ky, kz), zero where nothing was measured; with ``maps``
                (channel, batch, x, ky, kz).
            sampled: bool (ky, kz).
            maps: sensitivities, complex (channel, x, y, z); for joint consistency alone.

        Returns:
            complex (batch, x, y, z).
        """


class StoredNetwork(Network, Protocol):
    """A network whose weights can be saved and loaded, as those of ``torch.nn.Module`` can.

    Its class is made from ``architecture`` alone.
    """

    @property
    def architecture(self) -> Settings: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...

    def eval(self) -> Self: ...

    def requires_grad_(self, requires_grad: bool = True) -> Self: ...
