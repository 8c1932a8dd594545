"""Full names of nuclei."""

from __future__ import annotations

from collections.abc import Iterable

from accelqsm.nomenclature import FULL_NAMES, SIDES


def full_name(region: str) -> str:
    """Name of a region without abbreviation: "L SNc" is "left substantia nigra, pars compacta".

    A region that is not known keeps its name.
    """
    side, _, rest = region.partition(" ")
    if side in SIDES and rest in FULL_NAMES:
        return f"{SIDES[side]} {FULL_NAMES[rest]}"
    return FULL_NAMES.get(region, region)


def glossary(regions: Iterable[str]) -> dict[str, str]:
    """Full name of each abbreviation without side, in order; others are left out."""
    plain = [r.partition(" ")[2] if r.partition(" ")[0] in SIDES else r for r in regions]
    return {region: FULL_NAMES[region] for region in dict.fromkeys(plain) if region in FULL_NAMES}
