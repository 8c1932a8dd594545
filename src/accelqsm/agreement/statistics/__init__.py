"""Estimators with their intervals and tests."""
