"""Magnitude and phase images of a multi-echo gradient echo, with their sidecars."""
