"""compare, plan, cohort and similarity on the command line: files, words, and refusals."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.cli import main
from accelqsm.files.nifti import write_image
from accelqsm.files.tables import read_table, write_table
from accelqsm.grid import centred_grid

STUDY_TABLES = {"agreement", "age", "table-1", "table-2", "table-3", "table-4", "published-checks"}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cohort")
    assert main(["cohort", "zhou2025", str(out)]) == 0
    return out


def full_comparison(cohort: Path, out: Path, *words: str) -> list[str]:
    return [
        "compare", str(cohort / "values.tsv"), "--reference", "PI",
        "--participants", str(cohort / "participants.tsv"), "--beside", "zhou2025",
        *words, str(out),
    ]  # fmt: skip


def test_published_statistics_go_through_files_and_come_out_as_printed(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(full_comparison(cohort, tmp_path)) == 0
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {f"{name}{end}" for name in STUDY_TABLES for end in (".tsv", ".json")} | {
        "settings.toml",
        "compared-values.tsv",
        "compared-participants.tsv",
        "methods.md",
        "references.bib",
    }
    differing = []
    for number in (1, 2, 3, 4):
        table = pd.read_csv(tmp_path / f"table-{number}.tsv", sep="\t", dtype=str)
        own = [name for name in table if f"{name} (Zhou 2025)" in table]
        assert len(own) == {1: 1, 2: 3, 3: 7, 4: 4}[number]
        for name in own:
            rows = table[table[name] != table[f"{name} (Zhou 2025)"]]
            differing += [(number, region, name) for region in rows.iloc[:, 0]]
    assert differing == [(4, "RN", "AF4")]
    said = " ".join(capsys.readouterr().out.split())
    for sentence in (
        "Paired t tests: 9 of 21 with p < 0.05; 9 after Benjamini-Hochberg, 6 after Holm.",
        "AF5 may replace PI for all 7 nuclei within 5 %; it saves 4:35 min a scan (scan times of "
        "Zhou 2025); n = 59. AF3: 6 of 7; AF4: 7 of 7.",
        "AF3 may replace PI for 6 of 7 nuclei within 5 %: undecided for SNr (-4.2 %, interval -5.5 "
        "to -2.9; a study of 338 people would decide);",
        "Published p-values that follow from their r: 27 of 28.",
        "Published misprint: RN AF4, r 0.517 printed with p 0.012, which follows as 2.8e-05.",
    ):
        assert sentence in said


def test_every_column_is_described_beside_its_table(cohort: Path, tmp_path: Path) -> None:
    assert main(full_comparison(cohort, tmp_path)) == 0
    for name in STUDY_TABLES:
        columns = list(read_table(tmp_path / f"{name}.tsv"))
        described = json.loads((tmp_path / f"{name}.json").read_text())
        assert list(described) == columns
        if not name.startswith("table"):
            unknown = [
                column
                for column, entry in described.items()
                if entry["Description"].startswith("Printed as")
            ]
            assert unknown == []
    agreement = json.loads((tmp_path / "agreement.json").read_text())
    assert agreement["bias_ci_lower"]["Units"] == "ppb"
    assert "lower end of the confidence interval" in agreement["bias_ci_lower"]["Description"]


def test_settings_replay_to_the_same_bytes(cohort: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    words = ("--margin-ppb", "Pu=1.2", "--margin-percent", "4", "--power", "0.9")
    assert main(full_comparison(cohort, first, *words)) == 0
    replay = ["compare", str(cohort / "values.tsv"), "--settings", str(first / "settings.toml")]
    people = ["--participants", str(cohort / "participants.tsv")]
    assert main([*replay, *people, str(again)]) == 0
    for name in STUDY_TABLES:
        assert (first / f"{name}.tsv").read_bytes() == (again / f"{name}.tsv").read_bytes()
    saved = tomllib.loads((first / "settings.toml").read_text())
    assert saved["compare"] == {
        "reference": "PI", "margin_percent": 4.0, "margin_ppb": {"Pu": 1.2},
        "confidence": 0.95, "power": 0.9, "published": "zhou2025",
    }  # fmt: skip
    assert len(saved["inputs"]["values"]["sha256"]) == 64
    assert "scipy" in saved["software"]
    agreement = read_table(first / "agreement.tsv").set_index(["region", "protocol"])
    assert agreement.loc[("Pu", "AF3"), "tost_margin"] == pytest.approx(1.2)
    assert agreement.loc[("Ca", "AF3"), "tost_margin"] == pytest.approx(0.04 * 29.6, rel=2e-3)


def test_one_margin_for_all_and_one_of_its_own(cohort: Path, tmp_path: Path) -> None:
    words = ("--margin-ppb", "3", "--margin-ppb", "SNr=6")
    assert main(full_comparison(cohort, tmp_path, *words)) == 0
    agreement = read_table(tmp_path / "agreement.tsv")
    margins = agreement[agreement["region"] != "all"].groupby("region")["tost_margin"].unique()
    assert {region: list(m) for region, m in margins.items()} == {
        region: [6.0 if region == "SNr" else 3.0]
        for region in ("Pu", "Ca", "GPe", "GPi", "SNc", "SNr", "RN")
    }


@pytest.mark.slow
def test_59_by_4_by_7_values_take_under_two_seconds_and_no_torch(
    cohort: Path, tmp_path: Path
) -> None:
    """CPU seconds of whole processes, start-up included, the best of three."""
    arguments = full_comparison(cohort, tmp_path, "--overwrite")
    script = (
        "import sys; from accelqsm.cli import main; "
        f"code = main({arguments!r}); "
        "loaded = {'torch', 'statsmodels', 'nibabel', 'scipy.stats'} & set(sys.modules); "
        "sys.exit(code or bool(loaded) and 9)"
    )
    assert len(read_table(cohort / "values.tsv")) == 59 * 4 * 7
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(taken) < 2


def small_values() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        (f"{s:02d}", p, r, base + 5 * s + rng.normal())
        for s in range(8)
        for p in ("PI", "AF3")
        for r, base in (("Pu", 30.0), ("Ca", 50.0))
    ]
    return pd.DataFrame(rows, columns=["subject", "protocol", "region", "value_ppb"])


def compare_small(tmp_path: Path, values: pd.DataFrame, *words: str) -> int:
    write_table(tmp_path / "values.tsv", values)
    path = str(tmp_path / "values.tsv")
    return main(["compare", path, "--reference", "PI", *words, str(tmp_path / "out")])


Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda v: v[v["subject"] < "02"],
            "No verdict on AF3: 2 people, 3 or more are needed.",
        ),
        (
            lambda v: v[(v["protocol"] == "PI") == (v["subject"] < "04")],
            "No verdict on AF3: nobody has a value under both protocols.",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Left out")
def test_without_a_verdict_terminal_and_report_say_why(
    change: Change, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare_small(tmp_path, change(small_values())) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(sentence)
    assert "Paired t tests" not in said
    assert main(["report", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert sentence in page
    assert " nan" not in page


def first(column: str, value: object) -> Change:
    def change(values: pd.DataFrame) -> pd.DataFrame:
        values = values.astype({column: object})
        values.loc[0, column] = value
        return values

    return change


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (
            lambda v: pd.concat([v, v.iloc[:1]]),
            (),
            "{values}: values: expected one row per subject, protocol and region, found several "
            "for '00' 'PI' 'Pu'; a column run or session tells repeated scans apart",
        ),
        (
            first("value_ppb", "12,5"),
            (),
            "{values}: value_ppb: expected numbers (n/a where there is none), found '12,5' in "
            "row 1",
        ),
        (
            first("value_ppb", "inf"),
            (),
            "{values}: value_ppb: expected finite numbers, found infinity in row 1",
        ),
        (
            first("subject", "n/a"),
            (),
            "{values}: values: expected a subject in every row, found an empty one",
        ),
        (
            first("subject", "\x1b[31m"),
            (),
            "{values}: expected text without control characters, found U+001B in row 1",
        ),
        (
            lambda v: v[v["protocol"] == "AF3"],
            (),
            "{values}: reference: expected one of AF3, found 'PI'",
        ),
        (
            lambda v: v[v["protocol"] == "PI"],
            (),
            "{values}: values: expected a protocol besides 'PI', found none",
        ),
        (
            lambda v: v.replace({"region": {"Ca": "all"}}),
            (),
            "{values}: region: 'all' is the name of the pooled rows, expected another",
        ),
        (
            lambda v: v.drop(columns="region"),
            (),
            "{values}: expected column(s) region (in which nucleus), found subject, protocol, "
            "value_ppb",
        ),
        (
            lambda v: v.iloc[:0],
            (),
            "{values}: values: expected at least one row, found none",
        ),
        (
            lambda v: v,
            ("--margin-ppb", "STN=2"),
            "{values}: equivalence margin: expected a region among Pu, Ca, found 'STN'",
        ),
        (
            lambda v: v,
            ("--margin-ppb", "Pu=wide"),
            "--margin-ppb: expected NAME=NUMBER or NUMBER with a number above 0, found 'Pu=wide'",
        ),
        (
            lambda v: v,
            ("--margin-ppb", "2", "--margin-ppb", "3"),
            "--margin-ppb: expected '*' once, found it twice",
        ),
        (
            lambda v: v,
            ("--margin-percent", "-5"),
            "--margin-percent: expected above 0 to 100 %, found -5",
        ),
        (
            lambda v: v,
            ("--confidence", "95"),
            "--confidence: expected above 0 and below 1, found 95",
        ),
        (
            lambda v: v,
            ("--beside", "smith2020"),
            "published study: expected one of zhou2025, found 'smith2020'",
        ),
        (
            lambda v: v,
            ("--participants", "nowhere.tsv"),
            "nowhere.tsv: no such file",
        ),
    ],
)
def test_what_cannot_be_compared_gets_one_line_and_leaves_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Change,
    words: tuple[str, ...],
    message: str,
) -> None:
    assert compare_small(tmp_path, change(small_values()), *words) == 65
    said = capsys.readouterr()
    expected = message.replace("{values}", str(tmp_path / "values.tsv"))
    assert said.err == f"accelqsm: {expected}\n"
    assert said.out == ""
    assert not (tmp_path / "out").exists()


def drop(subject: str, protocol: str, region: str) -> Change:
    return lambda v: v[
        ~((v["subject"] == subject) & (v["protocol"] == protocol) & (v["region"] == region))
    ]


@pytest.mark.parametrize(
    ("change", "region", "n", "note"),
    [
        (drop("03", "AF3", "Pu"), "Pu", 7, "1 incomplete pair left out"),
        (
            lambda v: drop("03", "AF3", "Pu")(drop("04", "PI", "Pu")(v)),
            "Pu",
            6,
            "2 incomplete pairs left out",
        ),
        (lambda v: v[v["subject"] < "02"], "Pu", 2, "2 pairs, at least 3 needed"),
        (lambda v: v[v["subject"] < "01"], "Pu", 1, "1 pair, at least 3 needed"),
        (
            lambda v: v[~((v["protocol"] == "PI") & (v["region"] == "Ca"))],
            "Ca",
            0,
            "8 incomplete pairs left out; no values of the reference to compare",
        ),
        (
            lambda v: v.assign(value_ppb=v["value_ppb"].where(v["region"] != "Pu", 30.0)),
            "Pu",
            8,
            "reference values do not vary; values do not vary; differences do not vary, no t test",
        ),
        (
            lambda v: v.assign(
                value_ppb=v["value_ppb"].where(
                    (v["region"] != "Pu") | (v["protocol"] != "AF3"), 30.0
                )
            ),
            "Pu",
            8,
            "values do not vary",
        ),
    ],
)
def test_gaps_and_constants_are_noted_and_the_rest_is_compared(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Change,
    region: str,
    n: int,
    note: str,
) -> None:
    assert compare_small(tmp_path, change(small_values())) == 0
    assert capsys.readouterr().err == ""
    row = read_table(tmp_path / "out" / "agreement.tsv").set_index("region").loc[region]
    assert (row["n"], row["note"]) == (n, note)


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", "[bold red]x[/]", "=1+1", "é 01"])
def test_a_hostile_label_is_text_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], label: str
) -> None:
    values = small_values()
    values.loc[values["subject"] == "07", "subject"] = label
    values.loc[(values["subject"] == label) & (values["protocol"] == "AF3"), "value_ppb"] += 90
    assert compare_small(tmp_path, values) == 0
    table = read_table(tmp_path / "out" / "agreement.tsv", text=("influential_subject",))
    assert (table["influential_subject"].iloc[:2] == label).all()
    assert f"without {label}." in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("column", ["region", "protocol"])
def test_a_hostile_region_or_protocol_is_text_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    label = "[red]<b>x[/]"
    values = small_values().replace({column: {"Pu": label, "AF3": label}})
    assert compare_small(tmp_path, values) == 0
    assert label in capsys.readouterr().out


def test_labels_keep_their_zeros(tmp_path: Path) -> None:
    values = small_values()
    values.loc[(values["subject"] == "03") & (values["protocol"] == "AF3"), "value_ppb"] += 90
    assert compare_small(tmp_path, values) == 0
    named = read_table(tmp_path / "out" / "agreement.tsv", text=("influential_subject",))
    assert named["influential_subject"].tolist()[:2] == ["03", "03"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[options\n", "not TOML"),
        ('command = "map"\n', "expected the settings of compare, found 'map'"),
        ('command = "compare"\n[options]\nspeed = 2\n', "found speed"),
        ('command = "compare"\n[options]\nreference = 2\n', "reference: expected text, found 2"),
        ('command = "compare"\n', "expected a reference, found none"),
    ],
)
def test_settings_that_cannot_be_replayed_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    write_table(tmp_path / "values.tsv", small_values())
    (tmp_path / "s.toml").write_text(text)
    command = ["compare", str(tmp_path / "values.tsv"), "--settings", str(tmp_path / "s.toml")]
    assert main([*command, str(tmp_path / "out")]) == 65
    error = capsys.readouterr().err
    assert error.startswith(f"accelqsm: {tmp_path / 's.toml'}: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_reference_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(tmp_path / "values.tsv", small_values())
    assert main(["compare", str(tmp_path / "values.tsv"), str(tmp_path / "out")]) == 65
    assert capsys.readouterr().err == (
        "accelqsm: compare: expected --reference PROTOCOL or --settings TOML, found neither\n"
    )


def test_plan_from_a_comparison_and_from_two_numbers(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(full_comparison(cohort, tmp_path)) == 0
    capsys.readouterr()
    pilot = ["plan", str(tmp_path / "agreement.tsv"), "--out", str(tmp_path / "plan.tsv")]
    assert main([*pilot, "--scan-time", "zhou2025", "--reference", "PI"]) == 0
    plan = read_table(tmp_path / "plan.tsv")
    assert len(plan) == 21
    curve = read_table(tmp_path / "plan-curve.tsv")
    assert set(curve["protocol"]) == {"AF3", "AF4", "AF5"}
    assert plan.groupby("protocol")["time_saved_s"].first().to_dict() == {
        "AF3": 131, "AF4": 211, "AF5": 275,
    }  # fmt: skip
    assert set(json.loads((tmp_path / "plan.json").read_text())) == set(plan)
    row = plan.set_index(["region", "protocol"]).loc[("SNr", "AF3")]
    capsys.readouterr()
    within_ppb, bias_ppb = str(row["sd_compared"] / 2**0.5), str(row["planned_bias"])
    numbers = ["plan", "--within-sd-ppb", within_ppb, "--bias-ppb", bias_ppb, "--mean-ppb"]
    assert main([*numbers, str(row["target_ppb"] / 0.05)]) == 0
    assert f" {row['n_subjects']:.0f} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "plan: expected a pilot table or a within-subject SD in ppb, found neither"),
        (
            ["--within-sd-ppb", "2"],
            "plan: expected a reference mean or a margin in ppb, found neither",
        ),
        (
            ["x.tsv", "--within-sd-ppb", "2"],
            "plan: expected a pilot table or a within-subject SD, found both",
        ),
        (["x.tsv"], "x.tsv: no such file"),
        (
            ["--within-sd-ppb", "-2", "--mean-ppb", "30"],
            "plan: expected a within-subject SD above 0 ppb, found -2",
        ),
        (
            ["--within-sd-ppb", "2", "--mean-ppb", "30", "--scan-time", "PI"],
            "published study: expected one of zhou2025, found 'PI'",
        ),
    ],
)
def test_plans_that_lack_numbers_get_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["plan", *words]) == 65
    assert capsys.readouterr().err == f"accelqsm: {message}\n"


def test_similarity_states_range_and_region(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = centred_grid((12, 11, 10), (1.0, 1.0, 2.0))
    rng = np.random.default_rng(1)
    reference = rng.normal(0, 0.05, grid.shape).astype(np.float32)
    image = reference + rng.normal(0, 0.01, grid.shape).astype(np.float32)
    mask = np.zeros(grid.shape, np.uint8)
    mask[2:10, 2:9, 2:8] = 1
    for name, volume in (("a", image), ("b", reference), ("m", mask)):
        write_image(tmp_path / f"{name}.nii.gz", volume, grid)
    paths = {name: str(tmp_path / f"{name}.nii.gz") for name in "abm"}
    out = tmp_path / "similarity.tsv"
    assert main(["similarity", paths["a"], paths["b"], "--mask", paths["m"], str(out)]) == 0
    table = read_table(out)
    assert list(json.loads(out.with_suffix(".json").read_text())) == list(table)
    assert len(table) == 11
    said = " ".join(capsys.readouterr().out.split())
    assert "cannot be reconstructed" in said
    assert "at least 0.96" in said


def test_a_subject_to_be_ringed_is_recorded_or_refused_by_name(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = read_table(cohort / "values.tsv", text=("subject",))["subject"].iloc[0]
    words = ["compare", str(cohort / "values.tsv"), "--reference", "PI", "--highlight"]
    assert main([*words, subject, str(tmp_path / "out")]) == 0
    record = tomllib.loads((tmp_path / "out" / "settings.toml").read_text())
    assert record["compare"]["highlight"] == subject
    assert main(["report", str(tmp_path / "out")]) == 0
    assert f"Ringed: {subject}." in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main([*words, "nobody", str(tmp_path / "other")]) == 65
    line = capsys.readouterr().err
    assert f"highlight: expected one of {subject}, " in line
    assert line.strip().endswith("found 'nobody'")
