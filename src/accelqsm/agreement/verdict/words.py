"""Verdicts in sentences, the shortest first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from accelqsm.agreement.statistics.equivalence import Verdict
from accelqsm.agreement.verdict.verdicts import NucleusVerdict, ProtocolVerdict

MOST_DETAILS = 2
"""Nuclei of one verdict that a sentence gives with their numbers; the others by name."""
LARGEST_RISK = 1e9


def headline(verdicts: Sequence[ProtocolVerdict]) -> str:
    """The verdict in one line: the protocol that may replace most, then the others in short.

    Most equivalent nuclei, then fewest that are not, most time saved, least risk.
    """
    best = best_of(verdicts)
    if len(verdicts) > 1 and all(len(one.without) == len(one.nuclei) for one in verdicts):
        sentences = [protocol_sentence(one) for one in verdicts]
        said = {
            sentence.replace(f" on {one.protocol}", "", 1)
            for one, sentence in zip(verdicts, sentences, strict=True)
        }
        return " ".join(said if len(said) == 1 else sentences)
    others = [
        f"{one.protocol}: {len(one.equivalent)} of {len(one.nuclei)}"
        for one in verdicts
        if one is not best
    ]
    return " ".join([protocol_sentence(best), *([f"{'; '.join(others)}."] if others else [])])


def best_of(verdicts: Sequence[ProtocolVerdict]) -> ProtocolVerdict:
    """The protocol of the line: that which may replace the reference in most nuclei."""
    return max(verdicts, key=_merit)


def protocol_sentence(verdict: ProtocolVerdict) -> str:
    """For which nuclei a protocol may replace the reference, for which not, and what it saves."""
    if len(verdict.without) == len(verdict.nuclei):
        reasons = dict.fromkeys(nucleus.reason for nucleus in verdict.nuclei)
        return f"No verdict on {verdict.protocol}: {'; '.join(reasons)}."
    parts = [
        f"{words} {_listed(nuclei)}"
        for words, nuclei in (
            ("not for", verdict.not_equivalent),
            ("undecided for", verdict.undecided),
            ("no verdict for", verdict.without),
        )
        if nuclei
    ]
    whole = _whole(verdict) + (f": {'; '.join(parts)}" if parts else "")
    return "; ".join(filter(None, [whole, time_text(verdict), f"n = {n_text(verdict)}"])) + "."


def nucleus_sentence(nucleus: NucleusVerdict) -> str:
    """Verdict on one nucleus with its numbers and what would decide it."""
    subject = f"{nucleus.region}, {nucleus.protocol}"
    if nucleus.decision is None:
        return f"{subject}: no verdict, {nucleus.reason}."
    end = {
        Verdict.EQUIVALENT: "the interval lies within the margin",
        Verdict.NOT_EQUIVALENT: "the interval lies beyond the margin",
        Verdict.UNDECIDED: decide_text(nucleus),
    }[nucleus.decision]
    return f"{subject}: {nucleus.decision.value} ({numbers_text(nucleus)}); {end}."


def decide_text(nucleus: NucleusVerdict) -> str:
    """What would decide an undecided nucleus; empty for others."""
    if nucleus.decision is not Verdict.UNDECIDED:
        return ""
    if math.isnan(nucleus.n_to_decide):
        return "no number of people would decide"
    n = f"a study of {nucleus.n_to_decide:.0f} people"
    if nucleus.reachable:
        return f"{n} would decide"
    return f"the difference seen lies beyond the margin, as {n} would show"


def numbers_text(nucleus: NucleusVerdict) -> str:
    """Bias with the interval that decides: "-8.0 %, interval -11.0 to -5.2"."""
    in_percent = not math.isnan(nucleus.bias_percent)
    bias, lower, upper, margin = (
        (nucleus.bias_percent, nucleus.lower_percent, nucleus.upper_percent, nucleus.margin_percent)
        if in_percent
        else (nucleus.bias_ppb, nucleus.lower_ppb, nucleus.upper_ppb, nucleus.margin_ppb)
    )
    first, low, high = (signed(value, margin) for value in (bias, lower, upper))
    return f"{first} {'%' if in_percent else 'ppb'}, interval {low} to {high}"


def signed(value: float, margin: float = math.nan) -> str:
    """Number with sign and one decimal, or as many as show on which side of the margin it lies."""
    text = ""
    for digits in (1, 2, 3, 4):
        text = f"{value:+.{digits}f}"
        shown = abs(float(text))
        if math.isnan(margin) or _side(shown, margin) == _side(abs(value), margin):
            break
    return text.lstrip("+-") if float(text) == 0 else text


def margin_text(verdict: ProtocolVerdict) -> str:
    """The margin: "5 %" of the reference mean, or ppb where it differs between nuclei."""
    judged = [nucleus for nucleus in verdict.nuclei if nucleus.margin_ppb > 0]
    percent = [nucleus.margin_percent for nucleus in judged]
    known = not any(map(math.isnan, percent))
    if known and max(percent) - min(percent) <= 1e-3 * max(percent):
        return f"{percent[0]:.3g} %"
    ppb = sorted(nucleus.margin_ppb for nucleus in judged)
    ends = dict.fromkeys(f"{value:.3g}" for value in (ppb[0], ppb[-1]))
    return f"{' to '.join(ends)} ppb"


def n_text(verdict: ProtocolVerdict) -> str:
    """Number of subjects: "59", or "57 to 59"."""
    numbers = sorted(nucleus.n for nucleus in verdict.nuclei)
    return " to ".join(dict.fromkeys(map(str, (numbers[0], numbers[-1]))))


def time_text(verdict: ProtocolVerdict) -> str:
    """Scan time saved; empty where it is not known."""
    saved = verdict.time_saved_s
    if math.isnan(saved):
        return ""
    source = f" (scan times of {verdict.time_source})" if verdict.time_source else ""
    said = f"it saves {minutes(saved)} a scan" if saved >= 0 else (
        f"it takes {minutes(-saved)} more a scan"
    )  # fmt: skip
    return said + source


def minutes(seconds: float) -> str:
    """Time as minutes and seconds: "4:35 min"."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d} min"


