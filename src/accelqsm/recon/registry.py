"""Registry of the reconstruction methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from accelqsm.options.registry import Choice, Registry, Rows
from accelqsm.options.setting import NoSettings, Settings
from accelqsm.recon.method_settings import (
    OF_SENSITIVITIES,
    SENSITIVITIES,
    EchoWaveletSettings,
    GrappaSettings,
    SenseSettings,
    WaveletSettings,
)
from accelqsm.recon.network.architecture import (
    Architecture,
    DcrArchitecture,
    EchoArchitecture,
)


@dataclass(frozen=True)
class Reconstruction(Choice):
    """A reconstruction method, from under-sampled k-space to images.

    Its function takes ``(kspace: KSpace, settings: ReconSettings)`` and returns an iterator of
    ``ImageBlock``.

    Attributes:
        pattern: the sampling pattern that it needs.
        gives: "channels", an image of every channel, or "one image", a joint image of all.
        shared_pattern: whether it needs one sampling pattern for all echoes.
        uses: the tables of ``ReconSettings`` that it reads: "sensitivities", "network".
    """

    pattern: str = "any"
    gives: str = "channels"
    shared_pattern: bool = True
    uses: tuple[str, ...] = ()


@dataclass(frozen=True)
class NetworkReconstruction(Reconstruction):
    """A reconstruction whose function is the class of a network (``recon.network.protocol``).

    The class is constructed from its architecture alone; weights files and ``accelqsm train`` name
    the row. The output depends on the consistency of its weights: per-coil gives channels, joint
    gives one image.

    Attributes:
        architecture: record type of the network's architecture.
        joins_echoes: whether the images of one call are the echoes of a scan, which the network
            reconstructs together.
    """

    architecture: type[Settings] = NoSettings
    joins_echoes: bool = False


RECONSTRUCTIONS: Registry[Reconstruction] = Registry(
    "method",
    [
        Reconstruction(
            "zero-filled",
            "accelqsm.recon.methods.zero_filled:zero_filled_blocks",
            "zero filling",
            shared_pattern=False,
        ),
        Reconstruction(
            "grappa",
            "accelqsm.recon.methods.grappa:grappa_blocks",
            "GRAPPA (Griswold et al. 2002; readout taps, acquired lines and partitions of the "
            "kernel: {kernel})",
            citations=("grappa",),
            settings=GrappaSettings,
            pattern="every n-th line along ky, through the zero frequency, and a fully sampled "
            "centre",
        ),
        Reconstruction(
            "cg-sense",
            "accelqsm.recon.methods.cg_sense:cg_sense_blocks",
            "CG-SENSE (Pruessmann et al. 2001; {n_iterations} iterations, Tikhonov weight "
            f"{{weight}}) with {SENSITIVITIES}",
            citations=("cg-sense", *OF_SENSITIVITIES),
            settings=SenseSettings,
            pattern="any with a fully sampled centre",
            gives="one image",
            shared_pattern=False,
            uses=("sensitivities",),
        ),
        Reconstruction(
            "l1-wavelet",
            "accelqsm.recon.methods.l1_wavelet:l1_wavelet_blocks",
            "compressed sensing with wavelets (Lustig et al. 2007; lambda {regularisation} of the "
            f"largest magnitude, {{n_iterations}} iterations) with {SENSITIVITIES}",
            citations=("l1-wavelet", *OF_SENSITIVITIES),
            settings=WaveletSettings,
            pattern="variable density with a fully sampled centre",
            gives="one image",
            shared_pattern=False,
            uses=("sensitivities",),
        ),
        Reconstruction(
            "l1-echoes",
            "accelqsm.recon.methods.l1_echoes:l1_echoes_blocks",
            "compressed sensing of all echoes together (Lustig et al. 2007; principal components "
            "of the demodulated echoes after Huang et al. 2012; lambda {regularisation} of the "
            f"largest magnitude, two rounds of {{n_iterations}} iterations) with {SENSITIVITIES}",
            citations=("l1-wavelet", "repcom", *OF_SENSITIVITIES),
            settings=EchoWaveletSettings,
            pattern="variable density with a fully sampled centre",
            gives="one image",
            shared_pattern=False,
            uses=("sensitivities",),
        ),
        NetworkReconstruction(
            "reconnet3d",
            "accelqsm.recon.network.reconnet3d:ReconNet3D",
            "ReconNet3D (Zhou et al. 2025; after Schlemper et al. 2018 and Aggarwal et al. 2019), "
            "five blocks of five 3D convolution layers, each followed by data consistency",
            citations=("zhou2025", "schlemper", "modl", *OF_SENSITIVITIES),
            pattern="variable density with a fully sampled centre, at acceleration 3 to 5",
            gives="one image",
            shared_pattern=False,
            uses=("sensitivities", "network"),
            architecture=Architecture,
        ),
        NetworkReconstruction(
            "dcrnet",
            "accelqsm.recon.network.dcrnet:DcrNet",
            "DCRNet (Gao et al. 2021), a residual network of complex convolutions on single "
            "planes, followed by data consistency",
            citations=("dcrnet", *OF_SENSITIVITIES),
            pattern="variable density with a fully sampled centre",
            gives="one image",
            shared_pattern=False,
            uses=("sensitivities", "network"),
            architecture=DcrArchitecture,
        ),
        NetworkReconstruction(
            "echo-joint",
            "accelqsm.recon.network.echo_joint:EchoJoint",
            "a network of all echoes (after Zhang et al. 2023, Qin et al. 2019 and Aggarwal et al. "
            "2019), cascades of convolutions that are recurrent over echoes, each the mean over "
            "the echoes and their copy after half a turn, followed by data consistency",
            citations=("laro", "crnn", "modl", *OF_SENSITIVITIES),
            pattern="variable density with a fully sampled centre",
            gives="one image",
            shared_pattern=False,
            uses=("sensitivities", "network"),
            architecture=EchoArchitecture,
            joins_echoes=True,
        ),
    ],
)


class Networks(Rows[NetworkReconstruction]):
    """The networks among ``RECONSTRUCTIONS``, with their architectures as their settings."""

    def __iter__(self) -> Iterator[NetworkReconstruction]:
        for row in RECONSTRUCTIONS:
            if isinstance(row, NetworkReconstruction):
                yield replace(row, settings=row.architecture)


NETWORKS = Networks("network")
"""The one place from which architectures are picked by name, for training and for weights."""
