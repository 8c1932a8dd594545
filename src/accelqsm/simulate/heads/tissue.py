"""Magnetic properties and relaxation of each tissue at 3 T."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SUSCEPTIBILITY_TO_R2STAR_HZ_PER_PPM = 137.0
"""R2' per ppm at 3 T: Shin et al. 2021, NeuroImage 240:118371."""


@dataclass(frozen=True)
class Tissue:
    """Susceptibility (ppm, near zero on average over the brain), R2*, T1 and proton density."""

    chi_ppm: float
    r2star_per_s: float
    t1_s: float
    proton_density: float


# Susceptibility of bone and venous blood: QSM challenge 2.0 (Marques et al. 2021,
# doi 10.1002/mrm.28716). T1 of white and grey matter: Wright et al. 2008 (MAGMA). R2*: Peters
# et al. 2007 (MRI 25:748) where a tissue is in it. Proton densities, and values for muscle, fat
# and marrow, are round textbook figures.
TISSUES: Mapping[str, Tissue] = {
    "air": Tissue(9.4, 0.0, 1.0, 0.0),
    "muscle": Tissue(0.0, 35.0, 1.40, 0.75),
    "fat": Tissue(0.02, 30.0, 0.37, 0.90),
    "bone": Tissue(-2.1, 400.0, 0.50, 0.08),
    "marrow": Tissue(-0.4, 120.0, 0.45, 0.40),
    "fluid": Tissue(0.01, 4.0, 4.00, 1.00),
    "grey": Tissue(0.01, 15.5, 1.45, 0.82),
    "white": Tissue(-0.025, 19.5, 0.85, 0.70),
    "blood": Tissue(0.25, 47.0, 1.65, 0.85),
    "thalamus": Tissue(0.02, 17.5, 1.20, 0.78),
    "STN": Tissue(0.07, 28.0, 1.15, 0.75),
    "DN": Tissue(0.10, 24.0, 1.15, 0.76),
}

# Means of the nuclei: Zhou et al. 2025 (doi 10.3389/fnins.2025.1522227), Table 3, PI column.
# T1: Wright et al. 2008 for putamen and caudate.
NUCLEUS_TISSUES: Mapping[str, Tissue] = {
    "Pu": Tissue(0.0308, 20.8, 1.33, 0.80),
    "Ca": Tissue(0.0296, 18.5, 1.39, 0.81),
    "GPe": Tissue(0.1202, 34.2, 1.05, 0.74),
    "GPi": Tissue(0.0923, 32.0, 1.02, 0.73),
    "RN": Tissue(0.0651, 25.8, 1.10, 0.75),
    "SNc": Tissue(0.0846, 29.0, 1.10, 0.76),
    "SNr": Tissue(0.0999, 30.4, 1.10, 0.75),
}
