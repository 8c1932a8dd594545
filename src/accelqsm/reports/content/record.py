"""Settings, versions, seeds and checksums of a study as flat tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelqsm.agreement.settings import CompareSettings
from accelqsm.results.comparison import Comparison


def comparison_settings(options: CompareSettings) -> dict[str, object]:
    """Settings of a comparison as a flat table."""
    record = dataclasses.asdict(options)
    margins = record.pop("margin_ppb")
    settings = {f"compare: {name}": value for name, value in record.items() if value != ""}
    return settings | {f"compare: margin_ppb {r}": ppb for r, ppb in margins.items()}


def comparison_provenance(comparison: Comparison) -> dict[str, object]:
    """Checksums of the inputs and software versions of a comparison."""
    inputs = {
        f"{name} sha256": f"{record['sha256']} ({Path(record['path']).name})"
        for name, record in comparison.inputs.items()
    }
    return inputs | versions({"compare": comparison.software})


def versions(steps: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    """Software -> version; several versions with the steps that ran with each."""
    found: dict[str, dict[str, list[str]]] = {}
    for step, software in steps.items():
        for name, version in software.items():
            found.setdefault(name, {}).setdefault(str(version), []).append(step)
    return {
        name: next(iter(by_version))
        if len(by_version) == 1
        else "; ".join(f"{version} ({', '.join(ran)})" for version, ran in by_version.items())
        for name, by_version in found.items()
    }


def flat(prefix: str, settings: Mapping[str, Any]) -> dict[str, object]:
    """Flatten nested settings, with the names of step and table as prefixes."""
    found: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(f"{prefix}: {name}", value)
        else:
            found[f"{prefix}: {name}"] = value
    return found
