"""The demo's own head over several draws of its noise: slope, nuclei and error of the map.

Fully sampled and with parallel imaging at AF 2, each draw a scan of its own, images to maps with
the defaults, against the truth limited to the measured k-space.

Usage: python benchmarks/demo_draws.py [--draws N]
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from accelqsm.agreement.similarity import nrmse_percent
from accelqsm.kspace import KSpace
from accelqsm.pipeline.scan import map_susceptibility
from accelqsm.recon.settings import ReconSettings
from accelqsm.simulate.cohort import Cohort
from accelqsm.simulate.heads.head import LOOKUP, NUCLEI
from accelqsm.simulate.scanner import scan
from accelqsm.virtual.protocols import PRESETS, PROTOCOLS
from accelqsm.virtual.sampling import sampling_pattern
from accelqsm.virtual.scans import at_scan_resolution
from recon_nuclei import head_of

PRESET = PRESETS["demo"]
DEMO_SEED, PATTERN_SEED, NOISE_SEED = 11, 5, 900
ARMS = {"full": ReconSettings("zero-filled"), "pi": ReconSettings("grappa")}


def main() -> None:
    """Scan, map, and print a row for each draw and the mean of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4)
    n_draws = parser.parse_args().draws
    torch.set_num_threads(1)
    head = head_of(Cohort(1, DEMO_SEED).subjects()[0])
    labels, truth_ppm = at_scan_resolution(head, PRESET.acquisition)
    patterns = {
        name: sampling_pattern(PROTOCOLS[name], PRESET, seed=PATTERN_SEED + number)
        for number, name in enumerate(ARMS)
    }
    print("protocol draw: NRMSE %, slope, then errors of", *NUCLEI, "in %")
    rows: dict[str, list[list[float]]] = {name: [] for name in ARMS}
    for draw in range(n_draws):
        scans = scan(
            head,
            PRESET.acquisition,
            patterns,
            n_channels=PRESET.n_channels,
            snr=PRESET.snr,
            seed=NOISE_SEED + draw,
        )
        for name, recon in ARMS.items():
            rows[name].append(scores(scans[name], recon, labels, truth_ppm))
            print(name, draw, *np.round(rows[name][-1], 3), flush=True)
    for name, found in rows.items():
        print(name, "mean", *np.array(found).mean(0).round(3))


def scores(
    kspace: KSpace, recon: ReconSettings, labels: torch.Tensor, truth_ppm: torch.Tensor
) -> list[float]:
    """Error of the map in %, slope of the nuclei, and the error of each in %."""
    maps = map_susceptibility(kspace, recon)
    chi_ppm, known = torch.as_tensor(maps.chi_ppm), torch.as_tensor(maps.mask) & (truth_ppm != 0)
    truth_ppm = truth_ppm - truth_ppm[known].mean()
    values, true = (
        [
            float(volume[torch.isin(labels, torch.tensor(indices)) & known].mean())
            for name in NUCLEI
            for indices in [[index for index, region in LOOKUP if region.endswith(name)]]
        ]
        for volume in (chi_ppm, truth_ppm)
    )
    error = nrmse_percent(chi_ppm.numpy(), truth_ppm.numpy(), known.numpy())
    slope = np.polyfit(true, values, 1)[0]
    return [error, float(slope), *(100 * (np.divide(values, true) - 1)).tolist()]


if __name__ == "__main__":
    main()
