"""The unit of a magnitude is arbitrary: maps do not depend on it, to the last bit."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import nibabel
import numpy as np
import pytest
import torch

from accelqsm.errors import InputError
from accelqsm.files.megre.echoes import Echoes, echoes_of_arrays
from accelqsm.kspace import KSpace
from accelqsm.pipeline.images import susceptibility
from accelqsm.pipeline.scan import map_susceptibility
from accelqsm.recon.method_settings import SensitivitySettings
from accelqsm.recon.sampling import poisson_disk, regular
from accelqsm.recon.trust import trust_in
from accelqsm.results.maps import SusceptibilityMaps
from accelqsm.units import gain_to_one
from object_phantom import FIELD_T, Phantom, ellipsoid, phantom, slope
from recon_phantom import channel_images, sample

TIMES_S = (0.004, 0.009, 0.014, 0.019, 0.024, 0.029, 0.034, 0.039)
MAPS = ("chi_ppm", "mask", "field_hz", "field_sd_hz", "local_field_hz", "r2star_per_s")
SHAPE = (12, 24, 20)
POISSON = poisson_disk(SHAPE[1:], acceleration=2, calibration=(8, 8), seed=0)
REGULAR = regular(SHAPE[1:], acceleration=(2, 1), calibration=(10, 20))


def images(made: Phantom, factor: float) -> Echoes:
    values = np.moveaxis(made.echoes.numpy().astype(np.complex64), 0, -1)
    magnitude, phase = (
        nibabel.Nifti1Image(part, made.grid.affine)
        for part in (np.abs(values) * np.float32(factor), np.angle(values))
    )
    return echoes_of_arrays(
        magnitude, phase, echo_times_s=made.echo_times_s, field_strength_t=FIELD_T
    )


@pytest.mark.filterwarnings("ignore::accelqsm.errors.InputWarning")
def mapped(made: Phantom, factor: float) -> SusceptibilityMaps:
    return susceptibility(images(made, factor), mask=made.brain)


def assert_same(one: SusceptibilityMaps, other: SusceptibilityMaps, factor: float) -> None:
    for name in MAPS:
        first, second = getattr(one, name), getattr(other, name)
        assert (first is None and second is None) or np.array_equal(first, second), name
    assert np.array_equal(one.magnitude * np.float32(factor), other.magnitude)


@pytest.mark.filterwarnings("ignore::accelqsm.errors.InputWarning")
@pytest.mark.parametrize("n_echoes", range(1, 9))
def test_a_power_of_two_changes_no_bit_of_a_map(n_echoes: int) -> None:
    made = phantom(TIMES_S[:n_echoes], n_voxels=20)
    once = mapped(made, 1.0)
    for factor in (2.0**-60, 1024.0):
        assert_same(once, mapped(made, factor), factor)


def shadowed(echo_times_s: tuple[float, ...], noise_sd: float, draw: int = 1) -> Phantom:
    """A phantom whose signal falls along y, with holes that have next to none."""
    made = phantom(echo_times_s, noise_sd=0)
    at_mm = list(torch.from_numpy(made.grid.world_mm()).double())
    signal = torch.exp(-at_mm[1] / 40)
    for centre_mm, radius_mm in (((8, -22, 18), 7), ((-20, 10, -14), 6), ((0, -5, 25), 5)):
        signal[ellipsoid(at_mm, (radius_mm,) * 3, centre_mm)] = 0.002
    generator = torch.Generator().manual_seed(draw)
    noise = torch.randn(made.echoes.shape, dtype=made.echoes.dtype, generator=generator)
    return replace(made, echoes=made.echoes * signal + noise_sd * 2**0.5 * noise)


@pytest.mark.filterwarnings("ignore::accelqsm.errors.InputWarning")
def test_two_echoes_with_holes_have_their_slope_in_any_unit() -> None:
    """Noise that is taken as one unit counts as nothing where the unit is small: slope 0.70."""
    made = [shadowed(TIMES_S[:2], 1 / 15, draw) for draw in range(1, 13)]
    slopes = [slope_in_unit(one, 1.0) for one in made]
    # So much noise gives single draws an SD of 0.09 about 0.94 (1.04 without noise).
    assert fmean(slopes) == pytest.approx(1, abs=0.06)
    # Factors that are no powers of two round otherwise, which forty iterations can carry on.
    others = [slope_in_unit(made[0], factor) for factor in (3.0, 3000.0)]
    assert others == pytest.approx([slopes[0]] * 2, abs=3e-3)


def slope_in_unit(made: Phantom, factor: float) -> float:
    """Slope of the nuclei of images in a unit that many times smaller."""
    found = mapped(made, factor)
    return slope(torch.from_numpy(found.chi_ppm), torch.from_numpy(found.mask), made)


@pytest.mark.filterwarnings("ignore::accelqsm.errors.InputWarning")
@pytest.mark.parametrize("n_echoes", [1, 2, 3])
def test_without_signal_the_field_is_as_uncertain_as_a_random_phase(n_echoes: int) -> None:
    made = phantom(TIMES_S[:n_echoes], n_voxels=20)
    made.echoes[:, 9:12, 9:12, 9:12] = 0
    found = mapped(made, 1.0)
    spacing_s = TIMES_S[0] if n_echoes == 1 else 0.005
    assert found.field_sd_hz[10, 10, 10] == pytest.approx(1 / (12**0.5 * spacing_s))
    assert np.isfinite(found.field_sd_hz).all()
    assert (found.field_sd_hz[~made.brain.numpy()] == 0).all()
    assert (found.field_sd_hz[found.mask] > 0).all()


def scan(method: str) -> KSpace:
    return sample(
        channel_images(SHAPE, 4), REGULAR if method == "grappa" else POISSON, noise_sd=0.01
    )


@pytest.mark.filterwarnings("ignore::accelqsm.errors.InputWarning")
@pytest.mark.parametrize(
    ("method", "one_echo"),
    [
        ("zero-filled", False),
        ("zero-filled", True),
        ("grappa", False),
        ("cg-sense", False),
        ("l1-wavelet", False),
        ("l1-echoes", False),
        ("reconnet3d", False),
        ("reconnet3d", True),
    ],
)
def test_a_power_of_two_changes_no_bit_of_a_reconstruction(method: str, one_echo: bool) -> None:
    kspace = scan(method)
    if one_echo:
        acquisition = replace(kspace.acquisition, echo_times_s=kspace.acquisition.echo_times_s[:1])
        kspace = replace(kspace, acquisition=acquisition, samples=kspace.samples[:, :1])
    # At the root of two, the rounding of a logarithm is decided by its last digit.
    largest = float(np.abs(kspace.samples).max())
    kspace = replace(kspace, samples=kspace.samples * np.float32(2**0.5 / largest))
    once = map_susceptibility(kspace, method)
    for factor in (2.0**-40, 1024.0):
        samples = kspace.samples * np.float32(factor)
        again = map_susceptibility(replace(kspace, samples=samples), method)
        assert_same(once, again, factor)
        assert once.echoes is not None
        assert again.echoes is not None
        assert np.array_equal(once.echoes.phase_rad, again.echoes.phase_rad)
        assert np.array_equal(once.echoes.magnitude * np.float32(factor), again.echoes.magnitude)


def test_sensitivities_are_trusted_in_any_unit() -> None:
    kspace = scan("cg-sense")
    found = [
        trust_in(
            replace(kspace, samples=kspace.samples * np.float32(factor)), SensitivitySettings()
        )
        for factor in (1.0, 2.0**-40, 2.0**40)
    ]
    assert found[0] is not None
    assert found[1:] == [found[0]] * 2


def test_a_gain_is_a_power_of_two_that_single_precision_holds() -> None:
    for largest in (1e-45, 1e-30, 0.7, 1.0, 2**0.5, 3.4e38):
        gain = gain_to_one(largest)
        assert np.frexp(gain)[0] == 0.5
        assert np.float32(gain) * np.float32(1 / gain) == 1
        assert gain * largest < 4.1
    assert [gain_to_one(v) for v in (0.0, np.inf, np.nan)] == [1.0] * 3


def test_a_magnitude_beyond_single_precision_is_refused() -> None:
    made = phantom(TIMES_S[:2], n_voxels=8)
    values = np.ones((8, 8, 8, 2))
    phase = nibabel.Nifti1Image(0.1 * values, made.grid.affine)
    values[4, 4, 4] = 1e300
    magnitude = nibabel.Nifti1Image(values, made.grid.affine)
    with pytest.raises(InputError, match=r"magnitude: .*below 3.4e38, found 1e"):
        echoes_of_arrays(magnitude, phase, echo_times_s=made.echo_times_s, field_strength_t=FIELD_T)
