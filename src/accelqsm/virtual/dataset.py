"""A simulated study as a BIDS dataset, with a derivative dataset of what is true of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from accelqsm.files.bids.description import (
    PARTICIPANT_MEANINGS,
    PARTICIPANTS,
    write_description,
    write_json,
)
from accelqsm.files.tables import write_described_table, write_table
from accelqsm.results.records import SETTINGS
from accelqsm.results.study import LOOKUP_NAME, TRUE, ScanFiles
from accelqsm.simulate.cohort import Subject
from accelqsm.simulate.heads.head import LOOKUP
from accelqsm.simulate.mprage import Mprage

RAW_README = """Digital heads, simulated by accelqsm; nobody was scanned. Raw data (ISMRMRD/MRD) of
every protocol are in `sourcedata`, T1-weighted images in `anat`, the labels of nuclei and the true
susceptibility in `derivatives/truth`."""
TRUTH_README = """Labels of nuclei and true susceptibility (ppm, at the resolution of the scan) of
digital heads, in the pose of each scan."""


def write_dataset(
    out: Path, subjects: Sequence[Subject], scans: Sequence[ScanFiles], *, field_strength_t: float
) -> None:
    """Write what makes simulated scans a BIDS dataset: descriptions, participants and sidecars.

    Args:
        out: root of the dataset.
        subjects: the cohort.
        scans: scans that lie there.
        field_strength_t: main field in tesla.
    """
    write_description(out, name="Digital heads", kind="raw", readme=RAW_README, ignored=[SETTINGS])
    people = pd.DataFrame(
        [{"participant_id": s.label, "age": round(s.age_years, 1), "sex": s.sex} for s in subjects]
    )
    write_described_table(out / PARTICIPANTS, people, PARTICIPANT_MEANINGS)
    write_description(
        out / TRUE,
        name="Truth of digital heads",
        kind="derivative",
        readme=TRUTH_README,
        links={"raw": "../.."},
    )
    lookup = pd.DataFrame([{"index": index, "name": name} for index, name in LOOKUP])
    write_table(out / LOOKUP_NAME, lookup)
    for scan in scans:
        write_json(_sidecar(scan.labels), {"Manual": False, "Atlas": "digital head"})
        write_json(
            _sidecar(scan.truth),
            {"SkullStripped": True, "Units": "ppm", "MagneticFieldStrength": field_strength_t},
        )


def write_t1w_sidecar(image: Path) -> None:
    """Write the sidecar of a simulated T1-weighted image: the timing of its sequence."""
    timing = asdict(Mprage())
    write_json(
        _sidecar(image),
        {
            "MagneticFieldStrength": 3.0,
            "RepetitionTimePreparation": timing["repetition_time_s"],
            "InversionTime": timing["inversion_time_s"],
            "RepetitionTimeExcitation": timing["echo_spacing_s"],
            "FlipAngle": timing["flip_angle_deg"],
            "EchoTime": timing["echo_time_s"],
        },
    )


def _sidecar(image: Path) -> Path:
    return image.with_name(image.name.replace(".nii.gz", ".json"))
