"""Simulated study: digital heads scanned with each protocol, as MRD files with ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError
from accelqsm.files.mrd.writer import write_mrd
from accelqsm.files.nifti import write_image
from accelqsm.files.toml import write_settings
from accelqsm.fourier import centred_slice, fft, ifft
from accelqsm.grid import Grid
from accelqsm.options.table import simple
from accelqsm.pipeline.maps import as_array
from accelqsm.results.provenance import software
from accelqsm.results.records import SETTINGS
from accelqsm.results.study import ScanFiles, scan_files, t1w_file
from accelqsm.runtime.progress import track
from accelqsm.simulate.cohort import Cohort, Subject, random_pose
from accelqsm.simulate.heads.head import UPRIGHT, Head, Pose, digital_head
from accelqsm.simulate.heads.variety import VARIETIES
from accelqsm.simulate.mprage import t1w_grid, t1w_scan
from accelqsm.simulate.scanner import scan
from accelqsm.virtual.dataset import write_dataset, write_t1w_sidecar
from accelqsm.virtual.protocols import PRESETS, PROTOCOLS, T1W_PLACE, Preset
from accelqsm.virtual.sampling import check_table, sampling_pattern

T1W_SNR = 25.0


def simulate_study(
    out: Path,
    cohort: Cohort,
    *,
    preset: str,
    protocols: Sequence[str],
    t1w: bool = False,
    changed: Mapping[str, Any] | None = None,
) -> list[ScanFiles]:
    """Draw a cohort and scan every subject with every protocol.

    Args:
        out: folder for a BIDS dataset: raw data in ``sourcedata``, T1-weighted images, what is
            true of them in ``derivatives/truth``, and ``settings.toml``.
        cohort: the heads; the same cohort gives the same files.
        preset: "small", "demo" or "paper".
        protocols: names of ``PROTOCOLS``.
        t1w: add a T1-weighted scan of every subject (1 mm, in a pose of its own).
        changed: fields of the preset that are to be others, such as ``moves_between_scans``,
            ``anatomy`` or ``pattern``.

    Returns:
        The scans written, subject by subject.

    Raises:
        InputError: no subject, or one that the cohort does not have; a protocol named twice, or
            one without that of its session; an unknown anatomy; a table of positions that cannot
            be used.
    """
    if len(set(protocols)) != len(protocols):
        raise InputError(f"--protocols: expected each once, found {' '.join(protocols)}")
    for name in protocols:
        session = PROTOCOLS[name].session
        if session and session not in protocols:
            raise InputError(
                f"--protocols: expected {session}, from whose scan {name} is drawn, beside it, "
                f"found {' '.join(protocols)}"
            )
    chosen = replace(PRESETS[preset], **(changed or {}))
    if chosen.anatomy not in VARIETIES:
        raise InputError(f"anatomy: expected one of {', '.join(VARIETIES)}, found {chosen.anatomy}")
    if chosen.pattern:
        check_table(chosen, protocols)
    subjects = cohort.subjects()
    scans = [
        files
        for subject in track(subjects, "Scanning digital heads", len(subjects))
        for files in simulate_subject(out, subject, preset=chosen, protocols=protocols)
    ]
    if t1w:
        for subject in track(subjects, "T1-weighted scans", len(subjects)):
            simulate_t1w(out, subject, preset=chosen)
    write_dataset(out, subjects, scans, field_strength_t=chosen.acquisition.field_strength_t)
    write_settings(
        out / SETTINGS,
        {
            "subjects": cohort.n_subjects,
            "participants": list(cohort.participants),
            "seed": cohort.seed,
            "exact": cohort.exact,
            "preset": preset,
            "protocols": list(protocols),
            "t1w": t1w,
            "nuclei": {name: simple(one) for name, one in cohort.nuclei.items()},
            "scanner": {name: value for name, value in simple(chosen).items() if value != ""},
            "variety": simple(asdict(VARIETIES[chosen.anatomy])),
            "software": software(),
        },
    )
    return scans


def simulate_subject(
    out: Path, subject: Subject, *, preset: Preset, protocols: Sequence[str]
) -> Iterator[ScanFiles]:
    """Scan one head with every protocol; write raw data, labels and true susceptibility."""
    acquisition = preset.acquisition
    for pose, names in _scans_by_pose(subject, preset, protocols):
        head = digital_head(
            acquisition.grid.refined(preset.refinement),
            seed=subject.seed,
            pose=pose,
            age_years=subject.age_years,
            nuclei_chi_ppm=subject.nuclei_chi_ppm,
            variety=VARIETIES[preset.anatomy],
        )
        labels, truth = at_scan_resolution(head, acquisition)
        patterns = {
            name: sampling_pattern(PROTOCOLS[name], preset, seed=_seed(subject, name))
            for name in names
        }
        kspaces = scan(
            head,
            acquisition,
            patterns,
            n_channels=preset.n_channels,
            snr=preset.snr,
            seed=_seed(subject, names[0]),
            sessions={name: PROTOCOLS[name].session or name for name in names},
        )
        for name, kspace in kspaces.items():
            files = scan_files(out, subject.label, name)
            write_mrd(files.raw, kspace)
            write_image(files.labels, as_array(labels), acquisition.grid)
            write_image(files.truth, as_array(truth), acquisition.grid)
            yield files


def simulate_t1w(out: Path, subject: Subject, *, preset: Preset) -> Path:
    """Scan one head T1-weighted, in a pose of its own, and write it with its sidecar."""
    seed = _seed_at(subject, T1W_PLACE)
    grid = t1w_grid(preset.t1w_voxel_mm)
    head = digital_head(
        grid,
        seed=subject.seed,
        pose=random_pose(seed),
        age_years=subject.age_years,
        nuclei_chi_ppm=subject.nuclei_chi_ppm,
        variety=VARIETIES[preset.anatomy],
    )
    path = t1w_file(out, subject.label)
    write_image(path, as_array(t1w_scan(head, snr=T1W_SNR, seed=seed)), grid)
    write_t1w_sidecar(path)
    return path


def at_scan_resolution(head: Head, acquisition: Acquisition) -> tuple[Tensor, Tensor]:
    """Ground truth at the resolution of the scan: labels and susceptibility.

    The susceptibility (ppm, relative to the mean of the brain, zero outside it) is cropped in
    k-space to the frequencies of the scan; the labels are those at the voxel centres.
    """
    shape, fine = acquisition.grid.shape, head.grid.shape
    inside = head.brain
    chi = (head.chi_ppm - head.chi_ppm[inside].mean()) * inside
    spectrum = chi.to(torch.complex64)
    for axis in range(3):
        spectrum = fft(spectrum, (axis,))
        kept = centred_slice(fine[axis], shape[axis])
        spectrum = spectrum.narrow(axis, kept.start, shape[axis])
    truth = ifft(spectrum).real * float(np.sqrt(np.prod(shape) / np.prod(fine)))
    brain, labels = (
        _at_voxel_centres(values, head.grid, acquisition.grid) for values in (inside, head.labels)
    )
    return labels, truth * brain


def _at_voxel_centres(values: Tensor, fine: Grid, coarse: Grid) -> Tensor:
    for axis, (n_fine, n) in enumerate(zip(fine.shape, coarse.shape, strict=True)):
        factor = n_fine // n
        first = n_fine // 2 - factor * (n // 2)
        values = values.index_select(axis, first + factor * torch.arange(n))
    return values


def _scans_by_pose(
    subject: Subject, preset: Preset, protocols: Sequence[str]
) -> list[tuple[Pose, list[str]]]:
    if not preset.moves_between_scans:
        return [(UPRIGHT, list(protocols))]
    sessions: dict[str, list[str]] = {}
    for name in sorted(protocols, key=lambda name: bool(PROTOCOLS[name].session)):
        sessions.setdefault(PROTOCOLS[name].session or name, []).append(name)
    return [(random_pose(_seed(subject, first)), names) for first, names in sessions.items()]


def _seed(subject: Subject, protocol: str) -> int:
    """Seed of a scan, so that no two scans share noise, pattern or pose."""
    return _seed_at(subject, PROTOCOLS[protocol].place)


def _seed_at(subject: Subject, place: int) -> int:
    return int(np.random.SeedSequence([subject.seed, place]).generate_state(1)[0])
