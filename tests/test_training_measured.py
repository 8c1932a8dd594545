"""Training on fully sampled scans: what is read, split, refused and replayed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from accelqsm.cli import main
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.mrd.writer import write_mrd
from accelqsm.kspace import KSpace
from accelqsm.recon.network.architecture import Architecture
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.weights import load_network
from accelqsm.training.loop import train
from accelqsm.training.processes import joined_processes
from accelqsm.training.settings import TrainingSettings
from accelqsm.training.volumes import measured
from accelqsm.training.volumes.measured import cached_scans, find_scans, scan_volumes
from accelqsm.training.volumes.volumes import Kind
from recon_phantom import channel_images, sample
from training_phantom import blob_volumes

SHAPE = (10, 40, 30)
FULL = torch.ones(SHAPE[1:], dtype=torch.bool)


def _scan(seed: int = 0, sampled: torch.Tensor = FULL, n_channels: int = 4) -> KSpace:
    kspace = sample(channel_images(SHAPE, n_channels), sampled, noise_sd=0.002)
    return replace(kspace, samples=kspace.samples * np.exp(1j * seed).astype(np.complex64))


def _folder(tmp_path: Path, names: tuple[str, ...]) -> Path:
    folder = tmp_path / "scans"
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_mrd(folder / name, _scan(number))
    return folder


NAMES = ("sub-01/a.h5", "sub-01/b.h5", "sub-02/a.h5", "sub-03_run-1.h5", "other.h5")


def test_subjects_are_never_on_both_sides(tmp_path: Path) -> None:
    folder = _folder(tmp_path, NAMES)
    for seed in range(6):
        scans = find_scans(folder, n_validation=2, seed=seed)
        sides = [
            {measured._subject(path.relative_to(folder)) for path in side}
            for side in (scans.training, scans.validation)
        ]
        assert not sides[0] & sides[1]
        assert len(sides[1]) == 2
        assert len(scans.training) + len(scans.validation) == len(NAMES)
        assert scans == find_scans(folder, n_validation=2, seed=seed)


def test_under_sampled_scans_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    folder = _folder(tmp_path, NAMES[2:4])
    under = poisson_disk(SHAPE[1:], acceleration=2, calibration=(8, 8), seed=0)
    write_mrd(folder / "sub-09.h5", _scan(sampled=under))
    with pytest.raises(InputError, match=r"sub-09.h5: expected a fully sampled scan .* 2\.00"):
        find_scans(folder, n_validation=1, seed=0)


def test_missing_corners_are_told(tmp_path: Path) -> None:
    folder = _folder(tmp_path, NAMES[2:4])
    y, z = (torch.arange(n) / (n // 2) - 1 for n in SHAPE[1:])
    y, z = y[:, None], z[None]
    write_mrd(folder / "sub-09.h5", _scan(sampled=y**2 + z**2 <= 1))
    with pytest.warns(InputWarning, match=r"sub-09.h5: 2\d\.\d % of k-space was not measured"):
        find_scans(folder, n_validation=1, seed=0)


@pytest.mark.parametrize(("names", "n_validation"), [((), 1), (NAMES[:2], 1), (NAMES[2:], 3)])
def test_too_few_subjects_are_refused(
    tmp_path: Path, names: tuple[str, ...], n_validation: int
) -> None:
    folder = _folder(tmp_path, names)
    folder.mkdir(exist_ok=True)
    with pytest.raises(InputError, match="expected MRD files of more than"):
        find_scans(folder, n_validation=n_validation, seed=0)
    with pytest.raises(InputError, match="expected a folder"):
        find_scans(tmp_path / "absent", n_validation=1, seed=0)


def test_volumes_of_one_channel_are_those_of_the_scan() -> None:
    kspace = _scan()
    volumes = scan_volumes(kspace, Kind(3), rng=np.random.default_rng(0))
    images = channel_images(SHAPE, 4)
    for image, contrast in zip(volumes.images, volumes.contrasts, strict=True):
        assert contrast.channel is not None
        echo = kspace.acquisition.echo_times_s.index(contrast.echo_time_s)
        expected = images[contrast.channel, echo].numpy()
        assert np.abs(np.vdot(image, expected)) > 0.999 * np.linalg.norm(image) * np.linalg.norm(
            expected
        )
        assert np.quantile(np.abs(image), 0.999) == pytest.approx(1, rel=1e-4)
    assert volumes.coils is None


def test_volumes_of_all_channels_explain_every_channel() -> None:
    kspace = _scan()
    volumes = scan_volumes(kspace, Kind(2, all_channels=True), rng=np.random.default_rng(0))
    assert volumes.coils is not None
    assert volumes.coils.true.shape == volumes.coils.estimated.shape == (1, 8, *SHAPE)
    power = np.abs(volumes.coils.true[0] * volumes.images[0]) ** 2
    images = channel_images(SHAPE, 4)
    echo = kspace.acquisition.echo_times_s.index(volumes.contrasts[0].echo_time_s)
    expected = (images[:, echo].abs() ** 2).sum(0).numpy()
    bright = expected > 0.1 * expected.max()
    ratio = power.sum(0)[bright] / expected[bright]
    assert ratio.std() / ratio.mean() < 0.05


def test_scans_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder(tmp_path, NAMES[2:4])
    files = sorted(folder.rglob("*.h5"))
    first = cached_scans(tmp_path / "cache", files, Kind(2))

    def never(_: Path) -> KSpace:
        raise AssertionError("read twice")

    monkeypatch.setattr(measured, "read_mrd", never)
    again = cached_scans(tmp_path / "cache", files, Kind(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.images, other.images)


@pytest.mark.slow
@pytest.mark.parametrize("consistency", ["per-coil", "joint"])
def test_the_command_trains_on_a_folder_and_replays_its_settings(
    tmp_path: Path, consistency: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelqsm.training.data.CALIBRATIONS", ((8, 8),))
    monkeypatch.setattr("accelqsm.training.volumes.measured.CENTRES", ((12, 12),))
    folder = _folder(tmp_path, NAMES[2:])
    arguments = ["--data", str(folder), "--steps", "2", "--width", "4", "--validation-heads", "1"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["train", str(first), *arguments, "--consistency", consistency]) == 0
    assert main(["train", str(second), "--settings", str(first / "settings.toml")]) == 0
    weights = [out / "reconnet3d.safetensors" for out in (first, second)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert load_network(weights[0]).consistency == consistency
    assert (first / "learning_curve.png").is_file()
    assert len((first / "log.csv").read_text().splitlines()) == 2


DISTRIBUTED = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, {tests!r})
from accelqsm.recon.network.architecture import Architecture
from accelqsm.training import data
from accelqsm.training.loop import train
from accelqsm.training.processes import joined_processes
from accelqsm.training.settings import TrainingSettings
from training_phantom import blob_volumes
torch.set_num_threads(1)
data.CALIBRATIONS = ((6, 6),)
heads = [blob_volumes()]
settings = TrainingSettings(
    network_settings=Architecture(8, 2, (3, 1, 1)), steps=5, readouts=4, warm_up_steps=2
)
with joined_processes():
    train(Path(sys.argv[1]), heads, heads, settings=settings, validate_every=1)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("small_calibration")
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(DISTRIBUTED.format(tests=str(Path(__file__).parent)))
    one, two = tmp_path / "one", tmp_path / "two"
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launch, str(script), str(two)]
    subprocess.run(command, check=True, timeout=240, capture_output=True)
    settings = TrainingSettings(
        network_settings=Architecture(8, 2, (3, 1, 1)), steps=5, readouts=4, warm_up_steps=2
    )
    heads = [blob_volumes()]
    with joined_processes():
        train(one, heads, heads, settings=settings, validate_every=1)
    logs = [np.genfromtxt(out / "log.csv", delimiter=",", names=True) for out in (one, two)]
    assert len(logs[0]) == 5
    for name in ("loss", "nrmse_af3", "nrmse_af5"):
        np.testing.assert_allclose(logs[0][name], logs[1][name], rtol=2e-4)
    states = [load_file(out / "checkpoint.safetensors") for out in (one, two)]
    for name, value in states[0].items():
        if name.startswith("weights/"):
            torch.testing.assert_close(value, states[1][name], rtol=1e-3, atol=2e-4)


def test_a_scan_replaced_under_its_name_is_read_again_and_said(tmp_path: Path) -> None:
    """Of the same size, and even with the times of the former."""
    folder = _folder(tmp_path, NAMES[2:4])
    files = sorted(folder.rglob("*.h5"))
    read = partial(cached_scans, tmp_path / "cache", files, Kind(2))
    before = [np.array(volumes.images) for volumes in read()]
    was = files[0].stat()
    write_mrd(tmp_path / "other.h5", _scan(7))
    assert (tmp_path / "other.h5").stat().st_size == was.st_size
    os.utime(tmp_path / "other.h5", ns=(was.st_atime_ns, was.st_mtime_ns))
    (tmp_path / "other.h5").replace(files[0])
    with pytest.warns(InputWarning, match="replaced since it was read for training"):
        after = read()
    assert not np.array_equal(after[0].images, before[0])
    np.testing.assert_array_equal(after[1].images, before[1])


def test_scans_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    """As the first of those to train on and the first to validate with."""
    read = partial(cached_scans, tmp_path / "cache", kind=Kind(2))
    paths = [tmp_path / subject / "scan.h5" for subject in ("sub-01", "sub-02")]
    for number, path in enumerate(paths):
        path.parent.mkdir()
        write_mrd(path, _scan(number))
    one, other = (read([path])[0] for path in paths)
    assert not np.array_equal(one.images, other.images)
    np.testing.assert_array_equal(read(paths[:1])[0].images, one.images)


@pytest.mark.parametrize("ending", ["npy", "json"])
@pytest.mark.parametrize("cut", [0, 100])
def test_cut_caches_are_made_again(tmp_path: Path, ending: str, cut: int) -> None:
    files = sorted(_folder(tmp_path, NAMES[2:4]).rglob("*.h5"))
    read = partial(cached_scans, tmp_path / "cache", files, Kind(2))
    before = [np.array(volumes.images) for volumes in read()]
    damaged = min((tmp_path / "cache").glob(f"*.{ending}"))
    damaged.write_bytes(damaged.read_bytes()[:cut])
    for one, other in zip(read(), before, strict=True):
        np.testing.assert_array_equal(one.images, other)
