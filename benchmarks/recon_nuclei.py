"""Nuclei of held-out heads: the networks against parallel imaging and full sampling.

A digital cohort (seed 3, which nothing was trained or tuned on), every head scanned on the demo's
grid with 8 channels: fully sampled, parallel imaging at AF 2 and again with other noise, Poisson
disks at AF 3, 4, 5 and 8. Prints, per nucleus and acceleration, r and the mean difference in per
cent against parallel imaging and against full sampling, and between the two scans with parallel
imaging. Values of each head and arm are kept in OUT, so that a run that was stopped goes on, and
several may work on some arms or heads each. ``x 1`` in the name of an arm is the weight of the
samples relative to the network's training, where it is not the package's. Arms of BART's
L1-wavelet need it installed; images of its own are then mapped as any others.

Usage: python benchmarks/recon_nuclei.py OUT [--heads N] [--first N] [--arms ARM ...]
    [--weights METHOD=FILE ...] [--pattern AF=TABLE ..., of the arms with a learned pattern]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import torch

from accelqsm.files.megre.echoes import Echoes
from accelqsm.kspace import KSpace
from accelqsm.pipeline.images import susceptibility
from accelqsm.pipeline.scan import map_susceptibility
from accelqsm.recon.method_settings import NetworkSettings
from accelqsm.recon.settings import ReconSettings
from accelqsm.runtime.memory import keep_freed_memory
from accelqsm.simulate.cohort import Subject, draw_cohort
from accelqsm.simulate.heads.head import LOOKUP, NUCLEI, Head, digital_head
from accelqsm.simulate.scanner import scan
from accelqsm.virtual.protocols import PRESETS, PROTOCOLS
from accelqsm.virtual.sampling import check_table, sampling_pattern
from accelqsm.virtual.scans import at_scan_resolution
from recon_echoes import bart_wavelet, weighed, with_weights

COHORT_SEED, LARGEST_COHORT = 3, 20
PRESET = PRESETS["demo"]
PER_COIL, JOINT = (
    ReconSettings("reconnet3d", network=NetworkSettings(consistency=consistency))
    for consistency in ("per-coil", "joint")
)
BART_LAMBDA = 0.002
"""The better of those of recon_echoes.py at this signal-to-noise ratio."""
OWN = " own"
"""After the name of a protocol whose echoes have patterns of their own."""
LEARNED = " learned"
"""After the name of a protocol whose pattern is a table's."""
SMALL, SMALL_CENTRE = "small ", (20, 14)
"""Before the name of a protocol, and its centre in place of the preset's, which at AF 8 takes 45 %
of the samples."""
ORDER = ("af3", "af4", "af5", "full", "pi", "pi-rescan", "af8", "af5 own", "af8 own",
         f"af8{LEARNED}", f"{SMALL}af8 own", f"{SMALL}af5 own", f"af3{LEARNED}", f"af4{LEARNED}",
         f"af5{LEARNED}")  # fmt: skip
"""Protocols in the order in which their patterns and noise are drawn."""

ARMS: dict[str, tuple[str, ReconSettings | None]] = {
    "full": ("full", ReconSettings("zero-filled")),
    "PI": ("pi", ReconSettings("grappa")),
    "PI again": ("pi-rescan", ReconSettings("grappa")),
    **{
        f"{name} AF {af}": (f"af{af}", recon)
        for af in (3, 4, 5, 8)
        for name, recon in (
            ("joint", JOINT),
            ("joint x 1", weighed(ReconSettings("reconnet3d"), 1.0)),
            ("per-coil", PER_COIL),
            ("zero-filled", ReconSettings("zero-filled")),
            ("CG-SENSE", ReconSettings("cg-sense")),
            ("L1-wavelet", ReconSettings("l1-wavelet")),
            ("L1-echoes", ReconSettings("l1-echoes")),
            ("DCRNet", ReconSettings("dcrnet")),
            ("echo-joint", ReconSettings("echo-joint")),
            ("echo-joint x 1", weighed(ReconSettings("echo-joint"), 1.0)),
            ("echo-joint x 10", weighed(ReconSettings("echo-joint"), 10.0)),
            ("BART", None),
        )
    },
    **{
        f"echo-joint, own patterns AF {af}": (f"af{af}{OWN}", ReconSettings("echo-joint"))
        for af in (5, 8)
    },
    **{
        f"echo-joint, own patterns of small centres AF {af}": (
            f"{SMALL}af{af}{OWN}",
            ReconSettings("echo-joint"),
        )
        for af in (5, 8)
    },
    "echo-joint x 5, own patterns of small centres AF 8": (
        f"{SMALL}af8{OWN}",
        weighed(ReconSettings("echo-joint"), 5.0),
    ),
    **{
        f"{name}, learned pattern AF {af}": (f"af{af}{LEARNED}", recon)
        for af in (3, 4, 5, 8)
        for name, recon in (("joint", JOINT), ("echo-joint", ReconSettings("echo-joint")))
    },
}

DEFAULT_ARMS = ["full", "PI", "PI again", "joint AF 3", "joint AF 4", "joint AF 5"]
NONE: Mapping[str, str] = MappingProxyType({})


