"""Metadata of an image from BIDS JSON sidecars, with their inheritance."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from accelqsm.acquisition import check_echo_times, check_field_strength
from accelqsm.errors import InputError
from accelqsm.files.megre.bids import bids_name
from accelqsm.files.text.json_object import read_json_object
from accelqsm.grid import Triple, unit_vector
from accelqsm.units import GAMMA_BAR_HZ_PER_T

USED = ("EchoTime", "EchoTime1", "EchoTime2", "MagneticFieldStrength", "B0_dir", "Units")
"""Fields in which sidecars must not contradict each other."""
DATASET_ROOT = "dataset_description.json"
PhaseUnits = Literal["rad", "arbitrary"]
Given = TypeVar("Given")
Made = TypeVar("Made")

FILTERED_SUFFIXES = ("swi", "minip")
FILTERED_WORDS = frozenset({"SWI", "SWAN", "SWIP", "MNIP", "MINIP", "FILTERED", "HPF"})
"""Words in DICOM's ImageType that mark susceptibility-weighted images."""


@dataclass(frozen=True)
class Sidecar:
    """Metadata fields that apply to an image, with the source file of each.

    Attributes:
        image: the image.
        fields: value of every key.
        sources: JSON file of every key.
    """

    image: Path
    fields: Mapping[str, Any]
    sources: Mapping[str, Path]

    @property
    def found(self) -> str:
        """Description of the JSON files found, for messages."""
        names = sorted({path.name for path in self.sources.values()})
        return f"only other fields in {', '.join(names)}" if names else "no JSON sidecar"

    def number(self, key: str) -> float | None:
        """Numerical value of a field, or None where it is absent or not a number."""
        value = self.fields.get(key)
        return float(value) if value is not None and _is_number(value) else None


def read_sidecar(image: Path) -> Sidecar:
    """Read the JSON files that apply to an image; nearer and more specific ones win.

    A file applies if it has the name of the image, or its suffix and a subset of its entities, in
    the folder of the image or above it, up to the folder with ``dataset_description.json``. Without
    a dataset, only the folder of the image counts.

    Raises:
        InputError: a file that applies but does not hold a JSON object, or two files of one
            folder that are equally specific and differ in a field that is used.

    Source: the inheritance principle of Gorgolewski et al. 2016, Sci Data 3:160044,
    doi 10.1038/sdata.2016.44.
    """
    fields: dict[str, Any] = {}
    sources: dict[str, Path] = {}
    for path in applicable_sidecars(image):
        for key, value in read_json_object(path).items():
            if key in sources and key in USED and value != fields[key]:
                _check_rank(image, key, sources[key], path)
            fields[key], sources[key] = value, path
    return Sidecar(image, fields, sources)


def _check_rank(image: Path, key: str, one: Path, other: Path) -> None:
    """Refuse two sidecars that contradict each other and of which neither is more specific."""
    if one.parent == other.parent and _rank(one, image) == _rank(other, image):
        raise InputError(
            f"{other}: expected the {key} of {one.name}, which applies to {image.name} as well, "
            "found another"
        )


def sidecar_echo_times_s(sidecar: Sidecar) -> tuple[float, ...] | None:
    """``EchoTime`` in seconds: one number, or an array for a 4D image; None where absent.

    Raises:
        InputError: not numbers, or not seconds of one echo train.
    """
    value = sidecar.fields.get("EchoTime")
    if value is None:
        return None
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(_is_number(number) for number in numbers):
        raise _unusable(sidecar, "EchoTime", "seconds, such as 0.02")
    echo_times_s = tuple(float(number) for number in numbers)
    _check_naming_file(sidecar.sources["EchoTime"], check_echo_times, echo_times_s)
    return echo_times_s


def echo_times_of_difference_s(sidecar: Sidecar) -> tuple[float, float] | None:
    """``EchoTime1`` and ``EchoTime2`` in seconds, of a phase difference; None where absent.

    Raises:
        InputError: one of them alone, or not seconds that increase.
    """
    keys = [key for key in ("EchoTime1", "EchoTime2") if sidecar.fields.get(key) is not None]
    if not keys:
        return None
    values = [sidecar.number(key) for key in keys]
    if len(keys) == 1 or None in values:
        raise _unusable(sidecar, keys[0], "EchoTime1 and EchoTime2 in seconds, such as 0.00492")
    first, second = float(values[0] or 0), float(values[1] or 0)
    _check_naming_file(sidecar.sources["EchoTime2"], check_echo_times, (first, second))
    return first, second


