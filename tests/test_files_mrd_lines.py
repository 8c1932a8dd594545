"""How scanners fill raw files: partial readouts, shifted centres, oversampling, flags, counters."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import pytest
import torch

from accelqsm import kspace
from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.mrd import reader as mrd
from accelqsm.files.mrd.lines import read_sampling
from accelqsm.files.mrd.reader import read_mrd
from accelqsm.files.mrd.writer import write_mrd
from accelqsm.fourier import fft
from accelqsm.grid import centred_grid
from accelqsm.kspace import KSpace
from accelqsm.pipeline.scan import sum_channels
from accelqsm.recon.channels import compress_channels, prewhiten
from accelqsm.recon.reconstruct import reconstruct
from mrd_files import Scan, Space, line, write_lines

N_X, N_Y, N_Z, N_CHANNELS = 8, 10, 6, 2
MATRIX, FOV_MM = (N_X, N_Y, N_Z), (16.0, 15.0, 12.0)
SPACE = Space(MATRIX, FOV_MM)
FULL = Scan(SPACE, SPACE, (N_Y // 2, N_Z // 2))


def spectrum(seed: int = 0, shape: tuple[int, int, int] = MATRIX) -> np.ndarray:
    """k-space of every channel, complex64 (channel, x, y, z)."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(N_CHANNELS, *shape, 2)).astype(np.float32)
    return np.ascontiguousarray(values).view(np.complex64)[..., 0]


