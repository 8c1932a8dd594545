"""Figures of a whole study: forest plot, quality over scans, and a picture for a slide."""
