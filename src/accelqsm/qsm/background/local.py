"""Record of the local field after background field removal."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LocalField:
    """The field of sources inside the mask.

    Attributes:
        field_ppm: (x, y, z), zero outside ``mask``; in ppm of the main field.
        mask: bool (x, y, z), where the local field is known.
    """

    field_ppm: Tensor
    mask: Tensor
