"""Items of the reporting checklists GRRAS and CLAIM for agreement studies."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from accelqsm.reports.cells import Table

OPEN = "for the authors to write"

# Items in our own words. GRRAS: Kottner et al. 2011; CLAIM: Mongan, Moy and Kahn 2020.
GRRAS = {
    1: "Title or abstract say that agreement or reliability was investigated",
    2: "The measurement is named and described",
    3: "The population of the subjects",
    4: "The population of the raters",
    5: "What was known before, and why the study was done",
    6: "How the number of subjects and of repeated measurements was chosen",
    7: "How subjects were sampled",
    8: "How measurements were made: intervals, what was known to whom, blinding",
    9: "Whether measurements were independent of each other",
    10: "The statistical analysis",
    11: "How many subjects and measurements were really included",
    12: "Characteristics of subjects and raters",
    13: "Estimates of agreement and reliability with their uncertainty",
    14: "What the results mean in practice",
    15: "Detailed results",
}
CLAIM = {
    5: "Prospective or retrospective",
    7: "Source of the data",
    8: "Who was eligible",
    9: "Preprocessing",
    13: "How missing data were handled",
    14: "What the results are compared with",
    19: "How the sample size was determined",
    22: "The model, in enough detail to be built again",
    23: "Software, libraries and versions",
    25: "How the model was trained",
    28: "Measures of performance",
    29: "Measures of significance and uncertainty",
    30: "Robustness and sensitivity",
    33: "Flow of the participants",
    34: "Characteristics of the participants",
    36: "Estimates with their precision",
    37: "Cases that failed",
    38: "Limits of the study",
    39: "What follows for practice",
    40: "Registration",
    41: "Where protocol and code can be found",
    42: "Funding and the role of funders",
}


def checklist_tables(grras: Mapping[int, str], claim: Mapping[int, str]) -> tuple[Table, Table]:
    """Tables of both checklists, with an answer or a reminder for every item.

    Args:
        grras: item -> answer, or where it is in the report.
        claim: the same for CLAIM, whose items on annotation and data partitions are left out.
    """
    return (
        _table(
            "Reliability and agreement (GRRAS, all 15 items)",
            GRRAS,
            grras,
            "Items in our own words. What the report cannot know is left to its authors.",
        ),
        _table(
            "Artificial intelligence in medical imaging (CLAIM, the items that apply here)",
            CLAIM,
            claim,
            "Numbered as in 2020. The other items, on annotation and partitions of data, belong "
            "to the training of a network and are in its model card.",
        ),
    )


def _table(title: str, items: Mapping[int, str], answers: Mapping[int, str], about: str) -> Table:
    rows = [
        {"Item": str(number), "What is asked": text, "Here": answers.get(number, OPEN)}
        for number, text in items.items()
    ]
    return Table(title=title, frame=pd.DataFrame(rows), caption=about)
