"""Reconstructions of several echoes of a brain: what sharing structure between echoes gains.

32 x 112 x 40 voxels of 2.0 x 1.7 x 3.2 mm about the nuclei of one side, four echoes, 8 channels,
Poisson disks with a centre of 16 x 12. Every method reconstructs the same noisy samples in a
process of its own. As a Markdown table: complex NRMSE of each echo's image where there is signal
and their mean, error of the phase from first to last echo weighted by its magnitude, CPU seconds
with the sensitivities, and the memory that the method adds.
Usage: OMP_NUM_THREADS=1 python benchmarks/recon_echoes.py [--head N] [--snr SNR] [--af AF ...]
    [--of-each-echo, a pattern for each echo, by the methods that can use it]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.grid import Shape, centred_grid
from accelqsm.kspace import KSpace
from accelqsm.recon.espirit import espirit_in_slabs
from accelqsm.recon.method_settings import EchoWaveletSettings, WaveletSettings
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.registry import RECONSTRUCTIONS
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.sense import unit_maps
from accelqsm.recon.settings import ReconSettings
from accelqsm.simulate.coils import head_coil
from accelqsm.simulate.heads.head import digital_head
from accelqsm.simulate.scanner import acquire, transverse_signal

SHAPE, SIZE_MM, CENTRE_MM = (32, 112, 40), (2.0, 1.7, 3.2), (-14.0, -17.0, 5.0)
ECHO_TIMES_S = (0.004, 0.010, 0.016, 0.022)
CALIBRATION, N_CHANNELS, SIGNAL_SHARE = (16, 12), 8, 0.1
METHODS = {
    "CG-SENSE": ReconSettings("cg-sense"),
    **{
        f"L1-wavelet, lambda {share}": ReconSettings(
            "l1-wavelet", WaveletSettings(regularisation=share)
        )
        for share in (0.002, 0.004, 0.006)
    },
    **{
        f"L1 over echoes, lambda {share}": ReconSettings(
            "l1-echoes", EchoWaveletSettings(regularisation=share)
        )
        for share in (0.002, 0.004, 0.006)
    },
    "ReconNet3D, joint": ReconSettings("reconnet3d"),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--head", type=int, default=62)
    parser.add_argument("--snr", type=float, default=100.0)
    parser.add_argument("--af", type=int, nargs="+", default=[3, 5, 8])
    parser.add_argument("--of-each-echo", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    echoes, maps = brain(options.head)
    print("| AF | method | NRMSE % | of each echo | phase, rad | CPU s | MB |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for acceleration in options.af:
        sampled = pattern(acceleration, seed=options.head, of_each_echo=options.of_each_echo)
        kspace = measured(echoes, maps, sampled, snr=options.snr, seed=options.head)
        estimated = espirit_in_slabs(kspace).maps
        for name, settings in METHODS.items():
            if options.of_each_echo and RECONSTRUCTIONS[settings.method].shared_pattern:
                continue
            image, cpu_s, mb = in_a_process(kspace, settings)
            combined = (maps.conj() * estimated).sum(0) * image
            nrmse, phase_rad = errors(echoes, combined)
            each = ", ".join(f"{error:.2f}" for error in nrmse)
            mean = sum(nrmse) / len(nrmse)
            print(
                f"| {acceleration} | {name} | {mean:.2f} | {each} | {phase_rad:.4f} "
                f"| {cpu_s:.1f} | {mb:.0f} |",
                flush=True,
            )


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


def pattern(acceleration: float, *, seed: int, of_each_echo: bool) -> Tensor:
    """Poisson disk for all echoes, or one for each of which the first is the same."""
    disks = [
        poisson_disk(
            (SHAPE[1], SHAPE[2]),
            acceleration=acceleration,
            calibration=CALIBRATION,
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
    """Where the first echo exceeds a tenth of its largest value, bool (x, y, z)."""
    magnitude = echoes[0].abs()
    return magnitude > SIGNAL_SHARE * magnitude.max()


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


def in_a_process(kspace: KSpace, settings: ReconSettings) -> tuple[Tensor, float, float]:
    """Joint image (echo, x, y, z), CPU seconds, and MB beyond those of the samples."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_reconstruct, args=(theirs, kspace, settings))
    process.start()
    theirs.close()
    found, cpu_s, mb = ours.recv()
    process.join()
    return torch.from_numpy(found), cpu_s, mb


def _reconstruct(pipe, kspace, settings) -> None:  # type: ignore[no-untyped-def]
    before, start = _peak_mb(), time.process_time()
    images = torch.cat([block.images[0] for block in reconstruct(kspace, settings)], dim=1)
    pipe.send((images.numpy(), time.process_time() - start, _peak_mb() - before))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
