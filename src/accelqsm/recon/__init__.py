"""Reconstruction of complex images of every echo from under-sampled k-space."""
