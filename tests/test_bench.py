"""The performance page: exponents, tables, what goes into the page and when, processes measured."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from accelqsm.errors import InputError

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
PARTS = ("machine", "stages", "growth", "demo")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Modules of the benchmark by the end of their names."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    names = ("bench", "bench_tables", "bench_stages", "bench_axes", "bench_process", "page")
    return {name: importlib.import_module(name) for name in names}


@pytest.mark.parametrize("slope", [1.0, -1.0, 0.0, 1.7])
def test_the_exponent_of_a_power_law_is_found(bench, slope: float) -> None:
    sizes = (3.0, 7.0, 20.0, 90.0)
    found = bench["bench_tables"].exponent(sizes, [2.5 * size**slope for size in sizes])
    assert found == pytest.approx(slope, abs=1e-12)


def test_the_exponent_is_that_of_least_squares(bench) -> None:
    # log2 of sizes 0, 1, 2 and of costs 0, 0, 3: slope 1.5, not the 3 of the last two.
    assert bench["bench_tables"].exponent((1, 2, 4), (1, 1, 8)) == pytest.approx(1.5)


@pytest.mark.parametrize(("sizes", "costs"), [((1,), (1,)), ((1, 2), (1, 0)), ((1, 2), (1,))])
def test_no_exponent_of_what_has_none(bench, sizes, costs) -> None:
    with pytest.raises(ValueError, match="expected two positive sizes"):
        bench["bench_tables"].exponent(sizes, costs)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00851, "0.0085"), (1.94, "1.9"), (235.2, "235"), (-34.4, "-34")],
)
def test_numbers_have_two_digits(bench, value: float, text: str) -> None:
    assert bench["bench_tables"].number(value) == text


def test_a_stage_lists_each_peer_with_its_ratio_to_ours(bench) -> None:
    tables, cost = bench["bench_tables"], bench["bench_process"].Cost
    rows = [
        tables.StageRow.of(
            stage="GRAPPA",
            who=who,
            costs=[cost(9.0, cpu_s, 400.0, ready_mb=300.0) for cpu_s in (0.1, cpu_s, 90.0)],
            error=error,
            error_name="NRMSE, %",
        )
        for who, cpu_s, error in (("accelqsm", 0.5, 1.5), ("pygrappa", 5.0, 1.7))
    ]
    assert tables.stage_table(rows).splitlines()[2:] == [
        "| GRAPPA | accelqsm | 0.50 |  | 400 (300) | 1.50 | NRMSE, % |",
        "|  | pygrappa | 5.0 | 10 | 400 (300) | 1.70 |  |",
    ]


def test_growth_stands_beside_its_floor(bench) -> None:
    tables = bench["bench_tables"]
    measured = tables.Growth(
        "chain", "voxels", (1000, 2000), (1, 4), (10, 20), 1.0, 1.0, floor_s=(0.5, 1)
    )
    expected = tables.Growth("study", "workers", (1, 2), (8, 4), (), -1.0, clock="wall")
    assert tables.growth_table([measured, expected]).splitlines()[2:] == [
        "| chain | voxels | 1,000, 2,000 | 1.0, 4.0 | 2.00 | 1.00 | 1.0 | 10, 20 | 1.00 | 1.00 |",
        "| study | workers | 1, 2 | 8.0, 4.0 (wall) | -1.00 | -1.00 |  |  |  |  |",
    ]


def test_every_task_is_a_function_that_exists(bench) -> None:
    stages, axes = bench["bench_stages"], bench["bench_axes"]
    tasks = {m.task for stage in stages.STAGES for m in (stage.ours, *stage.peers)}
    tasks |= {f"bench_inputs:{stage.inputs}" for stage in stages.STAGES}
    tasks |= {f"bench_scores:{stage.score}" for stage in stages.STAGES}
    tasks |= {f"bench_growth:{axis.task}" for axis in axes.axes(axes.FULL)}
    for task in tasks:
        module, _, name = task.partition(":")
        tree = ast.parse((BENCHMARKS / f"{module}.py").read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, task


@pytest.mark.parametrize("which", ["FULL", "QUICK"])
def test_every_axis_has_arguments_for_each_of_its_sizes(bench, which: str) -> None:
    axes = bench["bench_axes"]
    for axis in axes.axes(getattr(axes, which)):
        assert len(axis.sizes) == len(axis.arguments) >= 2
        assert list(axis.sizes) == sorted(set(axis.sizes))


def test_a_missing_tool_is_named_with_how_to_install_it(bench, monkeypatch) -> None:
    stages = bench["bench_stages"]
    monkeypatch.setattr(stages, "version_of", lambda tool: None if tool == "BART" else "1.0")
    assert stages.missing_tools() == {"BART": "apt-get install bart"}


def test_tables_go_into_the_page_after_a_whole_run_with_all_peers_alone(bench) -> None:
    why = bench["bench"].not_for_the_page
    whole = list(bench["bench"].PARTS)
    assert why(False, whole, []) == ""
    assert why(True, whole, []) == "the run was a quick one"
    assert why(False, ["demo"], []) == "only demo ran"
    assert why(False, whole, ["BART"]) == "BART not installed"


@pytest.mark.parametrize("missing", [{}, {"BART": "apt-get install bart"}])
def test_a_run_without_a_peer_leaves_the_page(
    bench, monkeypatch, tmp_path: Path, missing: dict[str, str]
) -> None:
    module, page = bench["bench"], tmp_path / "page.md"
    before = "".join(f"<!-- bench: {name} -->\nold\n<!-- end -->\n" for name in PARTS)
    page.write_text(before)
    monkeypatch.setattr(module, "missing_tools", lambda: missing)
    made = {name: lambda *given, name=name: f"| {name} |\n" for name in module.PARTS}
    monkeypatch.setattr(module, "PARTS", made)
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["bench.py", "--page", str(page), "--out", str(out)])
    assert module.main() == 0
    assert sorted(path.stem for path in out.iterdir()) == sorted(PARTS)
    assert (page.read_text() == before) is bool(missing)
    assert ("| growth |" in page.read_text()) is not bool(missing)


def test_the_page_has_a_place_for_every_table(bench) -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    tables = {name: f"table of {name}\n" for name in PARTS}
    filled = bench["page"].filled(text, tables, kind="bench", source="tables")
    assert all(f"<!-- bench: {name} -->\ntable of {name}\n<!-- end -->" in filled for name in PARTS)
    with pytest.raises(InputError, match=r"tables/demo\.md: expected a part of the page"):
        bench["page"].filled(text, dict.fromkeys(PARTS[:3], ""), kind="bench", source="tables")


def test_a_call_is_measured_in_a_process_of_its_own(bench, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(
        "import time\n"
        "def busy(folder, seconds):\n"
        "    block = bytearray(60 * 2**20)\n"
        "    def spin(share):\n"
        "        end = time.process_time() + share * float(seconds)\n"
        "        while time.process_time() < end: pass\n"
        "        return len(block)\n"
        "    return lambda: spin(1), lambda: spin(0.25)\n"
        "def broken(folder):\n"
        "    raise SystemExit('no such folder')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    cost = bench["bench_process"].task_cost("toy:busy", tmp_path, "0.04", least_s=0.1)
    assert cost.value == 60 * 2**20
    assert 0.04 <= cost.cpu_s < 0.3
    assert 0.01 <= cost.floor_s < cost.cpu_s
    assert cost.ready_mb - cost.base_mb == pytest.approx(60, abs=5)
    assert cost.ready_mb <= cost.peak_mb + 1
    with pytest.raises(bench["bench_process"].TaskError, match="no such folder"):
        bench["bench_process"].task_cost("toy:broken", tmp_path)


def test_what_starts_the_processes_is_small(bench) -> None:
    """A process inherits the peak memory of the one that started it."""
    code = "import sys, bench; print([m for m in ('numpy', 'torch', 'pandas') if m in sys.modules])"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
