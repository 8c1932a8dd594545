"""Learning of a sampling pattern through a fixed reconstruction network, and its final draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import even_fast_size
from accelqsm.options.table import plain
from accelqsm.recon.method_settings import JOINT
from accelqsm.recon.network.protocol import Network
from accelqsm.recon.patterns.drawn import drawn_pattern, echo_seeds
from accelqsm.recon.patterns.settings import PatternSettings
from accelqsm.recon.weights import load_network, weights_checksum
from accelqsm.runtime.device import best_device, on_device
from accelqsm.runtime.progress import track
from accelqsm.training.data import Pair, full_pair
from accelqsm.training.loss import image_loss
from accelqsm.training.patterns.checkpoint import (
    CHECKPOINT,
    load_checkpoint,
    save_checkpoint,
)
from accelqsm.training.patterns.density import Density, poisson_density
from accelqsm.training.patterns.settings import LearningSettings
from accelqsm.training.patterns.spacing import spaced_pattern
from accelqsm.training.settings import FIRST_TRAINING_SEED, FIRST_VALIDATION_SEED
from accelqsm.training.volumes.digital import Plane, cached_volumes
from accelqsm.training.volumes.volumes import Kind, Volumes

SAVE_EVERY = 20
"""Steps between checkpoints."""
LEAST_FIELD_MM = (180.0, 120.0)
"""Field of view along y and z without which digital heads would be cut."""
READOUT_FIELD_MM, READOUT_MM = 172.0, (1.0, 2.5)
"""Field of view along the readout, and the range of its voxels, otherwise as the plane's."""
NOT_LEARNED = ("steps", "validation_heads", "order", "weights")
"""Settings that may differ when a run is resumed; of the weights the checksum counts."""
SLABS = 2
"""Slabs of each validation head."""
DRAWN, SPACED, POISSON = "draw", "spaced", "poisson-disk"
"""The two forms of the final pattern, and what they are compared with."""


@dataclass(frozen=True)
class LearnedPattern:
    """A learned pattern, and how it was chosen.

    Attributes:
        pattern: bool (ky, kz), or (echo, ky, kz) of patterns of each echo.
        form: "draw" of the learned density, or "spaced": a Poisson disk of that density.
        nrmse: complex NRMSE on other heads of both, and of the usual Poisson disk.
        weights_sha256: checksum of the network's weights.
    """

    pattern: Tensor
    form: str
    nrmse: Mapping[str, float]
    weights_sha256: str


def learn_pattern(
    folder: Path, settings: PatternSettings, learning: LearningSettings
) -> LearnedPattern:
    """Learn a pattern on digital heads of its plane, resuming from a checkpoint in ``folder``.

    Args:
        folder: keeps the heads and the checkpoint.
        settings: plane, acceleration, centre, voxels, corners, seed and number of patterns.
        learning: network, length, heads and noise.

    Raises:
        InputError: a plane that cuts heads, weights that cannot be used, or a checkpoint of other
            settings.
    """
    check_field(settings)
    network = joint_network(learning.weights)
    n_echoes = settings.echoes if settings.echoes > 1 else learning.echoes_per_head
    kind = Kind(n_echoes, all_channels=True, echoes_of_one_scan=True)
    training, validation = (
        cached_volumes(folder / "heads", range(first, first + n), kind, head_plane(settings))
        for first, n in (
            (FIRST_TRAINING_SEED, learning.heads),
            (FIRST_VALIDATION_SEED, learning.validation_heads),
        )
    )
    density = learned_density(folder, network, training, settings, learning)
    candidates = {
        DRAWN: draw(density, seed=settings.seed),
        SPACED: spaced(density, settings, seed=settings.seed),
        POISSON: drawn_pattern(settings),
    }
    pairs = validation_pairs(validation, learning)
    nrmse = {name: fmean(errors(network, pairs, one)) for name, one in candidates.items()}
    form = min((DRAWN, SPACED), key=lambda name: nrmse[name])
    return LearnedPattern(candidates[form], form, nrmse, weights_checksum(learning.weights))


def learned_density(
    folder: Path,
    network: Network,
    heads: Sequence[Volumes],
    settings: PatternSettings,
    learning: LearningSettings,
) -> Density:
    """Learn the density of a pattern, resuming from a checkpoint in ``folder``.

    Each step draws a pattern, samples a slab of all echoes of a head with it, and takes the
    gradient of the image's error by the logits, straight through the draw: by the samples and by
    the data consistency of the network, which stays as it is.

    Args:
        folder: of the checkpoint.
        network: of joint consistency; its weights learn nothing.
        heads: echoes of one scan each, on the plane of the pattern.
        settings: of the pattern.
        learning: of the run.

    Raises:
        InputError: a checkpoint of other settings, or gradients that are not finite.

    Source: Bahadir et al. 2020, IEEE Trans Comput Imaging 6:1139, doi 10.1109/TCI.2020.3006727.
    """
    folder.mkdir(parents=True, exist_ok=True)
    density = Density(settings, poisson_density(settings))
    adam = torch.optim.Adam(density.parameters(), lr=learning.learning_rate)
    depends = _depends(settings, learning)
    first = load_checkpoint(folder / CHECKPOINT, density, adam, depends)
    for step in track(range(first, learning.steps), "learning", learning.steps - first):
        rng = np.random.default_rng([settings.seed, 19, step])
        head = heads[int(rng.integers(len(heads)))]
        pair = full_pair(head, rng, readouts=learning.readouts, noise=learning.noise)
        pattern = density(torch.Generator().manual_seed(int(rng.integers(2**62))))
        adam.zero_grad()
        pair = on_device(pair, network.device)
        image = reconstruct(network, pair, pattern.to(network.device))
        image_loss(image, pair.truth).backward()  # type: ignore[no-untyped-call]
        gradient = density.logits.grad
        if gradient is None or not bool(gradient.isfinite().all()):
            raise InputError(f"step {step}: expected finite gradients, found others")
        adam.step()
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == learning.steps:
            save_checkpoint(folder / CHECKPOINT, step + 1, density, adam, depends)
    return density


