"""What the settings of a study leave open, taken from the dataset and said aloud."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.files.bids.dataset import Dataset, Scan
from accelqsm.files.mrd.lines import read_sampling
from accelqsm.recon.registry import RECONSTRUCTIONS
from accelqsm.recon.settings import ReconSettings
from accelqsm.recon.weights import chosen_weights
from accelqsm.study.settings import Study

Sampling = npt.NDArray[np.bool_]


def complete(
    study: Study, dataset: Dataset, *, sampling: Callable[[Path], Sampling] = read_sampling
) -> tuple[Study, dict[str, str]]:
    """Settings in which every protocol has a reconstruction, and there is a reference.

    The first scan of a protocol tells: zero filling where all of the (ky, kz) plane is sampled,
    GRAPPA where whole lines are, L1 over echoes where each has a pattern of its own, ReconNet3D
    elsewhere. The reference is the protocol with the least acceleration.

    Args:
        study: settings as given.
        dataset: the dataset.
        sampling: reads the sampled positions (ky, kz) of a raw file.

    Returns:
        The settings, and what was assumed, by the table of the settings file.

    Raises:
        InputError: no reference that can be found, or settings of a protocol that is not there.
    """
    firsts: dict[str, Scan] = {}
    for scan in dataset.scans:
        firsts.setdefault(scan.protocol, scan)
    unknown = [name for name in study.recon if name not in firsts]
    if unknown:
        raise InputError(
            f"[recon.{unknown[0]}]: expected a protocol of {dataset.root} "
            f"({', '.join(firsts)}), found {unknown[0]}"
        )
    open_methods = [p for p, s in firsts.items() if s.is_kspace and p not in study.recon]
    needs_reference = not study.study.reference
    raw = [p for p, s in firsts.items() if s.is_kspace and (needs_reference or p in open_methods)]
    patterns = {p: sampling(firsts[p].files[0]) for p in raw}
    notes: dict[str, str] = {}
    recon = dict(study.recon)
    for protocol in open_methods:
        recon[protocol] = ReconSettings(_method(patterns[protocol]))
        notes[f"recon.{protocol}"] = (
            f"assumed from the pattern of {firsts[protocol].files[0].name}: "
            f"{recon[protocol].method} (acceleration {_acceleration(patterns[protocol]):.2g})"
        )
    reference = study.study.reference
    if needs_reference:
        reference, notes["study"] = _reference(dataset, firsts, patterns)
    if reference not in firsts:
        raise InputError(
            f"reference: expected a protocol of {dataset.root} ({', '.join(firsts)}), found "
            f"{reference}"
        )
    made = replace(
        study,
        recon={p: _with_weights(recon[p]) for p in firsts if p in recon},
        study=replace(study.study, reference=reference),
        compare=replace(study.compare, reference=reference),
    )
    return made, notes


def _method(sampled: Sampling) -> str:
    if sampled.all():
        return "zero-filled"
    if sampled.ndim > 2:
        return "l1-echoes"
    import torch

    from accelqsm.recon.methods.grappa import line_step

    try:
        line_step(torch.from_numpy(sampled))
    except InputError:
        return "reconnet3d"
    return "grappa"


def _with_weights(recon: ReconSettings) -> ReconSettings:
    """Settings that name the weights of a network, so that all machines use the same."""
    if "network" not in RECONSTRUCTIONS[recon.method].uses or recon.network.weights:
        return recon
    named = replace(recon.network, weights=chosen_weights(recon))
    return replace(recon, network=named)


def _acceleration(sampled: Sampling) -> float:
    return sampled.size / int(sampled.sum())


def _reference(
    dataset: Dataset, firsts: dict[str, Scan], patterns: dict[str, Sampling]
) -> tuple[str, str]:
    if len(firsts) == 1:
        return next(iter(firsts)), "the only protocol is the reference"
    if len(patterns) < len(firsts):
        raise InputError(
            f"{dataset.root}: expected the reference protocol (--reference PROTOCOL, one of "
            f"{', '.join(firsts)}), found none, and images do not tell their acceleration"
        )
    found = min(patterns, key=lambda name: _acceleration(patterns[name]))
    return found, f"assumed: {found} is the reference, as it is the least accelerated"
