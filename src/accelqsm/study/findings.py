"""From a finished study on disk to what a reader wants to know: findings, figures, report."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from accelqsm.agreement.similarity import similarity_profiles
from accelqsm.files.atomic import write_text
from accelqsm.files.mrd import read_sampling
from accelqsm.files.nifti import read_volume
from accelqsm.files.tables import read_table
from accelqsm.report import tables as report_tables
from accelqsm.report.content import Figure, ReportContent, Table
from accelqsm.report.images import ProtocolImages, protocol_figure, zoom_figure
from accelqsm.report.page import build_page
from accelqsm.report.plots import bland_altman_figure, scatter_figure
from accelqsm.report.sampling import sampling_figure
from accelqsm.study.maps import CHIMAP, MASK, SETTINGS, map_folder
from accelqsm.study.protocols import PROTOCOLS
from accelqsm.study.virtual import LOOKUP_NAME, ScanFiles

REFERENCE = PROTOCOLS["pi"].label
TRUTH = "truth"
POOLED = "all"

CAUTIONS = (
    "Simulated data: one digital head, scanned without motion. It shows that the chain works, "
    "not how it does in people.",
    "The 14 nuclei of one head span a wide range of susceptibility, so that a correlation over "
    "them is high for any sensible method; read the differences and the limits of agreement.",
    "Research software, not a medical device.",
)
METHODS = (
    "K-space was under-sampled in both phase-encoding directions: regular lines with a factor of "
    "two and calibration lines (PI), or variable-density Poisson disks with exactly the stated "
    "acceleration over the full rectangle (AF 3, 4, 5). PI was reconstructed by GRAPPA, the "
    "others channel by channel with ReconNet3D, five blocks of five 3D convolution layers, each "
    "followed by data consistency, and then made consistent with the samples of all channels "
    "(which the published study did not do).",
    "The field map came from multi-dimensional integration over channels and echoes, unwrapped by "
    "seed-prioritised region growing (SPUN); background fields were removed by vSHARP, and "
    "susceptibility was found by L1-regularised dipole inversion with dynamic Bayesian terms, "
    "relative to the mean of the brain mask.",
    "Nuclei were measured with the head's own labels. Agreement: Pearson correlation, paired t "
    "test, Bland-Altman bias and limits of agreement, ICC(A,1), concordance correlation and "
    "equivalence within 5 % of the reference mean.",
)
REFERENCES = (
    "Zhou et al. 2025. Validation of deep-learning accelerated quantitative susceptibility mapping "
    "for deep brain nuclei. Front Neurosci 19:1522227. doi 10.3389/fnins.2025.1522227",
    "Griswold et al. 2002. Generalized autocalibrating partially parallel acquisitions (GRAPPA). "
    "Magn Reson Med 47:1202. doi 10.1002/mrm.10171",
    "Ye et al. 2019. Multi-dimensional integration. Proc ISMRM 27:4392.",
    "Wu et al. 2012. Whole brain susceptibility mapping using compressed sensing. Magn Reson Med "
    "67:137. doi 10.1002/mrm.23000",
    "Bilgic et al. 2014. Fast quantitative susceptibility mapping with L1-regularization. Magn "
    "Reson Med 72:1444. doi 10.1002/mrm.25029",
    "Bland and Altman 1986. Statistical methods for assessing agreement between two methods of "
    "clinical measurement. Lancet 327:307. doi 10.1016/S0140-6736(86)90837-8",
)


def pooled_rows(out: Path) -> pd.DataFrame:
    """Per protocol, over all nuclei: r and difference against PI; r and slope against truth.

    Columns protocol, r, percent_difference, truth_r, truth_slope (and PI's own accuracy).
    """
    agreement = read_table(out / "agreement" / "agreement.tsv")
    accuracy = read_table(out / "accuracy" / "agreement.tsv")
    against_pi = agreement[agreement["region"] == POOLED].set_index("protocol")
    against_truth = accuracy[accuracy["region"] == POOLED].set_index("protocol")
    slope = against_truth["pearson_r"] * against_truth["sd"] / against_truth["sd_reference"]
    return pd.DataFrame(
        {
            "r": against_pi["pearson_r"],
            "percent_difference": against_pi["percent_difference"],
            "loa_lower": against_pi["loa_lower"],
            "loa_upper": against_pi["loa_upper"],
            "truth_r": against_truth["pearson_r"],
            "truth_slope": slope,
        },
        index=against_truth.index,
    ).reset_index()


def finding_lines(out: Path) -> list[str]:
    """One sentence per protocol, the comparison that the study is about first."""
    lines = []
    for row in pooled_rows(out).to_dict("records"):
        accuracy = f"against the truth: r = {row['truth_r']:.3f}, slope = {row['truth_slope']:.2f}"
        if row["protocol"] == REFERENCE:
            lines.append(f"{REFERENCE}: {accuracy}.")
            continue
        lines.append(
            f"{row['protocol']} against {REFERENCE} over 14 nuclei: r = {row['r']:.3f}, "
            f"mean difference {row['percent_difference']:+.1f} %, limits of agreement "
            f"{row['loa_lower']:.1f} to {row['loa_upper']:.1f} ppb; {accuracy}."
        )
    return lines


def write_report(out: Path, scans: Sequence[ScanFiles], *, seed: int) -> Path:
    """Gather the results of one subject under ``out`` and write ``report.html``."""
    folders = {
        PROTOCOLS[scan.protocol].label: map_folder(out, scan.subject, scan.protocol)
        for scan in scans
    }
    lines = finding_lines(out)
    content = ReportContent(
        title="Accelerated QSM against parallel imaging",
        subtitle=f"Digital head {scans[0].subject}, seed {seed}",
        summary=[*lines[1:], lines[0]],
        highlights={
            f"{row['protocol']} against {REFERENCE}": (
                f"r {row['r']:.3f}, {row['percent_difference']:+.1f} %"
            )
            for row in pooled_rows(out).to_dict("records")
            if row["protocol"] != REFERENCE
        },
        cautions=CAUTIONS,
        figures=_figures(out, scans, folders),
        tables=_tables(out, folders),
        settings=_settings(folders[REFERENCE]),
        provenance=_provenance(folders),
        methods=METHODS,
        references=REFERENCES,
    )
    report = out / "report.html"
    write_text(report, build_page(content))
    return report


def _figures(out: Path, scans: Sequence[ScanFiles], folders: dict[str, Path]) -> list[Figure]:
    reference = read_volume(folders[REFERENCE] / CHIMAP)
    voxel_size_mm = reference.grid.voxel_size_mm
    mask = _shared_mask(folders)
    labels = np.asarray(read_volume(scans[0].labels).values).astype(int)
    lookup = read_table(out / "scans" / LOOKUP_NAME)
    regions = {
        int(i): name.split()[-1] for i, name in zip(lookup["index"], lookup["name"], strict=True)
    }
    images = [
        ProtocolImages(
            name=label,
            magnitude=read_volume(_last_echo(folder, "mag")).values,
            phase=read_volume(_last_echo(folder, "phase")).values,
            chi_ppm=read_volume(folder / CHIMAP).values,
        )
        for label, folder in folders.items()
    ]
    chi = {image.name: image.chi_ppm for image in images}
    values = read_table(out / "values.tsv")
    agreement = read_table(out / "agreement" / "agreement.tsv")
    truth_values = read_table(out / "values-truth.tsv")
    accuracy = read_table(out / "accuracy" / "agreement.tsv")
    return [
        protocol_figure(images, voxel_size_mm=voxel_size_mm, mask=mask, labels=labels),
        zoom_figure(
            chi | {TRUTH: read_volume(scans[0].truth).values},
            labels,
            regions,
            voxel_size_mm=voxel_size_mm,
            mask=mask,
        ),
        bland_altman_figure(values, agreement, reference=REFERENCE),
        scatter_figure(truth_values, accuracy, reference=TRUTH),
        sampling_figure(
            {PROTOCOLS[scan.protocol].label: read_sampling(scan.raw).numpy() for scan in scans}
        ),
    ]


def _tables(out: Path, folders: dict[str, Path]) -> list[Table]:
    nuclei = read_table(out / "nuclei.tsv").fillna({"note": ""})
    agreement = read_table(out / "agreement" / "agreement.tsv")
    accuracy = read_table(out / "accuracy" / "agreement.tsv")
    pooled = agreement[agreement["region"] == POOLED]
    mask = _shared_mask(folders)
    reference = read_volume(folders[REFERENCE] / CHIMAP).values
    similarity = []
    for label, folder in folders.items():
        if label != REFERENCE:
            profiles = similarity_profiles(read_volume(folder / CHIMAP).values, reference, mask)
            profiles.insert(0, "protocol", label)
            similarity.append(profiles)
    both = nuclei[nuclei["side"] == "both"].drop(
        columns=["subject", "side", "reference", "reference_ppb"]
    )
    return [
        report_tables.nuclei_table(both),
        *report_tables.agreement_tables(pooled, reference=REFERENCE),
        *report_tables.agreement_tables(accuracy[accuracy["region"] == POOLED], reference=TRUTH),
        report_tables.similarity_table(pd.concat(similarity, ignore_index=True)),
    ]


def _shared_mask(folders: dict[str, Path]) -> np.ndarray:
    """Where every protocol has a susceptibility."""
    masks = [np.asarray(read_volume(folder / MASK).values) > 0 for folder in folders.values()]
    return np.asarray(np.logical_and.reduce(masks))


def _last_echo(folder: Path, part: str) -> Path:
    return max(
        folder.glob(f"echo-*_part-{part}.nii.gz"), key=lambda path: (len(path.name), path.name)
    )


def _settings(folder: Path) -> dict[str, Any]:
    return dict(tomllib.loads((folder / SETTINGS).read_text(encoding="utf-8"))["qsm"])


def _provenance(folders: dict[str, Path]) -> dict[str, Any]:
    provenance: dict[str, Any] = {}
    for label, folder in folders.items():
        record = tomllib.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        source = record["source"]
        provenance |= {f"{label} {name}": source[name] for name in ("method", "acceleration")}
        if "weights_sha256" in source:
            provenance["weights sha256"] = source["weights_sha256"]
        provenance |= record["software"]
    return provenance
