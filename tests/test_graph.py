"""Steps as a graph, with a recorder that stands for CUDA's: the same weights, and any failure goes back to the plain step."""

import contextlib
import weakref

import pytest
import torch

import podium
from podium.training import fitting, graph, run
from podium.training.graph import StepGraph
from test_resume import digest
from test_training import toy

SETTINGS = {"epochs": 2, "batch_size": 16, "image_size": 32, "amp": "off", "mixup": 0.2}


class Recorder:
    """Runs the work each time that the recording is run."""

    def __init__(self, wrong=False):
        self.recorded, self.replayed, self.wrong = 0, 0, wrong

    def __call__(self, work):
        self.recorded += 1
        result = torch.zeros(4, dtype=torch.float64)

        def replay():
            self.replayed += 1
            result.copy_(work())
            if self.wrong:
                result[1] += 1

        return result, replay


@pytest.fixture
def train(tmp_path, monkeypatch):
    def trained(name, record=None, **more):
        monkeypatch.setattr(run, "reads_late", lambda device, optimizer: record is not None)
        monkeypatch.setattr(fitting, "has_fp16", lambda device: True)
        monkeypatch.setattr(run, "graphs_are_there", lambda device: True)
        monkeypatch.setattr(graph, "cuda_graph", record)
        monkeypatch.setattr(StepGraph, "wanted", property(lambda self: True))
        return podium.train("lenet5_modern", toy(size=32), tmp_path / name, **SETTINGS, **more)

    return trained


@pytest.mark.parametrize("more", [{}, {"optimizer": "adamw", "lr": 0.001, "ema": 0.5}, {"amp": "fp16"}], ids=str)
def test_a_graph_ends_with_the_weights_of_plain_steps(train, monkeypatch, more):
    for key in SETTINGS.keys() & more.keys():
        monkeypatch.setitem(SETTINGS, key, more[key])
    more = {key: value for key, value in more.items() if key not in SETTINGS}
    record = Recorder()
    as_graph = train("graph", record, **more)
    assert (record.recorded, record.replayed) == (1, 11), "the first of 12 steps is read at once"
    plain = train("plain", **more)
    if "ema" not in more:
        assert digest(as_graph.path) == digest(plain.path)
    for name, value in podium.load(plain.path).model.state_dict().items():
        torch.testing.assert_close(podium.load(as_graph.path).model.state_dict()[name], value, rtol=1e-5, atol=1e-7)


def test_what_cannot_be_recorded_is_sent_as_before_and_a_line_says_so(train, caplog):
    def broken(work):
        work()  # some of it has already changed the weights
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    fallen = train("fallen", broken)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "steps are sent kernel by kernel: as a CUDA graph it failed "
        "(CUDA error: operation not permitted when stream is capturing)"
    ]
    assert digest(fallen.path) == digest(train("plain").path)


@pytest.mark.parametrize("copies", [1, 2])
def test_without_memory_for_copies_the_plain_step_is_taken_once(train, monkeypatch, caplog, copies):
    made, copy = [], StepGraph._copies

    def full(self):
        made.append(None)
        if len(made) == copies:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")
        return copy(self)

    monkeypatch.setattr(StepGraph, "_copies", full)
    fallen = train("fallen", Recorder())
    assert "kernel by kernel: as a CUDA graph it failed (CUDA out of memory" in caplog.text
    assert digest(fallen.path) == digest(train("plain").path)


def test_a_step_that_does_not_fit_beside_its_copies_is_taken_without_them(train, monkeypatch, caplog):
    take, alive = StepGraph._try, []

    def tried(self, launch, seed, x, y):
        def full(*given):
            numbers = launch(*given)  # the weights are changed, and the random numbers of the step are drawn
            held = torch.zeros(9)
            alive.append(weakref.ref(held))
            if len(alive) == 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")
            assert alive[0]() is None, "what the failed step had made still takes its memory"
            return numbers

        return take(self, full, seed, x, y)

    monkeypatch.setattr(StepGraph, "_try", tried)
    fallen = train("fallen", Recorder())
    assert len(alive) == 2
    assert "kernel by kernel: as a CUDA graph it failed (CUDA out of memory" in caplog.text
    assert digest(fallen.path) == digest(train("plain").path)


def test_a_recording_that_fails_leaves_a_generator_that_draws(monkeypatch):
    """Torch's generator stays in the state of a recording: it gets a state of its own again, from which any step is drawn."""
    states = []

    class Generator:
        device = "cpu"

        def graphsafe_get_state(self):
            return "a new state"

        def graphsafe_set_state(self, state):
            states.append(state)

    def broken():
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "default_generators", [None, Generator()])
    monkeypatch.setattr(torch, "Generator", lambda device: Generator())
    with pytest.raises(RuntimeError, match="not permitted"):
        graph.cuda_graph(broken)
    assert states == ["a new state"]


def test_a_graph_with_other_bits_is_not_taken(train, caplog):
    record = Recorder(wrong=True)
    fallen = train("fallen", record)
    assert record.replayed == 1
    assert "its first step had other bits" in caplog.text
    assert digest(fallen.path) == digest(train("plain").path)


def test_a_graph_is_for_steps_whose_launches_the_gpu_waits_for(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def takes(seconds):
        def launch(x, y):
            now[0] += seconds
            return x

        return launch

    def steps(sending, reading, waited):
        found, x = StepGraph(list, Recorder()), torch.zeros(2)
        for _ in range(graph.STEPS):
            found.numbers(takes(sending), lambda: None, x, x)
            now[0] += reading
            found.see(waited)
        return found.wanted

    assert steps(sending=1.0, reading=0.1, waited=True)
    assert not steps(sending=1.0, reading=0.1, waited=False), "the GPU had enough to do"
    assert not steps(sending=0.1, reading=1.0, waited=True), "it was the images that it waited for"
