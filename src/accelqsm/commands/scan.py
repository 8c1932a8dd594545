"""Commands on one MRD file: images of every echo, or susceptibility in one go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.files.mrd.reader import read_mrd
from accelqsm.files.tables import write_settings
from accelqsm.kspace import KSpace
from accelqsm.pipeline.scan import MappedScan, map_susceptibility, sum_channels
from accelqsm.recon.network.reconnet3d import Consistency, ReconNet3D
from accelqsm.recon.network.weights import default_weights, load_network, weights_checksum
from accelqsm.recon.reconstruct import Method
from accelqsm.results.maps import read_mask, read_qsm_settings, write_echoes, write_maps
from accelqsm.results.provenance import device_name, software
from accelqsm.runtime.device import best_device, on_gpu_or_cpu


def recon_scan(
    scan: Path,
    out: Path,
    *,
    method: Method,
    weights: str | Path | None = None,
    consistency: Consistency | None = None,
) -> None:
    """Reconstruct magnitude and phase (rad) of every echo, channels combined.

    Writes ``echo-N_part-mag.nii.gz``, ``echo-N_part-phase.nii.gz`` and ``settings.toml``.

    Raises:
        InputError: a scan or weights that cannot be used.
    """
    network, known = _network(method, weights, consistency)
    kspace = read_mrd(scan)

    def combined(device: torch.device) -> Tensor:
        return sum_channels(kspace.on(device), method=method, network=network).images.cpu()

    with _naming(scan):
        images, device = on_gpu_or_cpu(combined)
    write_echoes(out, images, kspace.acquisition.grid)
    record = {
        "source": _source(scan, kspace, method) | known,
        "software": software() | {"device": device_name(device)},
    }
    write_settings(out / "settings.toml", record)


def map_scan(
    scan: Path,
    out: Path,
    *,
    method: Method,
    weights: str | Path | None = None,
    consistency: Consistency | None = None,
    mask: Path | None = None,
    settings: Path | None = None,
) -> MappedScan:
    """Map susceptibility from k-space; write the maps (``study.maps``) and the combined echoes.

    Raises:
        InputError: a scan, weights, mask or settings that cannot be used.
    """
    qsm_settings = read_qsm_settings(settings)
    network, known = _network(method, weights, consistency)
    kspace = read_mrd(scan)
    brain = read_mask(mask, kspace.acquisition.grid)
    with _naming(scan):
        mapped = map_susceptibility(
            kspace,
            method=method,
            network=network,
            mask=brain,
            settings=qsm_settings,
        )
    write_echoes(out, mapped.images, kspace.acquisition.grid)
    write_maps(
        out,
        mapped.maps,
        kspace.acquisition.grid,
        settings=qsm_settings,
        source=_source(scan, kspace, method) | known,
        device=mapped.device,
    )
    return mapped


@contextmanager
def _naming(scan: Path) -> Iterator[None]:
    """Say of which scan it is that something cannot be used."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{scan}: {error}") from error


def _network(
    method: Method, weights: str | Path | None, consistency: Consistency | None
) -> tuple[ReconNet3D | None, dict[str, str]]:
    """The network of one's own weights, else the package's, and what is recorded of it.

    Its consistency must be that asked, if one was.
    """
    if method != "reconnet3d":
        return None, {}
    weights = weights or default_weights(consistency or "channels", best_device())
    network = load_network(weights)
    found = network.architecture.consistency
    if consistency is not None and found != consistency:
        raise InputError(
            f"{weights}: a network of --consistency {found}, expected one of {consistency}"
        )
    known = {
        "consistency": found,
        "weights": Path(weights).name,
        "weights_sha256": weights_checksum(weights),
    }
    return network, known


def _source(scan: Path, kspace: KSpace, method: Method) -> dict[str, Any]:
    return {
        "scan": str(scan),
        "method": method,
        "acceleration": round(kspace.acceleration, 3),
        "n_channels": kspace.n_channels,
        "echo_times_s": list(kspace.acquisition.echo_times_s),
        "b0_tesla": kspace.acquisition.field_strength_t,
        "b0_direction": list(kspace.acquisition.b0_direction),
    }
