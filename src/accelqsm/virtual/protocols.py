"""Protocols of the simulated study, and presets of the simulated scanner."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelqsm.acquisition import Acquisition
    from accelqsm.grid import Shape, Triple


@dataclass(frozen=True)
class Protocol:
    """Scan protocol: acceleration and the reconstruction that belongs to it.

    Attributes:
        name: name in files and on the command line.
        label: label in tables and figures.
        acceleration: positions of the full (ky, kz) plane over sampled positions.
        method: "zero-filled" (fully sampled), "grappa" or "reconnet3d".
        place: tells its noise, pattern and pose from those of other protocols of a head.
        session: protocol whose scan it is drawn from, with its noise and pose, as if that had been
            sampled fully; itself where it is empty.
    """

    name: str
    label: str
    acceleration: float
    method: str
    place: int
    session: str = ""

    @property
    def poisson_disk(self) -> bool:
        """Whether it samples Poisson disks, or the positions of a table in their place."""
        return self.method == "reconnet3d"


T1W_PLACE = 6
"""Of the T1-weighted scan."""

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("full", "full", 1.0, "zero-filled", 0),
        Protocol("pi", "PI", 2.0, "grappa", 1),
        Protocol("pi-rescan", "PI rescan", 2.0, "grappa", 2),
        Protocol("af3", "AF3", 3.0, "reconnet3d", 3),
        Protocol("af4", "AF4", 4.0, "reconnet3d", 4),
        Protocol("af5", "AF5", 5.0, "reconnet3d", 5),
        Protocol("af8", "AF8", 8.0, "reconnet3d", 7),
        Protocol("af3-retro", "AF3 of PI", 3.0, "reconnet3d", 8, session="pi"),
        Protocol("af4-retro", "AF4 of PI", 4.0, "reconnet3d", 9, session="pi"),
        Protocol("af5-retro", "AF5 of PI", 5.0, "reconnet3d", 10, session="pi"),
    )
}


@dataclass(frozen=True)
class Preset:
    """Settings of the simulated scanner, and of the heads in it.

    Attributes:
        shape, voxel_size_mm: image grid (x is the readout).
        echo_times_s, repetition_time_s, flip_angle_deg: parameters of the spoiled gradient echo.
        n_channels: receive channels.
        snr: signal of white matter in the combined, fully sampled image at TE 0 over the noise SD.
        refinement: simulated voxels per scanned voxel along each axis.
        calibration_lines: fully sampled lines along y in the middle of a regular pattern.
        calibration: fully sampled centre of a Poisson-disk pattern along (y, z), up to 0.09
            cycles/mm; a larger one leaves too few samples for the edges of small nuclei at AF 5.
        moves_between_scans: whether the head is in a different pose for every protocol.
        t1w_voxel_mm: voxel size of the T1-weighted image.
        anatomy: name of ``heads.variety.VARIETIES``, how much the heads differ.
        pattern: table of the positions that protocols of Poisson disks sample in their place; none
            where it is empty.
    """

    shape: Shape
    voxel_size_mm: Triple
    echo_times_s: tuple[float, ...]
    repetition_time_s: float
    flip_angle_deg: float
    n_channels: int
    snr: float
    refinement: tuple[int, int, int]
    calibration_lines: int
    calibration: tuple[int, int]
    moves_between_scans: bool
    t1w_voxel_mm: float = 1.0
    anatomy: str = "near-template"
    pattern: str = ""

    def scan_bytes(self, protocol: str) -> int:
        """Least size of a scan's file: its samples, complex in single precision."""
        samples = math.prod(self.shape) * len(self.echo_times_s) * self.n_channels
        return round(8 * samples / PROTOCOLS[protocol].acceleration)

    @property
    def acquisition(self) -> Acquisition:
        """Acquisition on an axial grid centred on the head."""
        from accelqsm.acquisition import Acquisition
        from accelqsm.grid import centred_grid

        return Acquisition(
            grid=centred_grid(self.shape, self.voxel_size_mm, centre_mm=HEAD_CENTRE_MM),
            echo_times_s=self.echo_times_s,
            field_strength_t=3.0,
            repetition_time_s=self.repetition_time_s,
            flip_angle_deg=self.flip_angle_deg,
        )


HEAD_CENTRE_MM = (0.0, -16.0, 8.0)
"""Centre of a head in template space (mm)."""

# SNR grows with the voxel's volume and the root of the number of samples: 60 at the paper's grid
# would be 130 at the demo's.
PRESETS = {
    "small": Preset(
        shape=(54, 66, 40),
        voxel_size_mm=(3.2, 3.2, 4.0),
        echo_times_s=(0.004, 0.010, 0.016),
        repetition_time_s=0.0302,
        flip_angle_deg=15.0,
        n_channels=3,
        snr=120.0,
        refinement=(2, 2, 2),
        calibration_lines=12,
        calibration=(12, 12),
        moves_between_scans=False,
        t1w_voxel_mm=2.0,
    ),
    "demo": Preset(
        shape=(84, 264, 76),
        voxel_size_mm=(2.0, 0.8, 2.0),
        echo_times_s=(0.004, 0.010, 0.016, 0.022),
        repetition_time_s=0.0302,
        flip_angle_deg=15.0,
        n_channels=8,
        snr=120.0,
        refinement=(2, 2, 2),
        calibration_lines=24,
        calibration=(40, 28),
        moves_between_scans=False,
    ),
    "paper": Preset(
        shape=(300, 280, 96),
        voxel_size_mm=(0.8, 0.8, 2.0),
        echo_times_s=tuple(round(0.0033 + 0.0031 * n, 4) for n in range(8)),
        repetition_time_s=0.0302,
        flip_angle_deg=15.0,
        n_channels=32,
        snr=60.0,
        refinement=(2, 2, 2),
        calibration_lines=24,
        calibration=(44, 36),
        moves_between_scans=True,
    ),
}
