"""Errors against the truth of what the methods of a stage gave, by the name of the method.

Each function takes the folder of the inputs and the names of results beside them, and returns the
call that reads them; errors are those that ``bench_stages.py`` names.
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

from accelqsm.agreement.similarity import nrmse_percent
from accelqsm.nuclei.register import motion_of
from accelqsm.qsm.mask import erode
from accelqsm.units import hz_to_ppm
from bench_peers import ACCELERATION, PLANE
from qsm_head import FIELD_STRENGTH_T
from unwrapping import wrong_voxels

END = 3
"""Readout positions at each end of the slab that are not judged: kernels lack neighbours there."""

SIGNAL_SHARE, COMMON_MM = 0.1, 6.0
HEAD_CENTRE_MM = (0.0, -8.0, 0.0)

Call = Callable[[], dict[str, float]]
Array = npt.NDArray[Any]


def each(folder: Path, names: tuple[str, ...], error: Callable[[Array], float]) -> Call:
    """The call that gives the error of every result."""
    return lambda: {name: float(error(np.load(folder / f"{name}.npy"))) for name in names}


def count(folder: Path, *names: str) -> Call:
    """Samples too many or too few, in % of those asked for."""
    wanted = round(PLANE[0] * PLANE[1] / ACCELERATION)
    return each(folder, names, lambda pattern: 100 * (pattern.sum() / wanted - 1))


def maps(folder: Path, *names: str) -> Call:
    """Angle between found and true sensitivities where there is signal, root mean square, %."""
    coil, _, here = _slab(folder)

    def error(found: Array) -> float:
        given = torch.from_numpy(found)
        size = given.abs().square().sum(0).sqrt().clamp_min(1e-12)
        along = ((coil.conj() * given).sum(0) / size).abs()[here]
        return 100 * float((1 - along.square()).clamp_min(0).mean().sqrt())

    return each(folder, names, error)


def channels(folder: Path, *names: str) -> Call:
    """Complex NRMSE in % of channel images, combined by the true sensitivities."""
    return _combined(folder, names)


def image(folder: Path, *names: str) -> Call:
    """Complex NRMSE in % of images that were solved for with the given sensitivities."""
    return _combined(folder, names, torch.from_numpy(np.load(folder / "maps.npy")))


def wrong(folder: Path, *names: str) -> Call:
    """Brain voxels that are off by more than pi, %."""
    brain, true = (torch.from_numpy(np.load(folder / f"{n}.npy")) for n in ("brain", "true_phase"))

    def error(found: Array) -> float:
        off = wrong_voxels(torch.from_numpy(found).float(), true, brain)
        return 100 * float(off[brain].float().mean())

    return each(folder, names, error)


def overlap(folder: Path, *names: str) -> Call:
    """What Dice with the true brain lacks, %."""
    true = _case(folder).brain.numpy()
    return each(folder, names, lambda m: 100 * (1 - 2 * (m & true).sum() / (m.sum() + true.sum())))


def local_field(folder: Path, *names: str) -> Call:
    """NRMSE in % of the local field, 6 mm inside the brain and where the method keeps it."""
    case = _case(folder)
    true = hz_to_ppm(case.local_field_hz, FIELD_STRENGTH_T)
    padded = torch.nn.functional.pad(case.brain, (1, 1, 1, 1, 1, 1))
    deep = erode(padded, COMMON_MM, voxel_size_mm=case.acquisition.grid.voxel_size_mm)
    deep = deep[1:-1, 1:-1, 1:-1]

    def error(found: Array) -> float:
        field, kept = torch.from_numpy(found[0]), torch.from_numpy(found[1] > 0)
        here = deep & kept
        return nrmse_percent(*_centred(field, true, here), here.numpy())

    return each(folder, names, error)


def inverted(folder: Path, *names: str) -> Call:
    """NRMSE in % of susceptibility over the mask of the chain and the true brain."""
    _, left, _ = pickle.loads((folder / "found.pickle").read_bytes())
    case = _case(folder)
    here = left & case.brain

    def error(chi: Array) -> float:
        return nrmse_percent(*_centred(torch.from_numpy(chi), case.chi_ppm, here), here.numpy())

    return each(folder, names, error)


def whole(folder: Path, *names: str) -> Call:
    """NRMSE in % of susceptibility over what each keeps of the true brain."""
    case = _case(folder)

    def error(found: Array) -> float:
        here = torch.from_numpy(found[1] > 0) & case.brain
        chi = torch.from_numpy(found[0])
        return nrmse_percent(*_centred(chi, case.chi_ppm, here), here.numpy())

    return each(folder, names, error)


def motion(folder: Path, *names: str) -> Call:
    """Displacement of the middle of the head by what is left of the true motion, mm."""
    one, other = (np.load(folder / f"{name}.npz")["pose"] for name in ("fixed", "moved"))
    true = other @ np.linalg.inv(one)
    return each(
        folder, names, lambda found: motion_of(np.linalg.inv(true) @ found, HEAD_CENTRE_MM)[0]
    )


def labels(folder: Path, *names: str) -> Call:
    """What the mean Dice of the nuclei lacks, %."""
    true = np.load(folder / "fixed.npz")["labels"]
    indices = [int(i) for i in np.unique(true) if i]

    def error(found: Array) -> float:
        dice = [
            2 * ((found == i) & (true == i)).sum() / max((found == i).sum() + (true == i).sum(), 1)
            for i in indices
        ]
        return 100 * (1 - float(np.mean(dice)))

    return each(folder, names, error)


def similar(folder: Path, *names: str) -> Call:
    """The SSIM itself."""
    return each(folder, names, lambda values: values[0])


def _combined(folder: Path, names: tuple[str, ...], maps: Tensor | None = None) -> Call:
    """Complex NRMSE in % of channel images, or of maps times an image, combined."""
    coil, echo, here = _slab(folder)
    weights = coil.conj() if maps is None else coil.conj() * maps

    def error(found: Array) -> float:
        combined = (weights * torch.from_numpy(found)).sum(0)
        return 100 * float((combined - echo)[here].norm() / echo[here].norm())

    return each(folder, names, error)


def _slab(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    """True sensitivities, true echo, and where there is signal, away from the ends of the slab."""
    coil, echo = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("coil", "echo"))
    here = echo.abs() > SIGNAL_SHARE * echo.abs().max()
    here[:END] = here[-END:] = False
    return coil, echo, here


def _case(folder: Path) -> Any:
    return pickle.loads((folder / "case.pickle").read_bytes())


def _centred(found: Tensor, true: Tensor, here: Tensor) -> tuple[Array, Array]:
    """Both with the mean zero over a region, and zero outside it."""
    ours, theirs = (
        torch.where(here, v - v[here].mean(), 0).double().numpy() for v in (found, true)
    )
    return ours, theirs
