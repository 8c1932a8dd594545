"""Mutation testing: do the tests turn red when one operator, constant or call of the code changes?

Mutants are drawn at random (seeded) from each package. Each is tried in a copy of the checkout, by
the tests that touch its line (a map of coverage, made once by one run of the suite), those that
take least time first; a mutant that survives them meets all tests of the files that touch it.

Usage: OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/mutation.py WORK
       [--packages qsm recon ...] [--each 40] [--seed 19] [--only qsm:3 ... --tests FILE ...]

Also needs coverage. One process: the suite once for the map, then 10 to 20 s a mutant. A survivor
wants a look: cached functions count for the first test of a file alone. WORK
keeps copy, map and verdicts (results.jsonl), so that a run that was stopped goes on. Delete WORK
after changes to source or tests; --only tries the named mutants again, by the tests of --tests.
"""

from __future__ import annotations

import argparse
import ast
import functools
import gc
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
COPIED = ("src", "tests", "docs", "examples", "pyproject.toml", "README.md", "CITATION.cff")
PACKAGES = ("qsm", "recon", "agreement", "nuclei", "files")
SMALLEST = 1e-9
"""Floats below it keep a quotient finite or stand for rounding: twice as much is as good."""

LEFT_OUT = ("test_layout.py", "test_docs.py", "test_notebook.py", "test_report_browser.py")
"""They read the source or need a browser; of numbers they say nothing."""

PRELOADED = ("torch", "numba", "scipy.ndimage", "pandas", "nibabel", "h5py", "matplotlib.pyplot")
FIRST_S, LAST_S = 12.0, 20.0
"""Time of the first tests that a mutant meets, and after which no more are tried."""

ORDER = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
NEGATED = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum",
         "maximum": "minimum", "floor": "ceil", "ceil": "floor", "amin": "amax", "amax": "amin",
         "sin": "cos", "cos": "sin", "mean": "median", "median": "mean"}  # fmt: skip
DROPPED = ("abs", "sqrt", "square", "conj", "clip", "clamp", "clamp_min", "flip", "sort", "sorted")
"""Calls whose first argument, or the object that they are asked of, could stand for the result."""


@dataclass(frozen=True)
class Mutant:
    package: str
    file: str  # from src/accelqsm
    line: int
    kind: str
    was: str
    now: str
    span: tuple[int, int]  # bytes of the file that `now` replaces


