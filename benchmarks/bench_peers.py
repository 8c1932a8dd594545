"""What others' software does at each stage, as calls on the files of ``bench_inputs``.

Nothing of this package is imported, so that time and memory are the peer's. Weights of penalties
were chosen as the best on the slab of seed 71 (``bench_tune.py``), the reported slab is another
head's; iterations are those after which the error no longer falls.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bart_files import read_cfl

SENSE_WEIGHT, SENSE_ITERATIONS = 0.01, 15
SIGPY_LAMBDA, SIGPY_ITERATIONS = 0.002, 60
"""Relative to the largest magnitude of the zero-filled image: SigPy takes it as it is given."""

BART_LAMBDA, BART_ITERATIONS = 0.003, 60
KERNEL = (5, 5, 3)
PLANE, CENTRE, ACCELERATION = (288, 72), (24, 24), 4

Call = Callable[[], Any]


def sigpy_sampled(folder: Path) -> Call:
    """Poisson disk, with corners, as ours."""
    from sigpy.mri import poisson

    return lambda: poisson(PLANE, ACCELERATION, calib=CENTRE, seed=1, crop_corner=False) != 0


def bart_sampled(folder: Path) -> Call:
    """Poisson disk of variable density; one acceleration along each axis."""
    step = str(ACCELERATION**0.5)
    words = ["-Y", str(PLANE[0]), "-Z", str(PLANE[1]), "-y", step, "-z", step, "-C", str(CENTRE[0])]

    def call() -> npt.NDArray[Any]:
        _bart(folder, "poisson", *words, "-v", "-s1", "pattern")
        return np.asarray(read_cfl(folder / "pattern") != 0)

    return call


def sigpy_sensitivities(folder: Path) -> Call:
    """ESPIRiT, readout position by readout position as ours, not cropped."""
    from sigpy.mri.app import EspiritCalib

    spectrum = np.load(folder / "poisson.npy")
    hybrid = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(spectrum, 1), axis=1, norm="ortho"), 1)
    planes = np.ascontiguousarray(hybrid.swapaxes(0, 1)).astype(np.complex64)
    width = min(_centre(folder)[1:])

    def one(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
        found = EspiritCalib(
            plane, calib_width=width, kernel_width=5, crop=0, max_iter=30, show_pbar=False
        )
        return np.asarray(found.run())

    return lambda: np.stack([one(plane) for plane in planes], axis=1)


def bart_sensitivities(folder: Path) -> Call:
    """ESPIRiT in three dimensions by ``ecalib``, with maps everywhere."""
    box = ":".join(map(str, _centre(folder)))

    def call() -> npt.NDArray[Any]:
        _bart(folder, "ecalib", "-m1", "-r", box, "-k5", "-t", "0.001", "-c0", "k", "maps_bart")
        return read_cfl(folder / "maps_bart").transpose(3, 0, 1, 2)

    return call


def pygrappa_grappa(folder: Path) -> Call:
    """Channel images by ``mdgrappa``, with a kernel of the same reach as ours."""
    from pygrappa import mdgrappa

    spectrum = np.ascontiguousarray(np.load(folder / "lines.npy").transpose(1, 2, 3, 0))
    part = tuple(
        slice(n // 2 - size // 2, n // 2 - size // 2 + size)
        for n, size in zip(spectrum.shape[1:3], _centre(folder)[1:], strict=True)
    )
    centre = np.ascontiguousarray(spectrum[:, part[0], part[1]])

    def call() -> npt.NDArray[Any]:
        filled = mdgrappa(spectrum, centre, kernel_size=KERNEL).transpose(3, 0, 1, 2)
        shifted = np.fft.ifftn(np.fft.ifftshift(filled, (1, 2, 3)), axes=(1, 2, 3), norm="ortho")
        return np.fft.fftshift(shifted, (1, 2, 3)).astype(np.complex64)

    return call


def sigpy_sense(folder: Path) -> Call:
    """SenseRecon with the weight and iterations of ours."""
    from sigpy.mri.app import SenseRecon

    spectrum, maps = np.load(folder / "poisson.npy"), np.load(folder / "maps.npy")
    return lambda: SenseRecon(
        spectrum, maps, lamda=SENSE_WEIGHT, max_iter=SENSE_ITERATIONS, show_pbar=False
    ).run()


def bart_sense(folder: Path) -> Call:
    """``pics`` with the weight and iterations of ours."""
    return _pics(folder, SENSE_ITERATIONS, f"Q:{SENSE_WEIGHT}")


def sigpy_wavelet(folder: Path, lamda: str = str(SIGPY_LAMBDA)) -> Call:
    """L1WaveletRecon; lambda is of the scale of the image."""
    import sigpy
    from sigpy.mri.app import L1WaveletRecon

    spectrum, maps = np.load(folder / "poisson.npy"), np.load(folder / "maps.npy")
    channels = sigpy.ifft(spectrum, axes=(1, 2, 3))
    largest = float(np.abs((maps.conj() * channels).sum(0)).max())
    return lambda: L1WaveletRecon(
        spectrum,
        maps,
        lamda=float(lamda) * largest,
        max_iter=SIGPY_ITERATIONS,
        show_pbar=False,
    ).run()


def bart_wavelet(folder: Path, lamda: str = str(BART_LAMBDA)) -> Call:
    """``pics -R W``, whose lambda is relative to the scale that it finds."""
    return _pics(folder, BART_ITERATIONS, f"W:7:0:{lamda}")


def skimage_unwrapped(folder: Path) -> Call:
    """Best-path unwrapping inside the brain."""
    from skimage.restoration import unwrap_phase

    outside = ~np.load(folder / "brain.npy")
    phase = np.load(folder / "wrapped.npy").astype(np.float64)
    return lambda: np.asarray(unwrap_phase(np.ma.array(phase, mask=outside)).filled(0))


def ants_brain(folder: Path) -> Call:
    """``ants.get_mask``: a threshold, cleaned."""
    import ants

    image = ants.from_numpy(np.load(folder / "magnitude.npy"), spacing=_spacing(folder))
    return lambda: ants.get_mask(image).numpy() > 0


def nilearn_brain(folder: Path) -> Call:
    """``nilearn.masking.compute_epi_mask``: a threshold from the histogram, opened."""
    import nibabel
    from nilearn.masking import compute_epi_mask

    volume = np.load(folder / "magnitude.npy")
    image = nibabel.nifti1.Nifti1Image(volume, np.load(folder / "affine.npy"))
    return lambda: np.asarray(compute_epi_mask(image).dataobj) > 0


def ants_rigid(folder: Path) -> Call:
    """``ants.registration`` of kind Rigid; matrix (4, 4) as ours."""
    import ants

    fixed, moving = (_ants_image(folder, name) for name in ("fixed", "moved"))

    def call() -> npt.NDArray[Any]:
        found = ants.registration(fixed, moving, "Rigid", random_seed=1, singleprecision=True)
        return _ras(ants.read_transform(found["fwdtransforms"][0]))

    return call


def ants_deformable(folder: Path) -> Call:
    """``ants.registration`` of kind SyN over the whole head; labels on the head's grid."""
    import ants

    scan, template = (_ants_image(folder, name) for name in ("fixed", "template"))
    stored = [np.load(folder / f"{name}.npz") for name in ("fixed", "template")]
    grid, labels = (_as_ants(one["labels"], one["affine"]) for one in stored)

    def call() -> npt.NDArray[Any]:
        found = ants.registration(scan, template, "SyN", random_seed=1, singleprecision=True)
        on_scan = ants.apply_transforms(
            grid, labels, found["fwdtransforms"], interpolator="nearestNeighbor"
        )
        return np.asarray(on_scan.numpy()).astype(np.int32)

    return call


