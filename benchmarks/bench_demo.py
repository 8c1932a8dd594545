"""Time and peak memory of each command that the demo consists of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from accelqsm.results.study import LOOKUP_NAME, scan_files
from bench_process import Cost, command_cost

SUBJECT = "sub-01"
PROTOCOLS = {"pi": "grappa", "af3": "reconnet3d", "af4": "reconnet3d", "af5": "reconnet3d"}


def demo_commands(folder: Path, *, quick: bool) -> Iterator[tuple[str, Cost]]:
    """Run the commands of the demo, of a small head and two protocols where it is to be quick."""
    scans, maps = folder / "scans", folder / "maps"
    protocols = {name: PROTOCOLS[name] for name in (("pi", "af5") if quick else PROTOCOLS)}
    small = ("--preset", "small", "--no-t1w") if quick else ()
    yield _measured("simulate", str(scans), *small, "--protocols", *protocols)
    for name, method in protocols.items():
        raw = scan_files(scans, SUBJECT, name).raw
        yield _measured("map", str(raw), str(maps / name), "--method", method)
    labels, lookup = scan_files(scans, SUBJECT, "pi").labels, scans / LOOKUP_NAME
    chimap = str(maps / "pi" / "Chimap.nii.gz")
    table = ("--labels", str(labels), "--lookup", str(lookup))
    yield _measured("nuclei", chimap, *table, str(folder / "nuclei.tsv"))


def _measured(*words: str) -> tuple[str, Cost]:
    shown = " ".join(Path(word).name if "/" in word else word for word in words)
    return shown, command_cost(words)
