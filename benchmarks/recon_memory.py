"""Memory and time of a scan of the published size, from k-space to the sums over channels.

300 x 280 x 96 voxels, 8 echoes, 32 channels or CHANNELS, Poisson disk of AF 5 (GRAPPA: every second
line): 3.3 GB of samples and more in a mapped file, as read from MRD. The head is a ball through a
ring of smooth channels, since memory does not depend on what is scanned. With BLOCKS, stops after
that many blocks of the reconstruction: every block needs the same memory, and the sums are there
from the first. Prints the peak of the memory that is the process's own and that of all its pages,
mapped files included (which the system takes back when it needs them).

Usage: python benchmarks/recon_memory.py METHOD CONSISTENCY [BLOCKS [CHANNELS]]
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.fourier import PHASE_ENCODES, fft
from accelqsm.kspace import KSpace, scratch
from accelqsm.pipeline.scan import CombinedSums
from accelqsm.qsm.field.lags import LagSums
from accelqsm.recon.method_settings import NetworkSettings
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.settings import ReconSettings
from accelqsm.virtual.protocols import PRESETS, PROTOCOLS
from accelqsm.virtual.sampling import sampling_pattern

PRESET = PRESETS["paper"]
POLL_S = 0.05


def main() -> None:
    """Reconstruct, and print peak memory and time."""
    method, consistency = sys.argv[1], sys.argv[2]
    n_blocks = int(sys.argv[3]) if len(sys.argv) > 3 else None
    n_channels = int(sys.argv[4]) if len(sys.argv) > 4 else PRESET.n_channels
    kspace = paper_scan("pi" if method == "grappa" else "af5", n_channels)
    peaks = {"RssAnon": 0, "VmRSS": 0}
    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(peaks, stop))
    watcher.start()
    cpu, wall = time.process_time(), time.perf_counter()
    network = NetworkSettings(consistency=consistency if method == "reconnet3d" else None)
    acquisition = kspace.acquisition
    lags = LagSums(acquisition.grid.shape, echo_times_s=acquisition.echo_times_s)
    combined = CombinedSums(kspace)
    for count, block in enumerate(reconstruct(kspace, ReconSettings(method, network=network)), 1):
        lags.add(block.images, block.x)
        combined.add(block)
        if count == n_blocks:
            break
    stop.set()
    watcher.join()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    own, pages = (peaks[name] / 2**20 for name in ("RssAnon", "VmRSS"))
    blocks = f"{n_channels} channels, {n_blocks or 'all'} blocks"
    print(f"{method} {consistency}, {blocks}: {own:.2f} GB of its own, ", end="")
    print(f"{pages:.2f} GB with mapped files; {cpu:.0f} CPU-s, {wall:.0f} s")


def paper_scan(protocol: str, n_channels: int) -> KSpace:
    """A scan of the published size by one of its protocols, its samples on disk."""
    sampled = sampling_pattern(PROTOCOLS[protocol], PRESET, seed=0)
    return ball_scan(PRESET.acquisition, sampled, n_channels, on_disk=True)


def ball_scan(
    acquisition: Acquisition, sampled: Tensor, n_channels: int, *, on_disk: bool
) -> KSpace:
    """A ball through smooth channels, all echoes alike but for their phase."""
    shape = (n_channels, acquisition.n_echoes, acquisition.grid.shape[0], int(sampled.sum()))
    samples = scratch(shape, on_disk=on_disk)
    rng = np.random.default_rng(0)
    x, y, z = (torch.linspace(-1, 1, n) for n in acquisition.grid.shape)
    squared = x[:, None, None] ** 2 + y[:, None] ** 2 + z**2
    ball = (squared < 0.6).float() * (1 + 0.3 * torch.cos(9 * y[:, None] + 7 * z))
    for channel in range(n_channels):
        a, b, c = rng.uniform(-1, 1, 3)
        profile = torch.polar(
            torch.exp(a * x[:, None, None] + b * y[:, None] + c * z),
            (c * y[:, None] + a * z).expand(acquisition.grid.shape).contiguous(),
        )
        part = fft(profile * ball, PHASE_ENCODES)[:, sampled].numpy()
        for echo in range(acquisition.n_echoes):
            noise = rng.standard_normal((*part.shape, 2), dtype=np.float32)
            samples[channel, echo] = (
                part * np.exp(0.3j * echo) + 0.02 * noise.view(np.complex64)[..., 0]
            )
    return KSpace(acquisition, sampled, samples)


def watch(peaks: dict[str, int], stop: threading.Event) -> None:
    """Keep the largest value of each line of /proc/self/status, in KiB."""
    while not stop.wait(POLL_S):
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in peaks:
                peaks[name] = max(peaks[name], int(rest.split()[0]))


if __name__ == "__main__":
    main()
