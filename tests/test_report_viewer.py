"""What goes into the viewer: a script verified by checksum, volumes that stay where they were."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
from importlib import resources
from pathlib import Path

import matplotlib.image
import nibabel
import numpy as np
import pandas as pd
import pytest

from accelqsm.errors import InputError
from accelqsm.figures.ages import age_figure
from accelqsm.figures.extreme import difference_figure
from accelqsm.figures.figure import Figure
from accelqsm.figures.nuclei import nuclei_figure, still_figure
from accelqsm.figures.slices import region_colours, views_of
from accelqsm.files.compact import compact_nifti
from accelqsm.grid import cut_grid
from accelqsm.reports.page.bundle import read_bundle, viewer_bundle
from accelqsm.reports.page.content import Viewer, ViewerMap
from accelqsm.reports.page.viewer import own_script, script_policy, viewer_context
from report_study import GRID, LOOKUP, SHAPE, chi_map, head_labels

REGIONS = {value: name.split()[1] for value, name in LOOKUP.items()}
SIZE = GRID.voxel_size_mm


def picture(figure: Figure) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(figure.png))[..., :3]


def where_tinted(figure: Figure, colour: str) -> np.ndarray:
    """Columns, as shares of the width, of the pixels that a colour tints."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    own = picture(figure) - picture(figure).mean(axis=2, keepdims=True)
    tint = rgb - rgb.mean()
    length = np.linalg.norm(own, axis=2)
    alike = (own @ tint > 0.98 * length * np.linalg.norm(tint)) & (length > 0.1)
    return np.nonzero(alike)[1] / alike.shape[1]


def test_packed_script_is_the_published_one() -> None:
    bundle = viewer_bundle()
    script = gzip.decompress(bundle.packed)
    assert hashlib.sha256(script).hexdigest() == bundle.sha256
    # dist/niivue.umd.js of the npm package @niivue/niivue 0.69.0.
    assert bundle.sha256 == "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
    licences = resources.files("accelqsm.reports.page").joinpath("vendor/LICENSES.txt").read_text()
    assert "BSD 2-Clause License" in licences
    assert "Copyright (c) 2021, Niivue" in licences


@pytest.mark.parametrize("harm", ["bit", "absent"])
def test_damaged_script_is_refused_by_name(harm: str, tmp_path: Path) -> None:
    with resources.as_file(resources.files("accelqsm.reports.page").joinpath("vendor")) as vendor:
        shutil.copytree(vendor, tmp_path / "vendor")
    script = next((tmp_path / "vendor").glob("*.gz"))
    if harm == "absent":
        script.unlink()
        expected = "no such file"
    else:
        content = bytearray(script.read_bytes())
        content[5000] ^= 1
        script.write_bytes(content)
        expected = "expected SHA-256 43cc93c8"
    with pytest.raises(InputError, match=rf"{script.name}: {expected}") as refusal:
        read_bundle(tmp_path / "vendor")
    assert "\n" not in str(refusal.value)


def test_policy_names_both_scripts_and_no_others() -> None:
    sources = script_policy().split()
    assert len(sources) == 2
    assert all(source.startswith("'sha256-") for source in sources)
    assert "</" not in own_script()  # it stands in a script element as it is


def test_compact_volume_keeps_values_and_places() -> None:
    chi_ppb = 1000 * chi_map().astype(np.float64)
    box = (slice(7, 33), slice(10, 34), slice(3, 21))
    packed = compact_nifti(chi_ppb[box], cut_grid(GRID, box), step=0.1)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(packed))
    values = np.asarray(image.dataobj)
    assert values.shape == (26, 24, 18)
    np.testing.assert_allclose(values, chi_ppb[box], atol=0.0501)
    assert np.abs(values - chi_ppb[box]).max() > 0.01  # it is rounded, not stored whole
    world = image.affine @ [3, 5, 2, 1]
    np.testing.assert_allclose(world, GRID.matrix @ [10, 15, 5, 1], atol=1e-5)
    assert compact_nifti(chi_ppb[box], cut_grid(GRID, box), step=0.1) == packed


def test_values_beyond_sixteen_bits_are_cut_not_wrapped() -> None:
    packed = compact_nifti(np.full(SHAPE, 1e6), GRID, step=0.1)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(packed))
    assert np.asarray(image.dataobj).min() == pytest.approx(3276.7)


def test_viewer_refuses_what_is_no_volume() -> None:
    still = Figure("t", "c", "words", b"")
    volume = compact_nifti(head_labels(), GRID)
    with pytest.raises(InputError, match="viewer: expected at least one map, found none"):
        viewer_context(Viewer("t", "c", still, {}, volume, REGIONS))
    with pytest.raises(InputError, match="viewer: PI: expected a compressed NIfTI"):
        viewer_context(Viewer("t", "c", still, {"PI": ViewerMap(b"no volume")}, volume, REGIONS))


