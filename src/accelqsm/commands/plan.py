"""From a pilot comparison, or published numbers, to the study that would settle it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from accelqsm.agreement.columns import column_dictionary
from accelqsm.agreement.pair import DEFAULT_MARGIN_PERCENT
from accelqsm.agreement.planning import COLUMNS, plan_subjects
from accelqsm.agreement.published import published
from accelqsm.agreement.statistics.equivalence import DEFAULT_POWER
from accelqsm.agreement.summary import Cohort, cohort_with_statistics
from accelqsm.errors import InputError
from accelqsm.files.tables import (
    read_table,
    write_described_table,
    write_settings,
    write_table,
)
from accelqsm.pipeline.comparison import EVERY_REGION, LABELS, margin_of_each_region, named_numbers
from accelqsm.results.provenance import software


def plan_study(
    pilot: Path | None = None,
    out: Path | None = None,
    *,
    within_sd_ppb: float | None = None,
    mean_ppb: float | None = None,
    margin_percent: float = DEFAULT_MARGIN_PERCENT,
    margin_ppb: Mapping[str, float] | None = None,
    power: float = DEFAULT_POWER,
    confidence: float = 0.95,
    bias_ppb: float | None = 0.0,
    scan_time_s: Mapping[str, float] | None = None,
    reference: str | None = None,
) -> pd.DataFrame:
    """Subjects needed to decide equivalence, and the scan time that would be saved.

    Args:
        pilot: ``agreement.tsv`` of a comparison; or, in its place, the two numbers that follow.
        out: tab-separated table to write; none when absent.
        within_sd_ppb: within-subject SD in ppb.
        mean_ppb: mean under the reference in ppb; may be left out when a margin in ppb is given.
        margin_percent: half-width of the equivalence region, in percent of the reference mean.
        margin_ppb: region -> half-width in ppb in its place; "*" is every region.
        power: wanted probability of a decision.
        confidence: 1 - confidence is the level of each one-sided test.
        bias_ppb: true difference to plan for; None takes what the pilot found.
        scan_time_s: protocol -> seconds of one scan.
        reference: the protocol that the others replace; needed with scan times.

    Raises:
        InputError: a pilot that cannot be used, or numbers out of range.
    """
    if pilot is not None:
        if within_sd_ppb is not None or mean_ppb is not None:
            raise InputError("plan: expected a pilot table or a within-subject SD, found both")
        table = read_table(pilot, columns=COLUMNS, text=LABELS)
    else:
        table = _one_nucleus(
            within_sd_ppb, mean_ppb, margin_ppb or {}, scan_time_s or {}, reference
        )
    plan = plan_subjects(
        table,
        margin_percent=margin_percent,
        margin_ppb=margin_of_each_region(margin_ppb or {}, table["region"]),
        power=power,
        confidence=confidence,
        bias_ppb=bias_ppb,
        scan_time_s=scan_time_s,
        reference=reference,
    )
    if out is not None:
        write_described_table(out, plan, column_dictionary(map(str, plan)))
    return plan


def _one_nucleus(
    within_sd_ppb: float | None,
    mean_ppb: float | None,
    margin_ppb: Mapping[str, float],
    scan_time_s: Mapping[str, float],
    reference: str | None,
) -> pd.DataFrame:
    if within_sd_ppb is None:
        raise InputError(
            "plan: expected a pilot table or a within-subject SD in ppb, found neither"
        )
    if not within_sd_ppb > 0:
        raise InputError(f"plan: expected a within-subject SD above 0 ppb, found {within_sd_ppb:g}")
    if mean_ppb is None and EVERY_REGION not in margin_ppb:
        raise InputError("plan: expected a reference mean or a margin in ppb, found neither")
    others = [name for name in scan_time_s if name != reference]
    return pd.DataFrame(
        {
            "region": "any",
            "protocol": others or ["any"],
            "mean_reference": float("nan") if mean_ppb is None else mean_ppb,
            "within_subject_sd": within_sd_ppb,
        }
    )


def scan_times(words: Sequence[str]) -> dict[str, float]:
    """Seconds of one scan per protocol, from ``PROTOCOL=SECONDS`` or a published study's name.

    Raises:
        InputError: a word of neither form.
    """
    if len(words) == 1 and "=" not in words[0]:
        return dict(published(words[0]).scan_time_s)
    return named_numbers(words, "--scan-time")


def write_published_cohort(name: str, out: Path, *, seed: int = 0) -> Cohort:
    """Write people and values that have exactly the statistics of a published study.

    ``values.tsv`` and ``participants.tsv`` go into ``out``, to be given to ``compare``;
    ``settings.toml`` says where they come from.

    Args:
        name: a published study, such as "zhou2025".
        out: folder to write to.
        seed: draws the people; the statistics do not depend on it.

    Raises:
        InputError: a study that is not known.
    """
    study = published(name)
    cohort = cohort_with_statistics(study, seed=seed)
    write_table(out / "values.tsv", cohort.values)
    write_table(out / "participants.tsv", cohort.participants)
    source = {"name": name, "citation": study.citation, "doi": study.doi, "seed": seed}
    write_settings(
        out / "settings.toml", {"command": "cohort", "source": source, "software": software()}
    )
    return cohort
