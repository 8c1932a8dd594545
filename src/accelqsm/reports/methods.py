"""How a study was done, in paragraphs that could stand in a paper, from its settings on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accelqsm.reports.bibliography import CITATIONS
from accelqsm.reports.sentences import margin_text
from accelqsm.results.comparison import StoredComparison

METHODS = {
    "zero-filled": "zero filling",
    "grappa": "GRAPPA (Griswold et al. 2002)",
    "cg-sense": "CG-SENSE (Pruessmann et al. 2001)",
    "l1-wavelet": "compressed sensing with wavelets (Lustig et al. 2007)",
    "reconnet3d": "ReconNet3D (Zhou et al. 2025; after Schlemper et al. 2018 and Aggarwal et al. "
    "2019), five blocks of five 3D convolution layers, each followed by data consistency",
}
CONSISTENCY = {
    "channel": "every channel by itself",
    "channels": "one image, kept consistent with the samples of all channels",
}
BACKGROUNDS = {
    "dipole-fit": "removed by fitting dipoles outside and inside the mask together (after Liu et "
    "al. 2011)",
    "vsharp": "removed by vSHARP (Wu et al. 2012) with radii of {radii} mm and a threshold of "
    "{threshold:g}",
}


def acquisition_text(scanner: Mapping[str, Any], seed: object) -> str:
    """The simulated acquisition, from the settings of the scans."""
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


def reconstruction_text(sources: Mapping[str, Mapping[str, Any]]) -> str:
    """How each protocol was reconstructed, from the settings of its maps."""
    parts = []
    for label, source in sources.items():
        method = str(source.get("method", "not recorded"))
        text = METHODS.get(method, method)
        if source.get("consistency"):
            text += f" ({CONSISTENCY.get(source['consistency'], source['consistency'])})"
        factor = source.get("acceleration")
        known = "" if factor is None else f" (acceleration {factor:.2f})"
        parts.append(f"{label}{known} by {text}")
    return "Images were reconstructed: " + "; ".join(parts) + "."


def susceptibility_text(qsm: Mapping[str, Any]) -> str:
    """From channel images to susceptibility, from the ``[qsm]`` settings of a map."""
    lags = "all differences of echo times" if qsm["field_mode"] == "multi" else "adjacent echoes"
    background = BACKGROUNDS.get(qsm["background"], qsm["background"]).format(
        radii=", ".join(f"{r:g}" for r in qsm["radii_mm"]), threshold=qsm["sharp_threshold"]
    )
    weights = {
        "data_weighting": "weights from the standard deviation of the field",
        "magnitude_edges": "less smoothing across edges of the magnitude",
        "dynamic_noise": "noise weights learnt during the inversion",
        "dynamic_structure": "structure weights learnt during the inversion",
        "dynamic_scale": "a scale learnt during the inversion",
    }
    used = [text for name, text in weights.items() if qsm.get(name)]
    zero = {
        "brain": "relative to the mean of the brain mask",
        "csf": "relative to the cerebrospinal fluid of the ventricles",
        "none": "without a reference region",
    }[qsm["reference"]]
    return (
        "The field came from multi-dimensional integration (MDI, Ye et al. 2019) over channels and "
        f"{lags}, "
        "unwrapped by region growing from prioritised seeds (SPUN); the background field was "
        f"{background}. Susceptibility was found by dipole inversion with an L1 penalty on its "
        f"gradient (Bilgic et al. 2014; lambda {qsm['regularisation']:g} ppm mm, at most "
        f"{qsm['n_iterations']} iterations, tolerance {qsm['tolerance']:g}"
        + (f"; {', '.join(used)}" if used else "")
        + f"), and is given {zero}. The mean over a nucleus is that of its voxels inside the mask."
    )


def statistics_text(stored: StoredComparison) -> str:
    """How agreement was judged, from the options of the comparison."""
    comparison, options = stored.comparison, stored.comparison.options
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
        f"{margin_text(comparison)}; where they were undecided, the number of people who would "
        f"decide with a power of {100 * options.power:g} % (Phillips 1990) follows from the "
        "observed bias and SD. p-values were adjusted over all nuclei and protocols (Benjamini and "
        "Hochberg 1995; Holm 1979). "
        "A high correlation, or a paired t test that is not significant, is not agreement."
    )
    if comparison.ages is not None:
        text += (
            " Correlation with age was found for every protocol, also at equal sex where sex is "
            "known, and compared with that of the reference by Williams' t (1959) for "
            "correlations that share a variable, with Steiger's Z (1980) as a check."
        )
    return text


def references(
    stored: StoredComparison,
    *,
    sources: Mapping[str, Mapping[str, Any]] | None = None,
    qsm: Mapping[str, Any] | None = None,
) -> list[str]:
    """What the paragraphs rest on, one line each, in the order in which they do."""
    names: list[str] = ["zhou2025"] if qsm or stored.comparison.options.beside else []
    methods = {str(source.get("method")) for source in (sources or {}).values()}
    names += [name for name in ("grappa", "cg-sense", "l1-wavelet") if name in methods]
    names += ["schlemper", "modl"] if "reconnet3d" in methods else []
    if qsm:
        names += ["mdi", "vsharp" if qsm["background"] == "vsharp" else "pdf", "inversion"]
        names += ["consensus"]
    names += ["fieller", "bland1986", "carkeet", "icc", "ccc", "linnet", "passing", "tost"]
    names += ["phillips", "bh", "holm"]
    names += ["williams", "steiger"] if stored.comparison.ages is not None else []
    return [CITATIONS[name] for name in _once([*names, "grras", "claim"])]


def _once(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))
