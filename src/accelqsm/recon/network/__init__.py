"""Networks that reconstruct, and their weights."""
