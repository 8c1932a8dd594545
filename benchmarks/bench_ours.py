"""What this package does at each stage that is measured beside peers, as calls on ``bench_inputs``.

Every function loads its input and returns the call that is measured.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.agreement.similarity import psnr_db, ssim
from accelqsm.grid import Grid, as_affine
from accelqsm.kspace import KSpace
from accelqsm.nuclei.register import register_affine, register_rigid, register_template
from accelqsm.nuclei.settings import SynSettings
from accelqsm.nuclei.volume import Volume, box_around
from accelqsm.qsm.background.dipole_fit import dipole_fit
from accelqsm.qsm.background.vsharp import vsharp
from accelqsm.qsm.brain import found_brain
from accelqsm.qsm.chain import iron_magnitude, susceptibility
from accelqsm.qsm.field.lags import lag_products
from accelqsm.qsm.field.unwrap import unwrap_spun
from accelqsm.qsm.inversion.l1 import l1_dipole_inversion
from accelqsm.recon import sampling
from accelqsm.recon.espirit import espirit
from accelqsm.recon.methods.cg_sense import cg_sense
from accelqsm.recon.methods.l1_wavelet import l1_wavelet
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.units import hz_to_ppm
from qsm_chain import plain_tv
from qsm_head import FIELD_STRENGTH_T, Case
from qsm_peers import closed_form, fitted_field_hz, hd_qsm, pdf, resharp, tkd

PLANE, CENTRE, ACCELERATION = (288, 72), (24, 24), 4
"""Of the sampling pattern, the plane and centre of a common protocol."""

Call = Callable[[], Any]


def sampled(folder: Path) -> Call:
    """Poisson disk, bool (ky, kz)."""
    return lambda: sampling.poisson_disk(
        PLANE, acceleration=ACCELERATION, calibration=CENTRE, seed=1
    )


def sensitivities(folder: Path) -> Call:
    """Sensitivities (channel, x, y, z)."""
    kspace = _kspace(folder, "poisson")
    return lambda: espirit(kspace).maps


def grappa(folder: Path) -> Call:
    """Channel images (channel, x, y, z)."""
    kspace = _kspace(folder, "lines")
    return lambda: torch.cat([b.images[:, 0] for b in reconstruct(kspace, "grappa")], dim=1)


def sense(folder: Path) -> Call:
    """Image (x, y, z) with the given sensitivities."""
    planes, maps, pattern = _given(folder)
    return lambda: cg_sense(planes, maps, sampled=pattern)


def wavelet(folder: Path) -> Call:
    """Image (x, y, z) with the given sensitivities."""
    planes, maps, pattern = _given(folder)
    return lambda: l1_wavelet(planes, maps, sampled=pattern)


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
    case, found = _case(folder), pickle.loads((folder / "found.pickle").read_bytes())
    field, mask = _ppm(found.local_field_hz), found.mask
    size_mm, direction = _geometry(case)
    where = {"voxel_size_mm": size_mm, "b0_direction": direction}
    edges = iron_magnitude(_products(case), size_mm)
    sd = found.field_sd_hz
    weight = torch.where(mask & (sd > 0), sd[mask].median() / sd.clamp_min(1e-6), 0).clamp_max(1)
    calls = {
        "l1": lambda: l1_dipole_inversion(
            field, mask, **where, data_weight=weight, magnitude=edges
        ),
        "tv": lambda: plain_tv(field, mask, size_mm, direction),
        "tkd": lambda: tkd(field, mask, size_mm, direction),
        "closed_form": lambda: closed_form(field, mask, size_mm, direction),
        "hd_qsm": lambda: hd_qsm(field, mask, weight, size_mm, direction),
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


def rigid(folder: Path) -> Call:
    """Matrix (4, 4) from world points of one pose to those of the other."""
    fixed, moving = _t1w(folder, "fixed"), _t1w(folder, "moved")
    return lambda: register_rigid(fixed, moving)


def deformable(folder: Path) -> Call:
    """Labels of the template on the head's grid, (x, y, z)."""
    scan, template = _t1w(folder, "fixed"), _t1w(folder, "template")
    scan_brain, template_brain = (_labels(folder, n, "brain") for n in ("fixed", "template"))
    labels = _labels(folder, "template", "labels")
    there = _labels(folder, "fixed", "labels").grid
    nuclei = Volume((labels.values > 0).astype(np.float32), labels.grid)
    syn = SynSettings()
    box = box_around(nuclei, margin_mm=syn.margin_mm)
    images = {"T1w": template}, {"T1w": scan}

    def call() -> npt.NDArray[Any]:
        affine = register_affine(
            template, scan, template_brain=template_brain, scan_brain=scan_brain
        )
        coarse = register_template(*images, box=box, affine=affine, settings=syn.coarse)
        fine = register_template(*images, box=box, affine=affine, settings=syn.fine, start=coarse)
        return propagated(labels, there, fine.to_template)

    return call


def propagated(
    labels: Volume, grid: Grid, transform: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """Labels at the nearest voxel, on a grid whose world points are taken to theirs."""
    from scipy import ndimage

    from accelqsm.nuclei.volume import affine_transform, grid_points

    found = np.zeros(grid.shape, np.int32)
    for start in range(0, grid.shape[0], 16):
        points = transform(grid_points(grid, start, min(start + 16, grid.shape[0])))
        index = affine_transform(np.linalg.inv(labels.grid.matrix))(points)
        found[start : start + 16] = ndimage.map_coordinates(labels.values, index, order=0)
    return found


def similarity(folder: Path) -> Call:
    """SSIM and PSNR over the whole volume."""
    found, true = (np.load(folder / f"{n}.npy") for n in ("chi", "true_chi"))
    return lambda: np.array(
        [ssim(found, true, dynamic_range=0.5), psnr_db(found, true, dynamic_range=0.5)]
    )


def _kspace(folder: Path, name: str) -> KSpace:
    kspace: KSpace = pickle.loads((folder / f"{name}.pickle").read_bytes())
    return kspace


def _given(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    kspace = _kspace(folder, "poisson")
    return kspace.planes()[:, 0].contiguous(), _tensor(folder, "maps"), kspace.sampled


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


def _t1w(folder: Path, name: str) -> Volume:
    stored = np.load(folder / f"{name}.npz")
    return _volume(stored["image"], stored["affine"])


def _labels(folder: Path, name: str, what: str) -> Volume:
    stored = np.load(folder / f"{name}.npz")
    values = stored[what]
    return _volume(
        values.astype(np.float32 if what == "brain" else np.int32), stored["label_affine"]
    )


def _volume(values: npt.NDArray[Any], affine: npt.NDArray[Any]) -> Volume:
    return Volume(values, Grid(values.shape, as_affine(affine)))
