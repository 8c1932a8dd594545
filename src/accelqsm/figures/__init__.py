"""Figures of maps, nuclei and agreement as PNG with captions."""
