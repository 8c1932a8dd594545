"""BIDS file names, and the magnitude and phase files of one multi-echo scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.files.foreign import refuse_foreign

IMAGE_ENDINGS = (".nii.gz", ".nii")
PARTS = ("mag", "phase")
PAIRS = (PARTS, ("real", "imag"))
COMPLEX = "complex"
"""Not a label of BIDS: files of complex numbers have no ``part``."""
SUFFIX = "MEGRE"
MOST_NAMES_SHOWN = 4


@dataclass(frozen=True)
class BidsName:
    """Parsed BIDS file name, such as ``sub-01_echo-2_part-mag_MEGRE.nii.gz``.

    Attributes:
        stem: the name without its ending: that of an image, ``.json``, ``.h5`` or ``.tsv``.
        entities: key and label in order, such as (("sub", "01"), ("echo", "2"), ("part", "mag")).
        suffix: what follows the last underscore, such as "MEGRE"; "" where that is an entity.
    """

    stem: str
    entities: tuple[tuple[str, str], ...]
    suffix: str

    def label(self, key: str) -> str | None:
        """Label of one entity, or None."""
        return dict(self.entities).get(key)

    @property
    def echo(self) -> int | None:
        """Number of the echo, or None."""
        label = self.label("echo") or ""
        return int(label) if label.isdecimal() else None

    @property
    def scan(self) -> str:
        """Common part of the file names of a scan, without echo, part and suffix."""
        return "_".join(f"{key}-{v}" for key, v in self.entities if key not in ("echo", "part"))


@dataclass(frozen=True)
class EchoFiles:
    """Files of a scan, of each part one 3D file per echo in order or one 4D file.

    Either magnitude and phase, or real and imaginary part, or complex numbers.
    """

    magnitude: tuple[Path, ...] = ()
    phase: tuple[Path, ...] = ()
    real: tuple[Path, ...] = ()
    imaginary: tuple[Path, ...] = ()
    complex_numbers: tuple[Path, ...] = ()

    @property
    def parts(self) -> dict[str, tuple[Path, ...]]:
        """Files by the label of BIDS' part, without those that are not there."""
        files = (self.magnitude, self.phase, self.real, self.imaginary, self.complex_numbers)
        labels = ("mag", "phase", "real", "imag", COMPLEX)
        return {label: of for label, of in zip(labels, files, strict=True) if of}

    @classmethod
    def of_parts(cls, parts: Mapping[str, Sequence[Path]]) -> EchoFiles:
        """From files by the label of their part."""
        labels = ("mag", "phase", "real", "imag", COMPLEX)
        return cls(*(tuple(parts.get(label, ())) for label in labels))


def bids_name(path: Path) -> BidsName:
    """Parse a file name; a name that does not follow BIDS has no entities.

    Source: Gorgolewski et al. 2016, Sci Data 3:160044, doi 10.1038/sdata.2016.44.
    """
    stem = path.name
    for ending in (*IMAGE_ENDINGS, ".json", ".h5", ".tsv"):
        stem = stem.removesuffix(ending)
    *pieces, suffix = stem.split("_")
    if pieces and "-" in suffix:
        pieces, suffix = [*pieces, suffix], ""
    pairs = [piece.partition("-") for piece in pieces]
    if not all(key and label for key, _, label in pairs):
        return BidsName(stem, (), stem)
    return BidsName(stem, tuple((key, label) for key, _, label in pairs), suffix)


def find_megre(where: Path) -> EchoFiles:
    """Collect ``*_echo-<n>_part-{mag,phase}_MEGRE.nii[.gz]`` of one scan, by echo number.

    Where there is neither, ``part-real`` and ``part-imag``, or complex files without a part. What
    ``recon`` and ``map`` write, ``echo-<n>_part-{mag,phase}.nii.gz``, is a scan too.

    Args:
        where: a folder that holds one scan, the beginning of a scan's file names (up to a whole
            entity, such as ``anat/sub-01_run-2``), or one of its files.

    Raises:
        InputError: no such files, those of several scans, an echo that lacks magnitude or phase,
            or has two files for one of them.
    """
    folder, prefix = (where, "") if where.is_dir() else (where.parent, where.name.rstrip("_"))
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if where.is_file():
        refuse_foreign(where, wanted="images")
        prefix = bids_name(where).scan
    images = sorted(path for path in folder.iterdir() if path.name.endswith(IMAGE_ENDINGS))
    scans = _scans(images)
    if not prefix:
        chosen = list(scans)
    elif prefix in scans:
        chosen = [prefix]
    else:
        chosen = [scan for scan in scans if scan.startswith(f"{prefix}_")]
    if not chosen:
        refuse_foreign(folder, wanted="images")
        raise InputError(
            f"{where}: expected files named *_echo-<n>_part-mag_{SUFFIX}.nii[.gz] and "
            f"*_echo-<n>_part-phase_{SUFFIX}.nii[.gz], found {_first_of([p.name for p in images])}"
        )
    if len(chosen) > 1:
        raise InputError(
            f"{where}: expected the files of one scan, found those of {len(chosen)}: "
            f"{', '.join(chosen)}"
        )
    return _sort_by_echo(scans[chosen[0]])


def _scans(images: Sequence[Path]) -> dict[str, list[Path]]:
    """Group the echo files among ``images`` by scan."""
    scans: dict[str, list[Path]] = {}
    for path in images:
        name = bids_name(path)
        known = name.label("part") in (None, *PAIRS[0], *PAIRS[1])
        ours = name.suffix == "" and name.scan == ""
        if (name.suffix == SUFFIX or ours) and name.echo is not None and known:
            scans.setdefault(name.scan, []).append(path)
    usual = {
        scan: paths
        for scan, paths in scans.items()
        if any(bids_name(path).label("part") in PARTS for path in paths)
    }
    return usual or scans


def _sort_by_echo(paths: Sequence[Path]) -> EchoFiles:
    """Sort the files of one scan by echo, and check that each echo has every part."""
    labels = {bids_name(path).label("part") for path in paths}
    pair: Sequence[str] = next((pair for pair in PAIRS if labels & set(pair)), (COMPLEX,))
    found: dict[tuple[int, str], Path] = {}
    for path in paths:
        name = bids_name(path)
        part = name.label("part") or COMPLEX
        if part not in pair:
            continue
        key = (name.echo or 0, part)
        if key in found:
            raise InputError(
                f"{path}: expected one part-{part} file of echo {key[0]}, found also {found[key]}"
            )
        found[key] = path
    for (echo, part), path in found.items():
        for other in set(pair) - {part}:
            if (echo, other) not in found:
                raise InputError(
                    f"{path}: expected a part-{other} file of echo {echo} in its folder, found none"
                )
    echoes = sorted({echo for echo, _ in found})
    return EchoFiles.of_parts({part: [found[echo, part] for echo in echoes] for part in pair})


def _first_of(names: Sequence[str]) -> str:
    """Text of the first few names, or of none."""
    if not names:
        return "no NIfTI file"
    more = len(names) - MOST_NAMES_SHOWN
    return ", ".join(names[:MOST_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
