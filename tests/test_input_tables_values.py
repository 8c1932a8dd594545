"""Tables of values as programs and people write them: read as what they are, or refused in a line.

Members that could not be read off the reported cases: one protocol alone in ppm while the others
are in ppb; row numbers of R (a nameless first column) in a wide table; -999 in only one column of
a wide table; "1,234" that may be a decimal or a thousands comma.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.api.agreement import compare
from accelqsm.cli import main
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.tables import read_table
from accelqsm.files.text.values import read_values

SUBJECTS, PROTOCOLS, REGIONS = [f"s{n:02d}" for n in range(8)], ("PI", "AF3"), ("Pu", "Ca", "RN")


def long(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        (s, p, r, round(30.0 + 10 * k + 4 * n + rng.normal(), 3))
        for n, s in enumerate(SUBJECTS)
        for p in PROTOCOLS
        for k, r in enumerate(REGIONS)
    ]
    return pd.DataFrame(rows, columns=["subject", "protocol", "region", "value_ppb"])


def wide(over: str) -> pd.DataFrame:
    rows = [name for name in ("subject", "protocol", "region") if name != over]
    table = long().pivot(index=rows, columns=over, values="value_ppb").reset_index()
    return table[[*rows, *(REGIONS if over == "region" else PROTOCOLS)]].rename_axis(None, axis=1)


def same(found: pd.DataFrame, expected: pd.DataFrame | None = None) -> None:
    keys = ["subject", "protocol", "region"]
    ours, theirs = (
        t.set_index(keys)["value_ppb"].astype(float).sort_index()
        for t in (found, long() if expected is None else expected)
    )
    pd.testing.assert_series_equal(ours, theirs)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


TSV = long().to_csv(sep="\t", index=False)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (TSV.replace("\n", "\r\n"), "utf-8"),
        (TSV.replace("\n", "\r"), "utf-8"),
        (TSV, "utf-8-sig"),
        (TSV, "utf-16"),
        (TSV.replace("\n", "\n\t\t\t\n"), "utf-8"),
        (TSV.replace("\n", "\t \n") + "\n \n", "utf-8"),
        (TSV.replace("\t", " \t "), "utf-8"),
        (TSV.replace("value_ppb", "Value_ppb").replace("subject", "Subject"), "utf-8"),
        (long().to_csv(index=False), "utf-8"),
        (long().to_csv(index=False, quoting=1), "utf-8"),
        ("sep=;\n" + long().to_csv(index=False, sep=";"), "utf-8"),
        (long().to_csv(index=False, sep=";"), "utf-8"),
        (long().to_csv(sep="\t"), "utf-8"),
        (TSV.replace("subject", "participant_id"), "utf-8"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_line_ends_marks_blanks_quotes_and_delimiters_do_not_matter(
    tmp_path: Path, text: str, encoding: str
) -> None:
    same(read_values(write(tmp_path / "v.tsv", text, encoding)))


def test_a_cell_may_hold_the_delimiter_where_it_is_quoted(tmp_path: Path) -> None:
    text = long().replace("Pu", "Putamen, all").to_csv(index=False)
    table = read_values(write(tmp_path / "v.csv", text))
    same(table, long().replace("Pu", "Putamen, all"))


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas_are_read_and_said(tmp_path: Path, delimiter: str) -> None:
    text = long().assign(value_ppb=long()["value_ppb"].round(2))
    path = write(tmp_path / "v.csv", text.to_csv(index=False, sep=delimiter, decimal=","))
    with pytest.warns(InputWarning, match=r"v.csv: value_ppb: commas taken as decimal points"):
        same(read_values(path), text)


def test_three_digits_after_a_comma_are_a_decimal_with_semicolons_and_else_refused(
    tmp_path: Path,
) -> None:
    ends = long().assign(value_ppb=[f"{v:.3f}".replace(".", ",") for v in long()["value_ppb"]])
    with pytest.warns(InputWarning, match="commas taken as decimal points"):
        same(read_values(write(tmp_path / "v.csv", ends.to_csv(index=False, sep=";"))))
    path = write(tmp_path / "v.tsv", ends.to_csv(index=False, sep="\t"))
    with pytest.raises(InputError, match=r"found '\d+,\d{3}' in row 1, which may be"):
        read_values(path)


@pytest.mark.parametrize("over", ["region", "protocol"])
def test_a_wide_table_is_recognised_and_said(tmp_path: Path, over: str) -> None:
    table = wide(over).assign(age=50, sex="F")
    path = write(tmp_path / "v.csv", table.to_csv())  # with pandas' row numbers
    message = rf"v.csv: a column for each {over} in ppb, so read as .*; not read: age, sex"
    with pytest.warns(InputWarning, match=message):
        same(read_values(path))


@pytest.mark.filterwarnings("error")
def test_columns_of_other_names_are_named_by_option(tmp_path: Path) -> None:
    names = {"subject": "ID", "protocol": "scan", "region": "roi", "value_ppb": "chi"}
    path = write(tmp_path / "v.csv", long().rename(columns=names).to_csv(index=False, sep=";"))
    with pytest.raises(InputError, match=r"subject \(who .* --columns subject=ID .*=chi$"):
        read_values(path)
    same(read_values(path, names))
    spread = write(tmp_path / "w.tsv", wide("region").to_csv(sep="\t", index=False))
    table = read_values(spread, {"region": "Pu,RN"})
    same(table, long()[long()["region"] != "Ca"])
    words = [f"{ours}={theirs}" for ours, theirs in names.items()]
    command = ["compare", str(path), str(tmp_path / "out"), "--reference", "PI", "--columns"]
    assert main([*command, *words]) == 0
    assert read_table(tmp_path / "out" / "agreement.tsv")["n"].iloc[0] == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["subject"], "--columns: expected NAME=COLUMN, found 'subject'"),
        (["subject=a", "subject=b"], "--columns: expected subject once, found it twice"),
        (
            ["person=ID"],
            "--columns: expected one of subject, protocol, region, session, run, value_ppb",
        ),
        (["subject=ID"], "v.tsv: expected a column ID, found subject, protocol, region"),
        (["region=Pu,Xy"], "v.tsv: expected the tab-separated column(s) Pu, Xy, found"),
    ],
)
def test_columns_that_are_not_there_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    path = write(tmp_path / "v.tsv", TSV)
    command = ["compare", str(path), str(tmp_path / "out"), "--reference", "PI", "--columns"]
    assert main([*command, *words]) == 65
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.filterwarnings("error")
def test_ppm_are_read_where_the_column_says_so(tmp_path: Path) -> None:
    table = long().assign(value_ppm=long()["value_ppb"] / 1000).drop(columns="value_ppb")
    same(read_values(write(tmp_path / "v.tsv", table.to_csv(sep="\t", index=False))))
    text = table.rename(columns={"value_ppm": "chi"}).to_csv(sep="\t", index=False)
    same(read_values(write(tmp_path / "w.tsv", text), {"value_ppm": "chi"}))


@pytest.mark.parametrize("key", ["all", "protocol", "subject", "region"])
def test_ppm_in_a_column_of_ppb_are_refused_also_in_one_protocol_person_or_region(
    tmp_path: Path, key: str
) -> None:
    table = long()
    other = pd.concat([long(seed).assign(region=lambda v, s=seed: v["region"] + str(s))
                       for seed in (0, 1)])  # fmt: skip
    label = {"protocol": "AF3", "subject": "s03", "region": "Ca1"}.get(key)
    chosen = slice(None) if label is None else other[key] == label
    other.loc[chosen, "value_ppb"] /= 1000
    path = write(tmp_path / "v.tsv", other.to_csv(sep="\t", index=False))
    where = "every row" if label is None else f"{key} '{label}'"
    with pytest.raises(InputError, match=rf"v.tsv: value_ppb: expected ppb, .* in {where}, .* ppm"):
        compare(path, reference="PI")
    same(table)


@pytest.mark.parametrize("word", ["NaN", "nan", "NA", "", "#N/A", "-"])
def test_other_words_for_a_missing_value_are_told_by_row_and_column(
    tmp_path: Path, word: str
) -> None:
    lines = TSV.splitlines()
    for row in (3, 17):
        lines[row] = "\t".join([*lines[row].split("\t")[:3], word])
    lines.insert(2, "\t\t\t")  # a blank row before both, which counts
    path = write(tmp_path / "v.tsv", "\n".join(lines))
    told = f"value_ppb: {word or 'nothing'} in rows 4, 18, taken as missing"
    with pytest.warns(InputWarning, match=f"v.tsv: {told}"):
        table = read_values(path)
    assert table["value_ppb"].isna().sum() == 2
    with pytest.warns(InputWarning, match=told):
        assert compare(path, reference="PI").agreement["n"].min() == 7


@pytest.mark.parametrize("code", ["-999", "-9999", "9999.0", "-999,0"])
def test_a_number_for_a_missing_value_is_refused_by_row_and_column(
    tmp_path: Path, code: str
) -> None:
    lines = TSV.splitlines()
    if "," in code:
        lines = [line.replace(".", ",") for line in lines]
    lines[5] = "\t".join([*lines[5].split("\t")[:3], code])
    path = write(tmp_path / "v.tsv", "\n".join(lines))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        with pytest.raises(InputError, match=r"value_ppb: expected n/a where .* 999.* in row 5|"
                           r"value_ppb: expected n/a where .*9.* in row 5"):  # fmt: skip
            read_values(path)
    spread = wide("region")
    spread.loc[4, "Ca"] = -999.0
    path = write(tmp_path / "w.csv", spread.to_csv(index=False))
    with (
        pytest.warns(InputWarning, match="read as region"),
        pytest.raises(InputError, match=r"w.csv: Ca: expected n/a .* found -999.0 in row 5"),
    ):
        read_values(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04rest", "expected a table as text .* found a zip or Excel file"),
        (b"", "not a tab-separated table"),
        (b"\n \n", "not a tab-separated table"),
        ("sub\xe9\tx\n".encode("latin-1"), "not a tab-separated table in UTF-8"),
        (b"a\tb\n1\t2\t3\n", "expected 2 cells in row 1 as in the header, found 3"),
        (b"a\ta\n1\t2\n", "expected every column once, found a twice"),
        (
            b"subject\tprotocol\tchi\n1\tPI\t3\n",
            "column.s. region .in .*, value_ppb .*found",
        ),
    ],
)
def test_what_is_no_such_table_is_refused_in_a_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "v.tsv").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_values(tmp_path / "v.tsv")
    assert "\n" not in str(error.value)


def test_ages_are_told_by_row(tmp_path: Path) -> None:
    values = write(tmp_path / "v.tsv", TSV)
    people = pd.DataFrame({"participant_id": SUBJECTS, "age": [30, 41, 52, -999, 47, 58, 61, 39]})
    path = write(tmp_path / "p.tsv", people.to_csv(sep="\t", index=False))
    with pytest.raises(InputError, match=r"p.tsv: age: expected n/a .* found -999 in row 4"):
        compare(values, reference="PI", participants=path)
    text = people.to_csv(index=False, sep=";").replace("-999", "")
    with pytest.warns(InputWarning, match=r"age: nothing in row 4, taken as missing"):
        ages = compare(values, reference="PI", participants=write(tmp_path / "p.csv", text)).ages
    assert ages is not None
    assert ages["n"].iloc[0] == 7


CROSSED = long().assign(
    column=lambda v: v["region"].where(v["region"] != "Ca", "L SNc") + "_" + v["protocol"]
)


def in_columns() -> pd.DataFrame:
    """One row per subject, a column for each nucleus and protocol."""
    order = list(dict.fromkeys(CROSSED["column"]))
    table = CROSSED.pivot(index="subject", columns="column", values="value_ppb")[order]
    return table.rename_axis(None, axis=1).reset_index()


@pytest.mark.parametrize("turned", [False, True])
def test_one_row_per_subject_with_nuclei_and_protocols_in_the_header_is_read(
    tmp_path: Path, turned: bool
) -> None:
    table = in_columns()
    names = {n: " - ".join(reversed(n.split("_"))) for n in table if turned and "_" in n}
    table = table.rename(columns=names).assign(age=50)
    path = write(tmp_path / "v.csv", table.to_csv(index=False, sep=";"))
    message = "v.csv: a column for each region and protocol in ppb, .*; not read: age"
    with pytest.warns(InputWarning, match=message):
        found = read_values(path)
    same(found, CROSSED.assign(region=CROSSED["column"].str.partition("_")[0]))


@pytest.mark.parametrize("side", ["L_SNc_{}", "SNc_L_{}", "{}_SNc_left", "{} - L SNc"])
def test_a_side_stays_with_its_nucleus_and_a_ratio_of_nuclei_is_no_scan(
    tmp_path: Path, side: str
) -> None:
    table = in_columns()
    names = {f"L SNc_{p}": side.format(p) for p in PROTOCOLS}
    table = table.rename(columns=names).assign(Pu_RN=1.5)
    path = write(tmp_path / "v.csv", table.to_csv(index=False))
    with pytest.warns(InputWarning, match="not read: Pu_RN"):
        found = read_values(path)
    assert set(found["protocol"]) == set(PROTOCOLS)
    region = side.format("").strip("_- ")
    assert set(found["region"]) == {"Pu", "RN", region}


def test_headers_are_read_by_the_nuclei_that_they_name_and_else_not_guessed(tmp_path: Path) -> None:
    table = in_columns().rename(columns=lambda name: name.replace("Pu", "X").replace("RN", "Y"))
    with pytest.warns(InputWarning, match="so read as X under PI, .* under AF3"):
        found = read_values(write(tmp_path / "v.csv", table.to_csv(index=False)))
    assert set(found["region"]) == {"X", "Y", "L SNc"}
    table = table.rename(columns=lambda name: name.replace("L SNc", "Z"))
    with pytest.raises(InputError, match=r"expected column.s. protocol .by which scan., region"):
        read_values(write(tmp_path / "w.csv", table.to_csv(index=False)))


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        (("ID", "sequence", "ROI", "chi (ppb)"),
         "subject=ID protocol=sequence region=ROI value_ppb='chi (ppb)'"),
        (("Patient", "acq", "Nucleus", "chi_ppm"),
         "subject=Patient protocol=acq region=Nucleus value_ppm=chi_ppm"),
        (("a", "b", "c", "d"), "subject=NAME protocol=NAME region=NAME value_ppb=NAME"),
        (("a", "scan", "c", "d"), "protocol=scan"),
    ],
)  # fmt: skip
def test_what_a_table_lacks_is_asked_for_by_its_own_names(
    tmp_path: Path, names: tuple[str, ...], asked: str
) -> None:
    table = long().set_axis(list(names), axis=1)
    with pytest.raises(InputError) as error:
        read_values(write(tmp_path / "v.tsv", table.to_csv(sep="\t", index=False)))
    said = str(error.value)
    assert said.endswith(f"; say which is which: --columns {asked}")
    assert "subject (who was scanned), protocol (by which scan), region (in which" in said


def test_a_wide_table_keeps_its_runs(tmp_path: Path) -> None:
    table = pd.concat([wide("protocol").assign(run="01"), wide("protocol").assign(run="02")])
    with pytest.warns(InputWarning, match="a column for each protocol"):
        found = read_values(write(tmp_path / "v.csv", table.to_csv(index=False)))
    assert set(found["run"]) == {"01", "02"}
    assert len(found) == 2 * len(long())
