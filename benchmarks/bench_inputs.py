"""Inputs of the stages that are measured beside their peers: digital heads, and their truth.

``slab``: readout positions about the nuclei, with the (ky, kz) plane of the demo, seen by 8
channels of the simulated head coil, one echo. ``head``: the scanned head of ``qsm_head``.
``phase``: the phantom of ``unwrapping``. ``people``: two heads for registration. Peers find arrays
and BART's files there, and need nothing of this package to read them.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.fourier import PHASE_ENCODES, READOUT, fft, ifft
from accelqsm.grid import Grid, Shape, Triple, centred_grid
from accelqsm.kspace import KSpace
from accelqsm.nuclei.volume import isotropic_grid
from accelqsm.qsm.chain import dipole_inversion, known_mask, local_field, total_field
from accelqsm.qsm.field.lags import lag_products
from accelqsm.recon.sampling import poisson_disk, regular
from accelqsm.recon.sense import unit_maps
from accelqsm.recon.sensitivities.espirit import espirit
from accelqsm.simulate.cohort import random_pose
from accelqsm.simulate.coils import head_coil
from accelqsm.simulate.heads.head import digital_head
from accelqsm.simulate.mprage import T1W_GRID, t1w_scan
from accelqsm.simulate.scanner import acquire, transverse_signal
from bart_files import write_cfl
from qsm_head import ANCHOR, FIELD_STRENGTH_T, Protocol, scanned_head
from unwrapping import noisy, phantom

SEED, SNR = 62, 100.0
SHAPE, SIZE_MM, CALIBRATION = (32, 264, 76), (2.0, 0.8, 2.0), (40, 28)
QUICK_SHAPE, QUICK_SIZE_MM, QUICK_CALIBRATION = (16, 88, 40), (2.0, 2.2, 3.6), (20, 16)
CENTRE_MM: Triple = (-14.0, -17.0, 5.0)
ECHO_TIME_S, N_CHANNELS, ACCELERATION = 0.010, 8, 4
QUICK_HEAD = Protocol((54, 66, 37), (3.0, 3.0, 4.0), ANCHOR.echo_times_s)
HEAD_SEED, PERSON_SEED, TEMPLATE_SEED = 205, 63, 64
T1W_SNR, T1W_MM, QUICK_T1W_MM = 25.0, 1.5, 3.0

Call = Callable[[], None]


def slab(folder: Path, kind: str, seed: str = str(SEED)) -> Call:
    """Write the samples of a slab, at Poisson disks and at every second line."""

    def write() -> None:
        quick, number = kind == "quick", int(seed)
        shape, size_mm, centre = (
            (QUICK_SHAPE, QUICK_SIZE_MM, QUICK_CALIBRATION)
            if quick
            else (SHAPE, SIZE_MM, CALIBRATION)
        )
        echo, coil, acquisition = seen(shape, size_mm, seed=number)
        np.save(folder / "echo.npy", echo.numpy())
        np.save(folder / "coil.npy", coil.numpy())
        plane = (shape[1], shape[2])
        poisson = poisson_disk(
            plane,
            acceleration=ACCELERATION,
            calibration=centre,
            seed=number,
            voxel_size_mm=size_mm[1:],
        )
        lines = regular(plane, acceleration=(2, 1), calibration=centre)
        for name, sampled in (("poisson", poisson), ("lines", lines)):
            kspace = measured(echo, coil, sampled, acquisition, seed=number)
            (folder / f"{name}.pickle").write_bytes(pickle.dumps(kspace))
            spectrum = fft(kspace.planes()[:, 0], READOUT).numpy()
            np.save(folder / f"{name}.npy", spectrum)
            if name == "poisson":
                found = espirit(kspace).supported
                np.save(folder / "maps.npy", found.numpy())
                write_cfl(folder / "k", spectrum.transpose(1, 2, 3, 0))
                write_cfl(folder / "s", found.permute(1, 2, 3, 0).numpy())
        (folder / "centre.txt").write_text(f"{min(shape[0], 24)} {centre[0]} {centre[1]}")

    return write


def seen(shape: Shape, size_mm: Triple, *, seed: int) -> tuple[Tensor, Tensor, Acquisition]:
    """One echo (x, y, z) of the brain, the sensitivities (channel, x, y, z), and the scan."""

    def scan(refinement: int) -> Acquisition:
        x, y, z = (n * refinement for n in shape)
        a, b, c = (size / refinement for size in size_mm)
        grid = centred_grid((x, y, z), (a, b, c), centre_mm=CENTRE_MM)
        return Acquisition(grid, (ECHO_TIME_S,), 3.0, 0.04, 15.0)

    fine = scan(2)
    head = digital_head(fine.grid, seed=seed)
    signal = next(iter(transverse_signal(head, fine, seed=seed))) * head.brain
    coil = head_coil(scan(1).grid, n_channels=N_CHANNELS, seed=seed)
    maps = unit_maps(torch.stack(list(coil)).to(torch.complex64))
    return ifft(acquire(signal, shape), PHASE_ENCODES), maps, scan(1)


def measured(
    echo: Tensor, coil: Tensor, sampled: Tensor, acquisition: Acquisition, *, seed: int
) -> KSpace:
    """Noisy samples; the noise of the combined image is the mean signal over SNR."""
    magnitude = echo.abs()
    noise_sd = float(magnitude[magnitude > 0.1 * magnitude.max()].mean()) / SNR
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(*coil.shape, generator=generator, dtype=torch.complex64) * noise_sd
    samples = (fft(coil * echo, PHASE_ENCODES) + noise)[:, None, ..., sampled]
    return KSpace(acquisition, sampled, samples.numpy())


def head(folder: Path, kind: str) -> Call:
    """Write a scanned head with its truth, and the local field and map that the chain finds."""

    def write() -> None:
        case = scanned_head(QUICK_HEAD if kind == "quick" else ANCHOR, seed=HEAD_SEED, snr=SNR)
        acquisition = case.acquisition
        total = total_field(
            lag_products(case.images, echo_times_s=acquisition.echo_times_s),
            grid=acquisition.grid,
            field_strength_t=FIELD_STRENGTH_T,
        )
        local = local_field(total.field_hz, total.subject)
        left = known_mask(local, total.subject)
        found = (local, left, total.subject)
        chi_ppm = dipole_inversion(*found)
        (folder / "case.pickle").write_bytes(pickle.dumps(case))
        (folder / "found.pickle").write_bytes(pickle.dumps(found))
        np.save(folder / "magnitude.npy", case.images[0, 0].abs().numpy())
        np.save(folder / "affine.npy", acquisition.grid.matrix)
        np.save(folder / "chi.npy", chi_ppm.double().numpy())
        np.save(folder / "true_chi.npy", case.chi_ppm.double().numpy())

    return write


def phase(folder: Path, kind: str) -> Call:
    """Write a wrapped phase with its magnitude, brain and true phase."""

    def write() -> None:
        whole = phantom(HEAD_SEED)
        image = noisy(whole, SNR)
        every = slice(None, None, 2 if kind == "quick" else 1)
        volumes = {
            "wrapped": image.angle(),
            "strength": image.abs(),
            "brain": whole.brain,
            "true_phase": whole.phase_rad,
        }
        for name, values in volumes.items():
            np.save(folder / f"{name}.npy", values[:, :, every].contiguous().numpy())

    return write


def people(folder: Path, kind: str) -> Call:
    """Write T1w images of two heads, one of them in two poses, with labels, brain and poses."""

    def write() -> None:
        grid = isotropic_grid(T1W_GRID, QUICK_T1W_MM if kind == "quick" else T1W_MM)
        scans = {
            "fixed": (PERSON_SEED, 1),
            "moved": (PERSON_SEED, 2),
            "template": (TEMPLATE_SEED, 3),
        }
        for name, (seed, pose_seed) in scans.items():
            _write_t1w(folder / name, grid, seed, pose_seed)

    return write


def _write_t1w(stem: Path, grid: Grid, seed: int, pose_seed: int) -> None:
    pose = random_pose(pose_seed)
    person = digital_head(grid, seed=seed, pose=pose)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = pose.rotation.numpy(), pose.translation_mm
    np.savez(
        stem.with_suffix(".npz"),
        image=t1w_scan(person, snr=T1W_SNR, seed=pose_seed).numpy().astype(np.float32),
        labels=person.labels.numpy(),
        brain=person.brain.numpy(),
        affine=grid.matrix,
        pose=matrix,
    )
