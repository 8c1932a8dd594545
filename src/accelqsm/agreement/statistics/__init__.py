"""Estimators of agreement with confidence intervals and tests."""
