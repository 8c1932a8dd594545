"""The program that registers: how it is run, and what it says when it cannot."""

from __future__ import annotations

import pytest

from accelqsm.errors import InputError
from accelqsm.nuclei.engine import process
from accelqsm.nuclei.engine.process import ants_registration, usable_threads


@pytest.mark.parametrize(("asked", "expected"), [("3", 3), ("2,4", 2), ("99", 8)])
def test_threads_are_those_asked_for(
    asked: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert usable_threads() == expected


@pytest.mark.parametrize("asked", ["", "0", "many"])
def test_threads_are_the_cores_where_none_are_asked_for(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(process.os, "sched_getaffinity", lambda _: {0, 3, 4}, raising=False)
    assert usable_threads() == 3


def test_a_program_that_fails_is_refused_in_one_line() -> None:
    with pytest.raises(InputError) as caught:
        ants_registration(["-m", "nonsense"], threads=1)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(
        "registration: expected images that can be compared, found that antsRegistration ended"
    )


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="expected the package antspyx, found none"):
        ants_registration([], threads=1)
