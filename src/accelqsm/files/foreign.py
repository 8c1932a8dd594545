"""Files of other kinds that people give to a command, and the command that helps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from accelqsm.errors import InputError

Wanted = Literal["images", "raw data"]

MOST_FILES_LOOKED_AT = 200
RAW = "{what}; convert it to MRD first: {command}"
IMPORT = "accelqsm import DICOM_DIR BIDS_DIR"
RAW_COMMANDS = {
    "Siemens": "siemens_to_ismrmrd -f RAW.dat -o SCAN.h5",
    "GE": "ge_to_ismrmrd -o SCAN.h5 FILE",
    "Philips": "philips_to_ismrmrd -f FILE -o SCAN.h5",
    "Bruker": "bruker_to_ismrmrd FOLDER SCAN.h5",
}
DICOM_ENDINGS = (".dcm", ".ima", ".dicom")
RAW_ENDINGS = {
    ".dat": ("a Siemens raw file (twix)", "Siemens"),
    ".7": ("a GE raw file (P-file)", "GE"),
    ".raw": ("a Philips raw file", "Philips"),
    ".lab": ("a Philips raw file", "Philips"),
    ".sin": ("a Philips raw file", "Philips"),
    ".job0": ("a Bruker raw file", "Bruker"),
}
BRUKER_NAMES = ("fid", "ser", "rawdata.job0")
IMAGE_ENDINGS = {
    ".par": ("a Philips PAR/REC image", "dcm2niix"),
    ".rec": ("a Philips PAR/REC image", "dcm2niix"),
    ".mnc": ("a MINC image", "mnc2nii"),
    ".nrrd": ("an NRRD image", "dcm2niix"),
    ".mgz": ("a FreeSurfer image", "mri_convert"),
    ".mgh": ("a FreeSurfer image", "mri_convert"),
    ".mif": ("an MRtrix image", "mrconvert"),
    ".img": ("half of a pair of files (.hdr and .img)", "fslchfiletype NIFTI_GZ"),
    ".hdr": ("half of a pair of files (.hdr and .img)", "fslchfiletype NIFTI_GZ"),
}
"""What an image of another kind is, and what converts it."""
ARRAY_ENDINGS = {".mat": "a MATLAB file", ".npy": "a NumPy array", ".npz": "NumPy arrays"}
HDF5, GZIP, MATLAB = b"\x89HDF\r\n\x1a\n", b"\x1f\x8b", b"MATLAB 5.0"
NIFTI_MAGICS = (b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0")


def refuse_foreign(path: Path, *, wanted: Wanted) -> None:
    """Refuse a file, or a folder of files, that another command must convert first.

    Args:
        path: a file or folder that exists, or not.
        wanted: NIfTI "images", or "raw data" (MRD).

    Raises:
        InputError: naming the kind that was found and the command that helps.
    """
    found = _folder(path) if path.is_dir() else _file(path, wanted)
    if found:
        article = "NIfTI images" if wanted == "images" else "raw data as ISMRMRD/MRD"
        raise InputError(f"{path}: expected {article}, found {found}")


def _folder(path: Path) -> str:
    """What a folder holds, if it is not of this software's kinds."""
    if any((path / name).is_file() for name in BRUKER_NAMES) and (path / "acqp").is_file():
        return RAW.format(what="a Bruker scan", command=RAW_COMMANDS["Bruker"])
    for file in islice(_files(path), MOST_FILES_LOOKED_AT):
        if is_dicom(file):
            return f"DICOM ({file.name}); convert the folder first: {IMPORT}"
        if not _is_own(file) and (found := _raw(file)):
            return f"{file.name}, {found}"
    return ""


def _files(path: Path) -> Iterator[Path]:
    """Files of a folder, then a few of each folder in it."""
    inside = sorted(path.iterdir())
    yield from (file for file in inside if file.is_file())
    for folder in inside:
        if folder.is_dir():
            yield from islice((file for file in folder.iterdir() if file.is_file()), 3)


def _is_own(path: Path) -> bool:
    return path.name.endswith((".nii", ".nii.gz", ".json", ".tsv", ".h5"))


def _file(path: Path, wanted: Wanted) -> str:
    """What a file is, if it is not what was wanted."""
    if not path.is_file():
        return ""
    if is_dicom(path):
        return f"a DICOM file; convert its folder first: {IMPORT}"
    if not _is_own(path) and (found := _raw(path)):
        return found
    if path.suffix.lower() in IMAGE_ENDINGS:
        kind, tool = IMAGE_ENDINGS[path.suffix.lower()]
        return f"{kind}; convert it to one NIfTI file first, such as with {tool}"
    head = _head(path, 512)
    if head.startswith(HDF5):
        if path.name.startswith("ScanArchive"):
            return RAW.format(what="a GE raw file (ScanArchive)", command=RAW_COMMANDS["GE"])
        if wanted == "images":
            return f"an HDF5 file; if it is raw data (MRD): accelqsm map {path.name} OUT"
        return ""
    if wanted == "raw data" and (head.startswith(GZIP) or head[344:348] in NIFTI_MAGICS):
        use = "accelqsm qsm OUT --magnitude .. --phase .."
        return f"a NIfTI image, not an HDF5 file; for magnitude and phase: {use}"
    array = ARRAY_ENDINGS.get(path.suffix.lower())
    array = "a MATLAB file" if head.startswith(MATLAB) else array
    return f"{array}; save it as NIfTI, with its affine" if array and wanted == "images" else ""


def _raw(path: Path) -> str:
    """Which vendor's raw data a file is, by its name."""
    if path.name in BRUKER_NAMES:
        return RAW.format(what="a Bruker raw file", command=RAW_COMMANDS["Bruker"])
    what, vendor = RAW_ENDINGS.get(path.suffix.lower(), ("", ""))
    return RAW.format(what=what, command=RAW_COMMANDS[vendor]) if what else ""


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its preamble, else by its name."""
    head = _head(path, 132)
    return head[128:132] == b"DICM" or (
        path.suffix.lower() in DICOM_ENDINGS and not head.startswith((GZIP, HDF5))
    )


def _head(path: Path, n_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(n_bytes)
    except OSError:
        return b""