@pytest.mark.parametrize("radiological", [True, False])
def test_nuclei_lie_on_the_side_that_the_marks_say(radiological: bool) -> None:
    labels = np.where(head_labels() > 2, 0, head_labels())
    regions = {1: "Ca", 2: "Pu"}  # left and right, told apart by their colours
    full = nuclei_figure(
        "PI", chi_map(), labels, regions, voxel_size_mm=SIZE, radiological=radiological
    )
    left, right = (where_tinted(full, region_colours(["Ca", "Pu"])[n]) for n in ("Ca", "Pu"))
    assert min(left.size, right.size) > 1000
    assert (np.median(right) < np.median(left)) == radiological
    assert "Pu" in full.alt
    assert "Ca" in full.alt
    assert f"on the {'left' if radiological else 'right'} of" in full.caption


def test_still_picture_shows_three_planes() -> None:
    labels = np.where(head_labels() == 1, 1, 0)  # the left putamen, on the right of the picture
    figure = still_figure("PI", chi_map(), labels, {1: "Pu"}, voxel_size_mm=SIZE, at=(12, 24, 15))
    shares = where_tinted(figure, region_colours(["Pu"])["Pu"])
    thirds = np.histogram(shares, bins=[0.0, 0.33, 0.63, 1.0])[0]
    assert (thirds > 100).all()
    # Planes of 80, 80 and 88 mm, 2.6 inches high in all: the axial one is 80 / 88 * 2.6 inches wide
    # and begins at 0.1 of 10; voxels 10 to 15 of 40 are mirrored.
    axial = shares[shares < 0.33]
    width = 80 / 88 * 2.6
    assert axial.min() == pytest.approx((0.1 + width * 25 / 40) / 10, abs=0.002)
    assert axial.max() == pytest.approx((0.1 + width * 30 / 40) / 10, abs=0.002)


def test_nuclei_need_labels_on_their_map() -> None:
    with pytest.raises(InputError, match="labels: expected the shape"):
        nuclei_figure("PI", chi_map(), head_labels()[1:], REGIONS, voxel_size_mm=SIZE)
    with pytest.raises(InputError, match="expected labelled voxels, found none"):
        nuclei_figure("PI", chi_map(), 0 * head_labels(), REGIONS, voxel_size_mm=SIZE)


def test_nuclei_of_any_name_get_a_view() -> None:
    assert views_of(["Dentate", "RN", "Pu"]) == {
        "Basal ganglia": ("Pu",),
        "Midbrain": ("RN",),
        "Other nuclei": ("Dentate",),
    }


def test_differences_are_orange_where_higher_and_purple_where_lower() -> None:
    higher, lower = chi_map().copy(), chi_map().copy()
    nucleus = head_labels() == 2
    higher[nucleus] += 0.05
    lower[nucleus] -= 0.05
    options = {"reference": "PI", "at": [2], "voxel_size_mm": SIZE}
    pixels = []
    for changed in (higher, lower):
        figure = difference_figure(
            {"PI": chi_map(), "AF3": changed}, head_labels(), REGIONS, **options
        )
        image = picture(figure)[:, : int(0.25 * picture(figure).shape[1])]
        strong = image[np.ptp(image, axis=2) > 0.35]
        pixels.append(strong.mean(axis=0))
    assert pixels[0][0] > pixels[0][2]
    assert pixels[1][2] > pixels[1][0]
    with pytest.raises(InputError, match="expected maps of 'PI' and another"):
        difference_figure({"PI": higher}, head_labels(), REGIONS, **options)


def test_age_lines_take_their_slope_from_the_table() -> None:
    values = pd.DataFrame(
        {
            "subject": ["a", "b", "c"] * 2,
            "protocol": ["PI"] * 3 + ["AF3"] * 3,
            "region": "Pu",
            "value_ppb": [10.0, 20.0, 30.0, 11.0, 21.0, 31.0],
        }
    )
    ages = {"a": 20.0, "b": 40.0, "c": 60.0}
    rows = [("Pu", "PI", 0.91, 0.5), ("Pu", "AF3", 0.92, 0.5)]
    table = pd.DataFrame(rows, columns=["region", "protocol", "r", "slope_ppb_per_year"])
    figure = age_figure(values, ages, table)
    assert "Pu PI 0.91, AF3 0.92" in figure.alt
    flat = age_figure(values, ages, table.assign(slope_ppb_per_year=0.0))
    assert flat.png != figure.png
    with pytest.raises(InputError, match="expected subjects with age and values, found none"):
        age_figure(values, {}, table)
    with pytest.raises(InputError, match="expected one row for Pu AF3, found 0"):
        age_figure(values, ages, table[:1])
