"""Commands that give images."""
