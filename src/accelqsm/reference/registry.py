"""Registry of the reference regions, for maps and for tables of nuclei."""

from __future__ import annotations

from dataclasses import dataclass

from accelqsm.options.registry import Choice, Registry


@dataclass(frozen=True)
class Reference(Choice):
    """A region whose mean susceptibility is taken as zero.

    Its function takes ``(mask, r2star_per_s, *, voxel_size_mm)`` as arrays and returns the region,
    bool (x, y, z), or None for no shift.

    Attributes:
        needs_r2star: whether it is segmented from R2*, which needs two echoes or more.
    """

    needs_r2star: bool = False


REFERENCES: Registry[Reference] = Registry(
    "reference",
    [
        Reference(
            "brain",
            "accelqsm.reference.whole:brain",
            "relative to the mean of the brain mask",
        ),
        Reference(
            "csf",
            "accelqsm.reference.ventricles:csf",
            "relative to the cerebrospinal fluid of the ventricles (after Liu et al. 2018)",
            citations=("liu2018",),
            needs_r2star=True,
        ),
        Reference("none", "accelqsm.reference.whole:none", "without a reference region"),
    ],
)
