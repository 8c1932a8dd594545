"""A study in its folder: dataset, settings, labels and what is known of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from accelqsm.errors import InputError
from accelqsm.files.atlases import find_atlas
from accelqsm.files.bids.dataset import Dataset, Scan
from accelqsm.files.megre.bids import IMAGE_ENDINGS, bids_name
from accelqsm.recon.weights import weights_checksum
from accelqsm.study.keys import Sums, code_version, step_key
from accelqsm.study.plan import MAP, NUCLEI, REGISTRATION, STEPS, Step, plan_subject
from accelqsm.study.settings import Study

SUMS = ".sums"
LOOKUP_ENDING, LABELS_SUFFIX = "_dseg.tsv", "dseg"


@dataclass(frozen=True)
class Context:
    """A study in its folder.

    Attributes:
        dataset: what is studied.
        study: settings, complete.
        out: folder of the study.
    """

    dataset: Dataset
    study: Study
    out: Path

    @cached_property
    def sums(self) -> Sums:
        """Checksums of files, kept in the folder of the study."""
        return Sums(self.out / STEPS / SUMS)

    @cached_property
    def labels(self) -> dict[Scan, Path]:
        """Images of labels that are given in place of an atlas, by scan."""
        return {} if self.labels_root is None else _labels(self.labels_root, self)

    @cached_property
    def labels_root(self) -> Path | None:
        """Root of the dataset of labels.

        Raises:
            InputError: no such folder.
        """
        if not self.study.study.labels:
            return None
        root = self.dataset.root / self.study.study.labels
        if not root.is_dir():
            raise InputError(f"{root}: expected a folder with labels, found none")
        return root

    @cached_property
    def lookup(self) -> Path:
        """Table with index and name of the labels.

        Raises:
            InputError: none, or several.
        """
        root = self.labels_root or self.dataset.root
        found = sorted(root.glob(f"*{LOOKUP_ENDING}")) + sorted(root.glob("dseg.tsv"))
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "none"
            raise InputError(f"{root}: expected one *{LOOKUP_ENDING} with the names, found {names}")
        return found[0]

    @cached_property
    def atlas(self) -> Path:
        """Folder of the atlas, which is downloaded if it is named and not here."""
        return find_atlas(self.study.study.atlas)

    def steps(self, subject: str) -> list[Step]:
        """All steps of a subject."""
        return plan_subject(self.dataset, subject, self.study, self.labels)

    def folder(self, step: Step) -> Path:
        """Folder of the results of a step."""
        return self.out / step.folder

    def key(self, step: Step, needs: Mapping[str, Mapping[str, str]]) -> str:
        """Key of a step, from the sums of the results that it needs, by role.

        Raises:
            InputError: an input that is not there.
        """
        inputs: dict[str, Any] = {
            role: {self.uri(path): self.sums.of(path) for path in paths}
            for role, paths in step.inputs.items()
        }
        inputs |= {f"step {role}": dict(sums) for role, sums in needs.items()}
        inputs |= {role: self._sums_of(paths) for role, paths in self._shared(step).items()}
        recon = step.settings.get("recon", {})
        weights = recon.get("network", {}).get("weights", "") if step.kind == MAP else ""
        return step_key(
            step.settings, inputs, weights_checksum(weights) if weights else "", code_version()
        )

    def uri(self, path: Path) -> str:
        """BIDS URI of a file of the dataset or the study; other paths as they are."""
        for name, root in (("raw", self.dataset.root), ("", self.out)):
            if path.is_relative_to(root):
                return f"bids:{name}:{path.relative_to(root).as_posix()}"
        return str(path)

    def uris(self, value: Any) -> Any:
        """A record in which paths below dataset and study are BIDS URIs, wherever these lie."""
        if isinstance(value, Mapping):
            return {name: self.uris(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.uris(one) for one in value]
        if not (isinstance(value, str) and "/" in value):
            return value
        uri = self.uri(Path(value))
        return uri if uri.startswith("bids:") else value

    def _shared(self, step: Step) -> dict[str, list[Path]]:
        """Files that all subjects share: those of the atlas, or the names of labels."""
        if step.kind == REGISTRATION or (step.kind == NUCLEI and not self.study.study.labels):
            return {"atlas": sorted(path for path in self.atlas.iterdir() if path.is_file())}
        return {"lookup": [self.lookup]} if step.kind == NUCLEI else {}

    def _sums_of(self, paths: list[Path]) -> dict[str, str]:
        return {path.name: self.sums.of(path) for path in paths}


def _labels(root: Path, context: Context) -> dict[Scan, Path]:
    """Label image of each scan: of its own name; one without ``acq-`` is the reference's."""
    found: dict[tuple[str, str, str, str], Path] = {}
    for path in sorted(root.glob("sub-*/**/*")):
        name = bids_name(path)
        if name.suffix == LABELS_SUFFIX and path.name.endswith(IMAGE_ENDINGS):
            labels = tuple(name.label(key) or "" for key in ("sub", "ses", "acq", "run"))
            key = (labels[0], labels[1], labels[2], labels[3])
            if key in found:
                raise InputError(f"{path}: expected one *_dseg of a scan, found also {found[key]}")
            found[key] = path
    labels_of: dict[Scan, Path] = {}
    for scan in context.dataset.scans:
        who = (scan.subject.removeprefix("sub-"), scan.session.removeprefix("ses-"))
        keys = [(*who, scan.acq, scan.run)]
        if scan.protocol == context.study.study.reference:
            keys += [(*who, "", ""), (who[0], "", "", "")]
        own = [found[key] for key in keys if key in found]
        if own:
            labels_of[scan] = own[0]
    return labels_of
