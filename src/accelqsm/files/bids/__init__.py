"""BIDS datasets: their description, and the index of their files."""
