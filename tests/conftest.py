"""The package first: how threads wait is read when torch starts. Fixtures of several files."""

import pytest

import accelqsm  # noqa: F401


@pytest.fixture
def small_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training patterns for the small planes of ``training_phantom``."""
    monkeypatch.setattr("accelqsm.training.data.CALIBRATIONS", ((6, 6),))
