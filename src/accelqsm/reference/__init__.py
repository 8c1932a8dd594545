"""Reference regions of zero susceptibility, as the field determines differences only."""
