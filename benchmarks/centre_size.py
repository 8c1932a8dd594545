"""Size of the fully sampled centre of a Poisson disk: errors of the joint network, on some heads.

The demo's plane, four echoes, eight readout positions of each of three heads that no network has
learned from and no table reports, two patterns each. Complex NRMSE of all echoes in %, and the root
mean square error of the phase from first to last echo in the brain in degrees; a line for each
acceleration and centre.

Usage: OMP_NUM_THREADS=1 python benchmarks/centre_size.py [--heads SEED ...] [--af AF ...]
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch

from accelqsm.recon.patterns.drawn import drawn_pattern
from accelqsm.recon.patterns.settings import PatternSettings
from accelqsm.training.patterns.learn import joint_network
from accelqsm.virtual.protocols import PRESETS
from learned_pattern import figures, tested

CENTRES = ((40, 28), (28, 20), (24, 16), (20, 14), (14, 10))
PATTERNS = 2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--heads", type=int, nargs="+", default=[3100, 3101, 3102])
    parser.add_argument("--af", type=float, nargs="+", default=[3, 5, 8])
    options = parser.parse_args()
    torch.set_num_threads(1)
    preset, network = PRESETS["demo"], joint_network("joint")
    settings = PatternSettings(
        acceleration=options.af[0],
        shape=preset.shape[1:],
        calibration=CENTRES[0],
        voxel_size_mm=preset.voxel_size_mm[1:],
    )
    heads = [tested(seed, settings, len(preset.echo_times_s)) for seed in options.heads]
    print("| AF | centre | NRMSE % | phase, degrees | of each head |\n|---:|---|---:|---:|---|")
    for acceleration in options.af:
        for centre in CENTRES:
            chosen = replace(settings, acceleration=acceleration, calibration=centre)
            patterns = [drawn_pattern(replace(chosen, seed=seed)) for seed in range(PATTERNS)]
            found = np.array([[figures(network, *head, one) for one in patterns] for head in heads])
            nrmse, degrees = found.mean((0, 1))
            each = ", ".join(f"{value:.2f}" for value in found.mean(1)[:, 1])
            named = f"| {acceleration:g} | {centre[0]} x {centre[1]}"
            print(f"{named} | {nrmse:.2f} | {degrees:.2f} | {each} |", flush=True)


if __name__ == "__main__":
    main()
