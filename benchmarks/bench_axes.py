"""Along which axes cost is measured, at which sizes, and what is expected of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_process import Cost, command_cost, task_cost
from bench_tables import Growth

SHAPES = ((24, 96, 36), (32, 128, 48), (48, 160, 64), (64, 208, 80))
CHAIN_SHAPES = ((48, 64, 36), (64, 80, 48), (80, 108, 60), (108, 132, 72))
QUICK_SHAPES = ((16, 64, 32), (24, 80, 40))
QUICK_CHAIN_SHAPES = ((40, 54, 30), (54, 66, 40))
METHODS = {"reconnet3d": "network", "cg-sense": "CG-SENSE"}


@dataclass(frozen=True)
class Sizes:
    """Sizes of every axis; the first shape is that of channels and echoes."""

    shapes: tuple[tuple[int, int, int], ...]
    chain_shapes: tuple[tuple[int, int, int], ...]
    channels: tuple[int, ...]
    echoes: tuple[int, ...]
    cohort: tuple[int, ...]
    subjects: tuple[int, ...]
    workers: tuple[int, ...]
    subjects_of_workers: int


FULL = Sizes(
    shapes=SHAPES,
    chain_shapes=CHAIN_SHAPES,
    channels=(4, 8, 16, 32),
    echoes=(1, 2, 4, 8),
    cohort=(59, 118, 236, 472),
    subjects=(1, 2, 4),
    workers=(1, 2, 4),
    subjects_of_workers=2,
)
QUICK = Sizes(
    shapes=QUICK_SHAPES,
    chain_shapes=QUICK_CHAIN_SHAPES,
    channels=(4, 8),
    echoes=(2, 4),
    cohort=(20, 59),
    subjects=(1, 2),
    workers=(1, 2),
    subjects_of_workers=1,
)
N_CHANNELS, N_ECHOES = 8, 3


@dataclass(frozen=True)
class Axis:
    """One line of the table.

    Attributes:
        what, axis: in the table.
        sizes: along the axis.
        task: function of ``bench_growth``.
        arguments: of the function, for each size.
        memory_floor: exponent that is expected of memory, None where none is.
    """

    what: str
    axis: str
    sizes: tuple[float, ...]
    task: str
    arguments: tuple[tuple[str, ...], ...]
    memory_floor: float | None = 1.0


def axes(sizes: Sizes) -> Iterator[Axis]:
    """All lines that are measured call by call."""
    for method, name in METHODS.items():
        given = {
            "voxels": [(N_CHANNELS, 1, *shape) for shape in sizes.shapes],
            "channels": [(n, 1, *sizes.shapes[0]) for n in sizes.channels],
            "echoes": [(N_CHANNELS, n, *sizes.shapes[0]) for n in sizes.echoes],
        }
        along = {
            "voxels": [math.prod(shape) for shape in sizes.shapes],
            "channels": sizes.channels,
            "echoes": sizes.echoes,
        }
        for axis, values in given.items():
            words = tuple((method, *map(str, each)) for each in values)
            yield Axis(name, axis, tuple(along[axis]), "recon", words)
    chain = [(N_ECHOES, *shape) for shape in sizes.chain_shapes]
    echoes = [(n, *sizes.chain_shapes[0]) for n in sizes.echoes if n > 1]
    voxels = tuple(math.prod(shape) for shape in sizes.chain_shapes)
    yield Axis("QSM chain", "voxels", voxels, "chain", _words(chain))
    yield Axis("QSM chain", "echoes", tuple(each[0] for each in echoes), "chain", _words(echoes))
    people = [(n,) for n in sizes.cohort]
    yield Axis("compare", "subjects", sizes.cohort, "agreement", _words(people))


def growth(axis: Axis, folder: Path, *, least_s: float) -> Growth:
    """Measure one line: every size in a process of its own, and the least that must be done."""
    costs = [
        task_cost(f"bench_growth:{axis.task}", folder, *each, least_s=least_s)
        for each in axis.arguments
    ]
    return Growth(
        axis.what,
        axis.axis,
        axis.sizes,
        tuple(cost.cpu_s for cost in costs),
        tuple(cost.peak_mb - cost.base_mb for cost in costs),
        floor=1.0,
        memory_floor=axis.memory_floor,
        floor_s=tuple(cost.floor_s for cost in costs),
    )


def study_growth(folder: Path, sizes: Sizes) -> Iterator[Growth]:
    """A study of small scans: one process over subjects, and Snakemake's workers."""
    bids, most = str(folder / "bids"), sizes.subjects_of_workers
    task_cost("bench_growth:subjects", folder, str(max(*sizes.subjects, most)), least_s=0)
    given = ("--labels", "derivatives/truth", "--threads", "1", "--participant-label")
    runs = [
        command_cost(["run", bids, str(folder / f"run{n}"), "participant", *given, *_labels(n)])
        for n in sizes.subjects
    ]
    yield _of_study("study, one process", "subjects", sizes.subjects, runs, clock="CPU")
    words = (*given, *_labels(most), "--", "--quiet", "--cores")
    flows = [
        command_cost(["workflow", bids, str(folder / f"flow{n}"), *words, str(n)])
        for n in sizes.workers
    ]
    yield _of_study(f"study of {most}", "workers", sizes.workers, flows, clock="wall")


def _of_study(
    what: str, axis: str, sizes: tuple[int, ...], costs: list[Cost], *, clock: str
) -> Growth:
    """A line of whole commands, whose memory is that of their largest process."""
    seconds = tuple(cost.cpu_s if clock == "CPU" else cost.wall_s for cost in costs)
    peaks = tuple(cost.peak_mb for cost in costs)
    floor = 1.0 if clock == "CPU" else -1.0
    return Growth(what, axis, sizes, seconds, peaks, floor, 0.0, clock=clock)


def _labels(n_subjects: int) -> list[str]:
    return [f"{number:02d}" for number in range(1, n_subjects + 1)]


def _words(values: Sequence[tuple[int, ...]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(map(str, each)) for each in values)
