"""Reporting checklists and their answers."""
