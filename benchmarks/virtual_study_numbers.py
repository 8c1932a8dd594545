"""Statistics of a virtual study that no study in vivo has: parts of a difference, and the truth.

Tables in, tables out; everything else (agreement, age, equivalence) is of the package.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from accelqsm.agreement.published import Published
from accelqsm.agreement.statistics.coefficients import (
    Estimate,
    Vector,
    columns_of,
    pearson,
    regression_slope,
)
from accelqsm.agreement.statistics.dependent import williams
from accelqsm.agreement.statistics.limits import limits_of_agreement
from accelqsm.virtual.protocols import PROTOCOLS
from virtual_study_values import ATLAS_LABELS, REFERENCE, TRUE_LABELS

PI = PROTOCOLS[REFERENCE].label
RETROSPECTIVE = {
    label: p.label
    for p in PROTOCOLS.values()
    if p.session == REFERENCE
    for label in [f"AF{p.acceleration:g}"]
}
"""Protocol -> the same acceleration drawn from the samples of the reference's scan."""
WHOLE, RESCAN, NETWORK, REGISTRATION = "whole", "re-scan", "network", "registration"


def differences(values: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Difference of a protocol from the reference in every nucleus and subject, and its parts.

    The whole is what a study measures: own scan - reference, by the atlas' labels where there are
    any. It is the sum of what another scan does (own scan - the same acceleration of the
    reference's samples: pose, noise and pattern), of what under-sampling and network do (those
    samples, network - reference), and of what registration adds (the whole by atlas - by true
    labels).

    Args:
        values: ``VALUE_COLUMNS``; every subject with all protocols.
        protocol: one of ``RETROSPECTIVE``.

    Returns:
        Index region, subject; columns whole, re-scan, network and, with labels of an atlas,
        registration, in ppb.
    """
    wide = values.pivot(
        index=["region", "subject"], columns=["labels", "protocol"], values="value_ppb"
    ).reindex(list(dict.fromkeys(values["region"])), level="region")
    true = wide[TRUE_LABELS]
    again = RETROSPECTIVE[protocol]
    parts = {
        WHOLE: true[protocol] - true[PI],
        RESCAN: true[protocol] - true[again],
        NETWORK: true[again] - true[PI],
    }
    if ATLAS_LABELS in wide:
        located = wide[ATLAS_LABELS][protocol] - wide[ATLAS_LABELS][PI]
        parts |= {WHOLE: located, REGISTRATION: located - parts[WHOLE]}
    return pd.DataFrame(parts)


def parts_table(values: pd.DataFrame) -> pd.DataFrame:
    """Mean and SD of every part of the differences, and its share of their variance.

    The share is cov(part, whole) / var(whole), the slope of the part on the whole: the shares of
    all parts add to 1, and one is negative where the part makes up for others.

    Returns:
        Columns protocol, region, part, n, mean_ppb, sd_ppb, share, each with its interval of 95 %,
        and percent, the mean over that of the reference.
    """
    base = values[(values["protocol"] == PI) & (values["labels"] == TRUE_LABELS)]
    mean_ppb = base.groupby("region")["value_ppb"].mean()
    rows = []
    for protocol in RETROSPECTIVE:
        for region, own in differences(values, protocol).groupby("region", sort=False):
            for part in own:
                row = {"protocol": protocol, "region": region, "part": part, "n": len(own)}
                found = described(own[part].to_numpy(np.float64))
                row |= found | {"percent": 100 * found["mean_ppb"] / mean_ppb[region]}
                share = regression_slope(*(own[x].to_numpy(np.float64) for x in (WHOLE, part)))
                rows.append(row | columns_of("share", share))
    return pd.DataFrame(rows)


def described(difference: Vector) -> dict[str, float]:
    """Mean and SD of paired differences with their intervals of 95 %."""
    if len(difference) < 2:
        return columns_of("mean_ppb", Estimate()) | columns_of("sd_ppb", Estimate())
    found = limits_of_agreement(difference)
    within, root = found.within_subject_sd, np.sqrt(2)
    sd = Estimate(*(float(root * end) for end in (within.value, within.lower, within.upper)))
    return columns_of("mean_ppb", found.bias) | columns_of("sd_ppb", sd)


def pairs_table(values: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Mean and SD of the difference of two protocols, and their r, by true labels.

    Args:
        values: ``VALUE_COLUMNS``.
        pairs: each protocol, and the one that it is compared with.

    Returns:
        Columns protocol, against, region, n, mean_ppb, sd_ppb and r with intervals.
    """
    own = values[values["labels"] == TRUE_LABELS]
    wide = own.pivot(index=["region", "subject"], columns="protocol", values="value_ppb")
    rows = []
    for protocol, against in pairs:
        for region in dict.fromkeys(own["region"]):
            y, x = (wide.loc[region][name].to_numpy(np.float64) for name in (protocol, against))
            row = {"protocol": protocol, "against": against, "region": region, "n": len(x)}
            rows.append(row | described(y - x) | columns_of("r", pearson(x, y)))
    return pd.DataFrame(rows)


def truth_table(values: pd.DataFrame) -> pd.DataFrame:
    """Values against the truth of their own scans, by nucleus, protocol and kind of labels.

    Returns:
        Columns labels, protocol, region, n, slope of the value on the truth, mean_ppb and sd_ppb
        of value - truth, r, each with its interval of 95 %; percent, the mean over that of the
        truth; covered, how many intervals of values hold the truth, and coverage as a share with
        Wilson's interval.

    Wilson 1927, doi 10.1080/01621459.1927.10502953.
    """
    rows = []
    for (labels, protocol, region), own in values.groupby(
        ["labels", "protocol", "region"], sort=False
    ):
        x, y = (own[name].to_numpy(np.float64) for name in ("truth_ppb", "value_ppb"))
        holds = (own["low_ppb"] <= own["truth_ppb"]) & (own["truth_ppb"] <= own["high_ppb"])
        covered = int(holds.sum())
        share = stats.binomtest(covered, len(own)).proportion_ci(method="wilson")
        row = {"labels": labels, "protocol": protocol, "region": region, "n": len(own)}
        row |= columns_of("slope", regression_slope(x, y)) | described(y - x)
        row |= columns_of("r", pearson(x, y))
        row |= {"percent": 100 * float((y - x).mean() / x.mean()), "covered": covered}
        row |= columns_of("coverage", Estimate(covered / len(own), share.low, share.high))
        rows.append(row)
    return pd.DataFrame(rows)


def published_differences(study: Published) -> pd.DataFrame:
    """What the printed tables of a study imply: SD of the differences, and Williams' test of age.

    ``sd^2 = sd_1^2 + sd_2^2 - 2 r sd_1 sd_2``.

    Returns:
        Columns region, protocol, sd_ppb, williams_t, williams_p.
    """
    rows = []
    for region in study.regions:
        for protocol in study.protocols[1:]:
            r = study.number(study.pearson_r, region, protocol)
            one, other = (
                study.number(study.sd_ppb, region, p) for p in (study.reference, protocol)
            )
            own_age_r, age_r = (
                study.number(study.age_r, region, p) for p in (protocol, study.reference)
            )
            t = williams(own_age_r, age_r, r, study.n)
            rows.append(
                {
                    "region": region,
                    "protocol": protocol,
                    "sd_ppb": float(np.sqrt(one**2 + other**2 - 2 * r * one * other)),
                    "williams_t": t.value,
                    "williams_p": t.p,
                }
            )
    return pd.DataFrame(rows)
