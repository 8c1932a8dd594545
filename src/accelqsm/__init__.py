"""accelqsm: under-sampled k-space in, deep-brain nuclei and their agreement out.

The public names stand in ``__init__.pyi``, where editors and type checkers read them; each is
imported when it is first used, so that ``import accelqsm`` loads neither torch nor pandas.
"""

import os
from typing import Any

import lazy_loader

# Read once, when torch starts: threads that wait for each other sleep instead of spinning. Beside
# another process, spinning makes small volumes fifty times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

_load, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *_names]


def __getattr__(name: str) -> Any:
    return _load(name)
