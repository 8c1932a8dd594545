"""Every setting, version, seed and checksum of a study, flat enough for a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelqsm.pipeline.comparison import CompareOptions


def comparison_settings(options: CompareOptions) -> dict[str, object]:
    """Every option of a comparison."""
    record = dataclasses.asdict(options)
    margins = record.pop("margin_ppb")
    settings = {f"compare: {name}": value for name, value in record.items() if value != ""}
    return settings | {f"compare: margin_ppb {r}": ppb for r, ppb in margins.items()}


def comparison_provenance(settings: Mapping[str, Any]) -> dict[str, object]:
    """Inputs with their checksums, and software, of a comparison."""
    inputs = {
        f"{name} sha256": f"{record['sha256']} ({Path(record['path']).name})"
        for name, record in settings.get("inputs", {}).items()
    }
    return inputs | versions({"compare": settings.get("software", {})})


def versions(steps: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    """Software -> version; where steps ran with several, each with the steps it ran in."""
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
    """Settings with their step before their name."""
    return {f"{prefix}: {name}": value for name, value in settings.items()}
