"""Subjects of a study to plan, and scan time saved by an acceleration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from accelqsm.agreement.planning.pilot import Pilot, check_pilot, pilot_of
from accelqsm.agreement.settings import EVERY_REGION, PlanSettings
from accelqsm.agreement.statistics.coefficients import NAN
from accelqsm.agreement.statistics.equivalence import (
    MIN_PAIRS,
    difference_power,
    equivalence_power,
    subjects_to_decide,
)
from accelqsm.agreement.statistics.sample_size import (
    assurance,
    chance_within,
    detection_power,
    limits_half_width,
    subjects_for_limits,
    subjects_to_detect,
)
from accelqsm.agreement.values import POOLED
from accelqsm.errors import InputError

SECONDS_PER_HOUR = 3600
DEFAULT = PlanSettings()


class Goal(StrEnum):
    """What a study is to reach.

    Attributes:
        EQUIVALENCE: show that the mean difference lies within the margin.
        NON_EQUIVALENCE: show that it lies beyond.
        DIFFERENCE: find a smallest difference by a paired t test.
        LIMITS: know each limit of agreement to a half-width.
    """

    EQUIVALENCE = "equivalence"
    NON_EQUIVALENCE = "non-equivalence"
    DIFFERENCE = "difference"
    LIMITS = "limits"


@dataclass(frozen=True)
class Aim:
    """A goal with its numbers.

    Attributes:
        goal: what is to be reached.
        target_ppb: margin, smallest difference, or half-width of the interval of a limit.
        bias_ppb: true difference that is assumed.
        sd_ppb: SD of the paired differences that are compared.
        alpha: level of each one-sided test.
    """

    goal: Goal
    target_ppb: float
    bias_ppb: float
    sd_ppb: float
    alpha: float

    def subjects(self, power: float) -> float:
        """Smallest number of subjects; NaN where none is known to be sufficient."""
        numbers = (self.target_ppb, self.bias_ppb, self.sd_ppb)
        if not all(map(math.isfinite, numbers)) or not self.target_ppb > 0:
            return NAN
        if self.goal is Goal.DIFFERENCE:
            return subjects_to_detect(self.target_ppb, self.sd_ppb, alpha=self.alpha, power=power)
        if self.goal is Goal.LIMITS:
            return subjects_for_limits(self.target_ppb, self.sd_ppb, confidence=1 - self.alpha)
        if not self.reachable:
            return NAN
        if self.sd_ppb == 0:
            return float(MIN_PAIRS)
        return subjects_to_decide(
            self.target_ppb, self.sd_ppb, bias=self.bias_ppb, alpha=self.alpha, power=power
        )

    def power(self, n: float) -> float:
        """Probability to reach the goal with n subjects; NaN for limits of agreement."""
        if math.isnan(n) or self.goal is Goal.LIMITS:
            return NAN
        if not self.reachable:
            return 0.0
        if self.sd_ppb == 0:
            return 1.0
        error, degrees = self.sd_ppb / math.sqrt(n), int(n) - 1
        if self.goal is Goal.DIFFERENCE:
            return detection_power(self.target_ppb, error, degrees, alpha=self.alpha)
        chance = equivalence_power if self.goal is Goal.EQUIVALENCE else difference_power
        return chance(self.target_ppb, error, degrees, bias=self.bias_ppb, alpha=self.alpha)

    def half_width_ppb(self, n: int) -> float:
        """Half-width of the interval of a limit of agreement with n subjects."""
        return limits_half_width(n, self.sd_ppb, confidence=1 - self.alpha)

    @property
    def reachable(self) -> bool:
        """Whether any number of subjects reaches the goal if the difference is as assumed."""
        inside = abs(self.bias_ppb) < self.target_ppb
        return {Goal.EQUIVALENCE: inside, Goal.NON_EQUIVALENCE: not inside}.get(self.goal, True)


def plan_subjects(
    pilot: pd.DataFrame,
    settings: PlanSettings = DEFAULT,
    *,
    bias_ppb: float | None = None,
    scan_time_s: Mapping[str, float] | None = None,
    reference: str | None = None,
) -> pd.DataFrame:
    """Number of subjects for each goal, per region and protocol, by the model of a comparison.

    The interval of the mean difference is held against the margin, with bias and SD as the pilot
    observed them: what a comparison calls undecided is decided by the number that it gives, and
    equivalence is impossible where the bias lies beyond the margin. A bias from few subjects is
    itself uncertain: ``assurance`` is the probability of equivalence by what the pilot knows.

    Args:
        pilot: columns ``region, protocol, mean_reference, within_subject_sd`` (ppb), and further
            ones of the table of ``compare_protocols``, which is a pilot as it is.
        settings: goals, and what is assumed in place of the pilot.
        bias_ppb: true difference, protocol - reference; None for that of the pilot, or none where
            it has no ``bias``.
        scan_time_s: protocol -> seconds of one scan, the reference among them.
        reference: the protocol that the others replace; needed with ``scan_time_s``.

    Returns:
        One row per region, protocol and goal (pooled rows left out): ``region, protocol, goal,
        target_ppb, sd_compared, planned_bias, n_subjects, power, n_subjects_upper_sd, assurance,
        assurance_most, assumption, note`` and, with scan times, ``time_saved_s`` per scan and
        ``time_saved_h`` over the subjects. NaN where the pilot has no SD, the goal is impossible,
        or a million subjects are not sufficient.

    Raises:
        InputError: missing columns, a region that is not in the pilot, repeats without the SD of
            repeated scans, or a scan time out of range.
    """
    check_pilot(pilot, settings)
    saved = _time_saved(scan_time_s, reference)
    rows = []
    for row in pilot[pilot["region"] != POOLED].to_dict("records"):
        known = pilot_of({str(name): value for name, value in row.items()}, settings, bias_ppb)
        for aim in _aims(known, settings):
            planned = _planned(known, aim, settings)
            if saved is not None:
                seconds = saved.get(known.protocol, NAN)
                hours = float(str(planned["n_subjects"])) * seconds / SECONDS_PER_HOUR
                planned |= {"time_saved_s": seconds, "time_saved_h": hours}
            rows.append(planned)
    if not rows:
        raise InputError("pilot: expected at least one region, found none")
    return pd.DataFrame(rows)


def _aims(known: Pilot, settings: PlanSettings) -> Iterator[Aim]:
    alpha = 1 - settings.confidence

    def aim(goal: Goal, target: float, sd: float = known.sd_ppb) -> Aim:
        return Aim(goal, target, known.bias_ppb, sd, alpha)

    equivalence = aim(Goal.EQUIVALENCE, known.margin_ppb)
    yield equivalence
    if not equivalence.reachable and math.isfinite(known.margin_ppb):
        yield aim(Goal.NON_EQUIVALENCE, known.margin_ppb)
    smallest, half_width = (
        targets.get(known.region, targets.get(EVERY_REGION))
        for targets in (settings.detect_ppb, settings.limits_ppb)
    )
    if smallest is not None:
        yield aim(Goal.DIFFERENCE, smallest)
    if half_width is not None:
        yield aim(Goal.LIMITS, half_width, known.sd_single_ppb)


def _planned(known: Pilot, aim: Aim, settings: PlanSettings) -> dict[str, object]:
    n = aim.subjects(settings.power)
    if aim.goal in (Goal.EQUIVALENCE, Goal.NON_EQUIVALENCE):
        n = known.as_compared(n)
    upper = Aim(aim.goal, aim.target_ppb, aim.bias_ppb, aim.sd_ppb * known.upper_over_sd, aim.alpha)
    sure, most = _assurance(known, aim, n)
    return {
        "region": known.region,
        "protocol": known.protocol,
        "goal": aim.goal.value,
        "target_ppb": aim.target_ppb,
        "sd_compared": aim.sd_ppb,
        "planned_bias": aim.bias_ppb,
        "n_subjects": n,
        "power": aim.power(n),
        "n_subjects_upper_sd": upper.subjects(settings.power),
        "assurance": sure,
        "assurance_most": most,
        "assumption": _assumption(known, aim),
        "note": _note(known, aim, n),
    }


def _assurance(known: Pilot, aim: Aim, n: float) -> tuple[float, float]:
    """Probability of equivalence with n subjects and with any number, by what the pilot knows."""
    sd = known.sd_pilot_ppb
    if aim.goal is not Goal.EQUIVALENCE or known.bias_given or known.n < MIN_PAIRS or not sd > 0:
        return NAN, NAN
    target, bias = aim.target_ppb, aim.bias_ppb
    most = chance_within(target, bias=bias, sd_difference=sd, n_pilot=known.n)
    if math.isnan(n):
        return NAN, most
    shrink = aim.sd_ppb / sd
    return assurance(
        int(n), target, bias=bias, sd_difference=sd, n_pilot=known.n, shrink=shrink, alpha=aim.alpha
    ), most


def _note(known: Pilot, aim: Aim, n: float) -> str:
    notes = []
    if aim.goal is Goal.EQUIVALENCE and math.isfinite(aim.target_ppb):
        if not aim.reachable:
            whose = "assumed" if known.bias_given else "seen"
            notes.append(f"impossible: the difference {whose} lies beyond the margin")
        if known.verdict:
            notes.append(f"{known.verdict} at n = {known.n}")
    if math.isnan(aim.sd_ppb):
        notes.append("the pilot has no SD of the differences")
    elif math.isnan(n) and aim.reachable:
        notes.append("a million are not sufficient")
    return "; ".join(notes)


def _assumption(known: Pilot, aim: Aim) -> str:
    """What the number of subjects rests on, in words."""
    per = f" of means of {known.scans} scans" if known.scans > 1 else ""
    spread = f"SD of differences {aim.sd_ppb:.2f} ppb"
    if aim.goal is Goal.LIMITS:
        return f"{spread} of single scans" if per else spread
    if aim.goal is Goal.DIFFERENCE:
        return f"true difference {aim.target_ppb:g} ppb; {spread}{per}"
    return f"{known.bias_text}; {spread}{per}"


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
