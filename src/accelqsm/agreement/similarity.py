"""Similarity measures of two images: PSNR, SSIM, NRMSE, HFEN and XSIM, with all settings.

PSNR and SSIM of susceptibility maps depend on the dynamic range L, the region and the window, and
cannot be compared without them. Zhou et al. 2025 print mean SSIM 0.87 to 0.85 and PSNR 44.6 to
44.2 dB without these settings, which cannot be reconstructed: with the same L for both, 44.5 dB
implies an SSIM of at least 0.96 (``lowest_ssim``) unless local means differ, so that the two must
have been computed with different ranges or regions. Every value here is reported with its settings.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.ndimage import gaussian_filter, laplace

from accelqsm.errors import InputError
from accelqsm.units import PPB_PER_PPM

SSIM_SIGMA_VOXELS = 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03
XSIM_RANGE_PPM, XSIM_K1, XSIM_K2 = 1.0, 0.01, 0.001
HFEN_SIGMA_VOXELS = 1.5
# A radius of 5 voxels at sigma 1.5, the window of Wang's reference implementation.
WINDOW_TRUNCATION = 3.5
PROFILE_COLUMNS = (
    "profile",
    "definition",
    "region",
    "n_voxels",
    "dynamic_range_ppm",
    "rmse_ppb",
    "psnr_db",
    "ssim",
)
FIGURE_COLUMNS = (
    "figure",
    "profile",
    "definition",
    "value",
    "unit",
    "dynamic_range_ppm",
    "region",
    "n_voxels",
    "settings",
)

Image = npt.NDArray[Any]
Values = npt.NDArray[np.float64]
Region = npt.NDArray[np.bool_]


class _Moments(NamedTuple):
    mean_a: Values
    mean_b: Values
    variance_a: Values
    variance_b: Values
    covariance: Values


def psnr_db(
    image: Image, reference: Image, mask: Image | None = None, *, dynamic_range: float
) -> float:
    """Peak signal-to-noise ratio ``10 log10(L^2 / mean((image - reference)^2))`` in dB.

    Args:
        image: ``(x, y, z)``, in the unit of ``reference``.
        reference: ``(x, y, z)``.
        mask: voxels over which the mean is taken; all when absent.
        dynamic_range: L, in the unit of the images.

    Returns:
        dB; infinity for equal images.

    Raises:
        InputError: shapes that differ, values that are not finite, an empty mask, or L <= 0.
    """
    a, b, region = _check(image, reference, mask)
    _check_range(dynamic_range)
    return _psnr_db(float(np.mean((a[region] - b[region]) ** 2)), dynamic_range)


def ssim(
    image: Image,
    reference: Image,
    mask: Image | None = None,
    *,
    dynamic_range: float,
    sigma_voxels: float = SSIM_SIGMA_VOXELS,
    k1: float = SSIM_K1,
    k2: float = SSIM_K2,
) -> float:
    """Mean structural similarity in three dimensions.

    ``(2 ma mb + C1)(2 sab + C2) / ((ma^2 + mb^2 + C1)(sa^2 + sb^2 + C2))`` with
    ``C1 = (k1 L)^2``, ``C2 = (k2 L)^2``, and local means and population (co)variances in a
    Gaussian window; the edge voxels are repeated beyond the border.

    Args:
        image: ``(x, y, z)``, in the unit of ``reference``.
        reference: ``(x, y, z)``.
        mask: voxels over which the local values are averaged; all when absent.
        dynamic_range: L, in the unit of the images.
        sigma_voxels: SD of the Gaussian window in voxels (its radius is 3.5 SD).
        k1: weight of the luminance constant.
        k2: weight of the contrast constant.

    Raises:
        InputError: shapes that differ, values that are not finite, an empty mask, or L <= 0.

    Wang et al. 2004, doi 10.1109/TIP.2003.819861.
    """
    a, b, region = _check(image, reference, mask)
    _check_range(dynamic_range)
    return _ssim(_moments(a, b, sigma_voxels), region, dynamic_range, k1, k2)


def nrmse_percent(image: Image, reference: Image, mask: Image | None = None) -> float:
    """Normalised root-mean-square error ``100 ||image - reference|| / ||reference||``.

    Images ``(x, y, z)`` in one unit, norms over ``mask`` (all voxels when absent).

    Raises:
        InputError: shapes that differ, values that are not finite, an empty mask, or a reference
            that is zero everywhere.
    """
    a, b, region = _check(image, reference, mask)
    return 100.0 * _relative_norm(a[region], b[region])


def hfen(image: Image, reference: Image, mask: Image | None = None) -> float:
    """High-frequency error norm ``||LoG image - LoG reference|| / ||LoG reference||``.

    LoG is the Laplacian of a Gaussian of SD 1.5 voxels. Images ``(x, y, z)`` in one unit, norms
    over ``mask`` (all voxels when absent); a fraction, 0 for equal images.

    Raises:
        InputError: shapes that differ, values that are not finite, an empty mask, or a reference
            without detail.

    Ravishankar & Bresler 2011, doi 10.1109/TMI.2010.2090538.
    """
    a, b, region = _check(image, reference, mask)
    # The 7-point Laplacian of the smoothed image, as a truncated LoG kernel does not sum to zero
    # and would count a constant shift as an error of detail.
    detail_a, detail_b = (
        laplace(gaussian_filter(volume, HFEN_SIGMA_VOXELS, mode="nearest"), mode="nearest")
        for volume in (a, b)
    )
    return _relative_norm(detail_a[region], detail_b[region])


def xsim(chi_ppm: Image, reference_ppm: Image, mask: Image | None = None) -> float:
    """SSIM with the constants for susceptibility in ppm: L = 1, k1 = 0.01, k2 = 0.001.

    Images ``(x, y, z)`` in ppm, averaged over ``mask`` (all voxels when absent).

    Raises:
        InputError: shapes that differ, values that are not finite, or an empty mask.

    Milovic et al. 2025, "XSIM: a structural similarity index measure optimized for MRI QSM".
    """
    return ssim(chi_ppm, reference_ppm, mask, dynamic_range=XSIM_RANGE_PPM, k1=XSIM_K1, k2=XSIM_K2)


def similarity_profiles(chi_ppm: Image, reference_ppm: Image, mask: Image) -> pd.DataFrame:
    """PSNR and SSIM of a map under four conventions of dynamic range and region.

    Both maps are set to zero outside ``mask`` first. A ``matlab_double_ppm``: L = 1 over the
    whole field of view. B ``ref_range``: L = max - min of the reference in the mask, whole field
    of view. C ``psnr_peak``: L = max of the reference in the mask, whole field of view.
    D ``in_mask``: L as in B, averaged over the mask only.

    Args:
        chi_ppm: susceptibility ``(x, y, z)`` in ppm.
        reference_ppm: susceptibility ``(x, y, z)`` in ppm.
        mask: voxels ``(x, y, z)`` where both maps are defined.

    Returns:
        One row per profile: ``profile, definition, region, n_voxels, dynamic_range_ppm,
        rmse_ppb, psnr_db, ssim``.

    Raises:
        InputError: shapes that differ, values in the mask that are not finite, an empty mask, or
            a reference without a positive value or without contrast.
    """
    _check_shapes(chi_ppm, reference_ppm, mask)
    brain = mask.astype(bool)
    a, b, brain = _check(np.where(brain, chi_ppm, 0), np.where(brain, reference_ppm, 0), brain)
    everywhere = np.ones_like(brain)
    peak, span = float(b[brain].max()), float(np.ptp(b[brain]))
    moments = _moments(a, b, SSIM_SIGMA_VOXELS)
    rows = []
    for profile, definition, dynamic_range, region in (
        ("A", "matlab_double_ppm", 1.0, everywhere),
        ("B", "ref_range", span, everywhere),
        ("C", "psnr_peak", peak, everywhere),
        ("D", "in_mask", span, brain),
    ):
        _check_range(dynamic_range)
        squared_error = float(np.mean((a[region] - b[region]) ** 2))
        rows.append(
            {
                "profile": profile,
                "definition": definition,
                "region": "mask" if region is brain else "field of view",
                "n_voxels": int(region.sum()),
                "dynamic_range_ppm": dynamic_range,
                "rmse_ppb": PPB_PER_PPM * squared_error**0.5,
                "psnr_db": _psnr_db(squared_error, dynamic_range),
                "ssim": _ssim(moments, region, dynamic_range, SSIM_K1, SSIM_K2),
            }
        )
    return pd.DataFrame(rows, columns=list(PROFILE_COLUMNS))


def similarity_figures(chi_ppm: Image, reference_ppm: Image, mask: Image) -> pd.DataFrame:
    """Similarity measures of two maps, each with its dynamic range, region and settings.

    PSNR and SSIM under the four profiles of ``similarity_profiles``, then NRMSE, HFEN and
    XSIM over the mask; both maps are set to zero outside the mask first.

    Args:
        chi_ppm: susceptibility ``(x, y, z)`` in ppm.
        reference_ppm: susceptibility ``(x, y, z)`` in ppm.
        mask: voxels ``(x, y, z)`` where both maps are defined.

    Returns:
        One row per measure: ``figure, profile, definition, value, unit, dynamic_range_ppm,
        region, n_voxels, settings``; dynamic range NaN where a measure has none.

    Raises:
        InputError: as ``similarity_profiles``.
    """
    profiles = similarity_profiles(chi_ppm, reference_ppm, mask)
    brain = mask.astype(bool)
    a, b = (np.where(brain, volume, 0.0) for volume in (chi_ppm, reference_ppm))
    window = f"Gaussian window, SD {SSIM_SIGMA_VOXELS:g} voxels"
    ssim_settings = f"{window}, k1 {SSIM_K1:g}, k2 {SSIM_K2:g}"
    rows: list[dict[str, Any]] = []
    for row in profiles.to_dict("records"):
        shared = {key: row[key] for key in ("profile", "definition", "dynamic_range_ppm", "region")}
        shared["n_voxels"] = row["n_voxels"]
        rows.append({"figure": "PSNR", "value": row["psnr_db"], "unit": "dB", **shared})
        rows.append({"figure": "SSIM", "value": row["ssim"], "settings": ssim_settings, **shared})
    inside = {"region": "mask", "n_voxels": int(brain.sum()), "definition": "in_mask"}
    log = f"Laplacian of a Gaussian, SD {HFEN_SIGMA_VOXELS:g} voxels"
    rows += [
        {"figure": "NRMSE", "value": nrmse_percent(a, b, brain), "unit": "%", **inside},
        {"figure": "HFEN", "value": hfen(a, b, brain), "settings": log, **inside},
        {
            "figure": "XSIM",
            "value": xsim(a, b, brain),
            "dynamic_range_ppm": XSIM_RANGE_PPM,
            "settings": f"{window}, k1 {XSIM_K1:g}, k2 {XSIM_K2:g}",
            **inside,
        },
    ]
    text = {"profile": "", "unit": "", "settings": ""}
    return pd.DataFrame(rows, columns=list(FIGURE_COLUMNS)).fillna(text)


def lowest_ssim(psnr_in_db: float, *, k2: float = SSIM_K2) -> float:
    """Lower bound of SSIM for a given PSNR with the same range, region and window.

    ``1 - 10^(-PSNR / 10) / k2^2``, for images whose local means agree: the structure term is
    ``1 - var(a - b) / (var a + var b + (k2 L)^2)`` at every voxel.
    """
    return 1 - 10 ** (-psnr_in_db / 10) / k2**2


def _psnr_db(squared_error: float, dynamic_range: float) -> float:
    if squared_error == 0:
        return float("inf")
    return float(10 * np.log10(dynamic_range**2 / squared_error))


def _moments(a: Values, b: Values, sigma_voxels: float) -> _Moments:
    def local(volume: Values) -> Values:
        smooth = gaussian_filter(volume, sigma_voxels, mode="nearest", truncate=WINDOW_TRUNCATION)
        return np.asarray(smooth, dtype=np.float64)

    mean_a, mean_b = local(a), local(b)
    return _Moments(
        mean_a,
        mean_b,
        np.maximum(local(a * a) - mean_a**2, 0),
        np.maximum(local(b * b) - mean_b**2, 0),
        local(a * b) - mean_a * mean_b,
    )


def _ssim(m: _Moments, region: Region, dynamic_range: float, k1: float, k2: float) -> float:
    c1, c2 = (k1 * dynamic_range) ** 2, (k2 * dynamic_range) ** 2
    luminance = (2 * m.mean_a * m.mean_b + c1) / (m.mean_a**2 + m.mean_b**2 + c1)
    structure = (2 * m.covariance + c2) / (m.variance_a + m.variance_b + c2)
    return float(np.mean((luminance * structure)[region]))


def _relative_norm(values: Values, reference: Values) -> float:
    norm = float(np.linalg.norm(reference))
    if norm == 0:
        raise InputError("reference image: expected some value other than zero, found none")
    return float(np.linalg.norm(values - reference)) / norm


def _check(image: Image, reference: Image, mask: Image | None) -> tuple[Values, Values, Region]:
    _check_shapes(image, reference, mask)
    region = np.ones(image.shape, dtype=bool) if mask is None else mask.astype(bool)
    if not region.any():
        raise InputError("mask: expected at least one voxel, found none")
    for name, volume in (("image", image), ("reference image", reference)):
        if not np.isfinite(volume).all():
            raise InputError(f"{name}: expected finite values, found NaN or infinity")
    return image.astype(np.float64), reference.astype(np.float64), region


def _check_shapes(image: Image, reference: Image, mask: Image | None) -> None:
    if image.ndim != 3:
        raise InputError(f"image: expected three axes (x, y, z), found shape {image.shape}")
    for name, other in (("reference image", reference), ("mask", mask)):
        if other is not None and other.shape != image.shape:
            raise InputError(f"{name}: expected the shape {image.shape}, found {other.shape}")


def _check_range(dynamic_range: float) -> None:
    if not (np.isfinite(dynamic_range) and dynamic_range > 0):
        raise InputError(f"dynamic range: expected a value above 0, found {dynamic_range}")
