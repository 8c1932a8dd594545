"""Reconstructions of several echoes of a brain: what sharing structure between echoes gains.

32 x 112 x 40 voxels of 2.0 x 1.7 x 3.2 mm about the nuclei of one side, four echoes, 8 channels,
Poisson disks with a centre of 16 x 12. Every method reconstructs the same noisy samples in a
process of its own. As a Markdown table, each a mean over heads: complex NRMSE where there is
signal, over the echoes and of each, error of the phase from first to last echo weighted by its
magnitude, CPU seconds with the sensitivities, and the memory that the method adds. Networks without
weights in the package are left out unless a file is named, and so is BART where it is not
installed, whose memory is not known.
Usage: OMP_NUM_THREADS=1 python benchmarks/recon_echoes.py [--heads SEED ...] [--snr SNR]
    [--af AF ...] [--of-each-echo, a pattern for each echo, by the methods that can use it]
    [--calibration Y Z, size of the fully sampled centre]
    [--pattern TABLE, as written by ``accelqsm pattern``, in place of Poisson disks;
    --af is then its own, and --calibration has to be its centre]
    [--weights METHOD=FILE ...] [--methods METHOD ...]
    [--sample-weight W, of the networks of all channels]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError
from accelqsm.files.text.pattern import read_pattern
from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.grid import Shape, centred_grid
from accelqsm.kspace import KSpace
from accelqsm.recon.method_settings import EchoWaveletSettings, NetworkSettings, WaveletSettings
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.registry import RECONSTRUCTIONS
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.sense import unit_maps
from accelqsm.recon.sensitivities.estimate import estimate_in_slabs
from accelqsm.recon.settings import ReconSettings
from accelqsm.recon.weights import chosen_weights
from accelqsm.runtime.memory import keep_freed_memory
from accelqsm.simulate.coils import head_coil
from accelqsm.simulate.heads.head import digital_head
from accelqsm.simulate.scanner import acquire, transverse_signal
from bart import INSTALLED, Bart

SHAPE, SIZE_MM, CENTRE_MM = (32, 112, 40), (2.0, 1.7, 3.2), (-14.0, -17.0, 5.0)
ECHO_TIMES_S = (0.004, 0.010, 0.016, 0.022)
CALIBRATION, N_CHANNELS, SIGNAL_SHARE = (16, 12), 8, 0.1
END = 3
"""Readout positions at each end of the slab that are not judged."""
LAMBDAS = (0.002, 0.004)
BART_LAMBDAS, BART_ITERATIONS = (0.001, 0.002, 0.005), 60
METHODS = {
    "zero-filled": ReconSettings("zero-filled"),
    "CG-SENSE": ReconSettings("cg-sense"),
    **{
        f"L1-wavelet, lambda {share}": ReconSettings(
            "l1-wavelet", WaveletSettings(regularisation=share)
        )
        for share in LAMBDAS
    },
    **{
        f"L1 over echoes, lambda {share}": ReconSettings(
            "l1-echoes", EchoWaveletSettings(regularisation=share)
        )
        for share in LAMBDAS
    },
    "DCRNet": ReconSettings("dcrnet"),
    "ReconNet3D, per coil": ReconSettings(
        "reconnet3d", network=NetworkSettings(consistency="per-coil")
    ),
    "ReconNet3D, joint": ReconSettings("reconnet3d"),
    "echo-joint": ReconSettings("echo-joint"),
}

WEIGHED = ("reconnet3d", "echo-joint")
"""Networks of cascades, whose samples have a weight."""

Row = tuple[list[float], float, float, float]
"""NRMSE of each echo in per cent, error of the phase in rad, CPU seconds, MB."""


def main() -> None:
    """Print the table."""
    options = _options()
    torch.set_num_threads(1)
    keep_freed_memory()
    methods = {
        name: weighed(with_weights(settings, options.weights), options.sample_weight)
        for name, settings in METHODS.items()
        if can_run(settings, options)
    }
    heads = {seed: brain(seed) for seed in options.heads}
    print("| AF | method | NRMSE % | of each echo | phase, rad | CPU s | MB |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for acceleration in options.af:
        rows: dict[str, list[Row]] = {}
        for seed, (echoes, maps) in heads.items():
            sampled = options.pattern
            if sampled is None:
                sampled = pattern(
                    acceleration,
                    seed=seed,
                    of_each_echo=options.of_each_echo,
                    calibration=options.calibration,
                )
            kspace = measured(echoes, maps, sampled, snr=options.snr, seed=seed)
            for name, settings in methods.items():
                image, cpu_s, mb = in_a_process(kspace, settings, maps)
                rows.setdefault(name, []).append((*errors(echoes, image), cpu_s, mb))
            if INSTALLED:
                for lamda in BART_LAMBDAS:
                    image, cpu_s = by_bart(kspace, maps, lamda, options.calibration)
                    row = (*errors(echoes, image), cpu_s, float("nan"))
                    rows.setdefault(f"BART, L1-wavelet, lambda {lamda}", []).append(row)
        for name, found in rows.items():
            print(line(acceleration, name, found), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=int, nargs="+", default=[62], metavar="SEED")
    parser.add_argument("--snr", type=float, default=100.0)
    parser.add_argument("--af", type=int, nargs="+", default=[3, 5, 8])
    parser.add_argument("--of-each-echo", action="store_true")
    parser.add_argument("--calibration", type=int, nargs=2, default=CALIBRATION, metavar="N")
    parser.add_argument("--pattern", type=Path, metavar="TABLE")
    parser.add_argument("--sample-weight", type=float)
    parser.add_argument("--weights", nargs="+", default=[], metavar="METHOD=FILE")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    options = parser.parse_args()
    options.weights = dict(word.split("=", 1) for word in options.weights)
    options.calibration = tuple(options.calibration)
    if options.pattern:
        ((acceleration, table),) = pattern_of_file(options.pattern).items()
        options.af = [acceleration]
        options.pattern, options.of_each_echo = table, table.ndim == 3
    return options


def pattern_of_file(path: Path) -> dict[int, Tensor]:
    """A pattern as ``accelqsm pattern`` writes it, by its acceleration."""
    table = torch.from_numpy(read_pattern(path, (SHAPE[1], SHAPE[2])))
    return {round(table.numel() / int(table.sum())): table}


def can_run(settings: ReconSettings, options: argparse.Namespace) -> bool:
    """Whether a method is wanted, can use the patterns, and has weights if it needs any."""
    row = RECONSTRUCTIONS[settings.method]
    if settings not in [METHODS[name] for name in options.methods]:
        return False
    if options.of_each_echo and row.shared_pattern:
        return False
    if "network" not in row.uses or settings.method in options.weights:
        return True
    try:
        chosen_weights(settings)
    except InputError:
        return False
    return True


def with_weights(settings: ReconSettings, given: Mapping[str, str]) -> ReconSettings:
    """Settings with the weights that were given for the method, if any."""
    if settings.method not in given or settings.network.consistency == "per-coil":
        return settings
    return replace(settings, network=replace(settings.network, weights=given[settings.method]))


def weighed(settings: ReconSettings, sample_weight: float | None) -> ReconSettings:
    """Settings with a weight of the samples, for the networks of all channels that have one.

    None is the package's, 1 that of training.
    """
    if settings.method not in WEIGHED or settings.network.consistency == "per-coil":
        return settings
    return replace(settings, network=replace(settings.network, sample_weight=sample_weight))


def line(acceleration: int, name: str, rows: list[Row]) -> str:
    """A line of the table: means over heads."""
    nrmse, phases_rad, cpu_s, mb = zip(*rows, strict=True)
    each = [fmean(values) for values in zip(*nrmse, strict=True)]
    shown = ", ".join(f"{error:.2f}" for error in each)
    return (
        f"| {acceleration} | {name} | {fmean(each):.2f} | {shown} | {fmean(phases_rad):.4f} "
        f"| {fmean(cpu_s):.1f} | {fmean(mb):.0f} |"
    )


def by_bart(
    kspace: KSpace, maps: Tensor, lamda: float, calibration: tuple[int, int]
) -> tuple[Tensor, float]:
    """Images (echo, x, y, z) of BART's L1-wavelet as of a coil's maps, and its CPU seconds."""
    images, found, cpu_s = bart_wavelet(kspace, lamda, calibration)
    return (maps.conj() * found).sum(0) * images, cpu_s


def bart_wavelet(
    kspace: KSpace, lamda: float, calibration: tuple[int, int]
) -> tuple[Tensor, Tensor, float]:
    """BART's L1-wavelet, echo by echo: images (echo, x, y, z), its maps, and its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    bart, images = Bart(kspace.planes()[:, 0], calibration), []
    bart.find_maps(everywhere=True)
    for echo in range(kspace.acquisition.n_echoes):
        bart.give(kspace.planes()[:, echo])
        images.append(bart.solve(BART_ITERATIONS, f"W:7:0:{lamda}"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return torch.stack(images), bart.maps, spent


def acquisition(refinement: int = 1) -> Acquisition:
    """What the scanner does, on a grid that many times finer."""
    x, y, z = (n * refinement for n in SHAPE)
    shape: Shape = (x, y, z)
    size_mm = (SIZE_MM[0] / refinement, SIZE_MM[1] / refinement, SIZE_MM[2] / refinement)
    grid = centred_grid(shape, size_mm, centre_mm=CENTRE_MM)
    return Acquisition(grid, ECHO_TIMES_S, 3.0, 0.04, 15.0)


def brain(seed: int) -> tuple[Tensor, Tensor]:
    """Echoes (echo, x, y, z) of a head's brain, and sensitivities of the coil."""
    fine = acquisition(2)
    head = digital_head(fine.grid, seed=seed)
    signal = transverse_signal(head, fine, seed=seed) * head.brain
    echoes = torch.stack([ifft(acquire(echo, SHAPE), PHASE_ENCODES) for echo in signal])
    coil = head_coil(acquisition().grid, n_channels=N_CHANNELS, seed=seed)
    return echoes, unit_maps(torch.stack(list(coil)).to(torch.complex64))


def pattern(
    acceleration: float,
    *,
    seed: int,
    of_each_echo: bool,
    calibration: tuple[int, int] = CALIBRATION,
) -> Tensor:
    """Poisson disk for all echoes, or one for each of which the first is the same."""
    disks = [
        poisson_disk(
            (SHAPE[1], SHAPE[2]),
            acceleration=acceleration,
            calibration=calibration,
            seed=seed + 1000 * echo,
            voxel_size_mm=SIZE_MM[1:],
        )
        for echo in range(len(ECHO_TIMES_S) if of_each_echo else 1)
    ]
    return torch.stack(disks) if of_each_echo else disks[0]


def measured(echoes: Tensor, maps: Tensor, sampled: Tensor, *, snr: float, seed: int) -> KSpace:
    """Noisy samples; the noise of the combined image is the first echo's mean signal over SNR."""
    noise_sd = float(echoes[0].abs()[with_signal(echoes)].mean()) / snr
    images = maps[:, None] * echoes
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(*images.shape, generator=generator, dtype=torch.complex64) * noise_sd
    spectra, patterns = fft(images, PHASE_ENCODES) + noise, sampled.expand(len(echoes), -1, -1)
    samples = torch.stack([spectra[:, e][..., each] for e, each in enumerate(patterns)], dim=1)
    return KSpace(acquisition(), sampled, samples.numpy())


def with_signal(echoes: Tensor) -> Tensor:
    """Where the first echo exceeds a tenth of its largest value, but at the ends of the slab.

    Kernels along the readout, such as those of BART's sensitivities, have no neighbours there.

    Returns:
        bool (x, y, z).
    """
    magnitude = echoes[0].abs()
    signal = magnitude > SIGNAL_SHARE * magnitude.max()
    signal[:END] = signal[-END:] = False
    return signal


def errors(true: Tensor, found: Tensor) -> tuple[list[float], float]:
    """NRMSE of each echo in per cent, and error of the phase from first to last echo."""
    here = with_signal(true)
    nrmse = [
        100 * float((image - echo)[here].norm() / echo[here].norm())
        for echo, image in zip(true, found, strict=True)
    ]
    evolution, expected = ((e[-1] * e[0].conj())[here] for e in (found, true))
    weight = expected.abs()
    squared = (evolution * expected.conj()).angle().square() * weight
    return nrmse, float(squared.sum() / weight.sum()) ** 0.5


def in_a_process(
    kspace: KSpace, settings: ReconSettings, maps: Tensor
) -> tuple[Tensor, float, float]:
    """Image of all channels (echo, x, y, z), CPU seconds, and MB beyond those of the samples."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_reconstruct, args=(theirs, kspace, settings, maps))
    process.start()
    theirs.close()
    found, cpu_s, mb = ours.recv()
    process.join()
    return torch.from_numpy(found), cpu_s, mb


def _reconstruct(
    pipe: Connection[Any, Any], kspace: KSpace, settings: ReconSettings, maps: Tensor
) -> None:
    before, start = _peak_mb(), time.process_time()
    blocks = list(reconstruct(kspace, settings))
    cpu_s, mb = time.process_time() - start, _peak_mb() - before
    images = torch.zeros(len(kspace.acquisition.echo_times_s), *SHAPE, dtype=torch.complex64)
    # A joint image is in the phase of the estimated sensitivities, which are not the true ones.
    joint = blocks[0].channels is None
    estimated = estimate_in_slabs(kspace).maps if joint else maps
    for block in blocks:
        if joint:
            received = estimated[:, None, block.x] * block.images[0]
            images[:, block.x] += (maps[:, None, block.x].conj() * received).sum(0)
        else:
            some = maps[block.channels][:, None, block.x]
            images[:, block.x] += (some.conj() * block.images).sum(0)
    pipe.send((images.numpy(), cpu_s, mb))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
