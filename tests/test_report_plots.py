import io

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from accelqsm.errors import InputError
from accelqsm.figures.canvas import DPI
from accelqsm.figures.plots import _marker_style, bland_altman_figure, scatter_figure
from accelqsm.figures.sampling import sampling_figure


@pytest.fixture
def values():
    generator = np.random.default_rng(2)
    rows = [
        (f"{s:02d}", protocol, region, base + 3 * s + generator.normal(0, 2))
        for s in range(12)
        for protocol in ("PI", "AF 3", "AF 5")
        for region, base in (("RN", 60.0), ("Pu", 30.0))
    ]
    return pd.DataFrame(rows, columns=["subject", "protocol", "region", "value_ppb"])


@pytest.fixture
def agreement():
    rows = [
        {"region": region, "protocol": protocol, "n": 12, "pearson_r": 0.987,
         "bias": 1.25, "bias_ci_lower": 0.5, "bias_ci_upper": 2.0,
         "loa_lower": -4.5, "loa_lower_ci_lower": -6.0, "loa_lower_ci_upper": -3.0,
         "loa_upper": 7.0, "loa_upper_ci_lower": 5.5, "loa_upper_ci_upper": 8.5}
        for region in ("RN", "Pu", "all") for protocol in ("AF 3", "AF 5")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_words_name_no_limits_where_there_are_none(values, agreement):
    one = values[values["subject"] == "00"]
    limits = [name for name in agreement if name.startswith("loa")]
    alone = agreement.assign(**dict.fromkeys(limits, np.nan))
    figure = bland_altman_figure(one, alone, reference="PI")
    assert "nan" not in figure.alt
    assert "AF 3 bias 1.2, no limits from so few points" in figure.alt
    empty = values.assign(value_ppb=values["value_ppb"].where(values["region"] == "Pu"))
    unknown = alone.assign(bias=np.nan)
    bland_altman_figure(empty, unknown, reference="PI", regions=["RN", "Pu"])


def test_many_regions_look_different():
    looks = {_marker_style(i) for i in range(49)}
    assert len({(marker, colour) for marker, colour, _ in looks}) == 49


def pixels(figure):
    return matplotlib.image.imread(io.BytesIO(figure.png))[..., :3]


def test_words_give_the_numbers_of_the_table(values, agreement):
    pooled = bland_altman_figure(values, agreement, reference="PI")
    assert "AF 3 bias 1.2, limits -4.5 to 7.0 ppb; AF 5 bias" in pooled.alt
    single = bland_altman_figure(values, agreement, reference="PI", regions=["Pu"])
    assert "AF 5 Pu bias 1.2" in single.alt
    assert "AF 3 r = 0.987" in scatter_figure(values, agreement, reference="PI").alt


def test_interval_of_a_limit_is_shaded_where_the_table_says(values, agreement):
    narrow = agreement.assign(loa_upper_ci_lower=6.99, loa_upper_ci_upper=7.01)
    one, two = (
        pixels(bland_altman_figure(values, table, reference="PI")) for table in (agreement, narrow)
    )
    rows = np.flatnonzero((np.abs(one - two).max(axis=2) > 0.02).any(axis=1))
    wide = values.pivot(index=["region", "subject"], columns="protocol", values="value_ppb")
    difference = wide[["AF 3", "AF 5"]].sub(wide["PI"], axis=0).abs().to_numpy().max()
    limit = 1.25 * max(difference, 7.0)
    # The axes are 2.6 inches high and begin 0.35 inches below the top.
    expected = [DPI * (0.35 + 2.6 * (limit - y) / (2 * limit)) for y in (8.5, 5.5)]
    assert (rows.min(), rows.max()) == pytest.approx(expected, abs=2)


def test_each_region_is_a_row(values, agreement):
    one = pixels(bland_altman_figure(values, agreement, reference="PI", regions=["Pu"]))
    two = pixels(bland_altman_figure(values, agreement, reference="PI", regions=["Pu", "RN"]))
    assert two.shape[1] == one.shape[1]
    assert two.shape[0] - one.shape[0] > 0


def test_undefined_limits_and_missing_values_are_left_out(values, agreement):
    undefined = agreement.assign(**{c: np.nan for c in agreement.columns if "loa" in c})
    holes = values.assign(value_ppb=values.value_ppb.where(values.subject != "03"))
    figure = bland_altman_figure(holes, undefined, reference="PI")
    assert figure.png.startswith(b"\x89PNG")
    empty = values.assign(value_ppb=values.value_ppb.where(values.protocol == "PI"))
    assert scatter_figure(empty, agreement, reference="PI").png.startswith(b"\x89PNG")


def test_acceleration_is_counted_from_the_pattern():
    regular = np.zeros((40, 16), dtype=bool)
    regular[::2] = True
    sparse = np.zeros((40, 16), dtype=bool)
    sparse[::4, ::2] = True
    figure = sampling_figure({"PI": regular, "AF 8": sparse.astype(np.uint8)})
    assert "PI 2.00, AF 8 8.00" in figure.alt
    assert sampling_figure({"PI": regular}).png.startswith(b"\x89PNG")


def test_each_sample_is_a_whole_number_of_pixels():
    pattern = np.zeros((280, 96), dtype=bool)
    pattern[::2] = True
    picture = pixels(sampling_figure({"PI": pattern, "AF": pattern}))
    line = picture[picture.shape[0] // 2, :, 0] < 0.5
    runs = np.diff(np.flatnonzero(np.diff(line.astype(int))))
    # Stripes of one sample: all of one width, apart from axes and letters.
    width = np.bincount(runs).argmax()
    assert (runs == width).sum() > 500


def test_bad_input_is_one_line(values, agreement):
    with pytest.raises(InputError, match="reference: expected one of PI, AF 3, AF 5, found 'full'"):
        bland_altman_figure(values, agreement, reference="full")
    with pytest.raises(InputError, match=r"region: expected one of .* found 'STN'"):
        scatter_figure(values, agreement, reference="PI", regions=["STN"])
    with pytest.raises(InputError, match=r"agreement table: .* all AF 3, found 0"):
        scatter_figure(values, agreement[agreement.region != "all"], reference="PI")
    with pytest.raises(InputError, match=r"sampling pattern AF: .*"):
        sampling_figure({"AF": np.zeros((4, 4))})
    with pytest.raises(InputError, match="sampling patterns: expected at least one"):
        sampling_figure({})


def test_a_subject_is_ringed_on_request_and_named_in_the_caption(values, agreement):
    for draw in (bland_altman_figure, scatter_figure):
        plain = draw(values, agreement, reference="PI")
        ringed = draw(values, agreement, reference="PI", highlight="03")
        assert "Ringed" not in plain.caption
        assert ringed.caption.endswith("Ringed: 03.")
        changed = (pixels(plain) != pixels(ringed)).any(axis=2)
        assert 0 < changed.mean() < 0.05
