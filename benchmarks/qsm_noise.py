"""Nuclei, slopes and intervals as noise is added: digital heads, automatic mask, true labels.

The heads (upright and tilted by 20 degrees) served for no setting; those were 100 to 105 and 110
to 113. Noise of its own at each SNR (of the first echo's brightest hundredth).
Usage: PYTHONPATH=src python benchmarks/qsm_noise.py WORK [--heads 10] [--foreign FOLDER]
    [--seeds SEED ..., upright heads in place of those] [--draws N, of the noise]
    [--mni FOLDER, those heads on templates (mni_head.py), with the true mask]
    [--no-shading-correction, with another WORK]

WORK keeps the values of each digital head, so that a run that was stopped goes on. About 100 s a
head and draw. Slopes and shifts are those of the mean over draws; the foreign head's own noise is
in all of them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from accelqsm.files.nifti import read_image
from accelqsm.grid import Grid
from accelqsm.nuclei.interval import interval_ppb
from accelqsm.nuclei.measure import measure_nuclei
from accelqsm.qsm.chain import susceptibility
from accelqsm.qsm.field.lags import lag_products
from accelqsm.qsm.settings import QsmSettings
from accelqsm.simulate.heads.head import LOOKUP
from mni_head import mni_head
from qsm_head import (
    ANCHOR,
    FIELD_STRENGTH_T,
    OBLIQUE,
    Case,
    foreign_head,
    scan_of,
    scanned_head,
)

SNR = (100, 50, 25)
FIRST = {"upright": 310, "tilted": 320}
WHITE_PPM, GREY_PPM = (-0.035, -0.01), (0.01, 0.04)
FOREIGN = ("CN", "GP", "PU", "RN", "DN", "SN")
WHOLE = replace(ANCHOR, shape=(120, 144, 92))
"""A field of view that holds any head on templates."""

WITHIN_SHARE, WITHIN_PPB = 0.04, 1.5


def main() -> None:
    """Compute what is missing, then print the tables."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--heads", type=int, default=10, help="of each pose")
    parser.add_argument("--foreign", type=Path, help="a head of another origin, as images")
    parser.add_argument("--mni", type=Path, metavar="FOLDER", help="with cit168 and mni_tissue")
    parser.add_argument("--seeds", type=int, nargs="+", help="of upright heads")
    parser.add_argument("--draws", type=int, choices=range(1, 17), default=1, help="of the noise")
    parser.add_argument("--no-shading-correction", action="store_true")
    asked = parser.parse_args()
    settings = QsmSettings(shading_correction=not asked.no_shading_correction)
    asked.work.mkdir(parents=True, exist_ok=True)
    heads = [(pose, first + number) for number in range(asked.heads)
             for pose, first in FIRST.items()]  # fmt: skip
    if asked.mni and not asked.seeds:
        parser.error("--mni: expected --seeds of the heads on templates")
    if asked.seeds:
        heads = [("mni" if asked.mni else "upright", seed) for seed in asked.seeds]
    tables = []
    for (pose, seed), draw in product(heads, range(asked.draws)):
        path = asked.work / f"{pose}-{seed}{f'-draw{draw}' * (draw > 0)}.tsv"
        if not path.exists():
            case = case_of(pose, seed, asked.mni)
            mask = case.brain if pose == "mni" else None
            table = digital(case, mask, seed, draw, settings).assign(head=f"{pose} {seed}")
            table.to_csv(path, sep="\t", index=False)
        tables.append(pd.read_csv(path, sep="\t").assign(draw=draw))
    report(pd.concat(tables, ignore_index=True), "digital heads")
    if asked.foreign is not None:
        draws = [
            foreign(asked.foreign, draw, settings).assign(draw=draw) for draw in range(asked.draws)
        ]
        report(pd.concat(draws, ignore_index=True), "foreign head, given mask")


