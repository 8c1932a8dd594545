"""Validation errors of a network on volumes that are not used for training."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from accelqsm.files.atomic import whole_file
from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.recon.network.protocol import Network
from accelqsm.runtime.device import on_device
from accelqsm.training.data import validation_pairs
from accelqsm.training.volumes.volumes import Volumes

VALIDATION_ACCELERATIONS = (3.0, 4.0, 5.0)


@dataclass(frozen=True)
class RelativeError:
    """Complex NRMSE ||image - truth|| / ||truth|| of one validation slab.

    Attributes:
        echo_time_s: echo time of the slab.
        network, zero_filled: NRMSE of the network image and of the zero-filled image.
    """

    echo_time_s: float
    network: float
    zero_filled: float


def relative_errors(
    network: Network,
    heads: Sequence[Volumes],
    *,
    acceleration: float,
    readouts: int = 12,
    pairs_per_head: int = 1,
) -> list[RelativeError]:
    """NRMSE of every validation slab against the noise-free images.

    Args:
        network: network with any weights.
        heads: validation heads.
        acceleration: acceleration of the patterns.
        readouts: readout positions of a slab.
        pairs_per_head: pairs of volumes of each head.
    """
    found = []
    for pair in validation_pairs(
        heads, readouts=readouts, acceleration=acceleration, pairs_per_head=pairs_per_head
    ):
        device = network.device
        with torch.inference_mode():
            moved = on_device(pair, device)
            images = network(moved.measured, moved.sampled, moved.maps).cpu()
        plain = ifft(pair.measured, PHASE_ENCODES)
        if pair.maps is not None:
            plain = (pair.maps.conj() * plain).sum(0)
        for echo_time_s, image, zero_filled, truth in zip(
            pair.echo_times_s, images, plain, pair.truth, strict=True
        ):
            found.append(
                RelativeError(echo_time_s, _nrmse(image, truth), _nrmse(zero_filled, truth))
            )
    return found


def _nrmse(image: Tensor, truth: Tensor) -> float:
    return float(torch.linalg.vector_norm(image - truth) / torch.linalg.vector_norm(truth))


def mean_errors(network: Network, heads: Sequence[Volumes]) -> dict[str, float]:
    """Mean NRMSE of network and zero-filling at each acceleration, by column name of the log."""
    columns = {}
    for acceleration in VALIDATION_ACCELERATIONS if heads else ():
        errors = relative_errors(network, heads, acceleration=acceleration)
        columns[f"nrmse_af{acceleration:g}"] = fmean(e.network for e in errors)
        columns[f"zero_filled_af{acceleration:g}"] = fmean(e.zero_filled for e in errors)
    return columns


def write_errors(path: Path, network: Network, heads: Sequence[Volumes]) -> None:
    """Write a CSV table of errors, one line per acceleration and validation slab."""
    of_one_scan = heads[0].echoes_of_one_scan  # whose echoes are all in one pair
    pairs_per_head = 1 if of_one_scan else min(len(head.images) for head in heads) // 2
    with whole_file(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["acceleration", "echo_time_ms", "nrmse", "nrmse_zero_filled"])
        for acceleration in VALIDATION_ACCELERATIONS:
            for error in relative_errors(
                network, heads, acceleration=acceleration, pairs_per_head=pairs_per_head
            ):
                writer.writerow(
                    [
                        f"{acceleration:g}",
                        f"{1000 * error.echo_time_s:.2f}",
                        f"{error.network:.4f}",
                        f"{error.zero_filled:.4f}",
                    ]
                )
