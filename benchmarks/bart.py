"""BART's commands on samples of ours: sensitivities, and least squares with a penalty."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from accelqsm.fourier import READOUT, fft
from bart_files import read_cfl, write_cfl

INSTALLED = shutil.which("bart") is not None


class Bart:
    """One echo's samples in a folder of BART's, which is removed in the end.

    Args:
        planes: complex (channel, x, ky, kz), zero where not sampled.
        calibration: fully sampled centre along y and z.
    """

    def __init__(self, planes: Tensor, calibration: tuple[int, int]) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self._folder = Path(self._temporary.name)
        self._box = ":".join(map(str, (max(calibration), *calibration)))
        self.give(planes)

    def give(self, planes: Tensor) -> None:
        """Samples of another echo, for the maps that are there."""
        write_cfl(self._folder / "k", fft(planes, READOUT).permute(1, 2, 3, 0).numpy())

    def find_maps(self, *, everywhere: bool) -> None:
        """ESPIRiT's sensitivities, by ``ecalib``; everywhere, or cropped as by default."""
        crop = ["-c0"] if everywhere else []
        self._run(["ecalib", "-m1", "-r", self._box, "-k5", "-t", "0.001", *crop, "k", "s"])

    @property
    def maps(self) -> Tensor:
        """Sensitivities, complex (channel, x, y, z)."""
        return torch.from_numpy(read_cfl(self._folder / "s")).permute(3, 0, 1, 2)

    def solve(self, n_iterations: int, penalty: str) -> Tensor:
        """Image (x, y, z) of ``pics`` with a penalty in its spelling, such as W:7:0:0.005."""
        options = ["-S", "-i", str(n_iterations), "-R", penalty]
        self._run(["pics", *options, "k", "s", "x"])
        return torch.from_numpy(read_cfl(self._folder / "x"))

    def _run(self, words: list[str]) -> None:
        subprocess.run(["bart", *words], cwd=self._folder, check=True, stdout=subprocess.DEVNULL)
