"""One head scanned twice: is the motion found, and do the nuclei keep their values?

Usage: python benchmarks/nuclei_rescan.py OUT [--heads N] [--maps N] [--resample]

Every head is moved by exactly three millimetres and turned by three degrees, in directions of its
own. The first ``--maps`` of them also go through the whole chain from echoes to susceptibility.
With ``--resample`` the second map is also moved to the first scan's labels.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.spatial.transform import Rotation

from accelqsm.api.nuclei import coregister_nuclei, mapped_head, measure_nuclei
from accelqsm.files.nifti import read_image, write_image
from accelqsm.files.tables import write_table
from accelqsm.nuclei.register import motion_of
from accelqsm.qsm.chain import susceptibility
from accelqsm.qsm.field.lags import lag_products
from accelqsm.results.nuclei import write_nuclei
from accelqsm.simulate.cohort import draw_cohort
from accelqsm.simulate.heads.deformation import UPRIGHT, Pose
from accelqsm.simulate.heads.head import LOOKUP
from nuclei_heads import ACQUISITION, GRID, Person, pose_matrix, scan_person

SHIFT_MM, TURN_DEG = 3.0, 3.0
NOISE_SEED = 5000
CENTRE_MM = (0.0, -8.0, 0.0)


def main() -> None:
    """Scan twice, register, measure; prints one line per head and the worst of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--heads", type=int, default=10)
    parser.add_argument("--maps", type=int, default=0)
    parser.add_argument("--resample", action="store_true")
    parser.add_argument("--seed", type=int, default=505, help="of the cohort")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for number, subject in enumerate(draw_cohort(options.heads, seed=options.seed)):
        person = Person(subject.seed, subject.age_years, subject.nuclei_chi_ppm)
        row = one_head(
            options.out / subject.label,
            person,
            (options.seed, number),
            whole_chain=number < options.maps,
            ways=(False, True) if options.resample else (False,),
        )
        rows.append({"head": subject.label, **row})
        shown = "  ".join(f"{k} {v:.2f}" for k, v in row.items())
        print(f"{subject.label}  {shown}", flush=True)
        write_table(options.out / "heads.tsv", pd.DataFrame(rows))
    print(pd.DataFrame(rows).drop(columns="head").abs().max().round(3).to_string())


def one_head(
    folder: Path,
    person: Person,
    seed: tuple[int, int],
    *,
    whole_chain: bool,
    ways: tuple[bool, ...],
) -> dict[str, float]:
    """Errors of the motion found, and the largest change of a nucleus from scan to scan, ppb."""
    pose = drawn_pose(seed)
    scans = [folder / "first", folder / "second"]
    for i, (scan, here) in enumerate(zip(scans, (UPRIGHT, pose), strict=True)):
        echoes = scan_person(scan, person, pose=here, noise_seed=NOISE_SEED + 10 * seed[1] + i)
        if whole_chain:
            map_echoes(scan, echoes)
    lookup = pd.DataFrame([{"index": index, "name": name} for index, name in LOOKUP])
    write_table(folder / "dseg.tsv", lookup)
    names = ["Chimap", "Chimap-qsm"] if whole_chain else ["Chimap"]
    row: dict[str, float] = {}
    for name in names:
        first = measured(folder, scans[0], name)
        for resample in ways:
            second = measured(folder, scans[1], name, first=scans[0], resample=resample)
            difference = (second - first).unstack("side")
            what = ("qsm" if name.endswith("qsm") else "truth") + ("_resampled" * resample)
            row[f"{what}_both_ppb"] = float(difference["both"].abs().max())
            row[f"{what}_side_ppb"] = float(difference[["L", "R"]].abs().max().max())
            row[f"{what}_mean_ppb"] = float(difference["both"].mean())
            row |= {f"{what}_{region}_ppb": float(v) for region, v in difference["both"].items()}
    settings = tomllib.loads((folder / "propagated-Chimap" / "settings.toml").read_text())
    found = np.asarray(settings["source"]["to_reference"])
    shift_mm, turn_deg = motion_of(found @ pose_matrix(pose), CENTRE_MM)
    return {"error_mm": shift_mm, "error_deg": turn_deg, **row}


def measured(
    folder: Path, scan: Path, name: str, *, first: Path | None = None, resample: bool = False
) -> pd.Series:
    """Mean of every nucleus and side, with the first scan's true labels."""
    mask = scan / ("mask.nii.gz" if name == "Chimap" else "mask-qsm.nii.gz")
    if first is None:
        out = folder / f"first-{name}.tsv"
        table = measure_nuclei(
            mapped_head(scan / f"{name}.nii.gz", mask=mask),
            labels=scan / "dseg.nii.gz",
            lookup=folder / "dseg.tsv",
        )
        write_nuclei(out, table)
    else:
        found = coregister_nuclei(
            mapped_head(scan / f"{name}.nii.gz", magnitude=scan / "mag.nii.gz", mask=mask),
            labels=first / "dseg.nii.gz",
            lookup=folder / "dseg.tsv",
            reference_magnitude=first / "mag.nii.gz",
            resample=resample,
        )
        where = folder / f"{'resample_to' if resample else 'propagated'}-{name}"
        found.save(where, overwrite=True)
        table = found.table
    return table.set_index(["region", "side"])["mean_ppb"]


def map_echoes(scan: Path, echoes: torch.Tensor) -> None:
    """Susceptibility of the noisy echoes, by the whole chain."""
    mask = torch.from_numpy(read_image(scan / "mask.nii.gz").values > 0)
    result = susceptibility(
        lag_products(echoes[None], echo_times_s=ACQUISITION.echo_times_s),
        grid=GRID,
        b0_direction=ACQUISITION.b0_direction,
        field_strength_t=ACQUISITION.field_strength_t,
        mask=mask,
    )
    write_image(scan / "Chimap-qsm.nii.gz", result.chi_ppm.numpy(), GRID)
    write_image(scan / "mask-qsm.nii.gz", result.mask.numpy(), GRID)


def drawn_pose(seed: tuple[int, int]) -> Pose:
    """Three degrees and three millimetres in random directions."""
    rng = np.random.default_rng(seed)
    axis, shift = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    angles = Rotation.from_rotvec(np.deg2rad(TURN_DEG) * axis).as_euler("xyz", degrees=True)
    x, y, z = (float(v) for v in angles)
    a, b, c = (float(v) for v in SHIFT_MM * shift)
    return Pose((x, y, z), (a, b, c))


if __name__ == "__main__":
    main()
