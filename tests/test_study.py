"""The whole chain on a small digital head: the demo, and two ways that must give one result."""

from __future__ import annotations

import dataclasses
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

from accelqsm.cli import main
from accelqsm.files.mrd.reader import read_mrd
from accelqsm.files.nifti import read_volume
from accelqsm.files.tables import read_table
from accelqsm.results.integrity.check import check_folder
from accelqsm.results.integrity.seal import sealed_files
from accelqsm.virtual import protocols
from accelqsm.virtual import scans as virtual
from accelqsm.virtual.measured import measured_heads
from accelqsm.virtual.protocols import PRESETS, PROTOCOLS
from accelqsm.virtual.sampling import sampling_pattern

SMALL = dataclasses.replace(
    PRESETS["demo"],
    shape=(54, 66, 40),
    voxel_size_mm=(3.2, 3.2, 4.0),
    echo_times_s=(0.004, 0.010, 0.016),
    n_channels=3,
    calibration_lines=12,
    calibration=(12, 12),
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo, on a grid of half the resolution."""
    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(virtual.PRESETS, "demo", SMALL)
        assert main(["demo", str(out)]) == 0
    return out


@pytest.mark.slow
def test_demo_ends_with_a_report_that_needs_nothing_else(demo: Path) -> None:
    page = (demo / "report.html").read_text(encoding="utf-8")
    assert "r = " in page
    for protocol in ("PI", "AF3", "AF4", "AF5"):
        assert protocol in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert not list(demo.rglob(".partial-*"))


@pytest.mark.slow
def test_records_of_the_demo_name_every_file_and_one_that_is_altered_is_refused(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_folder(demo) == []
    named = {
        record.parent / name
        for record in demo.rglob("settings.toml")
        for name in sealed_files(record) or ()
    }
    files = {path for path in demo.rglob("*") if path.is_file()}
    assert files - named == {demo / "settings.toml", demo / "report.html"}
    out = Path(shutil.copytree(demo, tmp_path / "demo"))
    assert main(["report", str(out)]) == 0
    assert (out / "report.html").read_bytes() == (demo / "report.html").read_bytes()
    for name in ("values.tsv", "maps/sub-01/acq-af3/Chimap.nii.gz", "accuracy/table-3.tsv"):
        path = out / name
        whole = path.read_bytes()
        path.write_bytes(whole + b"\n")
        capsys.readouterr()
        assert main(["report", str(out)]) == 65
        assert f"{name}: expected SHA-256" in capsys.readouterr().err
        path.write_bytes(whole)
    (out / "settings.toml").rename(out / "unfinished.toml")
    assert main(["report", str(out)]) == 65
    assert "unfinished" in capsys.readouterr().err


@pytest.mark.slow
def test_demo_joins_its_head_to_those_measured_beforehand(demo: Path) -> None:
    others = measured_heads()
    heads = others.record["heads"]
    values = read_table(demo / "values-truth.tsv")
    assert set(values["protocol"]) == {"PI", "AF3", "AF4", "AF5", "truth"}
    assert len(values) == (heads + 1) * 5 * 7
    own = values[values["subject"] == "sub-01"]
    assert len(own) == 5 * 7
    assert not set(own["value_ppb"]) & set(others.values["value_ppb"])
    agreement = read_table(demo / "agreement" / "agreement.tsv")
    assert set(agreement["protocol"]) == {"AF3", "AF4", "AF5"}
    nuclei = agreement[agreement["region"] != "all"]
    assert nuclei["n"].eq(heads + 1).all()
    assert set(nuclei["verdict"]) <= {"equivalent", "not equivalent", "undecided"}
    page = (demo / "report.html").read_text(encoding="utf-8")
    assert f"{heads + 1} digital heads, of which sub-01 (seed 11) is new" in page
    assert "No verdict" not in page
    assert tomllib.loads((demo / "settings.toml").read_text())["beforehand"]["heads"] == heads


@pytest.mark.slow
def test_settings_beside_every_map_say_how_it_was_made(demo: Path) -> None:
    for protocol in ("pi", "af3", "af4", "af5"):
        folder = demo / "maps" / "sub-01" / f"acq-{protocol}"
        record = tomllib.loads((folder / "settings.toml").read_text())
        assert record["recon"]["method"] == PROTOCOLS[protocol].method
        assert ("weights_sha256" in record["source"]) == (protocol != "pi")
        assert record["software"]["accelqsm"]


@pytest.mark.slow
def test_map_and_recon_followed_by_qsm_agree_in_the_nuclei(demo: Path, tmp_path: Path) -> None:
    scan = virtual.scan_files(demo / "scans", "sub-01", "pi")
    assert main(["recon", str(scan.raw), str(tmp_path / "recon"), "--method", "grappa"]) == 0
    echoes = range(1, len(SMALL.echo_times_s) + 1)
    words = ["qsm", "--magnitude"]
    words += [str(tmp_path / "recon" / f"echo-{n}_part-mag.nii.gz") for n in echoes]
    words += ["--phase"]
    words += [str(tmp_path / "recon" / f"echo-{n}_part-phase.nii.gz") for n in echoes]
    words += ["--echo-times-s", *map(str, SMALL.echo_times_s), "--b0-tesla", "3"]
    assert main([*words, str(tmp_path / "qsm")]) == 0
    labels = np.asarray(read_volume(scan.labels).values)
    mapped = demo / "maps" / "sub-01" / "acq-pi"
    first = np.asarray(read_volume(mapped / "Chimap.nii.gz").values)
    second = np.asarray(read_volume(tmp_path / "qsm" / "Chimap.nii.gz").values)
    for label in range(1, 15):
        chosen = labels == label
        assert abs(first[chosen].mean() - second[chosen].mean()) < 0.005


@pytest.mark.slow
def test_simulated_scans_share_the_head_and_nothing_else(demo: Path) -> None:
    pi, af3 = (virtual.scan_files(demo / "scans", "sub-01", name) for name in ("pi", "af3"))
    np.testing.assert_array_equal(read_volume(pi.labels).values, read_volume(af3.labels).values)
    first, second = read_mrd(pi.raw), read_mrd(af3.raw)
    both = (first.sampled & second.sampled).nonzero()[0]
    column = [int(s.sampled.reshape(-1)[: both[0] * 40 + both[1]].sum()) for s in (first, second)]
    a, b = first.samples[..., column[0]], second.samples[..., column[1]]
    assert 0 < np.abs(a - b).max() < np.abs(a).max()
    assert first.noise_samples is not None


def test_patterns_have_the_acceleration_of_their_protocol() -> None:
    for name, protocol in PROTOCOLS.items():
        pattern = sampling_pattern(protocol, SMALL, seed=3)
        achieved = pattern.numel() / int(pattern.sum())
        if protocol.method == "reconnet3d":
            assert int(pattern.sum()) == round(pattern.numel() / protocol.acceleration)
        else:
            assert achieved <= protocol.acceleration, name


def test_paper_preset_has_the_scanner_of_the_paper() -> None:
    paper = protocols.PRESETS["paper"]
    times_ms = [round(t * 1e3, 3) for t in paper.echo_times_s]
    assert times_ms == [3.3, 6.4, 9.5, 12.6, 15.7, 18.8, 21.9, 25.0]
    assert paper.n_channels == 32
    assert paper.acquisition.voxel_size_mm == pytest.approx((0.8, 0.8, 2.0))


def test_simulate_refuses_nobody_and_protocols_named_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", str(tmp_path / "a"), "--subjects", "0"]) == 65
    assert "--subjects: expected 1 or more, found 0" in capsys.readouterr().err
    assert main(["simulate", str(tmp_path / "a"), "--protocols", "pi", "pi"]) == 65
    assert "expected each once" in capsys.readouterr().err
    assert main(["simulate", str(tmp_path / "a"), "--protocols", "full", "af3-retro"]) == 65
    assert "expected pi, from whose scan af3-retro is drawn" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_a_scan_drawn_from_a_session_has_its_pose_and_samples(tmp_path: Path) -> None:
    out = tmp_path / "bids"
    words = ["--preset", "small", "--motion", "--no-t1w", "--protocols"]
    assert main(["simulate", str(out), *words, "af3-retro", "af3", "pi"]) == 0
    scans = {name: virtual.scan_files(out, "sub-01", name) for name in ("pi", "af3", "af3-retro")}
    labels = {name: np.asarray(read_volume(scan.labels).values) for name, scan in scans.items()}
    np.testing.assert_array_equal(labels["pi"], labels["af3-retro"])
    assert (labels["pi"] != labels["af3"]).any()
    pi, retro = (read_mrd(scans[name].raw) for name in ("pi", "af3-retro"))
    shared = pi.sampled & retro.sampled
    assert shared.sum() > 100
    largest = float(np.abs(pi.samples).max())
    one, two = (kspace.planes()[..., shared].numpy() for kspace in (pi, retro))
    np.testing.assert_allclose(one, two, atol=1e-5 * largest)
    record = tomllib.loads((out / "settings.toml").read_text())
    assert record["nuclei"]["Pu"]["mean_ppm"] == 0.0308
    assert record["scanner"]["moves_between_scans"]


def test_doctor_reports_versions_device_and_verified_weights(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "torch" in printed
    assert re.search(r"sha256 [0-9a-f]{64} \(verified\)", printed)
