"""Reader and writer of NIfTI images, with a check of the whole file."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.volumeutils import apply_read_scaling

from accelqsm.acquisition import check_voxels
from accelqsm.errors import InputError, naming
from accelqsm.files.atomic import whole_file
from accelqsm.files.foreign import refuse_foreign
from accelqsm.files.orientation import Orientation, Space, orientation_of
from accelqsm.grid import Grid, as_affine
from accelqsm.runtime.reading import check_regular, declared_bytes, first_bytes, memory_bytes

LARGEST_IMAGE_BYTES = 64 * 2**30
SAME_AFFINE_MM = 1e-2
HEADER_BYTES = 540
"""Of NIfTI-2, the longer one."""


@dataclass(frozen=True)
class Image:
    """A NIfTI image.

    Attributes:
        path: its file, for messages.
        grid: shape and affine of its first three axes.
        values: the array with the header's slope and intercept applied, axes as stored.
        stored: the array as stored, without slope and intercept.
        space: what the affine leads to; only "scanner" and "aligned" tell where B0 is.
        unit: of lengths, as the header says.
        doubt: how the header contradicts itself about the affine, or "".
    """

    path: Path
    grid: Grid
    values: npt.NDArray[Any]
    stored: npt.NDArray[Any]
    space: Space = "scanner"
    unit: str = "mm"
    doubt: str = ""


@dataclass(frozen=True)
class Header:
    """What the header of a NIfTI image says.

    Attributes:
        path: where it came from, for messages.
        grid: shape and affine of its first three axes.
        shape: of the whole array.
        dtype: of its voxels as stored.
        space, unit, doubt: as of ``Image``.
    """

    path: Path
    grid: Grid
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    space: Space = "scanner"
    unit: str = "mm"
    doubt: str = ""

    @property
    def n_volumes(self) -> int:
        """Along the fourth axis."""
        return self.shape[3] if len(self.shape) == 4 else 1


def read_image(
    path: Path, *, grid: Grid | None = None, single: bool = False, colours: bool = False
) -> Image:
    """Read a 3D or 4D NIfTI image, after all checks that need its header alone.

    Args:
        path: of the image.
        grid: that it must have, if any.
        single: one volume of real values, which is then 3D.
        colours: as of ``image_of``.

    Raises:
        InputError: missing, not NIfTI, truncated, failing its gzip checksum, not 3D or 4D,
            larger as declared than the memory or 64 GiB, an unusable affine or voxel size, or
            not as the arguments say.
    """
    with _readable(path):
        header, raw = _examined(path)
        if grid is not None:
            check_same_grid(header.grid, grid, path)
        if header.dtype.names and not colours:
            raise _coloured(path, header.dtype)
        if single:
            _check_single(path, header.shape, header.dtype)
        values, stored = _voxels(path, raw)
        image = Image(path, header.grid, values, stored, header.space, header.unit, header.doubt)
        return single_volume(image) if single else image


def read_header(path: Path) -> Header:
    """Where an image lies and how many volumes it has, without reading its voxels.

    Raises:
        InputError: as ``read_image``, as far as the header tells.
    """
    with _readable(path):
        return _examined(path)[0]


def _examined(path: Path) -> tuple[Header, nibabel.Nifti1Header]:
    """What a header says, checked, and the header itself."""
    first = first_bytes(path, HEADER_BYTES)
    raw = _header(first)
    if raw.get_data_offset() < raw.single_vox_offset:
        raise InputError(
            f"{path}: expected voxels from byte {raw.single_vox_offset} or later (vox_offset), "
            f"found {raw.get_data_offset()}, in the header"
        )
    shape = tuple(int(n) for n in raw.get_data_shape())
    found = orientation_of(raw, raw.get_best_affine())
    _check_pixdim(path, _header(first, check=False), found)
    grid = grid_of(shape, found.affine, path, unit=found.unit)
    dtype = raw.get_data_dtype()
    return Header(path, grid, shape, dtype, found.space, found.unit, found.doubt), raw


def _voxels(path: Path, header: nibabel.Nifti1Header) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Values with slope and intercept, and as stored: one array where there are none."""
    shape = tuple(int(n) for n in header.get_data_shape())
    offset = int(header.get_data_offset())
    data = declared_bytes(path, _declared_bytes(path, header), f"shape {shape}")
    array = np.ndarray(shape, header.get_data_dtype(), data, offset, order="F")
    stored = np.require(array, requirements=("F", "ALIGNED"))
    if stored.dtype.names:
        return _colour_numbers(stored), stored
    slope, intercept = header.get_slope_inter()
    return apply_read_scaling(stored, np.float64(slope or 1), np.float64(intercept or 0)), stored


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say in one line, with the name of the file, why it cannot be read."""
    refuse_foreign(path, wanted="images")
    check_regular(path)
    try:
        with LoggingOutputSuppressor():
            yield
    except InputError:
        raise
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: truncated or damaged gzip file ({error})") from error
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable NIfTI image ({reason})") from error


def grid_of(shape: tuple[int, ...], affine: npt.ArrayLike, path: Path, *, unit: str = "mm") -> Grid:
    """The grid of the first three axes; ``unit`` is that of lengths in the header.

    Raises:
        InputError: not 3D or 4D, an unusable affine, or voxel sizes of no scanner.
    """
    if len(shape) not in (3, 4):
        raise InputError(f"{path}: expected a 3D or 4D image, found shape {shape}")
    with naming(path):
        grid = Grid((shape[0], shape[1], shape[2]), as_affine(affine))
        check_voxels(grid, note="" if unit == "mm" else f"unit of lengths in the header: {unit}")
    return grid


def image_of(image: nibabel.Nifti1Image, path: Path, *, colours: bool = False) -> Image:
    """Convert a nibabel image; ``path`` is its name in messages.

    With ``colours``, values of an RGB or RGBA image are 65536 R + 256 G + B.

    Raises:
        InputError: not 3D or 4D, an unusable affine, or colours that were not asked for.
    """
    proxy: Any = image.dataobj
    stored = values = np.asanyarray(proxy)
    if values.dtype.names:
        if not colours:
            raise _coloured(path, values.dtype)
        values = _colour_numbers(values)
    elif (getattr(proxy, "slope", 1), getattr(proxy, "inter", 0)) != (1, 0):
        stored = np.asanyarray(proxy.get_unscaled())
    found = _orientation(image.header, image.affine)
    grid = grid_of(values.shape, found.affine, path, unit=found.unit)
    return Image(path, grid, values, stored, found.space, found.unit, found.doubt)


def _coloured(path: Path, dtype: np.dtype[Any]) -> InputError:
    shown = "".join(dtype.names or ())
    return InputError(f"{path}: expected a number in every voxel, found colours ({shown})")


def _colour_numbers(colours: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """65536 R + 256 G + B."""
    red, green, blue = (colours[name].astype(np.int64) for name in "RGB")
    return np.asarray(65536 * red + 256 * green + blue)


def _orientation(header: Any, affine: Any) -> Orientation:
    """Of the header, if it is that of NIfTI."""
    if isinstance(header, nibabel.Nifti1Header):
        return orientation_of(header, affine)
    return Orientation(np.asarray(affine, dtype=float), "scanner", "mm")


def read_volume(path: Path, *, grid: Grid | None = None) -> Image:
    """Read a 3D image without NaN; with ``grid``, check that the image is on it.

    Raises:
        InputError: as ``read_image``, or not 3D, not finite, or on another grid.
    """
    image = read_image(path, grid=grid, single=True)
    check_finite(image.values, path)
    return image


def single_volume(image: Image) -> Image:
    """The image as 3D; a fourth axis of one volume does not count.

    Raises:
        InputError: several volumes, or complex values.
    """
    _check_single(image.path, image.values.shape, image.values.dtype)
    if image.values.ndim == 4:
        return replace(image, values=image.values[..., 0], stored=image.stored[..., 0])
    return image


def _check_single(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype.kind == "c":
        raise InputError(f"{path}: expected real values, found {dtype}")
    if len(shape) != 3 and shape[3:] != (1,):
        raise InputError(f"{path}: expected a 3D image, found shape {shape}")


def check_finite(values: npt.NDArray[Any], path: Path | str) -> None:
    """Check that there is no NaN or infinity, also not in single precision.

    Raises:
        InputError: with the number of such voxels, or the largest value.
    """
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise InputError(f"{path}: expected finite values, found {bad} NaN or infinite voxels")
    if values.dtype.itemsize > 4 and np.issubdtype(values.dtype, np.inexact):
        real = values.dtype.kind == "f"
        largest = max(values.max(), -values.min()) if real else np.abs(values).max()
        if largest > float(np.finfo(np.float32).max):
            raise InputError(f"{path}: expected values below 3.4e38, found {largest:g}")


def check_same_grid(
    found: Grid, expected: Grid, path: Path, *, reference: Path | None = None
) -> None:
    """Check that two grids have the same shape and voxel positions within 0.01 mm.

    Args:
        found: grid of the image at ``path``.
        expected: the grid that it must have.
        reference: the image with the expected grid, for messages.

    Raises:
        InputError: naming both files and shapes, or the largest distance.
    """
    if found.shape != expected.shape:
        of = "" if reference is None else f" of {reference}"
        raise InputError(f"{path}: expected shape {expected.shape}{of}, found {found.shape}")
    corners = np.array(
        [[i * (n - 1) for i, n in zip(corner, found.shape, strict=True)] for corner in _CORNERS]
    )
    shift = (found.matrix - expected.matrix)[:3] @ np.c_[corners, np.ones(8)].T
    distance = float(np.linalg.norm(shift, axis=0).max())
    if distance > SAME_AFFINE_MM:
        raise InputError(
            f"{path}: expected the same affine as {reference or 'the other images'}, "
            f"found voxels up to {distance:.2f} mm away"
        )


def write_image(path: Path, values: npt.NDArray[Any], grid: Grid) -> None:
    """Write float32, integer or bool values (first three axes on ``grid``) as NIfTI-1.

    The same values give the same bytes. The file is written atomically.
    """
    array = values.astype(np.uint8) if values.dtype == np.bool_ else values
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    image = nibabel.Nifti1Image(array, grid.matrix, dtype=array.dtype)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(grid.matrix, code=1)
    image.set_qform(grid.matrix, code=1)
    data = image.to_bytes()
    if path.suffix == ".gz":
        data = gzip.compress(data, compresslevel=4, mtime=0)
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


_CORNERS = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
_NIFTI2_SIZES = {(540).to_bytes(4, "little"), (540).to_bytes(4, "big")}


def _header(raw: bytes, *, check: bool = True) -> nibabel.Nifti1Header:
    """Header from the first bytes of a file, without the extensions that may follow it."""
    kind: Any = nibabel.Nifti2Header if raw[:4] in _NIFTI2_SIZES else nibabel.Nifti1Header
    header: nibabel.Nifti1Header = kind(raw[: kind.template_dtype.itemsize], check=check)
    return header


def _declared_bytes(path: Path, header: nibabel.Nifti1Header) -> int:
    """Size of the file, decompressed, that a header declares."""
    shape = tuple(int(n) for n in header.get_data_shape())
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise InputError(f"{path}: expected a 3D or 4D image, found shape {shape}")
    declared: int = math.prod(shape) * header.get_data_dtype().itemsize
    declared += int(header.get_data_offset())
    most = min(LARGEST_IMAGE_BYTES, memory_bytes())
    if declared > most:
        raise InputError(
            f"{path}: expected at most {most} bytes, found a header that declares {declared} "
            f"for shape {shape}"
        )
    return declared


def _check_pixdim(path: Path, header: nibabel.Nifti1Header, found: Orientation) -> None:
    """Refuse voxel sizes of 0 or NaN where they count: nibabel would take 1 mm for them."""
    sizes = np.abs(np.asarray(header["pixdim"][1:4], dtype=float))
    if found.form != "sform" and not (np.isfinite(sizes) & (sizes > 0)).all():
        shown = " ".join(f"{size:g}" for size in sizes)
        raise InputError(f"{path}: expected voxel sizes above 0 in pixdim, found {shown}")
