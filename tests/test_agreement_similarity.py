import itertools
import math

import numpy as np
import pytest

from accelqsm.agreement.similarity import (
    hfen,
    lowest_ssim,
    nrmse_percent,
    psnr_db,
    similarity_figures,
    similarity_profiles,
    ssim,
    xsim,
)
from accelqsm.errors import InputError


@pytest.fixture
def maps():
    generator = np.random.default_rng(11)
    reference = generator.normal(0, 0.05, (9, 8, 10))
    return reference + generator.normal(0, 0.01, reference.shape), reference


def ssim_by_loops(a, b, dynamic_range, k1=0.01, k2=0.03):
    """The definition, voxel by voxel: an explicit weighted sum over the 11 x 11 x 11 window."""
    offsets = np.arange(-5, 6)
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    weights = np.einsum("i,j,k->ijk", line, line, line)
    weights /= weights.sum()
    a, b = (np.pad(volume, 5, mode="edge") for volume in (a, b))
    c1, c2 = (k1 * dynamic_range) ** 2, (k2 * dynamic_range) ** 2
    out = np.empty([n - 10 for n in a.shape])
    for i, j, k in itertools.product(*map(range, out.shape)):
        window = np.s_[i : i + 11, j : j + 11, k : k + 11]
        x, y = a[window], b[window]
        mx, my = (weights * x).sum(), (weights * y).sum()
        vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
        cxy = (weights * (x - mx) * (y - my)).sum()
        out[i, j, k] = (2 * mx * my + c1) * (2 * cxy + c2) / (mx**2 + my**2 + c1) / (vx + vy + c2)
    return out


def test_ssim_equals_the_definition_voxel_by_voxel(maps):
    image, reference = maps
    local = ssim_by_loops(image, reference, 0.3)
    mask = np.zeros(image.shape, dtype=bool)
    mask[2:5, 3:7, 0:4] = True
    assert ssim(image, reference, dynamic_range=0.3) == pytest.approx(local.mean(), abs=1e-12)
    assert ssim(image, reference, mask, dynamic_range=0.3) == pytest.approx(local[mask].mean())
    strict = ssim_by_loops(image, reference, 1.0, k2=0.001)
    assert xsim(image, reference) == pytest.approx(strict.mean(), abs=1e-10)


def test_equal_images():
    image = np.random.default_rng(1).normal(size=(6, 6, 6))
    assert psnr_db(image, image, dynamic_range=1.0) == math.inf
    assert ssim(image, image, dynamic_range=1.0) == pytest.approx(1.0, abs=1e-12)
    assert xsim(image, image) == pytest.approx(1.0, abs=1e-12)
    assert nrmse_percent(image, image) == 0
    assert hfen(image, image) == 0


def test_constant_offset_has_a_closed_form():
    reference, offset, dynamic_range = np.full((7, 7, 7), 0.2), 0.05, 0.4
    image = reference + offset
    c1 = (0.01 * dynamic_range) ** 2
    luminance = (2 * 0.2 * 0.25 + c1) / (0.2**2 + 0.25**2 + c1)
    assert psnr_db(image, reference, dynamic_range=dynamic_range) == pytest.approx(
        20 * math.log10(dynamic_range / offset)
    )
    assert ssim(image, reference, dynamic_range=dynamic_range) == pytest.approx(luminance)
    assert nrmse_percent(image, reference) == pytest.approx(25.0)


def test_published_figure_44_5_db_is_6_ppb():
    """METHODS: 44.5 dB at L = 1 ppm is an RMS difference of 0.00596 ppm."""
    reference = np.zeros((4, 4, 4))
    assert psnr_db(reference + 0.00596, reference, dynamic_range=1.0) == pytest.approx(
        44.5, abs=0.01
    )


@pytest.mark.parametrize("scale", [1e-3, 7.0])
def test_unit_of_the_images_does_not_matter(maps, scale):
    image, reference = maps
    for measure in (psnr_db, ssim):
        assert measure(scale * image, scale * reference, dynamic_range=0.3 * scale) == (
            pytest.approx(measure(image, reference, dynamic_range=0.3), rel=1e-9)
        )
    for measure in (nrmse_percent, hfen):
        assert measure(scale * image, scale * reference) == pytest.approx(measure(image, reference))


def test_hfen_of_a_scaled_image_is_the_scale_error(maps):
    _, reference = maps
    assert hfen(1.2 * reference, reference) == pytest.approx(0.2)


def test_hfen_sees_detail_and_neither_offset_nor_ramp():
    reference = np.random.default_rng(2).normal(size=(40, 5, 5))
    ramp = np.linspace(3, 4, 40)[:, None, None] * np.ones(reference.shape)
    far_from_edge = np.zeros(reference.shape, dtype=bool)
    far_from_edge[10:30] = True
    assert hfen(reference + ramp, reference, far_from_edge) == pytest.approx(0, abs=1e-9)
    assert nrmse_percent(reference + ramp, reference, far_from_edge) > 100


