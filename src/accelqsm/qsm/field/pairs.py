"""Echo pairs of each echo-time difference (lag) of an echo train, and their weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Pair = tuple[int, int]
Table = npt.NDArray[np.float64]

SAME_LAG = 0.01
"""Echo-time differences closer than this fraction of the smallest one are the same lag."""

MOST_SUMS = 18
"""Number of sums kept; the further ones of a long uneven echo train add little (3 %)."""

N_RATES = 128
STEEPEST_DECAY = 10.0
"""Largest tabulated decay rate, times the length of the echo train."""


@dataclass(frozen=True)
class Lag:
    """Echo pairs of one echo-time difference, whose products are summed.

    Attributes:
        time_s: the echo-time difference (the mean, where they differ by less than ``SAME_LAG``).
        pairs: indices of the earlier and the later echo.
        weights: weight of each pair in the sum.
    """

    time_s: float
    pairs: tuple[Pair, ...]
    weights: tuple[float, ...]

    def starting_at(self, parity: int) -> Lag:
        """The lag restricted to pairs whose earlier echo is even (0) or odd (1)."""
        chosen = [n for n, (earlier, _) in enumerate(self.pairs) if earlier % 2 == parity]
        return Lag(
            self.time_s,
            tuple(self.pairs[n] for n in chosen),
            tuple(self.weights[n] for n in chosen),
        )

    @property
    def turn(self) -> int:
        """Sign of the bipolar readout phase in the first pair: +1 from an even to an odd echo,
        -1 from an odd to an even one, 0 between echoes of the same readout direction."""
        earlier, later = self.pairs[0]
        return 0 if (later - earlier) % 2 == 0 else 1 - 2 * (earlier % 2)

    @property
    def alternates(self) -> bool:
        """Whether the sum has both even-to-odd and odd-to-even pairs."""
        return self.turn != 0 and len({earlier % 2 for earlier, _ in self.pairs}) == 2

    def parts(self) -> tuple[Lag, ...]:
        """The lag itself, or two lags of its even-to-odd and of its odd-to-even pairs."""
        return (self.starting_at(0), self.starting_at(1)) if self.alternates else (self,)


@lru_cache(maxsize=32)
def lags_of(echo_times_s: tuple[float, ...]) -> tuple[Lag, ...]:
    """Lags of an echo train, shortest first; none for a single echo.

    The pairs of the shortest lag have equal weights, as published. In longer lags a pair that
    starts at echo e has the weight exp(-2 (TE_e - TE_0) / TE_last), its signal power for T2* equal
    to the last echo time, so that late echoes do not add more noise than signal.

    Args:
        echo_times_s: increasing echo times in seconds.
    """
    lags = []
    for number, group in enumerate(_groups(echo_times_s)):
        time_s = sum(_difference_s(echo_times_s, pair) for pair in group) / len(group)
        start_s = [echo_times_s[earlier] - echo_times_s[0] for earlier, _ in group]
        weights = [math.exp(-2 * start / echo_times_s[-1]) for start in start_s]
        lags.append(Lag(time_s, tuple(group), tuple(weights) if number else (1.0,) * len(group)))
    return _select_lags(lags, echo_times_s)


def decay_rates_per_s(echo_times_s: tuple[float, ...]) -> Table:
    """Decay rates R2* of all tables in 1/s, evenly spaced from zero."""
    return np.linspace(0, STEEPEST_DECAY / (echo_times_s[-1] - echo_times_s[0]), N_RATES)


@lru_cache(maxsize=512)
def pair_signals(lag: Lag, echo_times_s: tuple[float, ...]) -> Table:
    """Signal A_e A_e' = exp(-R (TE_e + TE_e' - 2 TE_0)) at each tabulated rate, (pair, rate)."""
    start_s = echo_times_s[0]
    ages_s = [echo_times_s[a] + echo_times_s[b] - 2 * start_s for a, b in lag.pairs]
    table: Table = np.exp(-np.outer(ages_s, decay_rates_per_s(echo_times_s)))
    return table


@lru_cache(maxsize=512)
def matched_weight(lag: Lag, echo_times_s: tuple[float, ...]) -> Table:
    """Matched-filter weight of a lag's sum, for the combination of several lags.

    The most likely field maximises sum A_e A_e' Re(conj(S_e) S_e' exp(-i w t)) over all pairs;
    for sums with pair weights g, a factor of sum (A_e A_e')^2 / sum g A_e A_e' approximates it.

    Returns:
        (rate,), for each tabulated decay rate.
    """
    signals = pair_signals(lag, echo_times_s)
    weight: Table = (signals**2).sum(0) / (np.array(lag.weights) @ signals)
    return weight


def _difference_s(echo_times_s: tuple[float, ...], pair: Pair) -> float:
    return echo_times_s[pair[1]] - echo_times_s[pair[0]]


def _groups(echo_times_s: tuple[float, ...]) -> list[list[Pair]]:
    """Group pairs by time difference, shortest first, odd and even index differences apart."""
    n_echoes = len(echo_times_s)
    pairs = [(first, second) for second in range(n_echoes) for first in range(second)]
    pairs.sort(key=lambda pair: _difference_s(echo_times_s, pair))
    groups: list[list[Pair]] = []
    for pair in pairs:
        tolerance_s = SAME_LAG * _difference_s(echo_times_s, pairs[0])
        for group in groups:
            same_parity = (group[0][1] - group[0][0] - pair[1] + pair[0]) % 2 == 0
            gap_s = _difference_s(echo_times_s, pair) - _difference_s(echo_times_s, group[0])
            if same_parity and gap_s < tolerance_s:
                group.append(pair)
                break
        else:
            groups.append([pair])
    return groups


def _select_lags(lags: list[Lag], echo_times_s: tuple[float, ...]) -> tuple[Lag, ...]:
    """Select at most ``MOST_SUMS`` lags: neighbouring echoes first, then by signal times lag."""

    def value(lag: Lag) -> tuple[bool, float]:
        signals = [
            math.exp(-(echo_times_s[a] + echo_times_s[b]) / echo_times_s[-1]) for a, b in lag.pairs
        ]
        neighbours = any(later - earlier == 1 for earlier, later in lag.pairs)
        return neighbours, sum(signals) * lag.time_s

    best = sorted(lags, key=value, reverse=True)
    while sum(len(lag.parts()) for lag in best) > MOST_SUMS:
        best.pop()
    return tuple(lag for lag in lags if lag in best)
