"""A last step of registration on susceptibility: does it find small nuclei better, and bend values?

Ten heads of ``nuclei_atlas.py`` are registered as usual, and then once more on a template of
susceptibility made from the atlas' labels and the means that Zhou et al. 2025 published, either as
it is or with the nuclei as bright as in the head. Values that bend towards the template's would
show as a change that falls with what the head has beyond the template.

Usage: python benchmarks/nuclei_chi_step.py OUT [--only NUMBER ...]   # OUT of nuclei_atlas.py
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from accelqsm.api.nuclei import as_atlas
from accelqsm.files.atlas import read_atlas
from accelqsm.files.nifti import read_image
from accelqsm.files.tables import write_table
from accelqsm.nuclei.atlas import Atlas
from accelqsm.nuclei.labels import select_rows
from accelqsm.nuclei.measure import measure_nuclei, split_side
from accelqsm.nuclei.register import TemplateMap, register_template
from accelqsm.nuclei.settings import MeasureSettings, SynSettings
from accelqsm.nuclei.volume import Volume, affine_transform, resample_to
from accelqsm.pipeline.nuclei.labels import place_labels, propagate_to_map
from accelqsm.pipeline.nuclei.registration import RegisteredHead, register_atlas
from accelqsm.simulate.cohort import PUBLISHED
from accelqsm.units import PPB_PER_PPM

SYN = SynSettings()
SMALL_STEP = replace(SYN, iterations=(0, 2), step=0.2, radius=3)
"""Few iterations at the finest voxel size; a window that holds an edge and both its sides."""
NAME = "susceptibility"


def chi_template(atlas: Atlas, means_ppm: Mapping[str, float]) -> Volume:
    """Susceptibility (ppm) of given means where the atlas has labels, zero elsewhere."""
    names = dict(zip(atlas.lookup["index"], atlas.lookup["name"], strict=True))
    some = next(iter(atlas.probabilities.values()))
    values = np.zeros(some.values.shape, np.float32)
    for index, probability in atlas.probabilities.items():
        mean_ppm = means_ppm.get(split_side(str(names[index]))[0], 0.0)
        values += np.float32(mean_ppm) * probability.values
    return Volume(values, some.grid)


def last_step(atlas: Atlas, found: RegisteredHead, chi: Volume, template: Volume) -> TemplateMap:
    """The transform of a registered head, taken on by susceptibility alone."""
    return register_template(
        {NAME: template},
        {NAME: chi},
        box=atlas.box(SYN.margin_mm),
        affine=np.asarray(np.linalg.inv(found.to_template.affine), np.float64),
        settings=SMALL_STEP,
        start=found.to_template,
    )


def one_head(folder: Path, atlas: Atlas) -> pd.DataFrame:
    """Dice and values of a head with each transform."""
    images = {name: read_image(folder / f"{name}.nii.gz") for name in
              ("Chimap", "mag", "T1w", "mask", "dseg")}  # fmt: skip
    volumes = {name: Volume(np.asarray(i.values), i.grid) for name, i in images.items()}
    chi, brain = volumes["Chimap"], volumes["mask"].values > 0.5
    found = register_atlas(chi, volumes["mag"], brain, atlas, t1w=volumes["T1w"], syn=SYN)
    on_t1w = resample_to(chi, volumes["T1w"].grid, affine_transform(np.linalg.inv(found.to_head)))
    rows = select_rows(atlas.lookup, tuple(PUBLISHED))
    truth = volumes["dseg"].values
    usual = _compared(chi, _placed(atlas, found, chi, brain, rows), truth, rows)
    own = dict(zip(usual["region"], usual["found_ppb"] / PPB_PER_PPM, strict=True))
    published = {name: one.mean_ppm for name, one in PUBLISHED.items()}
    tables = [usual.assign(way="without")]
    for way, means_ppm in (("published means", published), ("means of the head", own)):
        template = chi_template(atlas, means_ppm)
        moved = replace(found, to_template=last_step(atlas, found, on_t1w, template))
        labels = _placed(atlas, moved, chi, brain, rows)
        tables.append(_compared(chi, labels, truth, rows).assign(way=way))
    return pd.concat(tables).assign(head=folder.name)


def _placed(
    atlas: Atlas, registered: RegisteredHead, chi: Volume, brain: np.ndarray, rows: pd.DataFrame
) -> np.ndarray:
    threshold = MeasureSettings().threshold
    propagated = propagate_to_map(
        atlas, registered.transform, grid=chi.grid, threshold=threshold, name="head"
    )
    return place_labels(propagated, rows, grid=chi.grid, brain=brain, weighted=False).labels


def _compared(
    chi: Volume, labels: np.ndarray, truth: np.ndarray, rows: pd.DataFrame
) -> pd.DataFrame:
    volume_mm3 = chi.grid.voxel_volume_mm3
    both = []
    for which in (labels, truth):
        table = measure_nuclei(chi.values, which, rows, voxel_volume_mm3=volume_mm3)
        both.append(table[table["side"] == "both"].set_index("region")["mean_ppb"])
    out = pd.DataFrame({"found_ppb": both[0], "true_ppb": both[1]}).reset_index()
    dice = {}
    for region in out["region"]:
        indices = [i for i, n in zip(rows["index"], rows["name"], strict=True)
                   if split_side(str(n))[0] == region]  # fmt: skip
        a, b = np.isin(labels, indices), np.isin(truth, indices)
        dice[region] = 2 * float((a & b).sum()) / float(a.sum() + b.sum())
    return out.assign(dice=out["region"].map(dice))


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Per nucleus and way: Dice, error, and by how much values bend towards the template's."""
    without = rows[rows["way"] == "without"].set_index(["head", "region"])["found_ppb"]
    out = []
    for (way, region), part in rows.groupby(["way", "region"], sort=False):
        keys = pd.MultiIndex.from_frame(part[["head", "region"]])
        change = part["found_ppb"].to_numpy() - without.reindex(keys).to_numpy()
        beyond = part["true_ppb"].to_numpy() - PPB_PER_PPM * PUBLISHED[str(region)].mean_ppm
        error = part["found_ppb"] - part["true_ppb"]
        out.append(
            {
                "way": way,
                "region": region,
                "dice": part["dice"].mean(),
                "least_dice": part["dice"].min(),
                "error_ppb": error.mean(),
                "largest_error_ppb": error.abs().max(),
                "bend": np.polyfit(beyond, change, 1)[0] if len(part) > 2 else np.nan,
            }
        )
    return pd.DataFrame(out).round(3)


def main() -> None:
    """Measure the heads that are not measured yet, and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="from 1")
    options = parser.parse_args()
    atlas = as_atlas(read_atlas(options.out / "atlas"))
    for folder in sorted(options.out.glob("sub-*")):
        table = folder / "chi-step.tsv"
        if table.exists() or (options.only and int(folder.name[4:]) not in options.only):
            continue
        write_table(table, one_head(folder, atlas))
        print(folder.name, flush=True)
    found = [pd.read_csv(t, sep="\t") for t in sorted(options.out.glob("sub-*/chi-step.tsv"))]
    print(summary(pd.concat(found)).to_string(index=False))


if __name__ == "__main__":
    main()
