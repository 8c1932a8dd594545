"""The stages that are measured beside peers: who does each, how, and which error tells of it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench_process import Cost, task_cost
from bench_tables import StageRow

OURS, PAPERS = "accelqsm", "own code after the paper"
PACKAGES = {
    "SigPy": ("sigpy", "sigpy"),
    "pygrappa": ("pygrappa", "pygrappa"),
    "scikit-image": ("skimage", "scikit-image"),
    "ANTsPy": ("ants", "antspyx"),
    "nilearn": ("nilearn", "nilearn"),
}
"""Of a tool, the module that tells whether it is there, and its name for pip."""

PIP, APT = 'pip install --constraint constraints.txt -e ".[bench]"', "apt-get install bart"
LONG_CPU_S = 5.0


@dataclass(frozen=True)
class Method:
    """Who does a stage, and how.

    Attributes:
        tool: "accelqsm", a key of PACKAGES, "BART", or "own code after the paper".
        task: MODULE:FUNCTION that makes the call.
        name: of the method in the table.
        arguments: of the function.
    """

    tool: str
    task: str
    name: str = ""
    arguments: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name of the file with its result."""
        words = (self.task.replace(":", "-"), *self.arguments)
        return "-".join(words)


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        title: in the table.
        inputs: function of ``bench_inputs`` that writes what all methods are given.
        score: function of ``bench_scores``.
        error: what it gives.
        ours, peers: who does it.
    """

    title: str
    inputs: str
    score: str
    error: str
    ours: Method
    peers: tuple[Method, ...]


def _ours(task: str, name: str = "", *arguments: str) -> Method:
    return Method(OURS, f"bench_{task}", name, arguments)


def _paper(task: str, name: str, *arguments: str) -> Method:
    return Method(PAPERS, f"bench_{task}", name, arguments)


def _peer(tool: str, function: str, name: str = "") -> Method:
    return Method(tool, f"bench_peers:{function}", name)


STAGES = (
    Stage("Poisson disk", "slab", "count", "samples too many, %", _ours("recon:sampled"),
          (_peer("SigPy", "sigpy_sampled", "`mri.poisson`"),
           _peer("BART", "bart_sampled", "`poisson -v`"))),
    Stage("sensitivities, ESPIRiT", "slab", "maps", "angle, %", _ours("recon:sensitivities"),
          (_peer("SigPy", "sigpy_sensitivities", "`EspiritCalib` of each plane"),
           _peer("BART", "bart_sensitivities", "`ecalib`"))),
    Stage("GRAPPA, AF 2", "slab", "channels", "NRMSE, %", _ours("recon:grappa"),
          (_peer("pygrappa", "pygrappa_grappa", "`mdgrappa`"),)),
    Stage("CG-SENSE, AF 4", "slab", "image", "NRMSE, %", _ours("recon:sense"),
          (_peer("SigPy", "sigpy_sense", "`SenseRecon`"),
           _peer("BART", "bart_sense", "`pics -R Q`"))),
    Stage("L1-wavelet, AF 4", "slab", "image", "NRMSE, %", _ours("recon:wavelet"),
          (_peer("SigPy", "sigpy_wavelet", "`L1WaveletRecon`"),
           _peer("BART", "bart_wavelet", "`pics -R W`"))),
    Stage("brain mask", "head", "overlap", "1 - Dice, %", _ours("qsm:brain"),
          (_peer("ANTsPy", "ants_brain", "`get_mask`"),
           _peer("nilearn", "nilearn_brain", "`compute_epi_mask`"))),
    Stage("unwrapping, TE 28 ms", "phase", "wrong", "wrong voxels, %",
          _ours("qsm:unwrapped", "SPUN"),
          (_peer("scikit-image", "skimage_unwrapped", "`unwrap_phase`"),)),
    Stage("background field", "head", "local_field", "NRMSE, %",
          _ours("qsm:background", "dipole fit", "dipole_fit"),
          (_paper("qsm:background", "PDF", "pdf"), _paper("qsm:background", "RESHARP", "resharp"),
           _ours("qsm:background", "vSHARP", "vsharp"))),
    Stage("dipole inversion", "head", "inverted", "NRMSE, %", _ours("qsm:inversion", "L1", "l1"),
          (_paper("qsm:inversion", "TKD", "tkd"),
           _paper("qsm:inversion", "closed form", "closed_form"),
           _paper("qsm:inversion", "HD-QSM", "hd_qsm"), _paper("qsm:inversion", "TV", "tv"))),
    Stage("images to susceptibility", "head", "whole", "NRMSE, %", _ours("qsm:chain", "the chain"),
          (Method("scikit-image", "bench_qsm:others_chain",
                  "and fit, RESHARP, TV after the papers"),)),
    Stage("registration, rigid", "people", "motion", "error, mm", _ours("nuclei:rigid", "by ANTs"),
          (_peer("ANTsPy", "ants_rigid", "`registration`, Rigid"),)),
    Stage("registration, SyN", "people", "labels", "1 - Dice of nuclei, %",
          _ours("nuclei:deformable", "by ANTs, near the nuclei"),
          (_peer("ANTsPy", "ants_deformable", "`registration`, SyN"),)),
    Stage("similarity, SSIM and PSNR", "head", "similar", "SSIM", _ours("nuclei:similarity"),
          (_peer("scikit-image", "skimage_similarity", "`metrics`"),)),
)  # fmt: skip


def version_of(tool: str) -> str | None:
    """Version of a tool; None where it is not installed, empty where it has none."""
    if tool == "BART":
        if shutil.which("bart") is None:
            return None
        said = subprocess.run(["bart", "version"], capture_output=True, text=True, check=False)
        return said.stdout.strip().lstrip("v")
    if tool not in PACKAGES:
        return ""
    module, name = PACKAGES[tool]
    found = importlib.util.find_spec(module) is not None
    return importlib.metadata.version(name) if found else None


def missing_tools() -> dict[str, str]:
    """Tools of the stages that are not installed, and how to install each."""
    tools = dict.fromkeys(peer.tool for stage in STAGES for peer in stage.peers)
    return {tool: APT if tool == "BART" else PIP for tool in tools if version_of(tool) is None}


def stage_rows(
    stage: Stage, folder: Path, *, rounds: int, least_s: float, said: Callable[[str], None]
) -> list[StageRow]:
    """Rows of a stage: ours and each peer in turn, each in a process of its own.

    Args:
        stage: the stage.
        folder: of its inputs.
        rounds: how often everybody is measured, once where somebody takes long.
        least_s: CPU seconds that each process repeats its call for.
        said: told what was left out.
    """
    peers = [peer for peer in stage.peers if version_of(peer.tool) is not None]
    if not peers:
        said(f"{stage.title}: no peer is installed")
    methods = [stage.ours, *peers]
    costs: dict[str, list[Cost]] = {method.label: [] for method in methods}
    for number in range(rounds):
        if number and max(cost.cpu_s for each in costs.values() for cost in each) > LONG_CPU_S:
            break
        for method in methods:
            result = str(folder / f"{method.label}.npy")
            cost = task_cost(method.task, folder, *method.arguments, result=result, least_s=least_s)
            costs[method.label].append(cost)
    names = [method.label for method in methods]
    errors = task_cost(f"bench_scores:{stage.score}", folder, *names, least_s=0).value
    for name in names:
        (folder / f"{name}.npy").unlink()
    return [
        StageRow.of(
            stage=stage.title,
            who=_who(method),
            costs=costs[method.label],
            error=errors[method.label],
            error_name=stage.error,
        )
        for method in methods
    ]


def _who(method: Method) -> str:
    version = version_of(method.tool)
    number = re.match(r"[\d.]+", version or "")
    words = (method.tool, number[0] if number else "", method.name)
    return " ".join(word for word in words if word)
