"""Rebuild the report of a comparison or study from its folder, without recomputation."""

from __future__ import annotations

from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.files.atomic import write_text
from accelqsm.reports.content.comparison import comparison_content
from accelqsm.reports.page.build import build_page
from accelqsm.results.comparison import is_comparison, read_comparison
from accelqsm.results.study import AGREEMENT, REPORT


def rebuild_report(out: Path) -> Path:
    """Write ``report.html`` in a folder of ``demo`` or ``compare``, from its results.

    Parts whose files are missing are left out and listed on the page.

    Returns:
        Path of the page.

    Raises:
        InputError: no results there, or results that cannot be read.

    Warns:
        InputWarning: for each part left out.
    """
    if is_comparison(out):
        content = comparison_content(read_comparison(out))
    elif is_comparison(out / AGREEMENT):
        # Imported here, as its figures need modules that a comparison of values does not.
        from accelqsm.reports.content.study import study_content

        content = study_content(out)
    else:
        where = "no such folder" if not out.is_dir() else "found neither"
        raise InputError(
            f"{out}: expected the folder of a finished demo (with agreement/) or compare (with "
            f"agreement.tsv and settings.toml), {where}"
        )
    page = out / REPORT
    write_text(page, build_page(content))
    return page
