"""What cannot be used is refused before torch, ANTs or matplotlib are imported, in CPU seconds.

The members not readable off a case: phase values that ``--phase-range`` rules out,
which only reading the voxels tells; an atlas that is not there; a table of labels without labels.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from accelqsm.files.mrd.writer import write_mrd
from accelqsm.files.nifti import write_image
from accelqsm.files.tables import write_table
from accelqsm.grid import centred_grid
from recon_phantom import channel_images, sample
from scan_files import GRID, ball, paths, write_dataset

MOST_IMPORTS = 2.0
"""Times the CPU seconds of the imports that reading a table or header needs, as measured then."""

LIGHT = "import nibabel, pandas, scipy.ndimage"
SCRIPT = """
import sys
from accelqsm.cli import main
code = main(sys.argv[1:])
heavy = {"torch", "ants", "matplotlib", "numba"} & set(sys.modules)
sys.exit(code if not heavy else f"imported {heavy}")
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_dataset(folder)
    write_image(folder / "mask.nii.gz", ball(), GRID)
    other = centred_grid((20, 20, 20), (2.0, 2.0, 2.0))
    write_image(folder / "other.nii.gz", np.ones(other.shape, np.int16), other)
    write_image(folder / "chi.nii.gz", 0.1 * ball().astype(np.float32), GRID)
    table = pd.DataFrame({"index": [1], "name": ["L A"]})
    write_table(folder / "lookup.tsv", table)
    write_table(folder / "empty.tsv", table.iloc[:0])
    (folder / "file").write_text("x")
    sampled = torch.ones((24, 16), dtype=torch.bool)
    write_mrd(folder / "scan.h5", sample(channel_images((16, 24, 16), 2), sampled))
    return folder


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


QSM = ("qsm", "@/out", "--megre", "@/sub-01/anat")
LABELS = ("nuclei", "@/chi.nii.gz", "@/out.tsv", "--labels")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("qsm", "@/out", "--megre", "@/nowhere/sub-02"), "nowhere: no such folder"),
        ((*QSM, "--echo-times-s", "0.004", "0.009"), "expected 2 magnitude echoes"),
        ((*QSM, "--mask", "@/other.nii.gz"), "other.nii.gz: expected shape"),
        ((*QSM, "--phase-range", "-1", "1"), "expected phase of the range -1..1"),
        (("qsm", "@/file", "--megre", "@/sub-01/anat"), "file: expected a folder for the results"),
        ((*QSM, "--vsharp-threshold", "7"), "--vsharp-threshold: expected"),
        (("map", "@/nowhere.h5", "@/out", "--method", "grappa"), "nowhere.h5: no such file"),
        (("recon", "@/mask.nii.gz", "@/out", "--method", "grappa"), "found a NIfTI image"),
        (
            ("map", "@/scan.h5", "@/out", "--method", "reconnet3d", "--weights", "wide"),
            "wide: expected a file of network weights or one of dcrnet-joint",
        ),
        (
            ("map", "@/scan.h5", "@/out", "--method", "grappa", "--mask", "@/mask.nii.gz"),
            "mask.nii.gz: expected shape (16, 24, 16)",
        ),
        ((*LABELS, "@/other.nii.gz", "--lookup", "@/lookup.tsv"), "other.nii.gz: expected shape"),
        ((*LABELS, "@/chi.nii.gz", "--lookup", "@/empty.tsv"), "empty.tsv: expected at least one"),
        (
            ("nuclei", "@/chi.nii.gz", "@/out", "--magnitude", "@/chi.nii.gz", "--atlas", "@/no"),
            "no: expected a folder with an atlas or cit168, found none",
        ),
        (("compare", "@/lookup.tsv", "@/out", "--reference", "PI"), "expected column(s) subject"),
    ],
)
def test_what_cannot_be_used_is_refused_in_little_time(
    inputs: Path, words: tuple[str, ...], message: str
) -> None:
    given = [word.replace("@", str(inputs)) for word in words]
    taken = []
    for _ in range(3):
        start = cpu_s()
        subprocess.run([sys.executable, "-c", LIGHT], check=True)
        before = cpu_s()
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *given], capture_output=True, text=True
        )
        taken.append((cpu_s() - before) / (before - start))
        assert done.returncode == 65, done.stderr
        assert done.stderr.startswith("accelqsm: ")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
        if taken[-1] < MOST_IMPORTS:
            break
    assert min(taken) < MOST_IMPORTS
    assert not (inputs / "out").exists()


def test_headers_tell_of_files_one_by_one(inputs: Path) -> None:
    """Magnitude and phase on two grids, named without reading a voxel."""
    phase = [*paths(inputs / "sub-01" / "anat", "phase")[:2], str(inputs / "other.nii.gz")]
    magnitude = paths(inputs / "sub-01" / "anat", "mag")
    words = ["qsm", str(inputs / "out"), "--magnitude", *magnitude, "--phase", *phase]
    words += ["--echo-times-s", "0.004", "0.009", "0.014", "--b0-tesla", "3"]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True)
    assert done.returncode == 65, done.stderr
    assert "other.nii.gz: expected shape (24, 27, 21) of " in done.stderr
