"""The package first: how threads wait is read when torch starts."""

import accelqsm  # noqa: F401
