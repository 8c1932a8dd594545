"""Group stage: nuclei of all participants joined, protocols compared, the report written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.atomic import write_text
from accelqsm.files.tables import write_described_table, write_table
from accelqsm.options.table import plain
from accelqsm.reports.page.overview import Overview, build_overview
from accelqsm.results.folder import results_folder
from accelqsm.results.nuclei import TABLE, read_nuclei
from accelqsm.study.context import Context
from accelqsm.study.keys import code_version, step_key
from accelqsm.study.page import image_figures, page_of
from accelqsm.study.plan import NUCLEI, Selection
from accelqsm.study.publish import GROUP, PAGE, publish_dataset
from accelqsm.study.run import plan_states
from accelqsm.study.state import State, Status
from accelqsm.study.tables import VALUE_MEANINGS

if TYPE_CHECKING:
    from accelqsm.figures.figure import Figure
    from accelqsm.results.comparison import Comparison

VALUES, QUALITY_TABLE, AGREEMENT = "values.tsv", "quality.tsv", "agreement"
OVERVIEW = "index.html"
STUDY_INPUT = "study"


@dataclass(frozen=True)
class Group:
    """What the group stage came to.

    Attributes:
        page: page of the study, with a link to the report.
        left_out: scan -> why it has no values.
    """

    page: Path
    left_out: Mapping[str, str]


def run_group(context: Context, selection: Selection) -> Group:
    """Join the nuclei of a selection, compare the protocols if there are several, and report.

    Raises:
        InputError: no finished scan, or several sessions of a participant.
    """
    publish_dataset(context)
    found = [status for status in plan_states(context, selection) if status.step.kind == NUCLEI]
    _check_sessions(found)
    table = join_nuclei(context, found)
    folder = context.out / GROUP
    write_described_table(folder / VALUES, table, VALUE_MEANINGS)
    quality = _quality(context, found)
    write_table(folder / QUALITY_TABLE, quality)
    several = table["protocol"].nunique() > 1
    report = _compare(context, folder / AGREEMENT, table, selection) if several else None
    page = _write_overview(context, found, quality, report)
    return Group(page, {s.step.scan.name(): s.why for s in found if s.state != State.FINISHED})


def join_nuclei(context: Context, found: list[Status]) -> pd.DataFrame:
    """Table of values; a scan that is not finished has n/a in every region, and why as its note.

    Raises:
        InputError: no scan is finished.
    """
    from accelqsm.api.agreement import values

    done = {
        (s.step.scan.subject, s.step.scan.protocol): context.folder(s.step) / TABLE
        for s in found
        if s.state == State.FINISHED
    }
    if not done:
        some = next((f": {s.step.label}: {s.why}" for s in found), "")
        raise InputError(
            f"{context.out}: expected the nuclei of one scan or more, found none{some}"
        )
    table = values(done).astype({"value_ppb": float})
    regions = list(dict.fromkeys(table["region"]))
    empty = [
        {"subject": s.step.scan.subject, "protocol": s.step.scan.protocol, "region": region,
         "value_ppb": float("nan"), "note": s.why}
        for s in found if s.state != State.FINISHED for region in regions
    ]  # fmt: skip
    left_out = [pd.DataFrame(empty, columns=table.columns)] if empty else []
    joined = pd.concat([table, *left_out])
    return joined.sort_values(["subject", "protocol"], kind="stable", ignore_index=True)


def _compare(context: Context, folder: Path, table: pd.DataFrame, selection: Selection) -> Path:
    """Compare the protocols, unless that was done with the same values and settings."""
    key = _key(context, table, selection)
    page = folder / PAGE
    if page.is_file() and _done_key(folder) == key:
        return page
    from accelqsm.api.agreement import compare, report
    from accelqsm.pipeline.comparison import participants_with_values
    from accelqsm.reports.boilerplate import write_methods

    people = context.dataset.participants
    made: Comparison = compare(table, participants=people, settings=context.study.compare)
    if selection.subjects and made.participants is not None:
        made = replace(made, participants=participants_with_values(made.participants, table))
    inputs = {STUDY_INPUT: {"path": "bids::", "sha256": key}}
    with results_folder(folder, "compare", overwrite=True) as staging:
        replace(made, inputs=inputs).write(staging)
        write_methods(staging)
    return report(folder)


def _key(context: Context, table: pd.DataFrame, selection: Selection) -> str:
    people = context.dataset.participants
    inputs: dict[str, Any] = {
        "values": json.loads(table.to_json(orient="split", double_precision=15)),
        "participants": "" if people is None else context.sums.of(people),
        "selected": sorted(selection.subjects),
    }
    return step_key(plain(context.study.compare), inputs, "", code_version())


def _done_key(folder: Path) -> str | None:
    from accelqsm.results.comparison import read_comparison

    try:
        return read_comparison(folder).inputs.get(STUDY_INPUT, {}).get("sha256")
    except InputError:
        return None


def _quality(context: Context, found: list[Status]) -> pd.DataFrame:
    """Figures of images and registration of all finished scans in one long table."""
    rows = []
    for status in found:
        if status.state != State.FINISHED:
            continue
        scan, folder = status.step.scan, context.folder(status.step)
        own = image_figures(context.out / status.step.needs["map"])
        own += [(m, v, u) for m, v, u in read_nuclei(folder).quality]
        rows += [(scan.subject, scan.protocol, *figure) for figure in own]
    return pd.DataFrame(rows, columns=["subject", "protocol", "metric", "value", "unit"])


def _write_overview(
    context: Context, found: list[Status], quality: pd.DataFrame, report: Path | None
) -> Path:
    """Write the page of the study, with links to the report, if any, and to the participants."""
    states: dict[str, dict[str, str]] = {}
    for status in found:
        scan = status.step.scan
        states.setdefault(scan.subject, {})[scan.protocol] = status.state.value
    pages = {who: page_of(context, who) for who in states}
    overview = Overview(
        title="Study",
        values=f"{GROUP}/{VALUES}",
        report=report.relative_to(context.out).as_posix() if report else "",
        people={who: page.name if page.is_file() else "" for who, page in pages.items()},
        states=states,
        left_out=[f"{s.step.scan.name()}: {s.why}" for s in found if s.state != State.FINISHED],
        quality=list(_strips(quality)),
    )
    path = context.out / OVERVIEW
    write_text(path, build_overview(overview))
    return path


def _strips(quality: pd.DataFrame) -> Iterator[Figure]:
    """Strip plots of all metrics that have values, some in each figure."""
    from accelqsm.figures.summary.strips import MOST_PANELS, strips_figure

    known = quality.dropna(subset=["value"])
    metrics = list(dict.fromkeys(known["metric"]))
    for start in range(0, len(metrics), MOST_PANELS):
        some = metrics[start : start + MOST_PANELS]
        yield strips_figure(known[known["metric"].isin(some)])


def _check_sessions(found: list[Status]) -> None:
    """Refuse several sessions of one participant, whose values would be counted twice."""
    sessions: dict[str, set[str]] = {}
    for status in found:
        sessions.setdefault(status.step.scan.subject, set()).add(status.step.scan.session)
    for subject, own in sessions.items():
        if len(own) > 1:
            raise InputError(
                f"{subject}: expected one session of a participant in the comparison, found "
                f"{', '.join(sorted(own))}; --session-label takes one"
            )
