import base64
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from accelqsm.errors import InputError
from accelqsm.figures.figure import Figure
from accelqsm.figures.sampling import sampling_figure
from accelqsm.reports.cells import Table
from accelqsm.reports.page.build import build_page
from accelqsm.reports.page.content import NO, YES, Answer, Line, ReportContent

EVIL = "<script>alert('&\"')</script>"
VOID = {"meta", "img", "link", "br"}


class Reader(HTMLParser):
    """Collects elements and text, and refuses elements that are not closed in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.text = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def report():
    pattern = np.zeros((16, 8), dtype=bool)
    pattern[::2] = True
    frame = pd.DataFrame(
        {
            "region": ["Pu", "Pu", "RN"],
            "side": ["L", "R", "L"],
            "mean_ppb": [30.84, -1.26, np.nan],
            "note": ["", "", EVIL],
        }
    )
    return ReportContent(
        title=f"sub-{EVIL}",
        subtitle=EVIL,
        answer=Answer(
            f"All nuclei agree. {EVIL}", YES, ["Protocol", "?", EVIL], [Line(EVIL, NO, [EVIL])],
            [EVIL],
        ),
        forest=replace(sampling_figure({"AF3": pattern}), caption=EVIL, title=EVIL, alt=EVIL),
        terms={EVIL: EVIL},
        summary=["All nuclei agree.", EVIL],
        cautions=[EVIL],
        figures=[replace(sampling_figure({EVIL: pattern}), caption=EVIL, title=EVIL)],
        tables=[
            Table("Nuclei", frame, EVIL, {"mean_ppb": "Mean (ppb)", "note": EVIL},
                  {"mean_ppb": ".1f"}),
        ],
        settings={EVIL: EVIL, "radii (mm)": (12.0, 11.0), "lambda": 2e-4},
        provenance={"seed": 7, EVIL: EVIL},
        methods=[EVIL],
        references=[EVIL],
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(report):
    return build_page(report)


def test_labels_of_users_never_become_markup(page):
    reader = Reader(page)
    assert "<script" not in page.lower()
    assert not reader.all("script")
    assert not [a for _, attributes in reader.elements for a in attributes if a.startswith("on")]
    joined = "".join(reader.text)
    assert joined.count(EVIL) >= 20
    assert all(image["alt"].count(EVIL) == 1 for image in reader.all("img"))


def test_nothing_is_loaded_from_elsewhere(page):
    reader = Reader(page)
    sources = [a[key] for _, a in reader.elements for key in ("src", "href") if key in a]
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert not re.search(r"url\(|@import|https?:", re.sub(r"base64,[^\"]*", "", page))
    policy = next(m["content"] for m in reader.all("meta") if "http-equiv" in m)
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


def test_pictures_travel_unchanged(report, page):
    source = Reader(page).all("img")[1]["src"].removeprefix("data:image/png;base64,")
    assert base64.b64decode(source) == report.figures[0].png


def test_summary_comes_before_figures_and_figures_before_tables(page):
    names = (
        "summary",
        "forest",
        "details",
        "figures",
        "tables",
        "methods",
        "settings",
        "provenance",
        "references",
    )
    order = [page.index(f'id="{name}"') for name in names]
    assert order == sorted(order)
    assert "not a medical device" in page


def test_numbers_are_rounded_and_gaps_named(page):
    cells = [text.strip() for text in Reader(page).text]
    assert "30.8" in cells
    assert "−1.3" in cells
    assert "n/a" in cells
    assert "12, 11" in cells
    assert "0.0002" in cells


def test_page_can_be_read_without_eyes_or_mouse(page):
    reader = Reader(page)
    assert all(image["alt"].strip() for image in reader.all("img"))
    assert all(header.get("scope") in {"col", "row"} for header in reader.all("th"))
    identifiers = [a["id"] for _, a in reader.elements if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    targets = {a["href"][1:] for a in reader.all("a")}
    labelled = {a["aria-labelledby"] for _, a in reader.elements if "aria-labelledby" in a}
    assert targets | labelled <= set(identifiers)
    assert all("tabindex" in a for _, a in reader.elements if a.get("role") == "region")
    assert reader.all("html")[0]["lang"] == "en"
    assert [tag for tag, _ in reader.elements if re.fullmatch("h[1-3]", tag)][:2] == ["h1", "h2"]


def test_shortest_report_is_a_whole_page():
    page = build_page(ReportContent(title="Empty", answer=Answer("Nothing was measured.")))
    reader = Reader(page)
    assert not reader.all("img")
    assert not reader.all("table")
    assert "Nothing was measured." in [text.strip() for text in reader.text]


def test_same_report_gives_the_same_bytes(report, page):
    assert build_page(report) == page


def test_bad_figures_are_one_line():
    figure = Figure("Maps", "caption", "words", b"JFIF")
    with pytest.raises(InputError, match="figure 'Maps': expected PNG bytes"):
        build_page(ReportContent(title="t", answer=Answer(""), figures=[figure]))
    blind = replace(figure, alt=" ", png=b"\x89PNG\r\n\x1a\n" + bytes(20))
    with pytest.raises(InputError, match="figure 'Maps': expected an alternative text"):
        build_page(ReportContent(title="t", answer=Answer(""), figures=[blind]))


def test_report_needs_neither_torch_nor_pyplot():
    code = (
        "import sys, accelqsm.reports.page.build, accelqsm.figures.images, accelqsm.figures.plots;"
        "print(sorted({'torch', 'matplotlib.pyplot', 'scipy.stats'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
