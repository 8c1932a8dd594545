"""Whole results: put in place at once, named by checksum, checked before they are read."""
