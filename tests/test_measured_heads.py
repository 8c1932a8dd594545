"""The table of heads that comes with the package: complete, plausible, and made as it says."""

from __future__ import annotations

import argparse

import numpy as np

from accelqsm.agreement.values import check_values
from accelqsm.cli import parser
from accelqsm.simulate.cohort import Cohort
from accelqsm.simulate.heads.nuclei import NUCLEI
from accelqsm.virtual.measured import measured_heads

HEADS = measured_heads()


def test_every_head_has_every_value() -> None:
    wide = HEADS.values.pivot(index="subject", columns=["protocol", "region"], values="value_ppb")
    assert wide.shape == (HEADS.record["heads"], 5 * len(NUCLEI))
    assert wide.notna().all(axis=None)
    assert not [name for name in wide.index if name.startswith("sub-")]
    check_values(HEADS.values, "PI")


def test_true_values_are_those_of_the_cohort_of_the_seed() -> None:
    """Up to what cutting k-space and the edges of labels take from a nucleus."""
    people = cohort().subjects()
    true = HEADS.values[HEADS.values["protocol"] == "truth"]
    wide = true.pivot(index="subject", columns="region", values="value_ppb").sort_index()
    drawn = np.array([[1000 * person.nuclei_chi_ppm[name] for name in NUCLEI] for person in people])
    found = wide[list(NUCLEI)].to_numpy()
    assert [name.replace("head", "sub") for name in wide.index] == [who.label for who in people]
    for column, name in enumerate(NUCLEI):
        r = np.corrcoef(drawn[:, column], found[:, column])[0, 1]
        assert r > 0.9, name


def test_the_commands_of_the_record_are_commands() -> None:
    simulated, _ = map(options_of, HEADS.record["commands"])
    assert simulated.seed == HEADS.record["seed"]
    assert simulated.preset == HEADS.record["preset"]
    assert len(cohort().subjects()) == HEADS.record["heads"]


def options_of(line: str) -> argparse.Namespace:
    words = line.split()
    return parser().parse_args(words[1 : words.index("--")] if "--" in words else words[1:])


def cohort() -> Cohort:
    """The heads that the record says were simulated."""
    options = options_of(HEADS.record["commands"][0])
    return Cohort(options.subjects, options.seed, participants=tuple(options.participant_label))
