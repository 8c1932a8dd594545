"""A page of each participant: what was run and what failed, flags first, maps, labels, quality."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from accelqsm.files.atomic import write_text
from accelqsm.files.nifti import read_volume
from accelqsm.files.toml import read_settings
from accelqsm.results.echoes import last_echo
from accelqsm.results.maps import CHIMAP, FIELD, FIELD_SD, MAGNITUDE, MASK, R2STAR
from accelqsm.results.nuclei import read_nuclei
from accelqsm.results.records import SETTINGS
from accelqsm.study.context import Context
from accelqsm.study.keys import code_version
from accelqsm.study.plan import MAP, NUCLEI
from accelqsm.study.state import State, Status

if TYPE_CHECKING:
    from accelqsm.figures.figure import Figure
    from accelqsm.reports.page.content import Answer, ReportContent
    from accelqsm.results.nuclei import NucleiResult

PERCENTILES = (1.0, 99.0)
FROM_RECORD = {
    "acceleration": "acceleration",
    "snr": "SNR of the first echo, median",
    "incoherent_share": "share of the mask that incoherent phase took",
    "held_out_error": "error on samples held out",
    "unexplained": "share of voxels that sensitivities do not explain",
}


def page_of(context: Context, subject: str) -> Path:
    """Path of the page of a participant."""
    return context.out / f"{subject}.html"


def write_page(context: Context, subject: str, found: Iterable[Status]) -> Path:
    """Write the page of a participant, unless the one that is there tells the same.

    Args:
        context: the study.
        subject: such as "sub-01".
        found: state of all of its steps.
    """
    statuses = list(found)
    page = page_of(context, subject)
    key = _key(statuses)
    if page.is_file() and key in page.read_text(encoding="utf-8"):
        return page
    from accelqsm.reports.page.build import build_page

    content = participant_content(context, subject, statuses)
    write_text(page, build_page(replace(content, provenance={"Checksum of all steps": key})))
    return page


def participant_content(context: Context, subject: str, found: list[Status]) -> ReportContent:
    """What the page of a participant says.

    Args:
        context: the study.
        subject: such as "sub-01".
        found: state of all of its steps.
    """
    from accelqsm import __version__
    from accelqsm.reports.cells import Table
    from accelqsm.reports.page.content import ReportContent

    done = [status for status in found if status.state == State.FINISHED]
    maps = {_name(s): context.folder(s.step) for s in done if s.step.kind == MAP}
    nuclei = {_name(s): read_nuclei(context.folder(s.step)) for s in done if s.step.kind == NUCLEI}
    failed = [f"{s.step.label}: {s.state.value}: {s.why}" for s in found if s not in done]
    flags = [line for name, result in nuclei.items() for line in _flags(name, result)]
    tables = [
        Table("Nuclei, ppb", _values(nuclei), "Mean susceptibility; both sides joined."),
        Table(
            "Images",
            _by_scan({name: image_figures(folder) for name, folder in maps.items()}),
            "Within the mask; one column for each scan.",
        ),
        Table(
            "Registration",
            _by_scan({name: result.quality for name, result in nuclei.items()}),
            "Of the labels to each scan.",
        ),
    ]
    return ReportContent(
        title=subject,
        subtitle=f"{', '.join(maps) or 'no scan'}; accelqsm {__version__}",
        answer=_answer(len(done), len(found), failed, flags),
        cautions=flags,
        figures=list(_figures(maps, nuclei)),
        tables=[table for table in tables if len(table.frame)],
        unfolded=("figures", "tables"),
    )


def _answer(n_done: int, n_steps: int, failed: list[str], flags: list[str]) -> Answer:
    from accelqsm.reports.page.content import Answer, Outcome

    if failed:
        outcome = Outcome("✗", "Not finished", "no")
    elif flags:
        outcome = Outcome("◐", "Finished, with flags", "partly")
    else:
        outcome = Outcome("✓", "Finished", "yes")
    text = f"{n_done} of {n_steps} steps are finished, {len(flags)} values are flagged."
    return Answer(text, outcome, notes=failed)


def _key(found: Iterable[Status]) -> str:
    lines = [f"{s.step.folder} {s.key} {s.state.value} {s.why}" for s in found]
    return hashlib.sha256("\n".join([code_version(), *lines]).encode()).hexdigest()


def _name(status: Status) -> str:
    scan = status.step.scan
    return " ".join(filter(None, (scan.session, scan.protocol)))


def _flags(name: str, result: NucleiResult) -> Iterator[str]:
    for row in result.table.to_dict("records"):
        said = "; ".join(str(row[key]) for key in ("note", "flag") if row.get(key))
        if said:
            yield f"{name}: {row['region']} {row['side']}: {said}".replace("  ", " ")


def _figures(maps: dict[str, Path], nuclei: dict[str, NucleiResult]) -> Iterator[Figure]:
    from accelqsm.figures.maps import maps_figure

    for name, folder in maps.items():
        chi = read_volume(folder / CHIMAP)
        made = maps_figure(
            np.asarray(chi.values),
            np.asarray(read_volume(folder / MASK).values) > 0.5,
            magnitude=_optional(folder / MAGNITUDE),
            r2star_per_s=_optional(folder / R2STAR),
            voxel_size_mm=chi.grid.voxel_size_mm,
            others=_other_maps(folder),
        )
        yield replace(made, title=f"{name}: maps")
        if name in nuclei:
            labels = nuclei[name].figure
            alt = labels.alt or f"Outlines of the nuclei of {name} on susceptibility and magnitude."
            yield replace(labels, title=f"{name}: labels", alt=alt)


def _other_maps(folder: Path) -> dict[str, tuple[Any, tuple[float, float]]]:
    """Mask, field and phase of a scan, each with the values that are black and white."""
    mask = np.asarray(read_volume(folder / MASK).values) > 0.5
    found: dict[str, tuple[Any, tuple[float, float]]] = {"mask": (mask, (0.0, 1.0))}
    field = _optional(folder / FIELD)
    if field is not None and mask.any():
        most = float(np.percentile(np.abs(field[mask]), PERCENTILES[1])) or 1.0
        found[f"field, ±{most:.0f} Hz"] = (field, (-most, most))
    last = last_echo(folder, "phase")
    if last is not None:
        found["phase of the last echo, ±π"] = (_optional(last), (-np.pi, np.pi))
    return found


def _values(nuclei: dict[str, NucleiResult]) -> pd.DataFrame:
    columns = {}
    for name, result in nuclei.items():
        kept = result.table[result.table["side"].isin(["both", ""])]
        columns[name] = kept.set_index("region")["mean_ppb"]
    return pd.DataFrame(columns).rename_axis("region").reset_index() if columns else pd.DataFrame()


def _by_scan(figures: Mapping[str, Iterable[tuple[str, float, str]]]) -> pd.DataFrame:
    """Figures of each scan as a table with one column for each scan."""
    columns = {
        name: {f"{figure} ({unit})" if unit else figure: value for figure, value, unit in own}
        for name, own in figures.items()
    }
    return pd.DataFrame(columns).rename_axis("figure").reset_index() if columns else pd.DataFrame()


def image_figures(folder: Path) -> list[tuple[str, float, str]]:
    """Mask, field and noise of a scan's maps, and what its reconstruction left in the record.

    Returns:
        Name, value and unit of each figure.
    """
    image = read_volume(folder / MASK)
    mask = np.asarray(image.values) > 0.5
    found = [("mask", float(mask.sum()) * image.grid.voxel_volume_mm3 / 1000, "ml")]
    field, noise = _optional(folder / FIELD), _optional(folder / FIELD_SD)
    if field is not None and mask.any():
        low, high = np.percentile(field[mask], PERCENTILES)
        found.append(("field, 1st to 99th percentile", float(high - low), "Hz"))
    if noise is not None and mask.any():
        found.append(
            ("standard deviation of the field, median", float(np.median(noise[mask])), "Hz")
        )
    source = read_settings(folder / SETTINGS).get("source", {})
    return found + [(text, float(source[k]), "") for k, text in FROM_RECORD.items() if k in source]


def _optional(path: Path) -> Any:
    return np.asarray(read_volume(path).values) if path.is_file() else None
