"""Runs side by side: the same bits as one after the other, and what fails, is killed or is stopped costs nothing else."""

import hashlib
import os
import pickle
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

import podium as library
from podium.comparison import outlook as outlook_module
from podium.comparison.candidates import Candidate, Choice
from podium.comparison.outlook import Outlook, side_by_side
from podium.comparison.running import jobs as deciding
from podium.comparison.running.beside import sendable
from podium.comparison.running.jobs import decide_jobs, refuse_jobs
from podium.comparison.running.side_by_side import SideBySide
from podium.comparison.schedule import Schedule
from podium.comparison.study import Study
from podium.data.images import ArrayImages
from podium.data.pack import Pack, PackImages
from podium.errors import MachineError, UsageError
from podium.runs.folder import SETTINGS, RunFolder
from podium.settings import Origin, Origins, Settings
from podium.training.interrupt import Stopped
from podium.training.recipes.named import settings_of

NETWORKS = ["lenet5", "resnet20"]
HOW = {"steps": 40, "batch_size": 16, "image_size": 28, "small": False}
TIMES = ("seconds", "images_per_second")


@pytest.fixture(autouse=True, scope="module")
def two_cores():
    """A machine of two processors, whatever this one has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deciding, "processors", lambda: 2)
        yield


@pytest.fixture(scope="module")
def alone(small_set, tmp_path_factory):
    """The comparison one after the other, in the process of the test; one of the networks takes no images as small."""
    out = tmp_path_factory.mktemp("alone")
    return out, library.compare([*NETWORKS, "zfnet"], small_set, out, jobs=1, threads=1, **HOW)


def same_runs(one, other):
    """Whether two comparisons have the same bits in all that does not tell of time."""
    for name in NETWORKS:
        first, second = (RunFolder(out / f"{name}-seed0") for out in (one, other))
        digests = [hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest() for run in (first, second)]
        assert digests[0] == digests[1]
        rows = [[{k: v for k, v in row.items() if k not in TIMES} for row in run.epochs] for run in (first, second)]
        assert rows[0] == rows[1]
        for mine, theirs in zip(first.predictions, second.predictions, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
def test_runs_side_by_side_have_the_bits_of_those_one_after_the_other(alone, small_set, tmp_path):
    before, heard = torch.get_num_threads(), []
    board = library.compare(
        [*NETWORKS, "zfnet"], small_set, tmp_path, jobs=2, progress=lambda *told: heard.append(told), **HOW
    )
    same_runs(alone[0], tmp_path)
    assert torch.get_num_threads() == before
    for name in NETWORKS:
        lines = (tmp_path / f"{name}-seed0" / SETTINGS).read_text().splitlines()
        assert "threads: 1  # by --jobs 2: 2 runs side by side" in lines
    assert board.to_list()[-1]["error"] == alone[1].to_list()[-1]["error"]  # of zfnet
    assert {row["model"] for row in board.to_list()[:-1]} == {*NETWORKS}
    shown = [told[-1] for told in heard]
    assert max(i for i, each in enumerate(shown) if "loss" in each) < min(
        i for i, each in enumerate(shown) if "timing" in each
    )  # speed is measured when all training has ended
    assert shown[[("timing" in each) for each in shown].index(True) - 1]["event"] == "epoch"
    last = [each["together"] for each in shown if "together" in each][-1]
    assert last["step"] <= last["steps"]


def process_of(run):
    """The number of the process that trains a run."""
    return int(re.match(rb"process (\d+) ", (run / ".lock").read_bytes())[1])


@pytest.mark.slow
def test_a_killed_run_is_a_row_and_a_stopped_one_goes_on(alone, small_set, tmp_path, capfd):
    run, others = tmp_path / "resnet20-seed0", {"jobs": 2, **HOW}

    def at_first_step(do):
        done = []

        def progress(number, count, model, seed, step, steps, shown):
            if model == "resnet20" and "loss" in shown and not done:
                done.append(step)
                do()

        return progress

    killed = at_first_step(lambda: os.kill(process_of(run), signal.SIGKILL))
    board = library.compare(NETWORKS, small_set, tmp_path, progress=killed, **others)
    assert "SIGKILL" in board.to_list()[-1]["error"]
    assert board.to_list()[-1]["model"] == "resnet20"
    assert RunFolder(tmp_path / "lenet5-seed0").finished
    assert not RunFolder(run).finished

    stopped = at_first_step(lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(
        Stopped, match=r"resnet20 stopped by SIGTERM after step \d+ of 40; the checkpoint is saved"
    ) as one:
        library.compare(NETWORKS, small_set, tmp_path, progress=stopped, **others)
    assert one.value.exit_code == 143
    assert "go on with the same comparison" in one.value.fix

    library.compare(NETWORKS, small_set, tmp_path, jobs=1, **HOW)
    same_runs(alone[0], tmp_path)
    assert RunFolder(run).result["bit_comparable"]
    assert "Traceback" not in capfd.readouterr().err  # of any of the processes


@pytest.mark.slow
def test_an_error_in_the_caller_stops_the_runs_which_save(small_set, tmp_path):
    begun = []

    def progress(number, count, model, *told):
        if "loss" in told[-1]:
            begun.append(tmp_path / f"{model}-seed0")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        library.compare(NETWORKS, small_set, tmp_path, jobs=2, progress=progress, **HOW)
    assert len(begun) == 1
    assert (begun[0] / "last.ckpt").is_file() or RunFolder(begun[0]).finished


@pytest.mark.slow
def test_a_script_without_a_guard_is_not_run_again(small_set, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "print('begun')\nimport podium\nfrom podium.comparison.running import jobs\njobs.processors = lambda: 2\n"
        f"podium.compare(['lenet5', 'lenet5_modern'], {str(small_set)!r}, 'board', jobs=2, steps=2, threads=1)\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count("begun") == 1
    assert "Traceback" not in done.stderr
    assert len(list((tmp_path / "board").glob("*/result.json"))) == 2


@pytest.mark.slow
def test_images_that_no_process_can_be_handed_are_trained_on_here(small_set, tmp_path, monkeypatch):
    class Images(ArrayImages):
        """Of a class that no other process can import."""

    data = library.load_data(str(small_set))
    for split in data.splits.values():
        split.images = Images(split.images.pixels)
    monkeypatch.setattr(SideBySide, "_start", lambda self: pytest.fail("a process was started"))
    board = library.compare(["lenet5", "lenet5_modern"], data, tmp_path, jobs=2, steps=2, threads=1)
    assert len(board.rows) == 2


def settings(**values):
    """Settings that a person gave by flags."""
    given = {key: Origin("flag", given=True) for key in values}
    return Origins(Settings(data="digits", **values), given)


SMALL = [Candidate("lenet5"), Candidate("vgg11_bn"), Candidate("resnet20")]


@pytest.fixture(scope="module")
def digits():
    return library.load_data("digits")


@pytest.fixture
def four_cores(monkeypatch):
    """A process that computes in four threads on four processors."""
    monkeypatch.setattr(deciding.torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(deciding, "processors", lambda: 4)


@pytest.mark.parametrize(
    ("requested", "given", "runs", "expected"),
    [
        (None, {}, 6, (4, 1)),  # small networks: one a core
        (None, {}, 2, (2, 2)),  # fewer runs than cores
        (None, {}, 1, (1, 4)),
        (None, {"duration": "30s"}, 6, (1, 4)),  # a time, of which each run would have a part of the cores
        (None, {"threads": 2}, 6, (1, 2)),  # a person wants two cores to be used
        (2, {"duration": "30s"}, 6, (2, 2)),
        (2, {"threads": 1}, 6, (2, 1)),
        (3, {}, 6, (3, 1)),
        (1, {}, 6, (1, 4)),
    ],
)
def test_small_networks_train_one_a_core(four_cores, digits, requested, given, runs, expected):
    found = decide_jobs(requested, settings(**given), SMALL, runs, digits)
    assert (found.count, found.threads) == expected


def test_a_large_network_has_all_cores(four_cores, digits):
    large = [*SMALL, Candidate("resnet18")]  # 557 M multiply-adds an image at 32 pixels
    assert decide_jobs(None, settings(image_size=64), large, 6, digits).count == 1


def test_where_memory_would_not_do_there_are_fewer(four_cores, digits, monkeypatch):
    monkeypatch.setattr(deciding, "memory_left_here", lambda: 3_000_000_000)
    monkeypatch.setattr(deciding, "memory_of_process", lambda: (500_000_000, 0))
    found = decide_jobs(4, settings(batch_size=128), SMALL, 6, digits)
    assert (found.count, found.threads) == (2, 2)
    assert found.note == f"jobs: {found.count} instead of 4, for which too little memory is left"


def test_more_than_the_machine_has_is_refused(four_cores):
    with pytest.raises(MachineError, match="jobs: 5, but there are 4 processors"):
        refuse_jobs(5, settings())
    with pytest.raises(UsageError, match="jobs: 3 of 2 threads each") as refused:
        refuse_jobs(3, settings(threads=2))
    assert "--threads 1" in refused.value.fix
    refuse_jobs(2, settings(threads=2))


def test_a_budget_is_measured_by_one_run_of_a_network_first(tmp_path):
    schedule = Schedule(tmp_path, Settings(duration="30s"), 2, SMALL)
    first, again = (part for part in schedule.parts() if part.candidate.model == "lenet5")
    other = next(part for part in schedule.parts() if part.candidate.model == "resnet20")
    assert schedule.may_begin(again, [other])
    assert not schedule.may_begin(again, [first])
    first.path.mkdir()
    (first.path / SETTINGS).write_text("duration: 12it\n")  # it has measured
    assert schedule.may_begin(again, [first])


def test_the_time_to_expect_of_budgets_is_that_of_runs_side_by_side(tmp_path):
    schedule = Schedule(tmp_path, Settings(duration="60s"), 1, SMALL)
    assert "3 runs of 60 s: 3 min 00 s" in schedule.expected()
    assert "3 runs of 60 s: 2 min 00 s" in schedule.expected(jobs=2)


@pytest.mark.parametrize(("jobs", "seconds"), [(1, 10.0), (2, 5.0), (3, 5.0)])
def test_a_plan_has_the_time_of_runs_side_by_side_the_longest_first(jobs, seconds):
    assert side_by_side([1.0, 5.0, 1.0, 3.0], jobs) == seconds
    assert side_by_side([], jobs) == 0
    text = Outlook((), None, 1, None, False, 4, 60 * seconds, 0.0, jobs=jobs).lines()[-1]
    assert (f", {jobs} at a time: " in text) == (jobs > 1)


@pytest.fixture
def four_threads(monkeypatch):
    """A process that computes in four threads on four processors, and then in as many as before."""
    monkeypatch.setattr(deciding, "processors", lambda: 4)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_a_plan_times_each_network_in_the_threads_that_its_runs_have(digits, tmp_path, monkeypatch, four_threads):
    threads = []
    monkeypatch.setattr(
        outlook_module,
        "forecast",
        lambda plan: threads.append(torch.get_num_threads()) or {"seconds": 60.0, "memory_mb": {"peak": 1.0}},
    )
    merged = settings_of("quick", None, {"data": "digits", "duration": "2it"})
    study = Study(["lenet5", "lenet5_modern"], merged, tmp_path, 3, digits, Choice(jobs=2))
    found = outlook_module.outlook(study)
    assert threads == [2, 2]
    assert (found.jobs, found.runs, found.seconds) == (2, 6, 180.0)


def test_an_error_passes_between_processes_with_its_exit_code(tmp_path):
    sent = pickle.loads(pickle.dumps(sendable(Stopped(signal.SIGTERM, 3, 40, tmp_path))))
    assert (sent.exit_code, sent.what) == (143, "stopped by SIGTERM after step 3 of 40; the checkpoint is saved")
    sent = pickle.loads(pickle.dumps(sendable(UsageError("a", "b", ("--c", "d"), "e"))))
    assert (type(sent), sent.what, sent.fix, sent.flags, sent.data) == (UsageError, "a", "b", ("--c", "d"), "e")


def test_a_pack_is_mapped_by_each_process_and_not_copied(tmp_path):
    pixels = np.memmap(tmp_path / "images.bin", np.uint8, "w+", shape=3_000_000)
    pixels[:] = np.arange(3_000_000) % 251
    pixels.flush()
    index = np.array([[0, 1000, 1000, 0, 0]], np.int64)
    images = PackImages(Pack(tmp_path, pixels, index, np.ones(1, bool)), np.array([0]))
    sent = pickle.dumps(images)
    assert len(sent) < 10_000
    np.testing.assert_array_equal(pickle.loads(sent)[0], images[0])
