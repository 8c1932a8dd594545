"""Figure of the learning curve: loss, and NRMSE relative to zero-filling."""

from __future__ import annotations

import pandas as pd

from accelqsm.figures.canvas import COLOURS, MARKERS, panels, styled, to_png


def learning_curve(log: pd.DataFrame) -> bytes:
    """Learning curve of a training run as PNG bytes.

    Args:
        log: columns ``step, loss`` and, by acceleration N, ``nrmse_afN`` and ``zero_filled_afN``.
    """
    names = [name.removeprefix("nrmse_") for name in log.columns if name.startswith("nrmse_")]
    with styled():
        grid = panels(2, [3.0])
        losses, errors = grid.axes[0]
        losses.plot(log["step"], log["loss"], color=COLOURS[0], marker=MARKERS[0], markersize=3)
        losses.set(xlabel="step", ylabel="loss, running mean", yscale="log")
        for name, colour, marker in zip(names, COLOURS, MARKERS, strict=False):
            relative = log[f"nrmse_{name}"] / log[f"zero_filled_{name}"]
            errors.plot(
                log["step"],
                relative,
                color=colour,
                marker=marker,
                markersize=3,
                label=name.upper(),
            )
        errors.set(xlabel="step", ylabel="NRMSE relative to zero-filling", ylim=(0, 1))
        if names:
            errors.legend(frameon=False)
        return to_png(grid.drawing)
