"""What an atlas's folder holds, as images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.files.nifti import Image
from accelqsm.grid import Grid


@dataclass(frozen=True)
class AtlasImages:
    """What an atlas's folder holds.

    Attributes:
        folder: where it is.
        templates: image by contrast, a key of ``TEMPLATES``.
        brain: mask of the brain, or None where the template's own zeros say it.
        labels: indices (x, y, z), or None where there are probabilities.
        probabilities: (x, y, z) by index; empty where there are labels.
        label_grid: of the labels or probabilities.
        lookup: columns index and name.
    """

    folder: Path
    templates: Mapping[str, Image]
    brain: Image | None
    labels: npt.NDArray[Any] | None
    probabilities: Mapping[int, npt.NDArray[np.float32]]
    label_grid: Grid
    lookup: pd.DataFrame
