"""A reconstruction, or a network, is a file and a row: toys that are run as the others are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.kspace import KSpace
from accelqsm.options.setting import Settings
from accelqsm.options.table import from_table, plain
from accelqsm.recon.method_settings import (
    OF_SENSITIVITIES,
    GrappaSettings,
    NetworkSettings,
    SenseSettings,
    SensitivitySettings,
    WaveletSettings,
)
from accelqsm.recon.network.architecture import Architecture
from accelqsm.recon.network.reconnet3d import ReconNet3D
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.registry import (
    RECONSTRUCTIONS,
    NetworkReconstruction,
    Reconstruction,
)
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.settings import ReconSettings, as_recon
from accelqsm.recon.weights import load_network, save_network
from accelqsm.reports.methods import reconstruction_citations
from recon_phantom import channel_images, sample
from toy_methods import ToyNetwork, ToySettings

SHAPE = (6, 24, 16)
POISSON = poisson_disk(SHAPE[1:], acceleration=2, calibration=(10, 10), seed=0)
LOUD = (..., slice(1, 5), slice(None), slice(None))
"""Readout positions that meet the object; networks leave the others as they are."""


METHOD = Reconstruction(
    "scaled", "toy_methods:scaled", "zero filling times {factor}", settings=ToySettings
)
NETWORK = NetworkReconstruction(
    "scale-network",
    "toy_methods:ToyNetwork",
    "a toy",
    uses=("network",),
    architecture=ToySettings,
)


def _zero_filled(kspace: KSpace) -> Tensor:
    return torch.cat([block.images for block in reconstruct(kspace, "zero-filled")])


def test_a_row_is_a_reconstruction() -> None:
    kspace = sample(channel_images(SHAPE, 3), POISSON)
    with RECONSTRUCTIONS.with_row(METHOD):
        (twice,) = reconstruct(kspace, "scaled")
        (thrice,) = reconstruct(kspace, ReconSettings("scaled", ToySettings(3.0)))
        assert METHOD.describe() == "zero filling times 2"
    assert torch.equal(twice.images, 2 * _zero_filled(kspace))
    assert torch.equal(thrice.images, 3 * _zero_filled(kspace))
    with pytest.raises(InputError, match="found 'scaled'"):
        reconstruct(kspace, "scaled")


def test_a_network_of_a_row_is_saved_loaded_and_run(tmp_path: Path) -> None:
    kspace, file = sample(channel_images(SHAPE, 3), POISSON), tmp_path / "toy.safetensors"
    with RECONSTRUCTIONS.with_row(NETWORK):
        network = ToyNetwork(ToySettings(5.0))
        with torch.no_grad():
            network.weight.fill_(1.5)
        save_network(network, file, about={})
        loaded = load_network(file)
        assert isinstance(loaded, ToyNetwork)
        assert loaded.architecture == ToySettings(5.0)
        settings = ReconSettings("scale-network", network=NetworkSettings(str(file)))
        images = torch.cat([block.images for block in reconstruct(kspace, settings)])
        again = torch.cat(
            [block.images for block in reconstruct(kspace, "scale-network", network=network)]
        )
        with pytest.raises(InputError, match="expected weights of reconnet3d, found scale-network"):
            reconstruct(kspace, ReconSettings("reconnet3d", network=NetworkSettings(str(file))))
        with pytest.raises(InputError, match="expected weights of scale-network, found reconnet3d"):
            reconstruct(kspace, ReconSettings("scale-network", network=NetworkSettings("joint")))
        with pytest.raises(InputError, match="expected weights of reconnet3d, found scale-network"):
            reconstruct(kspace, "reconnet3d", network=network)
        with pytest.raises(
            InputError,
            match=r"^scale-network: expected weights, found none of consistency joint in the "
            r"package: name a file \(--weights FILE\), or train one \(accelqsm train OUT --network "
            r"scale-network\)$",
        ):
            reconstruct(kspace, "scale-network")
    assert torch.equal(images[LOUD], 1.5 * _zero_filled(kspace)[LOUD])
    assert torch.equal(images, again)
    with pytest.raises(InputError, match=r"network: expected reconnet3d, .* found 'scale-net"):
        load_network(file)


def test_anything_that_can_be_called_is_a_network() -> None:
    class Doubled:
        consistency, readout_reach, hidden_per_voxel = "per-coil", 0, 1.0
        device = torch.device("cpu")

        def __call__(self, measured: Tensor, sampled: Tensor, maps: Tensor | None = None) -> Tensor:
            assert maps is None
            return 2 * ifft(measured, PHASE_ENCODES)

    kspace = sample(channel_images(SHAPE, 3), POISSON)
    blocks = reconstruct(kspace, "reconnet3d", network=Doubled())
    found = torch.cat([block.images for block in blocks])
    assert torch.equal(found[LOUD], 2 * _zero_filled(kspace)[LOUD])


@pytest.mark.parametrize(
    ("method", "tables", "message"),
    [
        ("grappa", {"network": NetworkSettings("joint")}, "weights: .*echo-joint, found .*grappa"),
        ("cg-sense", {"network": NetworkSettings(consistency="joint")}, "consistency: expected"),
        ("zero-filled", {"sensitivities": SensitivitySettings(kernel=6)}, "kernel: .*zero-filled"),
        ("grappa", {"method_settings": SenseSettings()}, "GrappaSettings for method grappa"),
        ("sense", {}, "method: expected zero-filled"),
    ],
)
def test_settings_that_a_method_does_not_use_are_refused(
    method: str, tables: dict[str, Settings], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        ReconSettings(method, **tables)  # type: ignore[arg-type]
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("record", "values"),
    [
        (GrappaSettings, {"tikhonov": -1.0}),
        (SenseSettings, {"n_iterations": 0}),
        (WaveletSettings, {"regularisation": -0.1}),
        (SensitivitySettings, {"singular_share": 0.0}),
        (SensitivitySettings, {"calibration": (0, 8)}),
        (NetworkSettings, {"consistency": "none"}),
    ],
)
def test_settings_out_of_range_are_refused(
    record: type[Settings], values: dict[str, object]
) -> None:
    (name,) = values
    with pytest.raises(InputError, match=f"{name}: expected"):
        record(**values)


def test_former_words_of_consistency_are_aliases() -> None:
    for former, word in (("channel", "per-coil"), ("channels", "joint")):
        assert NetworkSettings(consistency=former).consistency == word
        assert Architecture(consistency=former).consistency == word
        table = {"method": "reconnet3d", "network": {"consistency": former}}
        assert from_table(ReconSettings, table).network.consistency == word


def test_settings_come_back_from_a_table() -> None:
    settings = ReconSettings(
        "cg-sense",
        SenseSettings(n_iterations=7),
        SensitivitySettings(kernel=6, calibration=(12, 20)),
    )
    table = plain(settings)
    assert table["cg-sense"] == {"n_iterations": 7, "weight": 0.01}
    assert from_table(ReconSettings, table) == settings
    assert as_recon("cg-sense").sensitivities == SensitivitySettings()
    assert as_recon(settings) is settings


def test_every_row_is_found_described_and_states_what_it_needs() -> None:
    for row in RECONSTRUCTIONS:
        assert callable(row.load())
        assert "unknown" not in row.describe()
        assert row.gives in ("channels", "one image")
        assert row.citations or row.name == "zero-filled"
        for key in OF_SENSITIVITIES:
            assert (key in row.citations) == ("sensitivities" in row.uses)
    network = RECONSTRUCTIONS["reconnet3d"]
    assert isinstance(network, NetworkReconstruction)
    assert network.load() is ReconNet3D
    assert network.architecture is Architecture


def test_sensitivities_are_cited_where_they_were_used() -> None:
    """By what a result records; files of earlier versions say channel in place of per-coil."""
    network = as_recon("reconnet3d")
    for consistency in ("joint", "channels", ""):
        keys = reconstruction_citations(network, {"consistency": consistency})
        assert keys == list(RECONSTRUCTIONS["reconnet3d"].citations)
        assert set(OF_SENSITIVITIES) < set(keys)
    for consistency in ("per-coil", "channel"):
        keys = reconstruction_citations(network, {"consistency": consistency})
        assert keys == ["zhou2025", "schlemper", "modl"]
    assert reconstruction_citations(None, {}) == []


def test_settings_and_rows_load_without_torch() -> None:
    code = (
        "import sys, accelqsm.recon.settings, accelqsm.training.settings\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
