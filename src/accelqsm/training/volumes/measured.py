"""Training volumes from fully sampled measured scans."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from accelqsm import __version__
from accelqsm.errors import InputError, InputWarning, naming
from accelqsm.files.mrd.lines import read_sampling
from accelqsm.files.mrd.reader import read_mrd
from accelqsm.fourier import PHASE_ENCODES, centred_slice, ifft
from accelqsm.kspace import KSpace
from accelqsm.recon.channels import compress_channels, prewhiten
from accelqsm.recon.sensitivities.espirit import Sensitivities, espirit, noise_power_of
from accelqsm.runtime.progress import track
from accelqsm.training.volumes.coils import CENTRES
from accelqsm.training.volumes.volumes import (
    PEAK_QUANTILE,
    VIRTUAL_CHANNELS,
    Coils,
    Contrast,
    Kind,
    Volumes,
    cached_source,
    load_volumes,
    save_volumes,
)

LARGEST_ACCELERATION = 1.3
"""Largest acceleration of a scan that counts as fully sampled; 4 / pi for an elliptical shutter."""
LARGE_CENTRE = (48, 48)
SUBJECT = re.compile(r"sub-[0-9A-Za-z]+")
SUFFIXES = (".h5", ".mrd")


@dataclass(frozen=True)
class Scans:
    """MRD files for training, and files of other subjects for validation."""

    training: tuple[Path, ...]
    validation: tuple[Path, ...]


def find_scans(folder: Path, *, n_validation: int, seed: int) -> Scans:
    """Find and check the fully sampled scans of a folder, and split them by subject.

    Scans belong to the same subject if the first ``sub-<label>`` in their path below the folder is
    the same; a file without one is a subject of its own.

    Args:
        folder: folder with MRD files, at any depth.
        n_validation: number of subjects for validation.
        seed: seed of the split.

    Raises:
        InputError: no folder, too few subjects, or a scan that leaves out more than the corners
            of k-space.

    Warns:
        InputWarning: scans that leave out the corners.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of fully sampled MRD files, found none")
    files = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    subjects: dict[str, list[Path]] = {}
    for path in files:
        subjects.setdefault(_subject(path.relative_to(folder)), []).append(path)
    if n_validation < 1 or len(subjects) <= n_validation:
        raise InputError(
            f"{folder}: expected MRD files of more than {max(n_validation, 1)} subjects, of whom "
            f"{n_validation} for validation, found {len(subjects)}"
        )
    for path in track(files, "checking scans", len(files)):
        _check_fully_sampled(path)
    order = [sorted(subjects)[i] for i in np.random.default_rng(seed).permutation(len(subjects))]
    chosen = [
        [path for name in part for path in subjects[name]]
        for part in (order[n_validation:], order[:n_validation])
    ]
    return Scans(tuple(sorted(chosen[0])), tuple(sorted(chosen[1])))


