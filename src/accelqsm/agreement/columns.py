"""Descriptions and units of the columns of all tables."""

from __future__ import annotations

from collections.abc import Iterable

PPB, PERCENT, YEARLY = "ppb", "%", "ppb/year"

DESCRIPTIONS: dict[str, tuple[str, str]] = {
    "region": ("Nucleus; 'all' pools them, whose points are not independent", ""),
    "protocol": ("Protocol that is compared with the reference", ""),
    "subject": ("Participant", ""),
    "value_ppb": ("Mean susceptibility of the region", PPB),
    "n": ("Subjects with both values", ""),
    "mean_reference": ("Mean under the reference protocol", PPB),
    "sd_reference": ("SD over subjects under the reference protocol", PPB),
    "mean": ("Mean under the protocol", PPB),
    "sd": ("SD over subjects under the protocol", PPB),
    "percent_difference": ("Difference of the means in percent of the reference mean", PERCENT),
    "pearson_r": ("Pearson correlation with the reference", ""),
    "pearson_p": ("Two-sided p-value of the correlation", ""),
    "influential_subject": (
        "Subject of largest leave-one-out influence on Pearson's r; in pooled rows with region",
        "",
    ),
    "pearson_r_without": ("Pearson correlation without the most influential subject", ""),
    "paired_t": ("Paired t statistic of the differences", ""),
    "paired_t_p": ("Two-sided p-value of the paired t test", ""),
    "bias": ("Mean difference, protocol - reference", PPB),
    "sd_difference": ("SD of the differences", PPB),
    "within_subject_sd": ("Within-subject SD, SD of the differences / sqrt 2", PPB),
    "repeatability": ("Repeatability coefficient, 1.96 sqrt 2 within-subject SD", PPB),
    "rescan_sd_reference": ("SD of repeated scans of a subject under the reference", PPB),
    "rescan_sd": ("SD of repeated scans of a subject under the protocol", PPB),
    "measurement_sd": ("SD of a difference by the intervals of the values themselves", PPB),
    "measurement_share": ("Share of the variance of the differences that these explain", ""),
    "scans_reference": ("Mean number of scans of a subject under the reference", ""),
    "scans": ("Mean number of scans of a subject under the protocol", ""),
    "rescan_bias": ("Mean difference of the second and the first scan under the reference", PPB),
    "repeatability_reference": (
        "Repeatability coefficient under the reference, 1.96 sqrt 2 SD of repeated scans",
        PPB,
    ),
    "repeatability_protocol": (
        "Repeatability coefficient under the protocol, 1.96 sqrt 2 SD of repeated scans",
        PPB,
    ),
    "reproducibility": (
        "Reproducibility coefficient, 1.96 SD of the differences of single scans of a subject "
        "under protocol and reference about the bias",
        PPB,
    ),
    "subject_sd": ("SD between subjects", PPB),
    "protocol_sd": ("SD of what a protocol does to a subject, beyond the bias", PPB),
    "share_rescan": ("Share of the variance of a difference that scanning again explains", ""),
    "loa_lower": ("Lower limit of agreement, bias - 1.96 SD; exact interval", PPB),
    "loa_upper": ("Upper limit of agreement, bias + 1.96 SD; exact interval", PPB),
    "proportional_slope": ("Proportional bias: slope of the difference on the mean of both", ""),
    "proportional_slope_p": ("Two-sided p-value of the proportional bias", ""),
    "icc": ("Intraclass correlation ICC(A,1), absolute agreement", ""),
    "ccc": ("Lin's concordance correlation", ""),
    "deming_slope": ("Slope of Deming's line, equal error variances; jackknife interval", ""),
    "deming_intercept": ("Intercept of Deming's line; jackknife interval", PPB),
    "passing_bablok_slope": ("Slope of Passing and Bablok's line", ""),
    "passing_bablok_intercept": ("Intercept of Passing and Bablok's line", PPB),
    "tost_margin": ("Margin of equivalence, chosen beforehand", PPB),
    "tost_p": ("p-value of equivalence within the margin (two one-sided tests)", ""),
    "tost_ci_lower": ("Lower end of the TOST interval of the difference, level 1 - 2 alpha", PPB),
    "tost_ci_upper": ("Upper end of the TOST interval of the difference, level 1 - 2 alpha", PPB),
    "verdict": ("equivalent, not equivalent, or undecided within the margin", ""),
    "n_to_decide": (
        "Total number of subjects to decide an undecided case, if bias and SD are as observed",
        "",
    ),
    "note": ("What was left out, or why a value is missing", ""),
    "r": ("Pearson correlation with age", ""),
    "r_p": ("Two-sided p-value of the correlation with age", ""),
    "r_without": ("Correlation with age without the most influential subject", ""),
    "slope_ppb_per_year": ("Least-squares slope on age", YEARLY),
    "slope_p": ("Two-sided p-value of the slope", ""),
    "r_at_equal_sex": ("Partial correlation with age, sex held equal", ""),
    "r_at_equal_sex_p": ("Two-sided p-value of the partial correlation", ""),
    "influential_subject_at_equal_sex": ("Subject with the largest influence on it", ""),
    "r_at_equal_sex_without": ("Partial correlation without that subject", ""),
    "n_compared": ("Subjects with age and a value under protocol and reference", ""),
    "r_difference": ("Correlation with age under the protocol - under the reference", ""),
    "williams_t": ("Williams' t for that difference (correlations that share age)", ""),
    "williams_p": ("Two-sided p-value of Williams' t", ""),
    "steiger_z": ("Steiger's Z for the same difference", ""),
    "steiger_p": ("Two-sided p-value of Steiger's Z", ""),
    "slope_difference_ppb_per_year": ("Slope of protocol - reference on age", YEARLY),
    "slope_difference_p": ("Two-sided p-value of that slope", ""),
    "goal": (
        "What is to be reached: equivalence or non-equivalence within the margin, a difference "
        "that a paired t test finds, or limits of agreement of a half-width",
        "",
    ),
    "target_ppb": ("Margin, smallest difference, or half-width of the interval of a limit", PPB),
    "sd_compared": (
        "SD of the differences that are tested: of the means over the scans of each subject",
        PPB,
    ),
    "planned_bias": ("True difference assumed in the plan", PPB),
    "n_subjects": ("Subjects, each scanned under both protocols", ""),
    "power": ("Probability to reach the goal with them", ""),
    "assurance": (
        "Probability of equivalence with them, by what the pilot knows of bias and SD",
        "",
    ),
    "assurance_most": ("The same with any number: that the true difference is within", ""),
    "assumption": ("What the number of subjects rests on", ""),
    "half_width_ppb": ("Half-width of the interval of a limit of agreement", PPB),
    "n_subjects_upper_sd": ("The same at the upper end of the interval of the SD", ""),
    "time_saved_s": ("Scan time saved per subject", "s"),
    "time_saved_h": ("Scan time saved over the subjects", "h"),
    "printed_p": ("p-value as printed", ""),
    "p_from_r": ("p-value that follows from the printed correlation and n", ""),
    "p_from_r_lower": ("Smallest p-value of the correlations that round to the printed one", ""),
    "p_from_r_upper": ("Largest p-value of the correlations that round to the printed one", ""),
    "consistent": ("Whether the printed p-value can follow from the printed correlation", ""),
    "figure": ("Name of the measure of similarity", ""),
    "profile": ("Convention of dynamic range and region", ""),
    "definition": ("Short name of the convention", ""),
    "value": ("Value of the measure", ""),
    "unit": ("Unit of the value", ""),
    "dynamic_range_ppm": ("Dynamic range L; n/a where the measure has none", "ppm"),
    "n_voxels": ("Voxels over which the measure was taken", ""),
    "settings": ("Window and constants", ""),
    "Characteristic": ("Characteristic of the participants", ""),
    "Value": ("Mean and SD, or count and percent of the participants", ""),
    "Region": ("Nucleus", ""),
}
SUFFIXES = {
    "_ci_lower": "lower end of the confidence interval",
    "_ci_upper": "upper end of the confidence interval",
    "_fdr": "adjusted over all regions and protocols (Benjamini-Hochberg)",
    "_holm": "adjusted over all regions and protocols (Holm)",
}


def column_dictionary(
    names: Iterable[str], *, other: str = "Printed as in the published table"
) -> dict[str, dict[str, str]]:
    """Description and unit of columns, in the form of a BIDS sidecar.

    Args:
        names: columns of a table.
        other: description of a column without an entry, such as one named after a protocol.
    """
    return {name: _describe(name, other) for name in names}


def _describe(name: str, other: str) -> dict[str, str]:
    suffix = next((end for end in SUFFIXES if name.endswith(end)), "")
    known = name in DESCRIPTIONS
    base = name if known else name.removesuffix(suffix)
    text, unit = DESCRIPTIONS.get(base, (other, ""))
    if suffix and not known:
        text = f"{text}: {SUFFIXES[suffix]}"
    return {"Description": text} | ({"Units": unit} if unit else {})
