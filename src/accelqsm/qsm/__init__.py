"""QSM: brain mask, field map, unwrapping, background field removal and dipole inversion."""
