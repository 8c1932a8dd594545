"""Commands for ``kill_renames`` whose slow steps are replaced, so that only their files are real.

The simulation, the maps and the registration of a demo and of nuclei, and the volumes of a
training, are noise of a few voxels; ``import`` converts the small DICOM of the tests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.cli import main
from accelqsm.files.nifti import write_image
from accelqsm.files.tables import write_table
from accelqsm.grid import centred_grid
from accelqsm.results.maps import SusceptibilityMaps

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

Run = Callable[[Path, bool], object]
"""Writes into a folder, with or without --overwrite; other than 0, None or a path: refused."""

GRID = centred_grid((16, 14, 12), (4.0, 4.0, 4.0))


def cli(*words: str | Path, before: Callable[[], object] = lambda: None) -> Run:
    """A command with OUT as its last word; ``before`` replaces what is slow."""

    def run(out: Path, over: bool) -> int:
        before()
        return main([*map(str, words), str(out), *(["--overwrite"] if over else [])])

    return run


def maps(seed: int, shape: tuple[int, int, int] = (6, 5, 4)) -> SusceptibilityMaps:
    """Maps of noise, of which older ones have R2* and newer ones do not."""
    grid = centred_grid(shape, (2.0, 2.0, 2.0)) if shape != GRID.shape else GRID
    noise = np.random.default_rng(seed).normal(size=(6, *grid.shape)).astype(np.float32)
    return SusceptibilityMaps(
        grid=grid, chi_ppm=noise[0], mask=noise[1] > 0, field_hz=noise[2], field_sd_hz=noise[3],
        local_field_hz=noise[4], r2star_per_s=noise[5] if seed == 0 else None, magnitude=noise[5],
    )  # fmt: skip


def write_labels(labels: Path, lookup: Path) -> None:
    """Two nuclei."""
    values = np.zeros(GRID.shape, np.int16)
    values[3:7, 4:9, 4:8], values[9:13, 4:9, 4:8] = 1, 2
    write_image(labels, values, GRID)
    write_table(lookup, pd.DataFrame({"index": [1, 2], "name": ["L Pu", "R Pu"]}))


def import_runs(work: Path) -> tuple[Run, Run]:
    """A scan of two echoes, and the same of three in another folder."""
    from dicom_files import Exam, parts, small_grid, write_series

    grid = small_grid((6, 6, 4))
    for n_echoes in (2, 3):
        times = (0.004, 0.009, 0.014)[:n_echoes]
        echoes = parts(grid, ("mag", "phase"), times)
        write_series(Exam(work / f"dicom{n_echoes}", grid), 1, echoes)
    return cli("import", work / "dicom2"), cli("import", work / "dicom3")


def nuclei_runs(work: Path) -> tuple[Run, Run]:
    """Labels of another scan on two maps, whose registration finds that nobody moved."""
    from accelqsm.nuclei.register import Matrix
    from accelqsm.nuclei.volume import Volume
    from accelqsm.pipeline.nuclei import coregistered

    labels, lookup, reference = work / "dseg.nii", work / "dseg.tsv", work / "mag.nii"
    write_labels(labels, lookup)
    x, y, z = GRID.world_mm()
    write_image(reference, np.exp(-(x**2 + y**2 + z**2) / 400), GRID)
    for seed in (0, 1):
        write_image(work / f"chi{seed}.nii.gz", maps(seed, GRID.shape).chi_ppm, GRID)

    def unmoved(fixed: Volume, moving: Volume) -> Matrix:
        return np.eye(4)

    def still() -> None:
        coregistered.register_rigid = unmoved  # type: ignore[attr-defined]

    words = ("nuclei", "--labels", labels, "--lookup", lookup, "--magnitude", reference,
             "--reference-magnitude", reference, "--reference", "none")  # fmt: skip
    old, new = (cli(*words, work / f"chi{seed}.nii.gz", before=still) for seed in (0, 1))
    return old, new


def demo_runs(work: Path) -> tuple[Run, Run]:
    """Two heads of noise."""
    from accelqsm.api import demo
    from accelqsm.results.study import LOOKUP_NAME, ScanFiles, scan_files
    from accelqsm.simulate.cohort import Cohort

    def simulated(
        out: Path, cohort: Cohort, *, protocols: Sequence[str], **_: Any
    ) -> list[ScanFiles]:
        scans = [scan_files(out, "sub-01", protocol) for protocol in protocols]
        for number, files in enumerate(scans):
            files.raw.parent.mkdir(parents=True, exist_ok=True)
            files.raw.write_text(str(10 * cohort.seed + number))
            write_labels(files.labels, out / LOOKUP_NAME)
            write_image(files.truth, maps(cohort.seed, GRID.shape).chi_ppm, GRID)
        return scans

    def unread(path: Any, **_: Any) -> Any:
        return path

    def sampling(path: Path) -> npt.NDArray[np.bool_]:
        return np.ones(GRID.shape[1:], bool)

    def mapped(scan: Any, *_: Any, **__: Any) -> SusceptibilityMaps:
        made = maps(int(scan.read_text()), GRID.shape)
        sd_ppm = np.full(GRID.shape, 0.01, np.float32)
        return replace(made, mask=np.ones(GRID.shape, bool), chi_sd_ppm=sd_ppm)

    def quick() -> None:
        demo.simulate_study = simulated  # type: ignore[attr-defined]
        demo.read_mrd = unread  # type: ignore[attr-defined]
        demo.read_sampling = sampling  # type: ignore[attr-defined]
        demo.map_susceptibility = mapped  # type: ignore[attr-defined]

    return cli("demo", "--seed", "1", before=quick), cli("demo", "--seed", "2", before=quick)


def train_runs(work: Path) -> tuple[Run, Run]:
    """A few steps of a small network on blobs, with two seeds."""
    from accelqsm.training import data
    from accelqsm.training import run as training
    from accelqsm.training.volumes.digital import Plane
    from accelqsm.training.volumes.volumes import Kind, Volumes
    from training_phantom import blob_volumes

    def volumes(
        folder: Path, seeds: range, kind: Kind, plane: Plane | None = None
    ) -> list[Volumes]:
        return [blob_volumes(1, seed) for seed in seeds]

    def quick() -> None:
        training.cached_volumes = volumes  # type: ignore[attr-defined]
        data.CALIBRATIONS = ((6, 6),)  # type: ignore[assignment]

    words = ("train", "--steps", "3", "--heads", "1", "--validation-heads", "1", "--readouts", "4",
             "--warm-up-steps", "1", "--width", "4", "--cascades", "2",
             "--readout-kernels", "3", "1", "1", "--patch", "1")  # fmt: skip
    return cli(*words, "--seed", "3", before=quick), cli(*words, "--seed", "4", before=quick)
