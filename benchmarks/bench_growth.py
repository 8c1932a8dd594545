"""Calls whose cost grows with voxels, channels, echoes or subjects, and the least each must do.

A ball through smooth channels is reconstructed, since neither time nor memory depends on what is
scanned; the field and magnitude of a head are enlarged for the chain.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.agreement.published import published
from accelqsm.agreement.synthetic import cohort_with_statistics
from accelqsm.api.agreement import compare
from accelqsm.fourier import PHASE_ENCODES
from accelqsm.grid import Shape, centred_grid
from accelqsm.qsm.chain import susceptibility
from accelqsm.qsm.field.lags import LagSums, lag_products
from accelqsm.qsm.inversion.settings import L1Settings
from accelqsm.recon.method_settings import SenseSettings, SensitivitySettings
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.sense import SAMPLES_AT_ONCE
from accelqsm.runtime.memory import keep_freed_memory
from qsm_head import CENTRE_MM, FIELD_STRENGTH_T, Protocol, scanned_head
from recon_memory import ball_scan
from study_memory import write_subjects

ACCELERATION, CALIBRATION = 4, (24, 16)
SIZE_MM, STEP_S = (1.5, 1.5, 2.0), 0.006
CASCADE_TRANSFORMS = 30
"""Transforms of all channels in the network's conjugate gradients, for each image."""
SMALL_HEAD = Protocol((54, 66, 37), (3.0, 3.0, 4.0), (0.004, 0.010, 0.016))
HEAD_SEED, COHORT_SEED = 206, 11
INVERSION_TRANSFORMS = 4
STUDY = "zhou2025"

Call = Callable[[], None]
Calls = tuple[Call, Call]
"""What is measured, and the least that must be done."""


def recon(folder: Path, method: str, n_channels: str, n_echoes: str, *shape: str) -> Calls:
    """Sums over channels from the samples, as ``map`` makes them.

    The least: the transforms of the conjugate gradients, in slabs as the cache holds them.
    """
    kspace = ball_scan(*_scan(shape, int(n_echoes)), int(n_channels), on_disk=False)
    keep_freed_memory()
    few = min(int(n_channels), SensitivitySettings().n_virtual)
    x, y, z = map(int, shape)
    per_image = 2 * SenseSettings().n_iterations if method == "cg-sense" else CASCADE_TRANSFORMS
    at_once = max(min(SAMPLES_AT_ONCE // (few * y * z), x), 2)

    def call() -> None:
        acquisition = kspace.acquisition
        sums = LagSums(acquisition.grid.shape, echo_times_s=acquisition.echo_times_s)
        for block in reconstruct(kspace, method):
            sums.add(block.images, block.x)

    def least() -> None:
        slab = torch.ones(few, at_once, y, z, dtype=torch.complex64)
        for _ in range(int(n_echoes) * per_image * math.ceil(x / at_once)):
            torch.fft.fftn(slab, dim=PHASE_ENCODES)

    return call, least


def head(folder: Path) -> Call:
    """Write field, magnitude and brain of a small head, which ``chain`` enlarges."""

    def write() -> None:
        small = scanned_head(SMALL_HEAD, seed=HEAD_SEED, snr=100)
        fields = (small.field_hz, small.quiet_images[0, 0].abs(), small.brain.float())
        np.save(folder / "fields.npy", torch.stack(fields).numpy())

    return write


def chain(folder: Path, n_echoes: str, *shape: str) -> Calls:
    """Susceptibility from the images of one channel, in a given mask.

    The least: the real transforms of the dipole inversion, on the volume of the scan.
    """
    acquisition, _ = _scan(shape, int(n_echoes))
    images, brain = enlarged(np.load(folder / "fields.npy"), acquisition)

    def call() -> None:
        susceptibility(
            lag_products(images, echo_times_s=acquisition.echo_times_s),
            grid=acquisition.grid,
            field_strength_t=FIELD_STRENGTH_T,
            mask=brain,
        )

    def least() -> None:
        volume = torch.ones(acquisition.grid.shape)
        for _ in range(INVERSION_TRANSFORMS * L1Settings().n_iterations):
            torch.fft.rfftn(volume)

    return call, least


def enlarged(fields: np.ndarray, acquisition: Acquisition) -> tuple[Tensor, Tensor]:
    """Images (1, echo, x, y, z) with the field and magnitude of a smaller head, and its brain."""
    shape = acquisition.grid.shape
    field_hz, magnitude, brain = torch.nn.functional.interpolate(
        torch.from_numpy(fields)[None], size=shape, mode="trilinear"
    )[0]
    generator = torch.Generator().manual_seed(HEAD_SEED)
    images = torch.empty(1, acquisition.n_echoes, *shape, dtype=torch.complex64)
    for echo, time_s in enumerate(acquisition.echo_times_s):
        image = torch.polar(magnitude * math.exp(-time_s / 0.04), field_hz * math.tau * time_s)
        noise = torch.randn(*shape, 2, generator=generator) * float(magnitude.max()) / 100
        images[0, echo] = image + torch.view_as_complex(noise)
    return images, brain > 0.5


def agreement(folder: Path, n_subjects: str) -> Calls:
    """Agreement of four protocols and seven nuclei over so many subjects.

    The least: reading the table of values, number by number.
    """
    values, participants = cohort(int(n_subjects))
    text = values.to_csv(sep="\t", index=False)

    def call() -> None:
        compare(values, reference="PI", participants=participants)

    def least() -> None:
        rows = csv.DictReader(io.StringIO(text), delimiter="\t")
        sum(float(row["value_ppb"]) for row in rows)

    return call, least


def cohort(n_subjects: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Values and participants: published cohorts, each drawn anew, until there are enough."""
    values: list[pd.DataFrame] = []
    people: list[pd.DataFrame] = []
    found = 0
    while found < n_subjects:
        drawn = cohort_with_statistics(published(STUDY), seed=COHORT_SEED + found)
        names = list(drawn.participants["participant_id"])[: n_subjects - found]
        new = {name: f"sub-{found + number:05d}" for number, name in enumerate(names)}
        for frames, frame, column in (
            (values, drawn.values, "subject"),
            (people, drawn.participants, "participant_id"),
        ):
            kept = frame[frame[column].isin(new)]
            frames.append(kept.assign(**{column: kept[column].map(new)}))
        found += len(names)
    return pd.concat(values, ignore_index=True), pd.concat(people, ignore_index=True)


def subjects(folder: Path, n_subjects: str) -> Call:
    """Write a dataset of small scans: one head under the names of so many subjects."""

    def write() -> None:
        write_subjects(folder / "bids", int(n_subjects), "small")

    return write


def _scan(shape: tuple[str, ...], n_echoes: int) -> tuple[Acquisition, Tensor]:
    x, y, z = map(int, shape)
    size: Shape = (x, y, z)
    times_s = tuple(0.004 + STEP_S * echo for echo in range(n_echoes))
    grid = centred_grid(size, SIZE_MM, centre_mm=CENTRE_MM)
    acquisition = Acquisition(grid, times_s, FIELD_STRENGTH_T, times_s[-1] + 0.02, 15.0)
    sampled = poisson_disk(
        (y, z),
        acceleration=ACCELERATION,
        calibration=CALIBRATION,
        seed=1,
        voxel_size_mm=SIZE_MM[1:],
    )
    return acquisition, sampled