@lru_cache(maxsize=1)
def case_of(pose: str, seed: int, templates: Path | None) -> Case:
    """A scanned digital head, upright, tilted, or on templates."""
    if pose == "mni" and templates is not None:
        head = mni_head(WHOLE.fine_grid, templates, seed=seed)
        return scan_of(head, head.brain, WHOLE, seed=seed, snr=SNR[0])
    return scanned_head(OBLIQUE if pose == "tilted" else ANCHOR, seed=seed, snr=SNR[0])


def digital(
    case: Case, mask: Tensor | None, seed: int, draw: int, settings: QsmSettings
) -> pd.DataFrame:
    """Values of one digital head at every SNR."""
    lookup = pd.DataFrame(list(LOOKUP), columns=["index", "name"])
    rows = []
    for snr in SNR:
        images = with_noise(case.quiet_images, case.noise_sd * SNR[0] / snr,
                            noise_seed(snr, draw, seed))  # fmt: skip
        rows.append(
            measured(images, case.acquisition.echo_times_s, case.acquisition.grid,
                     case.chi_ppm, case.labels, case.brain, lookup, mask, settings)
            .assign(snr=snr)
        )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def foreign(folder: Path, draw: int, settings: QsmSettings) -> pd.DataFrame:
    """Values of a head of another origin, to whose own noise some is added."""
    echoes, chi_ppm, brain = foreign_head(folder)
    labels = torch.from_numpy(np.asarray(read_image(folder / "classes_dseg.nii.gz").values, int))
    lookup = pd.DataFrame({"index": range(1, len(FOREIGN) + 1), "name": FOREIGN})
    images, times_s = echoes.images, echoes.acquisition.echo_times_s
    signal = float(np.quantile(images[0, 0].abs()[brain].numpy(), 0.99))
    rows = []
    for snr in SNR:
        sd = signal * (snr**-2 - SNR[0] ** -2) ** 0.5
        noisy = with_noise(images, sd, noise_seed(snr, draw))
        rows.append(
            measured(noisy, times_s, echoes.acquisition.grid, chi_ppm, labels, brain, lookup,
                     brain, settings)
            .assign(head="foreign", snr=snr)
        )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def noise_seed(snr: int, draw: int, head: int = 0) -> int:
    """Seed of the noise, another one for every head, SNR and draw."""
    many, few = divmod(draw, 4)
    return 1000 * head + snr + 200 * few + 10_000_000 * many


