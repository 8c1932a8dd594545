"""One registration of a head serves all of its scans: kept in a folder, composed with a motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.errors import InputError
from accelqsm.grid import centred_grid
from accelqsm.nuclei.atlas import Atlas, one_hot
from accelqsm.nuclei.register import TemplateMap
from accelqsm.nuclei.settings import MeasureSettings, SynSettings
from accelqsm.nuclei.volume import Volume, affine_transform, resample_to
from accelqsm.pipeline.nuclei.atlas import measure_registered
from accelqsm.pipeline.nuclei.head import MappedHead
from accelqsm.pipeline.nuclei.registration import scan_of_head
from accelqsm.results.nuclei import NucleiResult
from accelqsm.results.registration import TO_TEMPLATE, Registration, read_registration

pytestmark = pytest.mark.filterwarnings(
    # Balls in a ramp: their similarity hardly falls where they are displaced.
    "ignore:scan. the registration is doubtful"
)
GRID = centred_grid((40, 44, 36), (2.0, 2.0, 2.0))
ROWS = pd.DataFrame({"index": [1, 2], "name": ["L A", "R A"]})
SHIFT_MM = np.array([3.0, -2.0, 1.5])


def template() -> tuple[Atlas, Volume, Volume]:
    """Atlas with two balls in a brain; its susceptibility, and a magnitude that shows them."""
    x, y, z = GRID.world_mm()
    labels = np.zeros(GRID.shape)
    for index, centre in ((1, -12.0), (2, 12.0)):
        labels[(x - centre) ** 2 + (y - 4) ** 2 + z**2 < 8.0**2] = index
    brain = (x / 32) ** 2 + (y / 36) ** 2 + (z / 30) ** 2 < 1
    chi = 0.1 * (labels == 1) + 0.12 * (labels == 2)
    magnitude = (100.0 - 200 * chi + 0.3 * x + 0.2 * y) * brain
    images = {"magnitude": Volume(magnitude.astype(np.float32), GRID)}
    atlas = Atlas(
        "balls", images, Volume(brain.astype(np.float32), GRID),
        one_hot(Volume(labels, GRID), [1, 2]), ROWS, probabilistic=False,
    )  # fmt: skip
    return atlas, Volume(chi.astype(np.float32), GRID), images["magnitude"]


def deformation() -> TemplateMap:
    """The head lies by ``SHIFT_MM`` from the template, half of it as a displacement field."""
    affine = np.eye(4)
    affine[:3, 3] = -SHIFT_MM / 2
    field = np.broadcast_to(SHIFT_MM[:, None, None, None] / 2, (3, *GRID.shape))
    forward = np.ascontiguousarray(-field, dtype=np.float32)
    return TemplateMap(affine, forward, np.ascontiguousarray(field, dtype=np.float32), GRID)


def motion() -> np.ndarray:
    """Takes points of another scan to those of the reference: 6 degrees and some millimetres."""
    angle = np.deg2rad(6.0)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = (4.0, 1.0, -2.0)
    return matrix


def measured(
    registration: Registration, to_reference: np.ndarray | None, *, kept: bool = True
) -> NucleiResult:
    """Nuclei of a scan that lies by ``to_reference`` from the reference scan."""
    atlas, chi, magnitude = template()
    to_template = np.eye(4)
    to_template[:3, 3] = -SHIFT_MM
    to_scan = to_template if to_reference is None else to_template @ to_reference
    own = {
        name: resample_to(image, GRID, affine_transform(to_scan))
        for name, image in {"chi": chi, "magnitude": magnitude, "brain": atlas.brain}.items()
    }
    reference = resample_to(magnitude, GRID, affine_transform(to_template))
    head = MappedHead(own["chi"], own["brain"].values > 0.5, "scan", own["magnitude"])
    scan = scan_of_head(
        head.chi, own["magnitude"], registration, t1w=None,
        reference=None if to_reference is None else reference,
        to_reference=to_reference if kept else np.eye(4),
    )  # fmt: skip
    return measure_registered(head, atlas, scan, settings=MeasureSettings(reference="none"))


@pytest.fixture
def registration() -> Registration:
    return Registration(np.eye(4), deformation(), ("magnitude",), "balls", SynSettings(), {"a": 1})


def test_a_registration_is_read_back_bit_by_bit(registration: Registration, tmp_path: Path) -> None:
    folder = registration.save(tmp_path / "registration")
    read = read_registration(folder)
    for ours, theirs in (
        (registration.to_head, read.to_head),
        (registration.to_template.affine, read.to_template.affine),
        (registration.to_template.to_template_mm, read.to_template.to_template_mm),
        (registration.to_template.from_template_mm, read.to_template.from_template_mm),
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert read.to_template.grid == registration.to_template.grid
    assert (read.contrasts, read.atlas, read.syn) == (("magnitude",), "balls", SynSettings())
    pd.testing.assert_frame_equal(measured(read, None).table, measured(registration, None).table)
    (folder / TO_TEMPLATE).write_bytes(b"")
    with pytest.raises(InputError, match=rf"{TO_TEMPLATE}: expected SHA-256"):
        read_registration(folder)


def test_other_scans_of_a_head_take_its_labels_by_their_motion(registration: Registration) -> None:
    for to_reference in (None, motion()):
        table = measured(registration, to_reference).table
        left, right = (table[table["side"] == side].iloc[0] for side in "LR")
        # The edge of a ball of 8 mm is a fifth of a voxel off: interpolation of voxels of 2 mm.
        assert left["mean_ppb"] == pytest.approx(100, abs=12)
        assert right["mean_ppb"] == pytest.approx(120, abs=14)
        assert set(table["flag"]) == {"registration doubtful"}
    table = measured(registration, motion(), kept=False).table
    assert table["mean_ppb"].iloc[0] < 80  # without the motion, they would be off


def test_labels_of_a_moved_scan_lie_where_its_nuclei_are(registration: Registration) -> None:
    result = measured(registration, motion())
    atlas, _, _ = template()
    to_template = np.eye(4)
    to_template[:3, 3] = -SHIFT_MM
    for index in (1, 2):
        there = resample_to(
            atlas.probabilities[index], GRID, affine_transform(to_template @ motion())
        )
        true, found = there.values > 0.5, result.labels == index
        dice = 2 * (true & found).sum() / (true.sum() + found.sum())
        assert dice > 0.97
