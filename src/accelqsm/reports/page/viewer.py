"""Volumes, script and content security policy of the viewer."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from accelqsm.errors import InputError
from accelqsm.figures.slices import region_colours
from accelqsm.reports.page.bundle import policy_source, viewer_bundle
from accelqsm.reports.page.content import Viewer

GZIP_SIGNATURE = b"\x1f\x8b"
BLACK = "#000000"
DIFFERENCE_COLOURS = {
    "R": [45, 95, 153, 207, 247, 254, 238, 189, 127],
    "G": [0, 58, 144, 207, 247, 213, 155, 97, 59],
    "B": [75, 145, 191, 229, 246, 159, 57, 9, 8],
    "A": [255] * 9,
    "I": [0, 32, 64, 96, 128, 159, 191, 223, 255],
}
"""Purple where lower and orange where higher, as in the figure of differences."""


def viewer_context(viewer: Viewer) -> dict[str, object]:
    """Template variables of the viewer.

    Raises:
        InputError: no map, a volume that is not gzip, or a bundle that fails its checksum.
    """
    if not viewer.maps:
        raise InputError("viewer: expected at least one map, found none")
    volumes = {name: shown.volume for name, shown in viewer.maps.items()}
    for name, volume in {**volumes, "labels": viewer.labels}.items():
        if not volume.startswith(GZIP_SIGNATURE):
            raise InputError(f"viewer: {name}: expected a compressed NIfTI, found something else")
    return {
        "kinds": _kinds(viewer),
        "maps": [_text(volume) for volume in volumes.values()],
        "labels": _text(viewer.labels),
        "bundle": _text(viewer_bundle().packed),
        "script": own_script(),
        "facts": {
            "maps": [
                {"name": name, "unit": m.unit, "window": list(m.window), "colours": m.colours}
                for name, m in viewer.maps.items()
            ],
            "difference": DIFFERENCE_COLOURS,
            "start": list(viewer.start),
            "colours": label_colours(viewer),
        },
    }


def script_policy() -> str:
    """Script sources that the content security policy of a page with viewer allows."""
    own = policy_source(hashlib.sha256(own_script().encode("utf-8")).digest())
    return f"{own} {viewer_bundle().policy_source}"


def own_script() -> str:
    """Script that starts the viewer."""
    return resources.files("accelqsm.reports.page").joinpath("viewer.js").read_text("utf-8")


def label_colours(viewer: Viewer) -> dict[str, Sequence[object]]:
    """Colour map of the label values for the viewer, 0 transparent.

    Both sides of a nucleus have the same colour, as in the static figures.
    """
    colours = region_colours(viewer.regions.values())
    values = [0, *sorted(viewer.regions)]
    shown = [BLACK, *(colours[viewer.regions[value]] for value in values[1:])]
    channels = {
        name: [int(colour[i : i + 2], 16) for colour in shown]
        for name, i in {"R": 1, "G": 3, "B": 5}.items()
    }
    return channels | {
        "A": [0, *[255] * len(viewer.regions)],
        "I": values,
        "labels": ["", *(viewer.names.get(v, viewer.regions[v]) for v in values[1:])],
    }


def _kinds(viewer: Viewer) -> dict[str, list[tuple[int, str]]]:
    """Kind -> number and name of each of its maps."""
    kinds: dict[str, list[tuple[int, str]]] = {}
    for i, (name, shown) in enumerate(viewer.maps.items()):
        kinds.setdefault(shown.kind, []).append((i, name))
    return kinds


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
