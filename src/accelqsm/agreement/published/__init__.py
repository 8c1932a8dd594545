"""Printed results of published studies, and consistency checks of their p-values."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd

from accelqsm.agreement.statistics.coefficients import correlation_p
from accelqsm.errors import InputError

STUDIES = ("zhou2025",)
R_HALF_DIGIT, P_HALF_DIGIT = 0.0005, 0.0005


@dataclass(frozen=True)
class Published:
    """Printed numbers of a study; tables have regions as rows and protocols as columns.

    Attributes:
        name: key of the study, such as "zhou2025".
        short: short name for headings.
        citation: reference, one line.
        doi: without "https://doi.org/".
        n: number of subjects.
        reference: the protocol that the others were compared with.
        protocols: all protocols, the reference first.
        regions: regions in the order of the paper.
        participants: characteristics of the subjects, name -> number.
        similarity: mean, minimum and maximum of SSIM and PSNR of every protocol but the reference.
        scan_time_s: scan time of each protocol.
        pearson_r: correlation with the reference, which has no column.
        mean_ppb: mean of each protocol.
        sd_ppb: SD of each protocol.
        percent_difference: difference of the means from the reference in percent.
        age_r: correlation with age.
        age_p: p-value of that as printed.
    """

    name: str
    short: str
    citation: str
    doi: str
    n: int
    reference: str
    protocols: tuple[str, ...]
    regions: tuple[str, ...]
    participants: Mapping[str, float]
    similarity: pd.DataFrame
    scan_time_s: Mapping[str, float]
    pearson_r: pd.DataFrame
    mean_ppb: pd.DataFrame
    sd_ppb: pd.DataFrame
    percent_difference: pd.DataFrame
    age_r: pd.DataFrame
    age_p: pd.DataFrame

    def number(self, table: pd.DataFrame, region: str, protocol: str) -> float:
        """One number of a table, by the names of the study."""
        return float(table[protocol].to_dict()[region])

    def protocol(self, label: str) -> str | None:
        """Name of a protocol in the study ("AF 3", "acq-af3" and "DL-AF3" are "AF3"), or None."""
        plain = re.sub(r"^(acq|dl)", "", _plain(label))
        for name in self.protocols:
            if plain in (name.casefold(), f"{name.casefold()}af2"):
                return name
        return None

    def region(self, label: str) -> str | None:
        """Name of a region in the study, or None."""
        return next((name for name in self.regions if _plain(name) == _plain(label)), None)


@cache
def published(name: str) -> Published:
    """Read the printed numbers of a published study.

    Args:
        name: one of ``STUDIES``.

    Raises:
        InputError: another name.
    """
    if name not in STUDIES:
        raise InputError(f"published study: expected one of {', '.join(STUDIES)}, found '{name}'")
    text = files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    protocols, regions = tuple(data["protocols"]), tuple(data["regions"])

    def table(key: str, columns: tuple[str, ...]) -> pd.DataFrame:
        return pd.DataFrame.from_dict(data[key], orient="index", columns=list(columns))

    return Published(
        name=name,
        short=data["short"],
        citation=data["citation"],
        doi=data["doi"],
        n=data["n"],
        reference=data["reference"],
        protocols=protocols,
        regions=regions,
        participants=data["participants"],
        similarity=table("similarity", protocols[1:]),
        scan_time_s=dict(zip(protocols, data["scan_time_s"], strict=True)),
        pearson_r=table("pearson_r", protocols[1:]),
        mean_ppb=table("mean_ppb", protocols),
        sd_ppb=table("sd_ppb", protocols),
        percent_difference=table("percent_difference", protocols[1:]),
        age_r=table("age_r", protocols),
        age_p=table("age_p", protocols),
    )


def check_printed_p(study: Published) -> pd.DataFrame:
    """Consistency of each printed p-value of a correlation with age with the printed r and n.

    A correlation rounded to three digits stands for an interval, and so does its p-value; they are
    consistent if the intervals overlap.

    Returns:
        One row per region and protocol: ``region, protocol, r, printed_p, p_from_r,
        p_from_r_lower, p_from_r_upper, consistent``.
    """
    rows = []
    for region in study.regions:
        for protocol in study.protocols:
            r = study.number(study.age_r, region, protocol)
            printed = str(study.age_p.loc[region].loc[protocol])
            lower, upper = p_range(r, study.n)
            rows.append(
                {
                    "region": region,
                    "protocol": protocol,
                    "r": r,
                    "printed_p": printed,
                    "p_from_r": correlation_p(r, study.n - 2),
                    "p_from_r_lower": lower,
                    "p_from_r_upper": upper,
                    "consistent": _overlaps(printed, lower, upper),
                }
            )
    return pd.DataFrame(rows)


def p_range(r: float, n: int) -> tuple[float, float]:
    """Smallest and largest p-value of the correlations that round to ``r``."""
    size = abs(r)
    nearest = max(size - R_HALF_DIGIT, 0.0)
    furthest = min(size + R_HALF_DIGIT, 1 - 1e-12)
    return correlation_p(furthest, n - 2), correlation_p(nearest, n - 2)


def _overlaps(printed: str, lower: float, upper: float) -> bool:
    if printed.startswith("<"):
        return lower < float(printed[1:])
    value = float(printed)
    return bool(np.less_equal(lower, value + P_HALF_DIGIT) and upper >= value - P_HALF_DIGIT)


def _plain(label: str) -> str:
    return re.sub(r"[^a-z0-9]", "", label.casefold())
