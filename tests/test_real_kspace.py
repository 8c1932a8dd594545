"""Real k-space: a phantom's raw lines through an MRD file, and an under-sampled brain."""

from __future__ import annotations

from pathlib import Path

import ismrmrd
import numpy as np
import pytest
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.cli import main
from accelqsm.files.mrd.reader import read_mrd
from accelqsm.files.nifti import read_volume
from accelqsm.fourier import PHASE_ENCODES, centred_slice, fft, ifft
from accelqsm.grid import centred_grid
from accelqsm.kspace import KSpace, calibration_box
from accelqsm.recon.channels import prewhiten
from accelqsm.recon.methods.cg_sense import cg_sense
from accelqsm.recon.methods.l1_wavelet import l1_wavelet
from accelqsm.recon.sense import Encoding
from accelqsm.recon.sensitivities.espirit import espirit
from mrd_files import Scan, Space, line, write_lines

DATA = Path(__file__).parents[2] / "shared" / "data"
PHANTOM = DATA / "siemens_gre_phantom_raw" / "gre_ksp_pe_coil_ro.npy"
BRAIN = DATA / "sigpy_brain_8ch" / "cartesian_ksp.npy"

N, PIXEL_MM, DIAMETER_MM = 160, 1.25, 190.0
CORNERS = (slice(0, 20), slice(140, 160))


def needs(file: Path) -> pytest.MarkDecorator:
    name = file.parent.name
    return pytest.mark.skipif(not file.is_file(), reason=f"../shared/data/{name} is absent")


@pytest.fixture(scope="module")
def phantom() -> np.ndarray:
    """The phantom's images by NumPy alone, complex64 (channel, x, y), x twice as long as shown."""
    lines = np.load(PHANTOM).transpose(0, 2, 1)
    shifted = np.fft.ifftshift(lines, axes=(1, 2))
    image = np.fft.ifft2(shifted, norm="ortho")
    found: np.ndarray = np.fft.fftshift(image, axes=(1, 2)).astype(np.complex64)
    return found


@pytest.fixture(scope="module")
def phantom_file(phantom: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lines as measured, after a noise scan from two corners of the image, which are air."""
    path = tmp_path_factory.mktemp("phantom") / "gre.h5"
    shown = phantom[:, centred_slice(2 * N, N)]
    air = np.concatenate([shown[:, CORNERS[0], y].reshape(2, -1) for y in CORNERS], axis=1)
    noise = [ismrmrd.ACQ_IS_NOISE_MEASUREMENT]
    measured = np.load(PHANTOM)
    lines = [line(measured[:, ky], ky, 0, centre=N) for ky in range(N)]
    scan = Scan(
        Space((2 * N, N, 1), (400.0, 200.0, 4.0)),
        Space((N, N, 1), (200.0, 200.0, 4.0)),
        (N // 2, 0),
        echo_times_ms=(3.0,),
    )
    write_lines(path, scan, [line(air, 0, 0, centre=0, flags=noise), *lines])
    return path


@needs(PHANTOM)
def test_raw_lines_of_a_scanner_give_the_image_of_its_phantom(
    phantom: np.ndarray, phantom_file: Path, tmp_path: Path
) -> None:
    kspace = read_mrd(phantom_file)
    assert kspace.acquisition.field_strength_t == pytest.approx(2.8936, abs=1e-4)
    assert kspace.acquisition.voxel_size_mm == pytest.approx((PIXEL_MM, PIXEL_MM, 4.0))
    images = ifft(kspace.planes(), PHASE_ENCODES)[:, 0, ..., 0].numpy()
    shown = phantom[:, centred_slice(2 * N, N)]
    np.testing.assert_allclose(images, shown, atol=1e-5 * np.abs(shown).max())

    assert main(["recon", str(phantom_file), str(tmp_path), "--method", "zero-filled"]) == 0
    magnitude = read_volume(tmp_path / "echo-1_part-mag.nii.gz")
    found = np.asarray(magnitude.values)[..., 0]
    inside = found > 0.25 * np.quantile(found, 0.98)
    extents_mm = [PIXEL_MM * (np.ptp(np.nonzero(inside)[axis]) + 1) for axis in (0, 1)]
    assert extents_mm[0] == pytest.approx(DIAMETER_MM, abs=4.0)
    white = ifft(prewhiten(kspace).planes(), PHASE_ENCODES)[:, 0, ..., 0].abs()
    expected = white.square().sum(0).sqrt().numpy()
    # Whitened images have noise of 1: the combination is the sum of squares to a third of that.
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.35)


@needs(PHANTOM)
def test_the_noise_of_a_scanner_is_white_after_its_noise_scan(phantom_file: Path) -> None:
    """Judged in the two corners that the noise scan was not taken from."""
    white = prewhiten(read_mrd(phantom_file))
    images = ifft(white.planes(), PHASE_ENCODES)[:, 0, ..., 0].numpy()
    air = np.concatenate([images[:, CORNERS[1], y].reshape(2, -1) for y in CORNERS], axis=1)
    covariance = air @ air.conj().T / air.shape[1]
    np.testing.assert_allclose(np.diag(covariance).real, 1.0, atol=0.15)
    assert abs(covariance[0, 1]) < 0.1


@pytest.fixture(scope="module")
def brain() -> Tensor:
    """One slice, eight channels, an eighth of the samples: complex64 (channel, ky, kz)."""
    return torch.from_numpy(np.load(BRAIN))


@needs(BRAIN)
def test_a_real_brain_predicts_the_samples_that_were_held_out(brain: Tensor) -> None:
    """A tenth of the samples outside the centre; nothing else is known of the true image."""
    sampled = (brain != 0).any(0)
    drawn = torch.rand(sampled.shape, generator=torch.Generator().manual_seed(0)) < 0.1
    centre = torch.zeros_like(sampled)
    centre[calibration_box(sampled)] = True
    held_out = sampled & drawn & ~centre
    used = sampled & ~held_out
    acquisition = Acquisition(centred_grid((1, *sampled.shape), (1.0, 1.0, 1.0)), (0.01,), 3.0)
    kspace = KSpace(acquisition, used, brain[:, used][:, None, None].numpy())
    maps, planes = espirit(kspace).maps, kspace.planes()[:, 0]
    images = {
        "zero-filled": Encoding(maps, used).adjoint(planes),
        "CG-SENSE": cg_sense(planes, maps, sampled=used),
        "L1-wavelet": l1_wavelet(planes, maps, sampled=used),
    }
    error = {}
    for name, image in images.items():
        predicted = fft(maps * image, PHASE_ENCODES)[:, 0]
        error[name] = float((predicted - brain)[:, held_out].norm() / brain[:, held_out].norm())
    assert error["zero-filled"] > 0.7
    assert error["CG-SENSE"] < 0.4
    assert error["L1-wavelet"] < 0.3
