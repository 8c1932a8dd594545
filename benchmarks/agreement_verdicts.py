"""How often is a verdict wrong? Simulated studies of seven nuclei whose true differences are known.

Usage: python benchmarks/agreement_verdicts.py [--studies N] [--seed SEED] [--checked N]

Values follow the means, SDs and correlations that Zhou et al. 2025 printed: normal values of the
reference, and normal differences independent of them. True differences are those in the columns,
in margins of 5 % of the reference mean. A verdict is wrong that calls a true difference at or
beyond the margin equivalent, or one at or within it not equivalent; "undecided" is not wrong. The
margin is that of the study, 5 % of the mean of its own subjects; the last column holds the truth
against 5 % of the population mean, which a study does not know.

Studies are simulated by mean and SD, as ``equivalence`` decides; the first ``--checked`` of each
size also go through ``compare_protocols``, which must give the same verdicts.
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from accelqsm.agreement.protocols import compare_protocols
from accelqsm.agreement.published import published
from accelqsm.agreement.statistics.equivalence import Verdict, decide

Array = npt.NDArray[np.float64]

SIZES = (10, 20, 59)
SHARES = (0.0, 0.5, 0.8, 0.95, 1.0, 1.05, 1.2, 1.6)
"""True differences, in margins; one more row draws them evenly from -2 to 2 margins."""
WIDEST = 2.0
MARGIN = 0.05
ALPHA = 0.05
BETWEEN_NUCLEI = 0.35
DIFFERENCES_BETWEEN_NUCLEI = 0.2
"""Correlations between nuclei, assumed: of values, and of differences."""


def main() -> None:
    """Simulate, judge, and print the share of wrong verdicts by size and true difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=22)
    parser.add_argument("--checked", type=int, default=10)
    options = parser.parse_args()
    names, mean, sd, sd_difference = population()
    print(pd.DataFrame({"mean": mean, "sd": sd, "sd_difference": sd_difference}, names).round(1).T)
    rows = []
    for n in SIZES:
        for number, share in enumerate((*SHARES, None)):
            rng = np.random.default_rng((options.seed, n, number))
            true = true_shares(rng, options.studies, len(names), share)
            reference, difference = simulate(rng, n, true)
            verdicts = judge(reference, difference)
            check(names, reference, difference, verdicts[: options.checked])
            other = judge(*simulate(rng, n, true, own_margin=False))
            label = "drawn" if share is None else f"{share:g}"
            rows.append({"n": n, "true": label} | figures(verdicts, true[:, 0]) | {
                "wrong_of_population": wrong(other, true[:, 0]).mean()
            })  # fmt: skip
    print((pd.DataFrame(rows).set_index(["n", "true"]) * 100).round(2).to_string())


def true_shares(
    rng: np.random.Generator, studies: int, n_nuclei: int, share: float | None
) -> Array:
    """True differences in margins ``(study, 1, nucleus)``, of either sign; None draws them."""
    if share is None:
        return rng.uniform(-WIDEST, WIDEST, size=(studies, 1, n_nuclei))
    return share * rng.choice([-1.0, 1.0], size=(studies, 1, n_nuclei))


def population() -> tuple[list[str], Array, Array, Array]:
    """Nuclei, mean and SD under the reference, SD of the differences (AF 5) in ppb."""
    study = published("zhou2025")
    names = list(study.regions)
    mean, sd = (
        np.array([study.number(table, r, "PI") for r in names])
        for table in (study.mean_ppb, study.sd_ppb)
    )
    other = np.array([study.number(study.sd_ppb, r, "AF5") for r in names])
    r = np.array([study.number(study.pearson_r, name, "AF5") for name in names])
    return names, mean, sd, np.sqrt(sd**2 + other**2 - 2 * r * sd * other)


def normal(rng: np.random.Generator, shape: tuple[int, int], correlation: float) -> Array:
    """Standard normal numbers ``(study, subject, nucleus)``, correlated between nuclei."""
    n_nuclei = len(published("zhou2025").regions)
    shared, own = rng.normal(size=(*shape, 1)), rng.normal(size=(*shape, n_nuclei))
    return np.asarray(np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own)


def simulate(
    rng: np.random.Generator, n: int, true: Array, *, own_margin: bool = True
) -> tuple[Array, Array]:
    """Values under the reference, and differences ``(study, subject, nucleus)``.

    Args:
        rng: random numbers.
        n: subjects of each study.
        true: true differences in margins ``(study, 1, nucleus)``.
        own_margin: margins of the study's own subjects; otherwise of the population.
    """
    _, mean, sd, sd_difference = population()
    shape = len(true), n
    reference = mean + sd * normal(rng, shape, BETWEEN_NUCLEI)
    base = reference.mean(axis=1, keepdims=True) if own_margin else mean
    noise = sd_difference * normal(rng, shape, DIFFERENCES_BETWEEN_NUCLEI)
    return reference, true * MARGIN * base + noise


def judge(reference: Array, difference: Array) -> npt.NDArray[np.object_]:
    """Verdicts ``(study, nucleus)``."""
    n = difference.shape[1]
    margin = MARGIN * np.abs(reference.mean(axis=1))
    bias = difference.mean(axis=1)
    half = float(stdtrit(n - 1, 1 - ALPHA)) * difference.std(axis=1, ddof=1) / np.sqrt(n)
    ends = zip((bias - half).ravel(), (bias + half).ravel(), margin.ravel(), strict=True)
    return np.array([decide(*one) for one in ends], dtype=object).reshape(bias.shape)


def check(
    names: list[str], reference: Array, difference: Array, verdicts: npt.NDArray[np.object_]
) -> None:
    """Refuse to go on if the package gives other verdicts."""
    for study, expected in enumerate(verdicts):
        rows = [
            (f"{i}", protocol, name, values[study, i, k])
            for protocol, values in (("PI", reference), ("AF5", reference + difference))
            for k, name in enumerate(names)
            for i in range(reference.shape[1])
        ]
        table = pd.DataFrame(rows, columns=["subject", "protocol", "region", "value_ppb"])
        found = compare_protocols(table, reference="PI").set_index("region")["verdict"]
        assert found[names].tolist() == [verdict.value for verdict in expected]


def wrong(verdicts: npt.NDArray[np.object_], true: Array) -> npt.NDArray[np.bool_]:
    """Whether each verdict is wrong; at the margin itself both decisions are."""
    size = np.abs(true)
    equivalent, not_equivalent = (
        verdicts == verdict for verdict in (Verdict.EQUIVALENT, Verdict.NOT_EQUIVALENT)
    )
    return np.asarray((equivalent & (size >= 1)) | (not_equivalent & (size <= 1)), dtype=bool)


def figures(verdicts: npt.NDArray[np.object_], true: Array) -> dict[str, float]:
    """Shares of each verdict, of wrong ones, and of studies with a wrong one among seven."""
    size = np.abs(true)
    mistaken = wrong(verdicts, true)
    shares = {verdict.value: float((verdicts == verdict).mean()) for verdict in Verdict}
    return {
        **shares,
        "wrongly_equivalent": float(((verdicts == Verdict.EQUIVALENT) & (size >= 1)).mean()),
        "wrongly_not": float(((verdicts == Verdict.NOT_EQUIVALENT) & (size <= 1)).mean()),
        "any_of_seven": float(mistaken.any(axis=1).mean()),
    }


if __name__ == "__main__":
    main()
