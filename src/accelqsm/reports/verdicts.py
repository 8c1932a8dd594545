"""Table of the verdict per nucleus and protocol, readable without colour."""

from __future__ import annotations

import math

import pandas as pd

from accelqsm.reports.cells import MISSING, Table

SIGNS = {"equivalent": "✓", "not equivalent": "✗", "undecided": "?"}


def verdict_table(agreement: pd.DataFrame, *, reference: str, margin: str) -> Table:
    """Verdict table: one row per nucleus, one column per protocol, a symbol and a word per cell.

    Args:
        agreement: one row per ``region, protocol`` with ``verdict`` ("equivalent", "not
            equivalent", "undecided" or none), ``n_to_decide`` and ``n``.
        reference: the protocol that the others were compared with.
        margin: text of the margin, such as "5 % of the PI mean".
    """
    cells = {
        (str(row["region"]), str(row["protocol"])): _cell(row)
        for row in agreement.to_dict("records")
    }
    regions, protocols = (
        list(dict.fromkeys(agreement[key].astype(str))) for key in ("region", "protocol")
    )
    columns = {p: [cells.get((r, p), MISSING) for r in regions] for p in protocols}
    return Table(
        title=f"Equivalent to {reference}?",
        frame=pd.DataFrame({"Nucleus": regions} | columns),
        caption=(
            f"Two one-sided tests of the mean difference against a margin chosen beforehand: "
            f"{margin}. ✓ the interval of the mean difference lies within the margin; ✗ it lies "
            "outside; ? it crosses the margin (in brackets: total number of subjects to decide). "
            "This is about group means; the limits of agreement show how far individual subjects "
            "differ."
        ),
    )


def _cell(row: dict[object, object]) -> str:
    verdict = row.get("verdict")
    if not isinstance(verdict, str) or not verdict:
        return f"none (n = {row['n']})"
    needed = row.get("n_to_decide")
    number = needed if isinstance(needed, int | float) else math.nan
    ending = "" if math.isnan(number) else f" ({number:.0f})"
    return f"{SIGNS.get(verdict, '')} {verdict}{ending}"
