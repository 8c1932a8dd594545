"""Noise of the multi-lag field over its Cramer-Rao bound, as a Markdown table.

Voxels of one field and decay, with noise, seen by channels of unknown phase and of one power in
all; SNR is that at time zero of all channels together.
Usage: python benchmarks/field_noise.py
"""

from __future__ import annotations

import math

import torch

from accelqsm.qsm.field import lag1_field, multilag_field
from accelqsm.qsm.lags import lag_products
from accelqsm.qsm.uncertainty import field_sd_hz

TRAINS_S = {
    "5 echoes, 4 to 28 ms": (0.004, 0.010, 0.016, 0.022, 0.028),
    "8 echoes, 3.3 to 25 ms": tuple(round(0.0033 + 0.0031 * n, 4) for n in range(8)),
    "3 echoes, 5 to 25 ms": (0.005, 0.015, 0.025),
    "2 echoes, 5 and 15 ms": (0.005, 0.015),
}
DECAYS_AND_SNRS = ((0.01, 15), (0.02, 15), (0.02, 30), (0.05, 30), (0.05, 100))
N_VOXELS, FIELD_HZ = 40_000, 21.0


def main() -> None:
    """Print the table."""
    heads = [f"T2* {1e3 * t:.0f} ms, SNR {snr}" for t, snr in DECAYS_AND_SNRS]
    print("| echoes | channels | " + " | ".join(heads) + " |\n|---|---:|" + "---:|" * len(heads))
    for name, times_s in TRAINS_S.items():
        for n_channels in (1, 8, 32):
            ratios = [_ratio(times_s, t, snr, n_channels) for t, snr in DECAYS_AND_SNRS]
            print(f"| {name} | {n_channels} | " + " | ".join(f"{r:.2f}" for r in ratios) + " |")


def _ratio(times_s: tuple[float, ...], t2star_s: float, snr: float, n_channels: int) -> float:
    """Standard deviation of the error over the bound of images without noise."""
    generator = torch.Generator().manual_seed(0)
    time_s = torch.tensor(times_s, dtype=torch.float64)
    signal = torch.polar(torch.exp(-time_s / t2star_s), math.tau * FIELD_HZ * time_s)
    signal = signal / math.sqrt(n_channels)
    phase = math.tau * torch.rand(n_channels, 1, 1, generator=generator, dtype=torch.float64)
    quiet = torch.polar(torch.ones_like(phase), phase) * signal[:, None]
    quiet = quiet.expand(-1, -1, N_VOXELS)[..., None, None]
    noise = torch.randn(*quiet.shape, 2, generator=generator, dtype=torch.float64) / snr
    noisy = lag_products(quiet + torch.view_as_complex(noise), echo_times_s=times_s)
    found_hz = multilag_field(noisy, lag1_field(noisy))
    bound_hz = field_sd_hz(lag_products(quiet, echo_times_s=times_s))[0, 0, 0] / snr
    return float(found_hz.std() / bound_hz)


if __name__ == "__main__":
    main()