def reconstruct(network: Network, pair: Pair, pattern: Tensor) -> Tensor:
    """Image of a fully sampled pair under a pattern, complex (echo, x, y, z).

    Args:
        network: of joint consistency.
        pair: sampled everywhere.
        pattern: (ky, kz) or (echo, 1, ky, kz), bool or of zeros and ones with a gradient.
    """
    return network(pair.measured * pattern, pattern, pair.maps)


def draw(density: Density, *, seed: int) -> Tensor:
    """Draw a pattern of the learned density, bool (ky, kz) or (echo, ky, kz)."""
    with torch.no_grad():
        pattern: Tensor = density(torch.Generator().manual_seed(seed))
    return (pattern[:, 0] if pattern.ndim > 2 else pattern).bool()


def spaced(density: Density, settings: PatternSettings, *, seed: int) -> Tensor:
    """Poisson disks of the learned density, bool (ky, kz) or (echo, ky, kz)."""
    with torch.no_grad():
        planes = density.plane(density.probability()).reshape(-1, *settings.shape)
    n = len(planes)
    seeds = echo_seeds(seed, n) if n > 1 else [seed]
    found = [spaced_pattern(p, settings, seed=s) for p, s in zip(planes, seeds, strict=True)]
    return torch.stack(found) if n > 1 else found[0]


def validation_pairs(heads: Sequence[Volumes], learning: LearningSettings) -> list[Pair]:
    """Fixed slabs of heads, sampled everywhere."""
    return [
        full_pair(
            head,
            np.random.default_rng([FIRST_VALIDATION_SEED, number, slab]),
            readouts=learning.readouts,
            noise=learning.noise,
        )
        for number, head in enumerate(heads)
        for slab in range(SLABS)
    ]


def errors(network: Network, pairs: Sequence[Pair], pattern: Tensor) -> list[float]:
    """Complex NRMSE ||image - truth|| / ||truth|| of each pair under a pattern.

    Args:
        network: of joint consistency.
        pairs: sampled everywhere.
        pattern: bool (ky, kz) or (echo, ky, kz).
    """
    sampled = pattern[:, None] if pattern.ndim == 3 else pattern
    found = []
    with torch.inference_mode():
        for pair in pairs:
            here = on_device(pair, network.device)
            image = reconstruct(network, here, sampled.to(network.device))
            norm = torch.linalg.vector_norm
            found.append(float(norm(image - here.truth) / norm(here.truth)))
    return found


def joint_network(weights: str) -> Network:
    """Network with fixed weights on the best device.

    Raises:
        InputError: weights that cannot be used, or those of one channel.
    """
    network = load_network(weights)
    if network.consistency != JOINT:
        raise InputError(
            f"{weights}: expected a network of all channels (joint), found one of "
            f"{network.consistency}"
        )
    assert isinstance(network, torch.nn.Module)
    return network.to(best_device())


def head_plane(settings: PatternSettings) -> Plane:
    """Shape and voxel size of heads whose phase-encoded plane is that of a pattern."""
    (n_y, n_z), (y_mm, z_mm) = settings.shape, settings.voxel_size_mm
    x_mm = min(max((y_mm + z_mm) / 2, READOUT_MM[0]), READOUT_MM[1])
    return (even_fast_size(round(READOUT_FIELD_MM / x_mm)), n_y, n_z), (x_mm, y_mm, z_mm)


def check_field(settings: PatternSettings) -> None:
    """Refuse a plane that digital heads do not fit into.

    Raises:
        InputError: with the field of view.
    """
    fields = [n * mm for n, mm in zip(settings.shape, settings.voxel_size_mm, strict=True)]
    if fields[0] < LEAST_FIELD_MM[0] or fields[1] < LEAST_FIELD_MM[1]:
        raise InputError(
            "--voxel-size-mm: expected a field of view of "
            f"{LEAST_FIELD_MM[0]:g} x {LEAST_FIELD_MM[1]:g} mm or more, into which heads fit, "
            f"found {fields[0]:g} x {fields[1]:g} mm"
        )


def _depends(settings: PatternSettings, learning: LearningSettings) -> dict[str, Any]:
    """What learned logits depend on: all settings but those of length, comparison and play."""
    own = {**plain(settings), **plain(learning)}
    known = {name: value for name, value in own.items() if name not in NOT_LEARNED}
    return known | {"weights_sha256": weights_checksum(learning.weights)}
