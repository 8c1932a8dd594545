"""QSM pipeline: field map, unwrapping, background removal and dipole inversion in order."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Grid, Triple
from accelqsm.morphology import in_head_mm
from accelqsm.qsm.background.local import LocalField
from accelqsm.qsm.background.registry import BACKGROUNDS
from accelqsm.qsm.brain import coherent_sums, found_brain
from accelqsm.qsm.chi_sd import susceptibility_sd
from accelqsm.qsm.field.lags import LagProducts
from accelqsm.qsm.field.mdi import lag1_phase_rad, multilag_field
from accelqsm.qsm.field.noise import Noise
from accelqsm.qsm.field.uncertainty import at_most_random_hz, sd_of_phases_hz
from accelqsm.qsm.field.unwrap import unwrap_spun
from accelqsm.qsm.inversion.edges import tissue_edges
from accelqsm.qsm.inversion.registry import INVERSIONS
from accelqsm.qsm.mask import erode
from accelqsm.qsm.scale import in_head_units, in_proportion, said_in_head_units
from accelqsm.qsm.settings import QsmSettings
from accelqsm.qsm.shading.tissue import tissue_shading
from accelqsm.reference.region import reference_region
from accelqsm.units import hz_to_ppm, ppm_to_hz

DEFAULT = QsmSettings()


@dataclass(frozen=True)
class QsmResult:
    """Susceptibility with the maps that it is computed from; all (x, y, z).

    Attributes:
        chi_ppm: susceptibility relative to the reference, zero outside ``mask``.
        chi_sd_ppm: standard deviation of ``chi_ppm`` about the truth, zero outside ``mask``; None
            where it was not asked for, or noise of the field is not known.
        mask: bool, where ``chi_ppm`` is known: ``brain`` less what is lost at its edge.
        brain: bool, the mask that field and background removal used.
        field_hz: total field, unwrapped in ``brain``.
        local_field_hz: field of the sources in ``brain``, zero outside ``mask``.
        field_sd_hz: standard deviation of ``field_hz`` in ``brain``, zero outside; at most that
            of a random phase, which a voxel without signal has. Fewer than three echoes leave the
            noise unknown: it is then taken as that of ``field.noise``.
        r2star_per_s: decay rate in 1/s in ``brain``, zero outside; None for a single echo.
        magnitude: root of the sum over channels and echoes of |S|^2.
        incoherent_share: of the voxels of the mask that was given or found, those whose phase was
            too incoherent for ``brain``.
        snr: of the first echo (``field.noise``); None where the noise is not known.
        settings: that were used, with lengths in mm in proportion to the object.
    """

    chi_ppm: Tensor
    chi_sd_ppm: Tensor | None
    mask: Tensor
    brain: Tensor
    field_hz: Tensor
    local_field_hz: Tensor
    field_sd_hz: Tensor
    r2star_per_s: Tensor | None
    magnitude: Tensor
    incoherent_share: float
    snr: float | None
    settings: QsmSettings


@dataclass(frozen=True)
class Subject:
    """What the stages after the total field know of the object beside its field.

    Attributes:
        brain: bool (x, y, z), where the field is measured.
        brain_is_found: it was extracted, so that its edge is not to be trusted.
        voxel_size_mm: edge lengths of a voxel, as if the object were as large as a human head.
        b0_direction: unit vector of the main field along the array axes.
        field_strength_t: main field in tesla.
        length_scale: lengths of the object over those of a human head.
        noise: uncertainty of the field, or None for equal weights.
        late_magnitude: (x, y, z) of late echoes, or None.
        settings: with lengths in mm of the object.
    """

    brain: Tensor
    brain_is_found: bool
    voxel_size_mm: Triple
    b0_direction: Triple
    field_strength_t: float
    length_scale: float
    noise: Noise | None
    late_magnitude: Tensor | None
    settings: QsmSettings

    @property
    def scaled(self) -> QsmSettings:
        """The settings with lengths of a human head."""
        return in_head_units(self.settings, self.length_scale)

    @property
    def r2star_per_s(self) -> Tensor | None:
        """Decay rate in 1/s in the brain, or None where it is not known."""
        return None if self.noise is None else self.noise.r2star_per_s

    @property
    def edges(self) -> Tensor | None:
        """Where susceptibility may have edges, bool (3, x, y, z); None where nothing tells."""
        if self.late_magnitude is None:
            return None
        return tissue_edges(
            self.late_magnitude, self.r2star_per_s, self.brain, voxel_size_mm=self.voxel_size_mm
        )


@dataclass(frozen=True)
class TotalField:
    """The field of all sources, as ``QsmResult`` describes it, and its subject."""

    field_hz: Tensor
    field_sd_hz: Tensor
    magnitude: Tensor
    incoherent_share: float
    subject: Subject


def susceptibility(
    products: LagProducts,
    *,
    grid: Grid,
    field_strength_t: float,
    b0_direction: Triple | None = None,
    mask: Tensor | None = None,
    phase_sd_rad: Tensor | None = None,
    settings: QsmSettings = DEFAULT,
) -> QsmResult:
    """Susceptibility map from sums over channels and echoes, with all intermediate maps.

    Physics knows no length: an object smaller than a human head is treated as if it were as large
    as one. Lengths in ``settings`` that are not the defaults stay those of the object itself.

    Args:
        products: sums over all channels (``lag_products``); combined images are one channel.
        grid: voxel size and direction of the main field.
        field_strength_t: main field in tesla.
        b0_direction: unit vector along the array axes, where the grid's is not to be trusted.
        mask: bool (x, y, z) to use instead of a brain extraction; it only loses what
            ``settings.least_coherence`` says.
        phase_sd_rad: (echo, x, y, z), standard deviation of each echo's phase that the
            reconstruction adds to noise; it changes no map but standard deviations.
        settings: every other choice; the defaults keep the slope of the nuclei near one.

    Returns:
        Susceptibility in ppm with the maps that it came from.

    Raises:
        InputError: a mask of another shape or without voxels, or settings out of range.

    Source: the chain of Zhou et al. 2025, Front Neurosci 19:1522227,
    doi 10.3389/fnins.2025.1522227.
    """
    return mapped(
        total_field(
            products,
            grid=grid,
            field_strength_t=field_strength_t,
            b0_direction=b0_direction,
            mask=mask,
            phase_sd_rad=phase_sd_rad,
            settings=settings,
        )
    )


def mapped(total: TotalField) -> QsmResult:
    """Susceptibility and local field from a total field.

    Raises:
        InputError: a brain that is too small for the method, or an empty reference region.
    """
    subject = total.subject
    local = local_field(total.field_hz, subject)
    left = known_mask(local, subject)
    chi_ppm = dipole_inversion(local, left, subject)
    return QsmResult(
        chi_ppm=chi_ppm,
        chi_sd_ppm=uncertainty(chi_ppm, left, subject),
        mask=left,
        brain=subject.brain,
        field_hz=total.field_hz,
        local_field_hz=torch.where(left, ppm_to_hz(local.field_ppm, subject.field_strength_t), 0),
        field_sd_hz=total.field_sd_hz,
        r2star_per_s=subject.r2star_per_s,
        magnitude=total.magnitude,
        incoherent_share=total.incoherent_share,
        snr=None if subject.noise is None else subject.noise.snr,
        settings=subject.settings,
    )


def total_field(
    products: LagProducts,
    *,
    grid: Grid,
    field_strength_t: float,
    b0_direction: Triple | None = None,
    mask: Tensor | None = None,
    phase_sd_rad: Tensor | None = None,
    settings: QsmSettings = DEFAULT,
) -> TotalField:
    """Unwrapped total field from sums over channels and echoes; arguments as of ``susceptibility``.

    Returns:
        The field with its standard deviation, and what later stages know of the subject.

    Raises:
        InputError: a mask of another shape or without voxels, or settings out of range.
    """
    magnitude = products.echo_power.sum(0).sqrt()
    given = None if mask is None else _check_mask(mask, grid).to(magnitude.device)
    found = found_brain(products.magnitude[0], given, grid.voxel_size_mm, settings.length_scale)
    used = in_proportion(settings, found.length_scale)
    settings = in_head_units(used, found.length_scale)
    size_mm = in_head_mm(grid.voxel_size_mm, found.length_scale)
    products, brain = coherent_sums(
        products,
        found.mask,
        least_coherence=settings.least_coherence,
        fill_holes=settings.phase_quality == "edge",
    )
    unwrapped_rad = unwrap_spun(lag1_phase_rad(products), products.products[0].abs(), brain)
    field_hz = unwrapped_rad / (math.tau * products.spacing_s)
    if settings.field_mode == "multi":
        field_hz = multilag_field(products, field_hz, brain)
    noise = Noise.of(products, field_hz, brain)
    if phase_sd_rad is not None:
        noise = replace(noise, added_hz=sd_of_phases_hz(phase_sd_rad, products))
    return TotalField(
        field_hz=field_hz,
        field_sd_hz=torch.where(brain, at_most_random_hz(noise.whole_hz, products), 0),
        magnitude=magnitude,
        incoherent_share=1 - float(brain.sum() / found.mask.sum()),
        subject=Subject(
            brain=brain,
            brain_is_found=mask is None,
            voxel_size_mm=size_mm,
            b0_direction=b0_direction or grid.b0_direction,
            field_strength_t=field_strength_t,
            length_scale=found.length_scale,
            noise=noise,
            late_magnitude=products.late_magnitude_s,
            settings=used,
        ),
    )


def local_field(field_hz: Tensor, subject: Subject) -> LocalField:
    """Field of the sources in the brain, from the total field (x, y, z) unwrapped in it.

    Raises:
        InputError: a brain that is too small for the method.
    """
    field_ppm, weight = hz_to_ppm(field_hz, subject.field_strength_t), None
    if subject.noise is not None and subject.settings.data_weighting:
        weight = subject.noise.background_weight(field_ppm, subject.brain, subject.field_strength_t)
    with said_in_head_units(subject.length_scale):
        local: LocalField = BACKGROUNDS[subject.settings.background].load()(
            field_ppm,
            subject.brain,
            weight,
            voxel_size_mm=subject.voxel_size_mm,
            b0_direction=subject.b0_direction,
            settings=subject.scaled.background_settings,
        )
    return local


def known_mask(local: LocalField, subject: Subject) -> Tensor:
    """Where susceptibility is known: where the local field is, less the edge of a mask not given.

    Raises:
        InputError: as ``erode``.
    """
    if not (subject.brain_is_found and BACKGROUNDS[subject.settings.background].keeps_edge):
        return local.mask
    with said_in_head_units(subject.length_scale):
        return erode(local.mask, subject.scaled.edge_mm, voxel_size_mm=subject.voxel_size_mm)


def dipole_inversion(local: LocalField, left: Tensor, subject: Subject) -> Tensor:
    """Susceptibility in ppm from the local field, relative to the reference.

    What background removal took of it is added where the settings ask for it (``tissue_shading``).

    Args:
        local: field of the sources in the brain.
        left: bool (x, y, z), where susceptibility is known (``known_mask``).
        subject: what is known of the subject.

    Returns:
        (x, y, z), zero outside ``left``.

    Raises:
        InputError: an empty mask or reference region.
    """
    weight = None
    if subject.noise is not None and subject.settings.data_weighting:
        weight = subject.noise.inversion_weight(subject.brain, subject.voxel_size_mm)
    with said_in_head_units(subject.length_scale):
        chi_ppm = INVERSIONS[subject.settings.inversion].load()(
            local.field_ppm,
            local.mask,
            voxel_size_mm=subject.voxel_size_mm,
            b0_direction=subject.b0_direction,
            data_weight=weight,
            edges=subject.edges,
            settings=subject.scaled.inversion_settings,
        )
        if subject.settings.shading_correction:
            chi_ppm = chi_ppm + tissue_shading(
                chi_ppm,
                left,
                subject.r2star_per_s,
                voxel_size_mm=subject.voxel_size_mm,
                b0_direction=subject.b0_direction,
            )
        return _reference_to_kind(
            chi_ppm,
            left,
            subject.r2star_per_s,
            subject.voxel_size_mm,
            subject.settings.reference,
        )


def uncertainty(chi_ppm: Tensor, left: Tensor, subject: Subject) -> Tensor | None:
    """Standard deviation of susceptibility in ppm, (x, y, z), zero outside ``left``.

    None where it is not asked for, or noise of the field or of the inversion is not known.
    """
    method = INVERSIONS[subject.settings.inversion]
    noise_sd = method.load_noise()
    if noise_sd is None or subject.noise is None or not subject.settings.uncertainty:
        return None
    noise_ppm = noise_sd(
        hz_to_ppm(subject.noise.random_hz, subject.field_strength_t),
        left,
        voxel_size_mm=subject.voxel_size_mm,
        b0_direction=subject.b0_direction,
        settings=subject.scaled.inversion_settings,
    )
    return susceptibility_sd(chi_ppm, left, noise_ppm, voxel_size_mm=subject.voxel_size_mm)


def _reference_to_kind(
    chi_ppm: Tensor, mask: Tensor, r2star_per_s: Tensor | None, size_mm: Triple, kind: str
) -> Tensor:
    """Subtract the mean over the reference region of a ``kind``; zero outside the mask."""
    rate = None if r2star_per_s is None else r2star_per_s.cpu().numpy()
    found = reference_region(kind, mask.cpu().numpy(), rate, voxel_size_mm=size_mm)
    region = None if found is None else torch.from_numpy(found).to(mask.device)
    return reference_to(chi_ppm, mask, region)


def reference_to(chi_ppm: Tensor, mask: Tensor, region: Tensor | None) -> Tensor:
    """Subtract the mean over a reference region from chi; zero outside the mask.

    Args:
        chi_ppm: (x, y, z).
        mask: bool (x, y, z).
        region: bool (x, y, z) whose mean becomes zero, or None to subtract nothing.

    Raises:
        InputError: a region without a voxel in the mask.
    """
    level: Tensor | float = 0.0
    if region is not None:
        if not bool((region & mask).any()):
            raise InputError("reference region: expected some voxels in the mask, found none")
        level = chi_ppm[region & mask].mean()
    return torch.where(mask, chi_ppm - level, 0)


def _check_mask(mask: Tensor, grid: Grid) -> Tensor:
    """Return the mask if its type and shape fit the grid; raise InputError otherwise."""
    if mask.dtype != torch.bool or tuple(mask.shape) != grid.shape:
        raise InputError(
            f"mask: expected bool {grid.shape}, found {mask.dtype} {tuple(mask.shape)}"
        )
    return mask
