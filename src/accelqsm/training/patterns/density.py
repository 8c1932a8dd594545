"""Sampling density with logits that learn, and draws of exact count with a gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from accelqsm.recon.patterns.drawn import drawn_pattern, pattern_regions
from accelqsm.recon.patterns.settings import PatternSettings

DRAWS = 64
"""Poisson disks whose mean is the density that learning begins with."""
SMOOTH = 1.0
"""Standard deviation of the Gaussian that smooths their mean, in positions."""
LEAST_PROBABILITY = 0.01
"""Of a position at the beginning, as logits that are very low never learn."""


class Density(nn.Module):
    """Probability of each position to be sampled, and draws of it.

    Outside the fully sampled centre, probabilities are the sigmoid of the logits, rescaled so that
    their mean is exactly that of the samples left: p t / m where the mean m of the sigmoid exceeds
    the wanted t, and 1 - (1 - p) (1 - t) / (1 - m) otherwise. Corners that an ellipse leaves out
    have none.

    Attributes:
        logits: (echo, free position), one echo where all have the same pattern.

    Source: Bahadir et al. 2020, IEEE Trans Comput Imaging 6:1139, doi 10.1109/TCI.2020.3006727;
    Zhang et al. 2020, arXiv 2007.14450 (straight-through gradient).
    """

    def __init__(self, settings: PatternSettings, initial: Tensor) -> None:
        """Begin with probabilities.

        Args:
            settings: plane, acceleration, centre, corners and number of echoes.
            initial: probability of each position, (ky, kz).
        """
        super().__init__()
        self.centre, allowed = pattern_regions(settings)
        self.free = allowed & ~self.centre
        self.n_wanted = settings.n_samples - int(self.centre.sum())
        start = initial[self.free].clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        self.logits = nn.Parameter(torch.logit(start).expand(settings.echoes, -1).clone())

    def probability(self) -> Tensor:
        """Probability of each free position, float (echo, free position), of exact mean."""
        p = torch.sigmoid(self.logits)
        wanted = self.n_wanted / max(p.shape[-1], 1)
        mean = p.mean(-1, keepdim=True)
        less, more = p * wanted / mean, 1 - (1 - p) * (1 - wanted) / (1 - mean)
        return torch.where(mean > wanted, less, more)

    def draw(self, probability: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the positions with the largest p - u, u uniform: 0 or 1, exactly as many as wanted.

        Args:
            probability: float (echo, free position).
            generator: of u.
        """
        uniform = torch.rand(probability.shape, generator=generator)
        margin = probability.detach().cpu() - uniform
        chosen = margin.topk(self.n_wanted, dim=-1).indices
        return torch.zeros_like(margin).scatter_(-1, chosen, 1.0).to(probability.device)

    def forward(self, generator: torch.Generator) -> Tensor:
        """Draw a pattern of zeros and ones whose gradient is that of the probabilities.

        Returns:
            float (ky, kz), or (echo, 1, ky, kz) of patterns of each echo, as networks take them.
        """
        probability = self.probability()
        hard = self.draw(probability, generator)
        return self.plane(hard + (probability - probability.detach()))

    def plane(self, values: Tensor) -> Tensor:
        """Values (echo, free position) on the plane: 1 in the centre, 0 where none may be."""
        plane = self.centre.to(values).expand(len(values), *self.centre.shape).clone()
        plane[:, self.free] = values
        return plane[:, None] if len(values) > 1 else plane[0]


def poisson_density(settings: PatternSettings) -> Tensor:
    """Density of the Poisson disk of settings: the smoothed mean of draws, float32 (ky, kz)."""
    one = replace(settings, echoes=1)
    draws = [drawn_pattern(replace(one, seed=seed)).numpy() for seed in range(DRAWS)]
    centre, allowed = (mask.numpy() for mask in pattern_regions(settings))
    # A mean over free neighbours alone: centre and corners are not to leak into it.
    free = (allowed & ~centre).astype(np.float64)
    weights = ndimage.gaussian_filter(free, SMOOTH, mode="constant")
    sums = ndimage.gaussian_filter(free * np.mean(draws, axis=0), SMOOTH, mode="constant")
    return torch.from_numpy(np.where(free > 0, sums / np.maximum(weights, 1e-9), centre)).float()
