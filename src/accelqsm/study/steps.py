"""What each kind of step computes, and writes as a folder of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelqsm.results.folder import results_folder
from accelqsm.results.maps import CHI_SD, CHIMAP, MAGNITUDE, MASK, R2STAR
from accelqsm.study.context import Context
from accelqsm.study.plan import MAP, NUCLEI, REGISTRATION, Step
from accelqsm.study.state import KEY

if TYPE_CHECKING:
    from accelqsm.pipeline.nuclei.head import MappedHead
    from accelqsm.results.maps import SusceptibilityMaps
    from accelqsm.results.nuclei import NucleiResult
    from accelqsm.results.registration import Registration


def do(context: Context, step: Step, key: str) -> None:
    """Compute a step and write its results, whole or not at all; the key is in their record.

    Raises:
        InputError: inputs that cannot be used.
    """
    from accelqsm.reports.boilerplate import write_methods

    with results_folder(context.folder(step), step.kind, overwrite=True) as folder:
        made = COMPUTE[step.kind](context, step)
        source: dict[str, Any] = {**context.uris(made.source), KEY: key}
        replace(made, source=source).write(folder)
        if step.kind != REGISTRATION:
            write_methods(folder)


def compute_maps(context: Context, step: Step) -> SusceptibilityMaps:
    """Susceptibility maps of a scan, from raw k-space or from images of every echo."""
    from accelqsm.api.images import map_susceptibility, read_images, read_mrd, susceptibility
    from accelqsm.runtime.device import use_threads

    scan, study = step.scan, context.study
    use_threads(study.study.threads)
    if not scan.is_kspace:
        return susceptibility(read_images(scan.images), settings=study.qsm)
    from accelqsm.errors import naming

    raw = scan.files[0]
    kspace = read_mrd(raw)
    with naming(raw):
        maps = map_susceptibility(kspace, study.recon[scan.protocol], settings=study.qsm)
    return replace(maps, source={"scan": str(raw), **maps.source})


def compute_registration(context: Context, step: Step) -> Registration:
    """Registration of a head to the atlas, from its reference scan."""
    from accelqsm.api.registration import register_head

    return register_head(
        _head(context, step, "map"),
        atlas=context.study.study.atlas,
        t1w=_t1w(step),
        syn=context.study.syn,
    )


def compute_nuclei(context: Context, step: Step) -> NucleiResult:
    """Nuclei of a scan: of its registered head, with its own labels, or with the reference's."""
    from accelqsm.api.nuclei import coregister_nuclei
    from accelqsm.api.registration import nuclei_of_head, nuclei_of_labels

    head, settings = _head(context, step, "map"), context.study.nuclei
    if "registration" in step.needs:
        from accelqsm.results.registration import read_registration

        return nuclei_of_head(
            head,
            read_registration(context.out / step.needs["registration"]),
            atlas=context.study.study.atlas,
            t1w=_t1w(step),
            reference=_head(context, step, "reference") if "reference" in step.needs else None,
            settings=settings,
        )
    labels = step.inputs["labels"][0]
    if "reference" not in step.needs:
        return nuclei_of_labels(head, labels=labels, lookup=context.lookup, settings=settings)
    return coregister_nuclei(
        head,
        labels=labels,
        lookup=context.lookup,
        reference_magnitude=context.out / step.needs["reference"] / MAGNITUDE,
        settings=settings,
    )


COMPUTE: Mapping[str, Callable[[Context, Step], Any]] = {
    MAP: compute_maps,
    REGISTRATION: compute_registration,
    NUCLEI: compute_nuclei,
}


def _head(context: Context, step: Step, role: str) -> MappedHead:
    from accelqsm.api.nuclei import mapped_head

    folder = context.out / step.needs[role]

    def optional(name: str) -> Path | None:
        return folder / name if (folder / name).is_file() else None

    return mapped_head(
        folder / CHIMAP,
        magnitude=folder / MAGNITUDE,
        mask=folder / MASK,
        r2star_per_s=optional(R2STAR),
        chi_sd=optional(CHI_SD),
    )


def _t1w(step: Step) -> Path | None:
    return step.inputs["t1w"][0] if "t1w" in step.inputs else None
