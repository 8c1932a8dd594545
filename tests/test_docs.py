"""The documentation: its examples are calls that exist, its links lead somewhere, its toy works."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import accelqsm
from accelqsm.cli import parser
from accelqsm.dipole import forward_field
from accelqsm.files.nifti import write_image
from accelqsm.grid import centred_grid
from accelqsm.qsm.inversion.registry import INVERSIONS
from accelqsm.qsm.settings import QsmSettings
from accelqsm.reports.methods import susceptibility_text
from scan_files import GRID, echoes, write_dataset

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, kind: str) -> list[str]:
    return [found["text"] for found in FENCE.finditer(page.read_text()) if found["kind"] == kind]


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def calls(text: str) -> Iterator[tuple[str, ast.Call]]:
    """Calls of public names, under any name that the examples give the package."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            known = name.removeprefix("aq.").removeprefix("accelqsm.")
            if name != known or known in accelqsm.__all__:
                yield known, node


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_call_what_exists_with_arguments_that_it_takes(page: Path) -> None:
    for text in blocks(page, "python"):
        for name, call in calls(text):
            assert name in accelqsm.__all__
            words = {word.arg: None for word in call.keywords if word.arg is not None}
            inspect.signature(getattr(accelqsm, name)).bind(*call.args, **words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_are_understood(page: Path) -> None:
    text = page.read_text().replace("\\\n", " ")
    lines = [line for block in FENCE.finditer(text) for line in block["text"].splitlines()]
    lines += re.findall(r"`(accelqsm [a-z][^`]* [^`]*)`", text)
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:1] == ["accelqsm"] and not {"--help", "--tkd-threshold", "..."} & set(words):
            parser().parse_args(words[1:])


def test_every_public_name_is_in_the_python_reference() -> None:
    named = re.findall(r"auto\w+:: (\w+)$", (ROOT / "docs" / "python.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(name for name in accelqsm.__all__ if name != "__version__")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", FENCE.sub("", page.read_text())):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_exist(page: Path) -> None:
    for file, name in re.findall(r"(test_\w+\.py)(?:::(\w+))?", page.read_text()):
        assert f"def {name}" in (ROOT / "tests" / file).read_text()


def test_the_layers_of_the_architecture_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = [layer.replace("accelqsm.", "") for layer in contracts["contracts"][0]["layers"]]
    assert "\n".join(layers) + "\n" in blocks(ROOT / "docs" / "architecture.md", "")


def test_generated_references_hold_every_command_setting_and_choice() -> None:
    parts = loaded(ROOT / "docs" / "generated.py").PARTS
    assert all(f"\n## {name}\n" in f"\n{parts['commands']()}" for name in ("map", "qsm", "plan"))
    settings = parts["settings"]()
    assert "| `radii_mm` | `--vsharp-radii-mm` | mm | above 0 to 100 |" in settings
    assert all(f"### [recon.{name}]" in settings for name in ("grappa", "network"))
    pages = "".join(page.read_text() for page in PAGES)
    assert sorted(re.findall(r"<!-- generated: (\w+) -->", pages)) == sorted(parts)


def test_the_first_lines_on_images_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path)
    for name, part in (("mag", np.abs), ("phase", np.angle)):
        two = np.stack([part(image) for image in echoes((0.004, 0.009))], -1)
        write_image(tmp_path / f"{name}.nii.gz", two.astype(np.float32), GRID)
    monkeypatch.chdir(tmp_path)
    text = blocks(ROOT / "docs" / "images.md", "python")[0]
    assert "read_images" in text
    exec(compile(text, "images.md", "exec"), names := {})
    assert (tmp_path / "out" / "Chimap.nii.gz").is_file()
    assert (tmp_path / "maps.png").read_bytes()[:4] == b"\x89PNG"
    assert names["images"].acquisition.n_echoes == 2


def test_the_toy_inversion_is_one_file_and_one_row() -> None:
    toy = loaded(ROOT / "docs" / "examples" / "truncated_division.py")
    grid = centred_grid((40, 40, 40), (1.5, 1.5, 1.5))
    distance_mm = np.linalg.norm(grid.world_mm(), axis=0)
    chi = torch.from_numpy(0.1 * (distance_mm < 9)).float()
    mask = torch.from_numpy(distance_mm < 27)
    geometry = {"voxel_size_mm": grid.voxel_size_mm, "b0_direction": grid.b0_direction}
    field_ppm = forward_field(chi, **geometry)
    with INVERSIONS.with_row(toy.TKD):
        settings = QsmSettings(inversion="tkd", inversion_settings=toy.TkdSettings(threshold=0.2))
        row = INVERSIONS[settings.inversion]
        found = row.load()(field_ppm, mask, **geometry, settings=settings.inversion_settings)
        words = ["qsm", "out", "--megre", "anat", "--inversion", "tkd", "--tkd-threshold", "0.2"]
        assert vars(parser().parse_args(words))["setting:tkd.threshold"] == 0.2
        assert "Shmueli et al. 2009; threshold 0.2" in susceptibility_text(settings)
    assert "tkd" not in INVERSIONS
    # Truncation costs contrast, the more of it the larger the threshold: 1 - 3 t / 2 or so.
    step_ppm = found[chi > 0].mean() - found[mask & torch.from_numpy(distance_mm > 15)].mean()
    assert 0.06 < float(step_ppm) < 0.1
    assert float(found[~mask].abs().max()) == 0