def _whole(verdict: ProtocolVerdict) -> str:
    good, n = len(verdict.equivalent), len(verdict.nuclei)
    end = f"within {margin_text(verdict)}"
    pair = f"{verdict.protocol}", f"replace {verdict.reference}"
    if good == n:
        which = {1: verdict.nuclei[0].region, 2: "both nuclei"}.get(n, f"all {n} nuclei")
        return f"{pair[0]} may {pair[1]} for {which} {end}"
    if good:
        return f"{pair[0]} may {pair[1]} for {good} of {n} nuclei {end}"
    if verdict.undecided or verdict.without:
        return f"It is undecided whether {pair[0]} may {pair[1]} {end}"
    return f"{pair[0]} may not {pair[1]} {end}"


def _listed(nuclei: Sequence[NucleusVerdict]) -> str:
    return ", ".join(
        f"{nucleus.region} ({_detail(nucleus, alone=len(nuclei) == 1)})"
        if place < MOST_DETAILS
        else nucleus.region
        for place, nucleus in enumerate(nuclei)
    )


def _detail(nucleus: NucleusVerdict, *, alone: bool) -> str:
    """Numbers of a nucleus, and what would decide it where it is the only one of its kind."""
    if nucleus.decision is None:
        return nucleus.reason
    more = decide_text(nucleus) if alone else ""
    return "; ".join(filter(None, [numbers_text(nucleus), more]))


def _merit(verdict: ProtocolVerdict) -> tuple[int, int, float, float]:
    risks = [nucleus.risk for nucleus in verdict.nuclei if not math.isnan(nucleus.risk)]
    saved = verdict.time_saved_s
    return (
        len(verdict.equivalent),
        -len(verdict.not_equivalent),
        -LARGEST_RISK if math.isnan(saved) else saved,
        -max(risks, default=LARGEST_RISK),
    )


def _side(value: float, margin: float) -> int:
    return int(value > margin) - int(value < margin)
