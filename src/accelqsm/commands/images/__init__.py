"""Commands whose output is images."""