def expressions(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Kind and changed copy of an expression, once for each change."""
    match node:
        case ast.Compare(left=left, ops=ops, comparators=others):
            for i, op in enumerate(ops):
                for kind, table in (("boundary", ORDER), ("comparison", NEGATED)):
                    if type(op) in table:
                        new = [*ops[:i], table[type(op)](), *ops[i + 1 :]]
                        yield kind, ast.Compare(left, new, others)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            if not any(
                isinstance(x, ast.JoinedStr | ast.Constant) and not is_number(x)
                for x in (left, right)
            ):
                yield "arithmetic", ast.BinOp(left, ARITHMETIC[type(op)](), right)
        case ast.BoolOp(op=op, values=values):
            yield "boolean", ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert(), operand=operand):
            yield "sign" if isinstance(node.op, ast.USub) else "boolean", operand
        case ast.Constant(value=bool(value)):
            yield "constant", ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield "constant", ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield "constant", ast.Constant(value * 2 if value else 1.0)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name) as func):
            if name in CALLS:
                called = (
                    ast.Name(CALLS[name])
                    if isinstance(func, ast.Name)
                    else ast.Attribute(func.value, CALLS[name])
                )
                yield "call", ast.Call(called, node.args, node.keywords)
            owner = func.value if isinstance(func, ast.Attribute) else None
            of_module = isinstance(owner, ast.Name) and owner.id in ("np", "torch", "math")
            if name in DROPPED and (owner is None or of_module) and node.args:
                yield "call", node.args[0]
            elif name in DROPPED and owner is not None:
                yield "call", owner


def is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def changes(node: ast.AST) -> Iterator[tuple[str, ast.expr | ast.stmt, str]]:
    """Kind of change, the node that is replaced, and the text that takes its place."""
    match node:
        case ast.keyword(arg="axis" | "dim", value=value) if ast.unparse(value) in ("-1", "0", "1"):
            yield "axis", value, "-1" if ast.unparse(value) == "0" else "0"
        case ast.Return(value=ast.expr()):
            yield "return", node, "return None"
        case ast.If(test=test) | ast.IfExp(test=test) if isinstance(
            test, ast.Name | ast.Attribute | ast.Call
        ):
            yield "condition", test, f"(not {ast.unparse(test)})"
        case ast.Expr(value=ast.Call()):
            yield "statement", node, "pass"
        case ast.AugAssign(op=op) if type(op) in ARITHMETIC:
            added = ast.AugAssign(node.target, ARITHMETIC[type(op)](), node.value)
            yield "arithmetic", node, ast.unparse(added)
        case ast.Break():
            yield "statement", node, "continue"
        case ast.Continue():
            yield "statement", node, "break"
        case ast.expr():
            for kind, new in expressions(node):
                yield kind, node, f"({ast.unparse(ast.fix_missing_locations(new))})"


def skipped(tree: ast.Module) -> set[int]:
    """Nodes that are not code that runs: annotations, and what f-strings hold (no positions).

    And what no result depends on while the code is right: sizes of caches, checks of lengths by
    ``zip``, and floats below ``SMALLEST``.
    """
    apart: list[ast.AST] = []
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(annotation=annotation) | ast.arg(annotation=annotation):
                apart += [annotation] if annotation else []
            case ast.FunctionDef(returns=returns) if returns:
                apart.append(returns)
            case ast.keyword(arg="strict" | "maxsize" | "cache", value=value):
                apart.append(value)
            case ast.Constant(value=float(value)) if 0 < value < SMALLEST:
                apart.append(node)
            case ast.JoinedStr():
                apart.append(node)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                apart.append(node)
    return {id(inner) for node in apart for inner in ast.walk(node)}


def mutants_of(root: Path, package: str) -> list[Mutant]:
    found: dict[tuple[str, tuple[int, int], str], Mutant] = {}
    for path in sorted((root / package).rglob("*.py")):
        text = path.read_bytes()
        starts = [0]
        for line in text.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        tree = ast.parse(text)
        apart = skipped(tree)
        for node in ast.walk(tree):
            if id(node) in apart:
                continue
            for kind, old, now in changes(node):
                span = (
                    starts[old.lineno - 1] + old.col_offset,
                    starts[(old.end_lineno or 0) - 1] + (old.end_col_offset or 0),
                )
                file = str(path.relative_to(root))
                was = text[span[0] : span[1]].decode()
                mutant = Mutant(package, file, old.lineno, kind, was, now, span)
                found.setdefault((file, span, now), mutant)
    return list(found.values())


class Contexts:
    """Plugin of pytest: coverage by test, that of shared fixtures by test file; who passed."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.seconds: dict[str, float] = {}
        self.passed: set[str] = set()
        self.file = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        file = item.nodeid.partition("::")[0]
        if file != self.file:
            self.file = file
            for thing in gc.get_objects():  # what another file's tests left, its own must compute
                if type(thing) is functools._lru_cache_wrapper and (
                    "accelqsm" in str(thing.__module__) or "phantom" in str(thing.__module__)
                ):
                    thing.cache_clear()
        self.coverage.switch_context(item.nodeid)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Any:
        if fixturedef.scope == "function":
            return (yield)
        self.coverage.switch_context(self.file)
        try:
            return (yield)
        finally:
            self.coverage.switch_context(request._pyfuncitem.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)


def coverage_map(tree: Path, target: Path) -> None:
    """Lines of each file with the tests and test files that touch them; seconds of each test."""
    import coverage

    source = tree / "src" / "accelqsm"
    cover = coverage.Coverage(data_file=None, source=[str(source / p) for p in PACKAGES])
    plugin = Contexts(cover)
    cover.start()
    pytest.main([*PYTEST, *(f"--ignore=tests/{name}" for name in LEFT_OUT), "tests"], [plugin])
    cover.stop()
    data = cover.get_data()
    lines = {
        str(Path(file).relative_to(source)): {
            str(n): [c for c in contexts if c]
            for n, contexts in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    seconds = {t: s for t, s in plugin.seconds.items() if t in plugin.passed}
    if seconds:
        target.write_text(json.dumps({"lines": lines, "seconds": seconds}))


PYTEST = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=line", "--no-header"]


def tests_of(mutant: Mutant, end: int, known: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Tests that touch the mutant's lines: those it meets first, and those that follow.

    Files of tests named after the package come first, then those that cost least; what a file's
    tests share takes at most as long as its slowest test.
    """
    lines = known["lines"].get(mutant.file, {})
    touching = {t for n in range(mutant.line, end + 1) for t in lines.get(str(n), [])}
    seconds: dict[str, float] = known["seconds"]
    own = f"test_{mutant.package}_"
    if not touching:  # run at import, or compiled: what it changes may show in other modules
        touching = {t for tests in lines.values() for t in tests} | {t for t in seconds if own in t}
    by_file: dict[str, list[str]] = defaultdict(list)
    shared: dict[str, float] = defaultdict(float)
    for test, time_s in seconds.items():
        file = test.partition("::")[0]
        shared[file] = max(shared[file], time_s)
        if test in touching or file in touching:
            by_file[file].append(test)

    def cost(file: str) -> float:
        return sum(seconds[t] for t in by_file[file]) + shared[file]

    first: list[str] = []
    later: list[str] = []
    total = 0.0
    for file in sorted(by_file, key=lambda file: (own not in file, cost(file))):
        tests = sorted(by_file[file], key=seconds.__getitem__)
        for test in tests:
            fits = total + seconds[test] + shared[file] * (test == tests[0]) <= FIRST_S
            (first if fits or not first else later).append(test)
            total += seconds[test] * fits
        total += shared[file] * (tests[0] in first)
    return first, later


def forked(tests: list[str], limit_s: float, tree: Path, log: Path) -> str:
    """Verdict of the tests on the tree as it is, by a copy of this process."""
    child = os.fork()
    if child == 0:
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(tree)
        code = 99
        try:
            code = int(pytest.main([*PYTEST, "-x", *tests]))
        finally:
            sys.stdout.flush()
            os._exit(code)
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if status == 0 else "killed"
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def verdict(mutant: Mutant, known: dict[str, Any], given: list[str], tree: Path, log: Path) -> str:
    """What becomes of a mutant that meets its tests, or those given."""
    path = tree / "src" / "accelqsm" / mutant.file
    text, stat = path.read_bytes(), path.stat()
    end = mutant.line + text[mutant.span[0] : mutant.span[1]].count(b"\n")
    first, later = (given, []) if given else tests_of(mutant, end, known)
    if not first:
        return "no test"
    path.write_bytes(text[: mutant.span[0]] + mutant.now.encode() + text[mutant.span[1] :])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**10))  # no compiled file fits
    try:
        found = "survived"
        for tests in (first, later):
            if found == "survived" and tests:
                expected = sum(known["seconds"].get(t, 0.0) for t in tests)
                limit = min(60 + 4 * expected, 3 * LAST_S) if tests is first else LAST_S
                found = forked(tests, limit, tree, log)
                if found == "timeout" and tests is not first:
                    found = "survived"  # of the slow tests, as many as the time allowed
        return found
    finally:
        path.write_bytes(text)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--packages", nargs="+", default=PACKAGES)
    parser.add_argument("--each", type=int, default=40)
    parser.add_argument("--seed", type=int, default=19)
    parser.add_argument("--only", nargs="+", default=[], help="mutants to try again")
    parser.add_argument("--tests", nargs="+", default=[], help="the tests of the checkout for them")
    given = parser.parse_args()
    work = given.work.resolve()
    tree, saved, results = work / "tree", work / "map.json", work / "results.jsonl"
    if not tree.exists():
        for name in COPIED:
            source = REPOSITORY / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            tree.mkdir(parents=True, exist_ok=True)
            copy(source, tree / name)
    os.environ["PYTHONPATH"] = str(tree / "src")
    os.environ["NUMBA_CACHE_DIR"] = str(work / "numba")
    sys.path[:0] = [str(tree / "src")]
    os.chdir(tree)
    for name in PRELOADED:
        __import__(name)
    if not saved.exists():
        if os.fork() == 0:  # the package must stay unloaded here
            coverage_map(tree, saved)
            os._exit(0)
        os.wait()
    known = json.loads(saved.read_text())
    drawn: dict[str, Mutant] = {}
    for package in given.packages:
        mutants = mutants_of(tree / "src" / "accelqsm", package)
        random.Random(f"{given.seed} {package}").shuffle(mutants)  # more begin with the same
        drawn |= {f"{package}:{i}": mutant for i, mutant in enumerate(mutants[: given.each])}
    if given.only:
        shutil.copytree(REPOSITORY / "tests", tree / "tests", dirs_exist_ok=True)
    done = results.read_text().splitlines() if results.exists() else []
    tried = {json.loads(line)["name"] for line in done}
    for name in given.only or sorted(
        (n for n in drawn if n not in tried), key=lambda n: int(n.partition(":")[2])
    ):
        mutant, begin = drawn[name], time.monotonic()
        found = verdict(mutant, known, given.tests, tree, work / "log.txt")
        seconds = round(time.monotonic() - begin, 1)
        row = {"name": name, "verdict": found, "seconds": seconds, **asdict(mutant)}
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(name, found, f"{mutant.file}:{mutant.line}", mutant.was, "->", mutant.now, flush=True)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    last = {(r := json.loads(line))["name"]: r for line in results.read_text().splitlines()}
    for row in last.values():
        counts[row["package"]][row["verdict"]] += 1
    for package, count in counts.items():
        print(package, dict(count))


if __name__ == "__main__":
    main()
