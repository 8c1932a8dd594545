"""Volumes in place of a head, for the tests of the training."""

from __future__ import annotations

import numpy as np

from accelqsm.training.volumes.volumes import Coils, Contrast, Volumes

SHAPE = (16, 36, 30)


def blob_volumes(n_volumes: int = 3, seed: int = 0, *, n_channels: int = 0) -> Volumes:
    """A few complex Gaussian blobs in each volume: sparse, as images are.

    With channels, two coils of smooth random maps, estimated exactly.
    """
    rng = np.random.default_rng(seed)
    lines = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij", sparse=True)
    images = np.zeros((n_volumes, *SHAPE), np.complex64)
    for image in images:
        for _ in range(8):
            centre = [rng.uniform(0.3 * n, 0.7 * n) for n in SHAPE]
            squared = sum((x - c) ** 2 for x, c in zip(lines, centre, strict=True))
            amplitude = rng.uniform(0.5, 1) * np.exp(2j * np.pi * rng.random())
            image += amplitude * np.exp(-squared / (2 * rng.uniform(0.8, 2.5) ** 2))
        image /= np.quantile(np.abs(image), 0.999)
    contrasts = tuple(Contrast(0.01 * (i + 1), 0.04, 15.0, 8, 0, 0.0) for i in range(n_volumes))
    return Volumes(images, contrasts, _coils(n_channels, rng) if n_channels else None)


def blob_echoes(n_echoes: int = 4, seed: int = 0, *, n_channels: int = 3) -> Volumes:
    """Echoes of one scan: the blobs of one volume with a decay and a field."""
    first = blob_volumes(1, seed, n_channels=n_channels)
    y = np.linspace(-1, 1, SHAPE[1])[:, None]
    images = [np.exp(-0.2 * e + 0.8j * e * y) * first.images[0] for e in range(n_echoes)]
    contrasts = tuple(Contrast(0.01 * (e + 1), 0.04, 15.0, 8, None, 0.0) for e in range(n_echoes))
    echoes = np.stack(images).astype(np.complex64)
    return Volumes(echoes, contrasts, first.coils, echoes_of_one_scan=True)


def _coils(n_channels: int, rng: np.random.Generator) -> Coils:
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij", sparse=True)
    linear = rng.normal(0, 1, (2, n_channels, 4, 1, 1, 1))
    ramps = [part[:, 0] + part[:, 1] * x + part[:, 2] * y + part[:, 3] * z for part in linear]
    maps = (np.exp(ramps[0] + 1j * ramps[1])).astype(np.complex64)
    maps /= np.sqrt((np.abs(maps) ** 2).sum(0))
    both = np.stack([maps, maps[::-1]])
    return Coils(both, both)
