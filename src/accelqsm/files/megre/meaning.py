"""What an image of a scan holds: magnitude, phase, a phase difference, a field map."""

from __future__ import annotations

import re
from collections.abc import Sequence

from accelqsm.errors import InputError
from accelqsm.files.megre.bids import bids_name
from accelqsm.files.megre.sidecar import Sidecar, echo_times_of_difference_s

FIELD_SUFFIXES = ("fieldmap", "b0map")
FIELD_UNITS = ("hz", "rad/s", "t", "ppm")
FIELD_WORDS = frozenset({"B0", "B0MAP"})
"""Words of DICOM's ImageType on Philips' field maps."""
GIVE_PHASE = "give the phase images that it was made from"
PART_WORDS = {
    "mag": {"M", "MAGNITUDE"},
    "phase": {"P", "PHASE"},
    "real": {"R", "REAL"},
    "imag": {"I", "IMAGINARY"},
}
"""Words of DICOM's ImageType, by the label of BIDS' part."""


def is_difference(sidecar: Sidecar) -> bool:
    """Whether a phase image is the difference of two echoes: by its name, or two echo times."""
    return bids_name(sidecar.image).suffix.lower() == "phasediff" or (
        echo_times_of_difference_s(sidecar) is not None
    )


def check_part(part: str, sidecars: Sequence[Sidecar]) -> None:
    """Refuse files whose names, or whose own sidecars, say that they are another part.

    Raises:
        InputError: naming the label or word that was found.
    """
    for sidecar in sidecars:
        name = bids_name(sidecar.image)
        label = name.label("part")
        if label not in (part, None):
            raise InputError(f"{sidecar.image}: expected part-{part}, found part-{label}")
        source = sidecar.sources.get("ImageType")
        if source is None or bids_name(source).stem != name.stem or part not in PART_WORDS:
            continue
        words = words_of(sidecar)
        told = [kind for kind, known in PART_WORDS.items() if words & known]
        if told and part not in told:
            raise InputError(
                f"{sidecar.image}: expected part-{part}, found ImageType "
                f"{' '.join(sorted(words & PART_WORDS[told[0]]))} (part-{told[0]}) in {source.name}"
            )


def check_is_phase(sidecar: Sidecar, *, any_unit: bool) -> None:
    """Refuse a field map in place of phase, told by its suffix, ``Units`` or ``ImageType``.

    Args:
        sidecar: of the phase image.
        any_unit: whether the unit is given otherwise.

    Raises:
        InputError: saying what to give instead.
    """
    suffix = bids_name(sidecar.image).suffix
    units = str(sidecar.fields.get("Units", ""))
    found = ""
    if suffix.lower() in FIELD_SUFFIXES:
        found = f"a field map (suffix {suffix})"
    elif words_of(sidecar) & FIELD_WORDS:
        found = f"a field map (ImageType of {sidecar.sources['ImageType'].name})"
    elif units.lower() in FIELD_UNITS and not any_unit:
        found = f'a field map (Units "{units}" in {sidecar.sources["Units"].name})'
    elif bids_name(sidecar.image).label("desc") == "unwrapped":
        found = "unwrapped phase (desc-unwrapped)"
    if found:
        raise InputError(f"{sidecar.image}: expected phase, found {found}; {GIVE_PHASE}")


def words_of(sidecar: Sidecar) -> frozenset[str]:
    """The words of ``ImageType``, in capitals."""
    text = str(sidecar.fields.get("ImageType", "")).upper()
    return frozenset(re.split(r"[^A-Z0-9]+", text)) - {""}
