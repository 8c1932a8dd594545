"""Reporting checklists (GRRAS, CLAIM) and their answers."""
