"""The package first: how threads wait is read when torch starts. Fixtures of several files."""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # beside others of its kind: one thread for each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same digits on every CPU, here and in the commands that tests start.
os.environ.setdefault("ACCELQSM_PRECISION", "single")

import accelqsm  # noqa: F401


@pytest.fixture
def small_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training patterns for the small planes of ``training_phantom``."""
    monkeypatch.setattr("accelqsm.training.data.CALIBRATIONS", ((6, 6),))
