"""Everything that a step, an evaluation and an explanation make lies on the device of the network: torch's fake tensors say so.

A fake tensor has a device and a shape, and no numbers. Torch refuses an operation on fake tensors of two devices, as a GPU
does. The device here is "meta", the only one besides the processor that every build of torch has gradients for.
"""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import podium
from conftest import sampled
from podium.data import augment
from podium.data.augment import Augment
from podium.explain.class_map import class_map
from podium.explain.gradients import grad_cam
from podium.models.convnet import ConvNet
from podium.models.registry import architecture, build_model
from podium.settings import Settings
from podium.training import fake_int8
from podium.training.late import Late
from podium.training.losses import cross_entropy
from podium.training.optim import EMA, make_optimizer
from podium.training.step import Passes, forward_backward_unread

DEVICE = torch.device("meta")
FAMILIES = {architecture(name).family: name for name in reversed(podium.list_models())}
NAMES = sorted({*FAMILIES.values(), "googlenet", "inception_v3", "resnet20", "resnet18", "resnet50", "seresnet50"})
FAST = ("lenet5", "googlenet", "resnet20", "zfnet")
TWO_DEVICES = "Expected all tensors to be on the same device|found at least two devices|two different devices"


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    """No tensor has numbers, and none of two devices meet."""
    # The device knows no autocast, which does nothing in float32, and fake weights cannot change their place as skip_init wants.
    monkeypatch.setattr(torch, "autocast", lambda *given, enabled, **more: nullcontext())
    monkeypatch.setattr(nn.utils, "skip_init", lambda kind, *sizes, device: kind(*sizes))
    with FakeTensorMode():
        yield


def placed(name):
    """A network on the device: its parameters and buffers are sent there, and nothing else that it has."""
    known = architecture(name)
    small = known.small_min_size is not None
    net = build_model(name, num_classes=10, image_size=max(32, known.smallest(small)), small=small)
    for module in net.modules():
        for key, tensor in module._parameters.items():
            if tensor is not None:
                module._parameters[key] = nn.Parameter(tensor.detach().to(DEVICE), tensor.requires_grad)
        for key, tensor in module._buffers.items():
            if tensor is not None:
                module._buffers[key] = tensor.to(DEVICE)
    return net


def batch(net, count=4):
    """Images and labels on the device."""
    side, channels = net.spec["image_size"], net.spec["in_chans"]
    return torch.randn(count, channels, side, side, device=DEVICE), torch.arange(count, device=DEVICE)


def step(net, **settings):
    """One training step, with all that a step on a GPU does but the copy of its numbers to the processor."""
    s = Settings(lr=0.01, clip=1.0, label_smoothing=0.1, **settings)
    optimizer, average = make_optimizer(net.train(), s), EMA(net, 0.99)
    passes = Passes(net, optimizer, s)
    x, y = batch(net)
    objective = passes.ranks.objective(net, lambda images: cross_entropy(s.label_smoothing), x)
    under_way = Late(net, DEVICE, 0, 0)
    under_way.keep()
    under_way.decide(*forward_backward_unread(passes, x, y, objective, 0.0, 0), None)
    optimizer.step()  # not by `Late.step`: only a fused kernel, which there is none of here, reads `found_inf`
    for kept in under_way.statistics:
        kept.put_back(under_way.nothing)
    average.update(1, under_way.ended)
    assert all(p.grad is not None and p.grad.device == DEVICE for p in net.parameters())


@pytest.mark.parametrize("name", sampled(NAMES, FAST))
def test_a_step_and_an_evaluation_make_nothing_on_another_device(name):
    net = placed(name)
    step(net)
    net.eval()
    x, _ = batch(net)
    with torch.no_grad():
        assert net(x).softmax(1).topk(5).values.device == DEVICE
        assert all(value.device == DEVICE for value in net.endpoints(x).values())
    assert net.to_dense()(x).device == DEVICE
    net.reset_head(3)
    for name, parameter in net.named_parameters():
        assert parameter.device == DEVICE, name


@pytest.mark.parametrize("name", ["resnet20", "lenet5", "vgg11"])
def test_heat_maps_are_computed_where_the_network_is(name):
    net = placed(name).eval()
    x, _ = batch(net)
    assert class_map(net, x).heat_map.device == DEVICE
    assert grad_cam(net, x).device == DEVICE


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "rmsprop"])
def test_optimisers_keep_their_state_where_the_network_is(optimizer):
    step(placed("resnet20"), optimizer=optimizer, accumulate=2)


def test_a_step_that_rounds_to_int8_makes_nothing_on_another_device(monkeypatch):
    monkeypatch.setattr(fake_int8, "has_rounding", lambda device: False)
    net = placed("resnet20")
    fake_int8.fake_int8(net)
    step(net)


def test_augmentation_is_computed_where_the_images_are():
    index = torch.arange(4, device=DEVICE)
    kind = Augment("pad", flip=True, erase=0.3, colour=0.1)
    drawn = augment.shifts(kind, 32, 0, 0, index)
    padded = torch.zeros(4, 40, 40, 3, dtype=torch.uint8, device=DEVICE)
    x = augment.shift_and_flip(padded, index, 32, drawn, index).permute(0, 3, 1, 2).float()
    x = augment.erase(x, kind.erase, 0, 0, index)
    x = augment.colour_noise(x, kind.colour, torch.ones(3, device=DEVICE), 0, 0, index)
    boxes = torch.stack(
        augment.crop_boxes(Augment("area"), augment.crop_draws(Augment("area"), 0, 0, index), 32, 32), 1
    )
    assert augment.crop_and_resize(x, boxes).device == DEVICE


@pytest.mark.parametrize("where", ["loss", "backward", "statistics"])
def test_a_tensor_that_is_made_on_the_processor_in_the_middle_is_found(monkeypatch, where):
    net = placed("resnet20")
    if where == "loss":
        forward = ConvNet.forward_features
        monkeypatch.setattr(
            ConvNet, "forward_features", lambda self, x: forward(self, x) * torch.ones(x.shape[0], 1, 1, 1)
        )
        with pytest.raises(RuntimeError, match=TWO_DEVICES):
            net(batch(net)[0])
        return
    if where == "backward":
        next(net.parameters()).register_hook(lambda gradient: gradient * torch.ones(gradient.shape))
    else:
        module = next(m for m in net.modules() if isinstance(m, nn.BatchNorm2d))
        module.running_mean = torch.zeros_like(module.running_mean, device="cpu")
    with pytest.raises(RuntimeError, match=TWO_DEVICES):
        step(net)
