"""What a pilot has shown of one protocol in one region, as a plan takes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from accelqsm.agreement.settings import DEFAULTS, EVERY_REGION, PlanSettings
from accelqsm.agreement.statistics.coefficients import NAN
from accelqsm.agreement.values import number_in
from accelqsm.errors import InputError

COLUMNS = ("region", "protocol", "mean_reference", "within_subject_sd")
ROUNDING = 1e-3
"""Of a number of subjects that follows from figures of six digits, as tables have them."""


@dataclass(frozen=True)
class Pilot:
    """A row of a pilot, with what the settings put in its place.

    Attributes:
        region: nucleus.
        protocol: the protocol to plan for.
        margin_ppb: half-width of the region of equivalence.
        bias_ppb: true difference to plan for.
        bias_given: whether it was given in place of the pilot's.
        bias_interval_ppb: confidence interval of the pilot's bias; NaN where it has none.
        sd_pilot_ppb: SD of the differences that the pilot compared.
        sd_ppb: SD of the differences that the study will compare.
        sd_single_ppb: SD of the differences of single scans.
        upper_over_sd: upper end of the interval of the SD over the SD.
        scans: scans of each subject under each protocol; 0 for the design of the pilot.
        n: subjects of the pilot; 0 where it is not known.
        verdict: of the pilot; empty where it has none.
        n_to_decide: number of subjects by the comparison that the pilot is.
    """

    region: str
    protocol: str
    margin_ppb: float
    bias_ppb: float
    bias_given: bool
    bias_interval_ppb: tuple[float, float]
    sd_pilot_ppb: float
    sd_ppb: float
    sd_single_ppb: float
    upper_over_sd: float
    scans: int
    n: int
    verdict: str
    n_to_decide: float

    def as_compared(self, n: float) -> float:
        """The number of the comparison, where this one differs by the rounding of its table."""
        own = self.n_to_decide
        near = abs(n - own) <= max(1.0, ROUNDING * own)
        return own if near else n

    @property
    def bias_text(self) -> str:
        """The true difference that is assumed, and where it comes from."""
        if math.isnan(self.bias_ppb):
            return "no difference known"
        if self.bias_given:
            return f"difference {self.bias_ppb:+.2f} ppb as given"
        if self.bias_ppb == 0 and not self.n:
            return "no difference, assumed since none is given"
        low, high = self.bias_interval_ppb
        interval = "" if math.isnan(low) else f" (interval {low:.2f} to {high:.2f})"
        return f"difference {self.bias_ppb:+.2f} ppb as in the pilot{interval}"


def check_pilot(pilot: pd.DataFrame, settings: PlanSettings) -> None:
    """Check that a table has what a plan needs, and the regions that settings name.

    Raises:
        InputError: a missing column, or a region that is not there.
    """
    missing = [name for name in COLUMNS if name not in pilot.columns]
    if missing:
        raise InputError(f"pilot: expected a column '{missing[0]}', found {list(pilot.columns)}")
    regions = list(dict.fromkeys(pilot["region"].astype(str)))
    for what, given in (
        ("equivalence margin", settings.margin_ppb),
        ("smallest difference", settings.detect_ppb),
        ("half-width of limits", settings.limits_ppb),
    ):
        for region in given:
            if region not in (EVERY_REGION, *regions):
                known = ", ".join(regions)
                raise InputError(f"{what}: expected a region among {known}, found '{region}'")


def pilot_of(
    row: Mapping[str, object], settings: PlanSettings, bias_ppb: float | None = None
) -> Pilot:
    """What a row of the pilot says, with what the settings or a bias put in its place."""
    region, verdict = str(row["region"]), row.get("verdict")
    single = math.sqrt(2) * number_in(row, "within_subject_sd")
    compared = number_in(row, "sd_compared")
    compared = single if math.isnan(compared) else compared
    bias = bias_ppb
    if bias is None:
        bias = number_in(row, "bias") if "bias" in row else 0.0
    n = number_in(row, "n")
    margin = _given_margin(region, row, settings)
    as_it_is = bias_ppb is None and settings.scans is None and margin is None
    return Pilot(
        region=region,
        protocol=str(row["protocol"]),
        margin_ppb=_pilots_margin(row) if margin is None else margin,
        bias_ppb=bias,
        bias_given=bias_ppb is not None,
        bias_interval_ppb=(number_in(row, "bias_ci_lower"), number_in(row, "bias_ci_upper")),
        sd_pilot_ppb=compared,
        sd_ppb=_sd_of_design(single, compared, row, settings),
        sd_single_ppb=single,
        upper_over_sd=_upper_over_sd(row),
        scans=settings.scans or 0,
        n=0 if math.isnan(n) else int(n),
        verdict=verdict if isinstance(verdict, str) and as_it_is else "",
        n_to_decide=number_in(row, "n_to_decide") if as_it_is else NAN,
    )


def _given_margin(region: str, row: Mapping[str, object], settings: PlanSettings) -> float | None:
    """Margin of the settings, in ppb or in percent of the reference mean; None for the pilot's."""
    given = settings.margin_ppb
    own = given.get(region, given.get(EVERY_REGION))
    if own is not None or settings.margin_percent is None:
        return own
    return settings.margin_percent / 100 * abs(number_in(row, "mean_reference"))


def _pilots_margin(row: Mapping[str, object]) -> float:
    """Margin of the comparison that the pilot is, or the default one."""
    own = number_in(row, "tost_margin")
    by_default = DEFAULTS.margin_percent / 100 * abs(number_in(row, "mean_reference"))
    return by_default if math.isnan(own) else own


def _sd_of_design(
    single: float, compared: float, row: Mapping[str, object], settings: PlanSettings
) -> float:
    """SD of the differences of means over scans: the part of re-scanning shrinks with them.

    ``sd(k)^2 = sd(1)^2 - (1 - 1 / k) (re-scan variance of both protocols)``.

    Raises:
        InputError: several scans, and no SD of repeated scans.
    """
    if settings.scans is None:
        return compared
    if settings.scans == 1:
        return single
    given = settings.rescan_sd_ppb
    pilots = number_in(row, "rescan_sd_reference"), number_in(row, "rescan_sd")
    rescan = pilots if given is None else (given, given)
    if any(map(math.isnan, rescan)):
        raise InputError(
            f"plan: expected the SD of repeated scans for {settings.scans} scans each "
            "(--rescan-sd-ppb, or a pilot with repeats), found none"
        )
    within = min(sum(sd**2 for sd in rescan), single**2)
    return math.sqrt(single**2 - (1 - 1 / settings.scans) * within)


def _upper_over_sd(row: Mapping[str, object]) -> float:
    sd = number_in(row, "within_subject_sd")
    return number_in(row, "within_subject_sd_ci_upper") / sd if sd > 0 else NAN
