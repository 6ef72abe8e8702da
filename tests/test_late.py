"""Steps whose numbers are read late, as on a GPU: the same weights as steps that are read at once, and no read in a step."""

import json

import pytest
import torch

import podium
from command import one_error
from podium.data.augment import Augment
from podium.data.loader import Batch, Loader
from podium.data.preprocessing import Preprocessing
from podium.errors import NumericError
from podium.runs import checkpoint
from podium.runs.folder import RunFolder
from podium.settings import Settings
from podium.training import run
from podium.training.distributed.sync_norm import OnGPUs
from podium.training.fake_int8 import fake_int8
from podium.training.late import Late
from podium.training.loss_scale import LossScale
from podium.training.losses import cross_entropy
from podium.training.optim import EMA, make_optimizer
from podium.training.step import PRECISIONS, Passes, begin, forward_backward_unread
from test_parallel import digest, rank_of, together
from test_training import toy

# Operators whose kernels for CPUs read a number where those for CUDA take an address (torch 2.13: FusedAdamKernel.cu and
# FakeQuantizeCore.cu).
READ_ON_CPUS = ("aten::_fused_adamw_", "aten::_fake_quantize_per_tensor_affine_cachemask_tensor_qparams")
READS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::is_nonzero", "aten::equal")


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Let a CPU read late, as CUDA does."""
    monkeypatch.setattr(run, "reads_late", lambda device, optimizer: True)


def state(folder):
    return dict(podium.load(folder).model.state_dict())


def same_bits(one, other):
    """Two runs ended with the same weights and statistics."""
    found = state(other)
    for name, value in state(one).items():
        assert torch.equal(value, found[name]), name


SMALL = {"epochs": 2, "batch_size": 8, "image_size": 32, "amp": "off"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"optimizer": "adamw", "lr": 0.001, "clip": 0.5},
        {"accumulate": 2, "label_smoothing": 0.1, "mixup": 0.2},
    ],
)
def test_the_weights_are_those_of_steps_that_are_read_at_once(tmp_path, monkeypatch, more):
    at_once = podium.train("resnet20", toy(24, test=16), tmp_path / "a", small=True, **SMALL, **more)
    monkeypatch.setattr(run, "reads_late", lambda device, optimizer: True)
    later = podium.train("resnet20", toy(24, test=16), tmp_path / "b", small=True, **SMALL, **more)
    same_bits(at_once.path, later.path)
    assert [row["train_loss"] for row in later.epochs] == pytest.approx(
        [row["train_loss"] for row in at_once.epochs], rel=1e-6
    )


def test_a_moving_average_is_that_of_steps_that_are_read_at_once(tmp_path, monkeypatch):
    at_once = podium.train("lenet5_modern", toy(24, size=32, test=16), tmp_path / "a", ema=0.9, **SMALL)
    monkeypatch.setattr(run, "reads_late", lambda device, optimizer: True)
    later = podium.train("lenet5_modern", toy(24, size=32, test=16), tmp_path / "b", ema=0.9, **SMALL)
    torch.testing.assert_close(state(later.path), state(at_once.path), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_that_is_left_out_changes_nothing(tmp_path, monkeypatch, as_on_a_gpu, optimizer):
    """The fourth step is not finite; without its effect the run is that of a run which reads at once."""
    more = {**SMALL, "on_nan": "skip:2", "optimizer": optimizer, "lr": 0.01}
    monkeypatch.setenv("PODIUM_FAULT", "nan@before:4,nan@before:5")
    later = podium.train("resnet20", toy(24, test=16), tmp_path / "late", small=True, **more)
    monkeypatch.setattr(run, "reads_late", lambda device, optimizer: False)
    at_once = podium.train("resnet20", toy(24, test=16), tmp_path / "once", small=True, **more)
    same_bits(at_once.path, later.path)
    warned = [
        [(row["step"], row["images"]) for row in RunFolder(path).rows() if row["event"] == "warning"]
        for path in (at_once.path, later.path)
    ]
    assert warned[0] == warned[1]
    assert [step for step, _ in warned[1]] == [4, 5]


def test_a_run_that_ends_has_the_weights_of_before_the_step(tmp_path, monkeypatch, as_on_a_gpu):
    """The processor hears of step 3 once step 4 is under way; neither leaves a trace."""
    monkeypatch.setenv("PODIUM_FAULT", "nan@before:3")
    found = {}
    for reads, name in ((True, "late"), (False, "once")):
        monkeypatch.setattr(run, "reads_late", lambda device, optimizer, reads=reads: reads)
        with pytest.raises(NumericError, match="at step 3: the step was not taken, the checkpoint before it is saved"):
            podium.train("resnet20", toy(24, test=16), tmp_path / name, small=True, **SMALL)
        tensors, values, _ = checkpoint.load_newest(tmp_path / name)
        report = json.loads((tmp_path / name / "nan_report.json").read_text())
        del report["gradient_norm"]  # a step that is read at once ends before it is known
        found[name] = tensors, {key: values[key] for key in ("step", "loss_sum", "images_seen")}, report
    assert found["late"][1:] == found["once"][1:]
    assert found["late"][0].keys() == found["once"][0].keys()
    for name, value in found["once"][0].items():
        assert torch.equal(value, found["late"][0][name]), name


def test_a_moving_average_stands_still_once_a_run_has_ended():
    net = podium.create_model("lenet5_modern", num_classes=2, image_size=32, in_chans=1)
    average = EMA(net, 0.9)
    before = {name: value.clone() for name, value in average.values.items()}
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 1
    average.update(5, torch.tensor(True))
    assert all(torch.equal(value, before[name]) for name, value in average.values.items())
    average.update(5, torch.tensor(False))
    assert not any(torch.equal(average.values[name], before[name]) for name, _ in net.named_parameters())


def test_a_signal_is_known_to_all_after_the_same_step():
    heard = Late(torch.nn.Linear(1, 1), torch.device("cpu"), 0, 0)
    heard.signals.append((7, 15))
    assert [heard.received(step) for step in (7, 8, 9, 10)] == [0, 0, 15, 15], "step 7 is read after step 8 is sent"


def steps(name, amp="off", qat=False, **settings):
    """A function that takes one step, with everything that a step does on a GPU."""
    net = podium.create_model(name, num_classes=4, image_size=32, small=True)
    if qat:
        fake_int8(net)
    s = Settings(model=name, lr=0.01, **settings)
    optimizer = make_optimizer(net, s)
    scale = LossScale(torch.device("cpu")) if amp == "fp16" else None
    passes = Passes(net, optimizer, s, PRECISIONS.get(amp), scale=scale)
    net.checkpointing = s.grad_checkpointing
    under_way, average = Late(net, torch.device("cpu"), 0, 0), EMA(net, s.ema) if s.ema else None
    objective = passes.ranks.objective(net, lambda x: cross_entropy(s.label_smoothing), torch.zeros(2, 3, 32, 32))
    batch = Batch(torch.randn(2, 3, 32, 32), torch.arange(2), torch.arange(2))

    def take(step):
        under_way.keep()
        x, y = begin(passes, batch, step)
        numbers = under_way.decide(*forward_backward_unread(passes, x, y, objective, 0.0, 0), scale)
        under_way.step(optimizer)
        under_way.add(step, 0.01, batch.index, numbers)
        if average is not None:
            average.update(step + 1, under_way.ended)

    return take


@pytest.mark.parametrize(
    "kind",
    [
        {"name": "resnet20"},
        {"name": "resnet20", "amp": "bf16"},
        {"name": "resnet20", "amp": "fp16"},
        {"name": "resnet20", "ema": 0.99, "clip": 1.0},
        {"name": "resnet20", "label_smoothing": 0.1, "optimizer": "adamw"},
        {"name": "resnet20", "qat": True},
        {"name": "resnet20", "grad_checkpointing": True, "accumulate": 2},
        {"name": "mobilenet_v1"},
    ],
    ids=str,
)
def test_no_step_reads_a_number_of_the_device(kind):
    """The profiler also sees the reads that an operator makes within itself, which a dispatch mode does not."""
    take = steps(**kind)
    take(0)  # the first one makes the optimiser's state
    with torch.autograd.profiler.profile(use_kineto=False) as profile:
        take(1)
        take(2)
    assert any(event.name == "aten::conv2d" for event in profile.function_events), "the profiler sees the step"
    reads = [(event.name, above(event)) for event in profile.function_events if event.name in READS]
    assert [names for name, names in reads if not set(names) & set(READ_ON_CPUS)] == []


@pytest.mark.parametrize(
    "augment",
    [Augment("pad", flip=True, erase=0.3), Augment("area", flip=True, colour=0.1), Augment("scale")],
    ids=lambda augment: augment.crop,
)
def test_no_batch_reads_a_number_of_the_device(augment):
    """Images in memory are cut, mirrored, erased and coloured on the device; an epoch's draws are made at its start."""
    data = toy(size=16)
    loader = Loader(
        data.splits["train"],
        Preprocessing(image_size=16, channels=1),
        batch_size=16,
        device=torch.device("cpu"),
        augment=augment,
    )
    batches = loader.epoch(0)
    next(batches)
    with torch.autograd.profiler.profile(use_kineto=False) as profile:
        for _ in range(3):
            next(batches)
    names = {event.name for event in profile.function_events}
    assert "aten::index" in names, "the profiler sees the batches"
    assert not names & set(READS)


