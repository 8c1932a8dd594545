"""The picture of how a network learned."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from accelqsm.report.canvas import COLOURS, panels, styled, to_png
from accelqsm.report.content import Figure


def learning_figure(history: pd.DataFrame) -> Figure:
    """Draw training and validation loss against the step.

    Args:
        history: columns ``step, training_loss, validation_loss`` (NaN where not evaluated).
    """
    with styled():
        grid = panels(1, [2.4], left=0.8, top=0.1, bottom=0.5)
        axes = grid.axes[0][0]
        for i, (column, marker) in enumerate((("training_loss", ""), ("validation_loss", "o"))):
            part = history[["step", column]].dropna()
            axes.plot(
                part["step"], part[column], color=COLOURS[i], marker=marker, markersize=3.5,
                linewidth=1.1, label=column.replace("_", " "),
            )  # fmt: skip
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.legend(frameon=False)
        png = to_png(grid.drawing)
    last = history["validation_loss"].dropna()
    ending = f" to {last.iloc[-1]:.3g}" if len(last) else ""
    return Figure(
        title="Learning curve",
        caption="Loss of the training and of the validation scans while the network learned.",
        alt=f"Training and validation loss against the step, the validation loss falling{ending}.",
        png=png,
    )
