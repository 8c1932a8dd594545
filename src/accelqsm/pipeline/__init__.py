"""Pipelines: from k-space or images to maps, from maps to nuclei, from values to agreement."""
