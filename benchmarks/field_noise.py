"""Noise of the multi-lag field over its Cramer-Rao bound, as a Markdown table.

Voxels of one field and decay, with noise, seen by channels of unknown phase and of one power in
all; SNR is that at time zero of all channels together.
The last column is the most likely field, over all fields and decay rates, in the place of ours.
Usage: python benchmarks/field_noise.py
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from accelqsm.qsm.field.lags import lag_products
from accelqsm.qsm.field.mdi import lag1_field, multilag_field
from accelqsm.qsm.field.uncertainty import field_sd_hz

TRAINS_S = {
    "5 echoes, 4 to 28 ms": (0.004, 0.010, 0.016, 0.022, 0.028),
    "8 echoes, 3.3 to 25 ms": tuple(round(0.0033 + 0.0031 * n, 4) for n in range(8)),
    "3 echoes, 5 to 25 ms": (0.005, 0.015, 0.025),
    "2 echoes, 5 and 15 ms": (0.005, 0.015),
}
DECAYS_AND_SNRS = ((0.01, 15), (0.02, 15), (0.02, 30), (0.05, 30), (0.05, 100))
N_VOXELS, FIELD_HZ = 40_000, 21.0
N_LIKELY, N_FIELDS, FASTEST_PER_S, N_RATES = 2_000, 401, 300.0, 31


def main() -> None:
    """Print the table."""
    heads = [f"T2* {1e3 * t:.0f} ms, SNR {snr}" for t, snr in DECAYS_AND_SNRS]
    heads.append(f"{heads[0]}, most likely")
    print("| echoes | channels | " + " | ".join(heads) + " |\n|---|---:|" + "---:|" * len(heads))
    for name, times_s in TRAINS_S.items():
        for n_channels in (1, 8, 32):
            scans = [_scan(times_s, t, snr, n_channels) for t, snr in DECAYS_AND_SNRS]
            ratios = [_ratio(times_s, noisy, bound_hz, _ours) for noisy, bound_hz in scans]
            ratios.append(_ratio(times_s, scans[0][0][:, :, :N_LIKELY], scans[0][1], _likeliest))
            print(f"| {name} | {n_channels} | " + " | ".join(f"{r:.2f}" for r in ratios) + " |")


def _scan(
    times_s: tuple[float, ...], t2star_s: float, snr: float, n_channels: int
) -> tuple[Tensor, float]:
    """Noisy images (channel, echo, voxel, 1, 1), and the bound of the field in Hz."""
    generator = torch.Generator().manual_seed(0)
    time_s = torch.tensor(times_s, dtype=torch.float64)
    signal = torch.polar(torch.exp(-time_s / t2star_s), math.tau * FIELD_HZ * time_s)
    signal = signal / math.sqrt(n_channels)
    phase = math.tau * torch.rand(n_channels, 1, 1, generator=generator, dtype=torch.float64)
    quiet = torch.polar(torch.ones_like(phase), phase) * signal[:, None]
    quiet = quiet.expand(-1, -1, N_VOXELS)[..., None, None]
    noise = torch.randn(*quiet.shape, 2, generator=generator, dtype=torch.float64) / snr
    bound_hz = field_sd_hz(lag_products(quiet[:, :, :1], echo_times_s=times_s)) / snr
    return quiet + torch.view_as_complex(noise), float(bound_hz)


def _ratio(
    times_s: tuple[float, ...],
    noisy: Tensor,
    bound_hz: float,
    estimate: Callable[[tuple[float, ...], Tensor], Tensor],
) -> float:
    return float(estimate(times_s, noisy).std()) / bound_hz


def _ours(times_s: tuple[float, ...], noisy: Tensor) -> Tensor:
    products = lag_products(noisy, echo_times_s=times_s)
    return multilag_field(products, lag1_field(products))


def _likeliest(times_s: tuple[float, ...], noisy: Tensor) -> Tensor:
    """argmax_f max_R sum_c |a^H s_c|^2 / |a|^2, with a = exp((2 pi i f - R) t), on a grid."""
    reach_hz = 0.5 / (times_s[1] - times_s[0])
    fields_hz = FIELD_HZ + torch.linspace(-reach_hz, reach_hz, N_FIELDS, dtype=torch.float64)
    rates_per_s = torch.linspace(0, FASTEST_PER_S, N_RATES, dtype=torch.float64)
    time_s = torch.tensor(times_s, dtype=torch.float64)
    decay = torch.exp(-rates_per_s[:, None] * time_s)
    decay = decay / decay.norm(dim=1, keepdim=True)
    turn = torch.polar(torch.ones(1, dtype=torch.float64), math.tau * fields_hz[:, None] * time_s)
    samples = noisy[..., 0, 0].permute(2, 0, 1)
    power = torch.zeros(len(samples), N_FIELDS, N_RATES, dtype=torch.float64)
    for channel in range(samples.shape[1]):
        turned = samples[:, channel, None] * turn.conj()
        power += (turned @ decay.T.to(turned.dtype)).abs().square()
    return fields_hz[power.amax(2).argmax(1)]


if __name__ == "__main__":
    main()
