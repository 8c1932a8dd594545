"""Record of the images of an atlas as read from its folder."""

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
    """Images and lookup table of an atlas.

    Attributes:
        folder: path of the atlas.
        templates: image by contrast, a key of ``TEMPLATES``.
        brain: brain mask, or None where the template is zero outside the brain.
        labels: label indices (x, y, z), or None where there are probabilities.
        probabilities: label probabilities (x, y, z) by index; empty where there are labels.
        label_grid: grid of the labels or probabilities.
        lookup: columns index and name.
    """

    folder: Path
    templates: Mapping[str, Image]
    brain: Image | None
    labels: npt.NDArray[Any] | None
    probabilities: Mapping[int, npt.NDArray[np.float32]]
    label_grid: Grid
    lookup: pd.DataFrame
