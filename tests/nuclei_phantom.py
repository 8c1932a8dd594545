"""Small heads and atlases for the tests of nuclei."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.files.nifti import write_image
from accelqsm.files.tables import write_table
from accelqsm.grid import Grid, as_affine, centred_grid
from accelqsm.nuclei.volume import Volume
from accelqsm.simulate.heads.deformation import Pose
from accelqsm.simulate.heads.head import LOOKUP, Head, digital_head
from accelqsm.simulate.mprage import t1w_scan
from accelqsm.simulate.signal import spoiled_gradient_echo

GRID = centred_grid((64, 76, 48), (2.2, 2.2, 2.2), centre_mm=(0.0, -17.0, 5.0))


def pose_matrix(pose: Pose) -> npt.NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = pose.rotation.numpy(), pose.translation_mm
    return matrix


@cache
def head(seed: int, pose: Pose, grid: Grid = GRID) -> Head:
    return digital_head(grid, seed=seed, pose=pose)


def t1w(seed: int, pose: Pose, *, noise_seed: int = 0, grid: Grid = GRID) -> Volume:
    return Volume(t1w_scan(head(seed, pose, grid), snr=25.0, seed=noise_seed).numpy(), grid)


def magnitude(seed: int, pose: Pose, *, noise_seed: int = 0, grid: Grid = GRID) -> Volume:
    person = head(seed, pose, grid)
    signal = spoiled_gradient_echo(
        person.proton_density, person.t1_s, repetition_time_s=0.035, flip_angle_deg=15.0
    )
    values = (1e4 * signal * (-0.02 * person.r2star_per_s).exp()).numpy()
    noise = np.random.default_rng(noise_seed).standard_normal((2, *grid.shape), dtype=np.float32)
    return Volume(np.hypot(values + 15 * noise[0], 15 * noise[1]), grid)


def lookup() -> pd.DataFrame:
    return pd.DataFrame([{"index": i, "name": name} for i, name in LOOKUP])


def write_atlas(folder: Path, seed: int, pose: Pose) -> Path:
    person = head(seed, pose)
    write_image(folder / "T1w.nii.gz", t1w(seed, pose).values, GRID)
    write_image(folder / "mag.nii.gz", magnitude(seed, pose).values, GRID)
    write_image(folder / "dseg.nii.gz", person.labels.numpy(), GRID)
    write_image(folder / "mask.nii.gz", person.brain.numpy(), GRID)
    write_table(folder / "dseg.tsv", lookup())
    return folder


def write_scan(folder: Path, seed: int, pose: Pose, *, noise_seed: int = 3) -> Path:
    person = head(seed, pose)
    chi = (person.chi_ppm - person.chi_ppm[person.brain].mean()) * person.brain
    write_image(folder / "Chimap.nii.gz", chi.numpy(), GRID)
    write_image(folder / "mag.nii.gz", magnitude(seed, pose, noise_seed=noise_seed).values, GRID)
    write_image(folder / "dseg.nii.gz", person.labels.numpy(), GRID)
    write_table(folder / "dseg.tsv", lookup())
    return folder


def reoriented(volume: Volume, axes: tuple[int, ...], flips: tuple[int, ...]) -> Volume:
    """The same image, its axes stored in another order and direction."""
    values = np.transpose(volume.values, axes)
    matrix = volume.grid.matrix[:, [*axes, 3]].copy()
    for axis in flips:
        values = np.flip(values, axis)
        matrix[:3, 3] += matrix[:3, axis] * (values.shape[axis] - 1)
        matrix[:3, axis] *= -1
    x, y, z = values.shape
    return Volume(np.ascontiguousarray(values), Grid((x, y, z), as_affine(matrix)))


def dice(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())
