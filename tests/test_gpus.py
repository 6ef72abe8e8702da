"""A comparison on a machine of several GPUs: each process of its own sees one, and none is seen twice before all are used."""

import os

import pytest
import torch

from podium.comparison.running import jobs, side_by_side
from podium.comparison.running.gpus import freest, gpus_for, seeing
from podium.comparison.running.side_by_side import SideBySide
from podium.data.sources import load_data
from podium.errors import MachineError, UsageError
from podium.settings import FLAG, Origins, Settings


@pytest.fixture
def three(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_gpus_are_those_that_this_process_sees(three, monkeypatch):
    assert gpus_for("auto") == gpus_for("cuda") == ["0", "1", "2"]
    assert gpus_for("cuda:1") == gpus_for("cpu") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-7a,6")
    assert gpus_for("auto") == ["4", "GPU-7a", "6"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert gpus_for("auto") == [], "one is no choice"


def test_processes_take_turns_and_one_that_replaces_another_has_its_gpu():
    assert [freest("ab", taken) for taken in ("", "a", "ab", "aba", "bb")] == ["a", "b", "a", "b", "a"]


def test_a_variable_that_was_there_is_put_back(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    with seeing("5", 2):
        assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["LOCAL_WORLD_SIZE"]) == ("5", "2")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5"
    assert "LOCAL_WORLD_SIZE" not in os.environ
    with seeing(None, 2):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5"


class Context:
    """Processes that only note which GPU they would see."""

    def __init__(self):
        self.seen = []

    def Pipe(self):
        return self, self

    def Process(self, **_):
        return self

    def start(self):
        self.seen.append(os.environ.get("CUDA_VISIBLE_DEVICES"))

    def close(self):
        pass


def test_each_process_starts_with_a_gpu_of_its_own(three, monkeypatch):
    context = Context()
    monkeypatch.setattr(side_by_side.multiprocessing, "get_context", lambda _: context)
    together = SideBySide(3, 1, {}, None, 1.0, ["0", "1", "2"])
    for _ in range(3):
        together._start()
    together.processes.pop(1)
    together._start()
    assert context.seen == ["0", "1", "2", "1"]


def merged(**settings):
    return Origins(Settings(**settings), dict.fromkeys(settings, FLAG))


@pytest.mark.parametrize(
    ("requested", "runs", "count"), [(None, 8, 3), (None, 2, 2), (2, 8, 2), (None, 1, 1), (1, 8, 1)]
)
def test_a_study_has_as_many_runs_at_a_time_as_gpus(three, requested, runs, count):
    found = jobs.decide_jobs(requested, merged(device="cuda"), (), runs, load_data("digits"))
    assert (found.count, len(found.gpus)) == (count, count if count > 1 else 0)
    assert (found.note is not None) == (count > 1)


def test_more_runs_than_gpus_are_refused(three, monkeypatch):
    monkeypatch.setattr(jobs, "pick_device", lambda name: torch.device("cuda"))
    with pytest.raises(MachineError, match="jobs: 4, but there are 3 GPUs here"):
        jobs.refuse_jobs(4, merged(device="cuda"))
    with pytest.raises(UsageError, match="train on one GPU, one after the other"):
        jobs.refuse_jobs(2, merged(device="cuda:1"))