def with_noise(images: Tensor, sd: float, seed: int) -> Tensor:
    """Complex images with white noise of ``sd`` in either part."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(*images.shape, 2, generator=generator) * sd
    return images + torch.view_as_complex(noise)


def measured(
    images: Tensor,
    echo_times_s: tuple[float, ...],
    grid: Grid,
    chi_ppm: Tensor,
    labels: Tensor,
    brain: Tensor,
    lookup: pd.DataFrame,
    mask: Tensor | None,
    settings: QsmSettings,
) -> pd.DataFrame:
    """Means of nuclei found and true with their intervals, and coverage of voxels by tissue."""
    found = susceptibility(
        lag_products(images, echo_times_s=echo_times_s),
        grid=grid,
        field_strength_t=FIELD_STRENGTH_T,
        mask=mask,
        settings=settings,
    )
    assert found.chi_sd_ppm is not None
    truth = chi_ppm - chi_ppm[found.mask & brain].mean()
    here, sd = found.mask.numpy(), found.chi_sd_ppm.numpy()
    values, volume = found.chi_ppm.numpy(), grid.voxel_volume_mm3
    names = labels.numpy().astype(int)
    table = measure_nuclei(values, names, lookup, voxel_volume_mm3=volume, mask=here)
    table["half_ppb"] = interval_ppb(values, sd, names, lookup, voxel_volume_mm3=volume, mask=here)
    table["true_ppb"] = measure_nuclei(
        truth.numpy(), names, lookup, voxel_volume_mm3=volume, mask=here
    )["mean_ppb"]
    covered = (found.chi_ppm - truth).abs() < found.chi_sd_ppm
    other = found.mask & (labels == 0)
    for name, tissue in {
        "white": other & (chi_ppm > WHITE_PPM[0]) & (chi_ppm < WHITE_PPM[1]),
        "grey": other & (chi_ppm > GREY_PPM[0]) & (chi_ppm < GREY_PPM[1]),
        "nuclei": found.mask & (labels > 0),
    }.items():
        table[name] = float(covered[tissue].float().mean())
    error = (found.chi_ppm - truth)[found.mask & brain]
    table["nrmse"] = 100 * float(error.norm() / truth[found.mask & brain].norm())
    return table


def report(table: pd.DataFrame, title: str) -> None:
    """Print what noise does, and how often intervals hold the truth."""
    sides = table["side"].unique()
    whole = table[table["side"] == ("both" if "both" in sides else "")]
    found = whole.pivot_table(index=["head", "region"], columns="snr", values="mean_ppb")
    true = whole.pivot_table(index=["head", "region"], columns="snr", values="true_ppb")[SNR[0]]
    heads = list(dict.fromkeys(whole["head"]))
    print(f"\n### {title} ({len(heads)})\n")
    print("| SNR | NRMSE % | slope | shift of the mean % | largest of a nucleus | within | "
          "intervals hold % | voxels hold (white, grey, nuclei) |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for snr in SNR:
        at = whole[whole["snr"] == snr]
        slopes = [np.polyfit(true[head], found.loc[head][snr], 1)[0] for head in heads]
        mean = found.groupby("head").mean()
        shift = 100 * (mean[snr] / mean[SNR[0]] - 1)
        moved = found[snr] - found[SNR[0]]
        typical = moved.groupby("region").mean()
        share = 100 * typical / true.groupby("region").mean()
        within = is_within(moved, true)
        rows = table[table["snr"] == snr].dropna(subset=["mean_ppb"])
        rows = rows if set(sides) == {""} else rows[rows["side"] != "both"]
        held = (rows["mean_ppb"] - rows["true_ppb"]).abs() < rows["half_ppb"]
        print(
            f"| {snr} | {at['nrmse'].mean():.1f} | {np.mean(slopes):.3f} "
            f"({min(slopes):.3f} to {max(slopes):.3f}) | {shift.mean():+.1f} "
            f"({shift.min():+.1f} to {shift.max():+.1f}) | {typical.abs().max():.1f} ppb, "
            f"{share.abs().max():.1f} % | {100 * within.mean():.0f} % | {100 * held.mean():.1f} | "
            f"{at['white'].mean():.2f}, {at['grey'].mean():.2f}, {at['nuclei'].mean():.2f} |"
        )
    if whole["draw"].nunique() > 1:
        print(f"\n{of_single_draws(whole)}")


def is_within(moved_ppb: pd.Series, true_ppb: pd.Series) -> pd.Series:
    """Whether values moved by less than is allowed."""
    return (moved_ppb.abs() <= WITHIN_PPB) | (moved_ppb.abs() <= WITHIN_SHARE * true_ppb.abs())


def of_single_draws(whole: pd.DataFrame) -> str:
    """How far shifts of one draw of the noise are chance, from the highest SNR to the lowest."""
    index = ["head", "region", "draw"]
    found = whole.pivot_table(index=index, columns="snr", values="mean_ppb")
    true = whole.pivot_table(index=index, columns="snr", values="true_ppb")[SNR[0]]
    moved = found[SNR[-1]] - found[SNR[0]]
    within = is_within(moved, true)
    sd = moved.groupby(["head", "region"]).std().groupby("region").mean()
    each = ", ".join(f"{region} {value:.1f}" for region, value in sd.items())
    return f"Single draws within: {100 * within.mean():.0f} %; SD between draws, ppb: {each}"


if __name__ == "__main__":
    main()
