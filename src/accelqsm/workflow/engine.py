"""A study by Snakemake: the same commands as jobs, one for each scan, participant and the group."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelqsm.errors import InputError, PartlyFailed
from accelqsm.files.atomic import write_text
from accelqsm.files.bids.dataset import Scan
from accelqsm.recon.registry import RECONSTRUCTIONS
from accelqsm.study.context import Context
from accelqsm.study.plan import MAP, STEPS, Selection
from accelqsm.study.run import SOME_FAILED, TRY_AGAIN, plan_states
from accelqsm.study.state import State, Status
from accelqsm.workflow import PROFILES, SNAKEFILE

WORKPLACE = ".workflow"
LEAST_MB, MOST_MB, MB_OF_FILE_MB = 2000, 8000, 4
"""Memory of a map: it grows with the file, and stays within that of a scan of the study's size."""


def run_workflow(context: Context, selection: Selection, options: Sequence[str]) -> None:
    """Run the jobs that are not finished, and the group, by Snakemake.

    Args:
        context: the study; its settings are written in its folder.
        selection: what is run.
        options: of Snakemake, such as ("--cores", "2").

    Raises:
        InputError: no Snakemake.
        PartlyFailed: steps that are not done, or a failure of Snakemake.
    """
    command = [*_snakemake(), "--snakefile", str(SNAKEFILE)]
    workplace = (context.out / STEPS / WORKPLACE).resolve()
    shutil.rmtree(workplace / "done", ignore_errors=True)
    jobs = jobs_of(context, selection, plan_states(context, selection))
    write_text(workplace / "jobs.json", json.dumps(jobs, indent=1))
    # The commands lock what they write, also against those of other engines.
    command += ["--directory", str(workplace), "--nolock", "--keep-going"]
    status = _wait(subprocess.Popen([*command, *_with_profile(options)]))
    if set(options) & {"-n", "--dry-run", "--dryrun"}:
        return
    found = [s for s in plan_states(context, selection) if s.state != State.FINISHED]
    lines = [f"{s.step.label}: {s.why}" for s in found]
    if status:
        lines.append(f"snakemake: expected all jobs to end well, found exit status {status}")
    if lines:
        raise PartlyFailed(lines, TRY_AGAIN if status else SOME_FAILED)


def jobs_of(context: Context, selection: Selection, found: Sequence[Status]) -> dict[str, Any]:
    """Jobs with something to do, as the Snakefile reads them.

    Args:
        context: the study.
        selection: what is run.
        found: state of all steps of the selection.
    """
    scans: dict[str, dict[str, Any]] = {}
    subjects: dict[str, dict[str, Any]] = {}
    for status in found:
        if status.state in (State.FINISHED, State.MISSING):
            continue
        scan = status.step.scan
        own = subjects.setdefault(
            scan.subject,
            {"scans": [], "chosen": _words(subject=scan.subject, also=selection)},
        )
        if status.step.kind == MAP:
            scans[scan.name()] = _scan_job(context, scan)
            own["scans"].append(scan.name())
    run = [sys.executable, "-m", "accelqsm.cli", "run"]
    run += [str(context.dataset.root.resolve()), str(context.out.resolve())]
    return {
        "command": shlex.join(run),
        "threads": context.study.study.threads,
        "chosen": _words(also=selection),
        "scans": scans,
        "subjects": subjects,
    }


def _scan_job(context: Context, scan: Scan) -> dict[str, Any]:
    size_mb = sum(path.stat().st_size for path in scan.files if path.is_file()) / 2**20
    recon = context.study.recon.get(scan.protocol)
    network = recon is not None and "network" in RECONSTRUCTIONS[recon.method].uses
    chosen = _words(subject=scan.subject) + f" --protocol {shlex.quote(scan.protocol)}"
    if scan.session:
        chosen += f" --session-label {scan.session.removeprefix('ses-')}"
    return {
        "chosen": chosen,
        "mem_mb": round(min(MOST_MB, LEAST_MB + MB_OF_FILE_MB * size_mb)),
        "network": network,
    }


def _words(*, subject: str = "", also: Selection | None = None) -> str:
    """Arguments of ``accelqsm run`` that choose a subject, and what a selection chooses."""
    chosen = also or Selection()
    labels = {
        "--participant-label": [subject.removeprefix("sub-")] if subject else chosen.subjects,
        "--session-label": chosen.sessions,
        "--protocol": chosen.protocols,
    }
    return shlex.join(word for flag, own in labels.items() if own for word in (flag, *own))


def _snakemake() -> list[str]:
    if find_spec("snakemake") is not None:
        return [sys.executable, "-m", "snakemake"]
    found = shutil.which("snakemake")
    if found is None:
        raise InputError(
            "workflow: expected Snakemake, found none (pip install 'accelqsm[workflow]')"
        )
    return [found]


def _with_profile(options: Sequence[str]) -> list[str]:
    """Options in which the profile of a name in the package is that profile."""
    words = list(options)
    if "--profile" in words[:-1]:
        place = words.index("--profile") + 1
        own = PROFILES / Path(words[place]).name
        if own.is_dir() and not Path(words[place]).is_dir():
            words[place] = str(own)
    return words


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Exit status of a process; where this one is interrupted, that one ends its jobs first."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
