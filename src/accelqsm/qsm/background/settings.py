"""Settings of each background field removal method."""

from __future__ import annotations

from dataclasses import dataclass

from accelqsm.options.setting import Settings, setting


@dataclass(frozen=True)
class DipoleFitSettings(Settings):
    """Settings of the joint fit of dipoles outside and inside the mask."""

    n_coarse: int = setting(
        120,
        least=0,
        most=10_000,
        help="iterations on voxels of about 3 mm, before those on the voxels",
    )
    n_fine: int = setting(30, least=1, most=10_000, help="iterations on the voxels themselves")


@dataclass(frozen=True)
class VsharpSettings(Settings):
    """Settings of vSHARP."""

    radii_mm: tuple[float, ...] = setting(
        (8.0, 6.0, 5.0, 4.0, 3.0),
        above=0,
        most=100,
        unit="mm",
        help="radii of the balls; the mask is eroded by the smallest",
    )
    threshold: float = setting(
        0.02, least=1e-3, most=1, help="spectral truncation of the deconvolution"
    )
