"""From raw data and images to a report, in a few lines of Python.

    python examples/notebook.py [FOLDER] [ATLAS]

FOLDER holds ``scan.h5`` (ISMRMRD/MRD), ``sub-01/anat`` (BIDS MEGRE images) and ``T1w.nii.gz``;
without one, a digital head is scanned first, which takes a few minutes. ATLAS is ``cit168`` (by
default, downloaded once) or a folder with a template, labels and their table.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import accelqsm as aq


def notebook(folder: Path, atlas: str = "cit168") -> Path:
    """Map a raw scan and a scan of images, measure both, compare them; returns the report."""
    scan = aq.read_mrd(folder / "scan.h5")
    maps = aq.map_susceptibility(scan, method="reconnet3d")
    maps.save(folder / "out")
    maps.plot().save(folder / "maps.png")

    images = aq.read_images(folder / "sub-01" / "anat")
    pi = aq.susceptibility(images)

    t1w = folder / "T1w.nii.gz"
    nuclei = aq.measure_nuclei(pi, atlas=atlas, t1w=t1w)
    other = aq.measure_nuclei(maps, atlas=atlas, t1w=t1w)

    values = aq.values({("sub-01", "PI"): nuclei, ("sub-01", "AF5"): other})
    verdict = aq.compare(values, reference="PI")
    verdict.save(folder / "agreement")
    return aq.report(folder / "agreement")


def scan_digital_head(folder: Path) -> None:
    """Scan a digital head at AF 5 as raw data, at AF 2 as images, and T1-weighted."""
    from accelqsm.cli import main
    from accelqsm.results.study import scan_files, t1w_file

    scans = folder / "scans"
    main(["simulate", str(scans), "--protocols", "pi", "af5", "--seed", "11"])
    scan_files(scans, "sub-01", "af5").raw.rename(folder / "scan.h5")
    t1w_file(scans, "sub-01").rename(folder / "T1w.nii.gz")
    raw = aq.read_mrd(scan_files(scans, "sub-01", "pi").raw)
    images = aq.reconstruct_echoes(raw, method="grappa")
    images.save_bids(folder / "sub-01" / "anat", subject="sub-01", acq="pi")


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="accelqsm-"))
    if not (where / "scan.h5").is_file():
        scan_digital_head(where)
    print(notebook(where, *sys.argv[2:3]))
