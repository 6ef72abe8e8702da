"""The number of threads is a part of a run: recorded, taken again, and refused by name where it cannot be had."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch

import podium as library
from command import inside, one_error
from podium.runs.folder import LOG, SETTINGS, RunFolder
from podium.training import threads

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


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    """A machine of two cores, whatever this one has."""
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 1})


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
