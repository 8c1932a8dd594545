"""Arrays in BART's pairs of files, header and samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt


def write_cfl(path: Path, values: npt.NDArray[np.complex64]) -> None:
    """Write an array to a pair of files."""
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, values.shape))}\n")
    values.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))


def read_cfl(path: Path) -> npt.NDArray[np.complex64]:
    """Read an array from a pair of files, without axes of one."""
    sizes = path.with_suffix(".hdr").read_text().splitlines()[1].split()
    flat = np.fromfile(path.with_suffix(".cfl"), np.complex64)
    volume = flat.reshape([int(size) for size in sizes], order="F").squeeze()
    return np.ascontiguousarray(volume)
