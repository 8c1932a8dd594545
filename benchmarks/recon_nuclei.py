"""Nuclei of held-out heads: the networks against parallel imaging and full sampling.

A digital cohort (seed 3, which nothing was trained or tuned on), every head scanned on the demo's
grid with 8 channels: fully sampled, parallel imaging at AF 2 and again with other noise, Poisson
disks at AF 3, 4 and 5. Prints, per nucleus and acceleration, r and the mean difference in per cent
against parallel imaging and against full sampling, and between the two scans with parallel imaging.
Values of each head are kept in OUT/values.csv, so that a run that was stopped goes on.

Usage: python benchmarks/recon_nuclei.py OUT [HEADS] [FIRST_HEAD]
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from accelqsm.kspace import KSpace
from accelqsm.recon.reconnet3d import Consistency
from accelqsm.recon.reconstruct import Method
from accelqsm.simulate.cohort import Subject, draw_cohort
from accelqsm.simulate.head import LOOKUP, NUCLEI, digital_head
from accelqsm.simulate.scanner import scan
from accelqsm.study.protocols import PRESETS, PROTOCOLS, sampling_pattern
from accelqsm.study.subject import map_susceptibility
from accelqsm.study.virtual import at_scan_resolution

COHORT_SEED, LARGEST_COHORT = 3, 20
PRESET = dataclasses.replace(PRESETS["demo"], n_channels=8)
ARMS: dict[str, tuple[str, Method, Consistency]] = {
    "full": ("full", "zero-filled", "channel"),
    "PI": ("pi", "grappa", "channel"),
    "PI again": ("pi-rescan", "grappa", "channel"),
    **{
        f"{name} AF {af}": (f"af{af}", method, consistency)
        for af in (3, 4, 5)
        for name, method, consistency in (
            ("all channels", "reconnet3d", "channels"),
            ("channel by channel", "reconnet3d", "channel"),
            ("L1-wavelet", "l1-wavelet", "channel"),
        )
    },
}


def main() -> None:
    """Scan, map, measure, and print the table."""
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    n_heads = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    first = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    out.mkdir(parents=True, exist_ok=True)
    people = draw_cohort(LARGEST_COHORT, seed=COHORT_SEED)[first : first + n_heads]
    for person in people:
        file = out / f"values-{person.label}.csv"
        if not file.exists():
            measure(person).to_csv(file, index=False)
    files = [out / f"values-{person.label}.csv" for person in people]
    values = pd.concat([pd.read_csv(file) for file in files])
    print(table(values))


def measure(person: Subject) -> pd.DataFrame:
    """Mean susceptibility (ppb) of every nucleus under every arm."""
    acquisition = PRESET.acquisition
    head = digital_head(
        acquisition.grid.refined(PRESET.refinement),
        seed=person.seed,
        age_years=person.age_years,
        nuclei_chi_ppm=person.nuclei_chi_ppm,
    )
    labels, truth = at_scan_resolution(head, acquisition)
    names = {protocol for protocol, _, _ in ARMS.values()}
    patterns = {
        name: sampling_pattern(PROTOCOLS[name], PRESET, seed=person.seed % 10_000 + number)
        for number, name in enumerate(sorted(names))
    }
    kspaces = scan(
        head,
        acquisition,
        patterns,
        n_channels=PRESET.n_channels,
        snr=PRESET.snr,
        seed=person.seed % 2**20,
    )
    rows = rows_of(person, "truth", truth, labels, 0.0)
    for arm, (protocol, method, consistency) in ARMS.items():
        kspace: KSpace = kspaces[protocol]
        start = time.process_time()
        mapped = map_susceptibility(kspace, method=method, consistency=consistency)
        chi, cpu_s = mapped.maps.chi_ppm, time.process_time() - start
        rows += rows_of(person, arm, chi, labels, cpu_s)
        print(f"{person.label} {arm}: {cpu_s:.0f} CPU-s", file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def rows_of(
    person: Subject, arm: str, chi_ppm: torch.Tensor, labels: torch.Tensor, cpu_s: float
) -> list[dict[str, object]]:
    """One row per nucleus, both sides together."""
    indices = {
        nucleus: [index for index, name in LOOKUP if name.endswith(nucleus)] for nucleus in NUCLEI
    }
    return [
        {
            "subject": person.label,
            "arm": arm,
            "region": nucleus,
            "value_ppb": 1000 * float(chi_ppm[torch.isin(labels, torch.tensor(which))].mean()),
            "cpu_s": round(cpu_s, 1),
        }
        for nucleus, which in indices.items()
    ]


def table(values: pd.DataFrame) -> str:
    """Markdown: per arm and nucleus, r and difference of means in per cent."""
    wide = values.pivot(index=["subject", "region"], columns="arm", values="value_ppb")
    lines = [
        f"{wide.index.get_level_values('subject').nunique()} heads; r / mean difference %",
        f"| arm | against | {' | '.join(NUCLEI)} |",
        f"|---|---|{'---:|' * len(NUCLEI)}",
    ]
    for arm in ARMS:
        for reference in ("truth", "full", "PI"):
            if arm in ("full", reference) and reference != "truth":
                continue
            cells = []
            for nucleus in NUCLEI:
                part = wide.xs(nucleus, level="region")
                x, y = part[reference], part[arm]
                r = float(np.corrcoef(x, y)[0, 1]) if len(part) > 2 else float("nan")
                cells.append(f"{r:.3f} / {100 * (y.mean() / x.mean() - 1):+.1f}")
            lines.append(f"| {arm} | {reference} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
