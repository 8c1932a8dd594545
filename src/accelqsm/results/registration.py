"""Result folder of the registration of a head to an atlas: matrices and displacement fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accelqsm.errors import InputError
from accelqsm.files.nifti import read_image, write_image
from accelqsm.files.toml import read_settings, write_settings
from accelqsm.nuclei.register import Matrix, TemplateMap
from accelqsm.nuclei.settings import SynSettings
from accelqsm.options.table import from_table, plain
from accelqsm.results.integrity.check import check_folder
from accelqsm.results.provenance import software
from accelqsm.results.records import SETTINGS
from accelqsm.results.saved import SavedResult

TO_TEMPLATE, FROM_TEMPLATE = "to-template.nii.gz", "from-template.nii.gz"


@dataclass(frozen=True)
class Registration(SavedResult):
    """Transforms from a scan of a head to an atlas, which all scans of the head share.

    Attributes:
        to_head: 4 x 4, takes world points of the scan to those of the T1w image; the identity
            without one.
        to_template: from the space of the T1w image, or of the scan, to that of the template.
        contrasts: contrasts that were compared.
        atlas: name of the atlas.
        syn: settings of the deformable registration.
        source: record of the inputs.
    """

    to_head: Matrix
    to_template: TemplateMap
    contrasts: tuple[str, ...]
    atlas: str
    syn: SynSettings
    source: Mapping[str, Any]

    @property
    def owner(self) -> str:
        """Command whose results these are."""
        return "registration"

    def write(self, out: Path) -> None:
        """Write displacement fields (mm, RAS+, in the template's space); the settings last."""
        fields = {
            TO_TEMPLATE: self.to_template.to_template_mm,
            FROM_TEMPLATE: self.to_template.from_template_mm,
        }
        for name, field in fields.items():
            write_image(out / name, np.moveaxis(field, 0, -1), self.to_template.grid)
        record = {
            "command": self.owner,
            "source": dict(self.source),
            "registration": {
                "atlas": self.atlas,
                "contrasts": list(self.contrasts),
                "to_head": self.to_head.tolist(),
                "affine": self.to_template.affine.tolist(),
            },
            "syn": plain(self.syn),
            "software": software(),
        }
        write_settings(out / SETTINGS, record)


def read_registration(folder: str | Path) -> Registration:
    """Read a registration as written by ``Registration.save``.

    Raises:
        InputError: files that are missing, cannot be read or are not as their run left them.
    """
    out = Path(folder)
    check_folder(out)
    record = read_settings(out / SETTINGS)
    known = record.get("registration")
    if not isinstance(known, dict):
        raise InputError(f"{out / SETTINGS}: expected a table [registration], found none")
    images = [read_image(out / name) for name in (TO_TEMPLATE, FROM_TEMPLATE)]
    forward, inverse = (
        np.ascontiguousarray(np.moveaxis(np.asarray(i.values, dtype=np.float32), -1, 0))
        for i in images
    )
    affine = np.asarray(known["affine"], dtype=np.float64)
    return Registration(
        to_head=np.asarray(known["to_head"], dtype=np.float64),
        to_template=TemplateMap(affine, forward, inverse, images[0].grid),
        contrasts=tuple(known["contrasts"]),
        atlas=str(known["atlas"]),
        syn=from_table(SynSettings, record.get("syn", {})),
        source=record.get("source", {}),
    )
