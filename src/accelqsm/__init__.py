"""accelqsm: under-sampled k-space in, deep-brain nuclei and their agreement out."""

__version__ = "0.1.0"
