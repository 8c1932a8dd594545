"""What this package does with images, as calls on ``bench_inputs`` that are measured beside peers.

Every function loads its input and returns the call that is measured. Where pip offers no peer, the
methods of ``qsm_peers``, written from their papers, stand beside.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from accelqsm.qsm.background.dipole_fit import dipole_fit
from accelqsm.qsm.background.vsharp import vsharp
from accelqsm.qsm.brain import found_brain
from accelqsm.qsm.chain import dipole_inversion, susceptibility
from accelqsm.qsm.field.lags import lag_products
from accelqsm.qsm.field.unwrap import unwrap_spun
from accelqsm.units import hz_to_ppm
from qsm_chain import plain_tv
from qsm_head import FIELD_STRENGTH_T, Case
from qsm_peers import closed_form, fitted_field_hz, hd_qsm, pdf, resharp, tkd

Call = Callable[[], Any]


def unwrapped(folder: Path) -> Call:
    """Phase (x, y, z) in rad."""
    phase, strength, brain = (_tensor(folder, n) for n in ("wrapped", "strength", "brain"))
    return lambda: unwrap_spun(phase, strength, brain)


def brain(folder: Path) -> Call:
    """Brain mask, bool (x, y, z)."""
    magnitude, size_mm = _tensor(folder, "magnitude"), _case(folder).acquisition.grid.voxel_size_mm
    return lambda: found_brain(magnitude, None, size_mm).mask


def background(folder: Path, method: str) -> Call:
    """Local field and its mask, (2, x, y, z), from the true total field in ppm."""
    case = _case(folder)
    field, inside, weight = _ppm(case.field_hz), case.brain, torch.ones_like(case.field_hz)
    size_mm, direction = _geometry(case)
    where = {"voxel_size_mm": size_mm}
    calls = {
        "dipole_fit": lambda: dipole_fit(field, inside, **where, b0_direction=direction),
        "vsharp": lambda: vsharp(field, inside, **where),
        "pdf": lambda: pdf(field, inside, weight, size_mm, direction),
        "resharp": lambda: resharp(field, inside, size_mm),
    }

    def call() -> Tensor:
        local = calls[method]()
        return torch.stack([local.field_ppm, local.mask.to(local.field_ppm)])

    return call


def inversion(folder: Path, method: str) -> Call:
    """Susceptibility (x, y, z) in ppm from the local field that the chain found."""
    local, left, subject = pickle.loads((folder / "found.pickle").read_bytes())
    field, mask = local.field_ppm, local.mask
    size_mm, direction = subject.voxel_size_mm, subject.b0_direction
    calls = {
        "l1": lambda: dipole_inversion(local, left, subject),
        "tv": lambda: plain_tv(field, mask, size_mm, direction),
        "tkd": lambda: tkd(field, mask, size_mm, direction),
        "closed_form": lambda: closed_form(field, mask, size_mm, direction),
        "hd_qsm": lambda: hd_qsm(field, mask, mask, size_mm, direction),
    }
    return calls[method]


def chain(folder: Path) -> Call:
    """Susceptibility and its mask, (2, x, y, z), from noisy images; the brain mask is given."""
    case = _case(folder)

    def call() -> Tensor:
        found = susceptibility(
            _products(case),
            grid=case.acquisition.grid,
            field_strength_t=FIELD_STRENGTH_T,
            mask=case.brain,
        )
        return torch.stack([found.chi_ppm, found.mask.to(found.chi_ppm)])

    return call


def others_chain(folder: Path) -> Call:
    """The same by scikit-image's unwrapping, a fitted slope, RESHARP and total variation."""
    case = _case(folder)
    size_mm, direction = _geometry(case)

    def call() -> Tensor:
        field_hz = fitted_field_hz(case.images[0], case.acquisition.echo_times_s, case.brain)
        local = resharp(_ppm(field_hz), case.brain, size_mm)
        chi_ppm = plain_tv(local.field_ppm, local.mask, size_mm, direction)
        return torch.stack([chi_ppm, local.mask.to(chi_ppm)])

    return call


def _case(folder: Path) -> Case:
    case: Case = pickle.loads((folder / "case.pickle").read_bytes())
    return case


def _tensor(folder: Path, name: str) -> Tensor:
    return torch.from_numpy(np.load(folder / f"{name}.npy"))


def _ppm(field_hz: Tensor) -> Tensor:
    return hz_to_ppm(field_hz, FIELD_STRENGTH_T)


def _geometry(case: Case) -> tuple[Any, Any]:
    return case.acquisition.grid.voxel_size_mm, case.acquisition.grid.b0_direction


def _products(case: Case) -> Any:
    return lag_products(case.images, echo_times_s=case.acquisition.echo_times_s)
