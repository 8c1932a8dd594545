"""Lambda of the peers' L1-wavelet, tried on a slab that is not reported; a Markdown table.

Usage: python benchmarks/bench_tune.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench_process import task_cost

SEED = 71
LAMBDAS = (0.0005, 0.001, 0.002, 0.003, 0.005)
PEERS = {"SigPy": "sigpy_wavelet", "BART": "bart_wavelet"}


def main() -> None:
    """Print the error at every lambda."""
    print("| lambda | SigPy | BART |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task_cost("bench_inputs:slab", folder, "full", str(SEED), least_s=0)
        for lamda in LAMBDAS:
            for peer, function in PEERS.items():
                result = str(folder / f"{peer}.npy")
                task_cost(f"bench_peers:{function}", folder, str(lamda), result=result, least_s=0)
            errors = task_cost("bench_scores:image", folder, *PEERS, least_s=0).value
            print(f"| {lamda} | {' | '.join(f'{errors[p]:.2f}' for p in PEERS)} |", flush=True)


if __name__ == "__main__":
    main()