def skimage_similarity(folder: Path) -> Call:
    """SSIM with the same window, and PSNR."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    found, true = (np.load(folder / f"{name}.npy") for name in ("chi", "true_chi"))

    def call() -> npt.NDArray[Any]:
        # Its own mean leaves out a border of half a window.
        _, similar = structural_similarity(
            true,
            found,
            data_range=0.5,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        return np.array([similar.mean(), peak_signal_noise_ratio(true, found, data_range=0.5)])

    return call


def _pics(folder: Path, n_iterations: int, penalty: str) -> Call:
    def call() -> npt.NDArray[Any]:
        _bart(folder, "pics", "-S", "-i", str(n_iterations), "-R", penalty, "k", "s", "x")
        return read_cfl(folder / "x")

    return call


def _bart(folder: Path, *words: str) -> None:
    subprocess.run(["bart", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def _centre(folder: Path) -> list[int]:
    return [int(word) for word in (folder / "centre.txt").read_text().split()]


def _spacing(folder: Path) -> tuple[float, ...]:
    return tuple(np.linalg.norm(np.load(folder / "affine.npy")[:3, :3], axis=0))


def _ants_image(folder: Path, name: str) -> Any:
    stored = np.load(folder / f"{name}.npz")
    return _as_ants(stored["image"], stored["affine"])


def _as_ants(values: npt.NDArray[Any], affine: npt.NDArray[Any]) -> Any:
    """An image of ANTs, whose world is LPS."""
    import ants

    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    return ants.from_numpy(
        values.astype(np.float32),
        origin=tuple(lps[:3, 3]),
        spacing=tuple(spacing),
        direction=lps[:3, :3] / spacing,
    )


def _ras(transform: Any) -> npt.NDArray[Any]:
    """Matrix (4, 4) between RAS+ world points of an affine transform of ITK."""
    parameters, centre = np.asarray(transform.parameters), np.asarray(transform.fixed_parameters)
    lps = np.eye(4)
    lps[:3, :3] = parameters[:9].reshape(3, 3)
    lps[:3, 3] = parameters[9:12] + centre - lps[:3, :3] @ centre
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return flip @ lps @ flip
