"""The phase of combined channels, and what sensitivities are worth."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor

import iron_phantom
from accelqsm.acquisition import Acquisition
from accelqsm.api.images import read_images
from accelqsm.cli import main
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.mrd.writer import write_mrd
from accelqsm.fourier import PHASE_ENCODES, centred_slice, fft
from accelqsm.kspace import KSpace
from accelqsm.pipeline.scan import PHASE, combined_echoes, map_susceptibility, sum_channels
from accelqsm.pipeline.sensitivities import prepared
from accelqsm.recon.method_settings import NetworkSettings, SensitivitySettings
from accelqsm.recon.network.architecture import Architecture
from accelqsm.recon.network.reconnet3d import ReconNet3D
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.sensitivities.espirit import espirit
from accelqsm.recon.settings import ReconSettings
from accelqsm.recon.trust import trust_in
from accelqsm.reports.methods import reconstruction_text
from recon_phantom import ECHO_TIMES_S, FIELD_HZ, channel_images, sample

SHAPE = (12, 48, 40)
MIDDLE = (slice(3, 9), slice(14, 34), slice(12, 28))
PARTS = {"magnitude": "mag", "phase": "phase"}
METHODS = ["zero-filled", "grappa", "cg-sense"]


def scan(*, n_echoes: int = 2, calibration: tuple[int, int] = (16, 16), noise: float = 0.01,
         blob_rad: float = 0.0, full: bool = False) -> KSpace:  # fmt: skip
    """Samples of six channels; ``blob_rad``: phase of a source about ten voxels wide."""
    pattern = torch.ones(SHAPE[1:], dtype=torch.bool)
    if not full:
        pattern = poisson_disk(SHAPE[1:], acceleration=3, calibration=calibration, seed=1)
    made = sample(channel_images(SHAPE, 6) * blob(blob_rad), pattern, noise_sd=noise)
    times_s = ECHO_TIMES_S[:n_echoes]
    acquisition = replace(made.acquisition, echo_times_s=times_s)
    samples = np.ascontiguousarray(made.samples[:, :n_echoes])
    return replace(made, acquisition=acquisition, samples=samples)


def blob(rad: float) -> Tensor:
    x, y, z = torch.meshgrid(*(torch.arange(n) - n // 2 for n in SHAPE), indexing="ij")
    return torch.polar(torch.ones(SHAPE), rad * torch.exp(-(x**2 + y**2 + z**2) / (2 * 5.0**2)))


def tissue() -> Tensor:
    """Where there is signal, bool (x, y, z)."""
    magnitude = channel_images(SHAPE, 6)[:, 0].abs().square().sum(0).sqrt()
    return magnitude > 0.1 * magnitude.max()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_echoes", [1, 2])
def test_the_combined_phase_keeps_its_low_frequencies(method: str, n_echoes: int) -> None:
    """Of every echo, the first of several included, which no case looks at."""
    phases = []
    for rad in (0.0, 1.0):
        echoes = combined_echoes(scan(n_echoes=n_echoes, blob_rad=rad, full=True), method).echoes
        phases.append(echoes.phase_rad)
    change = np.angle(np.exp(1j * (phases[1] - phases[0])))
    for echo in change:
        assert np.abs(echo - blob(1.0).angle().numpy())[MIDDLE].max() < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_echoes_keep_their_evolution(method: str) -> None:
    images = torch.from_numpy(combined_echoes(scan(full=True), method).echoes.images)
    x = torch.linspace(-1, 1, SHAPE[0])[:, None, None]
    expected = 2 * torch.pi * FIELD_HZ * (ECHO_TIMES_S[1] - ECHO_TIMES_S[0]) * (1 + 0.5 * x)
    evolved = (images[1] * images[0].conj() * torch.polar(torch.ones(()), -expected)).angle()
    assert evolved[MIDDLE].abs().max() < 0.1


@pytest.mark.parametrize("method", ["zero-filled", "cg-sense"])
def test_a_single_echo_is_mapped_with_the_words_of_images(method: str) -> None:
    one = scan(n_echoes=1, full=True)
    with pytest.warns(InputWarning, match="k-space: a single echo, so that the phase offset"):
        maps = map_susceptibility(one, method, mask=tissue())
    images = combined_echoes(one, method).echoes.images[0]
    turns = (maps.field_hz - np.angle(images) / (2 * np.pi * ECHO_TIMES_S[0])) * ECHO_TIMES_S[0]
    assert np.abs(turns - np.round(turns))[MIDDLE].max() < 1e-3


def test_what_the_phase_is_stands_in_the_settings(tmp_path: Path) -> None:
    write_mrd(tmp_path / "scan.h5", scan(full=True))
    words = ["recon", str(tmp_path / "scan.h5"), str(tmp_path / "out"), "--method", "zero-filled"]
    assert main([*words, "--b0-direction", "0", "2", "0"]) == 0
    source = tomllib.loads((tmp_path / "out" / "settings.toml").read_text())["source"]
    assert source["phase"] == PHASE
    assert source["b0_direction"] == [0.0, 1.0, 0.0]


def test_what_recon_writes_is_read_without_another_word(tmp_path: Path) -> None:
    """Echo times, field, direction of B0 and unit, by folder, by file, or by all files."""
    write_mrd(tmp_path / "scan.h5", scan(full=True))
    out = tmp_path / "out"
    words = ["recon", str(tmp_path / "scan.h5"), str(out), "--method", "zero-filled"]
    assert main([*words, "--b0-direction", "0", "2", "0"]) == 0
    expected = combined_echoes(scan(full=True), "zero-filled").echoes.images
    files = {name: sorted(out.glob(f"*{part}.nii.gz")) for name, part in PARTS.items()}
    for found in (read_images(out), read_images(out / "echo-2_part-phase.nii.gz"),
                  read_images(**files)):  # fmt: skip
        assert found.acquisition.echo_times_s == ECHO_TIMES_S
        assert found.acquisition.field_strength_t == 3.0
        assert found.b0_direction == (0.0, 1.0, 0.0)
        np.testing.assert_allclose(found.images[0].numpy(), expected, atol=1e-4)
    assert main([*words, "--overwrite"]) == 0
    assert len(list(out.glob("echo-*.json"))) == 4


def test_sensitivities_are_looked_at_before_samples_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mrd(tmp_path / "scan.h5", scan())
    monkeypatch.setattr("accelqsm.api.images.read_mrd", pytest.fail)
    out, file = tmp_path / "out", tmp_path / "out" / "fieldmap.nii.gz"
    words = ["map", str(tmp_path / "scan.h5"), str(out), "--method", "cg-sense"]
    for name, found in (("none.npy", "no such file"), ("few.npy", "found complex64 (5, 12, 48")):
        saved(tmp_path / "few.npy", true_maps()[:5])
        assert main([*words, "--sensitivities-file", str(tmp_path / name)]) == 65
        (line,) = capsys.readouterr().err.splitlines()
        assert name in line
        assert found in line
    out.mkdir()
    saved(file, true_maps())
    assert main([*words, "--overwrite", "--sensitivities-file", str(file)]) == 65
    assert f"{file}" in capsys.readouterr().err
    assert file.is_file()


@pytest.mark.slow
def test_the_direction_of_b0_reaches_the_inversion() -> None:
    one, other = (
        map_susceptibility(scan(full=True), "zero-filled", mask=tissue(), b0_direction=b0).chi_ppm
        for b0 in (None, (0.0, 1.0, 0.0))
    )
    assert np.abs(one - other)[MIDDLE].max() > 1e-3


def test_sensitivities_that_are_right_are_used_without_a_word() -> None:
    ready = prepared(scan(), ReconSettings("cg-sense"))
    assert ready.recon.method == "cg-sense"
    assert 0 < ready.notes["held_out_error"] < 0.6
    assert ready.notes["unexplained"] < 0.05


@pytest.mark.parametrize("size", [(16, 16), (6, 6)])
def test_a_calibration_of_other_channels_falls_back_with_its_figures(size: tuple[int, int]) -> None:
    """Worse than zero filling by the samples that were kept from it, and by the true image."""
    centre = [centred_slice(n, m) for n, m in zip(SHAPE[1:], size, strict=True)]
    other = np.roll(scan(full=True).planes().numpy()[:, :1], 2, axis=0)[(..., *centre)]
    poor = replace(scan(noise=0.05), calibration=np.ascontiguousarray(other))
    asked = ReconSettings("cg-sense")
    with pytest.warns(InputWarning, match=r"\d+ % wrong on samples .* zero-filled is used instead"):
        ready = prepared(poor, asked)
    assert (ready.recon.method, ready.notes["instead_of"]) == ("zero-filled", "cg-sense")
    true = sum_channels(scan(full=True, noise=0), "zero-filled").images.abs()
    errors = [
        float((sum_channels(poor, recon).images.abs() - true).norm() / true.norm())
        for recon in (ready.recon, asked)
    ]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("size", [(5, 5), (5, 6), (6, 6), (8, 8)])
def test_a_small_calibration_is_nearly_as_good_as_the_true_sensitivities(
    size: tuple[int, int],
) -> None:
    asked = ReconSettings("cg-sense")
    small = scan(calibration=size, noise=0.01)
    assert prepared(small, asked).recon.method == "cg-sense"
    true = sum_channels(scan(full=True, noise=0), "zero-filled").images.abs()
    errors = [
        float((sum_channels(kspace, recon).images.abs() - true).norm() / true.norm())
        for kspace, recon in (
            (small, asked),
            (replace(small, sensitivities=true_maps()), asked),
            (small, ReconSettings("zero-filled")),
        )
    ]
    assert errors[0] < 1.5 * errors[1]
    assert errors[0] < 0.3 * errors[2]


def test_one_channel_or_noise_alone_is_not_judged() -> None:
    one = replace(scan(), samples=scan().samples[:1])
    assert trust_in(one, SensitivitySettings()) is None
    assert trust_in(scan(full=True), SensitivitySettings()) is None
    noise = replace(scan(), samples=scan().samples + scan(noise=30.0).samples)
    assert trust_in(noise, SensitivitySettings()) is None


def wrong_maps() -> np.ndarray:
    """Each channel with the sensitivity of another, as after a change of their order."""
    return np.roll(true_maps(), 2, axis=0)


def true_maps() -> np.ndarray:
    images = channel_images(SHAPE, 6)[:, 0]
    power = images.abs().square().sum(0).sqrt().clamp_min(1e-6)
    maps: np.ndarray = (images / power).numpy()
    return maps


def saved(path: Path, maps: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, maps)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["maps"] = maps
    else:
        nib.save(nib.Nifti1Image(np.moveaxis(maps, 0, -1), np.eye(4)), path)
    return path


@pytest.mark.parametrize("name", ["maps.npy", "maps.h5", "maps.nii.gz"])
def test_sensitivities_of_a_file_are_those_that_are_used(tmp_path: Path, name: str) -> None:
    """Of any scale, whitened and compressed as the samples are."""
    file = saved(tmp_path / name, 1e9 * true_maps())
    given = SensitivitySettings(file=str(file))
    small = scan(calibration=(8, 6))
    ready = prepared(small, ReconSettings("cg-sense", sensitivities=given))
    assert ready.recon.method == "cg-sense"
    assert ready.notes["held_out_error"] < 0.6
    found = espirit(ready.kspace).maps
    alike = (torch.from_numpy(true_maps()).conj() * found).sum(0).abs()
    assert alike[MIDDLE].min() > 0.999
    true = sum_channels(scan(full=True, noise=0), "zero-filled").images.abs()
    image = sum_channels(ready.kspace, ready.recon).images.abs()
    assert float((image - true).norm() / true.norm()) < 0.15


def test_sensitivities_of_another_scan_are_found_out(tmp_path: Path) -> None:
    """Channels in another order: no header tells, the samples do; no case has it."""
    file = saved(tmp_path / "maps.npy", wrong_maps())
    given = SensitivitySettings(file=str(file))
    with pytest.warns(InputWarning, match="zero-filled is used instead of cg-sense"):
        prepared(scan(), ReconSettings("cg-sense", sensitivities=given))


@pytest.mark.parametrize(
    ("name", "maps", "message"),
    [
        ("none.npy", None, "no such file; expected a complex array"),
        ("maps.txt", b"1 2 3", "expected a complex array .*, found '.txt'"),
        ("maps.npy", b"no array", "expected a complex array"),
        ("maps.npy", true_maps()[:5], r"expected .* \(6, 12, 48, 40\), found complex64 \(5, 12"),
        ("maps.npy", np.abs(true_maps()), "found float32"),
        ("maps.npy", 0 * true_maps(), "expected finite sensitivities, not all 0, found .* of 0"),
        ("maps.npy", np.nan * true_maps(), "expected finite sensitivities"),
    ],
)
def test_a_file_that_is_no_sensitivities_is_named(
    tmp_path: Path, name: str, maps: np.ndarray | bytes | None, message: str
) -> None:
    path = tmp_path / name
    if isinstance(maps, bytes):
        path.write_bytes(maps)
    elif maps is not None:
        saved(path, maps)
    given = SensitivitySettings(file=str(path))
    with pytest.raises(InputError, match=message) as error:
        prepared(scan(), ReconSettings("cg-sense", sensitivities=given))
    assert str(error.value).startswith(f"{path}: ")


def test_sensitivities_that_a_network_does_not_read_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path / "maps.npy", true_maps())
    recon = ReconSettings(
        "reconnet3d",
        sensitivities=SensitivitySettings(file=str(file)),
        network=NetworkSettings(consistency="per-coil"),
    )
    network = ReconNet3D(Architecture(4, 2, (3, 1), patch=1))
    with pytest.raises(InputError, match="expected with --consistency joint, found per-coil"):
        prepared(scan(), recon, network)


def test_the_methods_text_names_the_file_of_sensitivities() -> None:
    recon = ReconSettings("cg-sense", sensitivities=SensitivitySettings(file="maps.npy"))
    assert "with the sensitivities of maps.npy in" in reconstruction_text({"PI": (recon, {})})
    assert "their place" not in reconstruction_text({"PI": (ReconSettings("cg-sense"), {})})


def iron_samples(images: Tensor) -> KSpace:
    """Raw data of the head with iron, two channels with every sample; images (echo, x, y, z)."""
    x = torch.linspace(-1, 1, images.shape[1])[:, None, None]
    coils = torch.stack([torch.polar(1 + 0.3 * side * x, side * x) for side in (1.0, -1.0)])
    full = torch.ones(images.shape[2:], dtype=torch.bool)
    known = Acquisition(iron_phantom.GRID, iron_phantom.ECHO_TIMES_S, iron_phantom.FIELD_T)
    return KSpace(known, full, fft(coils[:, None] * images, PHASE_ENCODES)[..., full].numpy())


@pytest.mark.slow
def test_raw_data_of_the_other_sign_are_found_out() -> None:
    """Conjugate samples' images, which no case holds: iron tells, as it does of images."""
    images = torch.from_numpy(np.stack(iron_phantom.echoes()))
    with pytest.warns(InputWarning, match=r"phase was inverted \(--no-inv.*|check left and right"):
        found = map_susceptibility(iron_samples(images.conj().resolve_conj()), "zero-filled")
    assert 0.85 < iron_phantom.slope(found.chi_ppm, found.mask) < 1.1
    assert found.source["phase_sign"] == "found from the decay"
    right = map_susceptibility(iron_samples(images), "zero-filled")
    assert right.source["invert_phase"] is False
    np.testing.assert_allclose(found.chi_ppm, right.chi_ppm, atol=2e-3)
    assert found.echoes is not None
    assert right.echoes is not None
    turn = right.echoes.images[1] * right.echoes.images[0].conj()
    same = (found.echoes.images[1] * found.echoes.images[0].conj()) * turn.conj()
    assert np.abs(np.angle(same))[right.mask].max() < 1e-2
