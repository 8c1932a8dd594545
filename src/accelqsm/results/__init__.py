"""Folders of results: names, writing, reading back, provenance."""
