"""Cascades of refinement by convolutions and consistency with the samples of all channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from accelqsm.recon.sense import Encoding, least_squares

FIRST_ITERATIONS, FIRST_WEIGHT = 8, 1e-2
"""Iterations and Tikhonov weight of the CG-SENSE image that the cascades start from."""

ITERATIONS = 3
"""Conjugate-gradient iterations of each data consistency."""


def unrolled(
    encodings: Sequence[Encoding],
    wanted: Tensor,
    refine: Callable[[int, Tensor], Tensor],
    *,
    log_weights: Tensor,
) -> Tensor:
    """Cascades x <- argmin_x sum_c ||M F C_c x - y_c||^2 + exp(-log v) ||x - z||^2, z = refine(x).

    The first x is a few iterations of CG-SENSE, each minimum a few conjugate gradients.

    Args:
        encodings: forward model of all channels, or one for each of as many equal parts of the
            batch, which are then solved one after the other with less memory.
        wanted: A^H y, complex (batch, x, y, z).
        refine: (number of the cascade, x) to z.
        log_weights: log v of each cascade.

    Returns:
        complex (batch, x, y, z), the signal of all channels: x times the norm of the sensitivities.

    Source: Aggarwal et al. 2019, IEEE Trans Med Imaging 38:394, doi 10.1109/TMI.2018.2865356.
    """
    n = len(encodings)
    parts = list(zip(encodings, wanted.chunk(n), strict=True))
    image = torch.cat(
        [
            least_squares(encoding, part, weight=FIRST_WEIGHT, n_iterations=FIRST_ITERATIONS)
            for encoding, part in parts
        ]
    )
    for index, log_weight in enumerate(log_weights):
        weight, starts = torch.exp(-log_weight), refine(index, image).chunk(n)
        image = torch.cat(
            [
                least_squares(encoding, part, start=start, weight=weight, n_iterations=ITERATIONS)
                for (encoding, part), start in zip(parts, starts, strict=True)
            ]
        )
    norms = [encoding.maps.abs().square().sum(0).sqrt() for encoding in encodings]
    return torch.cat([part * norm for part, norm in zip(image.chunk(n), norms, strict=True)])
