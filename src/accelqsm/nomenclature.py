"""Nuclei: their abbreviations and full names."""

from __future__ import annotations

from collections.abc import Mapping

FULL_NAMES: Mapping[str, str] = {
    "Pu": "putamen",
    "Ca": "caudate nucleus",
    "GP": "globus pallidus",
    "GPe": "globus pallidus, external segment",
    "GPi": "globus pallidus, internal segment",
    "SN": "substantia nigra",
    "SNc": "substantia nigra, pars compacta",
    "SNr": "substantia nigra, pars reticulata",
    "RN": "red nucleus",
    "STH": "subthalamic nucleus",
    "STN": "subthalamic nucleus",
    "DN": "dentate nucleus",
    "NAC": "nucleus accumbens",
    "EXA": "extended amygdala",
    "PBP": "parabrachial pigmented nucleus",
    "VTA": "ventral tegmental area",
    "VeP": "ventral pallidum",
    "HN": "habenular nuclei",
    "HTH": "hypothalamus",
    "MN": "mammillary nucleus",
}
"""In the words of Pauli et al. 2018, whose abbreviations these are (and usual others)."""
SIDES = {"L": "left", "R": "right"}
