"""The contract, over every registered network."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from podium.errors import UsageError
from podium.models import architecture, create_model, list_models
from podium.models.registry import register

DEEP = {"resnet1202", "resnet152", "resnet152_v1", "resnet110", "resnet101", "resnet101_v1"}
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n in DEEP else n for n in list_models()]
FAMILIES = [
    "lenet5",
    "lenet5_modern",
    "alexnet",
    "alexnet_owt",
    "vgg11",
    "vgg11_bn",
    "resnet18",
    "resnet50_v1",
    "resnet20",
]


def smallest(name, **arguments):
    """The network in its cheapest form: small where it has one, at the smallest image it takes."""
    known = architecture(name)
    small = known.small_min_size is not None
    size = known.smallest(small)
    torch.manual_seed(0)
    net = create_model(name, image_size=size, small=small, **arguments)
    return net, size


@torch.no_grad()
def settle(net, x):
    """Give batch norms the statistics of a batch: 600 residual units on fresh ones overflow in evaluation mode."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain mean of what came, which is one batch
    net.train()(x)
    for norm in norms:
        norm.momentum = 0.1


def gradients(net, x, y):
    """The loss's gradient of each parameter, by name."""
    net.zero_grad()
    net.training_loss(x, y, F.cross_entropy).backward()
    return {name: p.grad for name, p in net.named_parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_contract(name):
    net, size = smallest(name, num_classes=2, in_chans=1)
    x, y = torch.randn(4, 1, size, size), torch.tensor([0, 1, 1, 0])
    settle(net, torch.randn(32, 1, size, size))
    net.eval()
    with torch.no_grad():
        logits, ends = net(x), net.endpoints(x)
        assert logits.shape == (4, 2)
        assert torch.isfinite(logits).all()
        assert torch.allclose(
            net(x[:1]), logits[:1], atol=1e-3, rtol=1e-3
        )  # a batch of one, to the rounding of 152 layers
    stages = [stage for stage, _ in net.stages.named_children()]
    assert list(ends) == ["stem", *stages, "features", "pooled", "logits"]
    assert torch.equal(ends["logits"], logits)
    assert torch.equal(ends["features"], ends[stages[-1]])
    net.train()
    found = {key: 0.0 for key, _ in net.named_parameters()}
    for attempt in range(3):  # a dead ReLU or a dropped unit may silence a parameter once
        torch.manual_seed(attempt)
        for key, gradient in gradients(net, torch.randn(4, 1, size, size), y).items():
            assert gradient is not None, key
            assert torch.isfinite(gradient).all(), key
            found[key] += float(gradient.abs().sum())
    assert [key for key, value in found.items() if value == 0.0] == []


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("in_chans", [1, 3, 4])
def test_any_number_of_channels_and_classes(name, in_chans):
    net, size = smallest(name, num_classes=7, in_chans=in_chans)
    assert net.eval()(torch.randn(2, in_chans, size, size)).shape == (2, 7)


@pytest.mark.parametrize("name", FAMILIES)
def test_larger_images_than_it_was_built_for(name):
    net, size = smallest(name, num_classes=3, in_chans=1)
    assert net.eval()(torch.randn(2, 1, size + 16, size + 16)).shape == (2, 3)


@pytest.mark.parametrize("name", FAMILIES)
def test_spec_rebuilds_and_state_loads(name):
    net, size = smallest(name, num_classes=3, in_chans=1)
    spec = dict(net.spec)
    again = create_model(spec.pop("model"), **spec)
    again.load_state_dict(net.state_dict())
    x = torch.randn(2, 1, size, size)
    assert torch.equal(net.eval()(x), again.eval()(x))


@pytest.mark.parametrize("name", list_models())
def test_too_small_an_image_is_refused_with_the_smallest(name):
    known = architecture(name)
    for small in {False, known.small_min_size is not None}:
        with pytest.raises(UsageError, match=f"smallest is {known.smallest(small)} px"):
            create_model(name, image_size=known.smallest(small) - 1, small=small)


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18", "resnet20"])
def test_frozen_stages_keep_weights_and_statistics(name):
    net, size = smallest(name, num_classes=3, in_chans=1)
    net.freeze("stage1")
    net.train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameter_groups(0.0), 0.1)
    gradients(net, torch.randn(4, 1, size, size), torch.tensor([0, 1, 2, 0]))
    optimizer.step()
    after = net.state_dict()
    for key, value in before.items():
        frozen = key.startswith(("stem.", "stages.stage1."))
        if frozen:
            assert torch.equal(value, after[key]), key
    assert any(not torch.equal(value, after[key]) for key, value in before.items())
    with pytest.raises(UsageError, match="stage9"):
        net.freeze("stage9")


