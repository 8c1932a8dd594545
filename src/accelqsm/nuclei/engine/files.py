"""Files of ITK: images, affine transforms and displacement fields, to and from arrays.

ITK uses LPS coordinates; all other modules use RAS+.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from accelqsm.grid import Grid
from accelqsm.nuclei.volume import Volume

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

Matrix = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
"""Displacement field (3, x, y, z) in mm, RAS+."""


def write_image(path: Path, volume: Volume) -> Path:
    """Write a volume as MetaImage, float32."""
    return _write_meta(path, volume.values[None], volume.grid)


def write_field(path: Path, field: Field, grid: Grid) -> Path:
    """Write a displacement field as MetaImage."""
    return _write_meta(path, field * LPS.diagonal()[:3, None, None, None], grid)


def write_affine(path: Path, matrix: Matrix, fixed: Grid) -> Path:
    """Write a 4 x 4 matrix between world points as ITK's text.

    About the centre of the image: a rotation about a distant origin also translates it.
    """
    lps = LPS @ matrix @ LPS
    middle = fixed.matrix[:3, :3] @ ((np.asarray(fixed.shape) - 1) / 2) + fixed.matrix[:3, 3]
    centre = LPS[:3, :3] @ middle
    offset = lps[:3, 3] + lps[:3, :3] @ centre - centre
    path.write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {_numbers([*lps[:3, :3].ravel(), *offset])}\n"
        f"FixedParameters: {_numbers(centre)}\n"
    )
    return path


def read_affine(path: Path) -> Matrix:
    """Read an affine transform of ITK as the 4 x 4 matrix between world points."""
    from scipy.io import loadmat

    content = loadmat(path)
    centre = content.pop("fixed").ravel().astype(np.float64)
    parameters = next(v for name, v in content.items() if "Transform" in name).ravel()
    lps = np.eye(4)
    lps[:3, :3] = parameters[:9].reshape(3, 3)
    lps[:3, 3] = parameters[9:12] + centre - lps[:3, :3] @ centre
    return LPS @ lps @ LPS


def read_field(path: Path) -> Field:
    """Read a displacement field (NIfTI, vectors in LPS)."""
    import nibabel

    image = nibabel.nifti1.Nifti1Image.from_filename(path)
    field = np.asarray(image.dataobj, dtype=np.float32)[..., 0, :]
    signs = LPS.diagonal()[:3].astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(field * signs, -1, 0))


def _write_meta(path: Path, channels: npt.NDArray[np.generic], grid: Grid) -> Path:
    """Write channels (c, x, y, z) of one grid."""
    matrix, sizes_mm = LPS @ grid.matrix, np.asarray(grid.voxel_size_mm)
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "TransformMatrix": _numbers((matrix[:3, :3] / sizes_mm).T.ravel()),
        "Offset": _numbers(matrix[:3, 3]),
        "ElementSpacing": _numbers(sizes_mm),
        "DimSize": " ".join(map(str, grid.shape)),
        "ElementNumberOfChannels": str(len(channels)),
        "ElementType": "MET_FLOAT",
        "ElementDataFile": "LOCAL",
    }
    text = "".join(f"{key} = {value}\n" for key, value in header.items())
    # Fortran order of (channel, x, y, z): the channels of a voxel lie together, then x is fastest.
    values = np.asarray(channels, dtype="<f4").tobytes(order="F")
    path.write_bytes(text.encode() + values)
    return path


def _numbers(values: npt.ArrayLike) -> str:
    return " ".join(repr(float(value)) for value in np.asarray(values).ravel())
