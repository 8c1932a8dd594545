"""Registration of a scan to an atlas: rigid to T1w, affine and SyN to the template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from accelqsm.nuclei.atlas import Atlas
from accelqsm.nuclei.contrast import match_contrast
from accelqsm.nuclei.register import (
    Matrix,
    TemplateMap,
    near_nuclei,
    paired_contrasts,
    register_affine,
    register_rigid,
    register_template,
)
from accelqsm.nuclei.settings import COARSE_MM, SynSettings
from accelqsm.nuclei.volume import Mapping as WorldMapping
from accelqsm.nuclei.volume import Volume, affine_transform, isotropic_grid, resample_to
from accelqsm.runtime.progress import step


@dataclass(frozen=True)
class Transform:
    """Transform from world points of a map to those of the labels, and its inverse.

    Attributes:
        forward: from the map to the labels.
        inverse: from the labels to the map.
    """

    forward: WorldMapping
    inverse: WorldMapping

    @classmethod
    def of_matrix(cls, matrix: Matrix) -> Transform:
        """Transform of a 4 x 4 matrix."""
        return cls(affine_transform(matrix), affine_transform(np.linalg.inv(matrix)))

    def then(self, other: TemplateMap) -> Transform:
        """Compose with a transform to a template, applied after this one."""
        return Transform(
            lambda points: other.to_template(self.forward(points)),
            lambda points: self.inverse(other.from_template(points)),
        )


class HeadTransforms(Protocol):
    """Transforms that all scans of a head share (``results.registration``)."""

    @property
    def to_head(self) -> Matrix: ...

    @property
    def to_template(self) -> TemplateMap: ...

    @property
    def contrasts(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class RegisteredHead:
    """A head registered to a template.

    Attributes:
        images: images by contrast, in the space of the T1w image where there is one.
        to_head: 4 x 4, from the space of the map to that of ``images``.
        to_template: from the space of ``images`` to that of the template.
        magnitude: magnitude of the scan, on its own grid.
        contrasts: the contrasts that were used for the deformable registration.
    """

    images: Mapping[str, Volume]
    to_head: Matrix
    to_template: TemplateMap
    magnitude: Volume
    contrasts: tuple[str, ...]

    @property
    def transform(self) -> Transform:
        """Transform from the space of the map to that of the template."""
        return Transform.of_matrix(self.to_head).then(self.to_template)


def register_atlas(
    chi: Volume,
    magnitude: Volume,
    brain: npt.NDArray[np.bool_],
    atlas: Atlas,
    *,
    t1w: Volume | None,
    syn: SynSettings,
) -> RegisteredHead:
    """Register a scan to a template: rigid, affine, and SyN near the nuclei.

    Args:
        chi, magnitude: images of one scan, on one grid.
        brain: brain mask, bool (x, y, z), on that grid.
        atlas: template images by contrast, brain and labels.
        t1w: T1-weighted image of the same head, in any pose and grid.
        syn: settings of the deformable registration.
    """
    own = {"magnitude": magnitude, "susceptibility": chi}
    if t1w is not None:
        own = {name: image for name, image in own.items() if name in atlas.templates}
    images, to_head = _images(own, magnitude, t1w)
    with step("Head to template: affine"):
        first = next(iter(atlas.templates))
        contrast = "T1w" if "T1w" in images and "T1w" in atlas.templates else first
        affine = register_affine(
            atlas.templates[contrast],
            images.get(contrast, next(iter(images.values()))),
            template_brain=atlas.brain,
            scan_brain=_brain_of(images, brain, chi, to_head),
        )
    with step("Head to template: SyN around the nuclei"):
        to_template = _syn(atlas, images, affine, syn)
    shared = tuple(name for name in atlas.templates if name in images) or (contrast,)
    return RegisteredHead(images, to_head, to_template, magnitude, shared)


def scan_of_head(
    chi: Volume,
    magnitude: Volume,
    head: HeadTransforms,
    *,
    t1w: Volume | None,
    reference: Volume | None = None,
    to_reference: Matrix | None = None,
) -> RegisteredHead:
    """A scan of a head of which one scan, the reference, was registered to a template.

    Args:
        chi, magnitude: images of the scan, on one grid.
        head: transforms of the head, from the reference scan.
        t1w: the T1-weighted image that the head was registered with, if there was one.
        reference: magnitude of the reference scan; None where this is the reference.
        to_reference: 4 x 4, takes world points of the scan to those of the reference.
    """
    own = {"magnitude": magnitude, "susceptibility": chi}
    to_head = head.to_head if to_reference is None else head.to_head @ to_reference
    anchor = t1w if t1w is not None else reference
    if anchor is not None:
        inverse = affine_transform(np.linalg.inv(to_head))
        own = {name: resample_to(image, anchor.grid, inverse) for name, image in own.items()}
    images = own if t1w is None else {"T1w": t1w} | own
    return RegisteredHead(images, to_head, head.to_template, magnitude, tuple(head.contrasts))


def _images(
    own: Mapping[str, Volume], magnitude: Volume, t1w: Volume | None
) -> tuple[dict[str, Volume], Matrix]:
    """Images of the head by contrast in one space, and the matrix from the map's space to it."""
    if t1w is None:
        return dict(own), np.eye(4)
    with step("T1w to magnitude: rigid"):
        to_head = register_rigid(magnitude, t1w)
    inverse = affine_transform(np.linalg.inv(to_head))
    on_t1w = {name: resample_to(image, t1w.grid, inverse) for name, image in own.items()}
    return {"T1w": t1w} | on_t1w, to_head


def _syn(
    atlas: Atlas, images: Mapping[str, Volume], affine: Matrix, syn: SynSettings
) -> TemplateMap:
    """SyN, first coarse, then on to a template with the intensities of the nuclei in the scan."""
    box = atlas.box(syn.margin_mm)
    templates, paired = paired_contrasts(atlas.templates, images)
    templates = near_nuclei(templates, box, syn.spacing_mm)
    coarse = register_template(templates, paired, box=box, affine=affine, settings=syn.coarse)
    if atlas.templates.keys() & images.keys():
        probabilities = {i: resample_to(p, coarse.grid) for i, p in atlas.probabilities.items()}
        templates = {
            name: match_contrast(
                paired[name], template, probabilities=probabilities, transform=coarse
            )
            for name, template in templates.items()
        }
    return register_template(
        templates, paired, box=box, affine=affine, settings=syn.fine, start=coarse
    )


def _brain_of(
    images: Mapping[str, Volume], brain: npt.NDArray[np.bool_], chi: Volume, to_head: Matrix
) -> Volume:
    """Resample the brain mask to where the head's images are, at the affine's voxel size."""
    grid = isotropic_grid(next(iter(images.values())).grid, COARSE_MM)
    inside = Volume(brain.astype(np.float32), chi.grid)
    return resample_to(inside, grid, affine_transform(np.linalg.inv(to_head)))
