"""Settings of each dipole inversion method."""

from __future__ import annotations

from dataclasses import dataclass

from accelqsm.options.setting import Settings, setting

STRUCTURE_ITERATIONS = (16, 26)
"""Iterations after which the estimate tells edges; contrast is given back after the last."""


@dataclass(frozen=True)
class L1Settings(Settings):
    """Settings of the inversion with an L1 penalty on the gradient."""

    regularisation: float = setting(
        9e-4,
        least=1e-8,
        most=10,
        unit="ppm mm",
        help="weight of the gradient against that of the field",
    )
    small_gradient: float = setting(
        1e-3,
        least=0,
        most=10,
        unit="ppm/mm",
        help="gradient below which its weight is quadratic, so that values do not move with noise",
    )
    edge_gradient: float = setting(
        0.002,
        above=0,
        most=1000,
        unit="ppm/mm",
        help="gradient of susceptibility, smoothed by 1.2 mm, that halves its weight along an "
        "axis, with dynamic structure",
    )
    magnitude_edges: bool = setting(
        True,
        help="smooth less across edges of late echoes' magnitude, and of R2* where it is known",
        said="less smoothing across edges of the magnitude, and of R2* where it is known",
    )
    dynamic_noise: bool = setting(
        True,
        help="reduce the weight of voxels whose field no source explains, during the inversion",
        said="noise weights learnt during the inversion",
    )
    dynamic_structure: bool = setting(
        True,
        help="smooth less across edges of susceptibility that are found during the inversion",
        said="less smoothing across edges found during the inversion",
    )
    restore_contrast: bool = setting(
        True,
        help="add back to the field what the penalty has taken of it, after 26 iterations; it acts "
        "over the ten that follow",
        said="contrast that the penalty takes given back once (Osher et al. 2005)",
        citations=("bregman",),
    )
    dynamic_scale: bool = setting(
        False,
        help="estimate the regularisation during the inversion; nuclei then fall as noise rises, "
        "by 6 to 8 % from a signal-to-noise ratio of 100 to one of 25",
        said="a scale learnt during the inversion",
    )
    n_iterations: int = setting(40, least=1, most=10_000, help="most iterations")
    tolerance: float = setting(1e-3, least=0, below=1, help="relative change at which to stop")

    @property
    def idle(self) -> frozenset[str]:
        """Terms that would act after the last iteration."""
        first, last = min(STRUCTURE_ITERATIONS), max(STRUCTURE_ITERATIONS)
        acts_after = {"dynamic_structure": first, "restore_contrast": last}
        return frozenset(name for name, after in acts_after.items() if self.n_iterations <= after)
