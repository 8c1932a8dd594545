"""Methods text, references and provenance of a study from the settings files of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelqsm.files.toml import read_settings
from accelqsm.qsm.settings import QsmSettings
from accelqsm.reports.content.comparison import CHECKLISTS
from accelqsm.reports.content.record import (
    comparison_provenance,
    comparison_settings,
    flat,
    versions,
)
from accelqsm.reports.methods import (
    Recorded,
    acquisition_text,
    reconstruction_citations,
    reconstruction_text,
    statistics_citations,
    statistics_text,
    susceptibility_citations,
    susceptibility_text,
)
from accelqsm.results.comparison import Comparison
from accelqsm.results.records import SETTINGS, recon_of_record, settings_of_record
from accelqsm.results.study import BEFOREHAND, SCANS

UNSHOWN = ("scan", "weights_sha256")


@dataclass(frozen=True)
class StudyRecords:
    """Contents of the ``settings.toml`` files of a study.

    Attributes:
        scans: settings of simulated scans; empty if the scans are not simulated.
        maps: protocol label -> settings of its maps.
        paths: protocol label -> path of that file, for messages.
        beforehand: how heads were made that were not measured here; empty without any.
    """

    scans: Mapping[str, Any]
    maps: Mapping[str, Mapping[str, Any]]
    paths: Mapping[str, Path]
    beforehand: Mapping[str, Any]

    @classmethod
    def of(cls, out: Path, folders: Mapping[str, Path]) -> StudyRecords:
        """Read the settings from the folder of a study and the folders of its maps."""
        scans, own = out / SCANS / SETTINGS, out / SETTINGS
        paths = {label: maps / SETTINGS for label, maps in folders.items()}
        paths = {label: path for label, path in paths.items() if path.is_file()}
        return cls(
            read_settings(scans) if scans.is_file() else {},
            {label: read_settings(path) for label, path in paths.items()},
            paths,
            read_settings(own).get(BEFOREHAND, {}) if own.is_file() else {},
        )

    def recons(self) -> dict[str, Recorded]:
        """Protocol label -> settings and source of its reconstruction."""
        return {
            label: (recon_of_record(record, self.paths[label]), record.get("source", {}))
            for label, record in self.maps.items()
        }

    def qsm(self, reference: str) -> QsmSettings | None:
        """QSM settings of the reference's map; None if not recorded."""
        record = self.maps.get(reference, {})
        return settings_of_record(record, self.paths[reference]) if "qsm" in record else None

    def _source(self, reference: str) -> Mapping[str, Any]:
        """Record of the input of the reference's map."""
        return dict(self.maps.get(reference, {}).get("source", {}))

    def methods(self, stored: Comparison) -> list[str]:
        """Methods paragraphs of the study."""
        qsm, paragraphs = self.qsm(stored.reference), []
        if self.scans:
            paragraphs.append(acquisition_text(self.scans["scanner"], self.scans["seed"]))
        if self.maps:
            paragraphs.append(reconstruction_text(self.recons()))
        if qsm is not None:
            paragraphs.append(susceptibility_text(qsm, self._source(stored.reference)))
        return [*paragraphs, statistics_text(stored)]

    def citations(self, stored: Comparison) -> list[str]:
        """Keys of the works that the paragraphs cite, in their order."""
        qsm = self.qsm(stored.reference)
        keys = ["zhou2025"] if qsm is not None or stored.settings.published else []
        for settings, source in self.recons().values():
            keys += reconstruction_citations(settings, source)
        source = self._source(stored.reference)
        keys += [] if qsm is None else susceptibility_citations(qsm, source)
        return [*keys, *statistics_citations(stored), *CHECKLISTS]

    def settings(self, stored: Comparison) -> dict[str, object]:
        """All settings as a flat table."""
        settings = flat("scanner", self.scans.get("scanner", {}))
        for label, record in self.maps.items():
            known = {**record.get("source", {}), **record.get("recon", {})}
            settings |= flat(label, {k: v for k, v in known.items() if k not in UNSHOWN})
        qsm = self.maps.get(stored.reference, {}).get("qsm", {})
        return settings | flat("qsm", qsm) | comparison_settings(stored.settings)

    def provenance(self, stored: Comparison) -> dict[str, object]:
        """Seeds, checksums and versions."""
        known: dict[str, object] = {
            name: self.scans[name] for name in ("seed", "preset") if name in self.scans
        }
        for label, record in self.maps.items():
            checksum = record.get("source", {}).get("weights_sha256")
            if checksum:
                known[f"{label} weights sha256"] = checksum
        steps = {"scans": self.scans.get("software", {})}
        steps |= {
            f"{label} maps": record.get("software", {}) for label, record in self.maps.items()
        }
        steps["compare"] = stored.software
        return known | comparison_provenance(stored) | versions(steps)