def main() -> None:
    """Scan, map, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--heads", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=DEFAULT_ARMS)
    parser.add_argument("--weights", nargs="+", default=[], metavar="METHOD=FILE")
    parser.add_argument("--pattern", nargs="+", default=[], metavar="AF=TABLE")
    options = parser.parse_args()
    weights = dict(word.split("=", 1) for word in options.weights)
    tables = {f"af{af}{LEARNED}": table for af, table in (w.split("=", 1) for w in options.pattern)}
    for protocol, table_file in tables.items():
        check_table(replace(PRESET, pattern=table_file), [protocol.removesuffix(LEARNED)])
    for protocol in (ARMS[arm][0] for arm in options.arms):
        if protocol.endswith(LEARNED) and protocol not in tables:
            parser.error(f"expected --pattern {protocol.split()[0][2:]}=TABLE for {protocol}")
    torch.set_num_threads(1)
    keep_freed_memory()
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    people = draw_cohort(LARGEST_COHORT, seed=COHORT_SEED)
    for person in people[options.first : options.first + options.heads]:
        wanted = [arm for arm in options.arms if not values_file(out, person, arm).exists()]
        if wanted:
            measure(person, wanted, out, weights, tables)
    print(table(pd.concat([pd.read_csv(file) for file in sorted(out.glob("values-*.csv"))])))


def values_file(out: Path, person: Subject, arm: str) -> Path:
    """Where the values of a head under an arm are kept."""
    return out / f"values-{person.label}-{arm.replace(' ', '-')}.csv"


def head_of(person: Subject) -> Head:
    """A person's head on the fine grid of the preset."""
    return digital_head(
        PRESET.acquisition.grid.refined(PRESET.refinement),
        seed=person.seed,
        age_years=person.age_years,
        nuclei_chi_ppm=person.nuclei_chi_ppm,
    )


def measure(
    person: Subject,
    arms: list[str],
    out: Path,
    weights: Mapping[str, str] = NONE,
    tables: Mapping[str, str] = NONE,
) -> None:
    """Write the mean susceptibility (ppb) of every nucleus under some arms."""
    acquisition = PRESET.acquisition
    head = head_of(person)
    labels, truth = at_scan_resolution(head, acquisition)
    patterns = sampling_patterns(person, tables)
    kspaces = scan(
        head,
        acquisition,
        patterns,
        n_channels=PRESET.n_channels,
        snr=PRESET.snr,
        seed=person.seed % 2**20,
    )
    write_values(values_file(out, person, "truth"), rows_of(person, "truth", truth, labels, 0.0))
    for arm in arms:
        protocol, recon = ARMS[arm]
        start = time.process_time()
        if recon is None:
            chi, bart_s = by_bart(kspaces[protocol])
        else:
            maps = map_susceptibility(kspaces[protocol], with_weights(recon, weights))
            chi, bart_s = torch.from_numpy(maps.chi_ppm), 0.0
        cpu_s = time.process_time() - start + bart_s
        write_values(values_file(out, person, arm), rows_of(person, arm, chi, labels, cpu_s))
        print(f"{person.label} {arm}: {cpu_s:.0f} CPU-s", file=sys.stderr, flush=True)


def by_bart(kspace: KSpace) -> tuple[torch.Tensor, float]:
    """Susceptibility (ppm) of BART's images, and the CPU seconds of its processes."""
    images, _, cpu_s = bart_wavelet(kspace, BART_LAMBDA, PRESET.calibration)
    acquisition = kspace.acquisition
    echoes = Echoes(images[None], acquisition, acquisition.b0_direction, "BART", {}, inverted=False)
    return torch.from_numpy(susceptibility(echoes).chi_ppm), cpu_s


def sampling_patterns(person: Subject, tables: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """Every pattern, also where few arms are wanted: noise is drawn from one after another."""
    found = {}
    for number, name in enumerate(ORDER):
        if name.endswith(LEARNED) and name not in tables:
            continue
        protocol = PROTOCOLS[name.removeprefix(SMALL).split()[0]]
        preset = replace(PRESET, pattern=tables.get(name, ""))
        if name.startswith(SMALL):
            preset = replace(preset, calibration=SMALL_CENTRE)
        found[name] = sampling_pattern(
            protocol,
            preset,
            seed=person.seed % 10_000 + number,
            of_each_echo=name.endswith(OWN),
        )
    return found


def write_values(file: Path, rows: list[dict[str, object]]) -> None:
    """One file, whole or not at all."""
    partial = file.with_suffix(f".{os.getpid()}.part")
    pd.DataFrame(rows).to_csv(partial, index=False)
    partial.replace(file)


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
    for arm in (arm for arm in ARMS if arm in wide):
        for reference in (name for name in ("truth", "full", "PI") if name in wide):
            if arm in ("full", reference) and reference != "truth":
                continue
            cells = []
            for nucleus in NUCLEI:
                part = pd.DataFrame(wide.xs(nucleus, level="region"))
                part = part.dropna(subset=[reference, arm])
                x, y = part[reference], part[arm]
                r = float(np.corrcoef(x, y)[0, 1]) if len(part) > 2 else float("nan")
                cells.append(f"{r:.3f} / {100 * (y.mean() / x.mean() - 1):+.1f}")
            lines.append(f"| {arm} | {reference} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
