"""An atlas registered to heads that it does not know: overlap, values, time.

Usage: python benchmarks/nuclei_atlas.py OUT [--heads N] [--seed S] [--only NUMBER ...] [--chimap]

A head that OUT has already is not measured again, so that a run may be cut off or shared out.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from accelqsm.api.nuclei import locate_nuclei, mapped_head
from accelqsm.files.nifti import read_image
from accelqsm.files.tables import write_table
from accelqsm.nuclei.measure import measure_nuclei
from accelqsm.simulate.cohort import draw_cohort, random_pose
from accelqsm.simulate.heads.head import LOOKUP, NUCLEI
from nuclei_heads import GRID, Person, scan_person, scan_t1w, write_template

TEMPLATE, TEMPLATE_POSE_SEED = Person(seed=9), 900
POSE_SEED = 2000


def main() -> None:
    """Scan, register, measure and compare; prints one line per head and a summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--heads", type=int, default=10)
    parser.add_argument("--seed", type=int, default=303, help="of the cohort")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="from 1")
    parser.add_argument("--chimap", action="store_true", help="the atlas has a susceptibility map")
    options = parser.parse_args()
    torch.set_num_threads(1)
    atlas = options.out / "atlas"
    if not (atlas / "dseg.tsv").exists():
        contrasts = ("mag", "Chimap") if options.chimap else ("mag",)
        write_template(atlas, TEMPLATE, pose_seed=TEMPLATE_POSE_SEED, contrasts=contrasts)
    for number, subject in enumerate(draw_cohort(options.heads, seed=options.seed)):
        table = options.out / subject.label / "head.tsv"
        if table.exists() or (options.only and number + 1 not in options.only):
            continue
        person = Person(subject.seed, subject.age_years, subject.nuclei_chi_ppm)
        frame = pd.DataFrame(one_head(table.parent, person, atlas, POSE_SEED + 10 * number))
        write_table(table, frame)
        shown = "  ".join(
            f"{r.region} {r.dice:.2f} {r.difference_ppb:+.1f}"
            for r in frame[frame["side"] == "both"].itertuples()
        )
        print(f"{subject.label} {frame['cpu_s'].iloc[0]:.0f} CPU s  {shown}", flush=True)
    rows = pd.concat([pd.read_csv(t, sep="\t") for t in sorted(options.out.glob("*/head.tsv"))])
    write_table(options.out / "summary.tsv", summary(rows).reset_index())
    print(f"{rows['head'].nunique()} heads\n{summary(rows).to_string()}")


def cpu_time_s() -> float:
    """CPU time of this process, and of those that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def one_head(folder: Path, person: Person, atlas: Path, pose_seed: int) -> list[dict[str, object]]:
    """Scan one person, bring the atlas, and compare with the truth."""
    scan_person(folder, person, pose=random_pose(pose_seed), noise_seed=pose_seed)
    scan_t1w(folder, person, pose=random_pose(pose_seed + 1), noise_seed=pose_seed + 1)
    start = cpu_time_s()
    scan = mapped_head(
        folder / "Chimap.nii.gz", magnitude=folder / "mag.nii.gz", mask=folder / "mask.nii.gz"
    )
    located = locate_nuclei(scan, atlas=atlas, t1w=folder / "T1w.nii.gz")
    located.save(folder / "nuclei", overwrite=True)
    found = located.table.set_index(["region", "side"])
    cpu_s = cpu_time_s() - start
    chi, truth, ours = (
        read_image(folder / name).values
        for name in ("Chimap.nii.gz", "dseg.nii.gz", "nuclei/dseg.nii.gz")
    )
    lookup = pd.DataFrame([{"index": i, "name": name} for i, name in LOOKUP])
    expected = measure_nuclei(chi, truth, lookup, voxel_volume_mm3=GRID.voxel_volume_mm3).set_index(
        ["region", "side"]
    )
    reference_ppb = float(found["reference_ppb"].iloc[0])
    rows: list[dict[str, object]] = []
    for number, region in enumerate(NUCLEI):
        left, right = 2 * number + 1, 2 * number + 2
        for side, indices in (("L", [left]), ("R", [right]), ("both", [left, right])):
            a, b = np.isin(truth, indices), np.isin(ours, indices)
            value = float(found["mean_ppb"].loc[region, side]) + reference_ppb
            true_ppb = float(expected["mean_ppb"].loc[region, side])
            rows.append(
                {
                    "head": folder.name,
                    "region": region,
                    "side": side,
                    "dice": 2 * float((a & b).sum()) / float(a.sum() + b.sum()),
                    "true_ppb": true_ppb,
                    "difference_ppb": value - true_ppb,
                    "flag": found.loc[(region, side), "flag"],
                    "cpu_s": cpu_s,
                }
            )
    return rows


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and worst of all heads, both sides together and each by itself."""
    out = {}
    for region in NUCLEI:
        mine = rows[rows["region"] == region]
        both, sides = mine[mine["side"] == "both"], mine[mine["side"] != "both"]
        out[region] = {
            "dice_mean": both["dice"].mean(),
            "dice_least": both["dice"].min(),
            "dice_least_side": sides["dice"].min(),
            "difference_mean_ppb": both["difference_ppb"].mean(),
            "difference_largest_ppb": both["difference_ppb"].abs().max(),
            "difference_largest_side_ppb": sides["difference_ppb"].abs().max(),
        }
    return pd.DataFrame(out).T.rename_axis("region").round(3)


if __name__ == "__main__":
    main()
