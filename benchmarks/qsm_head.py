"""The benchmark of phase to susceptibility: a scanned digital head, and the truth of each stage."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.api.images import read_images
from accelqsm.dipole import forward_field
from accelqsm.files.megre.echoes import Echoes
from accelqsm.files.nifti import read_image
from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.grid import Grid, Shape, Triple, as_affine, centred_grid
from accelqsm.simulate.cohort import random_pose
from accelqsm.simulate.field import field_map
from accelqsm.simulate.heads.head import Head, digital_head
from accelqsm.simulate.scanner import acquire, transverse_signal
from accelqsm.units import ppm_to_hz

FIELD_STRENGTH_T = 3.0
CENTRE_MM: Triple = (0.0, -17.0, 5.0)
CALCIFICATION_PPM, CALCIFICATION_RADIUS_MM = -2.0, 3.0
CALCIFICATION_DENSITY = 0.2
OFFSET_SPAN_RAD = math.pi
RECEIVE_DROP = 0.4
REFINEMENT = (2, 2, 2)
LARGEST_TISSUE_PPM = 0.27
"""Fine voxels beyond it hold bone or air and are background, even where the brain's edge is."""

LEAST_TISSUE = 0.75
"""Share of an acquired voxel that is tissue of the brain, from which on it is brain."""


@dataclass(frozen=True)
class Protocol:
    """What the scanner does: matrix, voxel, echo times in seconds, and tilt of the slices."""

    shape: Shape
    voxel_size_mm: Triple
    echo_times_s: tuple[float, ...]
    tilt_deg: float = 0.0

    @property
    def fine_grid(self) -> Grid:
        """The grid on which heads are made, twice as fine."""
        return self.acquisition.grid.refined(REFINEMENT)

    @property
    def acquisition(self) -> Acquisition:
        """The acquisition, its slices tilted about the left-right axis."""
        grid = centred_grid(self.shape, self.voxel_size_mm, centre_mm=CENTRE_MM)
        return Acquisition(
            _tilted(grid, self.tilt_deg),
            self.echo_times_s,
            FIELD_STRENGTH_T,
            repetition_time_s=max(0.030, self.echo_times_s[-1] + 0.007),
            flip_angle_deg=15.0,
        )


ANCHOR = Protocol((108, 132, 74), (1.5, 1.5, 2.0), (0.004, 0.010, 0.016, 0.022, 0.028))
OBLIQUE = dataclasses.replace(ANCHOR, tilt_deg=20.0)
PAPER = Protocol(
    (208, 248, 74), (0.8, 0.8, 2.0), tuple(round(0.0033 + 0.0031 * n, 4) for n in range(8))
)


@dataclass(frozen=True)
class Case:
    """One scanned head; every volume is (x, y, z) on the acquired grid.

    Attributes:
        acquisition: grid, echo times and field strength.
        images: complex (1, echo, x, y, z), one channel with a phase offset of its own.
        quiet_images: the same without noise.
        brain: bool, the true brain.
        field_hz: true total field, shimmed.
        local_field_hz: true field of the sources inside ``brain``.
        chi_ppm: true susceptibility, of mean zero over ``brain``, zero outside.
        labels: nuclei, indices as in ``simulate.head.LOOKUP``.
        noise_sd: of the noise in the real part of an image.
    """

    acquisition: Acquisition
    images: Tensor
    quiet_images: Tensor
    brain: Tensor
    field_hz: Tensor
    local_field_hz: Tensor
    chi_ppm: Tensor
    labels: Tensor
    noise_sd: float


def foreign_head(folder: Path) -> tuple[Echoes, Tensor, Tensor]:
    """Echoes of a head of another origin, its true susceptibility in ppm, and its brain."""
    chi, mask = (read_image(folder / f"{name}.nii.gz").values for name in ("chi_truth", "mask"))
    chi_ppm = torch.from_numpy(np.asarray(chi, np.float32))
    return read_images(folder), chi_ppm, torch.from_numpy(np.asarray(mask) > 0)


def scanned_head(protocol: Protocol, *, seed: int, snr: float) -> Case:
    """Simulate a head at twice the resolution, and scan it by cropping k-space.

    Args:
        protocol: what the scanner does.
        seed: of the person, the pose, the shim and the noise.
        snr: brightest brain (99th percentile) of the first echo over the noise sd per component.
    """
    head = digital_head(protocol.fine_grid, seed=seed, pose=random_pose(seed))
    calcified = calcified_ball(head, seed=seed)
    head = dataclasses.replace(
        head,
        chi_ppm=torch.where(calcified, CALCIFICATION_PPM, head.chi_ppm),
        proton_density=torch.where(calcified, CALCIFICATION_DENSITY, head.proton_density),
    )
    tissue = head.brain & (head.chi_ppm.abs() < LARGEST_TISSUE_PPM) | calcified
    return scan_of(head, tissue, protocol, seed=seed, snr=snr)


