"""The learning curve as a picture: loss, and error against zero-filling, step by step."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from accelqsm.figures.canvas import COLOURS, MARKERS, panels, styled, to_png


def draw_curve(log: Path, out: Path) -> None:
    """Draw ``log.csv`` of a training run.

    Args:
        log: columns ``step, loss`` and, by acceleration N, ``nrmse_afN`` and ``zero_filled_afN``.
        out: PNG to write.
    """
    rows = pd.read_csv(log)
    names = [name.removeprefix("nrmse_") for name in rows.columns if name.startswith("nrmse_")]
    with styled():
        grid = panels(2, [3.0])
        losses, errors = grid.axes[0]
        losses.plot(rows["step"], rows["loss"], color=COLOURS[0], marker=MARKERS[0], markersize=3)
        losses.set(xlabel="step", ylabel="loss, running mean", yscale="log")
        for name, colour, marker in zip(names, COLOURS, MARKERS, strict=False):
            share = rows[f"nrmse_{name}"] / rows[f"zero_filled_{name}"]
            errors.plot(
                rows["step"], share, color=colour, marker=marker, markersize=3, label=name.upper()
            )
        errors.set(xlabel="step", ylabel="NRMSE over that of zero-filling", ylim=(0, 1))
        if names:
            errors.legend(frameon=False)
        out.write_bytes(to_png(grid.drawing))
