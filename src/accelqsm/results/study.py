"""Folder layout of a study: scans, maps and comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SOURCE, TRUE = "sourcedata", "derivatives/truth"
"""Parts of a simulated dataset: raw data, and the dataset of what is true of it."""
LOOKUP_NAME = f"{TRUE}/desc-nuclei_dseg.tsv"
SCANS, MAPS, AGREEMENT, ACCURACY = "scans", "maps", "agreement", "accuracy"
SIMILARITY, NUCLEI = "similarity.tsv", "nuclei.tsv"
VALUES, VALUES_AND_TRUTH = "values.tsv", "values-truth.tsv"
REPORT = "report.html"
BEFOREHAND = "beforehand"
"""Table of the record of a demo: how the heads were made that it did not measure itself."""
TRUTH = "truth"
"""Protocol name of the true susceptibility."""


@dataclass(frozen=True)
class ScanFiles:
    """Files of one simulated scan: raw data, and ground truth in the pose of the scan.

    Attributes:
        subject: label such as "sub-01".
        protocol: name such as "af3".
        raw: MRD file.
        labels: NIfTI of nuclei, indices as in ``LOOKUP_NAME``.
        truth: NIfTI of the true susceptibility in ppm at the scan's resolution, inside the brain.
    """

    subject: str
    protocol: str
    raw: Path
    labels: Path
    truth: Path


def scan_files(folder: Path, subject: str, protocol: str) -> ScanFiles:
    """File names of one scan of a simulated BIDS dataset in ``folder``."""
    name = f"{subject}_acq-{protocol.replace('-', '')}"
    truth = folder / TRUE / subject / "anat"
    return ScanFiles(
        subject=subject,
        protocol=protocol,
        raw=folder / SOURCE / subject / "anat" / f"{name}_MEGRE.h5",
        labels=truth / f"{name}_desc-nuclei_dseg.nii.gz",
        truth=truth / f"{name}_desc-truth_Chimap.nii.gz",
    )


def t1w_file(folder: Path, subject: str) -> Path:
    """File name of the T1-weighted image of one subject of a simulated dataset."""
    return folder / subject / "anat" / f"{subject}_T1w.nii.gz"


def map_folder(out: Path, subject: str, protocol: str) -> Path:
    """Folder of the maps of one scan of a study."""
    return out / MAPS / subject / f"acq-{protocol}"
