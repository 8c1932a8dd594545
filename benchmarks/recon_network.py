"""Errors of both networks on heads that nothing was trained, tuned or looked at with.

Complex NRMSE against the image without noise: of the per-coil network and of zero-filling, or of
the joint network, CG-SENSE and L1-wavelet from the same samples and estimated sensitivities.
Volumes, grids and noise are drawn as those of validation, from other seeds; twelve readout
positions count, and the network sees as many beside them as it depends on, as in a scan. NOISE is
one standard deviation for all instead, in units of the peak. Heads are kept in OUT.

Usage: python benchmarks/recon_network.py OUT [per-coil | per-coil-wide | joint] [HEADS] [NOISE]
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.recon.methods.cg_sense import cg_sense
from accelqsm.recon.methods.l1_wavelet import l1_wavelet
from accelqsm.recon.network.protocol import Network
from accelqsm.recon.weights import load_network
from accelqsm.runtime.memory import keep_freed_memory
from accelqsm.training import data
from accelqsm.training.data import Pair, validation_pairs
from accelqsm.training.volumes.digital import cached_volumes
from accelqsm.training.volumes.volumes import Kind

FIRST_SEED = 2200
N_VOLUMES, READOUTS = 6, 12
ACCELERATIONS = (3.0, 4.0, 5.0)
TIMES_MS = (3, 11, 19, 27, 36)


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    keep_freed_memory()
    out, name = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "per-coil"
    n_heads = int(sys.argv[3]) if len(sys.argv) > 3 else 4
    if len(sys.argv) > 4:
        data.VALIDATION_NOISE = (float(sys.argv[4]), float(sys.argv[4]))
    network = load_network(name)
    kind, reach = network.consistency, network.readout_reach
    heads = cached_volumes(
        out / kind,
        range(FIRST_SEED, FIRST_SEED + n_heads),
        Kind(N_VOLUMES, all_channels=kind == "joint"),
    )
    rows = []
    for acceleration in ACCELERATIONS:
        for pair in validation_pairs(
            heads,
            readouts=READOUTS + 2 * reach,
            acceleration=acceleration,
            pairs_per_head=N_VOLUMES // 2,
        ):
            rows += errors(network, pair, acceleration)
    print(table(pd.DataFrame(rows)))


def errors(network: Network, pair: Pair, acceleration: float) -> list[dict[str, float]]:
    """NRMSE by method of every item of a pair."""
    rows = []
    reach = network.readout_reach
    counted = slice(reach, reach + READOUTS)
    with torch.inference_mode():
        images = network(pair.measured, pair.sampled, pair.maps)
    for item in range(len(pair.truth)):
        truth = pair.truth[item, counted]
        found = {"network": images[item]} | others(pair.items(slice(item, item + 1)))
        rows.append(
            {"acceleration": acceleration, "echo_time_ms": 1000 * pair.echo_times_s[item]}
            | {
                name: float((image[counted] - truth).norm() / truth.norm())
                for name, image in found.items()
            }
        )
    return rows


def others(pair: Pair) -> dict[str, Tensor]:
    """What the same samples give without a network."""
    if pair.maps is None:
        return {"zero-filled": ifft(pair.measured, PHASE_ENCODES)[0]}
    measured, maps = pair.measured[:, 0], pair.maps[:, 0]
    return {
        "zero-filled": (maps.conj() * ifft(measured, PHASE_ENCODES)).sum(0),
        "CG-SENSE": cg_sense(measured, maps, sampled=pair.sampled),
        "L1-wavelet": l1_wavelet(measured, maps, sampled=pair.sampled),
    }


def table(frame: pd.DataFrame) -> str:
    """Markdown: mean NRMSE by acceleration and method, shares, and the network's by echo time."""
    methods = [str(c) for c in frame if c not in ("acceleration", "echo_time_ms")]
    labels = [f"{a}-{b}" for a, b in pairwise(TIMES_MS)]
    frame = frame.assign(
        share=frame["network"] / frame["zero-filled"],
        time=pd.cut(frame["echo_time_ms"], TIMES_MS, labels=labels),
    )
    header = [*methods, "share of zero-filled", "worst share", *(f"TE {t} ms" for t in labels)]
    lines = [f"| AF | {' | '.join(header)} |", "|---|" + "---:|" * len(header)]
    for acceleration, part in frame.groupby("acceleration"):
        mean = part[methods].mean()
        by_time = part.groupby("time", observed=False)["network"].mean()
        cells = [
            *mean,
            mean["network"] / mean["zero-filled"],
            part["share"].max(),
            *by_time,
        ]
        lines.append(f"| {acceleration:g} | {' | '.join(f'{v:.3f}' for v in cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
