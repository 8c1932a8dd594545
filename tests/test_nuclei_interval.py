"""Standard deviation of susceptibility, and intervals of nuclei: closed forms and simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from accelqsm.dipole import forward_field
from accelqsm.nuclei.interval import CORRELATED_MM3, COVERAGE_SD, SHARED_SD_PPB, interval_ppb
from accelqsm.nuclei.measure import measure_nuclei
from accelqsm.qsm.chi_sd import (
    CONTRAST_PPM,
    FLAT_PPM,
    STEEP_PPM,
    THIN_PPM,
    susceptibility_sd,
)
from accelqsm.qsm.inversion.l1 import l1_dipole_inversion
from accelqsm.qsm.inversion.noise import l1_noise_sd
from accelqsm.qsm.inversion.settings import L1Settings

SIZE_MM = (1.5, 1.5, 2.0)
B0 = (0.0, 0.0, 1.0)
LOOKUP = pd.DataFrame({"index": [1, 2, 3], "name": ["L Pu", "R Pu", "L RN"]})


def mask_of(shape: tuple[int, int, int], depth: int) -> torch.Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[depth:-depth, depth:-depth, depth:-depth] = True
    return mask


@pytest.mark.parametrize("restore_contrast", [True, False])
@pytest.mark.parametrize("sd_ppm", [0.002, 0.006])
def test_noise_of_the_field_spreads_as_predicted(sd_ppm: float, restore_contrast: bool) -> None:
    mask = mask_of((36, 36, 30), 4)
    generator = torch.Generator().manual_seed(3)
    settings = L1Settings(dynamic_noise=False, restore_contrast=restore_contrast)
    truth = torch.zeros(mask.shape)
    truth[12:20, 12:20, 10:18] = 0.05
    field = forward_field(truth, voxel_size_mm=SIZE_MM, b0_direction=B0)

    def inverted() -> torch.Tensor:
        return l1_dipole_inversion(
            field + sd_ppm * torch.randn(mask.shape, generator=generator),
            mask,
            voxel_size_mm=SIZE_MM,
            b0_direction=B0,
            data_weight=mask.float(),
            edges=torch.rand(3, *mask.shape, generator=generator) < 0.3,
            settings=settings,
        )

    deep = mask_of((36, 36, 30), 8)
    found = float((inverted() - inverted())[deep].std()) / 2**0.5
    predicted = l1_noise_sd(
        torch.full(mask.shape, sd_ppm), mask, voxel_size_mm=SIZE_MM, b0_direction=B0,
        settings=settings,
    )  # fmt: skip
    assert found == pytest.approx(float(predicted[deep].mean()), rel=0.25)
    assert (predicted[~mask] == 0).all()


def test_noise_follows_the_field_where_it_is_noisy_and_ignores_voxels_without_signal() -> None:
    mask = mask_of((32, 32, 32), 3)
    sd = torch.full(mask.shape, 0.002)
    sd[16:] *= 4
    sd[16, 16, 16] = torch.inf
    found = l1_noise_sd(sd, mask, voxel_size_mm=SIZE_MM, b0_direction=B0, settings=L1Settings())
    assert found.isfinite().all()
    assert found[24, 16, 16] == pytest.approx(4 * float(found[8, 16, 16]), rel=0.25)
    none = torch.full(mask.shape, torch.inf)
    assert not l1_noise_sd(
        none, mask, voxel_size_mm=SIZE_MM, b0_direction=B0, settings=L1Settings()
    ).any()


def test_tissue_of_the_brains_mean_is_less_certain_than_nuclei_and_noise_adds_in_squares() -> None:
    mask = mask_of((30, 30, 30), 3)
    chi = torch.zeros(mask.shape)
    chi[10:16, 10:16, 10:16] = 0.2
    quiet = susceptibility_sd(chi, mask, torch.zeros(mask.shape), voxel_size_mm=SIZE_MM)
    assert quiet[13, 13, 13] == pytest.approx(STEEP_PPM, rel=0.01)
    below = (float(chi[mask].mean()) + THIN_PPM) / CONTRAST_PPM
    even = STEEP_PPM + (FLAT_PPM - STEEP_PPM) * math.exp(-(below**2))
    assert quiet[21, 21, 21] == pytest.approx(even, rel=0.01)
    assert even > 0.9 * FLAT_PPM
    noisy = susceptibility_sd(chi + 1.0, mask, 0.005 * mask.float(), voxel_size_mm=SIZE_MM)
    torch.testing.assert_close(noisy**2, quiet**2 + 0.005**2 * mask, atol=1e-7, rtol=1e-3)


def test_the_interval_of_a_flat_nucleus_has_its_closed_form() -> None:
    labels = np.zeros((20, 20, 20), int)
    labels[4:12, 4:12, 4:12], labels[13:17, 4:8, 4:8] = 1, 3
    chi, sd = np.full(labels.shape, 0.04), np.full(labels.shape, 0.007)
    half = interval_ppb(chi, sd, labels, LOOKUP, voxel_volume_mm3=4.5)
    table = measure_nuclei(chi, labels, LOOKUP, voxel_volume_mm3=4.5)
    assert len(half) == len(table)
    by = dict(zip(zip(table["region"], table["side"], strict=True), half, strict=True))
    for key, n in ((("Pu", "L"), 512), (("RN", "L"), 64)):
        variance = SHARED_SD_PPB**2 + 7.0**2 * CORRELATED_MM3 / (4.5 * n)
        assert by[key] == pytest.approx(COVERAGE_SD * variance**0.5, rel=1e-6)
    assert np.isnan(by["Pu", "R"])


def test_partial_volume_widens_the_interval_of_a_bright_nucleus_alone() -> None:
    labels = np.zeros((20, 20, 20), int)
    labels[6:12, 6:12, 6:12] = 1
    sd = np.full(labels.shape, 0.005)
    flat, bright = (
        interval_ppb(value * (labels == 1), sd, labels, LOOKUP.iloc[:1], voxel_volume_mm3=4.5)
        for value in (0.0, 0.2)
    )
    assert bright[0] > 1.1 * flat[0]


def test_probabilities_and_masks_are_measured_as_the_means_are() -> None:
    generator = np.random.default_rng(0)
    labels = np.zeros((16, 16, 16), int)
    labels[4:10, 4:10, 4:10] = 1
    chi, sd = generator.normal(0.05, 0.01, labels.shape), np.full(labels.shape, 0.006)
    rows = LOOKUP.iloc[:1]
    whole = interval_ppb(chi, sd, labels, rows, voxel_volume_mm3=4.5)
    same = interval_ppb(
        chi, sd, labels, rows, voxel_volume_mm3=4.5, probabilities={1: (labels == 1) * 1.0}
    )
    np.testing.assert_allclose(same, whole)
    half = np.zeros(labels.shape, bool)
    half[:7] = True
    fewer = interval_ppb(chi, sd, labels, rows, voxel_volume_mm3=4.5, mask=half)
    assert fewer[0] > whole[0]


def test_settings_without_rounding_have_a_noise_too() -> None:
    mask = mask_of((24, 24, 24), 3)
    sd = torch.full(mask.shape, 0.004)
    plain = replace(L1Settings(), small_gradient=0.0)
    found = l1_noise_sd(sd, mask, voxel_size_mm=SIZE_MM, b0_direction=B0, settings=plain)
    assert 0.001 < float(found[12, 12, 12]) < 0.05
