"""Part of a complex image (magnitude, phase, real, imaginary) from vendors' DICOM elements."""

from __future__ import annotations

PARTS = ("mag", "phase", "real", "imag")
FIELD_MAP = "field map"
COMPONENTS = {"MAGNITUDE": "mag", "PHASE": "phase", "REAL": "real", "IMAGINARY": "imag"}
GE_TYPES = {0: "mag", 1: "phase", 2: "real", 3: "imag"}
"""Values of GE's (0043,102F)."""
FIELD_WORDS = frozenset({"B0", "B0 MAP", "FIELD_MAP", "FIELD MAP", "FIELDMAP"})
OTHER_WORDS = {
    "W": "water image",
    "WATER": "water image",
    "F": "fat image",
    "FAT": "fat image",
    "IP": "in-phase image",
    "IN_PHASE": "in-phase image",
    "OP": "out-of-phase image",
    "OUT_PHASE": "out-of-phase image",
    "OPP_PHASE": "out-of-phase image",
    "FF": "fat fraction",
    "FAT_FRACTION": "fat fraction",
    "T1 MAP": "T1 map",
    "T2 MAP": "T2 map",
    "T2_STAR MAP": "T2* map",
    "T2*": "T2* map",
    "R2_STAR MAP": "R2* map",
    "R2*": "R2* map",
    "VELOCITY MAP": "velocity map",
}
PART_WORDS = {
    "M": "mag",
    "MAGNITUDE": "mag",
    "M_FFE": "mag",
    "P": "phase",
    "PHASE": "phase",
    "P_FFE": "phase",
    "PHASE MAP": "phase",
    "R": "real",
    "REAL": "real",
    "R_FFE": "real",
    "I": "imag",
    "IMAGINARY": "imag",
    "I_FFE": "imag",
}


def part_of(image_type: tuple[str, ...], component: str, ge_type: float | None) -> str:
    """Part of an image: "mag", "phase", "real" or "imag", or a description of another kind.

    Args:
        image_type: the words of ImageType or FrameType.
        component: ComplexImageComponent; may be empty.
        ge_type: GE's private type of raw data, where there is one.
    """
    detail = image_type[2:]
    if FIELD_WORDS & set(detail):
        return FIELD_MAP
    other = [OTHER_WORDS[word] for word in detail if word in OTHER_WORDS]
    if other:
        return other[0]
    if ge_type is not None and int(ge_type) in GE_TYPES:
        return GE_TYPES[int(ge_type)]
    if component in COMPONENTS:
        return COMPONENTS[component]
    known = [PART_WORDS[word] for word in detail if word in PART_WORDS]
    return known[-1] if known else "mag"
