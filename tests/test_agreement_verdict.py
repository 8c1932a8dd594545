"""Verdicts in records and words: order, numbers, names, and which protocol comes first."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest

from accelqsm.agreement.pair import paired_agreement
from accelqsm.agreement.statistics.equivalence import Verdict, decide, equivalence
from accelqsm.agreement.verdict.names import full_name, glossary
from accelqsm.agreement.verdict.verdicts import NucleusVerdict, ProtocolVerdict, verdicts
from accelqsm.agreement.verdict.words import (
    headline,
    margin_text,
    minutes,
    nucleus_sentence,
    protocol_sentence,
    signed,
)

ROWS = {
    "Pu": ("equivalent", 0.3, -0.2, 0.8, 1.5, 30.0, ""),
    "Ca": ("undecided", 1.2, 0.3, 2.1, 1.5, 30.0, ""),
    "SNc": ("not equivalent", -7.2, -9.9, -4.6, 4.5, 90.0, ""),
    "RN": ("", 1.0, np.nan, np.nan, np.nan, 0.0, "reference mean is zero, no percentages"),
    "GPe": ("equivalent", 2.0, 0.5, 3.5, 6.0, 120.0, ""),
    "all": ("", 1.0, np.nan, np.nan, np.nan, 70.0, ""),
}


def table(protocol: str = "AF5", **changes: str) -> pd.DataFrame:
    rows = [
        {
            "region": region,
            "protocol": protocol,
            "n": 59 if region != "Ca" else 57,
            "verdict": changes.get(region, verdict),
            "bias": bias,
            "tost_ci_lower": low,
            "tost_ci_upper": high,
            "tost_margin": margin,
            "mean_reference": mean,
            "n_to_decide": 128.0 if changes.get(region, verdict) == "undecided" else np.nan,
            "note": note,
        }
        for region, (verdict, bias, low, high, margin, mean, note) in ROWS.items()
    ]
    return pd.DataFrame(rows)


def one(frame: pd.DataFrame, **known: object) -> ProtocolVerdict:
    (verdict,) = verdicts(frame, reference="PI", **known)  # type: ignore[arg-type]
    return verdict


def test_the_line_says_for_which_for_which_not_what_it_saves_and_in_how_many() -> None:
    times = {"PI": 406.0, "AF5": 131.0}
    assert headline([one(table(), scan_time_s=times)]) == (
        "AF5 may replace PI for 2 of 5 nuclei within 5 %: not for SNc (-8.0 %, interval -11.0 to "
        "-5.1); undecided for Ca (+4.0 %, interval +1.0 to +7.0; a study of 128 people would "
        "decide); no verdict for RN (reference mean is zero, no percentages); it saves 4:35 "
        "min a scan; n = 57 to 59."
    )


@pytest.mark.parametrize(
    ("regions", "decided", "start"),
    [
        (["Pu", "GPe"], {}, "AF5 may replace PI for both nuclei within 5 %; n = 59."),
        (["Pu"], {}, "AF5 may replace PI for Pu within 5 %; n = 59."),
        (["SNc"], {}, "AF5 may not replace PI within 5 %: not for SNc (-8.0 %,"),
        (["Ca", "SNc"], {}, "It is undecided whether AF5 may replace PI within 5 %: not for SNc ("),
        (["RN"], {}, "No verdict on AF5: reference mean is zero, no percentages."),
        (["Pu", "RN"], {}, "AF5 may replace PI for 1 of 2 nuclei within 5 %: no verdict for RN ("),
    ],
)
def test_the_line_begins_with_what_may_be_done(
    regions: list[str], decided: dict[str, str], start: str
) -> None:
    frame = table(**decided)
    assert headline([one(frame[frame["region"].isin(regions)])]).startswith(start)


def test_of_several_protocols_the_one_that_may_replace_most_comes_first_then_the_fastest() -> None:
    times = {"PI": 406.0, "AF3": 275.0, "AF4": 195.0, "AF5": 131.0}
    frames = [table("AF3"), table("AF4", Ca="equivalent"), table("AF5", Ca="equivalent")]
    found = verdicts(pd.concat(frames), reference="PI", scan_time_s=times)
    assert [verdict.protocol for verdict in found] == ["AF3", "AF4", "AF5"]
    line = headline(found)
    assert line.startswith("AF5 may replace PI for 3 of 5 nuclei within 5 %: not for SNc")
    assert line.endswith("AF3: 2 of 5; AF4: 3 of 5.")
    assert headline(found[:2]).startswith("AF4 may")
    undecided = table("AF3", Ca="equivalent", SNc="undecided")
    careful = verdicts(pd.concat([undecided, frames[2]]), reference="PI", scan_time_s=times)
    assert headline(careful).startswith("AF3 may replace PI for 3 of 5 nuclei")
    assert "scan times of Zhou 2025" in protocol_sentence(
        one(table(), scan_time_s=times, time_source="Zhou 2025")
    )
    slower = protocol_sentence(one(table(), scan_time_s={"PI": 100.0, "AF5": 165.0}))
    assert "it takes 1:05 min more a scan" in slower


def test_nuclei_come_by_risk() -> None:
    verdict = one(table())
    assert [nucleus.region for nucleus in verdict.nuclei] == ["SNc", "Ca", "RN", "GPe", "Pu"]
    assert [len(verdict.of(decision)) for decision in (*Verdict, None)] == [2, 1, 1, 1]
    risks = {nucleus.region: nucleus.risk for nucleus in verdict.nuclei}
    assert risks["SNc"] == pytest.approx(9.9 / 4.5)
    assert risks["GPe"] == pytest.approx(3.5 / 6)
    assert math.isnan(risks["RN"])


def test_percentages_keep_the_order_of_the_ends_under_a_negative_mean() -> None:
    nucleus = NucleusVerdict("x", "AF5", "PI", Verdict.UNDECIDED, 9, -50.0, 1.0, -1.0, 3.0, 2.5)
    ends = (nucleus.lower_percent, nucleus.bias_percent, nucleus.upper_percent)
    assert ends == pytest.approx((-6, -2, 2))
    assert nucleus.margin_percent == pytest.approx(5)


def test_a_number_shows_on_which_side_of_the_margin_it_lies() -> None:
    assert signed(4.96, 5.0) == "+4.96"
    assert signed(-5.004, 5.0) == "-5.004"
    assert signed(4.9, 5.0) == "+4.9"
    assert signed(-0.02, 5.0) == "0.0"
    for value in np.random.default_rng(0).normal(0, 6, 500):
        shown = abs(float(signed(value, 5.0)))
        assert (shown < 5) == (abs(value) < 5)


def test_a_margin_in_ppb_is_said_in_ppb_unless_it_is_one_percentage() -> None:
    frame = table()
    assert margin_text(one(frame)) == "5 %"
    frame.loc[frame["region"] == "Pu", "tost_margin"] = 2.0
    assert margin_text(one(frame)) == "1.5 to 6 ppb"
    assert margin_text(one(frame[frame["region"] == "Pu"])) == "6.67 %"
    frame["mean_reference"] = 0.0
    assert margin_text(one(frame[frame["region"] == "Pu"])) == "2 ppb"


def test_a_nucleus_has_a_sentence_of_its_own() -> None:
    said = {nucleus.region: nucleus_sentence(nucleus) for nucleus in one(table()).nuclei}
    assert said["Pu"] == (
        "Pu, AF5: equivalent (+1.0 %, interval -0.7 to +2.7); the interval lies within the margin."
    )
    assert said["Ca"].endswith("a study of 128 people would decide.")
    assert said["RN"] == "RN, AF5: no verdict, reference mean is zero, no percentages."


def test_names_are_spelled_out_with_their_sides() -> None:
    assert full_name("SNc") == "substantia nigra, pars compacta"
    assert full_name("L SNc") == "left substantia nigra, pars compacta"
    assert full_name("my ROI") == "my ROI"
    assert glossary(["L Pu", "R Pu", "RN", "my ROI"]) == {"Pu": "putamen", "RN": "red nucleus"}
    assert one(table()).nuclei[0].name == "substantia nigra, pars compacta"
    assert minutes(275) == "4:35 min"


def test_one_place_decides_and_the_margin_itself_decides_nothing() -> None:
    for lower, upper, expected in (
        (-4.9, 4.9, Verdict.EQUIVALENT),
        (-5.0, 4.0, Verdict.UNDECIDED),
        (-4.0, 5.0, Verdict.UNDECIDED),
        (5.0, 6.0, Verdict.UNDECIDED),
        (5.1, 6.0, Verdict.NOT_EQUIVALENT),
        (-9.0, -5.1, Verdict.NOT_EQUIVALENT),
        (-9.0, 9.0, Verdict.UNDECIDED),
    ):
        assert decide(lower, upper, 5.0) is expected
    for difference, expected in ((0.0, Verdict.EQUIVALENT), (2.0, Verdict.NOT_EQUIVALENT)):
        found = equivalence(np.full(5, difference), margin=1.0)
        assert (found.lower, found.upper, found.verdict) == (difference, difference, expected)
        assert found.p == (0.0 if expected is Verdict.EQUIVALENT else 1.0)
        assert math.isnan(found.n_to_decide)
    edge = equivalence(np.full(5, 1.0), margin=1.0)
    assert edge.verdict is Verdict.UNDECIDED
    assert math.isnan(edge.n_to_decide)


def test_a_difference_that_does_not_vary_is_a_point_with_a_verdict_and_a_note() -> None:
    """Of a difference that does not vary the record holds the point, and its verdict."""
    x = np.array([20.0, 30.0, 40.0])
    found = paired_agreement(x, x + 1)
    assert (found.tost_ci_lower, found.bias, found.tost_ci_upper) == (1, 1, 1)
    assert found.verdict == "equivalent"
    assert re.search("do not vary", found.note)
