"""Writer of maps as DICOM series, one MR image per slice, in the study of a scan."""

from __future__ import annotations

import glob
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from accelqsm import __version__
from accelqsm.errors import InputError, OutputError, output_error
from accelqsm.files.dicom.export.anonymise import UidMaker, anonymise
from accelqsm.files.dicom.export.elements import (
    MapSeries,
    refer_to_template,
    series_elements,
    slice_elements,
    step_for,
)
from accelqsm.files.dicom.export.slices import as_slices
from accelqsm.files.dicom.export.template import Template, read_template
from accelqsm.grid import Grid

if TYPE_CHECKING:
    from pydicom import Dataset

IMPLEMENTATION = "2.25.271591806459174413906107839118219843151"


def export_maps(
    maps: Sequence[MapSeries],
    grid: Grid,
    template_folder: Path,
    destination: Path,
    *,
    anonymous: bool = False,
) -> list[Path]:
    """Write maps as DICOM series into a new folder, atomically.

    Series and instance UIDs follow from the template's, the map and its settings: the same map
    gives the same, another map others. With ``anonymous`` they are random, and so are those of
    study and frame of reference.

    Returns:
        The folder of each series.

    Raises:
        InputError: a destination that is not empty, no usable template, or voxels that are not
            rectangular.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise InputError(f"{destination}: expected a new or empty folder, found one that is not")
    template = read_template(template_folder, grid)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        mark = f".{destination.name}.export-"
        for stale in destination.parent.glob(f"{glob.escape(mark)}*"):  # of a killed run
            shutil.rmtree(stale, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=mark, dir=destination.parent))
    except OSError as error:
        raise output_error(destination, error) or OutputError(f"{destination}: {error}") from error
    try:
        _write_all(maps, grid, template, staging, anonymous=anonymous)
        staging.chmod(0o755)
        staging.replace(destination)  # an empty folder gives way in the same step
    except OSError as error:
        raise output_error(destination, error) or OutputError(f"{destination}: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return [destination / one.name for one in maps]


def _write_all(
    maps: Sequence[MapSeries], grid: Grid, template: Template, folder: Path, *, anonymous: bool
) -> None:
    maker = UidMaker(secret=anonymous)
    origin = str(template.elements.get("StudyInstanceUID", ""))
    if anonymous:
        anonymise(template.elements, maker)
    for count, one in enumerate(maps, start=1):
        slices = as_slices(one.values, grid, template.orientation)
        content = maker.code(origin, one.derivation, slices.values.tobytes())
        (folder / one.name).mkdir()
        number = 100 * max(template.series, 1) + count
        common = series_elements(
            one, template, slices, number=number, uid=maker.uid(content, "series")
        )
        slope = step_for(one)
        for k in range(len(slices.values)):
            data = slice_elements(common, slices, k, slope)
            data.SOPInstanceUID = maker.uid(content, str(k))
            if not anonymous:
                refer_to_template(data, template, slices.positions_mm[k])
            _save(data, folder / one.name / f"{k + 1:04d}.dcm")


def _save(data: Dataset, path: Path) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.ImplementationClassUID = UID(IMPLEMENTATION)
    data.file_meta.ImplementationVersionName = f"ACCELQSM_{__version__}"[:16]
    data.save_as(path, enforce_file_format=True)
