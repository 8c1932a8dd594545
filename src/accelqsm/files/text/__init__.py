"""Tolerant readers of text tables."""
