"""Ten cohorts of known answer: first line, table, records and plan say it, and say the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.agreement.verdict.words import headline
from accelqsm.cli import main
from accelqsm.files.tables import read_table, write_table
from accelqsm.results.comparison import read_comparison

EQUIVALENT, NOT_EQUIVALENT, UNDECIDED = "equivalent", "not equivalent", "undecided"
MEANS = {"Pu": 30.0, "GPe": 120.0, "SNc": 90.0}
Frame = pd.DataFrame


def exact(n: int, seed: int) -> np.ndarray:
    """n normal numbers whose mean is 0 and whose SD is 1."""
    z = np.random.default_rng(seed).normal(size=n)
    return (z - z.mean()) / z.std(ddof=1)


def cohort(n: int, bias: float, sd: float, *, others: tuple[float, float] = (0.5, 2.0)) -> Frame:
    """PI and AF5 with exactly this bias and SD of differences in SNc, in percent of the PI mean.

    ``others`` are those of the other nuclei.
    """
    rows = []
    for k, (region, mean) in enumerate(MEANS.items()):
        b, s = (bias, sd) if region == "SNc" else others
        reference = mean * (1 + 0.25 * exact(n, 100 + k))
        difference = mean * (b + s * exact(n, k)) / 100
        for protocol, values in (("PI", reference), ("AF5", reference + difference)):
            rows += [(f"s{i:02d}", protocol, region, v) for i, v in enumerate(values)]
    return Frame(rows, columns=["subject", "protocol", "region", "value_ppb"])


def identical() -> Frame:
    values = cohort(12, 0, 1)
    reference = values[values["protocol"] == "PI"]
    return pd.concat([reference, reference.assign(protocol="AF5")])


def with_outlier() -> Frame:
    """One of 20 has 60 % more under AF5: mean difference and SD follow that person."""
    values = cohort(20, 1, 2)
    one = (values["subject"] == "s07") & (values["protocol"] == "AF5") & (values["region"] == "SNc")
    values.loc[one, "value_ppb"] += 54.0
    return values


def with_gaps() -> Frame:
    """Five were not scanned under AF5."""
    values = cohort(20, 1, 3)
    return values[(values["protocol"] == "PI") | (values["subject"] >= "s05")]


def with_repeats(bias: float = 1, sd: float = 4) -> Frame:
    """PI was scanned twice: half the noise of scanning goes."""
    values = cohort(20, bias, sd).assign(run=1)
    again = values[values["protocol"] == "PI"].assign(run=2)
    again["value_ppb"] += 0.02 * again["value_ppb"].mean() * np.tile(exact(20, 9), len(MEANS))
    return pd.concat([values, again])


@dataclass(frozen=True)
class Known:
    """What is known of SNc, and the words of the first line."""

    values: Callable[[], Frame]
    answer: str
    n: int
    said: str


ALL = "AF5 may replace PI for all 3 nuclei within 5 %; it saves 4:35 min a scan; "
TWO = "AF5 may replace PI for 2 of 3 nuclei within 5 %: "
COHORTS = {
    "equivalent": Known(lambda: cohort(30, 1, 4), EQUIVALENT, 30, f"{ALL}n = 30."),
    "not equivalent": Known(
        lambda: cohort(30, -8, 5),
        NOT_EQUIVALENT,
        30,
        f"{TWO}not for SNc (-8.0 %, interval -9.6 to -6.4); it saves 4:35 min a scan; n = 30.",
    ),
    "undecided": Known(
        lambda: cohort(20, 3.5, 8),
        UNDECIDED,
        20,
        f"{TWO}undecided for SNc (+3.5 %, interval +0.4 to +6.6; a study of 178 people would "
        "decide); ",
    ),
    "biased with small spread": Known(
        lambda: cohort(10, 7, 0.5),
        NOT_EQUIVALENT,
        10,
        f"{TWO}not for SNc (+7.0 %, interval +6.7 to +7.3); ",
    ),
    "unbiased with large spread": Known(
        lambda: cohort(10, 0, 25),
        UNDECIDED,
        10,
        f"{TWO}undecided for SNc (0.0 %, interval -14.5 to +14.5; a study of 216 people would "
        "decide); ",
    ),
    "repeated scans": Known(with_repeats, EQUIVALENT, 20, f"{ALL}n = 20."),
    "repeated scans, undecided": Known(
        lambda: with_repeats(3.5, 8), UNDECIDED, 20, f"{TWO}undecided for SNc (+3."
    ),
    "one outlier": Known(
        with_outlier, UNDECIDED, 20, f"{TWO}undecided for SNc (+4.0 %, interval -1.4 to +9.4; "
    ),
    "missing scans": Known(with_gaps, EQUIVALENT, 15, f"{ALL}n = 15."),
    "identical": Known(identical, EQUIVALENT, 12, f"{ALL}n = 12."),
    "n = 3": Known(
        lambda: cohort(3, 1, 3),
        UNDECIDED,
        3,
        "undecided for SNc (+1.0 %, interval -4.1 to +6.1; a study of 6 people would decide)",
    ),
    "undecided beyond the margin": Known(
        lambda: cohort(20, 5.5, 10),
        UNDECIDED,
        20,
        "undecided for SNc (+5.5 %, interval +1.6 to +9.4; the difference seen lies beyond the "
        "margin, as a study of 2475 people would show)",
    ),
}


@pytest.mark.parametrize("name", COHORTS)
def test_line_table_records_and_plan_say_the_same_and_the_right_thing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = COHORTS[name]
    write_table(tmp_path / "values.tsv", known.values())
    out = tmp_path / "out"
    times = ["--scan-time", "PI=406", "--scan-time", "AF5=131"]
    words = ["compare", str(tmp_path / "values.tsv"), str(out), "--reference", "PI", *times]
    assert main(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    stored = read_comparison(out)
    line = headline(stored.verdicts)
    assert said.startswith(line)
    assert known.said in line

    row = stored.agreement.set_index("region").loc["SNc"]
    assert (row["verdict"], row["n"]) == (known.answer, known.n)
    (verdict,) = stored.verdicts
    nucleus = next(one for one in verdict.nuclei if one.region == "SNc")
    assert nucleus.decision is not None
    assert nucleus.decision.value == known.answer
    assert verdict.nuclei[0] is nucleus or known.answer == EQUIVALENT
    inside = abs(nucleus.bias_ppb) < nucleus.margin_ppb
    ends = sorted(map(abs, (nucleus.lower_ppb, nucleus.upper_ppb)))
    assert {
        EQUIVALENT: ends[1] < nucleus.margin_ppb,
        NOT_EQUIVALENT: not inside and nucleus.margin_ppb < ends[0],
        UNDECIDED: nucleus.margin_ppb <= ends[1],
    }[known.answer]

    assert main(["plan", str(out), "--out", str(tmp_path / "plan.tsv")]) == 0
    plan = read_table(tmp_path / "plan.tsv", text=("note",))
    plan = plan[plan["region"] == "SNc"].set_index("goal")
    equivalence = plan.loc["equivalence"]
    assert equivalence["planned_bias"] == pytest.approx(nucleus.bias_ppb, rel=1e-5, abs=1e-9)
    assert f"{known.answer} at n = {known.n}" in equivalence["note"]
    assert ("impossible" in equivalence["note"]) == np.isnan(equivalence["n_subjects"])
    assert np.isnan(equivalence["n_subjects"]) == (not inside)
    assert ("non-equivalence" in plan.index) == (not inside)
    if known.answer == UNDECIDED:
        goal = "equivalence" if inside else "non-equivalence"
        assert plan.loc[goal, "n_subjects"] == row["n_to_decide"] > known.n
    else:
        assert np.isnan(row["n_to_decide"])


def test_with_two_people_or_one_there_is_no_verdict_and_no_plan_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = cohort(6, 0.5, 1)
    for n, words in ((2, "2 people"), (1, "1 person")):
        few = values[values["subject"] < f"s{n:02d}"]
        write_table(tmp_path / f"{n}.tsv", few)
        out = tmp_path / f"out{n}"
        assert main(["compare", str(tmp_path / f"{n}.tsv"), str(out), "--reference", "PI"]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert said.startswith(f"No verdict on AF5: {words}, 3 or more are needed.")
        assert main(["plan", str(out)]) == 0
        assert "the pilot has no SD" in " ".join(capsys.readouterr().out.split())


def test_a_constant_difference_within_the_margin_is_equivalent_and_beyond_it_is_not(
    tmp_path: Path,
) -> None:
    reference = cohort(5, 0, 1)
    reference = reference[reference["protocol"] == "PI"]
    shifted = reference.assign(protocol="AF5", value_ppb=reference["value_ppb"] + 3.0)
    write_table(tmp_path / "v.tsv", pd.concat([reference, shifted]))
    assert main(["compare", str(tmp_path / "v.tsv"), str(tmp_path / "o"), "--reference", "PI"]) == 0
    stored = read_comparison(tmp_path / "o")
    rows = stored.agreement.set_index("region")["verdict"]
    assert rows[["Pu", "GPe", "SNc"]].tolist() == [NOT_EQUIVALENT, EQUIVALENT, EQUIVALENT]
    assert headline(stored.verdicts) == (
        "AF5 may replace PI for 2 of 3 nuclei within 5 %: not for Pu (+10.0 %, interval +10.0 to "
        "+10.0); n = 5."
    )
