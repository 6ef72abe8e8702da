"""float16: the factor of the loss is that of torch's GradScaler, and a resume takes it up as it was."""

import pytest
import torch

import podium
from podium.networks.blocks import LocalResponseNorm
from podium.runs import checkpoint
from podium.training import fitting, loss_scale, run
from podium.training.interrupt import Stopped
from podium.training.loss_scale import LossScale
from test_resume import digest
from test_training import toy

CPU = torch.device("cpu")
HALF = {"epochs": 2, "batch_size": 16, "image_size": 32, "amp": "fp16", "keep_checkpoint": True}


@pytest.fixture(autouse=True)
def float16_here(monkeypatch):
    """Let the processor train in float16, which is refused outside tests: it is slower than float32 there."""
    monkeypatch.setattr(fitting, "has_fp16", lambda device: True)


def test_the_factor_is_that_of_torch(monkeypatch):
    """The gradient of some steps is infinite; torch's own scaler sees the same gradients."""
    monkeypatch.setattr(loss_scale, "STEPS", 3)
    own, torchs = LossScale(CPU), torch.amp.GradScaler("cpu", growth_interval=3)
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    draw = torch.Generator().manual_seed(0)
    for _ in range(60):
        finite = bool(torch.rand((), generator=draw) < 0.8)
        weight.grad = None
        torchs.scale((weight * (1.0 if finite else float("inf"))).sum()).backward()
        mine = weight.grad.clone()
        torchs.unscale_(optimizer)
        own.unscale([mine])
        assert torch.equal(mine, weight.grad)
        torchs.step(optimizer)
        torchs.update()
        own.update(torch.tensor(finite), torch.tensor(False))
        theirs = torchs.state_dict()
        assert own.state() == {"factor": theirs["scale"], "held": theirs["_growth_tracker"]}
    before = own.state()
    own.update(torch.tensor(False), torch.tensor(True))
    assert own.state() == before, "a run that has ended changes nothing"


@pytest.mark.parametrize("late", [False, True])
def test_a_resume_takes_up_the_factor(tmp_path, monkeypatch, late):
    """A factor that is far too large at first, so that steps are left out and it falls, and that grows soon."""
    monkeypatch.setattr(loss_scale, "FIRST", 2.0**30)
    monkeypatch.setattr(loss_scale, "STEPS", 2)
    monkeypatch.setattr(run, "reads_late", lambda device, optimizer: late)
    whole = podium.train("lenet5_modern", toy(size=32), tmp_path / "whole", **HALF)
    end = checkpoint.load_newest(whole.path)[1]["loss_scale"]
    assert end["factor"] < 2.0**30
    monkeypatch.setenv("PODIUM_FAULT", "signal:15@step:7")
    with pytest.raises(Stopped):
        podium.train("lenet5_modern", toy(size=32), tmp_path / "run", **HALF)
    there = checkpoint.load_newest(tmp_path / "run")[1]
    assert (there["step"], there["left_out"]) == (7, 0), "an infinite gradient is no fault of the run"
    monkeypatch.setenv("PODIUM_FAULT", "")
    again = podium.train("lenet5_modern", toy(size=32), tmp_path / "run", resume=True, **HALF)
    assert checkpoint.load_newest(again.path)[1]["loss_scale"] == end
    assert digest(again.path) == digest(whole.path)


def test_steps_that_are_read_late_have_the_same_factor(tmp_path, monkeypatch):
    monkeypatch.setattr(loss_scale, "FIRST", 2.0**30)
    runs = []
    for late in (False, True):
        monkeypatch.setattr(run, "reads_late", lambda device, optimizer, late=late: late)
        runs.append(podium.train("lenet5_modern", toy(size=32), tmp_path / str(late), **HALF))
    assert digest(runs[0].path) == digest(runs[1].path)
    scales = [checkpoint.load_newest(each.path)[1]["loss_scale"] for each in runs]
    assert scales[0] == scales[1]


def test_local_response_norm_squares_more_than_float16_holds():
    norm, x = LocalResponseNorm(), torch.full((1, 5, 2, 2), 300.0)
    torch.testing.assert_close(norm(x.half()).float(), norm(x), rtol=1e-2, atol=0)
