"""Tensors of arrays, whichever way these lie in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def as_tensor(values: npt.NDArray[Any]) -> Tensor:
    """Tensor of an array's values in C order, which shares its memory where it can.

    Numpy calls an array contiguous whose axes of length one run backwards; torch refuses it.
    """
    backwards = tuple(a for a, n in enumerate(values.shape) if n == 1 and values.strides[a] < 0)
    return torch.from_numpy(np.ascontiguousarray(np.flip(values, backwards)))
