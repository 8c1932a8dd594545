"""Synthetic cohort with exactly the printed statistics of a published study.

It serves to test the statistics and to explore what printed numbers imply. Since its differences
are prescribed, it is no evidence on any acceleration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from accelqsm.agreement.published import P_HALF_DIGIT, R_HALF_DIGIT, Published
from accelqsm.agreement.statistics.coefficients import Vector, correlation_p
from accelqsm.errors import InputError

# Not published, and therefore assumed: correlations between nuclei at equal age, and correlations
# of the deviations from the reference across protocols and nuclei.
NUCLEI_CORRELATION = 0.35
PAIR_CORRELATION = {
    frozenset({"Ca", "Pu"}): 0.55,
    frozenset({"GPe", "GPi"}): 0.75,
    frozenset({"SNc", "SNr"}): 0.70,
    frozenset({"RN", "SNc"}): 0.50,
    frozenset({"RN", "SNr"}): 0.50,
}
DEVIATION_ACROSS_PROTOCOLS = 0.5
DEVIATION_ACROSS_NUCLEI = 0.2
AGE_BETA = (1.133, 1.352)
"""Beta distribution of the ages between the youngest and the oldest: mean 44.0, SD 15.4 years."""

MEAN_HALF_DIGIT, PERCENT_HALF_DIGIT = 0.05, 0.005
INSIDE_ROUNDING = 0.98
"""Fraction of the rounding interval that is used, so that numbers round to the printed ones."""


@dataclass(frozen=True)
class Cohort:
    """Values and participants of a cohort.

    Attributes:
        values: ``subject, protocol, region, value_ppb``.
        participants: ``participant_id, age, sex`` and further printed characteristics.
    """

    values: pd.DataFrame
    participants: pd.DataFrame


def cohort_with_statistics(study: Published, *, seed: int = 0) -> Cohort:
    """Draw a cohort with the printed sample means, SDs and correlations of a study.

    Nucleus by nucleus ``PI = r_a a + sqrt(1 - r_a^2) e`` over the standardised age a, and every
    other protocol is the regression on PI and age that has the printed correlations with both,
    plus a deviation; e and the deviations are normal draws made exactly uncorrelated with age and
    each other before their correlations are imposed. Numbers are adjusted within their rounding so
    that tables are consistent: the means with the percentages, the correlations with p-values.

    Args:
        study: printed numbers.
        seed: seed of the individual values; their statistics do not depend on it.

    Raises:
        InputError: numbers that no sample can have.

    Zhou et al. 2025, doi 10.3389/fnins.2025.1522227.
    """
    rng = np.random.default_rng([seed, 59])
    people = _participants(study, rng)
    age = people["age"].to_numpy(np.float64)
    a = (age - age.mean()) / age.std(ddof=1)
    regions, others = len(study.regions), len(study.protocols) - 1
    draws = _whiten(rng.normal(size=(study.n, regions * (1 + others))), a)
    at_equal_age = draws[:, :regions] @ np.linalg.cholesky(_nuclei_correlation(study.regions)).T
    deviations = draws[:, regions:] @ np.linalg.cholesky(_deviations(regions, others)).T
    rows = []
    for i, region in enumerate(study.regions):
        standard = _standard_values(study, region, a, at_equal_age[:, i])
        standard += [
            _other_protocol(study, region, p, a, standard[0], deviations[:, i * others + k])
            for k, p in enumerate(study.protocols[1:])
        ]
        means = _means_ppb(study, region)
        for protocol, mean, z in zip(study.protocols, means, standard, strict=True):
            sd = study.number(study.sd_ppb, region, protocol)
            rows += [
                (subject, protocol, region, mean + sd * value)
                for subject, value in zip(people["participant_id"], z, strict=True)
            ]
    values = pd.DataFrame(rows, columns=["subject", "protocol", "region", "value_ppb"])
    return Cohort(values, people)


def _participants(study: Published, rng: np.random.Generator) -> pd.DataFrame:
    known, n = study.participants, study.n
    quantile = (np.arange(n) + 0.5) / n
    span = known["age_max"] - known["age_min"]
    ages = known["age_min"] + span * betaincinv(*AGE_BETA, quantile)
    ages[0], ages[-1] = known["age_min"], known["age_max"]
    people = {
        "participant_id": [f"sub-{i + 1:02d}" for i in range(n)],
        "age": rng.permutation(np.round(ages, 1)),
        "sex": rng.permutation(np.where(np.arange(n) < known["female"], "F", "M")),
    }
    for name in ("education_years", "bmi"):
        z = rng.normal(size=n)
        z = (z - z.mean()) / z.std(ddof=1)
        people[name] = np.round(known[f"{name}_mean"] + known[f"{name}_sd"] * z, 2)
    for name in ("hypertension", "diabetes", "hyperlipidaemia", "smoking"):
        people[name] = rng.permutation(np.where(np.arange(n) < known[name], "yes", "no"))
    return pd.DataFrame(people)


def _whiten(draws: Vector, age: Vector) -> Vector:
    """Whiten draws: columns of mean 0 and SD 1, uncorrelated with each other and with age."""
    n = len(age)
    if draws.shape[1] > n - 2:
        raise InputError(f"cohort: expected more than {draws.shape[1] + 2} subjects, found {n}")
    fixed = np.column_stack([np.ones(n), age])
    q, _ = np.linalg.qr(np.column_stack([fixed, draws]))
    return np.asarray(q[:, 2:] * np.sqrt(n - 1))


def _standard_values(study: Published, region: str, a: Vector, e: Vector) -> list[Vector]:
    r = _r_with_age(study, region, study.reference)
    return [r * a + np.sqrt(1 - r * r) * e]


def _other_protocol(
    study: Published, region: str, protocol: str, a: Vector, base: Vector, deviation: Vector
) -> Vector:
    r_base = study.number(study.pearson_r, region, protocol)
    r_age = _r_with_age(study, region, protocol)
    between = _r_with_age(study, region, study.reference)
    weights = np.linalg.solve([[1, between], [between, 1]], [r_base, r_age])
    left = 1 - float(weights @ [r_base, r_age])
    if left <= 0:
        raise InputError(
            f"{study.name}: correlations of {region} {protocol} with {study.reference} and age: "
            f"expected ones that a sample can have, found {r_base} and {r_age:.3f}"
        )
    return np.asarray(weights[0] * base + weights[1] * a + np.sqrt(left) * deviation)


def _r_with_age(study: Published, region: str, protocol: str) -> float:
    """Correlation nearest to the printed one whose p-value rounds to the printed p-value.

    The printed one itself where no correlation that rounds to it has that p-value.
    """
    r = study.number(study.age_r, region, protocol)
    printed = str(study.age_p.loc[region].loc[protocol])
    if printed.startswith("<"):
        return r
    p = float(printed)
    steps = np.linspace(-INSIDE_ROUNDING, INSIDE_ROUNDING, 197) * R_HALF_DIGIT
    candidates = r + steps[np.argsort(np.abs(steps), kind="stable")]
    for candidate in candidates:
        if abs(correlation_p(float(candidate), study.n - 2) - p) < INSIDE_ROUNDING * P_HALF_DIGIT:
            return float(candidate)
    return r


def _means_ppb(study: Published, region: str) -> list[float]:
    """Means that round to the printed means and differ by the printed percentages."""
    printed = study.mean_ppb.loc[region].to_numpy(np.float64)
    percent = study.percent_difference.loc[region].to_numpy(np.float64)
    half, half_percent = INSIDE_ROUNDING * MEAN_HALF_DIGIT, INSIDE_ROUNDING * PERCENT_HALF_DIGIT
    lower = (printed[1:] - half) / (1 + (percent + half_percent) / 100)
    upper = (printed[1:] + half) / (1 + (percent - half_percent) / 100)
    low, high = max(printed[0] - half, *lower), min(printed[0] + half, *upper)
    if low > high:
        raise InputError(
            f"{study.name}: means of {region}: expected ones that differ by the printed percent, "
            f"found {', '.join(map(str, printed))}"
        )
    reference = (low + high) / 2
    wanted = reference * (1 + percent / 100)
    return [reference, *np.clip(wanted, printed[1:] - half, printed[1:] + half).tolist()]


def _nuclei_correlation(regions: tuple[str, ...]) -> Vector:
    matrix = np.full((len(regions), len(regions)), NUCLEI_CORRELATION)
    for i, one in enumerate(regions):
        for j, other in enumerate(regions):
            matrix[i, j] = PAIR_CORRELATION.get(frozenset({one, other}), matrix[i, j])
    np.fill_diagonal(matrix, 1.0)
    return matrix


def _deviations(regions: int, others: int) -> Vector:
    nuclei = np.full((regions, regions), DEVIATION_ACROSS_NUCLEI)
    protocols = np.full((others, others), DEVIATION_ACROSS_PROTOCOLS)
    np.fill_diagonal(nuclei, 1.0)
    np.fill_diagonal(protocols, 1.0)
    return np.asarray(np.kron(nuclei, protocols))
