"""Nuclei in a map: labels placed, registered where need be, and measured one way for all."""
