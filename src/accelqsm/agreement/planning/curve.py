"""Power of a plan against the number of subjects."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from accelqsm.agreement.planning.plan import Aim, Goal
from accelqsm.agreement.settings import PlanSettings
from accelqsm.agreement.statistics.equivalence import MIN_PAIRS
from accelqsm.agreement.values import number_in

COLUMNS = ("region", "protocol", "goal", "n_subjects", "power", "half_width_ppb")
POINTS = 24
FEWEST_SHOWN = 30
BEYOND = 2


def power_curve(plan: pd.DataFrame, settings: PlanSettings) -> pd.DataFrame:
    """Probability to reach each goal of a plan against the number of subjects.

    Args:
        plan: the table of ``plan_subjects``.
        settings: with which it was made.

    Returns:
        Columns ``region, protocol, goal, n_subjects, power, half_width_ppb``: 3 to twice the
        planned number of subjects (at least 30); ``half_width_ppb`` of the interval of a limit of
        agreement, for that goal, which has no power. A goal without SD has no rows; one that is
        impossible has power 0.
    """
    rows = []
    for record in plan.to_dict("records"):
        row = {str(name): value for name, value in record.items()}
        aim = Aim(
            Goal(str(row["goal"])),
            number_in(row, "target_ppb"),
            number_in(row, "planned_bias"),
            number_in(row, "sd_compared"),
            1 - settings.confidence,
        )
        if not (math.isfinite(aim.sd_ppb) and math.isfinite(aim.target_ppb)):
            continue
        labels = (row["region"], row["protocol"], aim.goal.value)
        for n in _numbers(number_in(row, "n_subjects")):
            width = aim.half_width_ppb(n) if aim.goal is Goal.LIMITS else math.nan
            rows.append((*labels, n, aim.power(n), width))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _numbers(planned: float) -> list[int]:
    last = FEWEST_SHOWN if math.isnan(planned) else max(FEWEST_SHOWN, BEYOND * int(planned))
    spaced = np.geomspace(MIN_PAIRS, last, POINTS).round().astype(int)
    exact = [] if math.isnan(planned) else [int(planned)]
    return sorted({*map(int, spaced), *exact})
