"""How well the null-space share of a network's images tells their error, as a Markdown table.

The brains and samples of recon_echoes.py. Where there is signal: error of the field from the phases
of all echoes, its standard deviation from noise (Cramer-Rao bound) and from the null-space share,
medians; root mean square of the error over both together, in five equal groups by share;
and the share of voxels whose error is within one standard deviation of both, in brackets of noise
alone.
Usage: OMP_NUM_THREADS=1 python benchmarks/recon_null_space.py [SEED ...] [--af AF ...]
    [--snr SNR ...] [--method METHOD]
"""

from __future__ import annotations

import argparse
import math

import torch
from torch import Tensor

from accelqsm.qsm.field.lags import lag_products
from accelqsm.qsm.field.uncertainty import field_sd_hz, sd_of_phases_hz
from accelqsm.recon.null_space import null_share, phase_sd_rad
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.runtime.memory import keep_freed_memory
from recon_echoes import ECHO_TIMES_S, brain, measured, pattern, with_signal

GROUPS = 5


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", type=int, nargs="*", default=[73, 74])
    parser.add_argument("--af", type=int, nargs="+", default=[3, 5, 8])
    parser.add_argument("--snr", type=float, nargs="+", default=[100.0, 50.0, 25.0])
    parser.add_argument("--method", default="reconnet3d")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    print("| head | SNR | AF | error, Hz | noise, Hz | share, Hz | error over both | within |")
    print("|---|---|---|---:|---:|---:|---|---:|")
    for seed in options.seeds:
        echoes, maps = brain(seed)
        for snr in options.snr:
            for acceleration in options.af:
                sampled = pattern(acceleration, seed=seed, of_each_echo=False)
                kspace = measured(echoes, maps, sampled, snr=snr, seed=seed)
                blocks = list(reconstruct(kspace, options.method, null_space=True))
                images = torch.cat([block.images[0] for block in blocks], dim=1)
                null = torch.cat([b.null_power for b in blocks if b.null_power is not None], dim=1)
                share = null_share(null, images.abs().square())
                print(f"| {seed} | {snr:g} | {acceleration} {row(echoes, images, share, snr)}")


def row(echoes: Tensor, images: Tensor, share: Tensor, snr: float) -> str:
    """Cells of one scan."""
    here = with_signal(echoes)
    products = lag_products(images[None], echo_times_s=ECHO_TIMES_S)
    noise_sd = float(echoes[0].abs()[here].mean()) / snr
    noise = field_sd_hz(products, noise_sd=noise_sd).clamp_max(1e3)[here]
    added = sd_of_phases_hz(phase_sd_rad(share), products)[here]
    both, error = torch.hypot(noise, added), field_error_hz(echoes, images)[here]
    groups = added.argsort().chunk(GROUPS)
    ratios = ", ".join(f"{_rms(error[g] / both[g]):.2f}" for g in groups)
    within = [float((error.abs() < sd).float().mean()) for sd in (both, noise)]
    middle = " | ".join(f"{float(v.square().median().sqrt()):.2f}" for v in (error, noise, added))
    return f"| {middle} | {ratios} | {within[0]:.2f} ({within[1]:.2f}) |"


def field_error_hz(echoes: Tensor, images: Tensor) -> Tensor:
    """Slope of the error of each echo's phase since the first, with the power as weight."""
    times_s = torch.tensor(ECHO_TIMES_S)[:, None, None, None]
    evolution, expected = (e * e[:1].conj() for e in (images, echoes))
    error_rad = (evolution * expected.conj()).angle()
    power = echoes.abs().square()
    weight = power * (times_s - (power * times_s).sum(0) / power.sum(0))
    return (weight * error_rad).sum(0) / (2 * math.pi * (weight * times_s).sum(0))


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


if __name__ == "__main__":
    main()
