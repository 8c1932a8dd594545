"""What ran: versions and device, written beside every result."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from accelqsm import __version__

if TYPE_CHECKING:
    import torch

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "numba",
    "nibabel",
    "h5py",
    "ismrmrd",
    "nilearn",
    "pandas",
    "antspyx",
)


def software() -> dict[str, str]:
    """Versions of accelqsm, Python and the packages that compute."""
    versions = {"accelqsm": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "missing"
    return versions


def device_name(device: torch.device) -> str:
    """A device in words."""
    import torch

    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"