def test_profiles_state_range_and_region(maps):
    image, reference = maps
    mask = np.zeros(image.shape, dtype=bool)
    mask[2:7, 2:7, 2:8] = True
    frame = similarity_profiles(
        np.where(mask, image, np.nan), reference, mask.astype(np.uint8)
    ).set_index("profile")
    a, b = image * mask, reference * mask
    span, peak = np.ptp(reference[mask]), reference[mask].max()
    assert frame.definition.tolist() == ["matlab_double_ppm", "ref_range", "psnr_peak", "in_mask"]
    assert frame.region.tolist() == [*["field of view"] * 3, "mask"]
    np.testing.assert_allclose(frame.dynamic_range_ppm, [1.0, span, peak, span])
    for profile, where in [("A", None), ("B", None), ("C", None), ("D", mask)]:
        dynamic_range = frame.dynamic_range_ppm[profile]
        assert frame.psnr_db[profile] == pytest.approx(
            psnr_db(a, b, where, dynamic_range=dynamic_range)
        )
        assert frame.ssim[profile] == pytest.approx(ssim(a, b, where, dynamic_range=dynamic_range))
    whole, inside = frame.rmse_ppb["A"], frame.rmse_ppb["D"]
    assert inside == pytest.approx(1000 * np.std((a - b)[mask] - 0, mean=0.0), rel=1e-9)
    assert whole == pytest.approx(inside * math.sqrt(mask.mean()))


def test_every_figure_carries_its_range_and_region(maps):
    image, reference = maps
    mask = np.zeros(image.shape, dtype=bool)
    mask[2:7, 2:7, 2:8] = True
    frame = similarity_figures(np.where(mask, image, np.nan), reference, mask)
    assert frame["figure"].tolist() == [*["PSNR", "SSIM"] * 4, "NRMSE", "HFEN", "XSIM"]
    assert frame["region"].isin(["mask", "field of view"]).all()
    assert (frame["n_voxels"] > 0).all()
    needs_range = frame["figure"].isin(["PSNR", "SSIM", "XSIM"])
    assert frame.loc[needs_range, "dynamic_range_ppm"].notna().all()
    assert frame.loc[~needs_range, "dynamic_range_ppm"].isna().all()
    value = frame.set_index("figure")["value"]
    a, b = image * mask, reference * mask
    assert value["NRMSE"] == pytest.approx(nrmse_percent(a, b, mask))
    assert value["HFEN"] == pytest.approx(hfen(a, b, mask))
    assert value["XSIM"] == pytest.approx(xsim(a, b, mask))
    profiles = similarity_profiles(a, reference, mask)
    assert value["PSNR"].tolist() == pytest.approx(profiles["psnr_db"].tolist())
    assert value["SSIM"].tolist() == pytest.approx(profiles["ssim"].tolist())
    settings = frame.set_index("figure")["settings"]
    assert settings["XSIM"] == "Gaussian window, SD 1.5 voxels, k1 0.01, k2 0.001"


def test_published_ssim_and_psnr_cannot_share_a_range():
    """44.5 dB leave SSIM at 0.96 or above, whatever L and the images; 0.86 was printed.

    The difference alternates from voxel to voxel, so that local means agree.
    """
    assert lowest_ssim(44.5) == pytest.approx(0.96, abs=0.001)
    generator = np.random.default_rng(5)
    shape = (24, 24, 24)
    signs = (-1.0) ** np.indices(shape).sum(0)
    for dynamic_range, size in itertools.product((0.3, 1.0, 2.9), (0.0, 0.01, 0.1)):
        reference = generator.normal(0, size, shape)
        image = reference + dynamic_range * 10 ** (-44.5 / 20) * signs
        assert psnr_db(image, reference, dynamic_range=dynamic_range) == pytest.approx(44.5)
        found = ssim(image, reference, dynamic_range=dynamic_range)
        assert lowest_ssim(44.5) - 1e-9 < found < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: psnr_db(a, a[1:], dynamic_range=1.0), r"reference image: .*\(3, 4, 4\)"),
        (lambda a: psnr_db(a, a, dynamic_range=0.0), "dynamic range: .*found 0.0"),
        (lambda a: ssim(a, a, np.zeros(a.shape), dynamic_range=1.0), "mask: .*found none"),
        (lambda a: ssim(a[0], a[0], dynamic_range=1.0), "image: expected three axes"),
        (lambda a: hfen(a * np.nan, a), "image: expected finite values"),
        (lambda a: nrmse_percent(a, 0 * a), "reference image: .*other than zero"),
        (lambda a: similarity_profiles(a, -abs(a), np.ones(a.shape)), "dynamic range"),
        (lambda a: similarity_profiles(a, a, np.ones((2, 2, 2))), "mask: expected the shape"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(InputError, match=message):
        call(np.random.default_rng(0).normal(size=(4, 4, 4)))