@pytest.mark.parametrize("name", FAMILIES)
def test_parameter_groups_hold_each_parameter_once(name):
    net, _ = smallest(name, num_classes=3)
    decayed, rest = net.parameter_groups(0.1)
    assert len(decayed["params"]) + len(rest["params"]) == len(list(net.parameters()))
    assert rest["weight_decay"] == 0.0
    if not name.startswith("lenet5"):  # trained subsampling has coefficients of three dimensions
        assert all(p.ndim == 1 for p in rest["params"])
    (everything,) = net.parameter_groups(0.1, decay_all=True)
    assert len(everything["params"]) == len(list(net.parameters()))


@pytest.mark.parametrize("name", FAMILIES)
def test_reset_head(name):
    net, size = smallest(name, num_classes=3, in_chans=1)
    net.reset_head(6)
    assert net.eval()(torch.randn(2, 1, size, size)).shape == (2, 6)
    assert net.spec["num_classes"] == 6


def test_the_same_seed_gives_the_same_weights():
    for name in FAMILIES:
        a, b = smallest(name)[0].state_dict(), smallest(name)[0].state_dict()
        assert all(torch.equal(a[k], b[k]) for k in a), name


# What another value of each argument is. `image_size` changes nothing in networks that pool globally: they take any.
OTHER = {
    "num_classes": 5,
    "in_chans": 4,
    "image_size": 48,
    "small": False,
    "j": 30.0,
    "reset_scale": 1.0,
    "pool": "avg",
    "groups": 1,
    "dropout": 0.9,
    "init": "paper",
    "configuration": "B",
    "batch_norm": True,
    "units": (1, 1, 1),
    "block": "basic",
    "width": 8,
    "shortcut": "none",
    "stride_in": "1x1",
    "zero_init": True,
}
BASE = {
    "lenet5": {},
    "lenet5_modern": {},
    "alexnet": {},
    "alexnet_owt": {},
    "vgg11": {},
    "resnet50": {},
    "resnet20": {},
}
ARGUMENTS = [(n, key) for n in BASE for key in inspect.signature(architecture(n).build).parameters if key != "self"]


@pytest.mark.parametrize(("name", "key"), ARGUMENTS)
def test_every_argument_changes_something(name, key):
    known = architecture(name)
    if key == "image_size" and known.family.startswith("ResNet"):
        pytest.skip("global pooling: any image size, the same network")
    small = {"small": True} if known.small_min_size is not None else {}
    base = {"num_classes": 3, "in_chans": 1, "image_size": 67 if key == "small" else 32, **small}

    def fingerprint(**arguments):
        torch.manual_seed(0)
        net = create_model(name, **{**base, **arguments})
        torch.manual_seed(1)
        x = torch.randn(3, net.spec["in_chans"], base["image_size"], base["image_size"])
        loss = net.train().training_loss(x, torch.tensor([0, 1, 2]), F.cross_entropy)
        return {k: tuple(v.shape) for k, v in net.state_dict().items()}, float(loss.detach())

    assert fingerprint() != fingerprint(**{key: OTHER[key]})


def test_registry_finds_names_and_says_the_closest():
    assert list_models("resnet*").index("resnet20") < list_models("resnet*").index("resnet110")
    with pytest.raises(UsageError, match="resnet50"):
        create_model("resnet5O")
    with pytest.raises(UsageError, match="dropout"):
        create_model("vgg11", dropuot=0.1)
    with pytest.raises(UsageError, match="at least 2"):
        create_model("lenet5", num_classes=1)
    with pytest.raises(UsageError, match="at least 1"):
        create_model("lenet5", in_chans=0)
    with pytest.raises(ValueError, match="two architectures"):
        register(nn.Module, {"lenet5": {}})
