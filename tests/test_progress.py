"""A step says what it is doing, before it is done where somebody watches."""

from __future__ import annotations

import re
import sys

import pytest

from accelqsm.runtime.progress import progress_shown, staged, step


@pytest.mark.parametrize("terminal", [True, False])
def test_a_step_is_named_at_its_start_on_a_terminal_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    with progress_shown(), step("Head to template"):
        assert capsys.readouterr().out == ("  Head to template ...\r" if terminal else "")
    assert re.fullmatch(r"  Head to template {42} +0\.0 s\n", capsys.readouterr().out)


def test_a_listener_hears_the_end_and_nothing_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    heard: list[str] = []
    with step("Head to template", heard.append):
        pass
    assert len(heard) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_a_stage_is_named_while_it_runs_and_nothing_is_left_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr("accelqsm.runtime.progress._SHOWN", True)
    said = []

    @staged("Unwrapping")
    def unwrap(turns: int) -> int:
        said.append(capsys.readouterr().err)
        return turns + 1

    assert unwrap(1) == 2
    assert said == ["\r\x1b[2K  Unwrapping ..." if terminal else ""]
    assert capsys.readouterr() == ("", "\r\x1b[2K" if terminal else "")
