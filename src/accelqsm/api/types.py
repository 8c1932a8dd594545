"""Types that the public functions accept."""

from __future__ import annotations

import os
from typing import Any, TypeAlias

PathLike: TypeAlias = str | os.PathLike[str]
VolumeLike: TypeAlias = Any
"""A path, a nibabel image, or an array or tensor on a grid that is known."""