def lines_of(
    values: np.ndarray, make: Callable[[np.ndarray, int, int], Any] | None = None
) -> list[Any]:
    """A line for each (ky, kz)."""
    n_x = values.shape[1]

    def plain(readout: np.ndarray, ky: int, kz: int) -> Any:
        return line(readout, ky, kz, centre=n_x // 2)

    return [
        (make or plain)(values[:, :, ky, kz], ky, kz) for ky, kz in np.ndindex(values.shape[2:])
    ]


def found(scan: KSpace) -> np.ndarray:
    """k-space as read, (channel, x, y, z)."""
    spectral: np.ndarray = fft(scan.planes()[:, 0], (-3,)).numpy()
    return spectral


def test_an_asymmetric_echo_is_placed_by_its_centre(tmp_path: Path) -> None:
    values = spectrum()

    def partial(readout: np.ndarray, ky: int, kz: int) -> Any:
        return line(readout[:, 3:], ky, kz, centre=N_X // 2 - 3)

    write_lines(tmp_path / "scan.h5", FULL, lines_of(values, partial))
    values[:, :3] = 0
    np.testing.assert_allclose(found(read_mrd(tmp_path / "scan.h5")), values, atol=1e-5)


def test_discarded_samples_are_left_out(tmp_path: Path) -> None:
    values = spectrum()

    def padded(readout: np.ndarray, ky: int, kz: int) -> Any:
        wide = np.pad(readout, ((0, 0), (2, 3)), constant_values=77)
        made = line(wide, ky, kz, centre=N_X // 2 + 2)
        made.discard_pre, made.discard_post = 2, 3
        return made

    write_lines(tmp_path / "scan.h5", FULL, lines_of(values, padded))
    np.testing.assert_allclose(found(read_mrd(tmp_path / "scan.h5")), values, atol=1e-5)


def test_a_reversed_partial_readout_is_turned_about_its_centre(tmp_path: Path) -> None:
    values = spectrum()

    def turned(readout: np.ndarray, ky: int, kz: int) -> Any:
        kept = readout[:, 2:][:, ::-1]
        centre = kept.shape[1] - 1 - (N_X // 2 - 2)
        return line(kept, ky, kz, centre=centre, flags=[ismrmrd.ACQ_IS_REVERSE])

    write_lines(tmp_path / "scan.h5", FULL, lines_of(values, turned))
    values[:, :2] = 0
    np.testing.assert_allclose(found(read_mrd(tmp_path / "scan.h5")), values, atol=1e-5)


def test_partial_fourier_is_placed_by_the_centre_of_the_limits(tmp_path: Path) -> None:
    """Lines 0 to 7 of 10, whose zero frequency is line 3: the first two were never measured."""
    values = spectrum()
    scan = FULL.but(centre=(3, N_Z // 2))
    write_lines(tmp_path / "scan.h5", scan, lines_of(values[:, :, 2:]))
    pattern = torch.from_numpy(read_sampling(tmp_path / "scan.h5"))
    assert not pattern[:2].any()
    assert pattern[2:].all()
    values[:, :, :2] = 0
    np.testing.assert_allclose(found(read_mrd(tmp_path / "scan.h5")), values, atol=1e-5)


def test_an_elliptical_shutter_leaves_its_corners_unmeasured(tmp_path: Path) -> None:
    values = spectrum()
    y, z = np.meshgrid(np.arange(N_Y) - N_Y // 2, np.arange(N_Z) - N_Z // 2, indexing="ij")
    inside = np.hypot(y / (N_Y / 2), z / (N_Z / 2)) <= 1
    kept = [line(values[:, :, ky, kz], ky, kz, centre=N_X // 2) for ky, kz in np.argwhere(inside)]
    write_lines(tmp_path / "scan.h5", FULL, kept)
    assert torch.equal(
        torch.from_numpy(read_sampling(tmp_path / "scan.h5")), torch.from_numpy(inside)
    )
    np.testing.assert_allclose(found(read_mrd(tmp_path / "scan.h5")), values * inside, atol=1e-5)


def test_oversampled_slices_keep_their_place_and_their_size(tmp_path: Path) -> None:
    """Eight slices of 2 mm were encoded where six are shown: all eight come out of k-space."""
    encoded = Space((N_X, N_Y, 8), (16.0, 15.0, 16.0))
    values = spectrum(shape=encoded.matrix)
    scan = Scan(encoded, SPACE, (N_Y // 2, 4))
    write_lines(tmp_path / "scan.h5", scan, lines_of(values))
    read = read_mrd(tmp_path / "scan.h5")
    np.testing.assert_allclose(found(read), values, atol=1e-5)
    assert read.acquisition.voxel_size_mm == pytest.approx((2.0, 1.5, 2.0))
    centre_mm = read.acquisition.grid.matrix @ [0, 0, 4, 1]
    assert centre_mm[:3] == pytest.approx([-N_X // 2 * 2.0, -N_Y // 2 * 1.5, 0.0])


def test_an_interpolated_matrix_is_read_as_it_was_encoded(tmp_path: Path) -> None:
    """The console shows 16 x 20 x 12 voxels of what 8 x 10 x 6 samples told."""
    values = spectrum()
    scan = FULL.but(recon=Space((16, 20, 12), FOV_MM))
    write_lines(tmp_path / "scan.h5", scan, lines_of(values))
    read = read_mrd(tmp_path / "scan.h5")
    np.testing.assert_allclose(found(read), values, atol=1e-5)
    assert read.acquisition.voxel_size_mm == pytest.approx((2.0, 1.5, 2.0))


@pytest.mark.parametrize(("mode", "kept"), [("embedded", True), ("external", False)])
def test_calibration_lines_are_image_lines_where_they_are_embedded(
    tmp_path: Path, mode: str, kept: bool
) -> None:
    values = spectrum()

    def every_other(readout: np.ndarray, ky: int, kz: int) -> Any:
        alone = (ky - N_Y // 2) % 2
        flags = [ismrmrd.ACQ_IS_PARALLEL_CALIBRATION] if alone else []
        return line(readout, ky, kz, centre=N_X // 2, flags=flags)

    scan = FULL.but(calibration_mode=mode)
    write_lines(tmp_path / "scan.h5", scan, lines_of(values, every_other))
    pattern = torch.from_numpy(read_sampling(tmp_path / "scan.h5"))
    assert pattern[N_Y // 2 % 2 :: 2].all()
    assert bool(pattern.all()) == kept


def coarse_image() -> np.ndarray:
    """An object of two smooth channels, complex (channel, x, y, z)."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (12, 32, 12)), indexing="ij")
    ball = 1 / (1 + np.exp(12 * (np.sqrt(x**2 + y**2 + z**2) - 0.6)))
    image: np.ndarray = np.stack([ball * np.exp(0.5 * y + 0.3j), ball * np.exp(1j * z - 0.5 * y)])
    return image


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["external", "separate", "other"])
def test_a_centre_scanned_apart_is_kept_apart_and_used(tmp_path: Path, mode: str) -> None:
    """Twice as bright as the image; one line without the zero frequency beside it belongs not."""
    image = coarse_image()
    values = fft(torch.from_numpy(image)).numpy().astype(np.complex64)
    space = Space((12, 32, 12), (24.0, 64.0, 24.0))
    scan = Scan(space, space, (16, 6), calibration_mode=mode)
    calibration = [ismrmrd.ACQ_IS_PARALLEL_CALIBRATION]
    centre = [(ky, kz) for ky in (3, *range(8, 24)) for kz in range(12)]
    lines = [line(2 * values[:, :, *k], *k, centre=6, flags=calibration) for k in centre]
    lines += [
        line(values[:, :, ky, kz], ky, kz, centre=6) for ky in range(0, 32, 2) for kz in range(12)
    ]
    write_lines(tmp_path / "scan.h5", scan, lines)
    read = read_mrd(tmp_path / "scan.h5")
    assert int(read.sampled.sum()) == 16 * 12
    assert read.calibration is not None
    assert read.calibration.shape == (2, 1, 12, 16, 12)
    apart = fft(torch.from_numpy(read.calibration[:, 0]), (-3,)).numpy()
    np.testing.assert_allclose(apart, 2 * values[:, :, 8:24], atol=1e-5)
    found_image = torch.cat([block.images for block in reconstruct(read, "grappa")], dim=2)[
        :, 0
    ].numpy()
    assert np.linalg.norm(found_image - image) < 0.02 * np.linalg.norm(image)
    expected = np.sqrt((np.abs(image) ** 2).sum(0))
    true = replace(read, sensitivities=(image / expected).astype(np.complex64))
    errors = [
        np.linalg.norm(sum_channels(each, method="cg-sense").images[0].abs().numpy() - expected)
        for each in (read, true)
    ]
    assert errors[0] < 1.05 * errors[1] < 0.12 * np.linalg.norm(expected)
    with pytest.raises(InputError, match="expected samples with a fully sampled centre"):
        write_mrd(tmp_path / "again.h5", read)


def test_whitening_and_compression_reach_the_centre_scanned_apart() -> None:
    acquisition = Acquisition(centred_grid(MATRIX, (2.0, 1.5, 2.0)), (0.004,), 3.0)
    everywhere = torch.ones(N_Y, N_Z, dtype=torch.bool)
    samples = spectrum().reshape(N_CHANNELS, 1, N_X, -1)
    noise = np.ascontiguousarray(spectrum(1).reshape(N_CHANNELS, -1)) * np.array([[1], [3j]])
    apart = samples.reshape(N_CHANNELS, 1, N_X, N_Y, N_Z)[..., 1:9, :]
    scan = KSpace(acquisition, everywhere, samples, noise.astype(np.complex64), apart)
    for mixed in (prewhiten(scan), compress_channels(scan, 1)):
        assert mixed.calibration is not None
        inside = mixed.samples.reshape(-1, 1, N_X, N_Y, N_Z)[..., 1:9, :]
        np.testing.assert_allclose(mixed.calibration, inside, atol=1e-5)
        assert len(mixed.calibration) == mixed.n_channels


@pytest.mark.parametrize(
    "flag",
    [
        ismrmrd.ACQ_IS_NAVIGATION_DATA,
        ismrmrd.ACQ_IS_PHASECORR_DATA,
        ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
        ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
        ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
        ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
        ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE,
        ismrmrd.ACQ_IS_PHASE_STABILIZATION,
    ],
)
def test_lines_that_are_no_image_are_skipped(tmp_path: Path, flag: int) -> None:
    values = spectrum()
    other = line(np.full((N_CHANNELS, 5), 1e3), 2, 2, centre=2, flags=[flag])
    write_lines(tmp_path / "scan.h5", FULL, [other, *lines_of(values), other])
    np.testing.assert_allclose(found(read_mrd(tmp_path / "scan.h5")), values, atol=1e-5)


def radial(made: Any) -> None:
    made.resize(number_of_samples=N_X, active_channels=N_CHANNELS, trajectory_dimensions=2)


def refusals(name: str) -> tuple[Scan, Callable[[list[Any]], None]]:
    """A header, and what is wrong with the lines."""

    def nothing(lines: list[Any]) -> None:
        pass

    def counted(counter: str) -> Callable[[list[Any]], None]:
        return lambda lines: setattr(lines[-1].idx, counter, 3)

    def of_three_channels(lines: list[Any]) -> None:
        lines[-1] = line(np.ones((3, N_X)), N_Y - 1, N_Z - 1, centre=4)

    def too_long(lines: list[Any]) -> None:
        lines[-1] = line(np.ones((N_CHANNELS, N_X + 3)), N_Y - 1, N_Z - 1, centre=4)

    def all_too_long(lines: list[Any]) -> None:
        long = spectrum(shape=(N_X + 3, N_Y, N_Z))
        lines[:] = lines_of(long, lambda readout, ky, kz: line(readout, ky, kz, centre=4))

    def noise_of_nan(lines: list[Any]) -> None:
        noise = np.full((N_CHANNELS, 20), np.nan)
        lines.append(line(noise, 0, 0, centre=0, flags=[ismrmrd.ACQ_IS_NOISE_MEASUREMENT]))

    def off_centre(lines: list[Any]) -> None:
        lines[0].set_flag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)

    def only_noise(lines: list[Any]) -> None:
        for each in lines:
            each.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)

    return {
        "two encodings": (FULL.but(n_encodings=2), nothing),
        "spiral": (FULL.but(trajectory="spiral"), nothing),
        "radial flags": (FULL, lambda lines: radial(lines[0])),
        "slices": (FULL, counted("slice")),
        "repetitions": (FULL, counted("repetition")),
        "channels": (FULL, of_three_channels),
        "long readout": (FULL, too_long),
        "long readouts": (FULL, all_too_long),
        "noise of NaN": (FULL, noise_of_nan),
        "only noise": (FULL, only_noise),
        "centre apart": (FULL.but(calibration_mode="external"), off_centre),
        "echo missing": (FULL.but(echo_times_ms=(4.0, 9.0)), nothing),
        "field of view": (FULL.but(encoded=Space(MATRIX, (0.0, 15.0, 12.0))), nothing),
    }[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("two encodings", "expected one encoding, found 2"),
        ("spiral", "expected a cartesian trajectory, found spiral"),
        ("radial flags", "expected Cartesian lines, found lines with a trajectory of 2 dimensions"),
        ("slices", "expected one slice, found 2 (0 to 3)"),
        ("repetitions", "expected one repetition, found 2 (0 to 3)"),
        ("channels", "expected the same channels in every line, found 2 and 3"),
        ("long readout", "echo 1: expected the same samples in every readout after discard_pre"),
        ("long readouts", "a readout of 11 samples with centre 4 does not fit the encoded matrix"),
        ("noise of NaN", "expected finite samples, found NaN or infinity in the noise"),
        ("only noise", "expected image lines, found 60 lines of other kinds"),
        ("centre apart", "expected calibration lines through the zero frequency in every echo"),
        ("echo missing", "expected contrasts 0..1 (one per echo time), found [0]"),
        ("field of view", "expected a matrix and fields of view above 0, found matrix (8, 10, 6)"),
    ],
)
def test_what_cannot_be_read_gets_one_line(tmp_path: Path, name: str, message: str) -> None:
    path = tmp_path / "scan.h5"
    scan, spoil = refusals(name)
    lines = lines_of(spectrum())
    spoil(lines)
    write_lines(path, scan, lines)
    with pytest.raises(InputError) as error:
        read_mrd(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_a_line_with_too_few_values_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    write_lines(path, FULL, lines_of(spectrum()))
    with h5py.File(path, "r+") as file:
        lines = file["dataset/data"][:]
        lines["data"][7] = lines["data"][7][:10]
        lines["head"]["scan_counter"][7] = 7
        file["dataset/data"][:] = lines
    message = "line 7: expected 2 channels of 8 samples, found 5 samples in all"
    with pytest.raises(InputError, match=message):
        read_mrd(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.98])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "scan.h5"
    write_lines(path, FULL, lines_of(spectrum()))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"scan\.h5: truncated or not an HDF5 file") as error:
        read_mrd(path)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_large_scan_is_never_whole_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read in many parts onto a mapped file, as samples beyond 2 GiB are."""
    rng = np.random.default_rng(0)
    matrix = (128, 30, 20)
    values = rng.normal(size=(8, *matrix, 2)).astype(np.float32).view(np.complex64)[..., 0]
    space = Space(matrix, (128.0, 30.0, 20.0))
    lines = lines_of(values)
    twice = [*lines, lines[17]]  # an average of two, of which the second comes late
    write_lines(tmp_path / "scan.h5", Scan(space, space, (15, 10)), twice)
    whole = read_mrd(tmp_path / "scan.h5")
    monkeypatch.setattr(mrd, "BLOCK_BYTES", 100_000)
    monkeypatch.setattr(kspace, "LARGEST_IN_MEMORY_BYTES", 1000)
    tracemalloc.start()
    mapped = read_mrd(tmp_path / "scan.h5")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not isinstance(whole.samples, np.memmap)
    assert isinstance(mapped.samples, np.memmap)
    assert peak_bytes < 0.5 * mapped.samples.nbytes
    np.testing.assert_allclose(mapped.samples, whole.samples, atol=1e-5)
    np.testing.assert_allclose(found(mapped), values, atol=1e-5)


def test_a_discarded_readout_was_not_measured(tmp_path: Path) -> None:
    values = spectrum()

    def discarded(readout: np.ndarray, ky: int, kz: int) -> Any:
        made = line(readout, ky, kz, centre=N_X // 2)
        if (ky, kz) in ((2, 1), (7, 4)):
            made.discard_pre, made.discard_post = (N_X, 0) if ky == 2 else (N_X // 2, N_X // 2)
        return made

    write_lines(tmp_path / "scan.h5", FULL, lines_of(values, discarded))
    pattern = torch.from_numpy(read_sampling(tmp_path / "scan.h5"))
    assert (~pattern).nonzero().tolist() == [[2, 1], [7, 4]]
    values[:, :, 2, 1] = values[:, :, 7, 4] = 0
    np.testing.assert_allclose(found(read_mrd(tmp_path / "scan.h5")), values, atol=1e-5)


def test_a_discarded_average_does_not_halve_the_other(tmp_path: Path) -> None:
    values = spectrum()
    again = line(values[:, :, 3, 2], 3, 2, centre=N_X // 2)
    again.discard_post = N_X
    write_lines(tmp_path / "scan.h5", FULL, [*lines_of(values), again])
    np.testing.assert_allclose(found(read_mrd(tmp_path / "scan.h5")), values, atol=1e-5)


@pytest.mark.parametrize("discarded", [(2, 0), (0, 3), (1, 1)])
def test_readouts_that_differ_in_what_is_discarded_are_refused(
    tmp_path: Path, discarded: tuple[int, int]
) -> None:
    """Zeros in place of what some lines do not have would count as measured."""

    def some(readout: np.ndarray, ky: int, kz: int) -> Any:
        made = line(readout, ky, kz, centre=N_X // 2)
        if ky == 2:
            made.discard_pre, made.discard_post = discarded
        return made

    write_lines(tmp_path / "scan.h5", FULL, lines_of(spectrum(), some))
    kept = f"6 of {N_X - sum(discarded)} \\(centre {N_X // 2 - discarded[0]}\\)"
    message = (
        f"scan.h5: echo 1: expected the same samples .*, found 54 of 8 \\(centre 4\\) and {kept}"
    )
    with pytest.raises(InputError, match=message):
        read_mrd(tmp_path / "scan.h5")


def test_samples_that_every_readout_discards_are_a_partial_echo(tmp_path: Path) -> None:
    values = spectrum()

    def partial(readout: np.ndarray, ky: int, kz: int) -> Any:
        made = line(readout, ky, kz, centre=N_X // 2)
        made.discard_pre = 3
        return made

    write_lines(tmp_path / "scan.h5", FULL, lines_of(values, partial))
    values[:, :3] = 0
    np.testing.assert_allclose(found(read_mrd(tmp_path / "scan.h5")), values, atol=1e-5)


def test_an_echo_of_fewer_samples_is_said(tmp_path: Path) -> None:
    values = spectrum()
    lines = []
    for echo in range(2):
        for made in lines_of(values):
            made.idx.contrast = echo
            made.discard_pre = 3 * (echo == 0)
            lines.append(made)
    write_lines(tmp_path / "scan.h5", FULL.but(echo_times_ms=(4.0, 9.0)), lines)
    with pytest.warns(
        InputWarning, match="echo 1: readouts of 5 samples where other echoes have 8"
    ):
        read_mrd(tmp_path / "scan.h5")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is not told")
def test_a_scan_that_was_read_leaves_nothing_in_memory(tmp_path: Path) -> None:
    """Not even where its heads alone are read."""
    rng = np.random.default_rng(0)
    matrix = (256, 24, 16)
    values = rng.normal(size=(8, *matrix, 2)).astype(np.float32).view(np.complex64)[..., 0]
    space = Space(matrix, (256.0, 24.0, 16.0))
    write_lines(tmp_path / "scan.h5", Scan(space, space, (12, 8)), lines_of(values))

    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    resident = []
    for _ in range(9):
        read_mrd(tmp_path / "scan.h5")
        read_sampling(tmp_path / "scan.h5")
        resident.append(resident_bytes())
    # The allocator keeps some and gives some back, so that a single step tells nothing.
    assert np.median(np.diff(resident)) < 0.5 * values.nbytes
