"""Software versions, for the record of every result."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from accelqsm import __version__

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
    """Versions of accelqsm, Python and the numerical packages."""
    versions = {"accelqsm": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "missing"
    return versions
