"""Sampling patterns by their settings."""
