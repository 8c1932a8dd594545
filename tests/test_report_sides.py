"""Left and right in every picture: image, outline, fill and marks of one side are on one side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from accelqsm.figures import extreme, images, maps, nuclei, outlines
from accelqsm.figures.figure import Figure
from accelqsm.figures.slices import View

SHAPE = (24, 20, 12)
SIZE_MM = (1.0, 1.0, 1.0)
RIGHT = (slice(15, 19), slice(8, 12), slice(4, 8))
"""Of the object's nucleus; x grows to the patient's right."""

AT = (17, 10, 6)
CHI_PPM = np.zeros(SHAPE)
CHI_PPM[RIGHT] = 0.15
LABELS = np.zeros(SHAPE, dtype=np.int16)
LABELS[RIGHT] = 1
LABELS[10:13, 3:5, 4:8] = 2  # on the midline, so that views reach to both sides
REGIONS = {1: "Pu", 2: "Ca"}
EVERYWHERE = np.ones(SHAPE, dtype=bool)
PROTOCOLS = {"PI": np.zeros(SHAPE), "AF3": CHI_PPM}


def protocol(radiological: bool) -> Figure:
    return images.protocol_figure(
        [images.ProtocolImages("AF3", CHI_PPM, 1 + CHI_PPM, CHI_PPM)],
        voxel_size_mm=SIZE_MM,
        view=View(radiological=radiological, slice_index=6),
    )


def zoom(radiological: bool) -> Figure:
    view = View(radiological=radiological, margin_mm=30)
    views = {"Basal ganglia": ("Pu",)}
    return images.zoom_figure(
        {"AF3": CHI_PPM}, LABELS, REGIONS, voxel_size_mm=SIZE_MM, views=views, view=view
    )


def difference(radiological: bool) -> Figure:
    return extreme.difference_figure(
        PROTOCOLS, np.where(LABELS == 1, 1, 0), REGIONS, reference="PI", at=[1],
        voxel_size_mm=SIZE_MM, view=View(radiological=radiological, margin_mm=30),
    )  # fmt: skip


def of_nuclei(radiological: bool) -> Figure:
    return nuclei.nuclei_figure(
        "AF3", CHI_PPM, np.where(LABELS == 1, 1, 0), REGIONS, voxel_size_mm=SIZE_MM,
        margin_mm=30, radiological=radiological,
    )  # fmt: skip


def still(radiological: bool) -> Figure:
    return nuclei.still_figure(
        "AF3", CHI_PPM, np.where(LABELS == 1, 1, 0), REGIONS, voxel_size_mm=SIZE_MM, at=AT,
        radiological=radiological,
    )  # fmt: skip


def quality(_: bool) -> Figure:
    return outlines.outline_figure(
        CHI_PPM, 1 + CHI_PPM, {"Pu": (LABELS == 1).astype(float)}, voxel_size_mm=1.0
    )


def of_maps(_: bool) -> Figure:
    return maps.maps_figure(CHI_PPM, EVERYWHERE, voxel_size_mm=SIZE_MM)


def bright_side(axes: Axes) -> float:
    """Centre of the brightest pixels of the image, from 0 at the left of the axes to 1."""
    image = axes.get_images()[0]
    values = np.nan_to_num(np.asarray(image.get_array(), dtype=float))
    columns = np.nonzero(values == values.max())[1]
    left, right = image.get_extent()[:2]
    return to_share(axes, left + (columns.mean() + 0.5) / values.shape[1] * (right - left))


def to_share(axes: Axes, x: float) -> float:
    left, right = axes.get_xlim()
    return float((x - left) / (right - left))


def overlay_sides(axes: Axes) -> list[float]:
    """The same of filled and of outlined regions."""
    found = []
    for layer in axes.get_images()[1:]:
        columns = np.nonzero(np.asarray(layer.get_array())[..., 3])[1]
        if columns.size:
            found.append((columns.mean() + 0.5) / layer.get_array().shape[1])
    for lines in axes.collections:
        points = [path.vertices[:, 0] for path in lines.get_paths() if len(path.vertices)]
        if points:
            found.append(to_share(axes, float(np.concatenate(points).mean())))
    return found


def drawn(monkeypatch: pytest.MonkeyPatch, figure: Callable[[], Figure]) -> list[Axes]:
    """Axes with images of a figure, before it is rendered."""
    drawings: list[Drawing] = []
    for module in (extreme, images, maps, nuclei, outlines):
        monkeypatch.setattr(module, "to_png", lambda drawing: drawings.append(drawing) or b"")
    figure()
    (drawing,) = drawings
    return [axes for axes in drawing.axes if axes.get_images()]


@pytest.mark.parametrize("radiological", [True, False])
@pytest.mark.parametrize("figure", [protocol, zoom, difference, of_nuclei])
def test_the_letter_r_stands_where_the_right_nucleus_is(
    figure: Callable[[bool], Figure], radiological: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes_with_images = drawn(monkeypatch, lambda: figure(radiological))
    assert axes_with_images
    for axes in axes_with_images:
        at = {t.get_text(): t.get_position()[0] for t in axes.texts if t.get_text() in "RL"}
        assert (at["R"] < 0.5) == (at["L"] > 0.5) == radiological
        assert (bright_side(axes) < 0.5) == radiological


@pytest.mark.parametrize("radiological", [True, False])
@pytest.mark.parametrize("figure", [zoom, difference, of_nuclei, still, quality])
def test_outlines_and_fills_lie_on_what_they_outline(
    figure: Callable[[bool], Figure], radiological: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_overlays = 0
    for axes in drawn(monkeypatch, lambda: figure(radiological)):
        for side in overlay_sides(axes):
            assert side == pytest.approx(bright_side(axes), abs=0.03)
            n_overlays += 1
    assert n_overlays


@pytest.mark.parametrize(
    ("figure", "n_planes"),
    [(still, 2), (quality, 2), (of_maps, 2)],
    ids=["still", "quality", "maps"],
)
def test_pictures_of_three_planes_keep_to_one_side(
    figure: Callable[[bool], Figure], n_planes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Axial and coronal planes of those whose convention is fixed: the viewer's, or as stored."""
    planes = drawn(monkeypatch, lambda: figure(True))[:n_planes]
    assert [bright_side(axes) < 0.5 for axes in planes] == [figure is still] * n_planes
