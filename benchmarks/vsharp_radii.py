"""vSHARP with balls and thresholds of several kinds, images to susceptibility: NRMSE on each head.

Digital heads (seeds; SNR 100, the chain's own mask) and one of another origin (mask given).
Usage: PYTHONPATH=src python benchmarks/vsharp_radii.py [SEED ...] [--foreign FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from accelqsm.grid import Grid
from accelqsm.qsm.background.settings import VsharpSettings
from accelqsm.qsm.chain import susceptibility
from accelqsm.qsm.field.lags import LagProducts, lag_products
from accelqsm.qsm.settings import QsmSettings
from qsm_head import ANCHOR, FIELD_STRENGTH_T, foreign_head, scanned_head

SMALL_MM, WIDE_MM = VsharpSettings().radii_mm, (16.0, 14.0, 12.0, 10.0, 8.0, 6.0, 5.0, 4.0, 3.0)
CHOICES = tuple(
    VsharpSettings(radii_mm=radii_mm, threshold=threshold)
    for radii_mm in (SMALL_MM, WIDE_MM)
    for threshold in (0.02, 0.1)
)
SEEDS = (100, 101, 110, 200, 201, 202)


class Subject(NamedTuple):
    """A head that was scanned: its echoes, their grid, and what is true of it."""

    name: str
    products: LagProducts
    grid: Grid
    chi_ppm: Tensor
    brain: Tensor
    mask: Tensor | None


def main() -> None:
    """Print a row for each head."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", type=int, nargs="*", default=SEEDS)
    parser.add_argument("--foreign", type=Path, help="a head of another origin, as images")
    asked = parser.parse_args()
    named = (f"{c.radii_mm[0]:g} to {c.radii_mm[-1]:g} mm, {c.threshold:g}" for c in CHOICES)
    print(f"| head | {' | '.join(named)} |\n|---|{'---:|' * len(CHOICES)}")
    for subject in subjects(asked.seeds, asked.foreign):
        errors = [f"{error(subject, choice):.1f}" for choice in CHOICES]
        print(f"| {subject.name} | {' | '.join(errors)} |", flush=True)


def subjects(seeds: list[int], foreign: Path | None) -> Iterator[Subject]:
    """The heads, one after another."""
    if foreign is not None:
        echoes, chi_ppm, brain = foreign_head(foreign)
        acquisition = echoes.acquisition
        products = lag_products(echoes.images, echo_times_s=acquisition.echo_times_s)
        yield Subject("foreign", products, acquisition.grid, chi_ppm, brain, brain)
    for seed in seeds:
        case = scanned_head(ANCHOR, seed=seed, snr=100)
        products = lag_products(case.images, echo_times_s=case.acquisition.echo_times_s)
        grid = case.acquisition.grid
        yield Subject(f"seed {seed}", products, grid, case.chi_ppm, case.brain, None)


def error(subject: Subject, choice: VsharpSettings) -> float:
    """NRMSE in per cent over what the method keeps of the brain."""
    found = susceptibility(
        subject.products,
        grid=subject.grid,
        field_strength_t=FIELD_STRENGTH_T,
        mask=subject.mask,
        settings=QsmSettings(background="vsharp", background_settings=choice),
    )
    here = found.mask & subject.brain
    truth = subject.chi_ppm[here] - subject.chi_ppm[here].mean()
    return 100 * float((found.chi_ppm[here] - truth).norm() / truth.norm())


if __name__ == "__main__":
    main()
