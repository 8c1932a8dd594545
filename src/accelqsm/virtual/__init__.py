"""Simulated protocols, scans and studies."""
