"""Files at the root of a BIDS dataset: what it is, by whom it was made, and what is not BIDS in it.

Source: BIDS 1.11.1, modality agnostic files; Gorgolewski et al. 2016, Sci Data 3:160044,
doi 10.1038/sdata.2016.44.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from accelqsm import __version__
from accelqsm.errors import InputError, MissingError
from accelqsm.files.atomic import write_text
from accelqsm.files.text.json_object import read_json_object

DESCRIPTION, IGNORED, README = "dataset_description.json", ".bidsignore", "README.md"
PARTICIPANTS = "participants.tsv"
VERSION = "1.11.1"
Kind = Literal["raw", "derivative"]

PARTICIPANT_MEANINGS: Mapping[str, Mapping[str, Any]] = {
    "participant_id": {"Description": "Label of the participant"},
    "age": {"Description": "Age of the participant", "Units": "year"},
    "sex": {"Description": "Sex of the participant", "Levels": {"F": "female", "M": "male"}},
}


def write_description(
    folder: Path,
    *,
    name: str,
    kind: Kind,
    readme: str,
    links: Mapping[str, str] | None = None,
    ignored: Sequence[str] = (),
) -> None:
    """Write ``dataset_description.json``, ``README.md`` and ``.bidsignore``.

    Args:
        folder: root of the dataset.
        name: of the dataset.
        kind: "raw" or "derivative".
        readme: text of ``README.md``.
        links: name -> location of datasets that this one is made from, for ``bids:name:`` URIs.
        ignored: patterns of files that are not BIDS. A folder has no slash at its end: the
            validator would not ignore what is in it.
    """
    by = {"Name": "accelqsm", "Version": __version__}
    made: dict[str, Any] = {"Name": name, "BIDSVersion": VERSION, "DatasetType": kind}
    made["GeneratedBy"] = [by]
    if links:
        made["DatasetLinks"] = dict(links)
        made["SourceDatasets"] = [{"URL": where} for where in links.values()]
    write_json(folder / DESCRIPTION, made)
    write_text(folder / README, f"# {name}\n\n{readme}\n")
    if ignored:
        write_text(folder / IGNORED, "\n".join(ignored) + "\n")


def check_description(folder: Path) -> None:
    """Check that a folder is a BIDS dataset.

    Raises:
        MissingError: no such folder.
        InputError: no ``dataset_description.json``, or one that is not of a dataset.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        if not folder.is_dir():
            raise MissingError(f"{folder}: expected a BIDS dataset, found no such folder")
        raise InputError(f"{path}: expected the description of a BIDS dataset, found none")
    if "BIDSVersion" not in read_json_object(path):
        raise InputError(f"{path}: expected BIDSVersion, found none")


def write_json(path: Path, fields: Mapping[str, Any]) -> None:
    """Write a JSON object atomically; the same fields give the same bytes."""
    write_text(path, json.dumps(dict(fields), indent=2, ensure_ascii=False) + "\n")
