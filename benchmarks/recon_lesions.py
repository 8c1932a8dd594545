"""A bleed and a lesion in held-out heads: how much of their contrast a reconstruction keeps.

Bleeds are balls of susceptible, quickly decaying tissue; lesions balls of white matter with longer
T1, more water and a little iron, painted into the tissue of the head before the scan, so that the
field, dephasing and ringing about them are those of a scanner. The networks were trained on balls
drawn into images with fields of their own, and on none of these. Contrast is the mean inside less
the mean of the shell around: of susceptibility for the bleed, of the first echo's magnitude for
the lesion. Prints each as a share of that of the fully sampled scan.

Usage: python benchmarks/recon_lesions.py [SEED ...] [--arms ARM ...] [--weights METHOD=FILE ...]
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from accelqsm.grid import Grid
from accelqsm.pipeline.scan import map_susceptibility
from accelqsm.recon.method_settings import NetworkSettings
from accelqsm.recon.settings import ReconSettings
from accelqsm.runtime.memory import keep_freed_memory
from accelqsm.simulate.heads.head import Head, digital_head
from accelqsm.simulate.scanner import scan
from accelqsm.virtual.protocols import PRESETS, PROTOCOLS
from accelqsm.virtual.sampling import sampling_pattern
from recon_echoes import with_weights

PRESET = PRESETS["demo"]
PER_COIL, JOINT = (
    ReconSettings("reconnet3d", network=NetworkSettings(consistency=consistency))
    for consistency in ("per-coil", "joint")
)
BLEED_RADIUS_MM, LESION_RADIUS_MM = 3.0, 5.0
BLEED_CHI_PPM, BLEED_R2STAR = 0.8, 80.0
LESION_CHI_PPM, LESION_T1_S, LESION_WATER, LESION_R2STAR = 0.02, 1.6, 1.2, -8.0
# Template coordinates: white matter of the left frontal lobe, and of the right parietal lobe.
PLACES_MM = {"bleed": (-24.0, 22.0, 24.0), "lesion": (26.0, -36.0, 28.0)}
ARMS: dict[str, tuple[str, ReconSettings]] = {
    "full": ("full", ReconSettings("zero-filled")),
    "PI": ("pi", ReconSettings("grappa")),
    "joint AF 5": ("af5", JOINT),
    "per-coil AF 5": ("af5", PER_COIL),
    "L1-wavelet AF 5": ("af5", ReconSettings("l1-wavelet")),
    "joint AF 8": ("af8", JOINT),
    "L1-echoes AF 8": ("af8", ReconSettings("l1-echoes")),
    "DCRNet AF 8": ("af8", ReconSettings("dcrnet")),
    "echo-joint AF 5": ("af5", ReconSettings("echo-joint")),
    "echo-joint AF 8": ("af8", ReconSettings("echo-joint")),
}
DEFAULT_ARMS = ["full", "PI", "joint AF 5", "per-coil AF 5", "L1-wavelet AF 5"]
ORDER = ("af5", "full", "pi", "af8")
"""Protocols in the order in which their patterns and noise are drawn."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", type=int, nargs="*", default=[500, 501, 502])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=DEFAULT_ARMS)
    parser.add_argument("--weights", nargs="+", default=[], metavar="METHOD=FILE")
    options = parser.parse_args()
    weights = dict(word.split("=", 1) for word in options.weights)
    arms = {
        arm: (protocol, with_weights(recon, weights))
        for arm, (protocol, recon) in ARMS.items()
        if arm in ("full", *options.arms)
    }
    torch.set_num_threads(1)
    keep_freed_memory()
    print("| head | arm | bleed: chi contrast, ppb (share) | lesion: magnitude (share) |")
    print("|---|---|---:|---:|")
    for seed in options.seeds:
        for row in rows(seed, arms):
            print(row, flush=True)


def rows(seed: int, arms: Mapping[str, tuple[str, ReconSettings]]) -> list[str]:
    """One row per arm, the first of which is full sampling."""
    acquisition = PRESET.acquisition
    plain = digital_head(acquisition.grid.refined(PRESET.refinement), seed=seed)
    head = with_findings(plain)
    patterns = {
        name: sampling_pattern(PROTOCOLS[name], PRESET, seed=seed + number)
        for number, name in enumerate(ORDER)
    }
    kspaces = scan(
        head, acquisition, patterns, n_channels=PRESET.n_channels, snr=PRESET.snr, seed=seed
    )
    lines, full = [], None
    for arm, (protocol, recon) in arms.items():
        maps = map_susceptibility(kspaces[protocol], recon)
        assert maps.echoes is not None
        chi_ppm, mask = torch.from_numpy(maps.chi_ppm), torch.from_numpy(maps.mask)
        bleed = 1000 * contrast(chi_ppm, acquisition.grid, PLACES_MM["bleed"], BLEED_RADIUS_MM)
        magnitude = torch.from_numpy(maps.echoes.magnitude[0])
        level = magnitude[mask].mean()
        lesion = contrast(
            magnitude / level, acquisition.grid, PLACES_MM["lesion"], LESION_RADIUS_MM
        )
        full = full or (bleed, lesion)
        lines.append(
            f"| {seed} | {arm} | {bleed:.0f} ({bleed / full[0]:.2f}) "
            f"| {lesion:.3f} ({lesion / full[1]:.2f}) |"
        )
    return lines


def with_findings(head: Head) -> Head:
    """The head with a bleed and a lesion in it."""
    grid = head.grid
    bleed = distance_mm(grid, PLACES_MM["bleed"]) < BLEED_RADIUS_MM
    lesion = distance_mm(grid, PLACES_MM["lesion"]) < LESION_RADIUS_MM
    for place in (bleed, lesion):
        assert head.brain[place].all()
    return dataclasses.replace(
        head,
        chi_ppm=head.chi_ppm + BLEED_CHI_PPM * bleed + LESION_CHI_PPM * lesion,
        r2star_per_s=head.r2star_per_s + BLEED_R2STAR * bleed + LESION_R2STAR * lesion,
        t1_s=torch.where(lesion, LESION_T1_S, head.t1_s),
        proton_density=torch.where(lesion, LESION_WATER, 1.0) * head.proton_density,
    )


def contrast(
    values: Tensor, grid: Grid, centre_mm: tuple[float, float, float], radius_mm: float
) -> float:
    """Mean inside, less the mean of the shell from 1.5 to 2.5 radii."""
    distance = distance_mm(grid, centre_mm)
    shell = (distance > 1.5 * radius_mm) & (distance < 2.5 * radius_mm)
    return float(values[distance < radius_mm].mean() - values[shell].mean())


def distance_mm(grid: Grid, centre_mm: tuple[float, float, float]) -> Tensor:
    """Distance of every voxel from a point, (x, y, z)."""
    offset = grid.world_mm() - np.asarray(centre_mm)[:, None, None, None]
    return torch.from_numpy(np.linalg.norm(offset, axis=0))


if __name__ == "__main__":
    main()
