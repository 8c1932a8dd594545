"""Heads for the benchmarks of nuclei: a gradient-echo scan and a T1w scan, each in its own pose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from accelqsm.acquisition import Acquisition
from accelqsm.files.nifti import read_image, write_image
from accelqsm.files.tables import write_table
from accelqsm.grid import Grid, centred_grid
from accelqsm.nuclei.volume import Volume, affine_transform, resample_to
from accelqsm.simulate.cohort import random_pose
from accelqsm.simulate.heads.deformation import Pose
from accelqsm.simulate.heads.head import LOOKUP, Head, digital_head
from accelqsm.simulate.mprage import T1W_GRID, t1w_scan
from accelqsm.simulate.scanner import transverse_signal

GRID: Grid = centred_grid((160, 200, 128), (1.0, 1.0, 1.0), centre_mm=(0.0, -17.0, 5.0))
ACQUISITION = Acquisition(
    GRID,
    (0.004, 0.010, 0.016, 0.022, 0.028),
    3.0,
    repetition_time_s=0.035,
    flip_angle_deg=15.0,
)
SNR, T1W_SNR, MAP_NOISE_PPM = 40.0, 25.0, 0.005


@dataclass(frozen=True)
class Person:
    """Who is scanned.

    Attributes:
        seed: of the anatomy.
        age_years: widens the ventricles.
        nuclei_chi_ppm: susceptibility by nucleus, or None for the usual.
    """

    seed: int
    age_years: float = 45.0
    nuclei_chi_ppm: Mapping[str, float] | None = None

    def head(self, grid: Grid, pose: Pose) -> Head:
        """The person as a scan on ``grid`` meets them."""
        return digital_head(
            grid,
            seed=self.seed,
            pose=pose,
            age_years=self.age_years,
            nuclei_chi_ppm=self.nuclei_chi_ppm,
        )


def scan_person(folder: Path, person: Person, *, pose: Pose, noise_seed: int) -> torch.Tensor:
    """Write ``mag``, ``Chimap`` (truth and 5 ppb of noise), ``dseg``, ``mask``; the echoes."""
    head = person.head(GRID, pose)
    echoes = transverse_signal(head, ACQUISITION, seed=noise_seed)
    rng = np.random.default_rng(noise_seed)
    level = float(echoes[0].abs()[head.brain].mean()) / SNR
    noise = torch.from_numpy(rng.standard_normal((2, *echoes.shape), dtype=np.float32))
    echoes = echoes + level * torch.complex(noise[0], noise[1])
    truth = (head.chi_ppm - head.chi_ppm[head.brain].mean()).numpy()
    chi = truth + MAP_NOISE_PPM * rng.standard_normal(GRID.shape, dtype=np.float32)
    brain = head.brain.numpy()
    write_image(folder / "mag.nii.gz", 1000 * echoes.abs().square().sum(0).sqrt().numpy(), GRID)
    write_image(folder / "Chimap.nii.gz", chi * brain, GRID)
    write_image(folder / "dseg.nii.gz", head.labels.numpy(), GRID)
    write_image(folder / "mask.nii.gz", brain, GRID)
    return echoes


def scan_t1w(
    folder: Path, person: Person, *, pose: Pose, noise_seed: int
) -> dict[str, npt.NDArray[Any]]:
    """Write ``T1w``; labels and brain on its grid."""
    head = person.head(T1W_GRID, pose)
    image = t1w_scan(head, snr=T1W_SNR, seed=noise_seed)
    write_image(folder / "T1w.nii.gz", image.numpy(), T1W_GRID)
    return {"dseg": head.labels.numpy(), "mask": head.brain.numpy()}


def write_template(
    folder: Path, person: Person, *, pose_seed: int, contrasts: tuple[str, ...] = ("mag",)
) -> None:
    """An atlas folder made of one person: T1w, other contrasts on its grid, mask, labels, lookup.

    ``contrasts`` are "mag" and "Chimap".
    """
    scratch = folder.parent / f"{folder.name}-scan"
    pose, t1w_pose = random_pose(pose_seed), random_pose(pose_seed + 1)
    scan_person(scratch, person, pose=pose, noise_seed=pose_seed)
    truth = scan_t1w(folder, person, pose=t1w_pose, noise_seed=pose_seed)
    to_scan = pose_matrix(pose) @ np.linalg.inv(pose_matrix(t1w_pose))
    for name in contrasts:
        own = read_image(scratch / f"{name}.nii.gz")
        there = resample_to(Volume(own.values, GRID), T1W_GRID, affine_transform(to_scan))
        write_image(folder / f"{name}.nii.gz", there.values, T1W_GRID)
    for name, values in truth.items():
        write_image(folder / f"{name}.nii.gz", values, T1W_GRID)
    write_table(
        folder / "dseg.tsv", pd.DataFrame([{"index": i, "name": name} for i, name in LOOKUP])
    )


def pose_matrix(pose: Pose) -> npt.NDArray[np.float64]:
    """World of the upright head to world of the scanner, 4 x 4."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = pose.rotation.numpy(), pose.translation_mm
    return matrix
