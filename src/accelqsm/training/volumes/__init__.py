"""Fully sampled volumes that networks and patterns learn from."""
