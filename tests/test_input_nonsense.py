"""Numbers that no scan has: refused in one line, and no map that is not finite or not physical."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from accelqsm.errors import InputError
from accelqsm.files.megre.echoes import Echoes, echoes_of_arrays
from accelqsm.files.mrd.reader import read_mrd
from accelqsm.options.setting import Settings
from accelqsm.pipeline.images import susceptibility
from accelqsm.qsm.background.settings import DipoleFitSettings, VsharpSettings
from accelqsm.qsm.inversion.settings import L1Settings
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.settings import ReconSettings
from accelqsm.results.echoes import EchoImages, Reconstruction
from accelqsm.results.maps import SusceptibilityMaps
from object_phantom import FIELD_T, phantom
from raw_object import header, lines, save, spectrum

pytestmark = pytest.mark.filterwarnings("ignore::accelqsm.errors.InputWarning")
MADE = phantom((0.004, 0.009, 0.014), n_voxels=20)
IMAGES = np.moveaxis(MADE.echoes.numpy(), 0, -1)


def scan(
    magnitude: np.ndarray | None = None,
    *,
    times_s: tuple[float, ...] = MADE.echo_times_s,
    field_t: float = FIELD_T,
    larger: float = 1.0,
) -> Echoes:
    affine = np.array(MADE.grid.affine)
    affine[:3, :3] *= larger
    values = np.abs(IMAGES) if magnitude is None else magnitude
    return echoes_of_arrays(
        nibabel.Nifti1Image(values, affine),
        nibabel.Nifti1Image(np.angle(IMAGES), affine),
        echo_times_s=times_s,
        field_strength_t=field_t,
    )


def mapped(images: Echoes, **settings: Settings | float | str) -> SusceptibilityMaps:
    return susceptibility(images, mask=MADE.brain, settings=QsmSettings(**settings))


@pytest.mark.parametrize("echo", [0, 1, 2])
@pytest.mark.parametrize("factor", [1e4, 1e6, 1e12, 1e30, 1e-4, 1e-6, 1e-12, 1e-30])
def test_an_echo_of_another_scale_is_refused(echo: int, factor: float) -> None:
    magnitude = np.abs(IMAGES)
    magnitude[..., echo] *= factor
    with pytest.raises(InputError, match=r"^magnitude: expected a mean magnitude of echo \d like"):
        scan(magnitude)


@pytest.mark.parametrize("value", [1e8, 1e20, 3e38])
@pytest.mark.parametrize("echo", [0, 2])
def test_a_damaged_voxel_is_refused(value: float, echo: int) -> None:
    magnitude = np.abs(IMAGES)
    magnitude[9, 10, 11, echo] = value
    with pytest.raises(InputError, match=r"^magnitude: expected .*, found [^\n]*$"):
        scan(magnitude)


@pytest.mark.parametrize("field_t", [1e-300, 1e-9, 0.0, -3.0, np.nan, np.inf, 1e300])
def test_a_field_that_no_magnet_has_is_refused(field_t: float) -> None:
    with pytest.raises(InputError, match="field strength: expected a value in tesla"):
        scan(field_t=field_t)


@pytest.mark.parametrize("larger", [500.0, 1e-6])
def test_voxels_that_no_scanner_has_are_refused(larger: float) -> None:
    with pytest.raises(InputError, match="voxel size"):
        scan(larger=larger)


def test_a_susceptibility_that_nothing_has_is_refused() -> None:
    times_s = (0.004, 0.00402, 0.00404)
    with pytest.raises(InputError, match=r"^phase: expected a susceptibility within 20 ppm, found"):
        mapped(scan(times_s=times_s))


@pytest.mark.parametrize(
    "settings",
    [
        *({"inversion_settings": L1Settings(regularisation=v)} for v in (1e-8, 10.0)),
        *({"inversion_settings": L1Settings(tolerance=v)} for v in (0.0, 0.999)),
        {"inversion_settings": L1Settings(n_iterations=1)},
        {"background_settings": DipoleFitSettings(n_coarse=0, n_fine=1)},
        *(
            {"background": "vsharp", "background_settings": VsharpSettings(threshold=v)}
            for v in (1e-3, 1.0)
        ),
        *({"least_coherence": v} for v in (0.0, 1.0)),
        *({"length_scale": v} for v in (1e-3, 10.0)),
    ],
    ids=str,
)
def test_the_ends_of_every_range_give_a_map(settings: dict[str, Settings | float | str]) -> None:
    found = mapped(scan(), **settings)
    assert np.isfinite(found.chi_ppm).all()
    assert found.chi_ppm[found.mask].std() > 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("chi_ppm", value) for value in (np.nan, np.inf, 21.0, -21.0)],
        *[(name, np.inf) for name in ("field_hz", "field_sd_hz", "local_field_hz", "magnitude")],
        ("r2star_per_s", np.nan),
    ],
)
def test_no_folder_holds_what_is_not_finite_or_not_physical(
    tmp_path: Path, name: str, value: float
) -> None:
    maps = mapped(scan())
    spoilt = getattr(maps, name).copy()
    spoilt[10, 10, 10] = value
    with pytest.raises(InputError, match=r"^maps: .*expected .*, found [^\n]*$"):
        replace(maps, **{name: spoilt}).save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_folder_holds_echoes_that_are_not_finite(tmp_path: Path) -> None:
    values = np.ones((2, *MADE.grid.shape), np.float32)
    spoilt = values.copy()
    spoilt[1, 2, 3, 4] = np.nan
    for echoes in (EchoImages(values, spoilt), EchoImages(spoilt, values)):
        with pytest.raises(InputError, match=r"^echoes: .*: expected finite values, found 1 NaN"):
            Reconstruction(echoes, MADE.grid, ReconSettings("zero-filled"), {}).save(tmp_path / "o")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("value", [1e6, 1e20, 3e38])
def test_samples_with_flipped_bits_are_refused(tmp_path: Path, value: float) -> None:
    """Where k-space has little signal, and where it has most."""
    for place in ((1, 0, 12, 1, 1), (1, 1, 12, 10, 8)):
        values = spectrum()
        values[place] = value
        path = save(tmp_path / "scan.h5", header(), lines(values))
        with pytest.raises(InputError, match=r"^.*scan.h5: .*expected .*, found [^\n]*$"):
            read_mrd(path)


def test_an_echo_of_other_gain_is_refused(tmp_path: Path) -> None:
    values = spectrum()
    values[:, 1] *= 1e6
    path = save(tmp_path / "scan.h5", header(), lines(values))
    with pytest.raises(InputError, match="largest sample of echo 2 like that of echo 1"):
        read_mrd(path)
