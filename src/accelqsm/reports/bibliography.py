"""What the paragraphs of a report rest on, by short names."""

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
    "schlemper": "Schlemper et al. 2018. A deep cascade of convolutional neural networks for "
    "dynamic MR image reconstruction. IEEE Trans Med Imaging 37:491-503. "
    "doi 10.1109/TMI.2017.2760978",
    "modl": "Aggarwal, Mani and Jacob 2019. MoDL: model-based deep learning architecture for "
    "inverse problems. IEEE Trans Med Imaging 38:394-405. doi 10.1109/TMI.2018.2865356",
    "mdi": "Ye et al. 2019. Multi-dimensional integration. Proc ISMRM 27:4392.",
    "vsharp": "Wu et al. 2012. Whole brain susceptibility mapping using compressed sensing. Magn "
    "Reson Med 67:137-147. doi 10.1002/mrm.23000",
    "pdf": "Liu et al. 2011. A novel background field removal method for MRI using projection onto "
    "dipole fields (PDF). NMR Biomed 24:1129-1136. doi 10.1002/nbm.1670",
    "inversion": "Bilgic et al. 2014. Fast quantitative susceptibility mapping with "
    "L1-regularization and automatic parameter selection. Magn Reson Med 72:1444-1459. "
    "doi 10.1002/mrm.25029",
    "consensus": "QSM Consensus Organization Committee 2024. Recommended implementation of "
    "quantitative susceptibility mapping for clinical research in the brain. Magn Reson Med "
    "91:1834-1862. doi 10.1002/mrm.30006",
    "bland1986": "Bland and Altman 1986. Statistical methods for assessing agreement between two "
    "methods of clinical measurement. Lancet 327:307-310. doi 10.1016/S0140-6736(86)90837-8",
    "carkeet": "Carkeet 2015. Exact parametric confidence intervals for Bland-Altman limits of "
    "agreement. Optom Vis Sci 92:e71-e80. doi 10.1097/OPX.0000000000000513",
    "fieller": "Fieller 1954. Some problems in interval estimation. J R Stat Soc B 16:175-185. "
    "doi 10.1111/j.2517-6161.1954.tb00159.x",
    "icc": "McGraw and Wong 1996. Forming inferences about some intraclass correlation "
    "coefficients. Psychol Methods 1:30-46. doi 10.1037/1082-989X.1.1.30",
    "ccc": "Lin 1989. A concordance correlation coefficient to evaluate reproducibility. "
    "Biometrics 45:255-268. doi 10.2307/2532051",
    "linnet": "Linnet 1993. Evaluation of regression procedures for methods comparison studies. "
    "Clin Chem 39:424-432. doi 10.1093/clinchem/39.3.424",
    "tost": "Schuirmann 1987. A comparison of the two one-sided tests procedure and the power "
    "approach for assessing the equivalence of average bioavailability. J Pharmacokinet Biopharm "
    "15:657-680. doi 10.1007/BF01068419",
    "passing": "Passing and Bablok 1983. A new biometrical procedure for testing the equality of "
    "measurements from two different analytical methods. J Clin Chem Clin Biochem 21:709-720. "
    "doi 10.1515/cclm.1983.21.11.709",
    "bh": "Benjamini and Hochberg 1995. Controlling the false discovery rate. J R Stat Soc B "
    "57:289-300. doi 10.1111/j.2517-6161.1995.tb02031.x",
    "phillips": "Phillips 1990. Power of the two one-sided tests procedure in bioequivalence. J "
    "Pharmacokinet Biopharm 18:137-144. doi 10.1007/BF01063556",
    "holm": "Holm 1979. A simple sequentially rejective multiple test procedure. Scand J Stat "
    "6:65-70. https://www.jstor.org/stable/4615733",
    "williams": "Williams 1959. The comparison of regression variables. J R Stat Soc B 21:396-399. "
    "doi 10.1111/j.2517-6161.1959.tb00346.x",
    "steiger": "Steiger 1980. Tests for comparing elements of a correlation matrix. Psychol Bull "
    "87:245-251. doi 10.1037/0033-2909.87.2.245",
    "grras": "Kottner et al. 2011. Guidelines for reporting reliability and agreement studies "
    "(GRRAS) were proposed. J Clin Epidemiol 64:96-106. doi 10.1016/j.jclinepi.2010.03.002",
    "claim": "Mongan, Moy and Kahn 2020. Checklist for artificial intelligence in medical imaging "
    "(CLAIM). Radiol Artif Intell 2:e200029. doi 10.1148/ryai.2020200029",
}
