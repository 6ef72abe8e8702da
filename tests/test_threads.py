"""The number of threads is a part of a run: recorded, taken again, and refused by name where it cannot be had."""

import hashlib
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
import torch

import podium as library
from command import inside, one_error
from podium.runs.folder import LOG, SETTINGS, RunFolder
from podium.settings import Settings
from podium.training import threads
from podium.training.autotune import thread_count

FOUR = {"steps": 4, "batch_size": 64}
WORDS = ["--steps", "4", "--batch-size", "64"]


def weights(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def begin(out, count):
    """A run that was stopped after two of four steps, in a process with so many threads."""

    def progress(step, steps, shown):
        if step == 3:
            raise KeyboardInterrupt

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with pytest.raises(KeyboardInterrupt):
            library.train("lenet5", "digits", out, **FOUR, checkpoint_every="0.001s", progress=progress)
        assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The weights of the run that was never stopped, by its number of threads."""
    made = {}
    for count in (1, 2):
        out = tmp_path_factory.mktemp("whole") / str(count)
        library.train("lenet5", "digits", out, **FOUR, threads=count)
        made[count] = out
    return made


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run of two threads that was stopped."""
    return begin(tmp_path_factory.mktemp("stopped") / "run", 2)


@pytest.fixture
def run2(stopped, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(stopped, tmp_path / "run"))


@pytest.fixture(autouse=True, scope="module")
def two_cores():
    """A machine of two cores, whatever this one has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 1})
        yield


def test_a_run_notes_its_threads_and_leaves_those_of_the_process_alone(whole):
    assert torch.get_num_threads() == 1
    for count, out in whole.items():
        assert f"\nthreads: {count}" in (out / SETTINGS).read_text()
        assert RunFolder(out).rows()[0]["threads"] == count
        assert RunFolder(out).result["threads"] == count


def test_a_resume_computes_with_the_threads_that_the_run_has(whole, run2):
    out = run2
    library.train("lenet5", "digits", out, resume=True)  # in a process that has one
    assert torch.get_num_threads() == 1
    assert weights(out) == weights(whole[2])
    assert RunFolder(out).result["bit_comparable"]
    assert weights(whole[1]) != weights(whole[2])  # else all of this were for nothing


@pytest.mark.slow
def test_a_run_of_before_it_was_a_setting_has_them_in_its_log(whole, run2):
    out = run2
    lines = (out / SETTINGS).read_text().splitlines(keepends=True)
    (out / SETTINGS).write_text("".join(line for line in lines if not line.startswith("threads")))
    assert inside("train", "--resume", "-o", out).returncode == 0
    assert weights(out) == weights(whole[2])


def test_fewer_cores_are_refused_by_name_and_elastic_goes_on(run2, monkeypatch):
    out = run2
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0})
    before = (out / LOG).read_bytes()
    refused = inside("train", "--resume", "-o", out)
    one_error(refused, 6, "threads: the run has 2", "1 here", f"podium train --resume --elastic -o {out}")
    assert (out / LOG).read_bytes() == before
    assert inside("train", "--resume", "--elastic", "-o", out).returncode == 0
    assert not RunFolder(out).result["bit_comparable"]
    assert RunFolder(out).result["threads"] == 1
    assert "\nthreads: 1  # 2 before, changed with --elastic" in (out / SETTINGS).read_text()


def test_omp_num_threads_is_what_a_process_has(tmp_path, monkeypatch):
    """Where a person says that there may be more threads than cores, as torch has it."""
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0})
    monkeypatch.setattr(threads.torch, "get_num_threads", lambda: 3)
    assert threads.threads_here() == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: set(range(8)))
    assert threads.threads_here() == 4


def test_another_number_is_refused_at_a_resume(tmp_path):
    out = begin(tmp_path / "run", 1)
    one_error(inside("train", "--resume", "-o", out, "--threads", "2"), 2, "threads: the run has 1, not 2", "--elastic")
    assert inside("train", "--resume", "-o", out, "--threads", "1").returncode == 0


def test_more_threads_than_cores_are_refused_before_training(tmp_path):
    refused = inside("train", "lenet5", "digits", *WORDS, "--threads", "64", "-o", tmp_path / "run")
    one_error(refused, 6, "threads: 64", "fix: --threads 2")


@pytest.mark.slow
def test_a_comparison_is_not_gone_on_with_in_another_number(tmp_path):
    words = ["compare", "digits", "-m", "lenet5", *WORDS, "-o", tmp_path / "board"]
    assert inside(*words, "--threads", "1").returncode == 0
    assert RunFolder(tmp_path / "board" / "lenet5-seed0").result["threads"] == 1
    one_error(inside(*words, "--threads", "2"), 2, "threads 1, not 2")


class Busy:
    """Steps on a machine whose other processor a program holds: two threads wait for each other."""

    seconds: ClassVar = {2: 30.0, 1: 10.0}
    timed: ClassVar = []

    def __init__(self, net, s, images):
        pass

    def mean(self, seconds, least=1):
        self.timed.append(torch.get_num_threads())
        return self.seconds[torch.get_num_threads()]


@pytest.fixture
def beside(monkeypatch):
    """A process of two threads that times `Busy`; sets the share of their time that they wait."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setattr(thread_count, "Steps", Busy)
    monkeypatch.setattr(thread_count, "FEWEST_STEPS", 1)
    monkeypatch.setattr(Busy, "timed", [])
    torch.set_num_threads(2)
    yield lambda share: monkeypatch.setattr(thread_count, "share_waited", lambda *_: share)
    torch.set_num_threads(1)


def test_a_new_run_beside_another_program_takes_the_threads_that_are_faster(beside, whole, tmp_path):
    beside(0.25)
    seen = []
    library.train("lenet5", "digits", tmp_path, **FOUR, progress=lambda *_: seen.append(torch.get_num_threads()))
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2  # of the process, as before
    said = "threads: 1  # measured: 3.0 times as fast as 2 beside other programs"
    assert said in (tmp_path / SETTINGS).read_text().splitlines()
    assert RunFolder(tmp_path).result["threads"] == 1
    assert weights(tmp_path) == weights(whole[1])  # the same to the bit as with --threads 1


def test_a_run_that_goes_on_is_not_timed_again(beside, whole, run2):
    beside(0.25)
    library.train("lenet5", "digits", run2, resume=True)
    assert not Busy.timed
    assert weights(run2) == weights(whole[2])


@pytest.mark.parametrize(
    ("share", "steps", "expected"),
    [
        (0.0, {2: 30.0, 1: 10.0}, 2),  # quiet: the same bits each time, whatever a clock says
        (0.25, {2: 12.0, 1: 10.0}, 2),  # hardly faster
        (0.25, {2: 14.0, 1: 10.0}, 1),
        (None, {2: 14.0, 1: 10.0}, 1),  # a system that does not say who waits
    ],
)
def test_fewer_threads_are_taken_where_some_wait_and_fewer_are_clearly_faster(
    beside, monkeypatch, tmp_path, share, steps, expected
):
    beside(share)
    monkeypatch.setattr(Busy, "seconds", steps)
    library.train("lenet5", "digits", tmp_path, **FOUR)
    assert RunFolder(tmp_path).result["threads"] == expected


@pytest.mark.parametrize("how", ["flag", "OMP_NUM_THREADS"])
def test_threads_that_a_person_gives_are_taken_as_they_are(beside, monkeypatch, tmp_path, how):
    beside(0.25)
    if how == "OMP_NUM_THREADS":
        monkeypatch.setenv(how, "2")
    library.train("lenet5", "digits", tmp_path, **FOUR, **({"threads": 2} if how == "flag" else {}))
    assert RunFolder(tmp_path).result["threads"] == 2
    assert not Busy.timed


def test_slimming_leaves_the_number_open_for_its_training(beside, monkeypatch, tmp_path):
    """The network is prepared once to be slimmed, and once to be trained: the second time finds the threads of the process."""
    beside(0.25)
    made = library.slim("resnet20", "digits", tmp_path, width=0.5, **FOUR)
    assert "# measured: 3.0 times" in (made / SETTINGS).read_text()


def test_steps_are_timed_on_a_copy():
    net = library.create_model("lenet5_modern", image_size=32)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    steps = thread_count.Steps(net, Settings(model="lenet5_modern"), 4)
    assert steps.mean(0.0, 2) > 0
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
