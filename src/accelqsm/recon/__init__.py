"""Under-sampled k-space to complex images of every echo."""
