"""The training command: digital heads, then steps until done; goes on where it left off."""

from __future__ import annotations

from pathlib import Path