def above(event):
    """The operators that an operator of a profile ran in."""
    names = []
    while (event := event.cpu_parent) is not None:
        names.append(event.name)
    return names


def late_rank(environment, *more):
    run.reads_late = lambda device, optimizer: True
    rank_of(environment, *more)


@pytest.mark.slow
def test_ranks_that_read_late_stop_after_the_same_step_and_end_with_the_same_weights(tmp_path):
    """Rank 1 is signalled after step 5. It says so with step 6, whose numbers all read once step 7 is under way."""
    words = [
        "train",
        "lenet5_modern",
        "digits",
        "--steps",
        "12",
        "--batch-size",
        "240",
        "--mixup",
        "0.2",
        "--amp",
        "off",
    ]
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert all(done.returncode == 0 for done in together(*words, "-o", whole, count=2))
    stopped = together(*words, "-o", out, count=2, rank_of=late_rank, fault="signal:15@step:5@1")
    one_error(stopped[0], 143, "after step 7", "--resume")
    assert checkpoint.load_newest(out)[1]["step"] == 7
    for done in together("train", "--resume", "-o", out, count=2, rank_of=late_rank):
        assert done.returncode == 0, done.stderr
    assert digest(out) == digest(whole)


@pytest.mark.slow
def test_ranks_that_read_late_end_together_where_one_is_not_finite(tmp_path):
    words = ["train", "lenet5_modern", "digits", "--steps", "12", "--batch-size", "240", "-o", tmp_path / "run"]
    for done in together(*words, count=2, rank_of=late_rank, fault="nan@before:3@1"):
        one_error(done, 5, "step 3")
    assert checkpoint.load_newest(tmp_path / "run")[1]["step"] == 3


def test_batch_norm_on_gpus_is_torchs_in_a_layer_that_was_made_alone():
    """Without a group of processes torch's own computes what nn.BatchNorm2d does, and the layer still counts as one."""
    x, one, other = torch.randn(4, 3, 5, 5), torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    other.__class__ = OnGPUs
    assert isinstance(other, torch.nn.BatchNorm2d)
    assert torch.equal(one(x), other(x))
    assert all(torch.equal(one.state_dict()[name], value) for name, value in other.state_dict().items())
