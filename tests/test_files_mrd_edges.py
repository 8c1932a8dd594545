"""On which side of its limits the reader of raw files takes what it finds: each from both sides."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest
import torch

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.mrd import plausible, reader
from accelqsm.files.mrd.alignment import align_readouts
from accelqsm.files.mrd.lines import read_sampling
from accelqsm.files.mrd.reader import lines_at_once, read_mrd
from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.kspace import sample_index
from mrd_files import Scan, Space, line, write_lines

PATH = Path("scan.h5")
SHAPE = (8, 10, 6)
SPACE = Space(SHAPE, (16.0, 15.0, 12.0))
FULL = Scan(SPACE, SPACE, (5, 3))


def spectrum(n_channels: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_channels, *SHAPE, 2)) @ np.array([1, 1j])


def lines_of(values: np.ndarray, **index: int) -> list[Any]:
    return [
        line(values[:, :, y, z], y, z, centre=SHAPE[0] // 2, **index)
        for y, z in np.ndindex(values.shape[2:])
    ]


def said(warns: str) -> contextlib.AbstractContextManager[Any]:
    """A warning of this text, or none at all (which is an error in tests)."""
    return pytest.warns(InputWarning, match=warns) if warns else contextlib.nullcontext()


def vectors(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit images without mean: symmetric and antisymmetric along x about n // 2, and any other."""
    rng = np.random.default_rng(4)
    index = (2 * (shape[0] // 2) - np.arange(shape[0])) % shape[0]
    any_two = rng.normal(size=(2, *shape))
    both = [any_two[0] + any_two[0][index], any_two[0] - any_two[0][index], any_two[1]]
    found: list[np.ndarray] = []
    for one in both:
        one = one - one.mean()
        for other in found:
            one = one - (one * other).sum() * other
        found.append(one / np.linalg.norm(one))
    return found[0], found[1], found[2]


@pytest.mark.parametrize(
    ("squares", "asymmetry", "turned"),
    [
        ((0.5, 0.5, 0.05), -1.0, True),  # correlates 0.98 mirrored, 0 as it is
        ((0.5, 0.5, 0.80), -1.0, False),  # 0.75 mirrored: another object
        ((1.0, 0.1, 0.08), -0.2, False),  # 0.93 and 0.90: most of what it lacks is left
        ((1.0, 5e-4, 1e-4), -1.0, False),  # 0.9999 and 0.999: a symmetric object
        ((0.5, 0.5, 0.05), 1.0, False),
    ],
)
def test_an_echo_is_turned_where_that_alone_makes_it_the_first(
    squares: tuple[float, float, float], asymmetry: float, turned: bool
) -> None:
    """Correlations follow from the shares of a symmetric, an antisymmetric and an own part."""
    shape = (16, 8, 6)
    symmetric, antisymmetric, own = vectors(shape)
    s, u, e = np.sqrt(squares)
    first = 3 + s * symmetric + u * antisymmetric
    second = 3 + s * symmetric + asymmetry * u * antisymmetric + e * own
    images = torch.from_numpy(np.stack([first, second])[None].astype(np.complex64))
    sampled = torch.ones(shape[1:], dtype=torch.bool)
    samples = fft(images, PHASE_ENCODES).flatten(-2).numpy()
    assert torch.equal(sample_index(sampled).flatten(), torch.arange(sampled.numel()))
    given = samples.copy()
    with said("echo 2: mirrored along the readout" if turned else ""):
        align_readouts(
            PATH, samples, sampled=sampled, flagged=(0.0, 0.0), echo_times_s=(0.004, 0.009),
            n_readout=16, ambiguous=0,
        )  # fmt: skip
    if not turned:
        assert np.array_equal(samples, given)
        return
    index = (16 - np.arange(16)) % 16
    found = ifft(torch.from_numpy(samples).reshape(images.shape), PHASE_ENCODES)[0, 1].abs().numpy()
    np.testing.assert_allclose(found, second[index], atol=1e-5)


@pytest.mark.parametrize(
    ("centre", "extra", "n"),
    [
        ((5, 3), [(10, 0)], 1),
        ((5, 3), [(0, 6), (9, 6)], 2),
        ((6, 3), [], 6),  # the first line of every plane lies before the matrix
        ((5, 4), [], 10),
    ],
)
def test_lines_beyond_any_side_of_the_matrix_are_counted(
    tmp_path: Path, centre: tuple[int, int], extra: list[tuple[int, int]], n: int
) -> None:
    values = spectrum()
    made = lines_of(values) + [line(values[:, :, 0, 0], y, z, centre=4) for y, z in extra]
    path = tmp_path / "scan.h5"
    write_lines(path, FULL.but(centre=centre), made)
    with pytest.raises(InputError, match=rf": {n} lines lie outside the 10 x 6 phase-encoding"):
        read_sampling(path)


def test_a_noise_scan_has_one_number_of_channels(tmp_path: Path) -> None:
    noise = [ismrmrd.ACQ_IS_NOISE_MEASUREMENT]
    values = np.arange(24.0).reshape(2, 12)
    for second, message in (
        (values, ""),
        (np.ones((3, 12)), "expected the same channels in every"),
    ):
        path = tmp_path / f"{len(second)}.h5"
        extra = [line(part, 0, 0, centre=0, flags=noise) for part in (values, second)]
        write_lines(path, FULL, lines_of(spectrum()) + extra)
        if message:
            with pytest.raises(InputError, match=message):
                read_mrd(path)
        else:
            np.testing.assert_array_equal(read_mrd(path).noise_samples, np.hstack([values, values]))


def test_blocks_of_any_size_give_the_same_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, again = spectrum(), spectrum() + 0.01 * spectrum(seed=1)
    made = lines_of(values) + lines_of(again, average=1)
    write_lines(tmp_path / "scan.h5", FULL, made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = read_mrd(tmp_path / "scan.h5")
        for size in (1, 1000, 10_000):
            monkeypatch.setattr(reader, "BLOCK_BYTES", size)
            part = read_mrd(tmp_path / "scan.h5")
            np.testing.assert_allclose(part.samples, whole.samples, atol=1e-6)
    found = fft(whole.planes(), (-3,)).numpy()[:, 0]
    np.testing.assert_allclose(found, (values + again) / 2, atol=1e-5)


def test_a_block_of_lines_fits_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", 8 * 4 * 100 * 7 + 5)
    assert lines_at_once(4, 100) == 7  # complex64 of four channels and a hundred samples
    assert lines_at_once(4, 10_000) == 1


def echo_of(peak: complex, place: tuple[int, int], sampled: np.ndarray) -> np.ndarray:
    """One channel and echo of ones with one other sample, (1, 1, 2, sample)."""
    values = np.ones((1, 1, 2, int(sampled.sum())), np.complex64)
    values[0, 0, 1, np.argwhere(sampled).tolist().index(list(place))] = peak
    return values


@pytest.mark.parametrize(
    ("peak", "place", "refused"),
    [
        (101, (3, 9), True),
        (-101j, (16, 4), True),
        (99, (3, 9), False),
        (1e6, (6, 5), False),  # within a quarter of the matrix of its centre
        (1e6, (14, 11), False),
        (1e6, (5, 8), True),
        (1e6, (10, 8), False),
    ],
)
def test_samples_beyond_the_centre_are_at_most_a_hundred_times_as_large(
    peak: complex, place: tuple[int, int], refused: bool
) -> None:
    sampled = np.ones((20, 16), dtype=bool)
    values = echo_of(peak, place, sampled)
    if refused:
        message = rf"echo 1: expected the largest samples .* ky {place[0]}, kz {place[1]}$"
        with pytest.raises(InputError, match=message):
            reader._check_echoes(PATH, values, sampled)
    else:
        reader._check_echoes(PATH, values, sampled)


def test_without_a_centre_or_anything_beyond_there_is_nothing_to_compare() -> None:
    for rows in (slice(0, 4), slice(8, 12)):
        sampled = np.zeros((20, 16), dtype=bool)
        sampled[rows, 8] = True
        reader._check_echoes(PATH, echo_of(1e6, (rows.start, 8), sampled), sampled)
    values = np.ones((1, 2, 2, 4), np.complex64)
    values[:, 1] = 0
    with pytest.raises(InputError, match="echo 2: expected signal, found zeros alone"):
        reader._check_echoes(PATH, values, sampled)


GAMMA_MHZ = 42.577478518


@pytest.mark.parametrize(
    ("tesla", "mhz", "found", "warns"),
    [
        (3.0, 0.0, 3.0, ""),
        (0.0, 2.89 * GAMMA_MHZ, 2.89, ""),
        (3.0, 3.002 * GAMMA_MHZ, 3.0, ""),  # the same to a thousandth: what is said
        (3.0, 2.99 * GAMMA_MHZ, 2.99, ""),
        (3.0, 2.98 * GAMMA_MHZ, 2.98, ""),
        (3.0, 2.89 * GAMMA_MHZ, 2.89, "differ by 3.7 %; the frequency is taken"),
        (3.0, 3.2 * GAMMA_MHZ, 3.2, "differ by 6.7 %; the frequency is taken"),
        (3.0, 127.7e-6, 3.0, r"found 127.7 \(MHz\?\); the field strength of 3 T is taken"),
        (3.0, 127.7e-3, 3.0, r"found 127700 \(kHz\?\); the field strength of 3 T is taken"),
    ],
)
def test_of_two_statements_of_the_field_the_frequency_is_the_better(
    tesla: float, mhz: float, found: float, warns: str
) -> None:
    with said(warns):
        field_t = plausible.field_strength_t(PATH, tesla=tesla, larmor_hz=1e6 * mhz)
    assert field_t == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize(
    ("tesla", "mhz", "message"),
    [
        (3.0, 2.6 * GAMMA_MHZ, "expected the same field, found two"),
        (3.0, 1.5 * GAMMA_MHZ, "expected the same field, found two"),
        (0.0, 0.0, "expected a field strength or resonance frequency, found none"),
        (0.0, 127.7e-6, r"expected hertz, .* found 127.7 \(MHz\?\)$"),
        (3000.0, 0.0, r"expected tesla, such as 3, found 3000 \(millitesla\?\)$"),
        (15000.0, 0.0, r"expected tesla, such as 3, found 15000 \(millitesla\?\)$"),
        (-3.0, 0.0, r"expected tesla, such as 3, found -3$"),
    ],
)
def test_fields_of_no_scanner_are_refused(tesla: float, mhz: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plausible.field_strength_t(PATH, tesla=tesla, larmor_hz=1e6 * mhz)


@pytest.mark.parametrize(
    ("times_ms", "repetition_ms", "refused", "warns"),
    [
        ((0.1, 0.5), 0, "", ""),
        ((0.1, 0.49), 0, r"expected ms, found '0.1 0.49' \(seconds\?\)", ""),
        ((4, 500), 0, "", ""),
        ((4, 501), 0, r"\(microseconds\?\)", ""),
        ((501, 4), 0, r"\(microseconds\?\)", ""),
        ((4, 9), 9, "", ""),
        ((4, 9), 8.9, "", "within the repetition time of 8.9 ms, found '4 9'"),
        ((9, 4), 8.9, "", "within the repetition time"),
        ((4, 9), 1, "", "within the repetition time"),
        ((4, 9), 0.03, "", ""),  # in seconds: says nothing
    ],
)
def test_echo_times_are_in_ms(
    times_ms: tuple[float, ...], repetition_ms: float, refused: str, warns: str
) -> None:
    if refused:
        with pytest.raises(InputError, match=refused):
            plausible.check_echo_times(PATH, times_ms, repetition_ms)
        return
    with said(warns):
        plausible.check_echo_times(PATH, times_ms, repetition_ms)


@pytest.mark.parametrize(
    ("matrix", "fov_mm", "field_t", "refused", "warns"),
    [
        ((64, 64, 40), (220, 220, 140), 3, "", ""),
        ((4096, 64, 40), (220, 220, 140), 3, "", ""),
        ((4097, 64, 40), (220, 220, 140), 3, "expected at most 4096 samples", ""),
        ((64, 64, 40), (220, 220, 0.4), 3, "", ""),
        ((64, 64, 40), (220, 220, 0.39), 3, "voxels of 0.00975 mm .metres", ""),
        ((64, 64, 32), (220, 220, 640), 3, "", ""),
        ((64, 64, 32), (220, 220, 641), 3, "voxels of 20 mm .micrometres", ""),
        ((64, 64, 31), (220, 220, 700), 3, "", ""),  # few samples: a calibration
        ((64, 64, 40), (60, 60, 40), 3, "", ""),
        ((64, 64, 40), (59, 59, 40), 3, "", "59 x 59 x 40 mm is smaller than a head"),
        ((63, 63, 40), (59, 59, 40), 3, "", ""),
        ((64, 64, 40), (59, 59, 40), 4, "", ""),  # a field for animals
    ],
)
def test_fields_of_view_are_in_mm(
    matrix: Any, fov_mm: Any, field_t: float, refused: str, warns: str
) -> None:
    if refused:
        with pytest.raises(InputError, match=refused):
            plausible.check_space(PATH, "encodedSpace", matrix, fov_mm, field_t)
        return
    with said(warns):
        plausible.check_space(PATH, "encodedSpace", matrix, fov_mm, field_t)


@pytest.mark.parametrize("n_encodings", [2, 3])
def test_more_encodings_than_a_calibration_of_its_own_are_refused(
    tmp_path: Path, n_encodings: int
) -> None:
    made = lines_of(spectrum())
    for each in made[:4]:
        each.encoding_space_ref = 1
        each.set_flag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
    path = tmp_path / "scan.h5"
    write_lines(path, FULL.but(n_encodings=n_encodings), made)
    if n_encodings == 2:
        assert read_sampling(path).sum() == len(made) - 4
        return
    with pytest.raises(InputError, match="expected one encoding, found 3"):
        read_sampling(path)
