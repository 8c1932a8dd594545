"""accelqsm: QSM of deep-brain nuclei from under-sampled k-space, and agreement of protocols.

``__init__.pyi`` lists the public names, where editors and type checkers read them; each is
imported when it is first used, so that ``import accelqsm`` loads neither torch nor pandas.
"""

import os
from typing import Any

import lazy_loader

# Waiting OpenMP threads sleep instead of spinning; torch reads this once, when it starts. With
# another process on the machine, spinning makes small volumes fifty times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

_load, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *_names]


def __getattr__(name: str) -> Any:
    return _load(name)
