"""Whether the header of a scan tells where its voxels and the main field are."""

from __future__ import annotations

import warnings

from accelqsm.acquisition import check_grid
from accelqsm.errors import InputError, InputWarning, naming
from accelqsm.files.nifti import Header, Image

ASK = "--b0-direction X Y Z, along the array axes, tells"


def check_place(image: Image | Header, *, direction_given: bool) -> None:
    """Refuse a scan whose header does not tell its voxel size, or its direction.

    Args:
        image: one of the scan.
        direction_given: whether the direction of the main field is known otherwise.

    Raises:
        InputError: voxel sizes or a field of view of no scan, sform and qform of the scanner that
            contradict each other, or no orientation at all.

    Warns:
        InputWarning: the orientation of a template, whose z axis need not be the scanner's.
    """
    if image.doubt:
        raise InputError(
            f"{image.path}: expected one orientation (sform_code and qform_code are both 1), found "
            f"{image.doubt}; set the code of the wrong one to 0"
        )
    unit = "" if image.unit == "mm" else f"unit of lengths in the header: {image.unit}"
    with naming(image.path):
        check_grid(image.grid, note=unit)
    if direction_given:
        return
    if image.space == "nowhere":
        raise InputError(
            f"{image.path}: expected an orientation, found qform_code = sform_code = 0, so that "
            f"nothing says where B0 is; {ASK}"
        )
    if image.space == "template":
        warnings.warn(
            InputWarning(
                f"{image.path}: the only orientation is that of a template (sform_code 3 or "
                f"more), whose z axis is taken for B0; {ASK}"
            ),
            stacklevel=2,
        )
