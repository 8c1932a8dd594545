"""Tables of what was measured, and how it grows: ratios, fitted exponents, Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench_process import Cost

STAGE_HEAD = (
    "| stage | method | CPU s | of ours | peak MB (before) | error | which |\n"
    "|---|---|---:|---:|---:|---:|---|"
)
GROWTH_HEAD = (
    "| what | grows with | sizes | CPU s | exponent | floor | floor, s | MB | exponent | floor |\n"
    "|---|---|---|---|---:|---:|---:|---|---:|---:|"
)


@dataclass(frozen=True)
class StageRow:
    """What one method took for a stage, and how wrong its result is."""

    stage: str
    who: str
    cpu_s: float
    peak_mb: float
    ready_mb: float
    error: float
    error_name: str

    @classmethod
    def of(
        cls, *, stage: str, who: str, costs: Sequence[Cost], error: float, error_name: str
    ) -> StageRow:
        """The median of the costs."""
        cpu_s, peak_mb, ready_mb = (
            statistics.median(getattr(cost, name) for cost in costs)
            for name in ("cpu_s", "peak_mb", "ready_mb")
        )
        return cls(stage, who, cpu_s, peak_mb, ready_mb, error, error_name)


@dataclass(frozen=True)
class Growth:
    """How the cost of something grows.

    Attributes:
        what, axis: what is measured, and what grows.
        sizes: ascending or descending, in units of the axis.
        seconds, megabytes: of each size; no megabytes where they are not measured.
        floor, memory_floor: exponents that are expected, of the least that must be done.
        floor_s: seconds of the least that must be done, of each size; none where not measured.
        clock: "CPU" or "wall".
    """

    what: str
    axis: str
    sizes: tuple[float, ...]
    seconds: tuple[float, ...]
    megabytes: tuple[float, ...]
    floor: float
    memory_floor: float | None = None
    floor_s: tuple[float, ...] = ()
    clock: str = "CPU"


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Slope b of the least-squares line log(cost) = a + b log(size).

    Raises:
        ValueError: fewer than two sizes, or a size or cost that is not above zero.
    """
    if len(sizes) < 2 or len(sizes) != len(costs) or min(*sizes, *costs) <= 0:
        raise ValueError(f"expected two positive sizes and costs or more, found {sizes}, {costs}")
    logs = [[math.log(value) for value in values] for values in (sizes, costs)]
    return statistics.linear_regression(*logs).slope


def stage_table(rows: Sequence[StageRow]) -> str:
    """Markdown: each stage by us, then by every peer with the ratio of its CPU time to ours."""
    lines, ours = [STAGE_HEAD], 0.0
    before = ""
    for row in rows:
        first = row.stage != before
        if first:
            ours = row.cpu_s
        before = row.stage
        ratio = "" if first else number(row.cpu_s / ours)
        cells = (
            row.stage if first else "",
            row.who,
            number(row.cpu_s),
            ratio,
            f"{row.peak_mb:.0f} ({row.ready_mb:.0f})",
            number(row.error, 3),
            row.error_name if first else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def growth_table(rows: Sequence[Growth]) -> str:
    """Markdown: costs at every size, and the fitted exponents beside those of the floor."""
    lines = [GROWTH_HEAD]
    for row in rows:
        floor = exponent(row.sizes, row.floor_s) if row.floor_s else row.floor
        measured = [f"{exponent(row.sizes, row.seconds):.2f}", f"{floor:.2f}"]
        memory = ["", "", ""]
        if row.megabytes:
            memory = [
                ", ".join(f"{value:.0f}" for value in row.megabytes),
                f"{exponent(row.sizes, row.megabytes):.2f}",
                "" if row.memory_floor is None else f"{row.memory_floor:.2f}",
            ]
        seconds = ", ".join(map(number, row.seconds))
        cells = (
            row.what,
            row.axis,
            ", ".join(f"{size:,.0f}" for size in row.sizes),
            seconds if row.clock == "CPU" else f"{seconds} ({row.clock})",
            *measured,
            number(row.floor_s[-1]) if row.floor_s else "",
            *memory,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def demo_table(commands: Sequence[tuple[str, Cost]]) -> str:
    """Markdown: wall and CPU seconds and peak memory of each command."""
    lines = ["| Command | Wall s | CPU s | Peak GB |\n|---|---:|---:|---:|"]
    lines += [
        f"| `{words}` | {cost.wall_s:.1f} | {cost.cpu_s:.1f} | {cost.peak_mb / 1024:.2f} |"
        for words, cost in commands
    ]
    return "\n".join(lines) + "\n"


def number(value: float, least: int = 2) -> str:
    """A number to two digits or more, without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, least - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}"
