"""The scanner: a digital head goes in, noisy k-space of every channel and echo comes out."""

from __future__ import annotations

from accelqsm.simulate.signal import spoiled_gradient_echo

__all__ = ["spoiled_gradient_echo"]
