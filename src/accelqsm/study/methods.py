"""How a study was done, in paragraphs that could stand in a paper, from its settings on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accelqsm.study.comparison import StoredComparison

CITATIONS = {
    "zhou2025": "Zhou et al. 2025. Validation of deep-learning accelerated quantitative "
    "susceptibility mapping for deep brain nuclei. Front Neurosci 19:1522227. "
    "doi 10.3389/fnins.2025.1522227",
    "grappa": "Griswold et al. 2002. Generalized autocalibrating partially parallel acquisitions "
    "(GRAPPA). Magn Reson Med 47:1202-1210. doi 10.1002/mrm.10171",
    "cg-sense": "Pruessmann et al. 2001. Advances in sensitivity encoding with arbitrary k-space "
    "trajectories. Magn Reson Med 46:638-651. doi 10.1002/mrm.1241",
    "l1-wavelet": "Lustig, Donoho and Pauly 2007. Sparse MRI: the application of compressed "
    "sensing for rapid MR imaging. Magn Reson Med 58:1182-1195. doi 10.1002/mrm.21391",
    "mdi": "Ye et al. 2019. Multi-dimensional integration. Proc ISMRM 27:4392.",
    "vsharp": "Wu et al. 2012. Whole brain susceptibility mapping using compressed sensing. Magn "
    "Reson Med 67:137-147. doi 10.1002/mrm.23000",
    "inversion": "Bilgic et al. 2014. Fast quantitative susceptibility mapping with "
    "L1-regularization and automatic parameter selection. Magn Reson Med 72:1444-1459. "
    "doi 10.1002/mrm.25029",
    "consensus": "QSM Consensus Organization Committee 2024. Recommended implementation of "
    "quantitative susceptibility mapping for clinical research in the brain. Magn Reson Med "
    "91:1834-1862. doi 10.1002/mrm.30006",
    "bland1986": "Bland and Altman 1986. Statistical methods for assessing agreement between two "
    "methods of clinical measurement. Lancet 327:307-310. doi 10.1016/S0140-6736(86)90837-8",
    "icc": "McGraw and Wong 1996. Forming inferences about some intraclass correlation "
    "coefficients. Psychol Methods 1:30-46. doi 10.1037/1082-989X.1.1.30",
    "ccc": "Lin 1989. A concordance correlation coefficient to evaluate reproducibility. "
    "Biometrics 45:255-268. doi 10.2307/2532051",
    "tost": "Schuirmann 1987. A comparison of the two one-sided tests procedure and the power "
    "approach for assessing the equivalence of average bioavailability. J Pharmacokinet Biopharm "
    "15:657-680. doi 10.1007/BF01068419",
    "passing": "Passing and Bablok 1983. A new biometrical procedure for testing the equality of "
    "measurements from two different analytical methods. J Clin Chem Clin Biochem 21:709-720. "
    "doi 10.1515/cclm.1983.21.11.709",
    "bh": "Benjamini and Hochberg 1995. Controlling the false discovery rate. J R Stat Soc B "
    "57:289-300. doi 10.1111/j.2517-6161.1995.tb02031.x",
    "steiger": "Steiger 1980. Tests for comparing elements of a correlation matrix. Psychol Bull "
    "87:245-251. doi 10.1037/0033-2909.87.2.245",
    "grras": "Kottner et al. 2011. Guidelines for reporting reliability and agreement studies "
    "(GRRAS) were proposed. J Clin Epidemiol 64:96-106. doi 10.1016/j.jclinepi.2010.03.002",
    "claim": "Mongan, Moy and Kahn 2020. Checklist for artificial intelligence in medical imaging "
    "(CLAIM). Radiol Artif Intell 2:e200029. doi 10.1148/ryai.2020200029",
}
METHODS = {
    "zero-filled": "zero filling",
    "grappa": "GRAPPA",
    "cg-sense": "CG-SENSE",
    "l1-wavelet": "compressed sensing with wavelets",
    "reconnet3d": "ReconNet3D, five blocks of five 3D convolution layers, each followed by data "
    "consistency",
}
CONSISTENCY = {
    "channel": "every channel by itself",
    "channels": "every channel by itself and then made consistent with the samples of all channels",
}
BACKGROUNDS = {
    "dipole-fit": "removed by fitting dipoles outside and inside the mask together",
    "vsharp": "removed by vSHARP with radii of {radii} mm and a threshold of {threshold:g}",
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
        f"The field came from multi-dimensional integration (MDI) over channels and {lags}, "
        "unwrapped by region growing from prioritised seeds (SPUN); the background field was "
        f"{background}. Susceptibility was found by dipole inversion with an L1 penalty on its "
        f"gradient (lambda {qsm['regularisation']:g} ppm mm, at most {qsm['n_iterations']} "
        f"iterations, tolerance {qsm['tolerance']:g}"
        + (f"; {', '.join(used)}" if used else "")
        + f"), and is given {zero}. The mean over a nucleus is that of its voxels inside the mask."
    )


def statistics_text(stored: StoredComparison) -> str:
    """How agreement was judged, from the options of the comparison."""
    comparison, options = stored.comparison, stored.comparison.options
    level = f"{100 * options.confidence:g} %"
    text = (
        f"Each protocol was compared with {options.reference}, nucleus by nucleus, over the people "
        "with both values: difference of the means, Bland-Altman bias and limits of agreement "
        f"(bias ± 1.96 SD) with exact {level} confidence intervals, slope of the difference on the "
        "mean (proportional bias), within-subject SD, Pearson correlation with and without its "
        "most influential person, ICC(A,1), concordance correlation, Deming and Passing-Bablok "
        f"lines, and paired t tests. Equivalence was judged by two one-sided tests at "
        f"{100 * (1 - options.confidence):g} % each against a margin chosen beforehand, "
        f"{margin_text(stored)}; where they were undecided, the number of people who would decide "
        f"with a power of {100 * options.power:g} % follows from the observed bias and SD. "
        "p-values were adjusted over all nuclei and protocols (Benjamini-Hochberg; Holm). "
        "A high correlation, or a paired t test that is not significant, is not agreement."
    )
    if comparison.ages is not None:
        text += (
            " Correlation with age was found for every protocol, also at equal sex where sex is "
            "known, and compared with that of the reference by Williams' t for correlations that "
            "share a variable, with Steiger's Z as a check."
        )
    return text


def margin_text(stored: StoredComparison) -> str:
    """The margin of equivalence in words."""
    options = stored.comparison.options
    given = [f"{region} {ppb:g} ppb" for region, ppb in options.margin_ppb.items()]
    rows = stored.comparison.agreement
    share = f"{options.margin_percent:g} % of the {options.reference} mean"
    if not given:
        return share
    rest = set(rows["region"]) - set(options.margin_ppb) - {"all"}
    return ", ".join(given) + (f", otherwise {share}" if rest else "")


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
    if qsm:
        names += ["mdi", *(["vsharp"] if qsm["background"] == "vsharp" else []), "inversion"]
        names += ["consensus"]
    names += ["bland1986", "icc", "ccc", "tost", "passing", "bh"]
    names += ["steiger"] if stored.comparison.ages is not None else []
    return [CITATIONS[name] for name in _once([*names, "grras", "claim"])]


def _once(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))
