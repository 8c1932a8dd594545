import io

import matplotlib.image
import numpy as np
import pytest

from accelqsm.errors import InputError
from accelqsm.figures.canvas import DPI, WIDTH_INCHES
from accelqsm.figures.images import ProtocolImages, protocol_figure, zoom_figure
from accelqsm.figures.slices import View

SHAPE = (20, 24, 10)
REGIONS = {1: "Pu", 2: "Pu", 3: "RN"}


@pytest.fixture
def labels():
    volume = np.zeros(SHAPE, dtype=np.int16)
    volume[3:7, 8:16, 5:8] = 1
    volume[13:17, 8:16, 5:8] = 2
    volume[8:11, 9:12, 1:3] = 3
    return volume


def images(name="PI", chi_ppm=None):
    zero = np.zeros(SHAPE)
    return ProtocolImages(name, zero if chi_ppm is None else chi_ppm, np.ones(SHAPE), zero)


def pixels(figure):
    """The picture as gray values, and the box (rows, columns) of pure white image content."""
    return matplotlib.image.imread(io.BytesIO(figure.png))[..., :3]


def marked(figure, reference):
    """Where the picture differs from ``reference``: first and last row and column."""
    difference = np.abs(pixels(figure) - pixels(reference)).max(axis=2) > 0.2
    rows, columns = np.flatnonzero(difference.any(1)), np.flatnonzero(difference.any(0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


@pytest.mark.parametrize("radiological", [True, False])
def test_right_and_anterior_stand_where_the_marks_say(radiological):
    chi_ppm = np.zeros(SHAPE)
    chi_ppm[16:18, 20:22, 5] = 0.2
    options = {
        "voxel_size_mm": (1.0, 1.0, 2.0),
        "view": View(slice_index=5, radiological=radiological),
    }
    plain = protocol_figure([images()], **options)
    top, bottom, left, right = marked(protocol_figure([images(chi_ppm=chi_ppm)], **options), plain)
    # One column of 3.2 inches that begins 0.3 inches from the left; three rows of equal height.
    column = ((left + right) / 2 / DPI - 0.3) / 3.2 * 20
    height = 3.2 * 24 / 20
    row = 24 - ((top + bottom) / 2 / DPI - 0.3 - 2 * (height + 0.04)) / height * 24
    assert column == pytest.approx(3 if radiological else 17, abs=0.1)
    assert row == pytest.approx(21, abs=0.1)
    assert f"on the {'left' if radiological else 'right'} of" in plain.caption


def test_voxels_keep_their_proportions():
    chi_ppm = np.zeros(SHAPE)
    chi_ppm[8:12, 8:12, 5] = 0.2
    for size in [(1.0, 1.0, 2.0), (0.8, 1.6, 2.0)]:
        options = {"voxel_size_mm": size, "view": View(slice_index=5)}
        top, bottom, left, right = marked(
            protocol_figure([images(chi_ppm=chi_ppm)], **options),
            protocol_figure([images()], **options),
        )
        assert (bottom - top) / (right - left) == pytest.approx(size[1] / size[0], rel=0.03)


def test_four_protocols_share_a_window_and_fill_the_page():
    chi_ppm = np.full(SHAPE, 0.05)
    figure = protocol_figure(
        [images(name, chi_ppm) for name in ("PI", "AF 3", "AF 4", "AF 5")],
        voxel_size_mm=(1.0, 1.0, 1.0),
        view=View(slice_index=5),
    )
    picture = pixels(figure)
    assert picture.shape[1] == WIDTH_INCHES * DPI
    height = picture.shape[0]
    bottom_row = picture[int(height * 0.8)]
    # 50 ppb in the window -100 to 200 is mid-gray, in every column.
    assert (np.abs(bottom_row - 0.5).max(axis=1) < 0.01).mean() > 0.8
    assert "PI, AF 3, AF 4, AF 5" in figure.alt
    assert "-100 to 200 ppb" in figure.alt


def test_default_slice_goes_through_most_of_the_nuclei(labels):
    figure = protocol_figure([images()], voxel_size_mm=(1.0, 1.0, 1.0), labels=labels)
    assert "slice 6 of 10" in figure.caption


def test_outside_of_the_mask_is_black():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[6:14, 6:18] = True
    picture = pixels(
        protocol_figure(
            [images()], voxel_size_mm=(1.0, 1.0, 1.0), mask=mask, view=View(slice_index=5)
        )
    )
    corner = picture[-15, int(0.35 * DPI)]
    np.testing.assert_allclose(corner, 0, atol=0.01)


def test_truth_without_magnitude_and_phase_has_empty_panels():
    truth = ProtocolImages("truth", np.zeros(SHAPE))
    picture = pixels(
        protocol_figure([truth, images()], voxel_size_mm=(1.0, 1.0, 1.0), view=View(slice_index=5))
    )
    height = int(3.2 * 24 / 20 * DPI)
    first_column = slice(int(0.5 * DPI), int(3.3 * DPI))
    assert (picture[int(0.35 * DPI) : height, first_column] == 1).all()
    assert (picture[-height + 20 : -20, first_column] < 0.5).mean() > 0.9


def test_zoom_draws_each_view_once_per_protocol(labels):
    maps = {"PI": np.zeros(SHAPE), "AF 4": np.zeros(SHAPE)}
    figure = zoom_figure(
        maps, labels, REGIONS, voxel_size_mm=(1.0, 1.0, 1.0), view=View(margin_mm=2.0)
    )
    assert "(Pu, RN)" in figure.caption
    assert "basal ganglia and midbrain" in figure.alt
    one_view = zoom_figure(
        maps, labels, REGIONS, voxel_size_mm=(1.0, 1.0, 1.0), view=View(margin_mm=2.0),
        views={"Midbrain": ("RN",), "Elsewhere": ("STN",)},
    )  # fmt: skip
    assert "(RN)" in one_view.caption
    assert pixels(one_view).shape[0] < pixels(figure).shape[0]


def test_outline_surrounds_the_label(labels):
    maps = {"PI": np.zeros(SHAPE)}
    view = {"Midbrain": ("RN",)}
    picture = pixels(
        zoom_figure(
            maps,
            labels,
            REGIONS,
            voxel_size_mm=(1.0, 1.0, 1.0),
            view=View(margin_mm=3.0),
            views=view,
        )
    )
    coloured = np.ptp(picture, axis=2) > 0.3
    coloured[: int(1.2 * DPI)] = False
    rows, columns = np.nonzero(coloured)
    # The cut is 9 x 9 voxels in 3.2 inches: the label fills the middle third, 160 pixels.
    assert np.ptp(columns) == pytest.approx(160, abs=6)
    assert (columns.min() + columns.max()) / 2 == pytest.approx((0.3 + 1.6) * DPI, abs=3)
    assert (rows.max() - 0.3 * DPI) / (3.2 * DPI) == pytest.approx(2 / 3, abs=0.02)


def test_equal_input_gives_equal_bytes_and_names_are_not_formulas(labels):
    def draw():
        return protocol_figure(
            [images("cost $5_$ & <b>")], voxel_size_mm=(1.0, 1.0, 1.0), labels=labels
        )

    assert draw().png == draw().png


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: protocol_figure([], voxel_size_mm=(1.0, 1.0, 1.0)), "at least one protocol"),
        (
            lambda: protocol_figure(
                [images()], voxel_size_mm=(1.0, 1.0, 1.0), view=View(slice_index=10)
            ),
            "slice: expected an index from 0 to 9, found 10",
        ),
        (
            lambda: protocol_figure(
                [images()], voxel_size_mm=(1.0, 1.0, 1.0), mask=np.ones((2, 2, 2))
            ),
            "mask: expected the shape",
        ),
        (
            lambda: zoom_figure(
                {"PI": np.zeros(SHAPE)}, np.zeros(SHAPE, int), REGIONS,
                voxel_size_mm=(1.0, 1.0, 1.0),
            ),
            "labels: expected voxels of Basal ganglia, Midbrain, found none",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(call, message):
    with pytest.raises(InputError, match=message):
        call()
