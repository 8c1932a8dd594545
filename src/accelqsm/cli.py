"""The command line: what can be asked for, and nothing of how it is done.

Numerical libraries are imported when a command runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from accelqsm import __version__
from accelqsm.errors import InputError, InputWarning
from accelqsm.runtime.memory import keep_freed_memory

EXIT_BAD_INPUT = 65
EXIT_INTERRUPTED = 130
METHODS = ("zero-filled", "grappa", "cg-sense", "l1-wavelet", "reconnet3d")
PROTOCOLS = ("full", "pi", "pi-rescan", "af3", "af4", "af5")

Command = Callable[[argparse.Namespace], None]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it is done, 65 with one line on stderr for unusable input."""
    options = parser().parse_args(arguments)
    command: Command = options.command
    keep_freed_memory()
    try:
        with _warnings_in_one_line():
            command(options)
    except InputError as error:
        print(f"accelqsm: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("accelqsm: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Say what is lost of an input without Python's place and source line."""
    usual = warnings.formatwarning

    def one_line(message: Warning | str, category: type[Warning], *place: Any, **line: Any) -> str:
        if issubclass(category, InputWarning):
            return f"accelqsm: warning: {message}\n"
        return usual(message, category, *place, **line)

    warnings.formatwarning = one_line
    try:
        yield
    finally:
        warnings.formatwarning = usual


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(
        prog="accelqsm",
        description="Accelerated quantitative susceptibility mapping: under-sampled k-space in, "
        "deep-brain nuclei and their agreement out. Research software, not a medical device.",
    )
    top.add_argument("--version", action="version", version=f"accelqsm {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_study_commands(commands)
    _add_scan_commands(commands)
    _add_table_commands(commands)
    _add_tool_commands(commands)
    return top


def _add_study_commands(commands: Commands) -> None:
    demo = commands.add_parser("demo", help="simulate, reconstruct, map, measure, compare, report")
    demo.add_argument("out", type=Path, nargs="?", default=Path("demo"), metavar="OUT")
    demo.add_argument("--seed", type=int, default=11, help="seed of the digital head (default 11)")
    demo.set_defaults(command=_demo)

    simulate = commands.add_parser("simulate", help="scan digital heads, as MRD files")
    simulate.add_argument("out", type=Path, metavar="OUT")
    simulate.add_argument("--subjects", type=int, default=1, metavar="N")
    simulate.add_argument("--seed", type=int, default=0, metavar="S")
    simulate.add_argument("--preset", choices=("demo", "paper"), default="demo")
    simulate.add_argument(
        "--protocols", nargs="+", choices=PROTOCOLS, default=["pi", "af3", "af4", "af5"]
    )
    simulate.add_argument("--t1w", action="store_true", help="and T1-weighted, as NIfTI")
    simulate.set_defaults(command=_simulate)


def _add_scan_commands(commands: Commands) -> None:
    recon = commands.add_parser("recon", help="MRD k-space to magnitude and phase of every echo")
    kspace_to_map = commands.add_parser("map", help="MRD k-space to susceptibility in one go")
    for command, action in ((recon, _recon), (kspace_to_map, _map)):
        command.add_argument("scan", type=Path, metavar="SCAN.h5")
        command.add_argument("out", type=Path, metavar="OUT")
        command.add_argument("--method", choices=METHODS, required=True)
        command.add_argument(
            "--weights",
            metavar="FILE|NAME",
            help="network weights: a file of your own, or channel, channel-wide or channels of the "
            "package; by default what fits consistency and device",
        )
        command.add_argument(
            "--consistency",
            choices=("channel", "channels"),
            help="reconnet3d: each channel by itself, as published, or (by default) one image that "
            "the samples of all channels agree on",
        )
        command.set_defaults(command=action)
    kspace_to_map.add_argument("--mask", type=Path, metavar="FILE")

    qsm = commands.add_parser("qsm", help="magnitude and phase images to susceptibility")
    qsm.add_argument("--megre", type=Path, metavar="PREFIX", help="BIDS folder or prefix of a scan")
    qsm.add_argument("--magnitude", type=Path, nargs="+", default=(), metavar="FILE")
    qsm.add_argument("--phase", type=Path, nargs="+", default=(), metavar="FILE")
    qsm.add_argument(
        "--echo-times-s", type=float, nargs="+", metavar="T", help="default: JSON sidecars"
    )
    qsm.add_argument("--b0-tesla", type=float, metavar="B", help="default: JSON sidecars")
    qsm.add_argument("--b0-direction", type=float, nargs=3, metavar=("X", "Y", "Z"))
    qsm.add_argument(
        "--phase-range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="values of -pi and pi"
    )
    qsm.add_argument("--mask", type=Path, metavar="FILE")
    qsm.add_argument("--invert-phase", action="store_true", help="phase falls where B0 rises")
    qsm.add_argument("out", type=Path, metavar="OUT")
    for command in (kspace_to_map, qsm):
        command.add_argument("--settings", type=Path, metavar="TOML", help="replay these settings")
    qsm.set_defaults(command=_qsm)


def _add_table_commands(commands: Commands) -> None:
    nuclei = commands.add_parser("nuclei", help="susceptibility map to one row per nucleus")
    nuclei.add_argument("chimap", type=Path, metavar="CHIMAP")
    nuclei.add_argument(
        "--magnitude", type=Path, metavar="FILE", help="of the same scan: registers an atlas"
    )
    nuclei.add_argument("--t1w", type=Path, metavar="FILE", help="of the same head, any pose")
    nuclei.add_argument(
        "--atlas", metavar="DIR", help="folder, or cit168 (default; downloaded once)"
    )
    nuclei.add_argument("--labels", type=Path, metavar="FILE", help="instead of an atlas")
    nuclei.add_argument("--lookup", type=Path, metavar="TSV", help="index and name of each label")
    nuclei.add_argument(
        "--reference-magnitude",
        type=Path,
        metavar="FILE",
        help="of another scan of this head, on which --labels lie: moves them to this scan",
    )
    nuclei.add_argument(
        "--resample",
        action="store_true",
        help="move the map to the other scan instead of the labels to this one (it smooths)",
    )
    nuclei.add_argument("--mask", type=Path, metavar="FILE")
    nuclei.add_argument(
        "--reference", choices=("brain", "csf", "none"), help="zero of susceptibility"
    )
    nuclei.add_argument("--r2star", type=Path, metavar="FILE", help="finds the CSF")
    nuclei.add_argument("--erode-mm", type=float, default=0.0, metavar="D")
    nuclei.add_argument("--weighted", action="store_true", help="weigh voxels by their share")
    nuclei.add_argument("--threshold", type=float, default=0.5, metavar="P")
    nuclei.add_argument("--min-voxels", type=int, default=3, metavar="N")
    nuclei.add_argument("--regions", metavar="NAME,NAME", help="which nuclei, in order")
    nuclei.add_argument(
        "out", type=Path, metavar="OUT", help="OUT.tsv with --labels alone, otherwise a folder"
    )
    nuclei.set_defaults(command=_nuclei)

    similarity = commands.add_parser("similarity", help="likeness of two susceptibility maps")
    similarity.add_argument("chimap", type=Path, metavar="CHIMAP")
    similarity.add_argument("reference", type=Path, metavar="REFERENCE")
    similarity.add_argument("--mask", type=Path, required=True, metavar="FILE")
    similarity.add_argument("out", type=Path, metavar="OUT.tsv")
    similarity.set_defaults(command=_similarity)

    _add_agreement_commands(commands)


def _add_agreement_commands(commands: Commands) -> None:
    compare = commands.add_parser("compare", help="agreement of protocols, nucleus by nucleus")
    compare.add_argument(
        "values", type=Path, metavar="VALUES.tsv", help="subject, protocol, region, value_ppb"
    )
    compare.add_argument("--reference", metavar="PROTOCOL", help="compare the others with this one")
    compare.add_argument(
        "--participants", type=Path, metavar="TSV", help="participant_id, age, sex: adds age"
    )
    compare.add_argument("--beside", metavar="STUDY", help="published numbers too: zhou2025")
    compare.add_argument("--settings", type=Path, metavar="TOML", help="replay these settings")
    compare.add_argument("out", type=Path, metavar="OUT")
    compare.set_defaults(command=_compare)

    plan = commands.add_parser("plan", help="subjects that decide equivalence; scan time saved")
    plan.add_argument(
        "pilot", type=Path, nargs="?", metavar="AGREEMENT.tsv", help="written by compare"
    )
    plan.add_argument("--within-sd-ppb", type=float, metavar="PPB", help="in place of a pilot")
    plan.add_argument("--mean-ppb", type=float, metavar="PPB", help="mean under the reference")
    bias = plan.add_mutually_exclusive_group()
    bias.add_argument("--bias-ppb", type=float, default=0.0, metavar="PPB", help="default 0")
    bias.add_argument("--bias-observed", action="store_true", help="the bias of the pilot")
    plan.add_argument(
        "--scan-time",
        action="append",
        default=[],
        metavar="PROTOCOL=SECONDS",
        help="once per protocol, or the name of a published study",
    )
    plan.add_argument("--reference", metavar="PROTOCOL", help="the protocol to replace")
    plan.add_argument("--out", type=Path, metavar="OUT.tsv")
    plan.set_defaults(command=_plan)

    for command in (compare, plan):
        command.add_argument(
            "--margin-percent", type=float, metavar="P", help="of the reference mean (default 5)"
        )
        command.add_argument(
            "--margin-ppb",
            action="append",
            default=[],
            metavar="[REGION=]PPB",
            help="margin of a region, or of all; may be repeated",
        )
        command.add_argument("--power", type=float, metavar="P", help="default 0.8")
        command.add_argument("--confidence", type=float, metavar="P", help="default 0.95")

    report = commands.add_parser("report", help="rebuild the report of a demo or comparison")
    report.add_argument("out", type=Path, metavar="OUT", help="folder of demo or compare")
    report.set_defaults(command=_report)

    cohort = commands.add_parser("cohort", help="people and values with published statistics")
    cohort.add_argument("study", metavar="STUDY", help="zhou2025")
    cohort.add_argument("--seed", type=int, default=0, metavar="S")
    cohort.add_argument("out", type=Path, metavar="OUT")
    cohort.set_defaults(command=_cohort)


def _add_tool_commands(commands: Commands) -> None:
    train = commands.add_parser(
        "train", help="train ReconNet3D on digital heads or fully sampled scans; resumes"
    )
    train.add_argument("out", type=Path, metavar="OUT")
    train.add_argument("--settings", type=Path, metavar="TOML", help="settings.toml of a run")
    train.add_argument("--data", metavar="DIR", help="fully sampled MRD files, split by sub-LABEL")
    train.add_argument("--consistency", choices=("channel", "channels"))
    train.add_argument("--steps", type=int)
    train.add_argument("--width", type=int, help="channels of the inner layers")
    train.add_argument("--seed", type=int)
    train.add_argument("--heads", type=int, metavar="N", help="digital heads to learn from")
    train.add_argument(
        "--validation-heads", type=int, metavar="N", help="others, or subjects of DIR, to look at"
    )
    train.set_defaults(command=_train)

    doctor = commands.add_parser("doctor", help="versions, device and weights of this installation")
    doctor.set_defaults(command=_doctor)


def _demo(options: argparse.Namespace) -> None:
    from accelqsm.commands.demo import run_demo

    print(run_demo(options.out, seed=options.seed))


def _simulate(options: argparse.Namespace) -> None:
    from accelqsm.virtual.scans import simulate_study

    simulate_study(
        options.out,
        n_subjects=options.subjects,
        seed=options.seed,
        preset=options.preset,
        protocols=options.protocols,
        t1w=options.t1w,
    )


def _recon(options: argparse.Namespace) -> None:
    from accelqsm.commands.scan import recon_scan

    recon_scan(
        options.scan,
        options.out,
        method=options.method,
        weights=options.weights,
        consistency=options.consistency,
    )


def _map(options: argparse.Namespace) -> None:
    from accelqsm.commands.scan import map_scan

    map_scan(
        options.scan,
        options.out,
        method=options.method,
        weights=options.weights,
        consistency=options.consistency,
        mask=options.mask,
        settings=options.settings,
    )


def _qsm(options: argparse.Namespace) -> None:
    from accelqsm.pipeline.images import qsm_images

    qsm_images(
        options.magnitude,
        options.phase,
        options.out,
        megre=options.megre,
        echo_times_s=options.echo_times_s,
        field_strength_t=options.b0_tesla,
        b0_direction=options.b0_direction,
        phase_range=options.phase_range,
        mask=options.mask,
        invert_phase=options.invert_phase,
        settings=options.settings,
    )


def _nuclei(options: argparse.Namespace) -> None:
    from accelqsm.commands.nuclei import nuclei_command

    nuclei_command(
        options.chimap,
        options.out,
        magnitude=options.magnitude,
        t1w=options.t1w,
        atlas=options.atlas,
        labels=options.labels,
        lookup=options.lookup,
        reference_magnitude=options.reference_magnitude,
        resample=options.resample,
        mask=options.mask,
        reference=options.reference,
        r2star=options.r2star,
        erosion_mm=options.erode_mm,
        weighted=options.weighted,
        threshold=options.threshold,
        min_voxels=options.min_voxels,
        regions=None if options.regions is None else tuple(options.regions.split(",")),
    )


def _similarity(options: argparse.Namespace) -> None:
    from accelqsm.commands.similarity import similarity_table
    from accelqsm.reports.console import show, similarity_summary

    figures = similarity_table(options.chimap, options.reference, options.out, mask=options.mask)
    show(similarity_summary(figures))


def _compare(options: argparse.Namespace) -> None:
    from accelqsm.pipeline.comparison import compare_options, compare_values
    from accelqsm.reports.console import comparison_summary, show

    wanted = compare_options(
        options.settings,
        reference=options.reference,
        margin_ppb=options.margin_ppb,
        beside=options.beside,
        **_levels(options),
    )
    comparison = compare_values(
        options.values, options.out, wanted, participants=options.participants
    )
    show(comparison_summary(comparison))


def _report(options: argparse.Namespace) -> None:
    from accelqsm.reports.comparison import rebuild_report

    print(rebuild_report(options.out))


def _plan(options: argparse.Namespace) -> None:
    from accelqsm.commands.plan import plan_study, scan_times
    from accelqsm.pipeline.comparison import EVERY_REGION, named_numbers
    from accelqsm.reports.console import plan_summary, show

    plan = plan_study(
        options.pilot,
        options.out,
        within_sd_ppb=options.within_sd_ppb,
        mean_ppb=options.mean_ppb,
        margin_ppb=named_numbers(options.margin_ppb, "--margin-ppb", default=EVERY_REGION),
        bias_ppb=None if options.bias_observed else options.bias_ppb,
        scan_time_s=scan_times(options.scan_time),
        reference=options.reference,
        **_levels(options),
    )
    show(plan_summary(plan))


def _levels(options: argparse.Namespace) -> dict[str, float]:
    """The numbers that were given; the functions know the defaults."""
    names = ("margin_percent", "power", "confidence")
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _cohort(options: argparse.Namespace) -> None:
    from accelqsm.commands.plan import write_published_cohort

    write_published_cohort(options.study, options.out, seed=options.seed)
    print(options.out / "values.tsv")


def _train(options: argparse.Namespace) -> None:
    from accelqsm.training.run import read_training_settings, train_network

    def given(**values: object) -> dict[str, Any]:
        return {name: value for name, value in values.items() if value is not None}

    settings, data = read_training_settings(options.settings)
    network = given(width=options.width, consistency=options.consistency)
    architecture = dataclasses.replace(settings.architecture, **network)
    weights = train_network(
        options.out,
        settings=dataclasses.replace(
            settings, architecture=architecture, **given(steps=options.steps, seed=options.seed)
        ),
        data=dataclasses.replace(
            data,
            **given(
                scans=options.data,
                heads=options.heads,
                validation_heads=options.validation_heads,
            ),
        ),
    )
    print(weights)


def _doctor(options: argparse.Namespace) -> None:
    from accelqsm.commands.doctor import report_installation

    print(report_installation())


if __name__ == "__main__":
    sys.exit(main())
