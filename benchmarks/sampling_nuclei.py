"""Poisson-disk density, shutter and the phase about the nuclei, at the demo's grid and AF 5.

The first head of the cohort of ``recon_nuclei.py``, which that benchmark leaves out, with 8
channels, first and last echo, the network of all channels. Prints, per centre and pattern, the
standard deviation of the phase from first to last echo about the nuclei less that without noise,
and by how many per cent the field of each nucleus in it is too large (least squares on the fields
of all seven together).

Usage: OMP_NUM_THREADS=1 python benchmarks/sampling_nuclei.py
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from accelqsm.dipole import forward_field
from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.kspace import KSpace
from accelqsm.recon.channels import prewhiten
from accelqsm.recon.network.protocol import Network
from accelqsm.recon.network.slabs import apply_network
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.sensitivities.espirit import espirit
from accelqsm.recon.weights import load_network
from accelqsm.runtime.memory import keep_freed_memory
from accelqsm.simulate.cohort import draw_cohort
from accelqsm.simulate.heads.head import LOOKUP, NUCLEI
from accelqsm.simulate.scanner import scan
from accelqsm.units import ppm_to_hz
from accelqsm.virtual.protocols import PROTOCOLS
from accelqsm.virtual.sampling import sampling_pattern
from accelqsm.virtual.scans import at_scan_resolution
from recon_nuclei import COHORT_SEED, LARGEST_COHORT, PRESET, head_of

ACCELERATION, SEED = 5, 1
CENTRES = ((64, 40), (40, 28), (24, 24), (24, 16))
NOISELESS = 1e7
ROOM_VOXELS = 4


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    keep_freed_memory()
    first, *_, last = PRESET.echo_times_s
    acquisition = dataclasses.replace(PRESET.acquisition, echo_times_s=(first, last))
    person = draw_cohort(LARGEST_COHORT, seed=COHORT_SEED)[0]
    head = head_of(person)
    labels, truth = at_scan_resolution(head, acquisition)
    x, y, z = _about(labels)
    turns_s = 2 * math.pi * (last - first)
    fields = torch.stack(
        [turns_s * _field_hz(labels, truth, nucleus)[x, y, z].flatten() for nucleus in NUCLEI]
    )
    full = sampling_pattern(PROTOCOLS["full"], PRESET, seed=SEED)
    size_mm = PRESET.voxel_size_mm[1:]
    ways: dict[str, Callable[..., Tensor]] = {
        "usual": poisson_disk,
        "isotropic": partial(poisson_disk, voxel_size_mm=size_mm),
        "isotropic, elliptical": partial(poisson_disk, voxel_size_mm=size_mm, ellipse=True),
    }
    patterns = {"full sampling": full} | {
        f"{centre[0]} x {centre[1]}, {way}": draw(
            (full.shape[0], full.shape[1]),
            acceleration=ACCELERATION,
            calibration=centre,
            seed=SEED,
        )
        for centre in CENTRES
        for way, draw in ways.items()
    }

    def scans(snr: float, patterns: dict[str, Tensor]) -> dict[str, KSpace]:
        seed, n = person.seed % 2**20, PRESET.n_channels
        return scan(head, acquisition, patterns, n_channels=n, snr=snr, seed=seed)

    wanted = _phase_difference(scans(NOISELESS, {"full": full})["full"], x)[:, y, z].flatten()
    network = load_network("joint")
    print(f"| centre, pattern | phase, rad | {' | '.join(NUCLEI)} |")
    print(f"|---|{'---:|' * (1 + len(NUCLEI))}")
    for name, kspace in scans(PRESET.snr, patterns).items():
        way = None if name == "full sampling" else network
        found = _phase_difference(prewhiten(kspace), x, way)[:, y, z].flatten()
        sd, shares = _errors(found, wanted, fields)
        print(f"| {name} | {sd:.4f} | {' | '.join(f'{100 * s:+.1f}' for s in shares)} |")


def _about(labels: Tensor) -> tuple[slice, slice, slice]:
    """The box of all nuclei and some voxels about it."""
    index = (labels > 0).nonzero()
    x, y, z = (
        slice(int(low) - ROOM_VOXELS, int(high) + ROOM_VOXELS + 1)
        for low, high in zip(index.amin(0), index.amax(0), strict=True)
    )
    return x, y, z


def _field_hz(labels: Tensor, truth_ppm: Tensor, nucleus: str) -> Tensor:
    """Field of one nucleus, both sides, (x, y, z)."""
    inside = torch.isin(labels, torch.tensor([i for i, name in LOOKUP if name.endswith(nucleus)]))
    grid = PRESET.acquisition.grid
    field_ppm = forward_field(
        truth_ppm * inside, voxel_size_mm=grid.voxel_size_mm, b0_direction=grid.b0_direction
    )
    return ppm_to_hz(field_ppm, PRESET.acquisition.field_strength_t)


def _phase_difference(kspace: KSpace, x: slice, network: Network | None = None) -> Tensor:
    """Last echo times the first's conjugate, summed over channels, complex (x, y, z)."""
    if network is None:
        images = ifft(kspace.planes(x=x), PHASE_ENCODES)
        return (images[:, 1] * images[:, 0].conj()).sum(0)
    maps = espirit(kspace, x=x).supported
    first, last = (
        apply_network(network, kspace.planes(x=x, echoes=slice(e, e + 1)), kspace.sampled, maps)[0]
        for e in (0, 1)
    )
    return last * first.conj()


def _errors(found: Tensor, wanted: Tensor, fields: Tensor) -> tuple[float, list[float]]:
    """Standard deviation of the phase error, and each nucleus' field in it, weighted by signal."""
    error, weight = torch.angle(found * wanted.conj()), wanted.abs() / wanted.abs().mean()
    columns = torch.cat([fields, torch.ones(1, fields.shape[1])])
    root = weight.sqrt()
    fitted = torch.linalg.lstsq((columns * root).T, (error * root)[:, None]).solution[:-1, 0]
    return float((weight * error.square()).mean().sqrt()), fitted.tolist()


if __name__ == "__main__":
    main()
