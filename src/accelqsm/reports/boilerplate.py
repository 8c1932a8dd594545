"""Methods text and references of a result folder, from its settings."""

from __future__ import annotations

from pathlib import Path

from accelqsm.files.atomic import write_text
from accelqsm.files.toml import read_settings
from accelqsm.reports.bibliography import bibtex, references
from accelqsm.reports.methods import (
    nuclei_citations,
    nuclei_text,
    reconstruction_citations,
    reconstruction_text,
    statistics_citations,
    statistics_text,
    susceptibility_citations,
    susceptibility_text,
)
from accelqsm.results.comparison import unchecked_comparison
from accelqsm.results.records import SETTINGS, recon_of_record, settings_of_record

METHODS, REFERENCES = "methods.md", "references.bib"


def write_methods(folder: Path) -> None:
    """Write ``methods.md`` and ``references.bib``, which describe the settings of a folder.

    Raises:
        InputError: settings that cannot be read.
    """
    paragraphs, keys = methods_of(folder)
    numbered = "\n".join(f"- {line}" for line in references(keys))
    text = "\n\n".join(paragraphs)
    write_text(folder / METHODS, f"{text}\n\n## References\n\n{numbered}\n")
    write_text(folder / REFERENCES, bibtex(keys))


def methods_of(folder: Path) -> tuple[list[str], list[str]]:
    """Methods paragraphs of a result folder, and the keys of the works that they cite."""
    path = folder / SETTINGS
    record = read_settings(path)
    if record.get("command") == "compare":
        stored = unchecked_comparison(folder)
        return [statistics_text(stored)], statistics_citations(stored)
    paragraphs: list[str] = []
    keys: list[str] = []
    recon = recon_of_record(record, path)
    source = record.get("source", {})
    if recon is not None:
        paragraphs.append(reconstruction_text({"The scan": (recon, source)}))
        keys += reconstruction_citations(recon, source)
    if "qsm" in record:
        qsm = settings_of_record(record, path)
        paragraphs.append(susceptibility_text(qsm, source))
        keys += susceptibility_citations(qsm, source)
    if "nuclei" in record:
        paragraphs.append(nuclei_text(record))
        keys += nuclei_citations(record)
    return paragraphs, keys
