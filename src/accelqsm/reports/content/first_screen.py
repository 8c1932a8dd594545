"""First screen of a report: the line, a row per protocol, and what its words mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from accelqsm.agreement.verdict.verdicts import NucleusVerdict, ProtocolVerdict
from accelqsm.agreement.verdict.words import (
    best_of,
    decide_text,
    headline,
    minutes,
    n_text,
    signed,
)
from accelqsm.reports.cells import typeset
from accelqsm.reports.content.forest import unit_of
from accelqsm.reports.page.content import NO, NONE, OPEN, PARTLY, YES, Answer, Line, Outcome
from accelqsm.reports.sentences import margin_text
from accelqsm.results.comparison import Comparison, known_scan_times_s

NOBODY = "–"
MOST_DETAILS = 2
"""Undecided nuclei that are each given the number of people who would decide."""


def answer(stored: Comparison) -> Answer:
    """Line one, and a row per protocol."""
    found = stored.verdicts
    timed = any(not math.isnan(one.time_saved_s) for one in found)
    headings = [
        "Protocol", f"May it replace {stored.reference}?", "Yes for", "No for", "Undecided for",
        *(["Saves"] if timed else []), "One person may differ by",
        *([f"{stored.reference} again"] if stored.repeats is not None else []), "People",
    ]  # fmt: skip
    best = outcome(best_of(found))
    return Answer(
        text=typeset(headline(found)),
        outcome=best,
        headings=headings if best is not NONE else (),
        lines=[_line(one, stored, timed=timed) for one in found if best is not NONE],
        notes=[_note(stored)] if best is not NONE else (),
    )


def outcome(verdict: ProtocolVerdict) -> Outcome:
    """Outcome of a protocol over all its nuclei."""
    if len(verdict.without) == len(verdict.nuclei):
        return NONE
    if len(verdict.equivalent) == len(verdict.nuclei):
        return YES
    if verdict.equivalent:
        return PARTLY
    return OPEN if verdict.undecided else NO


def terms(stored: Comparison) -> dict[str, str]:
    """What the reader must know to read line, rows and forest plot."""
    settings = stored.settings
    decided = any(nucleus.decision for one in stored.verdicts for nucleus in one.nuclei)
    found = {"Margin": f"the mean difference that was called small enough: {margin_text(stored)}"}
    if decided:
        found["Interval"] = (
            "where the true mean difference lies, with "
            f"{100 * (2 * settings.confidence - 1):g} % confidence"
        )
        found["One person"] = (
            "95 of 100 persons differ by no more than these limits of agreement, given for the "
            "nucleus where they reach farthest"
        )
    if decided and stored.repeats is not None:
        found[f"{stored.reference} again"] = (
            f"95 of 100 persons differ by no more when {stored.reference} itself is scanned again"
        )
    unit = {"ppb": "parts per billion, the unit of magnetic susceptibility"}
    return {
        **found,
        **(unit if unit_of(stored) == "ppb" or settings.margin_ppb else {}),
        stored.reference: "the reference, with which the other protocols are compared",
    }


def _line(verdict: ProtocolVerdict, stored: Comparison, *, timed: bool) -> Line:
    bad = verdict.not_equivalent
    cells = [
        _names(verdict.equivalent, len(verdict.nuclei)),
        "; ".join(f"{one.region} ({_difference(one, unit_of(stored))})" for one in bad) or NOBODY,
        _undecided(verdict.undecided),
        *([saved_of(verdict, stored)] if timed else []),
        _one_person(verdict, stored),
        *_again(verdict, stored),
        n_text(verdict),
    ]
    return Line(verdict.protocol, outcome(verdict), [typeset(cell) for cell in cells])


def saved_of(verdict: ProtocolVerdict, stored: Comparison) -> str:
    """Scan time saved of that of the reference: "2:11 of 6:46 min"; a minus before time lost."""
    saved_s = verdict.time_saved_s
    if math.isnan(saved_s):
        return NOBODY
    times, _ = known_scan_times_s(stored.settings, [verdict.protocol])
    said = f"{minutes(abs(saved_s)).removesuffix(' min')} of {minutes(times[stored.reference])}"
    return said if saved_s >= 0 else f"-{said}"


def _difference(nucleus: NucleusVerdict, unit: str) -> str:
    if unit == "%":
        return f"{signed(nucleus.bias_percent, nucleus.margin_percent)} %"
    return f"{signed(nucleus.bias_ppb, nucleus.margin_ppb)} ppb"


def _undecided(nuclei: Sequence[NucleusVerdict]) -> str:
    """Undecided nuclei with what would decide each, or all of many."""
    needed = [nucleus.n_to_decide for nucleus in nuclei]
    if len(nuclei) <= MOST_DETAILS or any(map(math.isnan, needed)):
        return "; ".join(f"{one.region} ({decide_text(one)})" for one in nuclei) or NOBODY
    names = ", ".join(nucleus.region for nucleus in nuclei)
    return f"{names} (a study of {min(needed):.0f} to {max(needed):.0f} people would decide)"


def _names(nuclei: Sequence[NucleusVerdict], n: int) -> str:
    if len(nuclei) == n:
        return f"all {n}" if n > 1 else nuclei[0].region
    return ", ".join(nucleus.region for nucleus in nuclei) or NOBODY


def _one_person(verdict: ProtocolVerdict, stored: Comparison) -> str:
    """Limits of agreement of the nucleus where they reach farthest from no difference."""
    rows = stored.agreement[stored.agreement["protocol"] == verdict.protocol]
    ends = (rows[name].astype(float) for name in ("loa_lower", "loa_upper"))
    limits = zip(rows["region"].astype(str), *ends, strict=True)
    return _farthest(verdict, stored, {region: (low, high) for region, low, high in limits})


def _again(verdict: ProtocolVerdict, stored: Comparison) -> list[str]:
    """Difference of the reference scanned again, where it is largest; nothing without repeats."""
    if stored.repeats is None:
        return []
    rows = stored.repeats[stored.repeats["protocol"] == verdict.protocol]
    half = zip(rows["region"], rows["repeatability_reference"].astype(float), strict=True)
    return [_farthest(verdict, stored, {str(region): (-ppb, ppb) for region, ppb in half})]


def _farthest(
    verdict: ProtocolVerdict, stored: Comparison, limits_ppb: Mapping[str, tuple[float, float]]
) -> str:
    """The limits of single persons that reach farthest, in the unit of the page."""
    unit = unit_of(stored)
    found = []
    for nucleus in verdict.nuclei:
        lower, upper = limits_ppb.get(nucleus.region, (math.nan, math.nan))
        scale = 100 / nucleus.mean_reference_ppb if unit == "%" and nucleus.n else 1.0
        low, high = sorted((scale * lower, scale * upper))
        if not math.isnan(high - low):
            found.append((max(abs(low), abs(high)), low, high, nucleus.region))
    if not found:
        return NOBODY
    _, low, high, region = max(found)
    return f"{signed(low)} to {signed(high)} {unit} ({region})"


def _note(stored: Comparison) -> str:
    wrong = 100 * (1 - stored.settings.confidence)
    return (
        "“Yes” is about the mean over people: it stays within the margin. If in truth it does not, "
        f"a study like this one still says yes in at most {wrong:.3g} of 100 cases. A single "
        "person may be farther off than the margin, as the column of one person tells."
    )
