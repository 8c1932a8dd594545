"""The study of Zhou et al. 2025 repeated on digital heads: its tables and figures, and the truth.

Three commands make the study, the last two of which stop and go on as they please:

    accelqsm simulate BIDS --subjects 24 --seed 2025 --anatomy people --motion \
        --nuclei TARGETS.tsv --exact \
        --protocols full pi pi-rescan af3 af4 af5 af8 af3-retro af4-retro af5-retro
    accelqsm workflow BIDS OUT --labels derivatives/truth --reference pi --threads 1
    accelqsm workflow BIDS ATLAS --reference pi --threads 1

The second measures by true labels, the third by those of an atlas, registered as in the study; a
copy of OUT for ATLAS, without the line ``labels`` in its ``study.toml``, spares the maps
(``virtual_cohort.py`` does all of this for one subject after another). Then

    python benchmarks/virtual_study.py RESULTS --study BIDS OUT [--atlas ATLAS] [--page PAGE.md]

writes to RESULTS what the scans of all subjects that are complete give (``values.tsv``,
``similarity.tsv``, ``overlap.tsv``, ``checksums.tsv``, pictures of maps; in ``left-out.tsv``
those that lack a nucleus, and why), and from these tables all others, as
Markdown, and the plots. Subjects that RESULTS has already stay: with ``--participant-label`` of
``simulate`` a study is made in parts, each of which may be removed once it is here. Without
``--study`` tables and plots are made again. In a page, what stands
between ``<!-- results: NAME -->`` and ``<!-- end -->`` is replaced by ``RESULTS/NAME.md``, or that
of a picture by ``NAME.txt``. All tables and the pictures of the page are copied to a folder named
as the page, a copy of which is a RESULTS that a study goes on from.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import pandas as pd

from accelqsm.figures.figure import Figure
from accelqsm.files.atomic import write_text
from accelqsm.files.tables import read_table, write_table
from page import filled
from virtual_study_figures import pictures, plots
from virtual_study_tables import all_tables, findings, markdown, numbers_of
from virtual_study_values import (
    TEXT,
    VALUE_COLUMNS,
    Dataset,
    checksums_table,
    overlap_table,
    similarity_table,
    values_table,
    without_gaps,
)

VALUES, SIMILARITY, OVERLAP = "values.tsv", "similarity.tsv", "overlap.tsv"
LEFT_OUT, CHECKSUMS = "left-out.tsv", "checksums.tsv"
PICTURE = re.compile(r"\]\(([\w-]+\.png)\)")


def main() -> None:
    """Gather what is asked for, and write the tables and figures that follow from it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("results", type=Path)
    parser.add_argument("--study", type=Path, nargs=2, metavar=("BIDS", "OUT"))
    parser.add_argument("--atlas", type=Path, help="study of the same dataset by an atlas' labels")
    parser.add_argument("--page", type=Path, help="page whose parts are to be filled in")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    if options.study:
        bids, out = options.study
        gather(Dataset(bids, out, options.atlas), options.results)
    write_results(options.results)
    if options.page:
        fill_page(options.page, options.results)


def gather(dataset: Dataset, results: Path) -> None:
    """Write what the scans of all complete subjects give."""
    subjects, all_subjects = dataset.complete(), len(dataset.people())
    print(f"{len(subjects)} of {all_subjects} subjects here are complete", flush=True)
    values, gaps = without_gaps(values_table(dataset, subjects))
    for subject, why in gaps.items():
        print(f"{subject} is left out: {why}", flush=True)
    left_out = pd.DataFrame({"subject": list(gaps), "why": list(gaps.values())}, dtype=object)
    write_table(results / LEFT_OUT, joined(results / LEFT_OUT, left_out))
    subjects = list(dict.fromkeys(values["subject"]))
    if not subjects:
        return
    gathered = {
        name: joined(results / name, table)
        for name, table in (
            (VALUES, values),
            (OVERLAP, overlap_table(dataset, subjects)),
            (SIMILARITY, similarity_table(dataset, subjects)),
            (CHECKSUMS, checksums_table(dataset, subjects)),
        )
    }
    for name, figure in pictures(dataset, gathered[VALUES], subjects):
        _save(results, name, figure)
    # Values last: a subject that has them is not made again, and then has all else.
    for name, table in reversed(gathered.items()):
        write_table(results / name, table)


def joined(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """A table with the subjects of an earlier one that it does not have, in their order."""
    if not path.is_file():
        return table
    before = read_table(path, text=(*TEXT, "profile", "why", "file", "sha256"))
    if "note" in before:
        before = before.fillna({"note": ""})
    before = before[~before["subject"].isin(table["subject"])]
    both = pd.concat([part for part in (before, table) if len(part)] or [table])
    return both.sort_values("subject", kind="stable", ignore_index=True)


def write_results(results: Path) -> None:
    """Write all tables and plots that follow from those gathered."""
    values = read_table(results / VALUES, columns=VALUE_COLUMNS, text=TEXT).fillna({"note": ""})
    similarity = read_table(results / SIMILARITY, text=("subject", "protocol", "profile"))
    overlap = read_table(results / OVERLAP, columns=("region", "dice"), text=("subject",))
    numbers = numbers_of(values)
    for name, tables in all_tables(numbers, similarity, overlap).items():
        write_text(results / f"{name}.md", "\n\n".join(map(markdown, tables)) + "\n")
    said = findings(numbers)
    write_text(results / "findings.md", "".join(f"- {line}\n" for line in said))
    frames = {"parts": numbers.parts, "truth": numbers.truth}
    for kind, found in numbers.study.items():
        assert found.ages is not None
        frames |= {f"agreement-{kind}": found.agreement, f"age-{kind}": found.ages}
        frames[f"agreement-null-{kind}"] = numbers.null[kind].agreement
    for name, frame in frames.items():
        write_table(results / f"{name}.tsv", frame)
    for name, figure in plots(numbers):
        _save(results, name, figure)
    print(*said, sep="\n")


def fill_page(page: Path, results: Path) -> None:
    """Fill in the parts of a page, and copy what it shows and all tables beside it.

    Raises:
        InputError: a part that the results do not have.
    """
    texts = [*results.glob("*.md"), *results.glob("*.txt")]
    parts = {path.stem: path.read_text(encoding="utf-8") for path in texts}
    text = filled(page.read_text(encoding="utf-8"), parts, kind="results", source=str(results))
    beside = page.with_suffix("")
    beside.mkdir(exist_ok=True)
    shown = [results / name for name in PICTURE.findall(text)]
    for path in (*results.glob("*.tsv"), *shown, *(each.with_suffix(".txt") for each in shown)):
        shutil.copyfile(path, beside / path.name)
    write_text(page, PICTURE.sub(rf"]({beside.name}/\1)", text))


def _save(results: Path, name: str, figure: Figure) -> None:
    """Write a figure as PNG, and beside it the part of the page that shows it."""
    (results / f"{name}.png").write_bytes(figure.png)
    text = f"![{figure.alt}]({name}.png)\n\n{figure.caption}\n"
    write_text(results / f"{name}.txt", text)


if __name__ == "__main__":
    main()
