"""Verdict per nucleus and protocol, as every table, plot, page and plan shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from accelqsm.agreement.statistics.coefficients import NAN
from accelqsm.agreement.statistics.equivalence import MIN_PAIRS, Verdict
from accelqsm.agreement.values import POOLED, number_in
from accelqsm.agreement.verdict.names import full_name

RISK = (Verdict.NOT_EQUIVALENT, Verdict.UNDECIDED, None, Verdict.EQUIVALENT)


@dataclass(frozen=True)
class NucleusVerdict:
    """Verdict on a protocol in one nucleus.

    Attributes:
        region: nucleus, as the table names it.
        protocol: the protocol that would replace the reference.
        reference: the protocol that would be replaced.
        decision: None without a verdict.
        n: subjects with both values.
        mean_reference_ppb: mean under the reference.
        bias_ppb: mean difference, protocol - reference.
        lower_ppb: lower end of the interval that decides, of level 1 - 2 alpha.
        upper_ppb: its upper end.
        margin_ppb: half-width of the region of equivalence.
        n_to_decide: total number of subjects that would decide an undecided case if bias and SD
            are as observed; NaN otherwise, or if a million is not sufficient.
        reason: why there is no verdict; empty where there is one.
        note: what was left out, and what cannot be computed.
    """

    region: str
    protocol: str
    reference: str
    decision: Verdict | None
    n: int
    mean_reference_ppb: float
    bias_ppb: float
    lower_ppb: float
    upper_ppb: float
    margin_ppb: float
    n_to_decide: float = NAN
    reason: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """Name of the nucleus without abbreviation."""
        return full_name(self.region)

    @property
    def bias_percent(self) -> float:
        """Mean difference in percent of the reference mean."""
        return _percent(self.bias_ppb, self.mean_reference_ppb)

    @property
    def lower_percent(self) -> float:
        """Lower end of the interval in percent of the reference mean."""
        return self._ends_percent[0]

    @property
    def upper_percent(self) -> float:
        """Upper end of the interval in percent of the reference mean."""
        return self._ends_percent[1]

    @property
    def margin_percent(self) -> float:
        """Margin in percent of the reference mean."""
        return abs(_percent(self.margin_ppb, self.mean_reference_ppb))

    @property
    def _ends_percent(self) -> tuple[float, float]:
        ends = [_percent(v, self.mean_reference_ppb) for v in (self.lower_ppb, self.upper_ppb)]
        return min(ends), max(ends)

    @property
    def reachable(self) -> bool:
        """Whether more subjects can show equivalence if the difference is as observed."""
        return abs(self.bias_ppb) < self.margin_ppb

    @property
    def risk(self) -> float:
        """Farthest end of the interval over the margin: below 1 for equivalent nuclei."""
        return max(abs(self.lower_ppb), abs(self.upper_ppb)) / self.margin_ppb


@dataclass(frozen=True)
class ProtocolVerdict:
    """Verdict on a protocol in all nuclei.

    Attributes:
        protocol: the protocol that would replace the reference.
        reference: the protocol that would be replaced.
        nuclei: by risk: not equivalent, undecided, without verdict, equivalent, and within each
            the largest ``risk`` first.
        time_saved_s: per scan; NaN where scan times are not known.
        time_source: the published study whose scan times these are; empty for those given.
    """

    protocol: str
    reference: str
    nuclei: tuple[NucleusVerdict, ...]
    time_saved_s: float = NAN
    time_source: str = ""

    def of(self, decision: Verdict | None) -> tuple[NucleusVerdict, ...]:
        """Nuclei with this verdict, by risk."""
        return tuple(nucleus for nucleus in self.nuclei if nucleus.decision is decision)

    @property
    def equivalent(self) -> tuple[NucleusVerdict, ...]:
        """Nuclei for which the protocol may replace the reference."""
        return self.of(Verdict.EQUIVALENT)

    @property
    def not_equivalent(self) -> tuple[NucleusVerdict, ...]:
        """Nuclei for which it may not."""
        return self.of(Verdict.NOT_EQUIVALENT)

    @property
    def undecided(self) -> tuple[NucleusVerdict, ...]:
        """Nuclei whose interval crosses the margin."""
        return self.of(Verdict.UNDECIDED)

    @property
    def without(self) -> tuple[NucleusVerdict, ...]:
        """Nuclei without verdict."""
        return self.of(None)


def verdicts(
    agreement: pd.DataFrame,
    *,
    reference: str,
    scan_time_s: Mapping[str, float] | None = None,
    time_source: str = "",
) -> list[ProtocolVerdict]:
    """Verdict on each protocol, in the order of the table; pooled rows are left out.

    Args:
        agreement: the table of ``compare_protocols``.
        reference: the protocol that would be replaced.
        scan_time_s: protocol -> seconds of one scan, the reference among them.
        time_source: the published study whose scan times these are.
    """
    found: dict[str, list[NucleusVerdict]] = {}
    for row in agreement[agreement["region"] != POOLED].to_dict("records"):
        verdict = _nucleus({str(name): value for name, value in row.items()}, reference)
        found.setdefault(verdict.protocol, []).append(verdict)
    times = scan_time_s or {}
    return [
        ProtocolVerdict(
            protocol,
            reference,
            tuple(sorted(nuclei, key=_by_risk)),
            times.get(reference, NAN) - times.get(protocol, NAN),
            time_source,
        )
        for protocol, nuclei in found.items()
    ]


def _nucleus(row: Mapping[str, object], reference: str) -> NucleusVerdict:
    word = row.get("verdict")
    decision = Verdict(word) if isinstance(word, str) and word else None
    n, note = int(number_in(row, "n")), row.get("note")
    note = note if isinstance(note, str) else ""
    return NucleusVerdict(
        region=str(row["region"]),
        protocol=str(row["protocol"]),
        reference=reference,
        decision=decision,
        n=n,
        mean_reference_ppb=number_in(row, "mean_reference"),
        bias_ppb=number_in(row, "bias"),
        lower_ppb=number_in(row, "tost_ci_lower"),
        upper_ppb=number_in(row, "tost_ci_upper"),
        margin_ppb=number_in(row, "tost_margin"),
        n_to_decide=number_in(row, "n_to_decide"),
        reason="" if decision else _reason(n, note),
        note=note,
    )


def _reason(n: int, note: str) -> str:
    if n == 0:
        return "nobody has a value under both protocols"
    if n < MIN_PAIRS:
        return f"{n} {'person' if n == 1 else 'people'}, {MIN_PAIRS} or more are needed"
    return note


def _by_risk(nucleus: NucleusVerdict) -> tuple[int, float]:
    risk = nucleus.risk
    return RISK.index(nucleus.decision), math.inf if math.isnan(risk) else -risk


def _percent(ppb: float, mean_ppb: float) -> float:
    return 100 * ppb / mean_ppb if mean_ppb else NAN
