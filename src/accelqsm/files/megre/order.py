"""Which file is which echo: by echo times, by numbers in names, and no guess where they differ."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.megre.bids import IMAGE_ENDINGS, bids_name
from accelqsm.files.megre.sidecar import Sidecar, sidecar_echo_times_s

NUMBER = re.compile(r"\d+(?:\.\d+)?")
SAME_VALUE = 1e-3
"""Relative difference within which two sidecars agree."""

Parts = dict[str, list[Sidecar]]


def in_order(parts: Parts, *, times_given: bool = False) -> Parts:
    """Sidecars of each part (such as "mag" and "phase") in the order of the echoes.

    Parts of which every file has an ``EchoTime`` are sorted by it. Otherwise files are paired by
    the echo number in their names, or as they were given, and pairs are sorted by the echo time
    of either file, where each pair has one, or by the number.

    Args:
        parts: sidecars of the files as they were given.
        times_given: echo times are known otherwise, so that unusable ones do not count.

    Raises:
        InputError: files of which two are the same, pairs of different echo numbers, or echo times
            that cannot be used.

    Warns:
        InputWarning: plain names that were given in another order than that of their numbers.
    """
    for sidecars in parts.values():
        _check_distinct([sidecar.image for sidecar in sidecars])
    lists = list(parts.values())
    keys = [echo_numbers([s.image for s in sidecars]) for sidecars in lists]
    times_s = [_times(sidecars, times_given=times_given) for sidecars in lists]
    same_length = len({len(sidecars) for sidecars in lists}) == 1
    if not same_length or all(times_s):
        sorts = [t or k for t, k in zip(times_s, keys, strict=True)]
        ordered = [_sorted(s, by) for s, by in zip(lists, sorts, strict=True)]
        if same_length:
            _check_same_echo(list(zip(*ordered, strict=True)))
        return dict(zip(parts, ordered, strict=True))
    if all(keys):
        pairs = list(zip(*(_sorted(s, k) for s, k in zip(lists, keys, strict=True)), strict=True))
    else:
        pairs = list(zip(*lists, strict=True))
        if known := next((key for key in keys if key), None):
            pairs = [pairs[n] for n in np.argsort(known, kind="stable")]
    _check_same_echo(pairs)
    times = [_time_of(pair, times_given=times_given) for pair in pairs]
    known_times = [t for t in times if t is not None]
    if len(known_times) == len(pairs):
        if any(keys) and not all(keys) and known_times != sorted(known_times):
            raise InputError(
                f"{pairs[0][0].image}: expected EchoTime in the order of the numbers in the names, "
                f"found {shown_times(known_times)}"
            )
        pairs = [pairs[n] for n in np.argsort(known_times, kind="stable")]
    else:
        _say_order(lists[0], [pair[0] for pair in pairs])
    return dict(zip(parts, (list(column) for column in zip(*pairs, strict=True)), strict=True))


def echo_times_s(parts: Parts) -> tuple[float, ...] | None:
    """Echo times of the scan in seconds, of either file of each echo; None where nobody has any.

    Raises:
        InputError: files of one echo that differ, or an echo without a time between others with.
    """
    lists = list(parts.values())
    if len({len(sidecars) for sidecars in lists}) > 1:
        complete = [[sidecar_echo_times_s(s) for s in sidecars] for sidecars in lists]
        return next((_flat(times) for times in complete if all(times)), None)
    pairs = list(zip(*lists, strict=True))
    found: list[tuple[float, ...] | None] = []
    for pair in pairs:
        told = [sidecar for sidecar in pair if sidecar_echo_times_s(sidecar)]
        for other in told[1:]:
            _check_same_times(told[0], other)
        found.append(sidecar_echo_times_s(told[0]) if told else None)
    if any(found) and not all(found):
        lacking = pairs[[bool(times) for times in found].index(False)][0]
        raise InputError(
            f"{lacking.image}: expected EchoTime in a JSON sidecar, as the other echoes have, or "
            f"--echo-times-s, found {lacking.found}"
        )
    return _flat(found) if any(found) else None


def same_value(one: object, other: object) -> bool:
    """Whether two values of sidecars are the same, but for rounding."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    a, b = np.atleast_1d(one), np.atleast_1d(other)  # type: ignore[call-overload]
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=SAME_VALUE, atol=1e-9))


