"""One scan, end to end: under-sampled k-space in, susceptibility map out.

Nothing here holds all channels at once: each reconstructed block adds to sums over channels and
is forgotten.
"""

from __future__ import annotations
