"""The stages of the chain from field to susceptibility, and how long each call of one takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

CHAIN_STAGES = (
    "brain_mask",
    "remove_incoherent",
    "readout_phase",
    "unwrap_spun",
    "multilag_field",
    "dipole_fit",
    "iron_magnitude",
    "l1_dipole_inversion",
    "erode",
)


def timed(
    name: str, call: Callable[..., Any], seconds: dict[str, float], clock: Callable[[], float]
) -> Callable[..., Any]:
    """The function, which adds the seconds it takes by a clock to those under its name."""

    def measured(*args: Any, **kwargs: Any) -> Any:
        start = clock()
        result = call(*args, **kwargs)
        seconds[name] = seconds.get(name, 0.0) + clock() - start
        return result

    return measured
