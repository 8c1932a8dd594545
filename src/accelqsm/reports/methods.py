"""Paragraphs of a methods section, generated from the settings of a study.

Sentences and citations of a method come from its row in the registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from accelqsm.files.atlases import ATLASES
from accelqsm.options.registry import switched_on
from accelqsm.options.setting import Setting
from accelqsm.qsm.background.registry import BACKGROUNDS
from accelqsm.qsm.inversion.registry import INVERSIONS
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.method_settings import (
    CONSISTENCIES,
    FORMER_CONSISTENCIES,
    OF_SENSITIVITIES,
    PER_COIL,
)
from accelqsm.recon.registry import RECONSTRUCTIONS
from accelqsm.recon.settings import ReconSettings
from accelqsm.reference.registry import REFERENCES
from accelqsm.reports.sentences import margin_text
from accelqsm.results.comparison import Comparison


def acquisition_text(scanner: Mapping[str, Any], seed: object) -> str:
    """Methods paragraph of the simulated acquisition."""
    times = ", ".join(f"{1e3 * t:g}" for t in scanner["echo_times_s"])
    shape = " x ".join(map(str, scanner["shape"]))
    size = " x ".join(f"{s:g}" for s in scanner["voxel_size_mm"])
    return (
        f"Digital heads (seed {seed}) were scanned by a simulated 3D multi-echo gradient echo: "
        f"matrix {shape}, voxels {size} mm, echo times {times} ms, repetition time "
        f"{1e3 * scanner['repetition_time_s']:g} ms, flip angle {scanner['flip_angle_deg']:g} "
        f"degrees, {scanner['n_channels']} receive channels, signal-to-noise ratio "
        f"{scanner['snr']:g} in white matter of the combined image at TE 0. Regular patterns had "
        f"{scanner['calibration_lines']} calibration lines, Poisson-disk patterns a fully sampled "
        f"centre of {' x '.join(map(str, scanner['calibration']))}; acceleration is the number of "
        "positions of the full rectangle over those sampled."
    )


NOTHING: Mapping[str, Any] = MappingProxyType({})
Recorded = tuple[ReconSettings | None, Mapping[str, Any]]
"""Settings of a reconstruction, and the record of its source."""


def reconstruction_text(recons: Mapping[str, Recorded]) -> str:
    """Methods paragraph of the reconstruction of each protocol."""
    parts = []
    for label, (settings, source) in recons.items():
        if settings is None:
            parts.append(f"{label} by a method that is not recorded")
            continue
        text = RECONSTRUCTIONS[settings.method].describe(settings.method_settings)
        if found := _consistency(source):
            text += f" ({CONSISTENCIES.get(found, found)})"
        weight = source.get("sample_weight", settings.network.sample_weight)
        if weight not in (None, 1):
            text += f", with {weight:g} times the weight of the samples that training found"
        if settings.sensitivities.file:
            text += f", with the sensitivities of {settings.sensitivities.file} in their place"
        factor = source.get("acceleration")
        known = "" if factor is None else f" (acceleration {factor:.2f})"
        parts.append(f"{label}{known} by {text}")
    return "Images were reconstructed: " + "; ".join(parts) + "."


def susceptibility_text(qsm: QsmSettings, source: Mapping[str, Any] = NOTHING) -> str:
    """Methods paragraph of the QSM pipeline, of the maps that it computed.

    Args:
        qsm: settings.
        source: record of the input, which says where the pipeline began and ended.
    """
    sentences = [_field_sentence(qsm, source)]
    if "background" in _steps(source):
        background = BACKGROUNDS[qsm.background].describe(qsm.background_settings)
        sentences[-1] += f"; the background field was {background}"
    if "inversion" not in _steps(source):
        return sentences[0] + "."
    inversion = INVERSIONS[qsm.inversion].describe(qsm.inversion_settings)
    used = [switch.said for switch in _switched_on(qsm, source)]
    sentences.append(
        f"Susceptibility was found by {inversion}"
        + (f", with {', '.join(used)}" if used else "")
        + f", and is given {REFERENCES[qsm.reference].sentence}"
    )
    sentences.append("The mean over a nucleus is that of its voxels inside the mask")
    return ". ".join(sentences) + "."


def _field_sentence(qsm: QsmSettings, source: Mapping[str, Any]) -> str:
    for name in ("total_field", "local_field"):
        if name in source:
            return f"The {name.replace('_', ' ')} was given, computed elsewhere"
    lags = "all differences of echo times" if qsm.field_mode == "multi" else "adjacent echoes"
    return (
        "The field came from multi-dimensional integration (MDI, Ye et al. 2019) over channels and "
        f"{lags}, unwrapped by region growing from prioritised seeds (SPUN)"
    )


def _steps(source: Mapping[str, Any]) -> set[str]:
    """Which of field, background and inversion were computed."""
    steps = {"field", "background", "inversion"}
    if "local_field" in source:
        steps -= {"field", "background"}
    elif "total_field" in source:
        steps -= {"field"}
    until = source.get("until", "susceptibility")
    return steps - {"total-field": {"background", "inversion"}, "local-field": {"inversion"}}.get(
        str(until), set()
    )


def _switched_on(qsm: QsmSettings, source: Mapping[str, Any]) -> list[Setting]:
    """Switches of the pipeline and of its inversion that acted."""
    but = _without(source)
    return [*switched_on(qsm, but=but), *switched_on(qsm.inversion_settings, but=but)]


def _without(source: Mapping[str, Any]) -> set[str]:
    """Switches that had nothing to do: a field alone tells neither noise nor edges."""
    if not {"total_field", "local_field"} & source.keys():
        return set()
    needs = {"data_weighting": "field_sd", "magnitude_edges": "magnitude"}
    return {name for name, needed in needs.items() if needed not in source}


def nuclei_text(record: Mapping[str, Any]) -> str:
    """Methods paragraph of the measurement of nuclei."""
    source, settings = record.get("source", {}), record.get("nuclei", {})
    if "atlas" in source:
        labels = (
            f"{atlas_sentence(str(source['atlas']))}, registered to the scan: rigidly to the "
            "T1-weighted image where there is one, affinely and then by SyN (Avants et al. 2008) "
            "to the template"
        )
    elif "reference_magnitude" in source:
        labels = "labels of another scan of the same head, co-registered rigidly"
    else:
        labels = "labels on the grid of the map"
    text = f"Nuclei were measured with {labels}."
    if settings.get("erosion_mm"):
        text += f" Labels were eroded by {settings['erosion_mm']:g} mm."
    if settings.get("weighted"):
        text += " Voxels were weighed with the probability of their label."
    reference = REFERENCES[settings.get("reference", "brain")].sentence
    return text + f" Values are means of susceptibility {reference}."


def atlas_sentence(atlas: str) -> str:
    """Methods sentence of an atlas, or the name of its folder."""
    name = Path(atlas).name
    return ATLASES[name].sentence if name in ATLASES else f"an atlas of one's own ({name})"


def statistics_text(stored: Comparison) -> str:
    """Methods paragraph of the statistical analysis of agreement."""
    options = stored.settings
    level = f"{100 * options.confidence:g} %"
    text = (
        f"Each protocol was compared with {options.reference}, nucleus by nucleus, over the people "
        "with both values: difference of the means in percent (Fieller's interval), Bland-Altman "
        "bias and limits of agreement (bias ± 1.96 SD; Bland and Altman 1986) with exact "
        f"{level} confidence intervals (Carkeet 2015), slope of the difference on the mean "
        "(proportional bias), within-subject SD and repeatability, Pearson correlation with and "
        "without its most influential person, ICC(A,1) (McGraw and Wong 1996), concordance "
        "correlation (Lin 1989), the lines of Deming (Linnet 1993) and of Passing and Bablok "
        "(1983), and paired t tests. Equivalence was judged by two one-sided tests (Schuirmann "
        f"1987) at {100 * (1 - options.confidence):g} % each against a margin chosen beforehand, "
        f"{margin_text(stored)}; where they were undecided, the number of people who would "
        f"decide with a power of {100 * options.power:g} % (Phillips 1990) follows from the "
        "observed bias and SD. p-values were adjusted over all nuclei and protocols (Benjamini and "
        "Hochberg 1995; Holm 1979). "
        "A high correlation, or a paired t test that is not significant, is not agreement."
    )
    if stored.repeats is not None:
        text += (
            " Of repeated scans the means were compared; limits of agreement are those of single "
            "scans (Bland and Altman 1999), and the variance of scanning again, of protocols and "
            "of people was estimated by mean squares, with intervals by MOVER (Zou 2013)."
        )
    if stored.ages is not None:
        text += (
            " Correlation with age was found for every protocol, also at equal sex where sex is "
            "known, and compared with that of the reference by Williams' t (1959) for "
            "correlations that share a variable, with Steiger's Z (1980) as a check."
        )
    return text


def reconstruction_citations(
    settings: ReconSettings | None, source: Mapping[str, Any]
) -> list[str]:
    """Citation keys of a reconstruction; per coil, nothing of sensitivities."""
    if settings is None:
        return []
    unused = OF_SENSITIVITIES if _consistency(source) == PER_COIL else ()
    return [key for key in RECONSTRUCTIONS[settings.method].citations if key not in unused]


def _consistency(source: Mapping[str, Any]) -> str:
    """Of a network, by its name of today; empty where none is recorded."""
    found = str(source.get("consistency", ""))
    return FORMER_CONSISTENCIES.get(found, found)


def susceptibility_citations(qsm: QsmSettings, source: Mapping[str, Any] = NOTHING) -> list[str]:
    """Citation keys of the QSM pipeline, of the maps that it computed."""
    steps = _steps(source)
    keys = ["mdi"] if "field" in steps else []
    if "background" in steps:
        keys += BACKGROUNDS[qsm.background].citations
    if "inversion" in steps:
        keys += [*INVERSIONS[qsm.inversion].citations, *REFERENCES[qsm.reference].citations]
        keys += [key for switch in _switched_on(qsm, source) for key in switch.citations]
    return [*keys, "consensus"]


def nuclei_citations(record: Mapping[str, Any]) -> list[str]:
    """Citation keys of the measurement of nuclei."""
    atlas = record.get("source", {}).get("atlas")
    if atlas is None:
        return []
    name = Path(str(atlas)).name
    return [*(ATLASES[name].citations if name in ATLASES else ()), "avants2008"]


def statistics_citations(stored: Comparison) -> list[str]:
    """Citation keys of the statistical analysis of agreement."""
    keys = ["fieller", "bland1986", "carkeet", "icc", "ccc", "linnet", "passing", "tost"]
    keys += ["phillips", "bh", "holm"]
    keys += ["bland1999", "zou2013"] if stored.repeats is not None else []
    return keys + (["williams", "steiger"] if stored.ages is not None else [])