def sidecar_field_strength_t(sidecar: Sidecar) -> float | None:
    """``MagneticFieldStrength`` in tesla; None where absent.

    Raises:
        InputError: not a number, or not tesla.
    """
    value = sidecar.fields.get("MagneticFieldStrength")
    if value is None:
        return None
    if not _is_number(value):
        raise _unusable(sidecar, "MagneticFieldStrength", "tesla, such as 3")
    _check_naming_file(sidecar.sources["MagneticFieldStrength"], check_field_strength, float(value))
    return float(value)


def sidecar_larmor_field_t(sidecar: Sidecar) -> float | None:
    """Main field in tesla by ``ImagingFrequency`` in MHz, of hydrogen; None where absent.

    Raises:
        InputError: not a number, or of no scanner.
    """
    value = sidecar.fields.get("ImagingFrequency")
    if value is None:
        return None
    if not _is_number(value):
        raise _unusable(sidecar, "ImagingFrequency", "MHz, such as 123.2")
    field_t = round(float(value) / (GAMMA_BAR_HZ_PER_T * 1e-6), 3)
    _check_naming_file(sidecar.sources["ImagingFrequency"], check_field_strength, field_t)
    return field_t


def sidecar_b0_direction(sidecar: Sidecar) -> Triple | None:
    """Direction of the main field along the array axes from ``B0_dir``, as QSMxT writes it.

    Raises:
        InputError: not three numbers, or zero.
    """
    value = sidecar.fields.get("B0_dir")
    if value is None:
        return None
    if not isinstance(value, list) or not all(_is_number(number) for number in value):
        raise _unusable(sidecar, "B0_dir", "three numbers")
    return _check_naming_file(sidecar.sources["B0_dir"], unit_vector, value)


def sidecar_phase_units(sidecar: Sidecar) -> PhaseUnits | None:
    """``Units`` of a phase image; None where absent.

    Raises:
        InputError: neither "rad" nor "arbitrary".
    """
    value = sidecar.fields.get("Units")
    if value is None or value == "rad" or value == "arbitrary":
        return value
    raise _unusable(sidecar, "Units", '"rad" or "arbitrary"')


def check_unfiltered(sidecar: Sidecar) -> None:
    """Check that name and ``ImageType`` do not mark phase as susceptibility weighted.

    High-pass filtered phase lacks most of the field from which susceptibility is computed.

    Raises:
        InputError: suffix ``swi`` or ``minIP``, or a word such as SWI, MNIP or FILTERED.

    Source: Haacke et al. 2004, Magn Reson Med 52:612, doi 10.1002/mrm.20198.
    """
    suffix = bids_name(sidecar.image).suffix
    if suffix.lower() in FILTERED_SUFFIXES:
        raise InputError(f"{sidecar.image}: expected unfiltered phase, found the suffix {suffix}")
    words = re.split(r"[^A-Z0-9]+", str(sidecar.fields.get("ImageType", "")).upper())
    for word in words:
        if word in FILTERED_WORDS:
            raise InputError(
                f"{sidecar.image}: expected unfiltered phase, found {word} in ImageType of "
                f"{sidecar.sources['ImageType'].name}"
            )


def _check_naming_file(path: Path, check: Callable[[Given], Made], value: Given) -> Made:
    """Return ``check(value)``; prefix the file name to the message of an InputError."""
    try:
        return check(value)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _unusable(sidecar: Sidecar, key: str, expected: str) -> InputError:
    shown = json.dumps(sidecar.fields[key])
    return InputError(f"{sidecar.sources[key]}: {key}: expected {expected}, found {shown}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def applicable_sidecars(image: Path) -> list[Path]:
    """JSON files that apply to an image, the most general first."""
    paths: list[Path] = []
    for folder in _folders(image):
        paths += sorted(
            (path for path in folder.glob("*.json") if _applies(path, image)),
            key=lambda path: (*_rank(path, image), path.name),
        )
    return paths


def _rank(path: Path, image: Path) -> tuple[bool, int]:
    """How specific a JSON file is to an image; the higher one wins."""
    outer = bids_name(path)
    return outer.stem == bids_name(image).stem, len(outer.entities)


def _applies(path: Path, image: Path) -> bool:
    own, other = bids_name(image), bids_name(path)
    more_general = other.suffix == own.suffix and set(other.entities) <= set(own.entities)
    return other.stem == own.stem or more_general


def _folders(image: Path) -> list[Path]:
    """Folders from the root of the dataset to the image; its own folder without a dataset."""
    above = Path(os.path.abspath(image)).parent
    folders = [image.parent]
    while not (above / DATASET_ROOT).is_file():
        if above == above.parent:
            return folders[:1]
        above = above.parent
        folders.append(above)
    return folders[::-1]
