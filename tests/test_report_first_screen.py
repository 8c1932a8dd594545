"""The first screen: one line, a row per protocol, a forest plot, and all of them of one mind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.agreement.settings import CompareSettings
from accelqsm.agreement.verdict.words import headline, signed
from accelqsm.api.agreement import compare
from accelqsm.errors import InputError
from accelqsm.figures.summary.forest import MARKS, Forest, forest_figure
from accelqsm.figures.summary.strips import strips_figure
from accelqsm.reports.cells import typeset
from accelqsm.reports.content.comparison import comparison_content
from accelqsm.reports.content.first_screen import answer, terms
from accelqsm.reports.content.forest import COLOURS, MOST_LINES, forest, forest_rows
from accelqsm.reports.page.build import build_page
from accelqsm.reports.page.content import NO, NONE, OPEN, PARTLY, YES
from accelqsm.results.comparison import Comparison, read_comparison

SHIFT_PPB = {
    "AF3": {"Pu": 0.0, "RN": 0.0, "SNc": 0.0},
    "AF4": {"Pu": 0.5, "RN": 4.9, "SNc": -12.0},
    "AF5": {"Pu": 8.0, "RN": -9.0, "SNc": -12.0},
    "AF6": {"Pu": 4.9, "RN": -4.9, "SNc": 5.1},
}
"""Of nuclei of 100 ppb, with a margin of 5 ppb."""
OUTCOMES = {"AF3": YES, "AF4": PARTLY, "AF5": NO, "AF6": OPEN}


def table(shifts: dict[str, dict[str, float]], n: int = 12) -> pd.DataFrame:
    """Values of n people: differences of the given mean and an SD of 1 ppb, alike in all."""
    own = 100 + np.linspace(-20, 20, n)
    noise = np.resize([1.0, -1.0], n)
    rows = [
        (f"s{i:02d}", protocol, region, own[i] + shift + (protocol != "PI") * noise[i])
        for protocol, regions in {"PI": dict.fromkeys(shifts["AF3"], 0.0), **shifts}.items()
        for region, shift in regions.items()
        for i in range(n)
    ]
    return pd.DataFrame(rows, columns=["subject", "protocol", "region", "value_ppb"])


def spaced(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture(scope="module")
def stored() -> Comparison:
    times = {"PI": 406.0, "AF3": 275.0, "AF5": 131.0}
    settings = CompareSettings(reference="PI", scan_time_s=times)
    return compare(table(SHIFT_PPB), settings=settings)


def test_each_row_has_the_outcome_of_its_protocol(stored: Comparison) -> None:
    found = answer(stored)
    assert {line.protocol: line.outcome for line in found.lines} == OUTCOMES
    assert found.outcome == YES
    assert found.text == typeset(headline(stored.verdicts))
    rows = {
        line.protocol: dict(zip(found.headings[2:], map(spaced, line.cells), strict=True))
        for line in found.lines
    }
    assert rows["AF3"]["Yes for"] == "all 3"
    assert rows["AF3"]["Saves"] == "2:11 of 6:46 min"
    assert rows["AF4"]["Saves"] == "–"
    assert (rows["AF4"]["Yes for"], rows["AF4"]["No for"]) == ("Pu", "SNc (−12.0 %)")
    assert rows["AF3"]["One person may differ by"].startswith("−2.0 to +2.0 % (")
    assert rows["AF4"]["Undecided for"].startswith("RN (")
    assert rows["AF5"]["Yes for"] == "–"
    assert rows["AF6"]["Undecided for"].startswith("SNc, ")
    assert rows["AF6"]["Undecided for"].count("people would decide") == 1
    assert rows["AF5"]["People"] == "12"


def test_numbers_are_rounded_once_so_that_terminal_and_page_say_the_same(
    stored: Comparison, tmp_path: Path
) -> None:
    read = read_comparison(stored.save(tmp_path / "out"))
    pd.testing.assert_frame_equal(
        read.agreement.sort_index(axis=1), stored.agreement.sort_index(axis=1), check_dtype=False,
        check_exact=True,
    )  # fmt: skip
    assert answer(read) == answer(stored)
    assert read.tables["table-3"].equals(stored.tables["table-3"])


def test_signs_words_and_colours_are_all_told_apart() -> None:
    outcomes = (YES, PARTLY, OPEN, NO, NONE)
    for part in ("sign", "word", "tone"):
        assert len({getattr(one, part) for one in outcomes}) == len(outcomes)
    assert {one.tone for one in outcomes} == set(COLOURS)
    for mark in ("marker", "sign", "colour"):
        assert len({getattr(MARKS[name], mark) for name in MARKS if name}) == 3


def test_forest_plot_has_the_riskiest_nucleus_first_and_the_same_numbers(
    stored: Comparison,
) -> None:
    shown = forest_rows(stored)
    assert list(dict.fromkeys(shown.rows["region"])) == ["SNc", "RN", "Pu"]
    nuclei = {(n.region, n.protocol): n for one in stored.verdicts for n in one.nuclei}
    for row in shown.rows.to_dict("records"):
        nucleus = nuclei[row["region"], row["protocol"]]
        assert row["verdict"] == nucleus.decision
        assert row["margin"] == pytest.approx(5)
        inside = abs(row["lower"]) < row["margin"] and abs(row["upper"]) < row["margin"]
        assert inside == (row["verdict"] == "equivalent")
        assert row["text"].startswith(typeset(signed(nucleus.bias_percent, 5.0)) + " (")
    assert shown.names["SNc"] == "substantia nigra, pars compacta"
    assert shown.unit == "%"
    (figure,) = forest(stored)
    assert "SNc AF5: −12.0 (" in figure.alt
    assert ") %, not equivalent" in figure.alt


def test_many_nuclei_leave_a_screen_of_those_at_risk_and_all_below() -> None:
    regions = {f"N{i:02d}": 0.1 * i for i in range(20)}
    many = compare(table(dict.fromkeys(("AF3", "AF4"), regions)), reference="PI")
    first, whole = forest(many)
    assert len(forest_rows(many).rows) == 40
    assert "N19 AF3" in first.alt
    assert "N00 AF3" not in first.alt
    assert "N00 AF3" in whole.alt
    assert first.alt.count("AF3") * 3 <= MOST_LINES
    assert "The other 9 are among the figures below." in first.caption


def test_too_few_people_get_points_a_margin_and_no_sign() -> None:
    one = compare(table(SHIFT_PPB, n=1), reference="PI")
    found = answer(one)
    assert (found.outcome, found.lines) == (NONE, [])
    assert found.text == "No verdict: 1 person, 3 or more are needed."
    rows = forest_rows(one).rows
    assert rows["lower"].isna().all()
    assert rows["margin"].eq(5).all()
    assert rows["difference"].notna().all()
    assert rows["verdict"].eq("").all()
    (figure,) = forest(one)
    assert "without a verdict" in figure.caption
    assert "Interval" not in terms(one)


def test_reference_means_of_zero_leave_ppb() -> None:
    flat = table(SHIFT_PPB)
    flat["value_ppb"] -= flat.loc[flat["protocol"] == "PI", "value_ppb"].mean()
    settings = CompareSettings(reference="PI", margin_ppb={"*": 5.0})
    rows = forest_rows(compare(flat.round(6), settings=settings))
    assert rows.unit == "ppb"
    assert rows.rows["margin"].eq(5).all()


def test_a_repeated_reference_stands_beside_each_protocol(tmp_path: Path) -> None:
    once = table(SHIFT_PPB)
    again = once[once["protocol"] == "PI"].assign(protocol="rescan")
    again["value_ppb"] += np.tile([1.5, -1.5, -1.5, 1.5], 9)
    both = pd.concat([once, again])
    settings = CompareSettings(reference="PI", repeat={"rescan": "PI"})
    stored = compare(both, settings=settings)
    content = comparison_content(stored, tmp_path)
    assert "PI again" in content.answer.headings
    place = list(content.answer.headings).index("PI again") - 2
    half = float(stored.repeats["repeatability_reference"].iloc[0])
    assert spaced(content.answer.lines[0].cells[place]).startswith(f"−{half:.1f} to +{half:.1f} %")
    assert "Repeated scans" in [shown.title for shown in content.tables]
    assert not any("Without a repeated scan" in line for line in content.cautions)
    assert any("scanning again explains" in line for line in content.summary)
    plain = comparison_content(compare(once, reference="PI"), tmp_path)
    assert any("Without a repeated scan" in line for line in plain.cautions)
    assert "Dotted lines" in content.figures[0].caption
    assert "Dotted lines" not in plain.figures[0].caption


def test_published_misprints_stand_beside_their_table_and_not_beside_the_answer(
    tmp_path: Path,
) -> None:
    settings = CompareSettings(reference="PI", published="zhou2025")
    page = build_page(comparison_content(compare(table(SHIFT_PPB), settings=settings), tmp_path))
    folds = page.index('<details class="fold">')
    assert page.index("Published misprint") > page.index("Published p-values, checked") > folds
    assert "(scan times of Zhou 2025)" in page[:folds]


def test_nothing_to_draw_is_one_line() -> None:
    empty = pd.DataFrame(columns=["region", "protocol", "difference", "lower", "upper", "margin"])
    with pytest.raises(InputError, match="forest plot: expected rows"):
        forest_figure(Forest(empty, "PI"))
    metrics = pd.DataFrame(columns=["subject", "protocol", "metric", "value", "unit"])
    with pytest.raises(InputError, match="quality: expected metrics with values"):
        strips_figure(metrics)
