"""Answers to the reporting checklists from the results of a comparison."""

from __future__ import annotations

import pandas as pd

from accelqsm.agreement.values import POOLED
from accelqsm.reports.cells import Table
from accelqsm.reports.checklists.items import checklist_tables
from accelqsm.reports.sentences import LEAST_PEOPLE, margin_text
from accelqsm.results.comparison import Comparison

METHODS, TABLES, PEOPLE, SETTINGS = "see Methods", "see Tables", "see Participants", "see Settings"


def checklists(stored: Comparison, gaps: pd.DataFrame, *, study: bool) -> tuple[Table, Table]:
    """GRRAS and CLAIM with the answers of this comparison.

    Args:
        stored: the comparison.
        gaps: excluded subjects, from ``agreement.flow.left_out``.
        study: whether the folder has scans and maps, so that their methods are known.
    """
    single = stored.agreement
    single = single[single["region"] != POOLED]
    least, most = int(single["n"].min()), int(single["n"].max())
    n = f"{least}" if least == most else f"{least} to {most}"
    people = "person" if n == "1" else "people"
    pairs = f"{n} {people} per nucleus, each measured once under every protocol compared"
    precision = (
        f"n = {n}, how it was chosen is for the authors to write; equivalence margin "
        f"{margin_text(stored)}; "
    ) + (
        "where undecided, the number of subjects needed is given with the verdict"
        if most >= LEAST_PEOPLE
        else "too few for intervals or a verdict"
    )
    missing = "nobody was left out" if gaps.empty else f"{len(gaps)} gaps, {PEOPLE}"
    no_repeat = (
        "one measurement per protocol: without a repeated reference scan, the effect of the "
        "acceleration cannot be told from that of scanning again"
    )
    made = METHODS if study else ""
    grras = {
        1: "agreement between protocols: see the title",
        2: "mean magnetic susceptibility of nuclei in ppb" + (f", {METHODS}" if study else ""),
        4: "no raters: regions are measured by software",
        6: precision,
        8: made,
        9: no_repeat,
        10: METHODS,
        11: f"{pairs}; {missing}",
        12: _people(stored),
        13: f"{TABLES}: bias, limits of agreement, ICC, concordance, equivalence, with intervals",
        15: f"{TABLES}; all numbers are in text files in the folder of this page",
    }
    claim = {
        7: "simulated scans, see Settings" if study else "",
        9: made,
        13: f"pairs with a missing value are left out of that comparison; {missing}",
        14: f"the protocol {stored.reference}, which is not the truth"
        + ("; and the simulated truth" if study else ""),
        19: precision,
        22: "network and checksum of its weights in Provenance" if study else "",
        23: "see Provenance",
        25: "see the model card that comes with the weights" if study else "",
        28: METHODS,
        29: f"intervals in {TABLES.removeprefix('see ')}; p-values adjusted for their number",
        30: "r with and without the most influential subject, in the tables",
        33: missing if gaps.empty else PEOPLE,
        34: _people(stored),
        36: TABLES,
        37: "figure of the subject with the largest difference",
        41: "accelqsm, open source (Apache-2.0); settings and checksums are in this report",
    }
    return checklist_tables(
        {item: text for item, text in grras.items() if text},
        {item: text for item, text in claim.items() if text},
    )


def _people(stored: Comparison) -> str:
    return TABLES if "table-1" in stored.tables else ""
