"""Rebuild the report of a comparison or study from its folder, without recomputation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.files.atomic import write_text
from accelqsm.reports.content.comparison import comparison_content
from accelqsm.reports.content.forest import slide
from accelqsm.reports.export.figures import write_figures
from accelqsm.reports.export.tables import write_tables
from accelqsm.reports.page.build import build_page
from accelqsm.results.comparison import AGREEMENT as COMPARED
from accelqsm.results.comparison import is_comparison, unchecked_comparison
from accelqsm.results.folder import locked_folder
from accelqsm.results.integrity.check import check_folders
from accelqsm.results.maps import CHIMAP
from accelqsm.results.records import SETTINGS, UNFINISHED
from accelqsm.results.study import ACCURACY, AGREEMENT, MAPS, REPORT, SCANS


def rebuild_report(out: Path, *, tables: Sequence[str] = (), figures: bool = False) -> Path:
    """Check the results in a folder of ``demo`` or ``compare``, and write ``report.html`` there.

    Parts whose files are missing are left out and listed on the page.

    Args:
        out: the folder.
        tables: formats ("docx", "tex") of a file with the tables of the page.
        figures: write the figures as SVG and as PNG of 300 dpi, and a picture for a slide.

    Returns:
        Path of the page.

    Raises:
        InputError: no results there, or results that cannot be read, of an unfinished run, or not
            as their run left them.

    Warns:
        InputWarning: for each part left out, and for results without checksums.
    """
    folders = _folders_of(out)
    with locked_folder(out):
        gone = check_folders(folders)
        return write_report(out, gone, tables=tables, figures=figures)


def write_report(
    out: Path, gone: Sequence[str] = (), *, tables: Sequence[str] = (), figures: bool = False
) -> Path:
    """Write ``report.html`` from results that are known to belong together.

    Args:
        out: folder of ``demo`` or ``compare``.
        gone: files that were there, which the page lists as left out.
        tables, figures: as for ``rebuild_report``.

    Raises:
        InputError: no results there, or results that cannot be read.
    """
    if is_comparison(out):
        stored = unchecked_comparison(out)
        content = comparison_content(stored, out)
    elif is_comparison(out / AGREEMENT):
        # Imported here, as its figures need modules that a comparison of values does not.
        from accelqsm.reports.content.study import study_content

        stored = unchecked_comparison(out / AGREEMENT)
        content = study_content(out)
    else:
        raise _no_results(out)
    write_tables(content.tables, out, tables)
    if figures:
        write_figures(content, slide(stored, content.answer), out)
    lost = [f"Left out: {name} (no such file, but its run wrote it)." for name in gone]
    page = out / REPORT
    write_text(page, build_page(replace(content, cautions=[*content.cautions, *lost])))
    return page


def _folders_of(out: Path) -> list[Path]:
    """Folders of results that a report reads: one with all below it, or the parts of a study.

    Raises:
        InputError: no results.
    """
    if any((out / name).is_file() for name in (UNFINISHED, COMPARED)):
        return [out]
    parts = [out / AGREEMENT, out / ACCURACY, out / SCANS, *sorted((out / MAPS).glob("*/*"))]
    names = (SETTINGS, UNFINISHED, COMPARED, CHIMAP)
    parts = [part for part in parts if any((part / name).is_file() for name in names)]
    if not parts or parts[0] != out / AGREEMENT:
        raise _no_results(out)
    return [out] if (out / SETTINGS).is_file() else parts


def _no_results(out: Path) -> InputError:
    where = "no such folder" if not out.is_dir() else "found neither"
    return InputError(
        f"{out}: expected the folder of a finished demo (with agreement/) or compare (with "
        f"agreement.tsv and settings.toml), {where}"
    )
