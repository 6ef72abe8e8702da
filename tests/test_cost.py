"""What a network costs: counted against sums done by hand, and timed into fields that hold together."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from torch import nn

from podium.evaluation import speed as speed_module
from podium.evaluation.cost import count, count_net
from podium.evaluation.speed import Others, allowance, measure, share_waited, speed, timed
from podium.models.convnet import ConvNet, Head
from podium.platform import processor_seconds, processors, seconds_waited
from podium.weights.create import create_model


@pytest.fixture
def net():
    """3x8x8 -> grouped and strided convolutions with norms and pools -> 5 classes."""
    stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    one = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False)
    two = nn.Sequential(nn.Conv2d(6, 6, 1), nn.MaxPool2d(2))
    head = Head(nn.Flatten(), nn.Linear(10, 5, bias=False), nn.Linear(6 * 2 * 2, 10))
    built = ConvNet(stem, [("one", one), ("two", two)], head)
    built.spec = {"model": "tiny", "image_size": 8, "in_chans": 3, "num_classes": 5}
    return built


def test_parameters_and_multiply_adds_by_hand(net):
    cost = count_net(net)
    stem = 3 * 4 * 9 + 4 + 2 * 4  # weights, bias, and the two vectors of the norm
    one, two = 4 // 2 * 6 * 9, 6 * 6 + 6  # each output of a group of two sees half of the inputs
    assert cost.params == stem + one + two + (24 * 10 + 10) + 10 * 5
    assert cost.macs == 3 * 4 * 9 * 64 + one * 16 + 6 * 6 * 16 + 24 * 10 + 10 * 5  # no biases, norms, pools
    assert cost.stages == (
        ("stem", (4, 8, 8)),
        ("one", (6, 4, 4)),
        ("two", (6, 2, 2)),
        ("features", (6, 2, 2)),
        ("pooled", (24,)),
        ("logits", (5,)),
    )


def test_counting_and_timing_leave_the_network_as_it_was(net):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for mode in (True, False):
        net.train(mode)
        count_net(net)
        measure(net, 2, seconds=0)
        measure(net, 2, batches=2, backward=True)
        assert all(module.training is mode for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_a_description_costs_what_the_network_built_from_it_does():
    spec = {"model": "resnet20", "num_classes": 7, "in_chans": 1, "image_size": 28}
    net = create_model("resnet20", num_classes=7, in_chans=1, image_size=28)
    assert count(spec) == count_net(net)
    assert count(spec).params == sum(p.numel() for p in net.parameters())


def test_a_measurement_says_how_it_was_made(net):
    timed = measure(net, batch=3, seconds=0)
    assert (timed["batch"], timed["threads"]) == (3, torch.get_num_threads())
    assert (timed["dtype"], timed["engine"]) == ("float32", "torch")
    assert timed["n"] >= 20
    assert 0 < timed["latency_ms"]["p50"] <= timed["latency_ms"]["p95"]
    assert timed["latency_ms"]["sd"] > 0
    again = measure(net, batch=3, batches=7, backward=True)
    assert (again["pass"], again["n"], timed["pass"]) == ("forward-backward", 7, "forward")
    by_hand = 3000 / timed["latency_ms"]["p50"]  # both are rounded
    assert timed["images_per_second"] == pytest.approx(by_hand, rel=0.01)


def test_speed_has_the_latency_of_one_image_and_the_rate_of_many_and_says_of_how_many_passes(net):
    timed = speed(net, seconds=0.2)
    assert timed["batch"] in (1, 2, 4, 8, 16, 32, 64)
    assert timed["n"] >= 3
    assert timed["batches"] >= 3
    assert set(timed["latency_ms"]) == {"p50", "p95", "mean", "sd"}
    assert timed["images_per_second"] > 0
    assert timed["threads"] == torch.get_num_threads()
    assert timed["occupied"] is None or 0 <= timed["occupied"] <= 1


def test_the_time_waited_for_a_processor_is_a_share_of_the_time_that_threads_wanted_one(monkeypatch):
    assert share_waited(10.0, 13.0, 1.0) == 0.75
    assert share_waited(10.0, 10.0, 2.0) == 0.0
    assert share_waited(10.0, 9.5, 2.0) == 0.0  # of a thread that has ended
    assert share_waited(None, None, 2.0) is None
    monkeypatch.setattr(os, "listdir", Mock(side_effect=FileNotFoundError))  # a system without /proc
    assert seconds_waited() is None


def matrix_products(count=20):
    """Products in threads of torch that wait for each other."""
    a = torch.randn(300, 300)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    timed(lambda: a @ a, 1, batches=count)
    torch.set_num_threads(before)


@pytest.mark.parametrize(("beside", "share"), [(0.0, 0.0), (1.0, 0.5), (2.0, 1.0)])
def test_what_others_compute_is_a_share_of_the_processors_and_threads_that_wait_for_each_other_are_none_of_it(
    monkeypatch, beside, share
):
    """On two processors, of which other programs compute on so many all the time; a thread of ours waits for the other."""
    for name in ("cores", "processors"):
        monkeypatch.setattr(speed_module, name, lambda: 2)
    passed, computed = 0.0, 0.0
    clocks = SimpleNamespace(perf_counter=lambda: passed, process_time=lambda: computed)
    monkeypatch.setattr(speed_module, "time", clocks)
    monkeypatch.setattr(speed_module, "processor_seconds", lambda: computed + beside * passed)
    others = Others()
    for seconds in (0.3, 0.7):
        with others.counted():
            passed, computed = passed + seconds, computed + 1.2 * seconds
    assert others.share == pytest.approx(share)
    monkeypatch.setattr(speed_module, "processors", lambda: 4)
    assert others.share == pytest.approx(0.0), "they leave the two processors that this process needs"


def test_another_program_that_holds_every_processor_is_noticed():
    if processor_seconds() is None:
        pytest.skip("this system does not count")
    spin = [sys.executable, "-c", "import sys; sys.stdout.write('x'); sys.stdout.flush()\nwhile True: pass"]
    spinning = [subprocess.Popen(spin, stdout=subprocess.PIPE) for _ in range(4 * processors())]
    try:
        assert all(process.stdout.read(1) == b"x" for process in spinning)  # it has begun
        others = Others()
        with others.counted():
            begun = time.process_time()
            while time.process_time() - begun < 0.3:
                matrix_products(1)
    finally:
        for process in spinning:
            process.kill()
            process.communicate()
    assert others.share > 0.1


def test_a_system_that_does_not_count_says_nothing(monkeypatch):
    for counts in (lambda: None, lambda: 0.0):
        monkeypatch.setattr(speed_module, "processor_seconds", counts)
        others = Others()
        with others.counted():
            matrix_products(1)
        assert others.share is None
    monkeypatch.setattr(os, "sched_getaffinity", Mock(side_effect=AttributeError))
    assert processor_seconds() is None


class Slow:
    """A network whose passes are counted and take no time, beside a clock on which they do: so many seconds an image."""

    def __init__(self, monkeypatch, net, an_image):
        self.net, self.an_image, self.now, self.passes = net, an_image, 0.0, []
        monkeypatch.setattr("podium.evaluation.speed.time.perf_counter", lambda: self.now)
        monkeypatch.setattr(type(net), "forward", self.forward)

    def forward(self, x):
        self.passes.append(len(x))
        self.now += self.an_image * len(x)


@pytest.mark.parametrize("an_image", [0.0001, 0.002, 0.02, 0.15, 0.4])
@pytest.mark.parametrize("seconds", [1.0, 5.0, 20.0])
def test_timing_ends_within_its_seconds_and_a_fixed_cost_of_seven_passes(net, monkeypatch, an_image, seconds):
    slow = Slow(monkeypatch, net, an_image)
    timed = speed(net, seconds)
    assert slow.now <= max(seconds, 7 * an_image) + 4 * an_image * timed["batch"] + 1e-6
    assert (timed["n"], timed["batches"]) >= (3, 3)
    assert timed["images_per_second"] == pytest.approx(1 / an_image, rel=0.01)
    assert timed["latency_ms"]["p50"] == pytest.approx(1000 * an_image)
    if an_image < 0.02:  # where there is time, as much as ever: a second of each at least, or thirty passes
        assert timed["n"] >= 30
        assert timed["batch"] == 64 or an_image * 64 * 10 > seconds / 2


def test_no_more_images_a_pass_than_memory_holds(net, monkeypatch):
    Slow(monkeypatch, net, 1e-4)
    monkeypatch.setattr("podium.evaluation.speed.MAP_BYTES", 5 * count_net(net).map_bytes)
    assert speed(net, 20.0)["batch"] == 4


def test_the_largest_maps_of_a_network_are_counted_by_hand():
    # VGG-11: the first convolution and its norm have 64 maps of 224 x 224 on both sides, in float32
    assert count({"model": "vgg11_bn"}).map_bytes == 2 * 4 * 64 * 224 * 224


@pytest.mark.parametrize(("trained", "seconds"), [(0.5, 1.0), (2.0, 1.0), (60.0, 6.0), (199.0, 19.9), (7200.0, 20.0)])
def test_timing_has_a_tenth_of_the_training_from_one_second_to_twenty(trained, seconds):
    assert allowance(trained) == pytest.approx(seconds)
