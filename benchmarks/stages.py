"""The stages of the chain from field to susceptibility, and how long each call of one takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelqsm.qsm import chain
from accelqsm.qsm.background import dipole_fit
from accelqsm.qsm.inversion import l1

CHAIN_STAGES = {
    "found_brain": chain,
    "coherent_sums": chain,
    "unwrap_spun": chain,
    "multilag_field": chain,
    "dipole_fit": dipole_fit,
    "tissue_edges": chain,
    "l1_dipole_inversion": l1,
    "erode": chain,
}
"""Functions by name, and the module where the chain looks each up."""


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
