"""A study's steps: each is done once, changed work again, and failures stay with their step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from accelqsm.errors import InputError
from accelqsm.nuclei.settings import MeasureSettings
from accelqsm.results.folder import results_folder
from accelqsm.results.lock import locked
from accelqsm.study.context import Context
from accelqsm.study.group import join_nuclei
from accelqsm.study.plan import MAP, NUCLEI, Selection, Step, chosen
from accelqsm.study.run import plan_states, run_participants
from accelqsm.study.state import State
from study_folder import context_of, do_nothing, results, write_raw

EVERYTHING = Selection()


def ran(context: Context, selection: Selection = EVERYTHING) -> list[str]:
    return run_participants(context, selection, do=do_nothing, page=False).ran


@pytest.fixture
def done(tmp_path: Path) -> Context:
    """A study of two subjects and two protocols, all of it done."""
    context = context_of(write_raw(tmp_path / "bids"), tmp_path / "out")
    assert len(ran(context)) == 10
    return context


def again(context: Context, nuclei: MeasureSettings | None = None) -> Context:
    return context_of(context.dataset.root, context.out, nuclei)


def test_a_head_is_registered_once_and_its_other_scans_to_its_reference(done: Context) -> None:
    steps = done.steps("sub-01")
    assert [s.label for s in steps] == [
        "sub-01 acq-af3 map", "sub-01 acq-pi map", "sub-01 registration",
        "sub-01 acq-af3 nuclei", "sub-01 acq-pi nuclei",
    ]  # fmt: skip
    of = {step.label: step for step in steps}
    assert of["sub-01 registration"].needs == {"map": of["sub-01 acq-pi map"].folder}
    assert "reference" not in of["sub-01 acq-pi nuclei"].needs
    assert of["sub-01 acq-af3 nuclei"].needs["reference"] == of["sub-01 acq-pi map"].folder


def test_what_is_finished_is_not_run_again_and_times_of_files_do_not_count(done: Context) -> None:
    before = results(done.out)
    for path in (done.dataset.root / "sourcedata").rglob("*.h5"):
        os.utime(path)
    assert ran(again(done)) == []
    assert results(done.out) == before


def test_a_changed_input_is_run_again_with_all_that_came_of_it(done: Context) -> None:
    raw = done.dataset.root / "sourcedata/sub-01/anat/sub-01_acq-pi_MEGRE.h5"
    raw.write_text("another scan")
    assert sorted(ran(again(done))) == [
        "sub-01 acq-af3 nuclei", "sub-01 acq-pi map", "sub-01 acq-pi nuclei",
        "sub-01 registration",
    ]  # fmt: skip


def test_a_changed_setting_redoes_the_steps_that_read_it(done: Context) -> None:
    other = again(done, MeasureSettings(erosion_mm=1.0))
    assert {label.split()[-1] for label in ran(other)} == {"nuclei"}
    assert ran(again(done, MeasureSettings(erosion_mm=1.0))) == []


def test_results_that_were_altered_or_removed_are_made_again(done: Context) -> None:
    step = done.out / "steps/sub-02/acq-af3/map"
    whole = (step / "Chimap.nii.gz").read_bytes()
    (step / "Chimap.nii.gz").write_bytes(b"altered")
    found = {s.step.label: s.why for s in plan_states(again(done), EVERYTHING)}
    assert found["sub-02 acq-af3 map"] == "its files were altered"
    assert ran(again(done)) == ["sub-02 acq-af3 map"]  # the same again: nothing else depends on it
    assert (step / "Chimap.nii.gz").read_bytes() == whole
    (step / "mask.nii.gz").unlink()
    assert ran(again(done)) == ["sub-02 acq-af3 map"]


def test_published_files_are_links_and_follow_what_they_link_to(done: Context) -> None:
    published = done.out / "sub-01/anat/sub-01_acq-pi_rec-zerofilled_Chimap.nii.gz"
    result = done.out / "steps/sub-01/acq-pi/map/Chimap.nii.gz"
    assert os.path.samefile(published, result)
    published.unlink()
    (published.parent / "sub-01_acq-pi_rec-grappa_Chimap.nii.gz").write_text("of earlier settings")
    (published.parent / "sub-01_acq-pi_rec-zerofilled_echo-9_part-mag_MEGRE.nii.gz").write_text("")
    assert ran(again(done)) == []
    assert os.path.samefile(published, result)
    names = {p.name for p in published.parent.glob("*acq-pi*")}
    assert not any("grappa" in name or "echo-9" in name for name in names)


def test_a_failure_stays_with_its_step_and_is_told(tmp_path: Path) -> None:
    context = context_of(write_raw(tmp_path / "bids"), tmp_path / "out")

    def failing(context: Context, step: Step, key: str) -> None:
        if step.label == "sub-01 acq-af3 map":
            raise InputError("raw.h5: expected samples, found none")
        do_nothing(context, step, key)

    outcome = run_participants(context, EVERYTHING, do=failing, page=False)
    assert outcome.status == 1
    assert len(outcome.ran) == 8
    assert outcome.failed == {
        "sub-01 acq-af3 map": "raw.h5: expected samples, found none",
        "sub-01 acq-af3 nuclei": "needs sub-01 acq-af3 map: raw.h5: expected samples, found none",
    }
    found = plan_states(context, EVERYTHING)
    states = {s.step.label: s.state for s in found}
    assert states["sub-01 acq-af3 map"] == State.FAILED
    table = join_nuclei(context, [s for s in found if s.step.kind == NUCLEI])
    rows = table[table["value_ppb"].isna()]
    assert rows[["subject", "protocol"]].values.tolist() == [["sub-01", "af3"]]
    assert "raw.h5: expected samples, found none" in rows["note"].iloc[0]
    assert ran(context) == ["sub-01 acq-af3 map", "sub-01 acq-af3 nuclei"]
    assert all(s.state == State.FINISHED for s in plan_states(context, EVERYTHING))


@pytest.mark.parametrize("error", [MemoryError("of 3 GB"), OSError(28, "no space left")])
def test_want_of_memory_or_space_may_be_tried_again(tmp_path: Path, error: Exception) -> None:
    context = context_of(write_raw(tmp_path / "bids", 1, ("pi",)), tmp_path / "out")

    def failing(context: Context, step: Step, key: str) -> None:
        raise error

    assert run_participants(context, EVERYTHING, do=failing, page=False).status == 75


def test_an_interrupted_step_leaves_nothing_and_is_run_again(tmp_path: Path) -> None:
    """SIGTERM and Ctrl-C are KeyboardInterrupt here."""
    context = context_of(write_raw(tmp_path / "bids", 1, ("pi",)), tmp_path / "out")

    def interrupted(context: Context, step: Step, key: str) -> None:
        with results_folder(context.folder(step), step.kind, overwrite=True) as folder:
            (folder / "Chimap.nii.gz").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_participants(context, EVERYTHING, do=interrupted, page=False)
    left = {path.name for path in (context.out / "steps/sub-01").rglob("*") if path.is_file()}
    assert left == {"map.log.jsonl"}
    assert {s.state for s in plan_states(context, EVERYTHING)} == {State.TO_DO, State.WAITS}
    assert len(ran(context)) == 3


def test_a_scan_that_another_run_works_on_is_left_to_it(done: Context) -> None:
    raw = done.dataset.root / "sourcedata/sub-01/anat/sub-01_acq-pi_MEGRE.h5"
    raw.write_text("another scan")
    with locked(done.out / "steps/sub-01/.acq-pi.lock", Path("acq-pi")):
        outcome = run_participants(again(done), EVERYTHING, do=do_nothing, page=False)
        assert outcome.status == 75
        assert outcome.ran == []
        only_af3 = Selection(protocols=("af3",), until=MAP)
        assert run_participants(again(done), only_af3, do=do_nothing, page=False).status == 0
    assert len(ran(again(done))) == 4


def test_a_subject_without_the_reference_is_told_and_its_maps_are_made(tmp_path: Path) -> None:
    root = write_raw(tmp_path / "bids")
    (root / "sourcedata/sub-02/anat/sub-02_acq-pi_MEGRE.h5").unlink()
    context = context_of(root, tmp_path / "out")
    outcome = run_participants(context, EVERYTHING, do=do_nothing, page=False)
    assert outcome.failed == {
        "sub-02 acq-af3 nuclei": "sub-02: expected acq-pi, the reference, found af3"
    }
    assert "sub-02 acq-af3 map" in outcome.ran


def test_repeated_runs_are_refused_unless_a_rule_takes_one(tmp_path: Path) -> None:
    root = write_raw(tmp_path / "bids", 1)
    folder = root / "sourcedata/sub-01/anat"
    (folder / "sub-01_acq-pi_MEGRE.h5").rename(folder / "sub-01_acq-pi_run-1_MEGRE.h5")
    (folder / "sub-01_acq-pi_run-2_MEGRE.h5").write_text("again")
    context = context_of(root, tmp_path / "out")
    whys = [s.why for s in plan_states(context, EVERYTHING) if s.state == State.MISSING]
    assert whys
    assert all("expected one run, found run-1, run-2" in why for why in whys)


def test_a_selection_takes_what_it_needs(done: Context) -> None:
    steps = chosen(done.steps("sub-01"), Selection(protocols=("af3",)))
    assert [s.label for s in steps] == [
        "sub-01 acq-af3 map", "sub-01 acq-pi map", "sub-01 registration", "sub-01 acq-af3 nuclei",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"--participant-label: expected .*01, 02.*, found 7"):
        run_participants(done, Selection(subjects=("7",)), do=do_nothing, page=False)


SLOWLY = """
import sys, time
from pathlib import Path
from accelqsm.study import run
from accelqsm.study.plan import Selection
from study_folder import context_of, do_nothing

def slowly(context, step, key):
    time.sleep(0.03)
    do_nothing(context, step, key)
    time.sleep(0.01)

root, out = map(Path, sys.argv[1:])
print("ready", flush=True)
run.run_participants(context_of(root, out), Selection(), do=slowly, page=False)
"""


def test_a_run_killed_at_any_moment_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    root = write_raw(tmp_path / "bids", 3)
    whole = context_of(root, tmp_path / "whole")
    ran(whole)
    seed = int(time.time())
    print("seed", seed)
    rng = np.random.default_rng(seed)
    out = tmp_path / "out"
    command = [sys.executable, "-c", SLOWLY, str(root), str(out)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    for _ in range(2):
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(float(rng.uniform(0.05, 0.35)))
            process.send_signal(signal.SIGKILL)
    ran(context_of(root, out))
    assert results(out) == results(whole.out)
    ends: dict[str, int] = {}
    for path in out.rglob("*.log.jsonl"):
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "end":
                ends[event["step"]] = ends.get(event["step"], 0) + 1
    assert set(ends.values()) == {1}
    assert len(ends) >= 13  # killed between the results and the log, a step has no end
