"""Lines of raw files as scanners and converters really write them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from ismrmrd.hdf5 import acquisition_header_dtype

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.mrd.reader import read_mrd
from accelqsm.fourier import fft, ifft
from accelqsm.kspace import KSpace
from accelqsm.pipeline.scan import sum_channels
from raw_object import (
    CALIBRATION,
    FOV_MM,
    N_CHANNELS,
    SHAPE,
    encoding,
    header,
    images,
    lines,
    save,
    spectrum,
    turn_lines,
)

N_X = SHAPE[0]
VALUES = spectrum()
WIDE_MM = (2 * FOV_MM[0], *FOV_MM[1:])


def found(scan: KSpace) -> np.ndarray:
    spectral: np.ndarray = fft(scan.planes(), (-3,)).numpy()
    return spectral


def contrast(made: np.ndarray) -> np.ndarray:
    index: np.ndarray = made["head"]["idx"]["contrast"]
    return index


@pytest.mark.parametrize("reverse", [False, True])
def test_oversampling_that_was_removed_is_not_removed_again(tmp_path: Path, reverse: bool) -> None:
    """Of reversed lines, which no case has, the centre may be counted from either end."""
    text = header(encodings=encoding((2 * N_X, *SHAPE[1:]), WIDE_MM))
    made = lines(VALUES)
    if reverse:
        turn_lines(made, contrast(made) == 1, centre=N_X - 1 - N_X // 2, flag=True)
    with pytest.warns(InputWarning, match="24 samples where the header says 48: their oversamp"):
        scan = read_mrd(save(tmp_path / "scan.h5", text, made))
    np.testing.assert_allclose(found(scan), VALUES, atol=1e-5)
    assert scan.acquisition.voxel_size_mm == pytest.approx((5, 5, 5))


def test_oversampling_that_is_there_is_removed_without_a_word(tmp_path: Path) -> None:
    wide = np.zeros((N_CHANNELS, 3, 2 * N_X, *SHAPE[1:]), np.complex64)
    wide[:, :, N_X // 2 : N_X // 2 + N_X] = images()
    text = header(encodings=encoding((2 * N_X, *SHAPE[1:]), WIDE_MM))
    scan = read_mrd(save(tmp_path / "scan.h5", text, lines(spectrum(wide, noise=0))))
    np.testing.assert_allclose(ifft(scan.planes(), (-2, -1)).numpy(), images(), atol=1e-5)


def test_a_short_readout_that_is_no_oversampling_is_said(tmp_path: Path) -> None:
    made = lines(VALUES[:, :, 4:-4])
    with pytest.warns(InputWarning, match="16 samples about their centre where the header says 24"):
        read_mrd(save(tmp_path / "scan.h5", header(), made))


@pytest.mark.parametrize("centre", [N_X // 2, N_X - 1 - N_X // 2])
def test_the_centre_of_reversed_lines_is_counted_from_either_end(
    tmp_path: Path, centre: int
) -> None:
    made = lines(VALUES)
    turn_lines(made, contrast(made) == 1, centre=centre, flag=True)
    scan = read_mrd(save(tmp_path / "scan.h5", header(), made))
    np.testing.assert_allclose(found(scan), VALUES, atol=1e-4)


def test_every_other_echo_reversed_without_the_flag_is_turned_and_centred(tmp_path: Path) -> None:
    made = lines(VALUES)
    turn_lines(made, contrast(made) == 1, centre=N_X // 2, flag=False)
    path = save(tmp_path / "scan.h5", header(), made)
    with pytest.warns(InputWarning, match="echo 2: mirrored .* without the flag ACQ_IS_REVERSE"):
        scan = read_mrd(path)
    np.testing.assert_allclose(found(scan), VALUES, atol=1e-4)


def test_a_delay_of_whole_samples_is_taken_back_and_said(tmp_path: Path) -> None:
    """Three samples: neither end counts to that, and no case has it."""
    late = VALUES.copy()
    late[:, 1] = np.roll(VALUES[:, 1], 3, axis=1)
    made = lines(late)
    turn_lines(made, contrast(made) == 1, centre=N_X - 1 - N_X // 2, flag=True)
    with pytest.warns(InputWarning, match="echo 2: the zero frequency .* found 3 samples from"):
        scan = read_mrd(save(tmp_path / "scan.h5", header(), made))
    np.testing.assert_allclose(found(scan), VALUES, atol=1e-4)


def test_a_scanner_that_samples_both_directions_alike_is_right_as_it_says(tmp_path: Path) -> None:
    """The zero frequency of a real reversed readout is stored at n / 2, as its head says: the
    sample that lies beyond the edge then is that of the other edge. No case is of this kind."""
    rolled = VALUES.copy()
    rolled[:, 1] = np.roll(VALUES[:, 1], -1, axis=1)
    made = lines(rolled)
    turn_lines(made, contrast(made) == 1, centre=N_X // 2, flag=True)
    scan = read_mrd(save(tmp_path / "scan.h5", header(), made))
    np.testing.assert_allclose(found(scan), VALUES, atol=1e-4)


def test_a_flag_on_lines_that_were_turned_already_is_noticed(tmp_path: Path) -> None:
    made = lines(VALUES)
    made["head"]["flags"][contrast(made) == 1] |= np.uint64(1 << 21)
    with pytest.warns(InputWarning, match="despite the flag ACQ_IS_REVERSE; they were turned"):
        scan = read_mrd(save(tmp_path / "scan.h5", header(), made))
    np.testing.assert_allclose(found(scan), VALUES, atol=1e-4)


def test_echoes_mirrored_in_no_order_are_refused(tmp_path: Path) -> None:
    made = lines(VALUES)
    turn_lines(made, contrast(made) == 2, centre=N_X // 2, flag=False)
    path = save(tmp_path / "scan.h5", header(), made)
    with pytest.raises(InputError, match=r"echo 3: mirrored .* expected every other echo or none"):
        read_mrd(path)


def test_a_steep_field_is_no_shifted_centre(tmp_path: Path) -> None:
    """Half a sample between echoes, as a bad shim does, with every echo in the same direction."""
    x = np.arange(N_X) - N_X // 2
    steep = images() * np.exp(1j * np.pi / N_X * x[:, None, None])
    values = spectrum(np.stack([images()[:, 0], steep[:, 1], images()[:, 2]], axis=1))
    scan = read_mrd(save(tmp_path / "scan.h5", header(), lines(values)))
    np.testing.assert_allclose(found(scan), values, atol=1e-5)


def averages(second: np.ndarray, *, counted: bool) -> np.ndarray:
    """Lines of one echo, each twice."""
    one, two = lines(VALUES[:, :1]), lines(second)
    two["head"]["idx"]["average"] = int(counted)
    return np.concatenate([one, two])


@pytest.mark.parametrize("counted", [False, True])
def test_averages_are_averaged(tmp_path: Path, counted: bool) -> None:
    """Noise as strong as the signal of a voxel: lines near the centre still agree."""
    values = spectrum(images((4.0,)), noise=0.4)
    again = spectrum(images((4.0,)), noise=0.0)
    rng = np.random.default_rng(5)
    again = again + 0.4 * (rng.normal(size=(*again.shape, 2)) @ np.array([1, 1j]))
    made = np.concatenate([lines(values), lines(again)])
    made["head"]["idx"]["average"][len(made) // 2 :] = int(counted)
    scan = read_mrd(save(tmp_path / "scan.h5", header(echo_times_ms=(4.0,)), made))
    np.testing.assert_allclose(found(scan), (values + again) / 2, atol=1e-5)


@pytest.mark.parametrize(("spacing_ms", "counted"), [(5.0, False), (2.0, False), (12.0, True)])
def test_echoes_that_were_never_counted_are_not_averaged(
    tmp_path: Path, spacing_ms: float, counted: bool
) -> None:
    """As averages of a number (the last), which no case has; and close together."""
    second = spectrum(images((4.0 + spacing_ms,), field_hz=40.0))
    text = header(echo_times_ms=(4.0,))
    first = lines(spectrum(images((4.0,), field_hz=40.0)))
    two = lines(second)
    two["head"]["idx"]["average"] = int(counted)
    path = save(tmp_path / "scan.h5", text, np.concatenate([first, two]))
    with pytest.raises(InputError, match="% of their energy beyond noise, where averages are"):
        read_mrd(path)


def test_averages_that_drifted_in_phase_are_said(tmp_path: Path) -> None:
    made = averages(VALUES[:, :1] * np.exp(0.8j), counted=True)
    with pytest.warns(InputWarning, match=r"differ by a phase of 0\.8 rad; they are averaged"):
        read_mrd(save(tmp_path / "scan.h5", header(echo_times_ms=(4.0,)), made))


@pytest.mark.parametrize("kind", ["float64", "complex64", "complex128", "int32"])
def test_samples_of_any_kind_are_read(tmp_path: Path, kind: str) -> None:
    """Integers, as a digitiser gives them, are in no case."""
    values = np.round(1e4 * VALUES) if kind == "int32" else VALUES
    base = np.dtype(kind)
    fields = [
        ("head", acquisition_header_dtype),
        ("traj", h5py.special_dtype(vlen=np.float32)),
        ("data", h5py.special_dtype(vlen=base)),
    ]
    single = lines(values)
    made = np.zeros(len(single), np.dtype([(n, t if n == "head" else object) for n, t in fields]))
    made["head"] = single["head"]
    for n, each in enumerate(single["data"]):
        made["data"][n] = (
            each.view(np.complex64).astype(base) if base.kind == "c" else each.astype(base)
        )
        made["traj"][n] = np.zeros(0, np.float32)
    scan = read_mrd(save(tmp_path / "scan.h5", header(), made, dtype=np.dtype(fields)))
    np.testing.assert_allclose(found(scan), values, rtol=1e-4, atol=1e-4 * np.abs(values).max())


@pytest.mark.parametrize("scale", [1e-15, 1e-9, 1e15])
@pytest.mark.parametrize("method", ["zero-filled", "cg-sense"])
def test_no_amplitude_changes_a_result(tmp_path: Path, scale: float, method: str) -> None:
    reference = sum_channels(read_mrd(save(tmp_path / "1.h5", header(), lines(VALUES))), method)
    values = (VALUES * scale).astype(np.complex64)
    scaled = sum_channels(read_mrd(save(tmp_path / "2.h5", header(), lines(values))), method)
    size = float(reference.images.abs().max())
    torch.testing.assert_close(scaled.images / scale, reference.images, atol=2e-4 * size, rtol=0.0)
    inside = reference.images[0].abs() > 0.2 * size
    angles = [sums.lags.products[:, inside].angle() for sums in (scaled, reference)]
    torch.testing.assert_close(*angles, atol=1e-3, rtol=0.0)


def test_a_power_of_two_changes_no_digit(tmp_path: Path) -> None:
    files = [save(tmp_path / f"{n}.h5", header(), lines(VALUES * 2.0**n)) for n in (0, -50)]
    one, other = (sum_channels(read_mrd(file), "grappa") for file in files)
    assert torch.equal(one.images, other.images * 2.0**50)
    assert torch.equal(one.lags.products, other.lags.products)


def test_an_echo_of_zeros_is_refused(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[:, 1] = 0
    path = save(tmp_path / "scan.h5", header(), lines(values))
    with pytest.raises(InputError, match="echo 2: expected signal, found zeros alone"):
        read_mrd(path)


SECOND = (16, 12, 10)
APART = "<parallelImaging><calibrationMode>separate</calibrationMode></parallelImaging>"


def with_calibration(
    path: Path, *, fov_mm: tuple[float, ...] = FOV_MM, flags: int = 1 << (CALIBRATION - 1),
    parallel: str = APART,
) -> Path:  # fmt: skip
    """Every other line of the image, and a smaller centre that was scanned before it."""
    x, y, z = (
        slice(n // 2 - m // 2, n // 2 - m // 2 + m) for n, m in zip(SHAPE, SECOND, strict=True)
    )
    centre = lines(2 * VALUES[:, :1, x, y, z], flags=flags, encoding_space_ref=1)  # fmt: skip
    image = lines(VALUES)
    kept = image["head"]["idx"]["kspace_encode_step_1"] % 2 == 0
    second = encoding(SECOND, fov_mm)
    text = header(encodings=encoding(parallel=parallel) + second)
    return save(path, text, np.concatenate([centre, image[kept]]))


@pytest.mark.parametrize("parallel", ["", APART])
def test_a_calibration_of_an_encoding_of_its_own_is_read(tmp_path: Path, parallel: str) -> None:
    """Flagged as calibration, it needs no mode in the header; no case says so."""
    scan = read_mrd(with_calibration(tmp_path / "scan.h5", parallel=parallel))
    assert int(scan.sampled.sum()) == SHAPE[1] // 2 * SHAPE[2]
    assert scan.calibration is not None
    assert scan.calibration.shape == (N_CHANNELS, 1, N_X, *SECOND[1:])
    centre = fft(torch.from_numpy(scan.calibration[:, 0]), (-3,)).numpy()
    y, z = (slice(n // 2 - m // 2, n // 2 - m // 2 + m)
            for n, m in zip(SHAPE[1:], SECOND[1:], strict=True))  # fmt: skip
    expected = 2 * VALUES[:, 0][:, :, y, z].copy()
    expected[:, :4] = expected[:, 20:] = 0
    np.testing.assert_allclose(centre, expected, atol=1e-4)


def test_a_calibration_along_another_readout_has_the_voxels_of_the_image(tmp_path: Path) -> None:
    """Twice oversampled, where the image is not: the voxels decide, not the samples."""
    x = slice(N_X // 2, N_X // 2 + N_X)
    wide = np.zeros((N_CHANNELS, 1, 2 * N_X, *SHAPE[1:]), np.complex64)
    wide[:, :, x] = images()[:, :1]
    centre = lines(spectrum(wide, noise=0), flags=1 << (CALIBRATION - 1), encoding_space_ref=1)
    second = encoding((2 * N_X, *SHAPE[1:]), WIDE_MM)
    path = save(
        tmp_path / "scan.h5",
        header(encodings=encoding(parallel=APART) + second),
        np.concatenate([centre, lines(VALUES)]),
    )
    scan = read_mrd(path)
    assert scan.calibration is not None
    np.testing.assert_allclose(
        ifft(torch.from_numpy(scan.calibration[:, 0]), (-2, -1)).numpy(), images()[:, 0], atol=1e-4
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"fov_mm": (120.0, 150.0, 80.0)},
            "with the same phase-encoded field of view, found 100 x",
        ),
        ({"flags": 0, "parallel": ""}, "found 2, and 120 lines of the second that are not flagged"),
    ],
)
def test_another_second_encoding_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = with_calibration(tmp_path / "scan.h5", **changes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        read_mrd(path)
