"""MRD files: our own writer and the ismrmrd package's, read back; damaged files refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import ismrmrd
import ismrmrd.xsd as xsd
import numpy as np
import pytest
import torch

from accelqsm.acquisition import Acquisition
from accelqsm.cli import main
from accelqsm.errors import InputError
from accelqsm.files.mrd.header import build_header
from accelqsm.files.mrd.lines import read_sampling
from accelqsm.files.mrd.reader import read_mrd
from accelqsm.files.mrd.writer import write_mrd
from accelqsm.files.nifti import read_volume
from accelqsm.fourier import fft, ifft
from accelqsm.grid import Grid, as_affine, centred_grid
from accelqsm.kspace import KSpace

SHAPE = (10, 9, 6)
ECHO_TIMES_S = (0.004, 0.009, 0.014)


def oblique_grid() -> Grid:
    angle = np.deg2rad(20)
    rotation = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * (1.5, 1.2, 2.0)
    matrix[:3, 3] = (-7.0, 3.0, 11.0)
    return Grid(SHAPE, as_affine(matrix))


def random_kspace(grid: Grid | None = None, seed: int = 0) -> KSpace:
    rng = np.random.default_rng(seed)
    acquisition = Acquisition(
        grid=grid or centred_grid(SHAPE, (1.5, 1.2, 2.0)),
        echo_times_s=ECHO_TIMES_S,
        field_strength_t=3.0,
        repetition_time_s=0.0302,
        flip_angle_deg=15.0,
    )
    sampled = torch.from_numpy(rng.random(SHAPE[1:]) < 0.6)
    size = (4, 3, SHAPE[0], int(sampled.sum()))
    samples = rng.normal(size=size) + 1j * rng.normal(size=size)
    noise = rng.normal(size=(4, 40)) + 1j * rng.normal(size=(4, 40))
    return KSpace(acquisition, sampled, samples.astype(np.complex64), noise.astype(np.complex64))


def test_round_trip_keeps_samples_pattern_noise_and_geometry(tmp_path: Path) -> None:
    written = random_kspace(oblique_grid())
    write_mrd(tmp_path / "scan.h5", written)
    read = read_mrd(tmp_path / "scan.h5")
    assert torch.equal(read.sampled, written.sampled)
    assert torch.equal(torch.from_numpy(read_sampling(tmp_path / "scan.h5")), written.sampled)
    np.testing.assert_allclose(read.samples, written.samples, atol=1e-5)
    assert read.noise_samples is not None
    assert written.noise_samples is not None
    np.testing.assert_array_equal(read.noise_samples, written.noise_samples)
    np.testing.assert_allclose(
        read.acquisition.grid.matrix, written.acquisition.grid.matrix, atol=1e-4
    )
    assert read.acquisition.echo_times_s == pytest.approx(ECHO_TIMES_S)
    assert read.acquisition.field_strength_t == pytest.approx(3.0)
    np.testing.assert_allclose(
        read.acquisition.b0_direction, written.acquisition.b0_direction, atol=1e-6
    )


def foreign_file(path: Path, image: np.ndarray, *, reverse_second_echo: bool = False) -> None:
    """A file by the ismrmrd package alone: twofold readout oversampling, two averages."""
    n_channels, n_echoes, nx, ny, nz = image.shape
    space = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=2 * nx, y=ny, z=nz),
        fieldOfView_mm=xsd.fieldOfViewMm(x=4.0 * nx, y=2.0 * ny, z=2.0 * nz),
    )
    recon = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=nx, y=ny, z=nz),
        fieldOfView_mm=xsd.fieldOfViewMm(x=2.0 * nx, y=2.0 * ny, z=2.0 * nz),
    )
    limits = xsd.encodingLimitsType(
        kspace_encoding_step_1=xsd.limitType(minimum=0, maximum=ny - 1, center=ny // 2),
        kspace_encoding_step_2=xsd.limitType(minimum=0, maximum=nz - 1, center=nz // 2),
    )
    header = xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=127732434),
        encoding=[
            xsd.encodingType(
                encodedSpace=space,
                reconSpace=recon,
                encodingLimits=limits,
                trajectory=xsd.trajectoryType.CARTESIAN,
            )
        ],
        sequenceParameters=xsd.sequenceParametersType(TE=[4.0, 9.0][:n_echoes], TR=[30.0]),
    )
    wide = np.zeros((n_channels, n_echoes, 2 * nx, ny, nz), dtype=np.complex64)
    wide[:, :, nx - nx // 2 : nx - nx // 2 + nx] = image
    kspace = fft(torch.from_numpy(wide)).numpy()
    with ismrmrd.Dataset(str(path)) as dataset:
        dataset.write_xml_header(header.toXML().encode())
        for y, z, echo, average in np.ndindex(ny, nz, n_echoes, 2):
            values = kspace[:, echo, :, y, z] * (0.5 if average else 1.5)
            acquisition = ismrmrd.Acquisition.from_array(np.ascontiguousarray(values))
            acquisition.center_sample = nx
            if reverse_second_echo and echo == 1:
                acquisition.data[:] = values[:, ::-1]
                acquisition.center_sample = 2 * nx - 1 - nx
                acquisition.set_flag(ismrmrd.ACQ_IS_REVERSE)
            acquisition.idx.kspace_encode_step_1 = y
            acquisition.idx.kspace_encode_step_2 = z
            acquisition.idx.contrast = echo
            acquisition.idx.average = average
            acquisition.read_dir[:] = (-1, 0, 0)
            acquisition.phase_dir[:] = (0, -1, 0)
            acquisition.slice_dir[:] = (0, 0, 1)
            dataset.append_acquisition(acquisition)
        navigator = ismrmrd.Acquisition.from_array(np.full((n_channels, 2 * nx), 99, np.complex64))
        navigator.set_flag(ismrmrd.ACQ_IS_NAVIGATION_DATA)
        dataset.append_acquisition(navigator)


@pytest.mark.parametrize("reverse", [False, True])
def test_file_written_by_ismrmrd_alone_gives_back_the_image(tmp_path: Path, reverse: bool) -> None:
    rng = np.random.default_rng(3)
    size = (2, 2, 6, 5, 4)
    image = (rng.normal(size=size) + 1j * rng.normal(size=size)).astype(np.complex64)
    foreign_file(tmp_path / "foreign.h5", image, reverse_second_echo=reverse)
    kspace = read_mrd(tmp_path / "foreign.h5")
    found = ifft(kspace.planes(), (-2, -1)).numpy()
    np.testing.assert_allclose(found, image, atol=1e-5)
    assert kspace.noise_samples is None
    # The file's axes run to -x, -y, +z in LPS, which is +x, +y, +z in RAS.
    np.testing.assert_allclose(kspace.acquisition.grid.matrix[:3, :3], np.diag([2.0, 2.0, 2.0]))
    assert kspace.acquisition.field_strength_t == pytest.approx(3.0, abs=1e-4)
    assert kspace.acquisition.b0_direction == pytest.approx((0, 0, 1))


@pytest.mark.slow
def test_file_written_by_ismrmrd_alone_is_reconstructed_by_the_command(tmp_path: Path) -> None:
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (12, 14, 10)), indexing="ij")
    ball = 1 / (1 + np.exp(12 * (np.sqrt(x**2 + y**2 + z**2) - 0.6)))
    echoes = np.stack([ball * np.exp(0.4j * y), 0.8 * ball * np.exp(1.0j * y)])
    loops = [np.exp(0.5 * y + 0.3j), np.exp(-0.5 * y + 1j * z)]
    image = np.stack([loop * echoes for loop in loops]).astype(np.complex64)
    foreign_file(tmp_path / "foreign.h5", image)
    words = ["recon", str(tmp_path / "foreign.h5"), str(tmp_path / "out")]
    assert main([*words, "--method", "zero-filled"]) == 0
    found = np.asarray(read_volume(tmp_path / "out" / "echo-1_part-mag.nii.gz").values)
    expected = np.sqrt((np.abs(image[:, 0]) ** 2).sum(0))
    inside = ball > 0.5
    np.testing.assert_allclose(found[inside], expected[inside], rtol=0.05)
    phases = [
        np.asarray(read_volume(tmp_path / "out" / f"echo-{n}_part-phase.nii.gz").values)
        for n in (1, 2)
    ]
    evolved = np.angle(np.exp(1j * (phases[1] - phases[0] - 0.6 * y)))
    assert np.abs(evolved[inside]).max() < 1e-3


def test_truncated_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    with pytest.raises(InputError, match="no such file"):
        read_mrd(path)
    write_mrd(path, random_kspace())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"scan\.h5: truncated or not an HDF5 file"):
        read_mrd(path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["volume"] = np.zeros(3)
    with pytest.raises(InputError, match="found volume"):
        read_mrd(tmp_path / "other.h5")


def break_lines(path: Path, change: str) -> None:
    with h5py.File(path, "r+") as file:
        lines = file["dataset/data"][:]
        image = np.flatnonzero(lines["head"]["flags"] == 0)
        if change == "missing echo":
            lines["head"]["flags"][lines["head"]["idx"]["contrast"] == 2] = 1 << 22
        elif change == "missing line":
            lines["head"]["flags"][image[1]] = 1 << 22
        elif change == "nan":
            lines["data"][image[0]][3] = np.nan
        elif change == "outside":
            lines["head"]["idx"]["kspace_encode_step_1"][image[0]] = 60
        file["dataset/data"][:] = lines


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing echo", r"expected contrasts 0\.\.2 .* found \[0, 1\]"),
        ("missing line", "echo 2 differs from echo 1 at 1 "),
        ("nan", "expected finite samples"),
        ("outside", "1 lines lie outside the 9 x 6"),
    ],
)
def test_damaged_content_is_named(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "scan.h5"
    write_mrd(path, random_kspace())
    break_lines(path, change)
    with pytest.raises(InputError, match=message) as error:
        read_mrd(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cartesian", "radial", "found radial"),
        ("<TE>", "<TI>", "expected echo times"),
        ("</encoding>", "</encodin", "unreadable MRD header"),
    ],
)
def test_unusable_headers_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "scan.h5"
    kspace = random_kspace()
    write_mrd(path, kspace)
    header = build_header(kspace.acquisition, n_channels=4, acceleration=2.0)
    with h5py.File(path, "r+") as file:
        file["dataset/xml"][0] = header.replace(old, new).replace(
            old.replace("<", "</"), new.replace("<", "</")
        )
    with pytest.raises(InputError, match=message):
        read_mrd(path)


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    kspace = random_kspace()
    object.__setattr__(kspace, "samples", kspace.samples[:, :2])
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the failure is
        write_mrd(tmp_path / "scan.h5", kspace)
    assert list(tmp_path.iterdir()) == []