def cached_scans(folder: Path, files: Sequence[Path], kind: Kind) -> list[Volumes]:
    """Volumes of many scans, converted once and then read as memory maps.

    Raises:
        InputError: a file that cannot be read, or one echo where several of one scan are needed.

    Warns:
        InputWarning: a scan that was replaced since it was converted, and is read again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = "echoes" if kind.echoes_of_one_scan else "all" if kind.all_channels else "one"
    stems = [folder / f"{path.stem}-{_code(path)}-{name}-{kind.n_volumes}" for path in files]
    for stem, path in track(list(zip(stems, files, strict=True)), "reading scans", len(files)):
        source, before = _source(path), cached_source(stem)
        if before != source:
            if before is not None and before.get("accelqsm") == __version__:
                warnings.warn(
                    InputWarning(
                        f"{path}: replaced since it was read for training; it is read again, but a "
                        "checkpoint in the folder has learned from the former (--overwrite begins "
                        "anew)"
                    ),
                    stacklevel=2,
                )
            rng = np.random.default_rng([kind.n_volumes, *path.name.encode()])
            kspace = read_mrd(path)
            with naming(path):
                volumes = scan_volumes(kspace, kind, rng=rng)
            save_volumes(stem, volumes, source)
    return [load_volumes(stem) for stem in stems]


def _source(path: Path) -> dict[str, object]:
    """What tells a file from another that takes its place."""
    found = path.stat()
    return {
        "bytes": found.st_size,
        "modified_ns": found.st_mtime_ns,
        "changed_ns": found.st_ctime_ns,
        "accelqsm": __version__,
    }


def _code(path: Path) -> str:
    """Tells files of the same name in different folders."""
    return hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]


def scan_volumes(kspace: KSpace, kind: Kind, *, rng: np.random.Generator) -> Volumes:
    """Volumes of a fully sampled scan: random echoes, or its first ones in their order.

    Args:
        kspace: fully sampled k-space.
        kind: of all channels, they are coil-combined images with ESPIRiT sensitivities, the true
            ones from a large calibration region and the estimated ones from one of usual size.
        rng: random generator.

    Raises:
        InputError: a scan of one echo where several of one scan are needed.
    """
    white = prewhiten(kspace)
    times_s = white.acquisition.echo_times_s
    echoes = _echoes(len(times_s), kind, rng)
    coils, maps = None, None
    channels: list[int | None] = [None] * len(echoes)
    if kind.all_channels:
        white = compress_channels(white, VIRTUAL_CHANNELS)
        maps = _sensitivities(white, LARGE_CENTRE).maps
        known = _sensitivities(white, CENTRES[rng.integers(len(CENTRES))]).supported
        coils = Coils(*(_pad_channels(m).numpy()[None] for m in (maps, known)))
    else:
        channels = [int(rng.integers(white.n_channels)) for _ in echoes]
    images = [_image(white, e, c, maps) for e, c in zip(echoes, channels, strict=True)]
    contrasts = tuple(
        Contrast(
            echo_time_s=times_s[echo],
            repetition_time_s=white.acquisition.repetition_time_s or 0.0,
            flip_angle_deg=white.acquisition.flip_angle_deg or 0.0,
            n_channels=white.n_channels,
            channel=channel,
            texture=0.0,
        )
        for echo, channel in zip(echoes, channels, strict=True)
    )
    peaks = [float(np.quantile(image.abs().numpy(), PEAK_QUANTILE)) for image in images]
    if kind.echoes_of_one_scan:
        peaks = peaks[:1] * len(images)
    scaled = [image / peak for image, peak in zip(images, peaks, strict=True)]
    return Volumes(torch.stack(scaled).numpy(), contrasts, coils, kind.echoes_of_one_scan)


def _echoes(n_echoes: int, kind: Kind, rng: np.random.Generator) -> list[int]:
    """Echoes of the volumes."""
    if not kind.echoes_of_one_scan:
        order = np.concatenate([rng.permutation(n_echoes) for _ in range(kind.n_volumes)])
        return [int(echo) for echo in order[: kind.n_volumes]]
    if n_echoes < 2:
        raise InputError(f"expected two echoes or more, found {n_echoes}")
    return list(range(min(n_echoes, kind.n_volumes)))


def _image(kspace: KSpace, echo: int, channel: int | None, maps: Tensor | None) -> Tensor:
    """Image of one channel, or with maps the combined image, complex (x, y, z)."""
    which = slice(None) if channel is None else slice(channel, channel + 1)
    images = ifft(kspace.planes(which, echoes=slice(echo, echo + 1))[:, 0], PHASE_ENCODES)
    return images[0] if maps is None else (maps.conj() * images).sum(0)


def _sensitivities(kspace: KSpace, centre: tuple[int, int]) -> Sensitivities:
    """ESPIRiT sensitivities from a centre of k-space."""
    (y, z), sampled = kspace.plane, kspace.pattern(0)
    inside = torch.zeros_like(sampled)
    inside[centred_slice(y, min(y, centre[0])), centred_slice(z, min(z, centre[1]))] = True
    inside &= sampled
    first = kspace.acquisition.echo_times_s[:1]
    samples = kspace.samples[:, :1][..., inside[sampled].numpy()]
    acquisition = replace(kspace.acquisition, echo_times_s=first)
    part = KSpace(acquisition, inside, np.ascontiguousarray(samples))
    # The centre alone has no samples that are noise for the most.
    return espirit(part, noise_power=noise_power_of(kspace))


def _pad_channels(maps: Tensor) -> Tensor:
    """Pad with zero channels to ``VIRTUAL_CHANNELS``."""
    return torch.cat([maps, maps.new_zeros(VIRTUAL_CHANNELS - len(maps), *maps.shape[1:])])


def _subject(path: Path) -> str:
    found = SUBJECT.search(path.as_posix())
    return found.group() if found else path.stem


def _check_fully_sampled(path: Path) -> None:
    sampled = torch.from_numpy(read_sampling(path))
    acceleration = sampled.numel() / max(int(sampled.sum()), 1)
    if acceleration > LARGEST_ACCELERATION:
        raise InputError(
            f"{path}: expected a fully sampled scan to train on, found {int(sampled.sum())} of "
            f"{sampled.numel()} positions of k-space (acceleration {acceleration:.2f})"
        )
    if acceleration > 1:
        warnings.warn(
            InputWarning(
                f"{path}: {100 - 100 / acceleration:.1f} % of k-space was not measured, as with an "
                "elliptical shutter; the network will learn that it is empty"
            ),
            stacklevel=3,
        )
