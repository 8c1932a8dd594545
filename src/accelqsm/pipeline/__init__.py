"""The method: k-space to maps, maps to nuclei, values to agreement."""
