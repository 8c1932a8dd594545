"""Errors of the QSM chain, stage by stage and as a whole, beside what others do; Markdown tables.

Heads of ``qsm_head``; none of the seeds reported served to choose a setting (those were 100 to
102). Each stage also runs from the true result of the one before. Needs the [bench] extra.
Usage: python benchmarks/qsm_chain.py [field background inversion whole] [--seeds 200 201]
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from accelqsm.grid import Triple
from accelqsm.qsm.background.dipole_fit import dipole_fit
from accelqsm.qsm.background.vsharp import vsharp
from accelqsm.qsm.chain import DEFAULT, QsmResult, susceptibility, total_field
from accelqsm.qsm.field.lags import LagProducts, lag_products
from accelqsm.qsm.field.mdi import multilag_field
from accelqsm.qsm.field.uncertainty import field_sd_hz
from accelqsm.qsm.inversion.l1 import l1_dipole_inversion
from accelqsm.qsm.inversion.settings import L1Settings
from accelqsm.qsm.mask import erode
from accelqsm.qsm.settings import QsmSettings
from accelqsm.units import hz_to_ppm, larmor_hz_per_ppm
from qsm_head import ANCHOR, FIELD_STRENGTH_T, OBLIQUE, PAPER, Case, Protocol, scanned_head
from qsm_peers import closed_form, fitted_field_hz, hd_qsm, pdf, resharp, tkd
from qsm_scores import field_scores, map_scores

SEEDS = (200, 201, 202)
COMMON_MM = 6.0
WRONG_SHARE = 0.01
PLAIN = L1Settings(
    regularisation=2e-4,
    small_gradient=0.0,
    dynamic_noise=False,
    dynamic_structure=False,
    restore_contrast=False,
    n_iterations=100,
    tolerance=1e-2,
)
EVERYWHERE = QsmSettings(phase_quality="everywhere")
PEER = "scikit-image, fit, RESHARP, TV"

Row = tuple[str, dict[str, float]]


def main() -> None:
    """Print the tables asked for."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", default=list(TABLES), metavar="TABLE")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    asked = parser.parse_args()
    found: dict[str, dict[tuple[str, str], list[dict[str, float]]]] = {t: {} for t in asked.tables}
    for name, case in _cases(asked.seeds):
        for table in asked.tables:
            for row, scores in TABLES[table](case):
                found[table].setdefault((name, row), []).append(scores)
    for table, rows in found.items():
        print(f"\n### {table}\n")
        _print(rows)


def _cases(seeds: list[int]) -> Iterator[tuple[str, Case]]:
    """The heads, with the name of the row that they belong to."""
    for seed in seeds:
        yield "1.5 x 1.5 x 2, SNR 100", scanned_head(ANCHOR, seed=seed, snr=100)
        yield "1.5 x 1.5 x 2, SNR 30", scanned_head(ANCHOR, seed=seed + 10, snr=30)
    once: list[tuple[str, Protocol, int]] = [
        ("oblique 20 degrees, SNR 100", OBLIQUE, 20),
        ("0.8 x 0.8 x 2, 8 echoes, SNR 100", PAPER, 30),
    ]
    for name, protocol, offset in once:
        yield name, scanned_head(protocol, seed=seeds[0] + offset, snr=100)


def field_rows(case: Case) -> Iterator[Row]:
    """Total field over the true brain."""
    times_s = case.acquisition.echo_times_s
    true_ppm = _ppm(case.field_hz)

    def scored(field_hz: Tensor) -> dict[str, float]:
        return field_scores(_ppm(field_hz), true_ppm, case.brain)

    everywhere = QsmSettings(least_coherence=0.0)
    yield "accelqsm", scored(_chain(case, mask=case.brain, settings=everywhere).field_hz)
    yield "scikit-image + fit", scored(fitted_field_hz(case.images[0], times_s, case.brain))
    yield "bound", scored(_bound_hz(case))


def _bound_hz(case: Case) -> Tensor:
    """Images without noise, no voxel unwrapped wrongly, and noise at the Cramer-Rao bound."""
    quiet = lag_products(case.quiet_images, echo_times_s=case.acquisition.echo_times_s)
    field_hz = multilag_field(quiet, case.field_hz, case.brain)
    sd_hz = field_sd_hz(quiet, noise_sd=case.noise_sd).nan_to_num(0, posinf=0)
    generator = torch.Generator().manual_seed(0)
    return field_hz + sd_hz * torch.randn(sd_hz.shape, generator=generator)


def background_rows(case: Case) -> Iterator[Row]:
    """Local field from the true total field, on the voxels 6 mm inside the brain."""
    size_mm, direction = _geometry(case)
    total, local = _ppm(case.field_hz), _ppm(case.local_field_hz)
    # A side that the volume cuts counts as an edge too.
    padded = functional.pad(case.brain, (1, 1, 1, 1, 1, 1))
    common = erode(padded, COMMON_MM, voxel_size_mm=size_mm)[1:-1, 1:-1, 1:-1]
    ones = torch.ones_like(total)
    removed = {
        "accelqsm (dipole fit)": dipole_fit(
            total, case.brain, voxel_size_mm=size_mm, b0_direction=direction
        ),
        "accelqsm (vSHARP)": vsharp(total, case.brain, voxel_size_mm=size_mm),
        "PDF": pdf(total, case.brain, ones, size_mm, direction),
        "RESHARP": resharp(total, case.brain, size_mm),
    }
    for name, found in removed.items():
        here = common & found.mask
        error = found.field_ppm - local
        error = error - error[here].mean()
        yield (
            name,
            {
                "NRMSE": 100 * float(error[here].norm() / _centred(local[here]).norm()),
                "kept %": 100 * float(found.mask.sum() / case.brain.sum()),
            },
        )


