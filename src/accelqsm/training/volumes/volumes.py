"""Fully sampled volumes of a head, which training learns from, in memory and on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accelqsm.files.atomic import whole_file, write_text

VIRTUAL_CHANNELS = 8
FIELD_STRENGTH_T = 3.0
PEAK_QUANTILE = 0.999


@dataclass(frozen=True)
class Contrast:
    """Acquisition parameters of a volume; ``channel`` is None for all channels."""

    echo_time_s: float
    repetition_time_s: float
    flip_angle_deg: float
    n_channels: int
    channel: int | None
    texture: float


@dataclass(frozen=True)
class Coils:
    """Receive sensitivities of several coils, complex64 (coil, channel, x, y, z).

    Attributes:
        true: true sensitivities, sum |C_c|^2 = 1; noise is independent and equal in all channels.
        estimated: ESPIRiT sensitivities from a noisy fully sampled centre, weaker in air, as used
            in a reconstruction.
    """

    true: npt.NDArray[np.complex64]
    estimated: npt.NDArray[np.complex64]


@dataclass(frozen=True)
class Kind:
    """What the volumes of a head are.

    Attributes:
        n_volumes: number of volumes; at most so many where a scan has fewer echoes.
        all_channels: combined images with sensitivities of all channels, compressed to
            ``VIRTUAL_CHANNELS``, instead of the image of one channel each.
        echoes_of_one_scan: the echoes of one acquisition, in their order.
    """

    n_volumes: int
    all_channels: bool = False
    echoes_of_one_scan: bool = False

    def __str__(self) -> str:
        what = "all channels" if self.all_channels else "one channel each"
        return f"{self.n_volumes} volumes of {what}" + (
            ", the echoes of one scan" if self.echoes_of_one_scan else ""
        )


@dataclass(frozen=True)
class Volumes:
    """Volumes of one head, each with a 99.9 percentile magnitude of 1.

    Attributes:
        images: complex64 (volume, x, y, z); an array or a memory map.
        contrasts: acquisition parameters of each volume.
        coils: volume v is received by coil ``v % len(coils.true)``; None where each image is of a
            single channel.
        echoes_of_one_scan: the volumes are the echoes of one acquisition in their order, the first
            of them of magnitude 1, received by any of the coils.
    """

    images: npt.NDArray[np.complex64]
    contrasts: tuple[Contrast, ...]
    coils: Coils | None = None
    echoes_of_one_scan: bool = False

    @property
    def kind(self) -> Kind:
        """What the volumes are."""
        return Kind(len(self.images), self.coils is not None, self.echoes_of_one_scan)

    def __reduce__(self) -> tuple[Callable[..., Volumes], tuple[object, ...]]:
        """Pickle as file names where possible, so that another process maps the files itself."""
        name = getattr(self.images, "filename", None)
        if name is not None:
            return load_volumes, (Path(name).with_suffix(""),)
        return Volumes, (self.images, self.contrasts, self.coils, self.echoes_of_one_scan)


def save_volumes(stem: Path, volumes: Volumes, source: Mapping[str, object]) -> None:
    """Write ``<stem>.npy``, the coils' maps if any, and last ``<stem>.json``.

    Args:
        stem: path without its ending.
        volumes: the volumes.
        source: what they come from, as JSON has it, by which they are known again.
    """
    record = Path(f"{stem}.json")
    record.unlink(missing_ok=True)
    arrays = {"": volumes.images}
    if volumes.coils is not None:
        arrays |= {"-true": volumes.coils.true, "-estimated": volumes.coils.estimated}
    files = {suffix: Path(f"{stem}{suffix}.npy") for suffix in arrays}
    for suffix, path in files.items():
        with whole_file(path) as temporary:
            np.save(temporary, arrays[suffix])
    table = {
        "source": dict(source),
        "bytes": {path.name: path.stat().st_size for path in files.values()},
        "contrasts": [asdict(contrast) for contrast in volumes.contrasts],
        "echoes_of_one_scan": volumes.echoes_of_one_scan,
    }
    write_text(record, json.dumps(table, indent=1))


def cached_source(stem: Path) -> dict[str, object] | None:
    """What volumes on disk come from; None if they are not there, or not whole."""
    try:
        record = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))
        whole = {stem.parent / name: size for name, size in record["bytes"].items()}
        if any(path.stat().st_size != size for path, size in whole.items()):
            return None
        return dict(record["source"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def is_cached(stem: Path, source: Mapping[str, object]) -> bool:
    """Whether volumes of that source are on disk, and whole."""
    return cached_source(stem) == dict(source)


def load_volumes(stem: Path) -> Volumes:
    """Read volumes as written by ``save_volumes``, as memory maps."""
    record = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))
    contrasts = tuple(Contrast(**contrast) for contrast in record["contrasts"])
    images = np.load(f"{stem}.npy", mmap_mode="r")
    if f"{stem.name}-true.npy" not in record["bytes"]:
        return Volumes(images, contrasts)
    maps = [np.load(f"{stem}{suffix}.npy", mmap_mode="r") for suffix in ("-true", "-estimated")]
    return Volumes(images, contrasts, Coils(*maps), record.get("echoes_of_one_scan", False))
