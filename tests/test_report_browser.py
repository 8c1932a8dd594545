"""The report in a real browser: it asks for nothing, shows the maps, and needs no mouse."""

from __future__ import annotations

import base64
import gzip
import io
import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from accelqsm.errors import InputWarning
from accelqsm.reports.rebuild import rebuild_report
from browser import Page, browser, executable
from report_study import write_comparison, write_study

pytestmark = pytest.mark.skipif(executable() is None, reason="needs chromium")

STATE = "document.getElementById('viewer-box').dataset.state"
PLACE = "document.getElementById('viewer-place').textContent"
EVIL = "<script>window.hacked = 1</script><img src=x onerror=window.hacked=1>"
SKY_BLUE = (0x56, 0xB4, 0xE9)
TAB, ARROW_RIGHT = ("Tab", 9), ("ArrowRight", 39)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = write_study(tmp_path_factory.mktemp("study"), ["sub-01"])
    with pytest.warns(InputWarning, match="Sampling patterns"):  # there is no k-space to show
        return rebuild_report(out)


@pytest.fixture(scope="module")
def page(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(report.as_uri())
        opened.wait(STATE)
        yield opened


def pixels(png: bytes) -> np.ndarray:
    """A picture as whole numbers (row, column, colour)."""
    return np.rint(255 * matplotlib.image.imread(io.BytesIO(png))[..., :3]).astype(int)


def canvas(page: Page) -> np.ndarray:
    """What the canvas shows once it has drawn."""
    page.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
    return pixels(page.picture("#viewer-canvas"))


def share_of(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    """Share of the pixels that are tinted like a nucleus: its colour over any gray."""
    tint = np.asarray(colour) - np.mean(colour)
    own = picture - picture.mean(axis=2, keepdims=True)
    length = np.linalg.norm(own, axis=2)
    alike = (own @ tint) / np.maximum(length * np.linalg.norm(tint), 1e-9)
    return float(((alike > 0.97) & (length > 20)).mean())


def drag(page: Page, name: str, value: int) -> None:
    """Set a slider, and tell the page as a hand or a key would."""
    page.evaluate(
        f"(s => {{ s.value = '{value}'; s.dispatchEvent(new Event('input')); }})"
        f"(document.getElementById('{name}'))"
    )


def test_no_request_leaves_the_file(page: Page, report: Path) -> None:
    assert page.evaluate(STATE) == "ready"
    others = [url for url in page.requests if not url.startswith("data:")]
    assert others == [report.as_uri()]
    assert page.errors == []


def test_the_watch_on_requests_can_see_one(tmp_path: Path) -> None:
    leaky = tmp_path / "leaky.html"
    leaky.write_text("<!doctype html><img alt='' src='http://127.0.0.1:9/pixel.png'>")
    with browser(tmp_path / "profile") as opened:
        opened.open(leaky.as_uri())
        assert "http://127.0.0.1:9/pixel.png" in opened.requests
        assert opened.errors


def test_canvas_shows_map_and_nuclei(page: Page) -> None:
    drag(page, "viewer-opacity", 60)
    picture = canvas(page)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    assert share_of(picture, SKY_BLUE) > 0.01
    drag(page, "viewer-opacity", 0)
    bare = canvas(page)
    assert share_of(bare, SKY_BLUE) < 0.001
    gray = np.ptp(bare, axis=2) < 12
    assert gray[bare.max(axis=2) > 60].mean() > 0.8
    drag(page, "viewer-opacity", 60)


def test_sliders_move_the_cross_and_say_the_value_there(page: Page) -> None:
    # In the middle of the left putamen: voxel 12 of 40, 24 of 44, 15 of 24 before the cut.
    labels_box = [(10 - 5, 30 + 5), (14 - 5, 30 + 5), (6 - 5, 18 + 5)]
    for axis, voxel, (start, stop) in zip("xyz", (12, 24, 15), labels_box, strict=True):
        drag(page, f"viewer-{axis}", round(1000 * (voxel + 0.5 - start) / (stop - start)))
    assert page.evaluate(PLACE).startswith("60 ppb, L Pu (-16, 4, 6 mm)")
    drag(page, "viewer-x", round(1000 * (27.5 - 5) / 30))
    assert "R Pu" in page.evaluate(PLACE)


def test_another_map_shows_its_own_values_at_the_same_place(page: Page) -> None:
    for axis, share in zip("xyz", (250, 596, 636), strict=True):
        drag(page, f"viewer-{axis}", share)
    said = {}
    names = page.evaluate("Array.from(document.getElementsByName('viewer-map'),"
                          " r => r.parentElement.textContent.trim())")  # fmt: skip
    for index, name in enumerate(names):
        page.evaluate(f"document.getElementsByName('viewer-map')[{index}].click()")
        said[name] = page.evaluate(PLACE).split(" ppb, L Pu")[0]
    here = {name: value.partition(",")[0] for name, value in said.items()}
    assert here == {
        "PI": "60", "AF3": "58", "AF5": "48", "truth": "63", "AF3 − PI": "-2", "AF5 − PI": "-12",
        "PI magnitude": "255", "AF3 magnitude": "255", "AF5 magnitude": "255",
    }  # fmt: skip
    page.evaluate("document.getElementsByName('viewer-map')[0].click()")


def test_everything_can_be_done_with_keys(page: Page) -> None:
    page.evaluate("(b => { b.tabIndex = -1; b.focus(); b.removeAttribute('tabindex'); })"
                  "(document.body)")  # fmt: skip
    page.press(*TAB)
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(60):
        page.press(*TAB)
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.name"))
    sliders = {f"viewer-{name}" for name in ("opacity", "x", "y", "z")}
    assert sliders | {"viewer-map", "viewer-canvas"} <= reached
    page.evaluate("document.getElementsByName('viewer-map')[0].focus()")
    page.press(*ARROW_RIGHT)
    assert page.evaluate("document.getElementsByName('viewer-map')[1].checked")
    page.evaluate("document.getElementById('viewer-z').focus()")
    before = page.evaluate("document.getElementById('viewer-z').value")
    page.press(*ARROW_RIGHT)
    assert page.evaluate("document.getElementById('viewer-z').value") != before


def test_every_picture_is_there_and_has_words(page: Page) -> None:
    found = page.evaluate(
        "Array.from(document.images, i => [i.alt.trim().length, i.naturalWidth, i.id])"
    )
    assert len(found) >= 7
    assert all(words > 20 and width > 300 for words, width, _ in found)
    figures = page.evaluate("document.querySelectorAll('figure').length")
    assert figures == page.evaluate("document.querySelectorAll('figure img[alt]').length")
    assert "Pu, RN" in page.evaluate("document.querySelector('canvas').ariaLabel")


def test_paper_gets_the_still_picture(page: Page) -> None:
    shown = "getComputedStyle(document.getElementById('{}')).{}"
    assert page.evaluate(shown.format("viewer-static", "visibility")) == "hidden"
    assert page.evaluate(shown.format("viewer-canvas", "visibility")) == "visible"
    page.send("Emulation.setEmulatedMedia", media="print")
    try:
        assert page.evaluate(shown.format("viewer-static", "visibility")) == "visible"
        for gone in ("viewer-canvas", "viewer-box"):
            assert page.evaluate(shown.format(gone, "display")) == "none"
    finally:
        page.send("Emulation.setEmulatedMedia", media="")


def test_the_window_is_set_by_its_numbers(page: Page) -> None:
    drag(page, "viewer-opacity", 0)
    wide = canvas(page)
    drag(page, "viewer-high", 50)
    assert canvas(page).mean() > wide.mean() + 5
    page.evaluate("document.getElementById('viewer-reset').click()")
    assert page.evaluate("document.getElementById('viewer-high').value") == "200"
    np.testing.assert_array_equal(canvas(page), wide)
    drag(page, "viewer-opacity", 60)


def test_a_lost_context_brings_the_still_picture_back(report: Path, tmp_path: Path) -> None:
    with browser(tmp_path) as opened:
        opened.open(report.as_uri())
        opened.wait(STATE)
        opened.evaluate(
            "document.getElementById('viewer-canvas').getContext('webgl2')"
            ".getExtension('WEBGL_lose_context').loseContext()"
        )
        opened.wait(f"{STATE} === 'static'")
        assert share_of(pixels(opened.picture("#viewer-static")), SKY_BLUE) > 0.01


def sized(page: Page, width: int) -> None:
    page.send(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
        mobile=False,
    )  # fmt: skip


def unfold(page: Page, unfolded: bool) -> None:
    folds = "document.querySelectorAll('details')"
    page.evaluate(f"{folds}.forEach(d => {{ d.open = {str(unfolded).lower()}; }})")


def test_the_page_is_four_screens_and_each_link_unfolds_its_part(page: Page) -> None:
    sized(page, 1400)
    folds = "Array.from(document.querySelectorAll('details'))"
    assert page.evaluate("document.documentElement.scrollHeight") <= 4 * 900
    assert page.evaluate(f"{folds}.length") >= 7
    assert not page.evaluate(f"{folds}.some(d => d.open)")
    names = page.evaluate(f"{folds}.map(d => d.querySelector('section').id)")
    for name in names:
        page.evaluate(f"document.querySelector('nav a[href=\"#{name}\"]').click()")
        page.wait(f"document.getElementById('{name}').parentElement.open", limit_s=5)


@pytest.mark.parametrize("width", [1400, 390])
def test_nothing_is_cut_and_wide_parts_scroll_in_themselves(page: Page, width: int) -> None:
    sized(page, width)
    unfold(page, True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = page.evaluate(
        "Array.from(document.querySelectorAll('main *')).filter(e => !e.closest('.scroll, .stage') "
        f"&& e.getBoundingClientRect().right > {width}).map(e => e.outerHTML.slice(0, 80))"
    )
    assert beyond == []
    scrolled = page.evaluate(
        "Array.from(document.querySelectorAll('.scroll'), e => e.scrollWidth > e.clientWidth)"
    )
    assert any(scrolled) == (width == 390)
    unfold(page, False)


def test_paper_holds_what_is_unfolded(page: Page) -> None:
    pages = {}
    for unfolded in (False, True):
        unfold(page, unfolded)
        printed = page.send("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        content = base64.b64decode(printed["data"])
        pages[unfolded] = len(re.findall(rb"/Type\s*/Page\b", content))
        (width, height) = map(
            float, re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", content)[0]
        )
        assert (width, height) == pytest.approx((595, 842), abs=1.5)
    page.evaluate("document.querySelector('details').open = false")
    page.send("Emulation.setEmulatedMedia", media="print")
    try:
        shown = page.evaluate(
            "Array.from(document.querySelectorAll('details'), d => d.checkVisibility())"
        )
        assert shown == [False, *[True] * (len(shown) - 1)]
    finally:
        page.send("Emulation.setEmulatedMedia", media="")
    assert pages[False] <= 3
    assert pages[True] > pages[False] + 3
    unfold(page, False)


def test_without_webgl_the_still_picture_stays(report: Path, tmp_path: Path) -> None:
    with browser(tmp_path, "--disable-3d-apis") as opened:
        opened.open(report.as_uri())
        opened.wait(STATE)
        assert opened.evaluate(STATE) == "static"
        assert opened.evaluate("document.getElementById('viewer-box').hidden")
        still = pixels(opened.picture("#viewer-static"))
        assert share_of(still, SKY_BLUE) > 0.01
        assert "no WebGL" in opened.evaluate("document.getElementById('viewer-status').innerText")


def test_browser_refuses_a_script_that_is_not_the_one_verified(
    report: Path, tmp_path: Path
) -> None:
    page = report.read_text(encoding="utf-8")
    intruder = base64.b64encode(gzip.compress(b"window.intruded = 1")).decode()
    other = re.sub(r'(id="viewer-script">)[^<]*', rf"\g<1>{intruder}", page)
    assert other != page
    changed = tmp_path / "changed.html"
    changed.write_text(other, encoding="utf-8")
    with browser(tmp_path / "profile") as opened:
        opened.open(changed.as_uri())
        opened.wait(STATE)
        assert opened.evaluate(STATE) == "static"
        assert opened.evaluate("typeof window.intruded") == "undefined"


def test_a_hostile_participant_does_nothing(tmp_path: Path) -> None:
    out = write_comparison(tmp_path, [EVIL, "sub-02", "sub-03", "sub-04"])
    with browser(tmp_path / "profile") as opened:
        opened.open(rebuild_report(out).as_uri())
        assert EVIL in opened.evaluate("document.body.textContent")
        assert opened.evaluate("typeof window.hacked") == "undefined"
        assert opened.evaluate("document.scripts.length") == 0