def inversion_rows(case: Case) -> Iterator[Row]:
    """Susceptibility from the true local field."""
    local = _ppm(case.local_field_hz) * case.brain
    generator = torch.Generator().manual_seed(1)
    wrong = case.brain & (torch.rand(local.shape, generator=generator) < WRONG_SHARE)
    times_s = case.acquisition.echo_times_s
    turn_ppm = 1 / (times_s[1] - times_s[0]) / larmor_hz_per_ppm(FIELD_STRENGTH_T)
    for suffix, field in (("", local), (", 1 % wrapped", local + turn_ppm * wrong)):
        for name, invert in _inversions(case).items():
            yield name + suffix, _scores(case, invert(field), case.brain)


def _inversions(case: Case) -> dict[str, Callable[[Tensor], Tensor]]:
    size_mm, direction = _geometry(case)
    edges = total_field(
        _products(case),
        grid=case.acquisition.grid,
        field_strength_t=FIELD_STRENGTH_T,
        mask=case.brain,
    ).subject.edges

    def ours(field: Tensor) -> Tensor:
        return l1_dipole_inversion(
            field,
            case.brain,
            voxel_size_mm=size_mm,
            b0_direction=direction,
            data_weight=case.brain.float(),
            edges=edges,
        )

    def plain(field: Tensor) -> Tensor:
        return plain_tv(field, case.brain, size_mm, direction)

    return {
        "accelqsm": ours,
        "TV": plain,
        "HD-QSM": lambda field: hd_qsm(field, case.brain, case.brain, size_mm, direction),
        "closed form": lambda field: closed_form(field, case.brain, size_mm, direction),
        "TKD": lambda field: tkd(field, case.brain, size_mm, direction),
    }


def plain_tv(field_ppm: Tensor, mask: Tensor, size_mm: Triple, direction: Triple) -> Tensor:
    """Total variation without weights of any kind, to a small change."""
    return l1_dipole_inversion(
        field_ppm,
        mask,
        voxel_size_mm=size_mm,
        b0_direction=direction,
        settings=PLAIN,
    )


def whole_rows(case: Case) -> Iterator[Row]:
    """Susceptibility from noisy images; the mask is the chain's own but where a row says so."""
    size_mm, direction = _geometry(case)
    found = _chain(case)
    for name, result in (
        ("accelqsm", found),
        ("accelqsm, true mask", _chain(case, mask=case.brain)),
        ("accelqsm, phase quality everywhere", _chain(case, settings=EVERYWHERE)),
        ("accelqsm, vSHARP", _chain(case, settings=QsmSettings(background="vsharp"))),
    ):
        yield name, _scores(case, result.chi_ppm, result.mask & case.brain)
    local_ppm = _ppm(found.local_field_hz)
    hd_ppm = hd_qsm(local_ppm, found.mask, found.mask, size_mm, direction)
    yield "accelqsm's local field, HD-QSM", _scores(case, hd_ppm, found.mask & case.brain)
    field_hz = fitted_field_hz(case.images[0], case.acquisition.echo_times_s, case.brain)
    local = resharp(_ppm(field_hz), case.brain, size_mm)
    chi_ppm = plain_tv(local.field_ppm, local.mask, size_mm, direction)
    yield PEER, _scores(case, chi_ppm, local.mask)


TABLES = {
    "field": field_rows,
    "background": background_rows,
    "inversion": inversion_rows,
    "whole": whole_rows,
}


def _chain(case: Case, *, mask: Tensor | None = None, settings: QsmSettings = DEFAULT) -> QsmResult:
    return susceptibility(
        _products(case),
        grid=case.acquisition.grid,
        field_strength_t=FIELD_STRENGTH_T,
        mask=mask,
        settings=settings,
    )


def _products(case: Case) -> LagProducts:
    return lag_products(case.images, echo_times_s=case.acquisition.echo_times_s)


def _scores(case: Case, chi_ppm: Tensor, mask: Tensor) -> dict[str, float]:
    size_mm = case.acquisition.grid.voxel_size_mm
    scores = map_scores(chi_ppm, case.chi_ppm, case.labels, mask, size_mm)
    return scores | {"kept %": 100 * float(mask.sum() / case.brain.sum())}


def _geometry(case: Case) -> tuple[Triple, Triple]:
    return case.acquisition.grid.voxel_size_mm, case.acquisition.grid.b0_direction


def _ppm(field_hz: Tensor) -> Tensor:
    return hz_to_ppm(field_hz, FIELD_STRENGTH_T)


def _centred(values: Tensor) -> Tensor:
    return values - values.mean()


def _print(rows: dict[tuple[str, str], list[dict[str, float]]]) -> None:
    """A row per kind of head and method: the mean over heads, and the range where there are."""
    columns = list(dict.fromkeys(c for heads in rows.values() for s in heads for c in s))
    print("| head | method | " + " | ".join(columns) + " |")
    print("|---|---|" + "---:|" * len(columns))
    for (case, method), heads in rows.items():
        cells = [_cell([scores[c] for scores in heads if c in scores]) for c in columns]
        print(f"| {case} | {method} | " + " | ".join(cells) + " |")


def _cell(values: list[float]) -> str:
    if not values or any(math.isnan(v) for v in values):
        return ""
    digits = 3 if max(abs(v) for v in values) < 2 else 1
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return text
    return f"{text} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
