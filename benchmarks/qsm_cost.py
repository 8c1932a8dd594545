"""CPU time and memory of the QSM chain by stage, beside scikit-image, as Markdown tables.

The chain runs in a process of its own on one thread, which holds nothing but the images; the
second run is reported, after whatever the first had to prepare. Needs the [bench] extra.
Usage: python benchmarks/qsm_cost.py [anchor] [paper]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage.restoration import unwrap_phase

from accelqsm.grid import centred_grid
from accelqsm.qsm.chain import susceptibility
from accelqsm.qsm.field.lags import lag_products
from qsm_head import ANCHOR, CENTRE_MM, FIELD_STRENGTH_T, Protocol, scanned_head
from stages import CHAIN_STAGES, timed

SEED = 203
PAPER_SIZE = Protocol(
    (300, 280, 80), (0.8, 0.8, 2.0), tuple(round(0.0033 + 0.0031 * n, 4) for n in range(8))
)
N_RUNS = 5
CASES = {"anchor": (ANCHOR, 1), "paper": (PAPER_SIZE, 2)}


def main() -> None:
    """Print a table for each case asked for."""
    if sys.argv[1:2] == ["--run"]:
        print(json.dumps(_measured(Path(sys.argv[2]), int(sys.argv[3]))))
        return
    for name in sys.argv[1:] or list(CASES):
        protocol, n_threads = CASES[name]
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), protocol)
            command = [sys.executable, __file__, "--run", folder, str(n_threads)]
            found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        _print(name, protocol, found)


def _write(folder: Path, protocol: Protocol) -> None:
    """The images of a head and its brain, where a process of their own finds them."""
    if protocol == ANCHOR:
        case = scanned_head(protocol, seed=SEED, snr=100)
        np.save(folder / "images.npy", case.images.numpy())
        np.save(folder / "brain.npy", case.brain.numpy())
    else:
        _write_enlarged(folder, protocol)
    scan = (protocol.shape, protocol.voxel_size_mm, protocol.echo_times_s)
    (folder / "scan.json").write_text(json.dumps(scan))


def _write_enlarged(folder: Path, protocol: Protocol) -> None:
    """The anchor head's field and magnitude, enlarged to a grid too large to simulate finely."""
    small = scanned_head(ANCHOR, seed=SEED, snr=100)
    fields = torch.stack([small.field_hz, small.quiet_images[0, 0].abs(), small.brain.float()])
    field_hz, magnitude, brain = torch.nn.functional.interpolate(
        fields[None], size=protocol.shape, mode="trilinear"
    )[0]
    generator = torch.Generator().manual_seed(SEED)
    images = np.lib.format.open_memmap(
        folder / "images.npy",
        mode="w+",
        dtype=np.complex64,
        shape=(1, len(protocol.echo_times_s), *protocol.shape),
    )
    for echo, time_s in enumerate(protocol.echo_times_s):
        image = torch.polar(
            magnitude * float(np.exp(-time_s / 0.04)), field_hz * 6.2831853 * time_s
        )
        noise = torch.randn(*protocol.shape, 2, generator=generator) * small.noise_sd
        images[0, echo] = (image + torch.view_as_complex(noise)).numpy()
    np.save(folder / "brain.npy", (brain > 0.5).numpy())


def _measured(folder: Path, n_threads: int) -> dict[str, Any]:
    """CPU and wall seconds of the chain, by stage, and the largest resident memory in GB."""
    torch.set_num_threads(n_threads)
    shape, size_mm, times_s = json.loads((folder / "scan.json").read_text())
    grid = centred_grid(tuple(shape), tuple(size_mm), centre_mm=CENTRE_MM)
    images = torch.from_numpy(np.load(folder / "images.npy", mmap_mode="r+"))
    seconds: dict[str, float] = {}
    for stage, module in CHAIN_STAGES.items():
        setattr(module, stage, timed(stage, getattr(module, stage), seconds, time.process_time))
    runs = []
    for _ in range(2 if n_threads > 1 else N_RUNS):
        seconds.clear()
        cpu, wall = time.process_time(), time.perf_counter()
        products = lag_products(images, echo_times_s=tuple(times_s))
        seconds["lag_products"] = time.process_time() - cpu
        susceptibility(products, grid=grid, field_strength_t=FIELD_STRENGTH_T)
        whole = {"whole": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        runs.append(dict(seconds) | whole)
    peak_gb = _peak_gb()
    found = {k: statistics.median(r[k] for r in runs[1:]) for k in runs[-1]}
    found |= {"first whole": runs[0]["whole"], "peak_gb": peak_gb}
    if n_threads == 1:
        found["scikit-image"] = _scikit_image(images[0].numpy(), np.load(folder / "brain.npy"))
    return found


def _peak_gb() -> float:
    """Largest resident memory of this process (rusage would inherit that of its parent)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def _scikit_image(echoes: np.ndarray, brain: np.ndarray) -> float:
    """CPU seconds of unwrapping every echo in the brain."""
    start = time.process_time()
    for echo in echoes:
        unwrap_phase(np.ma.masked_array(np.angle(echo), ~brain))
    return time.process_time() - start


def _print(name: str, protocol: Protocol, found: dict[str, float]) -> None:
    x, y, z = protocol.shape
    print(f"\n### {name}: {x} x {y} x {z}, {len(protocol.echo_times_s)} echoes\n")
    print("| stage | CPU s |\n|---|---:|")
    stages = ("lag_products", *CHAIN_STAGES)
    for stage in stages:
        print(f"| `{stage}` | {found[stage]:.2f} |")
    print(
        f"| noise, uncertainty, R2*, rest | {found['whole'] - sum(found[s] for s in stages):.2f} |"
    )
    print(f"| **whole chain** | **{found['whole']:.2f}** |")
    print(f"| whole chain, first run in the process | {found['first whole']:.2f} |")
    if "scikit-image" in found:
        print(f"| scikit-image, unwrapping of every echo alone | {found['scikit-image']:.2f} |")
    print(f"\nWall {found['wall']:.1f} s, largest resident memory {found['peak_gb']:.2f} GB.")


if __name__ == "__main__":
    main()
