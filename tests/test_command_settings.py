"""What a settings file says reaches the computation, and the command line overrides it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from accelqsm.cli import main
from accelqsm.errors import InputError

CAUGHT = "settings caught"


@dataclass(frozen=True)
class Case:
    """A command, its file, and what both give.

    Attributes:
        calls: the function that is called with the settings, as module:name.
        replaced: functions that would read the files of the command.
        words: command and options.
        text: the settings file.
        expected: record of the settings (by class) and field -> value.
    """

    calls: str
    replaced: tuple[str, ...]
    words: tuple[str, ...]
    text: str
    expected: dict[tuple[str, str], Any]


IMAGES = "accelqsm.api.images"
SCAN = ("accelqsm.commands.images.{}.check_scan", f"{IMAGES}.read_mrd")
CASES = {
    "qsm": Case(
        f"{IMAGES}.susceptibility",
        ("accelqsm.commands.images.qsm.check_images", f"{IMAGES}.read_images"),
        ("qsm", "{out}", "--megre", "x", "--edge-mm", "2.5"),
        '[qsm]\nleast_coherence = 0.25\nedge_mm = 1.5\n[qsm.l1]\nn_iterations = 7\n',
        {("QsmSettings", "least_coherence"): 0.25, ("QsmSettings", "edge_mm"): 2.5,
         ("L1Settings", "n_iterations"): 7},
    ),
    "map": Case(
        f"{IMAGES}.map_susceptibility",
        SCAN,
        ("map", "x.h5", "{out}", "--edge-mm", "2.5"),
        '[recon]\nmethod = "grappa"\n[recon.grappa]\ntikhonov = 0.125\n'
        "[qsm]\nleast_coherence = 0.25\nedge_mm = 1.5\n",
        {("QsmSettings", "least_coherence"): 0.25, ("QsmSettings", "edge_mm"): 2.5,
         ("ReconSettings", "method"): "grappa", ("GrappaSettings", "tikhonov"): 0.125},
    ),
    "recon": Case(
        f"{IMAGES}.reconstruct_echoes",
        SCAN,
        ("recon", "x.h5", "{out}"),
        '[recon]\nmethod = "cg-sense"\n',
        {("ReconSettings", "method"): "cg-sense"},
    ),
    "nuclei": Case(
        "accelqsm.api.nuclei.locate_nuclei",
        ("accelqsm.commands.tables.nuclei._check_files", "accelqsm.commands.tables.nuclei._head"),
        ("nuclei", "chi.nii", "{out}", "--magnitude", "m.nii", "--min-voxels", "9"),
        "[nuclei]\nerosion_mm = 0.75\nmin_voxels = 5\n",
        {("MeasureSettings", "erosion_mm"): 0.75, ("MeasureSettings", "min_voxels"): 9},
    ),
    "compare": Case(
        "accelqsm.api.agreement.compare",
        (),
        ("compare", "v.tsv", "{out}", "--power", "0.7"),
        'command = "compare"\n[compare]\nreference = "PI"\nmargin_percent = 3.0\npower = 0.9\n',
        {("CompareSettings", "reference"): "PI", ("CompareSettings", "margin_percent"): 3.0,
         ("CompareSettings", "power"): 0.7},
    ),
    "pattern": Case(
        "accelqsm.recon.patterns.drawn.drawn_pattern",
        (),
        ("pattern", "{out}.tsv", "--seed", "7"),
        "[pattern]\nshape = [40, 30]\nacceleration = 4.0\nseed = 5\nellipse = true\n",
        {("PatternSettings", "acceleration"): 4.0, ("PatternSettings", "ellipse"): True,
         ("PatternSettings", "seed"): 7},
    ),
    "train": Case(
        "accelqsm.training.run.train_network",
        (),
        ("train", "{out}", "--items", "3"),
        "[network]\nwidth = 6\n[training]\nsteps = 11\nitems = 2\n[data]\nheads = 13\n",
        {("Architecture", "width"): 6, ("TrainingSettings", "steps"): 11,
         ("TrainingSettings", "items"): 3, ("DataSettings", "heads"): 13},
    ),
}  # fmt: skip


def records(*things: Any) -> dict[str, Any]:
    """Settings records by class, those inside others too."""
    found = {}
    for thing in things:
        if hasattr(thing, "__dataclass_fields__"):
            found[type(thing).__name__] = thing
            found |= records(*(getattr(thing, name) for name in thing.__dataclass_fields__))
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_settings_file_is_followed_where_the_command_line_says_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    caught: dict[str, Any] = {}

    def catch(*args: Any, **named: Any) -> None:
        caught.update(records(*args, *named.values()))
        raise InputError(CAUGHT)

    for target in case.replaced:
        monkeypatch.setattr(target.format(name), lambda *_, **__: None)
    monkeypatch.setattr(case.calls, catch)
    (tmp_path / "s.toml").write_text(case.text)
    words = [word.format(out=tmp_path / "out") for word in case.words]
    assert main([*words, "--settings", str(tmp_path / "s.toml")]) == 65
    assert CAUGHT in capsys.readouterr().err
    found = {(record, field): getattr(caught[record], field) for record, field in case.expected}
    assert found == case.expected
