"""Simulation of digital heads and of their scans."""
