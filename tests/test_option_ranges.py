"""Every setting and every option has a range of finite numbers, and refuses what is outside."""

from __future__ import annotations

import argparse
import importlib
import math
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
import pytest

import accelqsm
from accelqsm.cli import main, parser
from accelqsm.errors import InputError
from accelqsm.options.arguments import arguments_of, given_table
from accelqsm.options.setting import Setting, Settings, default_of, kinds, settings_in
from accelqsm.options.table import check_table, from_table

NOT_FINITE = (math.nan, math.inf, -math.inf)
FAR = (-1e300, 1e300, -(10**400), 10**400)


def records() -> list[type[Settings]]:
    """Every record of settings in the package."""
    for module in pkgutil.walk_packages(accelqsm.__path__, "accelqsm."):
        if module.name.rpartition(".")[2].endswith("settings") or "architecture" in module.name:
            importlib.import_module(module.name)
    found: list[type[Settings]] = []
    waiting: list[type[Settings]] = [Settings]
    while waiting:
        kinds_below = waiting.pop().__subclasses__()
        waiting += kinds_below
        found += [kind for kind in kinds_below if kind not in found]
    ours = [kind for kind in found if kind.__module__.startswith("accelqsm.")]
    return sorted(ours, key=lambda kind: (kind.__module__, kind.__name__))


def numbers() -> Iterator[tuple[type[Settings], str, Setting, Any]]:
    """Record, name, setting and type of every field of numbers."""
    for record in records():
        for name, known in settings_in(record).items():
            kind = kinds(record)[name]
            items = get_args(kind) or (kind,)
            if float in items or int in items:
                yield record, name, known, kind


FIELDS = [pytest.param(*row, id=f"{row[0].__name__}.{row[1]}") for row in numbers()]


def filled(kind: Any, value: Any) -> Any:
    """A value in the form of its field."""
    if get_origin(kind) is tuple:
        n = 2 if ... in get_args(kind) else len(get_args(kind))
        return (value,) * n
    return {"Pu": value} if get_origin(kind) is Mapping else value


def required_of(record: type[Settings]) -> dict[str, Any]:
    """A value of each field without a default."""
    names = [name for name in settings_in(record) if default_of(record, name) is MISSING]
    known = kinds(record)
    return {n: "zero-filled" if known[n] is str else filled(known[n], 1) for n in names}


def test_records_are_found() -> None:
    names = {record.__name__ for record, *_ in numbers()}
    assert {"L1Settings", "VsharpSettings", "QsmSettings", "GrappaSettings", "SynSettings"} < names
    assert {"Architecture", "TrainingSettings", "CompareSettings", "SensitivitySettings"} < names
    assert len(FIELDS) > 40


@pytest.mark.parametrize(("record", "name", "known", "kind"), FIELDS)
def test_a_field_of_numbers_has_a_range_and_keeps_to_it(
    record: type[Settings], name: str, known: Setting, kind: Any
) -> None:
    low = known.above if known.least is None else known.least
    high = known.below if known.most is None else known.most
    assert low is not None
    assert high is not None
    assert low >= 0
    whole = int in get_args(kind) or kind is int
    outside = [low - 1, high * 1.01 + 1, *FAR]
    outside += [low] if known.least is None else []
    outside += [high] if known.most is None else []
    if whole:
        outside = [math.floor(value) for value in outside]
    else:
        outside = [*NOT_FINITE, *outside, np.float32(np.nan), np.float32(np.inf)]
    required = required_of(record)
    for value in outside:
        with pytest.raises(InputError, match=f"^{name}: expected .*, found [^\n]*$"):
            record(**{**required, name: filled(kind, value)})
        table = {name: filled(kind, value)}
        with pytest.raises(InputError, match=f"^{name}.*: expected .*, found [^\n]*$"):
            check_table(record, table)
        with pytest.raises(InputError, match=f"^{name}.*: expected .*, found [^\n]*$"):
            from_table(record, required | table)


@pytest.mark.parametrize("record", records(), ids=lambda record: record.__name__)
def test_a_value_of_another_type_is_refused(record: type[Settings]) -> None:
    required = required_of(record)
    for name in settings_in(record):
        for value in (b"bytes", 1j, [1.0], object()):
            with pytest.raises(InputError, match=f"^{name}: expected .*, found"):
                record(**{**required, name: value})


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(found.choices)


@pytest.mark.parametrize("name", list(commands()))
def test_an_option_of_numbers_refuses_what_is_outside(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """65 for every number that it cannot take, setting or not; 2 for a word that is no number."""
    n_checked = 0
    actions = commands()[name]._actions
    places = [next(iter(a.choices)) if a.choices else "0" for a in actions if not a.option_strings]
    given = [name, *places, *["0"] * (9 - len(places))]
    for action in actions:
        flag = (action.option_strings or [""])[-1]
        if action.type in (None, Path, str) or not flag:
            continue
        assert action.type is not int, f"{flag}: nan is a word of another kind than 1e300"
        is_setting = action.dest.startswith("setting:")
        n_values = action.nargs if isinstance(action.nargs, int) else 1
        for value in ("nan", "inf", "-inf", "-1e300", "1e300", "1" * 400):
            words = [*given, f"{flag}={value}"]
            if n_values > 1:
                words = [*given, flag, *["1"] * (n_values - 1), value]
            if not is_setting and (n_values == 1 or value[0] != "-"):  # else it is an option
                assert refused(words, capsys) == (65, flag), (flag, value)
                n_checked += 1
        words = [*given, flag, *["abc"] * n_values]
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
        assert f"argument {'/'.join(action.option_strings)}: invalid" in capsys.readouterr().err
    assert n_checked or name not in ("map", "qsm", "plan", "simulate", "cohort", "demo")


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Status, and the option that the one line on stderr names."""
    status = main(words)
    (line,) = capsys.readouterr().err.splitlines()
    said = line.removeprefix("accelqsm: ")
    assert ": expected " in said
    return status, said.partition(":")[0]


def test_settings_on_the_command_line_are_checked_by_their_flag() -> None:
    from accelqsm.qsm.settings import QsmSettings

    command = commands()["qsm"]
    for argument in arguments_of(QsmSettings):
        if argument.kind not in (int, float):
            continue
        for value in ("nan", "inf", "1e300", *(["2.5"] if argument.kind is int else [])):
            options = command.parse_args(["out", f"{argument.flag}={value}"])
            with pytest.raises(InputError, match=f"^{argument.flag}: expected .*, found"):
                given_table(options, QsmSettings)
