"""accelqsm: under-sampled k-space in, deep-brain nuclei and their agreement out.

The names below are imported when they are first used, so that ``import accelqsm`` loads neither
torch nor pandas. They stand in the order in which data flows.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

# Read once, when torch starts: threads that wait for each other sleep instead of spinning. Beside
# another process, spinning makes small volumes fifty times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

_HOMES = {
    "digital_head": "simulate.heads.head",
    "scan": "simulate.scanner",
    "read_mrd": "files.mrd.reader",
    "write_mrd": "files.mrd.writer",
    "poisson_disk": "recon.sampling",
    "regular": "recon.sampling",
    "prewhiten": "recon.channels",
    "load_network": "recon.network.weights",
    "reconstruct": "recon.reconstruct",
    "lag_products": "qsm.field.lags",
    "susceptibility": "qsm.chain",
    "map_susceptibility": "pipeline.scan",
    "measure_nuclei": "nuclei.measure",
    "compare_protocols": "agreement.paired",
    "age_associations": "agreement.age",
    "plan_subjects": "agreement.planning",
    "similarity_figures": "agreement.similarity",
    "build_page": "report.page.build",
    "InputError": "errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'accelqsm' has no attribute '{name}'")
    return getattr(importlib.import_module(f"accelqsm.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