def scan_of(head: Head, tissue: Tensor, protocol: Protocol, *, seed: int, snr: float) -> Case:
    """Scan a head on the fine grid of a protocol; ``tissue`` is what sources of the brain are."""
    acquisition, fine = protocol.acquisition, head.grid
    brain = largest_part(averaged(tissue.float()) > LEAST_TISSUE)
    source = tissue & upsampled(brain)
    chi = (head.chi_ppm - head.chi_ppm[source].mean()) * source
    local_hz = ppm_to_hz(
        forward_field(
            chi, voxel_size_mm=fine.voxel_size_mm, b0_direction=fine.b0_direction, padding=1.5
        ),
        FIELD_STRENGTH_T,
    )
    # What background is left is smooth in the brain, and its mean over a voxel tells it; to crop
    # its k-space would let the jumps at bone and air ring into the brain.
    background_hz = averaged(
        field_map(head, field_strength_t=FIELD_STRENGTH_T, seed=seed) - local_hz
    )
    local_hz = crop_to_nonzero(local_hz)
    quiet = _scanned(head, acquisition, seed=seed)
    noise_sd = float(np.quantile(quiet[0, 0].abs()[brain].numpy(), 0.99)) / snr
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(*quiet.shape, 2, generator=generator) * noise_sd
    return Case(
        acquisition=acquisition,
        images=quiet + torch.view_as_complex(noise),
        quiet_images=quiet,
        brain=brain,
        field_hz=background_hz + local_hz,
        local_field_hz=local_hz,
        chi_ppm=crop_to_nonzero(chi) * brain,
        labels=head.labels[_coarse_points(head.labels.shape)] * brain,
        noise_sd=noise_sd,
    )


def calcified_ball(head: Head, *, seed: int) -> Tensor:
    """Where a ball beside the ventricles is calcified, bool on the head's grid."""
    rng = np.random.default_rng([seed, 21])
    centre = np.array([rng.choice([-1, 1]) * rng.uniform(26, 34), rng.uniform(-45, 15), 26.0])
    offset = head.grid.world_mm() - centre[:, None, None, None].astype(np.float32)
    distance = torch.from_numpy(np.sqrt((offset**2).sum(0)))
    return (distance < CALCIFICATION_RADIUS_MM) & head.brain


def crop_to_nonzero(fine: Tensor) -> Tensor:
    """What k-space of the acquired size holds of a volume of half the voxel size."""
    x, y, z = (n // 2 for n in fine.shape)
    return ifft(acquire(fine.to(torch.complex64), (x, y, z)), PHASE_ENCODES).real


def averaged(fine: Tensor) -> Tensor:
    """Mean over each acquired voxel of a volume of half the voxel size, centred as k-space is."""
    for axis, n in enumerate(fine.shape):
        before, after = fine.roll(1, axis), fine.roll(-1, axis)
        mean = 0.5 * fine + 0.25 * (before + after)
        fine = mean.index_select(axis, torch.arange(_first(n), n, 2))
    return fine


def upsampled(coarse: Tensor) -> Tensor:
    """The fine voxels nearest to each acquired voxel, which holds them and half of the next."""
    for axis, n in enumerate(coarse.shape):
        index = (torch.arange(2 * n) - _first(2 * n) + 1).div(2, rounding_mode="floor")
        coarse = coarse.index_select(axis, index.clamp(0, n - 1))
    return coarse


def largest_part(mask: Tensor) -> Tensor:
    """The largest part of a mask that is connected through faces."""
    labels, _ = ndimage.label(mask.numpy())
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return torch.from_numpy(labels == sizes.argmax())


def _first(n_fine: int) -> int:
    """Fine index of the first acquired voxel's centre."""
    return n_fine // 2 - 2 * (n_fine // 4)


def _coarse_points(shape: torch.Size) -> tuple[slice, slice, slice]:
    x, y, z = (slice(_first(n), None, 2) for n in shape)
    return x, y, z


def _scanned(head: Head, acquisition: Acquisition, *, seed: int) -> Tensor:
    """Images of one channel without noise, (1, echo, x, y, z)."""
    receive = _receive(head.grid.shape, seed)
    echoes = transverse_signal(head, acquisition, seed=seed)
    shape = acquisition.grid.shape
    return torch.stack([ifft(acquire(e * receive, shape), PHASE_ENCODES) for e in echoes])[None]


def _receive(shape: Shape, seed: int) -> Tensor:
    """A smooth receive profile: quadratic phase that spans pi, brightest at the rim."""
    rng = np.random.default_rng([seed, 22])
    x, y, z = (
        torch.linspace(-1, 1, n).view([-1 if a == i else 1 for a in range(3)])
        for i, n in enumerate(shape)
    )
    tilt = rng.normal(0, 0.3, 3)
    square = (x**2 + y**2 + z**2) / 3
    phase = OFFSET_SPAN_RAD * (square + tilt[0] * x + tilt[1] * y + tilt[2] * z)
    return torch.polar(1 - RECEIVE_DROP * (1 - square), phase + float(rng.uniform(-3, 3)))


def _tilted(grid: Grid, tilt_deg: float) -> Grid:
    """The grid turned about scanner x through the point ``CENTRE_MM``."""
    angle = math.radians(tilt_deg)
    turn = np.eye(4)
    turn[1:3, 1:3] = [
        [math.cos(angle), -math.sin(angle)],
        [math.sin(angle), math.cos(angle)],
    ]
    turn[:3, 3] = np.asarray(CENTRE_MM) - turn[:3, :3] @ np.asarray(CENTRE_MM)
    return Grid(grid.shape, as_affine(turn @ grid.matrix))
