"""Folder layout of a study: scans, maps and comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LOOKUP_NAME = "dseg.tsv"
SCANS, MAPS, AGREEMENT, ACCURACY = "scans", "maps", "agreement", "accuracy"
SIMILARITY, NUCLEI = "similarity.tsv", "nuclei.tsv"
VALUES, VALUES_AND_TRUTH = "values.tsv", "values-truth.tsv"
REPORT = "report.html"
TRUTH = "truth"
"""Protocol name of the true susceptibility."""


@dataclass(frozen=True)
class ScanFiles:
    """Files of one simulated scan: raw data, and ground truth in the pose of the scan.

    Attributes:
        subject: label such as "sub-01".
        protocol: name such as "af3".
        raw: MRD file.
        labels: NIfTI of nuclei, indices as in ``dseg.tsv``.
        truth: NIfTI of the true susceptibility in ppm at the scan's resolution, inside the brain.
    """

    subject: str
    protocol: str
    raw: Path
    labels: Path
    truth: Path


def scan_files(folder: Path, subject: str, protocol: str) -> ScanFiles:
    """File names of one scan under ``folder``."""
    stem = folder / subject / f"{subject}_acq-{protocol.replace('-', '')}"
    return ScanFiles(
        subject=subject,
        protocol=protocol,
        raw=Path(f"{stem}_MEGRE.h5"),
        labels=Path(f"{stem}_desc-nuclei_dseg.nii.gz"),
        truth=Path(f"{stem}_desc-truth_Chimap.nii.gz"),
    )


def map_folder(out: Path, subject: str, protocol: str) -> Path:
    """Folder of the maps of one scan of a study."""
    return out / MAPS / subject / f"acq-{protocol}"
