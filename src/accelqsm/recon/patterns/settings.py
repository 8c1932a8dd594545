"""Settings of a sampling pattern."""

from __future__ import annotations

from dataclasses import dataclass

from accelqsm.options.setting import Settings, setting

PATTERN = "pattern"
"""Table of the settings of a pattern."""
ORDERS = RASTER, CENTRE_OUT = "raster", "centre-out"
LARGEST_PLANE = 4096
"""Encoding steps along an axis, of which an MRD file has at most 65536."""


@dataclass(frozen=True)
class PatternSettings(Settings):
    """Settings of a sampling pattern: plane, acceleration, centre, seed and order."""

    shape: tuple[int, int] = setting(
        least=1,
        most=LARGEST_PLANE,
        metavar=("NY", "NZ"),
        help="encoding steps of the full plane along both phase-encoding directions",
    )
    acceleration: float = setting(
        least=1,
        most=1e6,
        metavar="AF",
        help="positions of the full rectangle over samples, centre and corners included",
    )
    calibration: tuple[int, int] = setting(
        (24, 24),
        least=0,
        most=LARGEST_PLANE,
        metavar=("NY", "NZ"),
        help="size of the fully sampled centre, for sensitivities and phase",
    )
    voxel_size_mm: tuple[float, float] = setting(
        (1.0, 1.0),
        above=0,
        most=1000,
        unit="mm",
        metavar=("DY", "DZ"),
        help="voxels along both phase-encoding directions; thin voxels get fewer of their highest "
        "frequencies",
    )
    ellipse: bool = setting(False, help="leave out the corners of the rectangle")
    seed: int = setting(
        0, least=0, most=2**32 - 1, help="seed of the pattern: the same seed, the same positions"
    )
    echoes: int = setting(
        1,
        least=1,
        most=1000,
        help="a pattern of its own for each of so many echoes; of 1, one pattern for all echoes",
    )
    order: str = setting(
        RASTER,
        choices=ORDERS,
        help="in which samples are played: line by line of ky, along kz back and forth; or by "
        "their distance from the zero frequency",
    )

    @property
    def n_samples(self) -> int:
        """Samples of a pattern."""
        return round(self.shape[0] * self.shape[1] / self.acceleration)
