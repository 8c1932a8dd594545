"""Learned sampling patterns: densities trained through a fixed reconstruction network."""
