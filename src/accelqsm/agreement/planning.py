"""Sample size of an equivalence study, and scan time saved by an acceleration."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from accelqsm.agreement.settings import DEFAULTS
from accelqsm.agreement.statistics.coefficients import NAN
from accelqsm.agreement.statistics.equivalence import (
    difference_power,
    equivalence_power,
    subjects_to_decide,
)
from accelqsm.agreement.values import POOLED
from accelqsm.errors import InputError

COLUMNS = ("region", "protocol", "mean_reference", "within_subject_sd")
SECONDS_PER_HOUR = 3600


def plan_subjects(
    pilot: pd.DataFrame,
    *,
    margin_percent: float = DEFAULTS.margin_percent,
    margin_ppb: Mapping[str, float] | None = None,
    power: float = DEFAULTS.power,
    confidence: float = DEFAULTS.confidence,
    bias_ppb: float | None = 0.0,
    scan_time_s: Mapping[str, float] | None = None,
    reference: str | None = None,
) -> pd.DataFrame:
    """Sample size for an equivalence test, per region and protocol.

    Paired differences have the SD ``sqrt 2`` times the within-subject SD; the power of the two
    one-sided tests is exact. A within-subject SD from few subjects is itself uncertain, so that the
    sample size is also given for the upper end of its interval.

    Args:
        pilot: columns ``region, protocol, mean_reference, within_subject_sd`` (ppb), and
            optionally ``within_subject_sd_ci_upper`` and ``bias``: the table of
            ``compare_protocols``.
        margin_percent: half-width of the equivalence region, in percent of the reference mean.
        margin_ppb: region -> half-width in ppb, where it replaces ``margin_percent``.
        power: required probability of a decision.
        confidence: 1 - confidence is the level of each one-sided test.
        bias_ppb: true difference to plan for; None takes the pilot's ``bias`` of each row.
        scan_time_s: protocol -> seconds of one scan, the reference among them.
        reference: the protocol that the others replace; needed with ``scan_time_s``.

    Returns:
        One row per region and protocol (pooled rows left out): ``region, protocol,
        within_subject_sd, tost_margin, planned_bias, n_subjects, power, n_subjects_upper_sd``
        and, with scan times, ``time_saved_s`` per scan and ``time_saved_h`` over the subjects.
        NaN where the pilot has no SD above 0, or a million subjects are not sufficient.

    Raises:
        InputError: missing columns, or a margin, power or scan time out of range.
    """
    missing = [name for name in COLUMNS if name not in pilot.columns]
    if bias_ppb is None and "bias" not in pilot.columns:
        missing.append("bias")
    if missing:
        raise InputError(f"pilot: expected a column '{missing[0]}', found {list(pilot.columns)}")
    saved = _time_saved(scan_time_s, reference)
    alpha = 1 - confidence
    rows = []
    for _, row in pilot[pilot["region"] != POOLED].iterrows():
        region, protocol = str(row["region"]), str(row["protocol"])
        given = (margin_ppb or {}).get(region)
        margin = (
            margin_percent / 100 * abs(float(row["mean_reference"])) if given is None else given
        )
        bias = float(row["bias"]) if bias_ppb is None else bias_ppb
        within = float(row["within_subject_sd"])
        n = _subjects(margin, within, bias, alpha, power)
        upper = float(row.get("within_subject_sd_ci_upper", NAN))
        planned: dict[str, object] = {
            "region": region,
            "protocol": protocol,
            "within_subject_sd": within,
            "tost_margin": margin,
            "planned_bias": bias,
            "n_subjects": n,
            "power": _power(margin, within, bias, alpha, n),
            "n_subjects_upper_sd": _subjects(margin, upper, bias, alpha, power),
        }
        if saved is not None:
            seconds = saved.get(protocol, NAN)
            planned |= {"time_saved_s": seconds, "time_saved_h": n * seconds / SECONDS_PER_HOUR}
        rows.append(planned)
    if not rows:
        raise InputError("pilot: expected at least one region, found none")
    return pd.DataFrame(rows)


def _subjects(margin: float, within: float, bias: float, alpha: float, power: float) -> float:
    known = math.isfinite(within) and math.isfinite(margin) and math.isfinite(bias)
    if not known or within == 0:
        return NAN
    return subjects_to_decide(margin, math.sqrt(2) * within, bias=bias, alpha=alpha, power=power)


def _power(margin: float, within: float, bias: float, alpha: float, n: float) -> float:
    if math.isnan(n):
        return NAN
    chance = equivalence_power if abs(bias) < margin else difference_power
    error = math.sqrt(2) * within / math.sqrt(n)
    return chance(margin, error, int(n) - 1, bias=bias, alpha=alpha)


def _time_saved(
    scan_time_s: Mapping[str, float] | None, reference: str | None
) -> dict[str, float] | None:
    if not scan_time_s:
        return None
    if reference is None or reference not in scan_time_s:
        found = ", ".join(scan_time_s)
        raise InputError(f"scan time: expected one of the reference '{reference}', found {found}")
    for name, seconds in scan_time_s.items():
        if not (np.isfinite(seconds) and seconds > 0):
            raise InputError(f"scan time of {name}: expected seconds above 0, found {seconds:g}")
    return {name: scan_time_s[reference] - seconds for name, seconds in scan_time_s.items()}
