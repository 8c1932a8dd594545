"""Settings of the QSM pipeline, from field map to susceptibility."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from accelqsm.options.setting import CHOSEN, Settings, setting
from accelqsm.qsm.background.registry import BACKGROUNDS
from accelqsm.qsm.inversion.registry import INVERSIONS
from accelqsm.reference.registry import REFERENCES

UNTIL = "total-field", "local-field", "susceptibility"
"""Maps at which the chain may end, in its order."""


@dataclass(frozen=True)
class QsmSettings(Settings):
    """Settings of the QSM pipeline, in simple types that a TOML file can hold."""

    FORMER: ClassVar[Mapping[str, tuple[str, str]]] = {
        "radii_mm": ("vsharp", "radii_mm"),
        "sharp_threshold": ("vsharp", "threshold"),
        "regularisation": ("l1", "regularisation"),
        "magnitude_edges": ("l1", "magnitude_edges"),
        "dynamic_noise": ("l1", "dynamic_noise"),
        "dynamic_structure": ("l1", "dynamic_structure"),
        "dynamic_scale": ("l1", "dynamic_scale"),
        "n_iterations": ("l1", "n_iterations"),
        "tolerance": ("l1", "tolerance"),
    }

    field_mode: str = setting(
        "multi",
        choices=("multi", "lag1"),
        help="echo-time differences for the field map: all, or the smallest, as published",
    )
    phase_quality: str = setting(
        "edge",
        choices=("edge", "everywhere"),
        help="where incoherent voxels leave the mask: at its edge alone, or inside too, as in a "
        "calcification (everywhere: brain and phase quality, as the consensus of 2024 asks)",
    )
    least_coherence: float = setting(
        0.9,
        least=0,
        most=1,
        help="phase coherence, relative to its median, below which voxels at the edge are removed "
        "from the mask, with the regions that they separate from it; 0: none",
    )
    background: str = setting(
        "dipole-fit",
        registry=BACKGROUNDS,
        help="method of background field removal",
    )
    inversion: str = setting("l1", registry=INVERSIONS, help="method of dipole inversion")
    reference: str = setting(
        "brain", registry=REFERENCES, help="reference region of zero susceptibility"
    )
    data_weighting: bool = setting(
        True,
        help="weigh the field by the inverse of its standard deviation",
        said="weights from the standard deviation of the field",
    )
    shading_correction: bool = setting(
        True,
        help="add what is broad in susceptibility and background removal takes for a field from "
        "outside, so that each tissue is alike everywhere",
        said="a correction of the shading that background removal leaves (smooth modes whose "
        "field is harmonic, by a mixture of tissues; Van Leemput et al. 1999)",
        citations=("mixture",),
    )
    uncertainty: bool = setting(
        True,
        help="estimate the standard deviation of susceptibility",
    )
    edge_mm: float = setting(
        2.0,
        least=0,
        most=1000,
        unit="mm",
        help="erosion of an automatic mask where background removal does not erode it",
    )
    length_scale: float | None = setting(
        None,
        least=1e-3,
        most=10,
        help="what lengths that are not given are multiplied with, 1 for a human head; by default "
        "found from the size of the object",
    )
    background_settings: Settings | None = CHOSEN
    inversion_settings: Settings | None = CHOSEN
