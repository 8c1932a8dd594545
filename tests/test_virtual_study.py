"""The study repeated on digital heads: parts of a difference, the truth, its page and tables."""

from __future__ import annotations

import hashlib
import importlib
import itertools
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from accelqsm.agreement.published import published
from accelqsm.agreement.statistics.equivalence import Verdict
from accelqsm.agreement.verdict.verdicts import NucleusVerdict, ProtocolVerdict
from accelqsm.errors import InputError
from accelqsm.files.tables import read_table, write_table
from accelqsm.virtual.protocols import PROTOCOLS

HEADS = 6
LABELS = ("true", "atlas")


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Modules of the benchmark by the end of their names."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    names = ("", "_values", "_numbers", "_tables")
    return {name: importlib.import_module(f"virtual_study{name}") for name in names}


@pytest.fixture
def values() -> pd.DataFrame:
    """Random values of every subject, protocol and kind of labels, each with its truth."""
    rng = np.random.default_rng(11)
    rows = []
    for number, kind, protocol, region in itertools.product(
        range(HEADS), LABELS, PROTOCOLS.values(), ("Pu", "GPe")
    ):
        truth = (30.0 if region == "Pu" else 120.0) + 5 * number
        value = truth + rng.normal(0, 2)
        rows.append(
            {
                "subject": f"sub-{number:02d}", "age": 20.0 + 9 * number, "sex": "FM"[number % 2],
                "protocol": protocol.label, "labels": kind, "region": region, "value_ppb": value,
                "low_ppb": value - 7, "high_ppb": value + 7, "truth_ppb": truth, "note": "",
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def with_values(values: pd.DataFrame, kind: str, protocol: str, own: np.ndarray) -> None:
    rows = (values["labels"] == kind) & (values["protocol"] == protocol)
    values.loc[rows & (values["region"] == "GPe"), "value_ppb"] = own


def test_parts_add_to_the_whole_and_their_shares_to_one(study, values) -> None:
    numbers = study["_numbers"]
    assert {f"AF{n}": f"AF{n} of PI" for n in (3, 4, 5)} == numbers.RETROSPECTIVE
    for kinds, n_parts in ((LABELS, 3), (("true",), 2)):
        own = values[values["labels"].isin(kinds)]
        for protocol in numbers.RETROSPECTIVE:
            found = numbers.differences(own, protocol)
            parts = found.drop(columns="whole")
            assert parts.shape == (2 * HEADS, n_parts)
            assert np.abs(parts.sum(axis=1) - found["whole"]).max() < 1e-9
        shares = numbers.parts_table(own).query("part != 'whole'")
        total = shares.groupby(["protocol", "region"])["share"].sum()
        assert np.abs(total - 1).max() < 1e-9


def test_each_part_is_what_it_is_called(study, values) -> None:
    """Network - 2 ppb in all, another scan +-3 ppb, an atlas that adds 1 ppb under AF4 alone."""
    numbers = study["_numbers"]
    head = 100 + 7.0 * np.arange(HEADS)
    noise = 3.0 * np.array([1, -1, 1, -1, 1, -1])
    shift = np.array([4.0, -2, 0, 1, 5, -3])
    with_values(values, "true", "PI", head)
    with_values(values, "true", "AF4 of PI", head - 2)
    with_values(values, "true", "AF4", head - 2 + noise)
    with_values(values, "atlas", "PI", head + shift)
    with_values(values, "atlas", "AF4", head + shift - 2 + noise + 1)
    table = numbers.parts_table(values).query("protocol == 'AF4' and region == 'GPe'")
    found = table.set_index("part")
    sd = 3 * np.sqrt(HEADS / (HEADS - 1))
    expected = {
        "whole": (-1.0, sd, 1.0),
        "re-scan": (0.0, sd, 1.0),
        "network": (-2.0, 0.0, 0.0),
        "registration": (1.0, 0.0, 0.0),
    }
    assert list(found.index) == list(expected)
    for part, numbers_of_part in expected.items():
        assert found.loc[part, ["mean_ppb", "sd_ppb", "share"]].tolist() == pytest.approx(
            numbers_of_part, abs=1e-9
        )
    assert found.loc["network", "percent"] == pytest.approx(-200 / head.mean())


def test_slope_error_and_coverage_of_known_answers(study, values) -> None:
    """Values of 0.9 truth + 5 ppb, whose intervals reach the truth in 4 of 6."""
    own = values[(values["labels"] == "true") & (values["protocol"] == "PI")].copy()
    truth = own["truth_ppb"]
    own["value_ppb"] = 0.9 * truth + 5
    reach = np.where(own["subject"].isin(["sub-01", "sub-04"]), 0.99, 1.01)
    half = np.abs(own["value_ppb"] - truth) * reach
    own["low_ppb"], own["high_ppb"] = own["value_ppb"] - half, own["value_ppb"] + half
    found = study["_numbers"].truth_table(own).set_index("region").loc["GPe"]
    here = truth[own["region"] == "GPe"]
    assert found["slope"] == pytest.approx(0.9)
    assert found["r"] == pytest.approx(1)
    assert found["mean_ppb"] == pytest.approx(5 - 0.1 * here.mean())
    assert found["sd_ppb"] == pytest.approx(0.1 * here.std(ddof=1))
    assert found["percent"] == pytest.approx(100 * (5 / here.mean() - 0.1))
    assert (found["covered"], found["n"]) == (4, 6)
    # Wilson 1927: (k + z^2/2 -+ z sqrt(k (n - k)/n + z^2/4)) / (n + z^2).
    z, k, n = 1.959963984540054, 4, 6
    half_width = z * np.sqrt(k * (n - k) / n + z**2 / 4)
    ends = [(k + z**2 / 2 + sign * half_width) / (n + z**2) for sign in (-1, 1)]
    assert found[["coverage_ci_lower", "coverage_ci_upper"]].tolist() == pytest.approx(ends)


def test_the_printed_tables_imply_one_different_correlation_with_age(study) -> None:
    """By hand of the printed r: age and AF3 0.026, age and PI 0.093, AF3 and PI 0.972, n = 59."""
    found = study["_numbers"].published_differences(published("zhou2025"))
    found = found.set_index(["region", "protocol"])
    assert len(found) == 21
    assert found.index[found["williams_p"] < 0.05].tolist() == [("SNr", "AF3")]
    r12, r13, r23, n = 0.026, 0.093, 0.972, 59
    determinant = 1 - r12**2 - r13**2 - r23**2 + 2 * r12 * r13 * r23
    spread = 2 * determinant * (n - 1) / (n - 3) + ((r12 + r13) / 2) ** 2 * (1 - r23) ** 3
    by_hand = (r12 - r13) * np.sqrt((n - 1) * (1 + r23) / spread)
    row = found.loc[("SNr", "AF3")]
    assert row["williams_t"] == pytest.approx(by_hand)
    assert by_hand == pytest.approx(-2.21, abs=0.005)
    assert row["williams_p"] == pytest.approx(0.031, abs=0.0005)
    expected = np.sqrt(25.4**2 + 24.8**2 - 2 * 0.972 * 25.4 * 24.8)
    assert row["sd_ppb"] == pytest.approx(expected)


def test_a_subject_with_a_gap_is_left_out_with_its_note(study, values) -> None:
    rows = (values["subject"] == "sub-02") & (values["protocol"] == "AF5")
    values.loc[rows & (values["labels"] == "atlas"), ["value_ppb", "note"]] = np.nan, "2 voxels"
    rows = (values["subject"] == "sub-04") & (values["protocol"] == "full")
    values.loc[rows & (values["region"] == "GPe"), "truth_ppb"] = np.nan
    kept, why = study["_values"].without_gaps(values)
    expected = {
        "sub-02": "AF5, atlas labels, Pu: 2 voxels",
        "sub-04": "full, true labels, GPe: no value",
    }
    assert why == expected
    assert set(values["subject"]) - set(kept["subject"]) == set(expected)
    assert len(kept) == len(values) * (HEADS - 2) / HEADS


def verdict_of(protocol: str, decision: Verdict) -> ProtocolVerdict:
    nucleus = NucleusVerdict("Pu", protocol, "PI", decision, 9, 30.0, 0.1, -0.5, 0.5, 1.5)
    equivalent = replace(nucleus, region="Ca", decision=Verdict.EQUIVALENT)
    return ProtocolVerdict(protocol, "PI", (nucleus, equivalent))


def test_the_highest_acceleration_has_none_below_that_fails(study) -> None:
    yes, open_ = Verdict.EQUIVALENT, Verdict.UNDECIDED
    highest = study["_tables"].highest
    assert highest([verdict_of("AF3", yes), verdict_of("AF4", yes)]).startswith("AF4 is")
    found = [verdict_of("AF3", yes), verdict_of("AF4", open_), verdict_of("AF5", yes)]
    assert highest(found).startswith("AF3 is")
    assert "not even AF3" in highest([verdict_of("AF3", open_), verdict_of("AF4", yes)])


def test_tables_of_a_study_with_and_without_an_atlas(study, values) -> None:
    tables, numbers = study["_tables"], study["_numbers"]
    both = tables.numbers_of(values)
    rows = [("sub-00", "Pu", 0.9), ("sub-01", "Pu", 0.8)]
    overlap = pd.DataFrame(rows, columns=["subject", "region", "dice"])
    made = tables.all_tables(both, pd.DataFrame(), overlap)
    assert "| Pu | 0.85 (0.80 to 0.90) |" in tables.markdown(made["overlap"][0])
    assert {name: len(found) for name, found in made.items()} == {
        "table-1": 1, "table-2": 2, "table-4": 2, "table-3": 4, "age": 2, "similarity": 0,
        "rescan": 2, "overlap": 1, "same-samples": 1, "split": 3, "truth": 2, "verdicts": 4,
    }  # fmt: skip
    assert "Registration" in tables.markdown(made["split"][0])
    assert tables.findings(both)[0] == "6 digital heads with all 10 arms."
    own = values[values["labels"] == "true"]
    alone = replace(
        both,
        values=own,
        study={"true": both.study["true"]},
        null={"true": both.null["true"]},
        parts=numbers.parts_table(own),
    )
    made = tables.all_tables(alone, pd.DataFrame(), overlap[:0])
    assert made["overlap"] == []
    assert [len(made[name]) for name in ("table-2", "truth", "verdicts")] == [1, 1, 2]
    assert "Registration" not in tables.markdown(made["split"][0])
    two = tables.markdown(made["table-2"][0])
    assert "| AF8 |" in two
    assert "AF8 (Zhou" not in two
    wide = own[own["region"] == "GPe"].pivot(
        index="subject", columns="protocol", values="value_ppb"
    )
    r = wide.corr().loc["PI", "AF5"]
    assert f"| {r:.3f} | 0.993 |" in two.splitlines()[-1]


def test_a_page_takes_its_parts_again_and_again(study, tmp_path: Path) -> None:
    results, page = tmp_path / "results", tmp_path / "page.md"
    results.mkdir()
    for name in ("values.tsv", "similarity.tsv", "overlap.tsv", "one.png"):
        (results / name).write_text(name)
    page.write_text(
        "# Title\n<!-- results: one -->\n<!-- end -->\nprose 1.5\n"
        "<!-- results: two -->\nold\n<!-- end -->\n"
    )
    with pytest.raises(InputError, match=r"one\.md: expected a part of the page, found none"):
        study[""].fill_page(page, results)
    assert "old" in page.read_text()
    (results / "one.txt").write_text("![a](one.png)\n\na \\1 b\n")
    (results / "two.md").write_text("2\n")
    whole = (
        "# Title\n<!-- results: one -->\n{}\n<!-- end -->\nprose 1.5\n"
        "<!-- results: two -->\n2\n<!-- end -->\n"
    )
    for _ in range(2):
        study[""].fill_page(page, results)
        assert page.read_text() == whole.format("![a](page/one.png)\n\na \\1 b")
        assert (tmp_path / "page" / "one.png").read_text() == "one.png"
        assert (tmp_path / "page" / "one.txt").read_text().startswith("![a](one.png)")
        assert (tmp_path / "page" / "values.tsv").read_text() == "values.tsv"
    page.write_text(page.read_text().replace("<!-- end -->", "", 1))
    with pytest.raises(InputError, match="after each of 2 parts, found 1"):
        study[""].fill_page(page, results)


def test_subjects_count_once_all_their_scans_are_measured(study, tmp_path: Path) -> None:
    module = study["_values"]
    bids, out, atlas = tmp_path / "bids", tmp_path / "out", tmp_path / "atlas"
    for folder in (bids, out, atlas):
        folder.mkdir()
    (bids / "participants.tsv").write_text(
        "participant_id\tage\tsex\nsub-01\t30\tF\nsub-02\t40\tM\n"
    )
    (out / "study.toml").write_text('[study]\nlabels = "derivatives/truth"\n')
    (atlas / "study.toml").write_text('[study]\nreference = "full"\n')
    with pytest.raises(InputError, match=r"reference = 'pi', found '' and 'full'"):
        module.Dataset(bids, out, atlas)
    with pytest.raises(InputError, match=r"expected labels = 'derivatives/truth', found ''"):
        module.Dataset(bids, atlas)
    for subject, protocol in itertools.product(("sub-01", "sub-02"), PROTOCOLS):
        if (subject, protocol) != ("sub-02", "af5-retro"):
            folder = out / "steps" / subject / f"acq-{protocol.replace('-', '')}" / "nuclei"
            folder.mkdir(parents=True)
            (folder / "settings.toml").write_text("")
    assert module.Dataset(bids, out).complete() == ["sub-01"]
    (atlas / "study.toml").write_text('[study]\nreference = "pi"\n')
    assert module.Dataset(bids, out, atlas).complete() == []


def test_a_part_of_a_study_is_added_and_replaces_its_own_subjects(study, values, tmp_path) -> None:
    path, joined = tmp_path / "values.tsv", study[""].joined
    parts = [
        values[values["subject"].isin(labels)] for labels in (("sub-03",), ("sub-01", "sub-05"))
    ]
    pd.testing.assert_frame_equal(joined(path, parts[0]), parts[0])
    write_table(path, parts[0])
    both = joined(path, parts[1])
    assert list(dict.fromkeys(both["subject"])) == ["sub-01", "sub-03", "sub-05"]
    own = both[both["subject"] == "sub-03"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, parts[0].reset_index(drop=True))
    write_table(path, both)
    again = joined(path, parts[0].assign(value_ppb=1.0))
    assert len(again) == len(both)
    assert (again.loc[again["subject"] == "sub-03", "value_ppb"] == 1.0).all()


def test_a_part_has_the_checksums_of_its_maps_and_nuclei(study, tmp_path: Path) -> None:
    module = study["_values"]
    out, atlas = tmp_path / "out", tmp_path / "atlas"
    for folder, text in ((out, 'labels = "derivatives/truth"'), (atlas, 'reference = "pi"')):
        for protocol, kind in itertools.product(PROTOCOLS, ("map", "nuclei")):
            step = folder / "steps" / "sub-01" / f"acq-{protocol.replace('-', '')}" / kind
            step.mkdir(parents=True)
            name = {"map": "Chimap.nii.gz", "nuclei": "nuclei.tsv"}[kind]
            (step / name).write_text(f"{folder.name} {protocol} {kind}")
        (folder / "study.toml").write_text(f"[study]\n{text}\n")
    table = module.checksums_table(module.Dataset(tmp_path, out, atlas), ["sub-01"])
    assert len(table) == 3 * len(PROTOCOLS)
    assert table["sha256"].nunique() == len(table)
    own = table.set_index(["protocol", "file"])["sha256"]
    expected = hashlib.sha256(b"atlas af5-retro nuclei").hexdigest()
    assert own[("af5-retro", "nuclei, atlas labels")] == expected


def test_a_cohort_goes_on_with_the_subjects_that_its_results_lack(
    study, values, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands and gathering are stood in for; the one with a gap is not made again either."""
    cohort = importlib.import_module("virtual_cohort")
    results, work = tmp_path / "results", tmp_path / "work"
    said: list[list[str]] = []
    broken: list[str] = []
    results.mkdir()
    work.mkdir()

    heads = {head.label: head for head in cohort.PILOT_COHORT.subjects()}

    def command(log: Path, *words: object) -> None:
        said.append([str(word) for word in words])
        if words[0] == "run":
            folder = Path(str(words[2]))
            head = heads[folder.parent.name.rpartition("-")[0]]
            table = folder / "steps" / head.label / "acq-pi" / "nuclei" / "nuclei.tsv"
            table.parent.mkdir(parents=True)
            rows = [
                {"region": region, "side": "both", "mean_ppb": 800 * chi_ppm + 2, "note": ""}
                for region, chi_ppm in head.nuclei_chi_ppm.items()
            ]
            write_table(table, pd.DataFrame(rows))
        if words[0] == "workflow" and "--labels" in words:
            out = Path(str(words[2]))
            out.mkdir(parents=True)
            (out / "study.toml").write_text(
                '[study]\nreference = "pi"\nlabels = "derivatives/truth"\nthreads = 1\n'
            )

    def gathered(dataset, results: Path) -> None:
        label = dataset.out.parent.name.rpartition("-")[0]
        assert (dataset.atlas / "study.toml").read_text().count("labels") == 0
        if label == "sub-02":
            write_table(results / "left-out.tsv", pd.DataFrame({"subject": [label], "why": "gap"}))
            return
        if label == "sub-03" and not broken:
            broken.append(label)
            raise OSError("no space left")
        path = results / "values.tsv"
        write_table(path, study[""].joined(path, values.head(3).assign(subject=label)))

    monkeypatch.setattr(cohort, "_accelqsm", command)
    monkeypatch.setattr(cohort, "gather", gathered)
    monkeypatch.setattr(cohort, "write_results", lambda results: said.append(["tables"]))
    words = ["cohort", str(results), "--atlas", "cit168", "--work", str(work), "--subjects", "4"]
    monkeypatch.setattr("sys.argv", [*words, "--at-once", "1"])
    with pytest.raises(OSError, match="no space"):
        cohort.main()
    assert not any(work.iterdir())
    assert [line[0] for line in said][: 2 * len(heads)] == ["simulate", "run"] * len(heads)
    pilots = [line for line in said if "1958" in line]
    assert [line[line.index("--participant-label") + 1] for line in pilots] == list(heads)
    assert not any("--nuclei" in line for line in pilots)
    pilot = read_table(results / "pilot.tsv", text=("subject",))
    assert np.abs(pilot["measured_ppb"] - 0.8 * pilot["drawn_ppb"] - 2).max() < 1e-3
    made = read_table(results / "values.tsv", text=("subject",))["subject"]
    missing = [label for label in ("sub-03", "sub-04") if label not in set(made)]
    said.clear()
    cohort.main()
    labels = [line[line.index("--participant-label") + 1] for line in said if "--seed" in line]
    assert labels == missing
    assert "sub-03" in labels
    words = ("simulate", "workflow", "workflow") * len(labels)
    assert [line[0] for line in said] == [*words, "tables"]
    made = read_table(results / "values.tsv", text=("subject",))["subject"]
    assert list(dict.fromkeys(made)) == ["sub-01", "sub-03", "sub-04"]
    targets = pd.read_csv(results / "targets.tsv", sep="\t")
    assert list(targets["region"]) == ["Pu", "Ca", "GPe", "GPi", "RN", "SNc", "SNr"]
    putamen = targets.set_index("region").loc["Pu"]
    expected = [(30.8 - 2) / 0.8, 12.9 / 0.8, 0.631, 0.8, 2.0]
    names = ["mean_ppb", "sd_ppb", "r_age", "slope", "offset_ppb"]
    assert putamen[names].tolist() == pytest.approx(expected, abs=1e-3)


def test_targets_give_back_what_lies_off_the_line_of_a_pilot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Measured values of heads drawn for them have the published mean, SD and r with age."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    module = importlib.import_module("virtual_targets")
    rng = np.random.default_rng(3)
    cohort = importlib.import_module("accelqsm.simulate.cohort")

    def measured(drawn_ppb: np.ndarray, noise_ppb: float = 6) -> np.ndarray:
        return 0.7 * drawn_ppb + 9 + rng.normal(0, noise_ppb, len(drawn_ppb))

    drawn_ppb = rng.normal(85, 27, 4000)
    pilot = pd.DataFrame({"drawn_ppb": drawn_ppb, "measured_ppb": measured(drawn_ppb)})
    pilot = pd.concat([pilot.assign(region=region) for region in cohort.PUBLISHED])
    found = module.targets(pilot).set_index("region").loc["SNc"]
    assert found["residual_sd_ppb"] == pytest.approx(6, rel=0.03)
    age = rng.standard_normal(40000)
    own = found["r_age"] * age + np.sqrt(1 - found["r_age"] ** 2) * rng.standard_normal(len(age))
    values_ppb = measured(found["mean_ppb"] + found["sd_ppb"] * own)
    assert values_ppb.mean() == pytest.approx(84.6, abs=0.8)
    assert values_ppb.std() == pytest.approx(27.2, rel=0.03)
    assert np.corrcoef(values_ppb, age)[0, 1] == pytest.approx(0.328, abs=0.02)
    off = pilot["region"] == "Ca"
    pilot.loc[off, "measured_ppb"] = measured(drawn_ppb, 7)
    with pytest.raises(InputError, match=r"Ca: expected heads within .* 6\.3 ppb .* found .* 7\."):
        module.targets(pilot)
