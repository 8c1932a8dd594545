"""The layout: small packages and functions, no cycles, one place for a default."""

from __future__ import annotations

import argparse
import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import accelqsm
from accelqsm.cli import parser

SOURCE = Path(accelqsm.__file__).parent
ROW = re.compile(r"accelqsm(\.\w+)+:\w+")
"""How a row of a registry names its function."""

MOST_MODULES = 12
LONGEST_FUNCTION = 60
MOST_ARGUMENTS = 8


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ["accelqsm", *path.relative_to(SOURCE).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def functions() -> Iterator[tuple[str, ast.FunctionDef, str]]:
    for name, path in modules().items():
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                yield f"{name}:{node.name}", node, text


def lines_of_code(node: ast.FunctionDef, text: str) -> int:
    """Lines with code: no docstring, no comment, no blank line."""
    segment = ast.get_source_segment(text, node) or ""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(segment).readline):
        if token.type in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT,
                          tokenize.DEDENT, tokenize.ENDMARKER):  # fmt: skip
            continue
        lines |= set(range(token.start[0], token.end[0] + 1))
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        end = first.end_lineno or first.lineno
        lines -= {n - node.lineno + 1 for n in range(first.lineno, end + 1)}
    return len(lines)


def imports_of(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules that a module imports, anywhere in it, or names as the function of a row."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} & known.keys()
            found |= {node.module} & known.keys()
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known.keys()
        elif isinstance(node, ast.Constant) and ROW.fullmatch(str(node.value)):
            found.add(str(node.value).partition(":")[0])
    return found


def test_no_package_holds_more_than_a_dozen_modules() -> None:
    counts: dict[Path, int] = {}
    for path in modules().values():
        if path.name != "__init__.py":
            counts[path.parent] = counts.get(path.parent, 0) + 1
    assert {p.name: n for p, n in counts.items() if n > MOST_MODULES} == {}


def test_no_module_imports_itself_by_way_of_others_even_lazily() -> None:
    known = modules()
    graph = {name: imports_of(path, known) - {name} for name, path in known.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            pytest.fail(" > ".join((*way[way.index(name) :], name)))
        if name in done:
            return
        for other in sorted(graph[name]):
            visit(other, (*way, name))
        done.add(name)

    for name in graph:
        visit(name, ())
    assert sum(map(len, graph.values())) > 300, "the imports were not found"


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        name: n
        for name, node, text in functions()
        if (n := lines_of_code(node, text)) > LONGEST_FUNCTION
    }
    assert long == {}


def test_no_function_takes_more_than_eight_arguments() -> None:
    many = {
        name
        for name, node, _ in functions()
        if len([*node.args.args, *node.args.kwonlyargs]) > MOST_ARGUMENTS
    }
    assert many == set()


def test_the_default_of_min_voxels_is_stated_once() -> None:
    stated = []
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.AnnAssign) and "min_voxels" in ast.dump(node.target):
                stated.append(name)
            if isinstance(node, ast.arguments):
                pairs = zip(reversed(node.args), reversed(node.defaults), strict=False)
                both = [*pairs, *zip(node.kwonlyargs, node.kw_defaults, strict=True)]
                stated += [
                    name
                    for arg, default in both
                    if arg.arg == "min_voxels" and isinstance(default, ast.Constant)
                ]
    assert stated == ["accelqsm.nuclei.settings"]


def commands() -> dict[str, argparse.ArgumentParser]:
    action = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


@pytest.mark.parametrize("name", list(commands()))
def test_every_argument_has_help_and_every_command_an_example(name: str) -> None:
    command = commands()[name]
    assert [a.dest for a in command._actions if not a.help] == []
    assert command.description
    assert f"accelqsm {name}" in str(command.epilog) or f"cli {name}" in str(command.epilog)
