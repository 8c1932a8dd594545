"""One statement of a setting serves Python, the command line and settings files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from accelqsm.errors import InputError
from accelqsm.options.arguments import add_settings, given_table
from accelqsm.options.registry import Choice, Registry, switched_on
from accelqsm.options.setting import CHOSEN, Settings, setting
from accelqsm.options.table import from_table, plain


@dataclass(frozen=True)
class FitSettings(Settings):
    """Of a fit."""

    order: int = setting(2, least=0, most=9, help="of the polynomial")
    robust: bool = setting(False, help="leave outliers out", said="outliers left out")


WAYS: Registry[Choice] = Registry(
    "way",
    [
        Choice("fit", "math:sqrt", "a fit of order {order}", ("a", "b"), FitSettings, ("fitted",)),
        Choice("mean", "math:exp", "a mean"),
    ],
)


@dataclass(frozen=True)
class Inner(Settings):
    """A record in a record."""

    size_mm: tuple[float, float] = setting((1.0, 2.0), above=0, unit="mm", help="of a box")


@dataclass(frozen=True)
class Everything(Settings):
    """Every kind of field."""

    way: str = setting("fit", registry=WAYS, help="how")
    weight: float = setting(0.5, above=0, below=1, help="of it", former=("share",))
    words: str = setting("new", choices=("new", "other"), aliases={"old": "new"}, help="word")
    names: tuple[str, ...] | None = setting(None, help="which")
    margins: Mapping[str, float] = setting({}, help="by name")
    way_settings: Settings | None = CHOSEN
    inner: Inner = Inner()

    FORMER = {"fit_order": ("fit", "order")}  # noqa: RUF012


def parsed(*words: str) -> dict[str, Any]:
    arguments = argparse.ArgumentParser()
    add_settings(arguments, Everything)
    return given_table(arguments.parse_args(list(words)), Everything)


@pytest.mark.parametrize(
    "made",
    [
        Everything(),
        Everything(way="mean", weight=0.25, names=("a", "b"), margins={"Pu": 1.5}),
        Everything(way_settings=FitSettings(order=5, robust=True), inner=Inner((3.0, 4.0))),
    ],
)
def test_a_record_comes_back_from_its_table(made: Everything) -> None:
    assert from_table(Everything, plain(made)) == made


def test_the_command_line_says_what_python_says() -> None:
    table = parsed(
        "--way", "fit", "--fit-order", "3", "--fit-robust", "--weight", "0.75",
        "--inner-size-mm", "5", "6", "--names", "x", "y",
    )  # fmt: skip
    assert from_table(Everything, table) == Everything(
        weight=0.75,
        names=("x", "y"),
        way_settings=FitSettings(order=3, robust=True),
        inner=Inner((5.0, 6.0)),
    )
    assert parsed() == {}


def test_earlier_names_words_and_keys_are_still_read() -> None:
    assert from_table(Everything, {"share": 0.25, "words": "old", "way": "fitted"}) == Everything(
        weight=0.25
    )
    assert from_table(Everything, {"fit_order": 4}).way_settings == FitSettings(order=4)
    # Earlier files held the settings of every choice, made or not.
    assert from_table(Everything, {"way": "mean", "fit_order": 4}).way == "mean"
    assert parsed("--share", "0.25") == {"weight": 0.25}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"weight": 1.0}, "weight: expected above 0 and below 1, found 1"),
        ({"weight": "much"}, "weight: expected a number, found 'much'"),
        ({"weight": True}, "weight: expected a number, found True"),
        ({"way": "guess"}, "way: expected fit or mean, found 'guess'"),
        ({"words": "none"}, "words: expected new or other, found 'none'"),
        ({"fit": {"order": 10}}, "order: expected 0 to 9, found 10"),
        ({"fit": {"order": 2.5}}, "order: expected a whole number, found 2.5"),
        ({"way": "mean", "fit": {"order": 1}}, "fit: expected settings of way mean, found those"),
        ({"inner": {"size_mm": [1.0]}}, "size_mm: expected 2 values, found 1"),
        ({"inner": {"size_mm": [1.0, 0.0]}}, "size_mm: expected above 0 mm, found 0"),
        (
            {"colour": 1},
            "expected settings among way, weight, words, names, margins, inner, fit, found colour",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        from_table(Everything, table)
    assert str(refusal.value).startswith(message)


def test_the_command_line_names_its_flag() -> None:
    with pytest.raises(InputError, match="--fit-order: expected 0 to 9, found 12"):
        parsed("--fit-order", "12")


def test_settings_of_another_choice_are_refused_in_python_too() -> None:
    with pytest.raises(InputError, match="way_settings: expected NoSettings for way mean"):
        Everything(way="mean", way_settings=FitSettings())


def test_help_states_unit_range_and_default() -> None:
    arguments = argparse.ArgumentParser()
    add_settings(arguments, Everything)
    text = " ".join(arguments.format_help().split())
    assert "of a box (mm; above 0; default 1 2)" in text
    assert "of the polynomial (0 to 9; default 2)" in text
    assert "settings of way fit" in text


def test_a_row_says_itself_with_its_settings() -> None:
    row = WAYS["fitted"]
    assert row.name == "fit"
    assert row.describe(FitSettings(order=7)) == "a fit of order 7"
    assert row.load()(16.0) == 4.0
    assert [switch.said for switch in switched_on(FitSettings(robust=True))] == [
        "outliers left out"
    ]
    assert switched_on(FitSettings(robust=True), but={"robust"}) == []
    assert switched_on(FitSettings()) == switched_on(None) == []
    with pytest.raises(InputError, match="way: expected a new name, found 'fitted' again"):
        WAYS.add(Choice("fitted", "math:sqrt", ""))
    with WAYS.with_row(Choice("guess", "math:sqrt", "")):
        assert WAYS.names == ("fit", "mean", "guess")
    assert WAYS.names == ("fit", "mean")
