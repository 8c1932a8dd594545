"""How much the anatomies of heads differ, as named choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FluidSpaces:
    """Lateral ventricles and subarachnoid space over age: median at an age, and spread about it.

    Attributes:
        ventricles_ml: median volume of both lateral ventricles at ``ventricles_age_years``.
        ventricles_age_years: the age of that median.
        ventricles_per_year: change of the logarithm of their volume per year of age.
        ventricles_log_sd: SD of the logarithm of their volume at equal age.
        ventricle_side_log_sd: SD of the logarithm of the volume of one side, the sum given.
        sulci_share: subarachnoid space over intracranial space, mean at ``sulci_age_years``.
        sulci_age_years: the age of that mean.
        sulci_per_year: change of that share per year of age.
        sulci_sd: SD of that share at equal age.
    """

    ventricles_ml: float
    ventricles_age_years: float
    ventricles_per_year: float
    ventricles_log_sd: float
    ventricle_side_log_sd: float
    sulci_share: float
    sulci_age_years: float
    sulci_per_year: float
    sulci_sd: float


@dataclass(frozen=True)
class Variety:
    """Spread of anatomy over heads.

    Attributes:
        size: mean length of a head over that of the template.
        size_sd, axis_sd: relative SD of length in all directions together, and of one axis beside.
        displacement_sd_mm: SD of a random displacement along each axis, at the brain's surface.
        smoothness_mm: SD of the Gaussian that smooths it.
        fine_displacement_sd_mm: SD of a second displacement, smoothed by ``fine_smoothness_mm``.
        fine_smoothness_mm: SD of the Gaussian that smooths the second one.
        deep_share: displacements in the middle of the brain over those at its surface.
        mirrored: weight of a displacement's mirror image in it: 0 for sides that are independent,
            1 for equal sides.
        skew, skew_sd: mean and SD of how far a head is shifted forward per distance to the right.
        spacing_mm: lattice of the displacement.
        dilation_per_year: relative change of length about the ventricles per year of age.
        fluid: ventricles and sulci of wanted volume, which take the place of that dilation; None
            for those of the template.
    """

    size: float = 1.0
    size_sd: float = 0.03
    axis_sd: float = 0.01
    displacement_sd_mm: float = 2.2
    smoothness_mm: float = 20.0
    fine_displacement_sd_mm: float = 0.0
    fine_smoothness_mm: float = 8.0
    deep_share: float = 1.0
    mirrored: float = 0.0
    skew: float = 0.0
    skew_sd: float = 0.0
    spacing_mm: float = 5.0
    dilation_per_year: float = 0.004
    fluid: FluidSpaces | None = None


NEAR_TEMPLATE = Variety()

# Size: intracranial volume 1443 ml, relative SD 9 % (Yamada et al. 2023, Eur Radiol 33:7099,
# doi 10.1007/s00330-023-09632-x), against 1.95 l of the template; putamen 5.2 ml a side (Raz et
# al. 2003, AJNR 24:1849) against 6.9 ml. Ventricles and subarachnoid space: Yamada et al. (lateral
# ventricles 22.6 +- 11.6 ml at 47.7 +- 16.8 years; fluid from 18.7 % of the intracranial space, by
# 2 % of it per decade). Displacements: volumes of nuclei have relative SDs of 0.09 to 0.12 (Raz et
# al.), and (L - R) / (L + R) an SD of about 0.027 (hippocampus, 2082 people: Lucarelli et al. 2013,
# AJNR 34:752, doi 10.3174/ajnr.A3308). Skew: right nuclei of the CIT168 atlas lie further forward
# (Pauli et al. 2018, doi 10.1038/sdata.2018.63). Assumed: shapes of heads (axis_sd), displacements
# of the cortex, SD of the skew, and of one ventricle against the other.
PEOPLE = Variety(
    size=0.91,
    size_sd=0.024,
    axis_sd=0.028,
    displacement_sd_mm=2.8,
    fine_displacement_sd_mm=1.0,
    deep_share=0.4,
    mirrored=0.55,
    skew=0.03,
    skew_sd=0.02,
    spacing_mm=3.0,
    dilation_per_year=0.0,
    fluid=FluidSpaces(
        ventricles_ml=20.1,
        ventricles_age_years=47.7,
        ventricles_per_year=0.015,
        ventricles_log_sd=0.40,
        ventricle_side_log_sd=0.10,
        sulci_share=0.174,
        sulci_age_years=25.0,
        sulci_per_year=0.0018,
        sulci_sd=0.018,
    ),
)

VARIETIES: Mapping[str, Variety] = {"near-template": NEAR_TEMPLATE, "people": PEOPLE}
