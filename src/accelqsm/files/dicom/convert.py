"""Conversion of DICOM to NIfTI with dcm2niix, one stack of slices at a time."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelqsm.errors import InputError
from accelqsm.files.dicom.series import Stack
from accelqsm.files.dicom.split import can_split, write_frames
from accelqsm.files.nifti import Image, read_image

PART_ENDINGS = (("_ph", "phase"), ("_real", "real"), ("_imaginary", "imag"))
SAME_TIME_S = 2e-5


@dataclass(frozen=True)
class Converted:
    """NIfTI image and sidecar of one converted stack.

    Attributes:
        image: NIfTI file.
        fields: of its sidecar.
    """

    image: Path
    fields: dict[str, Any]


def convert_stacks(stacks: Sequence[Stack], folder: Path) -> list[Converted]:
    """Convert stacks to NIfTI files in a folder, in their order.

    Of stacks that share files (enhanced DICOM), each is written as a file of its own first.
    Where that cannot be (compressed pixels), they are converted together and told apart by the
    sidecars.

    Raises:
        InputError: no dcm2niix, or not one image for each stack.

    Source: Li et al. 2016, J Neurosci Methods 264:47, doi 10.1016/j.jneumeth.2016.03.001.
    """
    made: dict[int, Converted] = {}
    for group in _sharing(stacks):
        members = [stacks[n] for n in group]
        if len(group) > 1 and can_split(members[0].files):
            for n, stack in zip(group, members, strict=True):
                with tempfile.TemporaryDirectory(prefix="split-", dir=folder) as name:
                    alone = write_frames(stack, Path(name))
                    found, said = _converted(alone, folder)
                made[n] = _matching(stack, found, alone=True, said=said)
        else:
            files = dict.fromkeys(path for stack in members for path in stack.files)
            found, said = _converted(files, folder)
            for n, stack in zip(group, members, strict=True):
                made[n] = _matching(stack, found, alone=len(group) == 1, said=said)
    for n, stack in enumerate(stacks):
        _check(stack, made[n])
    return [made[n] for n in range(len(stacks))]


def _converted(files: Iterable[Path], folder: Path) -> tuple[list[Converted], str]:
    """Convert files with dcm2niix; return the images and its output."""
    target = Path(tempfile.mkdtemp(prefix="converted-", dir=folder))
    with _linked(files, folder) as source:
        said = _dcm2niix(source, target)
    return [Converted(path, _sidecar(path)) for path in sorted(target.glob("*.nii.gz"))], said


def _sharing(stacks: Sequence[Stack]) -> list[list[int]]:
    """Group stacks by the files that they have in common."""
    groups: list[tuple[set[Path], list[int]]] = []
    for n, stack in enumerate(stacks):
        files = set(stack.files)
        joined = [group for group in groups if group[0] & files]
        groups = [group for group in groups if not group[0] & files]
        members = [member for group in joined for member in group[1]]
        groups.append((files.union(*(group[0] for group in joined)), [*members, n]))
    return [members for _, members in groups]


@contextmanager
def _linked(files: Iterable[Path], folder: Path) -> Iterator[Path]:
    """Make a folder with links to files, or copies where links are not possible."""
    with tempfile.TemporaryDirectory(prefix="linked-", dir=folder) as name:
        for count, path in enumerate(files):
            link = Path(name) / f"{count:06d}.dcm"
            try:
                link.symlink_to(path.resolve())
            except OSError:
                shutil.copyfile(path, link)
        yield Path(name)


def _dcm2niix(source: Path, target: Path) -> str:
    """Run dcm2niix and return its output."""
    try:
        import dcm2niix
    except ImportError as error:
        raise InputError("dcm2niix: not installed (pip install dcm2niix)") from error
    options = ["-b", "y", "-ba", "y", "-z", "i", "-m", "n", "-f", "image", "-w", "2"]
    command = [dcm2niix.bin, *options, "-o", str(target), str(source)]
    try:
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise InputError(f"dcm2niix: {error}") from error
    return f"{done.stdout.decode(errors='replace')}{done.stderr.decode(errors='replace')}"


def _sidecar(image: Path) -> dict[str, Any]:
    path = image.with_name(image.name.replace(".nii.gz", ".json"))
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"dcm2niix: no readable sidecar ({error})") from error
    return content if isinstance(content, dict) else {}


def _matching(stack: Stack, found: list[Converted], *, alone: bool, said: str) -> Converted:
    """Find the image of a stack among converted images."""
    fitting = [one for one in found if alone or _is_of(stack, one)]
    if len(fitting) == 1:
        return fitting[0]
    of = f"{stack.part} at {1000 * stack.echo_time_s:g} ms"
    reasons = [line.strip() for line in said.splitlines() if "rror" in line or "arning" in line]
    why = f" ({reasons[-1][:120]})" if reasons else ""
    raise InputError(f"dcm2niix: expected one image of {of}, found {len(fitting)}{why}")


def _is_of(stack: Stack, converted: Converted) -> bool:
    name = converted.image.name.removesuffix(".nii.gz")
    part = next((part for ending, part in PART_ENDINGS if ending in name), "mag")
    time_s = converted.fields.get("EchoTime")
    same = isinstance(time_s, int | float) and abs(time_s - stack.echo_time_s) < SAME_TIME_S
    return part == stack.part and same and "fieldmap" not in name


def _check(stack: Stack, converted: Converted) -> None:
    """Check that an image has the slices of its stack.

    Raises:
        InputError: not 3D, other slices, or one value only.
    """
    image: Image = read_image(converted.image)
    of = f"{stack.part} at {1000 * stack.echo_time_s:g} ms"
    if image.values.ndim != 3 or len(stack.places_mm) not in image.values.shape:
        raise InputError(
            f"dcm2niix: expected {len(stack.places_mm)} slices of {of}, found an image of shape "
            f"{image.values.shape}"
        )
    time_s = converted.fields.get("EchoTime")
    if isinstance(time_s, int | float) and abs(time_s - stack.echo_time_s) > SAME_TIME_S:
        raise InputError(f"dcm2niix: expected {of}, found EchoTime {time_s:g} s")