def shown_times(times_s: Sequence[float]) -> str:
    """Echo times for messages."""
    return " ".join(f"{t:g}" for t in times_s)


def _time(sidecar: Sidecar, *, times_given: bool) -> float | None:
    """First echo time of a file in seconds, if it can be used."""
    try:
        times_s = sidecar_echo_times_s(sidecar)
    except InputError:
        if times_given:
            return None
        raise
    return times_s[0] if times_s else None


def _times(sidecars: Sequence[Sidecar], *, times_given: bool) -> list[float] | None:
    known = [_time(sidecar, times_given=times_given) for sidecar in sidecars]
    return [t for t in known if t is not None] if None not in known else None


def echo_numbers(images: Sequence[Path]) -> list[float] | None:
    """Number of the echo in each name: its BIDS label, else the one number that differs."""
    names = [bids_name(image) for image in images]
    labels = [float(name.echo) for name in names if name.echo is not None]
    if len(labels) == len(names) and len(set(labels)) == len(labels):
        return labels
    if labels or len(names) < 2:
        return None
    stems = [name.stem for name in names]
    if len({NUMBER.sub("#", stem) for stem in stems}) > 1:
        return None
    columns = zip(*([float(n) for n in NUMBER.findall(stem)] for stem in stems), strict=True)
    varying = [list(column) for column in columns if len(set(column)) > 1]
    orders = {tuple(np.argsort(column, kind="stable")) for column in varying}
    one_each = all(len(set(column)) == len(stems) for column in varying)
    return varying[0] if len(orders) == 1 and one_each else None


def _time_of(pair: Sequence[Sidecar], *, times_given: bool) -> float | None:
    times = [_time(sidecar, times_given=times_given) for sidecar in pair]
    return next((t for t in times if t is not None), None)


def _sorted(sidecars: Sequence[Sidecar], keys: Sequence[float] | None) -> list[Sidecar]:
    if keys is None:
        return list(sidecars)
    return [sidecars[n] for n in np.argsort(keys, kind="stable")]


def _flat(times: Sequence[tuple[float, ...] | None]) -> tuple[float, ...]:
    return tuple(t for of_file in times if of_file for t in of_file)


def _check_distinct(images: Sequence[Path]) -> None:
    for n, image in enumerate(images):
        if image in images[:n]:
            raise InputError(f"{image}: expected another file for each echo, found it twice")


def _check_same_echo(pairs: Sequence[Sequence[Sidecar]]) -> None:
    """Refuse a pair whose names say that it is of two echoes."""
    for first, *others in pairs:
        expected = bids_name(first.image).echo
        for other in others:
            found = bids_name(other.image).echo
            if None not in (expected, found) and found != expected:
                raise InputError(
                    f"{other.image}: expected echo-{expected} as {first.image.name}, "
                    f"found echo-{found}"
                )


def _check_same_times(expected: Sidecar, found: Sidecar) -> None:
    """Refuse a file whose echo time is not that of its magnitude."""
    ours, theirs = sidecar_echo_times_s(expected) or (), sidecar_echo_times_s(found) or ()
    if not same_value(ours, theirs):
        raise InputError(
            f"{found.sources['EchoTime']}: expected EchoTime {shown_times(ours)} as of the "
            f"magnitude, found {shown_times(theirs)}"
        )


def _say_order(given: Sequence[Sidecar], ordered: Sequence[Sidecar]) -> None:
    """Warn where plain names were sorted by their numbers, as a shell does not sort them."""
    if list(given) == list(ordered) or bids_name(given[0].image).echo is not None:
        return
    names = [_plain(sidecar.image) for sidecar in ordered]
    warnings.warn(
        InputWarning(
            f"{ordered[0].image}: echoes put in the order of the numbers in their names: "
            f"{' '.join(names)}"
        ),
        stacklevel=2,
    )


def _plain(path: Path) -> str:
    name = path.name
    for ending in IMAGE_ENDINGS:
        name = name.removesuffix(ending)
    return name
