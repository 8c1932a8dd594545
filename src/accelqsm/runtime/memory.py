"""Reuse of freed memory, as mapping pages again for each volume is expensive."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_BYTES = 2**30


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks instead of returning each to the system when it is freed.

    By default every tensor beyond 32 MB is mapped and its pages are zeroed again at each
    allocation, which doubles the CPU time of the network. Does nothing without glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _LARGEST_BYTES * 2 - 1)
