"""Figure of sampling patterns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.figures.canvas import DPI, WIDTH_INCHES, panels, styled, to_png
from accelqsm.figures.figure import Figure


def sampling_figure(patterns: Mapping[str, npt.NDArray[Any]]) -> Figure:
    """Figure of sampling patterns ``(ky, kz)``, sampled positions dark, with their acceleration.

    The acceleration is the number of positions divided by the number of samples, over the full
    rectangle with calibration and corners included.

    Raises:
        InputError: no pattern, a pattern without two axes or without a sample.
    """
    for name, pattern in patterns.items():
        if pattern.ndim != 2 or not pattern.any():
            raise InputError(
                f"sampling pattern {name}: expected (ky, kz) with samples, found {pattern.shape}"
            )
    if not patterns:
        raise InputError("sampling patterns: expected at least one, found none")
    factors = {name: p.size / int((p != 0).sum()) for name, p in patterns.items()}
    n_columns = 2 if len(patterns) > 1 else 1
    n_rows = -(-len(patterns) // n_columns)
    largest = np.max([p.shape for p in patterns.values()], axis=0)
    # An integer number of pixels per sample avoids artificial stripes.
    available = (WIDTH_INCHES - 0.75) / 2 - 0.1
    width = max(int(available * DPI // largest[0]), 1) * largest[0] / DPI
    height = width * largest[1] / largest[0]
    with styled():
        grid = panels(n_columns, [height] * n_rows, width=width, top=0.3, gap=(0.2, 0.35))
        for axes, (name, pattern) in zip(grid.flat, patterns.items(), strict=False):
            axes.imshow(
                (pattern != 0).T, cmap="Blues", vmin=-0.1, vmax=1.15, origin="lower",
                interpolation="nearest", aspect="auto",
            )  # fmt: skip
            axes.set_title(f"{name}: acceleration {factors[name]:.2f}", fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
        for axes in grid.flat[len(patterns) :]:
            axes.set_visible(False)
        for row in grid.axes:
            row[0].set_ylabel("$k_z$", parse_math=True)
        for axes in grid.axes[-1]:
            axes.set_xlabel("$k_y$", parse_math=True)
        png = to_png(grid.drawing)
    listed = ", ".join(f"{name} {factor:.2f}" for name, factor in factors.items())
    return Figure(
        title="Sampling patterns",
        caption=(
            "Sampled positions (dark) over both phase-encoding directions. Acceleration: positions "
            "of the full rectangle divided by samples, calibration included."
        ),
        alt=f"Sampling patterns in ky and kz with their acceleration: {listed}.",
        png=png,
        drawing=grid.drawing,
    )
