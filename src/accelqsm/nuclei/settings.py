"""Settings of the measurement of nuclei, and of the registration to a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from accelqsm.errors import InputError
from accelqsm.options.setting import Settings, setting
from accelqsm.reference.registry import REFERENCES

COARSE_MM = 2.0
"""Voxel size of the coarse registration."""

FIRST_RUN_MM = 2.5
"""Voxel size at which a first run of SyN may end: it tells how bright each nucleus is, for which
its place to a voxel suffices."""


def _names(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for word in words for name in word.split(",") if name)


@dataclass(frozen=True)
class MeasureSettings(Settings):
    """Settings of the measurement of nuclei."""

    reference: str = setting(
        "brain", registry=REFERENCES, help="reference region of zero susceptibility"
    )
    erosion_mm: float = setting(
        0.0,
        least=0,
        most=1000,
        unit="mm",
        flag="erode-mm",
        help="erosion of the labels: voxels nearer to the edge are left out",
    )
    weighted: bool = setting(
        False, help="weigh voxels with the probability of the label instead of counting whole ones"
    )
    threshold: float = setting(
        0.5, above=0, most=1, help="least probability of a voxel's label in a probabilistic atlas"
    )
    min_voxels: int = setting(
        3, least=1, most=10**9, help="a nucleus of fewer voxels has no value (n/a)"
    )
    regions: tuple[str, ...] | None = setting(
        None,
        words=_names,
        metavar="NAME,NAME",
        help="which nuclei, in order; by default the study's seven where an atlas has them",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weighted and self.erosion_mm:
            raise InputError("--erode-mm: expected 0 with --weighted, which takes no labels")


@dataclass(frozen=True)
class SynSettings(Settings):
    """Settings of the deformable registration (SyN) near the nuclei."""

    spacing_mm: float = setting(
        1.25, least=0.01, most=20, unit="mm", help="voxel size at which images are compared"
    )
    iterations: tuple[int, ...] = setting(
        (24, 6, 3), least=0, most=10_000, help="iterations at each resolution, coarsest first"
    )
    step: float = setting(0.4, above=0, most=10, unit="voxels", help="gradient step")
    radius: int = setting(
        1, least=1, most=20, unit="voxels", help="radius of the local correlation window"
    )
    smoothing_voxels: float = setting(
        2.5,
        least=0,
        most=100,
        unit="voxels^2",
        help="variance of the smoothing of each update",
    )
    margin_mm: float = setting(
        10.0,
        least=0,
        most=1000,
        unit="mm",
        help="margin around the nuclei in which images are compared",
    )

    @property
    def coarse(self) -> SynSettings:
        """Settings of a first run: no finest level, if the next one is 2.5 mm or finer."""
        if not self.iterations or 2 * self.spacing_mm > FIRST_RUN_MM:
            return self
        return replace(self, iterations=(*self.iterations[:-1], 0))

    @property
    def fine(self) -> SynSettings:
        """Settings of a second run, which continues the first: without the coarsest level."""
        return replace(self, iterations=self.iterations[1:] or self.iterations)
