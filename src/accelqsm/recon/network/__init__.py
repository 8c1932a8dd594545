"""Reconstruction networks: interface, architecture and application to a scan."""
