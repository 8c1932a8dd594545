"""Map a real multi-echo scan and draw what every stage did, to look for wrap lines and rims.

Usage: python examples/real_phase.py MAGNITUDE.nii PHASE.nii OUT ECHO_TIME_S...
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import accelqsm as aq
from accelqsm.files.megre.phase import phase_rad
from accelqsm.files.nifti import read_image, read_volume

PANELS = (
    ("fieldmap.nii.gz", "Field, unwrapped (Hz)", None),
    ("localfield.nii.gz", "Local field (Hz)", 15.0),
    ("Chimap.nii.gz", "Susceptibility (ppb)", 150.0),
)


def main(magnitude: Path, phase: Path, out: Path, echo_times_s: list[float]) -> Path:
    """Map the scan at 3 T and draw three axial slices of wrapped phase and of every map."""
    images = aq.read_images(
        magnitude=magnitude, phase=phase, echo_times_s=echo_times_s, b0_tesla=3.0
    )
    aq.susceptibility(images).save(out)
    wrapped = phase_rad([read_image(phase)])[0][..., -1]
    columns: list[tuple[str, NDArray[np.floating], float | None]] = [
        ("Phase of the last echo (rad)", wrapped, np.pi)
    ]
    for name, title, limit in PANELS:
        values = np.asarray(read_volume(out / name).values)
        columns.append((title, values * (1000 if name.startswith("Chi") else 1), limit))
    slices = np.linspace(0, wrapped.shape[2], 5)[1:-1].astype(int)
    figure = Figure(figsize=(11, 8), layout="constrained")
    axes = figure.subplots(len(slices), len(columns))
    for column, (title, values, limit) in zip(axes.T, columns, strict=True):
        low, high = (-limit, limit) if limit else (values.min(), values.max())
        for axis, z in zip(column, slices, strict=True):
            shown = axis.imshow(values[:, :, z].T, origin="lower", cmap="gray", vmin=low, vmax=high)
            axis.set_axis_off()
        column[0].set_title(title, fontsize=9)
        figure.colorbar(shown, ax=list(column), orientation="horizontal", shrink=0.8)
    picture = out / "stages.png"
    figure.savefig(picture, dpi=75)
    return picture


if __name__ == "__main__":
    magnitude, phase, out = (Path(word) for word in sys.argv[1:4])
    print(main(magnitude, phase, out, [float(word) for word in sys.argv[4:]]))
