"""Simulated cohort: ages, susceptibility of nuclei that depends on age, and head poses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from accelqsm.errors import InputError
from accelqsm.simulate.heads.deformation import Pose
from accelqsm.simulate.heads.nuclei import NUCLEI

YOUNGEST_YEARS = 18.0
OLDEST_YEARS = 75.0
AGE_BETA = (1.133, 1.352)
"""Beta distribution of ages between youngest and oldest: mean 44.0, SD 15.4 years (59 subjects)."""
AGE_MEAN_YEARS = 44.0
AGE_SD_YEARS = 15.4
FEMALE_FRACTION = 37 / 59

# Zhou et al. 2025, doi 10.3389/fnins.2025.1522227: Table 3 (PI mean and SD, ppm) and Table 4
# (PI correlation with age), in the order of NUCLEI.
_MEAN_PPM = (0.0308, 0.0296, 0.1202, 0.0923, 0.0651, 0.0846, 0.0999)
_SD_PPM = (0.0129, 0.0063, 0.0343, 0.0260, 0.0231, 0.0272, 0.0254)
_AGE_CORRELATION = (0.631, 0.273, 0.182, 0.002, 0.504, 0.328, 0.093)
LEAST_PPM = 0.004
FEWEST_EXACT = len(NUCLEI) + 2
"""Subjects that leave the nuclei room beside their mean and age."""

# Correlations between nuclei at equal age are unpublished: an assumption.
COMMON_CORRELATION = 0.35
PAIR_CORRELATION: Mapping[tuple[str, str], float] = {
    ("Pu", "Ca"): 0.55,
    ("GPe", "GPi"): 0.75,
    ("SNc", "SNr"): 0.70,
    ("RN", "SNc"): 0.50,
    ("RN", "SNr"): 0.50,
}

POSE_SHIFT_SD_MM = 1.0
POSE_ROTATION_SD_DEG = 1.0
POSE_LIMIT_SD = 3.0


@dataclass(frozen=True)
class Distribution:
    """Mean and SD (ppm) of a nucleus over subjects, and its correlation with their age."""

    mean_ppm: float
    sd_ppm: float
    age_correlation: float


PUBLISHED: Mapping[str, Distribution] = {
    name: Distribution(*each)
    for name, *each in zip(NUCLEI, _MEAN_PPM, _SD_PPM, _AGE_CORRELATION, strict=True)
}
"""What the study measured under parallel imaging, taken for true."""


@dataclass(frozen=True)
class Subject:
    """A subject of a cohort.

    Attributes:
        label: label such as "sub-01".
        age_years: age, rounded to 0.1 year.
        sex: "F" or "M".
        seed: seed of the anatomy.
        nuclei_chi_ppm: mean susceptibility of each nucleus of ``NUCLEI`` in ppm.
    """

    label: str
    age_years: float
    sex: str
    seed: int
    nuclei_chi_ppm: Mapping[str, float]


@dataclass(frozen=True)
class Cohort:
    """What a cohort is drawn from.

    Attributes:
        n_subjects: number of heads, 1 or more.
        seed: the same seed gives the same heads.
        nuclei: distribution of the true susceptibility of each nucleus.
        participants: labels of those that are wanted, with or without "sub-"; all if empty.
        exact: the heads themselves have the means, SDs and correlations with age.
    """

    n_subjects: int
    seed: int
    nuclei: Mapping[str, Distribution] = field(default_factory=lambda: PUBLISHED)
    participants: tuple[str, ...] = ()
    exact: bool = False

    def subjects(self) -> list[Subject]:
        """The heads that are wanted, each as in the whole cohort.

        Raises:
            InputError: no subject, too few to be exact, or a participant that the cohort does not
                have.
        """
        drawn = draw_cohort(self.n_subjects, seed=self.seed, nuclei=self.nuclei, exact=self.exact)
        wanted = {f"sub-{label.removeprefix('sub-')}" for label in self.participants}
        labels = [subject.label for subject in drawn]
        for label in sorted(wanted.difference(labels)):
            raise InputError(
                f"--participant-label: expected one of {labels[0]} to {labels[-1]}, found {label}"
            )
        return [subject for subject in drawn if not wanted or subject.label in wanted]


def draw_cohort(
    n_subjects: int,
    *,
    seed: int,
    nuclei: Mapping[str, Distribution] = PUBLISHED,
    exact: bool = False,
) -> list[Subject]:
    """Draw subjects whose nuclei have given means, SDs and correlations with age.

    chi_i = mean_i + SD_i (r_i a + sqrt(1 - r_i^2) e_i), a the standardised age and e correlated
    unit normals. Ages are quantiles of their distribution, so that any number covers the range.

    Args:
        n_subjects: at least 1.
        seed: seed of the order of ages, the nuclei, and the seeds of the subjects.
        nuclei: distribution of each of ``NUCLEI``.
        exact: means, SDs and correlations with age are those of the sample, and not of what it is
            drawn from: the normals are made uncorrelated with age and with each other first.
            (Values that would be below ``LEAST_PPM`` are that.)

    Raises:
        InputError: fewer than one subject, or than ``FEWEST_EXACT`` to be exact.

    Source: Zhou et al. 2025, Front Neurosci 19:1522227, doi 10.3389/fnins.2025.1522227.
    """
    if n_subjects < 1:
        raise InputError(f"--subjects: expected 1 or more, found {n_subjects}")
    if exact and n_subjects < FEWEST_EXACT:
        raise InputError(f"--exact: expected {FEWEST_EXACT} subjects or more, found {n_subjects}")
    rng = np.random.default_rng([seed, 7])
    ages = rng.permutation(_ages_years(n_subjects))
    sexes = np.where(np.arange(n_subjects) < round(FEMALE_FRACTION * n_subjects), "F", "M")
    sexes = rng.permutation(sexes)
    chi_ppm = _nuclei_chi_ppm(ages, [nuclei[name] for name in NUCLEI], rng, exact=exact)
    seeds = rng.choice(2**31, size=n_subjects, replace=False)
    digits = max(2, len(str(n_subjects)))
    return [
        Subject(
            f"sub-{number + 1:0{digits}d}",
            float(ages[number]),
            str(sexes[number]),
            int(seeds[number]),
            dict(zip(NUCLEI, map(float, chi_ppm[number]), strict=True)),
        )
        for number in range(n_subjects)
    ]


def random_pose(seed: int) -> Pose:
    """Draw a head pose: normal shifts and rotations, truncated at three SD."""
    rng = np.random.default_rng([seed, 8])
    quantile = rng.uniform(special.ndtr(-POSE_LIMIT_SD), special.ndtr(POSE_LIMIT_SD), 6)
    drawn = [float(value) for value in special.ndtri(quantile)]
    turn, shift = POSE_ROTATION_SD_DEG, POSE_SHIFT_SD_MM
    return Pose(
        (turn * drawn[0], turn * drawn[1], turn * drawn[2]),
        (shift * drawn[3], shift * drawn[4], shift * drawn[5]),
    )


def nuclei_correlation() -> npt.NDArray[np.float64]:
    """Correlations between the nuclei at equal age, in the order of ``NUCLEI``."""
    matrix = np.full((len(NUCLEI), len(NUCLEI)), COMMON_CORRELATION)
    np.fill_diagonal(matrix, 1.0)
    for (one, other), value in PAIR_CORRELATION.items():
        i, j = NUCLEI.index(one), NUCLEI.index(other)
        matrix[i, j] = matrix[j, i] = value
    return matrix


def _ages_years(n_subjects: int) -> npt.NDArray[np.float64]:
    """Quantiles of the age distribution; three or more include the youngest and the oldest age."""
    quantile = (np.arange(n_subjects) + 0.5) / n_subjects
    ages = YOUNGEST_YEARS + (OLDEST_YEARS - YOUNGEST_YEARS) * stats.beta.ppf(quantile, *AGE_BETA)
    if n_subjects >= 3:
        ages[0], ages[-1] = YOUNGEST_YEARS, OLDEST_YEARS
    return np.round(ages, 1)


def _nuclei_chi_ppm(
    ages_years: npt.NDArray[np.float64],
    nuclei: Sequence[Distribution],
    rng: np.random.Generator,
    *,
    exact: bool,
) -> npt.NDArray[np.float64]:
    """Susceptibility of the nuclei of every subject in ppm, (subject, nucleus)."""
    root = np.linalg.cholesky(nuclei_correlation())
    normals = rng.standard_normal((len(ages_years), len(NUCLEI)))
    age = (ages_years[:, None] - AGE_MEAN_YEARS) / AGE_SD_YEARS
    if exact:
        age = (age - age.mean()) / age.std(ddof=1)
        normals = _uncorrelated(normals, age)
    at_equal_age = normals @ root.T
    mean, sd, r = (np.asarray(column) for column in zip(*map(astuple, nuclei), strict=True))
    standard = r * age + np.sqrt(1 - r**2) * at_equal_age
    chi_ppm: npt.NDArray[np.float64] = mean + sd * standard
    return np.maximum(chi_ppm, LEAST_PPM)


def _uncorrelated(
    normals: npt.NDArray[np.float64], age: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The nearest normals (subject, nucleus) of mean 0 and unit covariance, without age in them.

    Args:
        normals: as drawn.
        age: (subject, 1) of mean 0 and SD 1.
    """
    own = normals - normals.mean(axis=0)
    own = own - age * (age * own).sum(axis=0) / (age**2).sum()
    left, _, right = np.linalg.svd(own, full_matrices=False)
    found: npt.NDArray[np.float64] = left @ right * np.sqrt(len(own) - 1)
    return found
