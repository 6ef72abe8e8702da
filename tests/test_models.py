"""The contract, over every registered network."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from conftest import FEW, SAMPLE, sampled
from podium.data.sources import load_data
from podium.errors import UsageError
from podium.models import architecture, list_models
from podium.models.modules import Grid, ZeroPaddedMaxPool2d
from podium.models.registry import register
from podium.models.undrawn import meta
from podium.weights.create import create_model

NAMES = list_models()
FAMILIES = [
    "lenet5",
    "lenet5_modern",
    "alexnet",
    "alexnet_owt",
    "zfnet",
    "vgg11",
    "vgg11_bn",
    "googlenet",
    "googlenet_tv",
    "bn_inception",
    "inception_v3",
    "inception_v4",
    "inception_resnet_v1",
    "inception_resnet_v2",
    "resnet18",
    "resnet50_v1",
    "resnet20",
    "resnetv2_18",
    "resnetv2_50_slim",
    "resnext50_32x4d",
    "seresnet18",
    "xception",
    "mobilenet_v1",
    "densenet121",
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


def test_the_sample_has_every_family():
    assert {architecture(name).family for name in SAMPLE} == {architecture(name).family for name in list_models()}


@pytest.mark.parametrize("name", sampled(NAMES))
def test_contract(name):
    net, size = smallest(name, num_classes=2, in_chans=1)
    x, y = torch.randn(4, 1, size, size), torch.tensor([0, 1, 1, 0])
    settle(net, torch.randn(32, 1, size, size))
    net.eval()
    with torch.no_grad():
        logits, ends = net(x), net.endpoints(x)
        assert logits.shape == (4, 2)
        assert torch.isfinite(logits).all()
        assert (net(x[:1]) - logits[:1]).norm() <= 1e-2 * logits[
            :1
        ].norm()  # a batch of one, to rounding: up to 0.6 % in 1,001 layers
    stages = [stage for stage, _ in net.stages.named_children()]
    auxiliary = [f"auxiliary.{stage}" for stage in net.auxiliary]
    assert list(ends) == ["stem", *stages, "features", "pooled", "logits", *auxiliary]
    assert all(ends[key].shape == (4, 2) for key in auxiliary)
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
    net.freeze(stages[0])
    left = [key for key, p in net.named_parameters() if p.requires_grad]
    assert left == [key for key in found if not key.startswith(("stem.", f"stages.{stages[0]}."))]
    net.reset_head(3)
    with torch.no_grad():
        assert net.eval()(x[:1]).shape == (1, 3)


@pytest.mark.parametrize("name", sampled(FAMILIES))
@pytest.mark.parametrize("in_chans", sampled([4, 1, 3], 1))
def test_any_number_of_channels_and_classes(name, in_chans):
    net, size = smallest(name, num_classes=7, in_chans=in_chans)
    assert net.eval()(torch.randn(2, in_chans, size, size)).shape == (2, 7)


@pytest.mark.parametrize("name", sampled(NAMES))
def test_every_name_takes_channels_and_has_rates_by_depth(name):
    """Shapes alone, so that the largest are quick: any number of channels, and a smaller rate from each stage to the one before."""
    for in_chans in (1, 3, 4):
        net = meta(lambda in_chans=in_chans: smallest(name, num_classes=7, in_chans=in_chans)[0]).eval()
        size = net.spec["image_size"]
        assert net(torch.empty(2, in_chans, size, size, device="meta")).shape == (2, 7)
    scales = {p: group["scale"] for group in net.parameter_groups(0.1, layer_decay=0.5) for p in group["params"]}
    parts = [net.stem, *net.stages, nn.ModuleList([net.head, net.auxiliary])]
    for depth, part in enumerate(reversed(parts)):
        assert all(scales.pop(p) == 0.5**depth for p in part.parameters())
    assert not scales


@pytest.mark.parametrize("name", sampled(FAMILIES))
def test_larger_images_than_it_was_built_for(name):
    net, size = smallest(name, num_classes=3, in_chans=1)
    assert net.eval()(torch.randn(2, 1, size + 16, size + 16)).shape == (2, 3)


@pytest.mark.parametrize("name", sampled(FAMILIES))
def test_spec_rebuilds_and_state_loads(name):
    net, size = smallest(name, num_classes=3, in_chans=1)
    spec = dict(net.spec)
    again = create_model(spec.pop("model"), **spec)
    again.load_state_dict(net.state_dict())
    x = torch.randn(2, 1, size, size)
    assert torch.equal(net.eval()(x), again.eval()(x))


def test_the_pool_of_keras_reads_zeros_around_a_map():
    """Where all is below zero, as may be in front of a pre-activated unit, the border is zero: Keras pads by a layer of its own."""
    x = torch.arange(-25.0, 0.0).reshape(1, 1, 5, 5)
    padded = ZeroPaddedMaxPool2d(3, 2, padding=1)(x)
    assert padded.tolist() == [[[[0, 0, 0], [0, -7, 0], [0, 0, 0]]]]
    slim, keras = (
        create_model("resnetv2_50_slim", zeros_in_pool=zeros, num_classes=2, units=(1, 1)) for zeros in (False, True)
    )
    keras.load_state_dict(slim.state_dict())
    image = torch.randn(1, 3, 64, 64, generator=torch.manual_seed(0))
    maps = slim.stem(image), keras.stem(image)
    assert torch.equal(maps[0][..., 1:, 1:], maps[1][..., 1:, 1:])
    assert torch.equal(maps[0].clamp(min=0), maps[1].clamp(min=0))
    assert not torch.equal(*maps)


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


@pytest.mark.parametrize("name", sampled(FAMILIES))
def test_parameter_groups_hold_each_parameter_once(name):
    net, _ = smallest(name, num_classes=3)
    decayed, rest = net.parameter_groups(0.1)
    assert len(decayed["params"]) + len(rest["params"]) == len(list(net.parameters()))
    assert decayed["scale"] == rest["scale"] == 1.0
    assert rest["weight_decay"] == 0.0
    names = {id(p): key for key, p in net.named_parameters()}
    plain = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    biases = {
        key for key in names.values() if key.endswith("bias")
    }  # LeNet-5's subsampling has some of three dimensions
    assert {names[id(p)] for p in rest["params"]} == biases | {names[id(m.weight)] for m in plain}
    (everything,) = net.parameter_groups(0.1, decay_all=True)
    assert len(everything["params"]) == len(list(net.parameters()))


@pytest.mark.parametrize("name", sampled(FAMILIES))
def test_layer_wise_rates_fall_from_the_head_to_the_stem(name):
    net, _ = smallest(name, num_classes=3)
    scales = {p: g["scale"] for g in net.parameter_groups(0.1, layer_decay=0.5) for p in g["params"]}
    assert len(scales) == len(list(net.parameters()))
    stages = list(net.stages.children())
    assert all(scales[p] == 1.0 for p in net.head.parameters())
    for depth, stage in enumerate(reversed(stages), 1):
        assert all(scales[p] == 0.5**depth for p in stage.parameters())
    assert all(scales[p] == 0.5 ** (len(stages) + 1) for p in net.stem.parameters())


@pytest.mark.parametrize("name", sampled(FAMILIES))
def test_reset_head(name):
    net, size = smallest(name, num_classes=3, in_chans=1)
    net.reset_head(6)
    assert net.eval()(torch.randn(2, 1, size, size)).shape == (2, 6)
    assert net.spec["num_classes"] == 6


@pytest.mark.parametrize("classes", [1, 0, -3])
def test_a_head_has_at_least_two_classes(classes):
    net = smallest("resnet20")[0]
    before = net.head.classifier
    with pytest.raises(UsageError, match=rf"num_classes={classes}\nfix: give at least 2"):
        net.reset_head(classes)
    assert net.head.classifier is before


def test_the_same_seed_gives_the_same_weights():
    for name in ("lenet5", "alexnet", "vgg11", "googlenet", "inception_v3", "resnet20", "xception"):  # one for each way
        a, b = smallest(name)[0].state_dict(), smallest(name)[0].state_dict()
        assert all(torch.equal(a[k], b[k]) for k in a), name


def test_auxiliary_classifiers_count_in_the_loss_and_are_not_shipped():
    """0.3 of each one's loss in training [Szegedy et al. 2014, section 5]; `forward` gives logits all the same."""
    net, size = smallest("googlenet", num_classes=3, in_chans=1, dropout=0.0)
    for head in net.auxiliary.values():
        head.hidden[2].p = 0.0
    x, y = torch.randn(4, 1, size, size), torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        ends = net.train().endpoints(x)
        losses = [F.cross_entropy(ends[k], y) for k in ("logits", "auxiliary.inception4a", "auxiliary.inception4d")]
        assert torch.allclose(net.training_loss(x, y, F.cross_entropy), losses[0] + 0.3 * (losses[1] + losses[2]))
        assert torch.equal(net(x), ends["logits"])
        bare = net.eval().strip()
        assert torch.equal(bare(x), net(x))
    assert not list(bare.auxiliary)
    assert bare.spec["aux"] is False
    assert len(list(net.auxiliary)) == 2, "the network itself keeps its own"
    assert not any(key.startswith("auxiliary") for key in bare.state_dict())


@pytest.mark.parametrize("name", sampled(FAMILIES))
def test_endpoints_stay_as_they_were(name):
    """No stage begins with an operation in place, which would change what the one before has given."""
    net, size = smallest(name, num_classes=3, in_chans=1)
    with torch.no_grad():
        seen = [(part, out, out.clone()) for part, out in net.eval().walk(torch.randn(2, 1, size, size))]
    assert [part for part, out, copied in seen if not torch.equal(out, copied)] == []


@pytest.mark.parametrize("name", sampled([*FAMILIES, "senet154", "resnetv2_164", "inception_resnet_v2_figures"], FEW))
def test_feature_info_is_what_the_maps_are(name):
    net = meta(lambda: create_model(name))
    info, size = net.feature_info(), net.spec["image_size"]
    with torch.no_grad():
        maps = dict(net.walk(torch.zeros(1, net.spec["in_chans"], size, size, device="meta")))
    assert list(info) == list(maps)
    for part, (channels, stride) in info.items():
        assert channels == maps[part].shape[1]
        assert stride in (1, 2, 4, 8, 16, 32)
        assert abs(size / stride - maps[part].shape[-1]) < 7  # what VALID convolutions leave off


@pytest.mark.parametrize("name", sampled(FAMILIES, FEW))
def test_dense_form_is_the_network_at_its_own_size(name):
    known = architecture(name)
    small = {"small": True} if known.small_min_size is not None else {}
    size = 24 if small else known.input_size
    net = create_model(name, num_classes=5, in_chans=1, image_size=size, **small)
    settle(net, torch.randn(8, 1, size, size))
    net.eval()
    dense = net.to_dense()
    x = torch.randn(2, 1, size, size)
    with torch.no_grad():
        logits, scores = net(x), dense(x)
        assert scores.shape == (2, 5, 1, 1)
        assert float((scores.flatten(1) - logits).norm()) <= 1e-5 * float(logits.norm())
        wide = dense(torch.randn(1, 1, size + 32, size + 64))
    assert wide.shape[:2] == (1, 5)
    assert wide.shape[2] > 1
    assert wide.shape[3] > wide.shape[2]
    shared = {p.data_ptr() for p in net.parameters()}
    assert all(p.data_ptr() in shared for p in dense.parameters())


@pytest.mark.parametrize(
    ("name", "size", "window", "places"),
    [
        ("alexnet", 55, 55, (1, 2)),
        ("alexnet", 63, 55, (2, 3)),
        ("alexnet_owt", 75, 55, (3, 4)),
        ("zfnet", 71, 55, (3, 4)),
        ("vgg11", 256, 224, (2, 2)),
        ("article_vgg11_mnist", 36, 28, (3, 5)),
        ("lenet5", 32, 32, (1, 3)),
    ],
)
def test_dense_form_is_the_heads_answer_to_each_window_of_the_last_map(name, size, window, places):
    """VGG, section 3.2, at sizes above the one that fully connected layers are made for: the same layers at each place."""
    small = {"small": True} if architecture(name).small_min_size is not None else {}
    torch.manual_seed(0)
    net = create_model(name, num_classes=4, in_chans=1, image_size=size, **small).eval()
    side = net.head.pool.side if isinstance(net.head.pool, Grid) else net.head.pool.output_size
    x = torch.randn(1, 1, size, size + (8 if size < 200 else 0))
    with torch.no_grad():
        scores, maps = net.to_dense()(x), net.forward_features(x)
        windows = maps.unfold(2, side, 1).unfold(3, side, 1)  # (1, C, h, w, side, side)
        apart = [[net.head(windows[:, :, i, j]) for j in range(windows.shape[3])] for i in range(windows.shape[2])]
        expected = torch.stack([torch.stack(row, -1) for row in apart], -2)
        one = create_model(name, num_classes=4, in_chans=1, image_size=window, **small)
    assert scores.shape[2:] == expected.shape[2:] == places
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert [p.shape for p in net.parameters()] == [p.shape for p in one.parameters()]


@pytest.mark.parametrize("name", ["lenet5", "lenet5_modern"])
def test_dense_form_without_padding_is_the_network_on_each_crop(name):
    torch.manual_seed(0)
    net = create_model(name, num_classes=4).eval()
    x = torch.randn(2, 1, 40, 48)
    with torch.no_grad():
        scores = net.to_dense()(x)
        assert scores.shape == (2, 4, 3, 5)
        for i in range(3):
            for j in range(5):  # two pools of 2x2: a place is 4 pixels
                crop = x[:, :, 4 * i : 4 * i + 32, 4 * j : 4 * j + 32]
                torch.testing.assert_close(scores[:, :, i, j], net(crop), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_dense_form_with_padding_sees_beyond_the_crop():
    torch.manual_seed(0)
    net = create_model("alexnet", num_classes=4, in_chans=1, image_size=55, small=True).eval()
    x = torch.randn(1, 1, 63, 63)
    dense, own, crop = net.to_dense(), x[..., :55, :55], net(x[..., :55, :55])
    torch.testing.assert_close(dense(own)[..., 0, 0], crop)
    assert (dense(x)[..., 0, 0] - crop).abs().max() > 0.01 * crop.abs().max()


@pytest.mark.parametrize("name", sampled(FAMILIES, FEW))
def test_checkpointing_gives_the_same_gradients_and_statistics(name):
    def step(checkpointing):
        net, size = smallest(name, num_classes=3, in_chans=1)
        net.checkpointing = checkpointing
        torch.manual_seed(1)
        x, y = torch.randn(4, 1, size, size), torch.tensor([0, 1, 2, 0])
        found = gradients(net.train(), x, y)
        return found, dict(net.named_buffers())

    (plain, buffers), (again, same) = step(False), step(True)
    assert all(torch.allclose(plain[k], again[k], atol=1e-6) for k in plain)
    assert all(torch.equal(buffers[k], same[k]) for k in buffers), "statistics count a batch once"


# What another value of each argument is, for all networks or for one.
OTHER = {
    "num_classes": 5,
    "in_chans": 4,
    "image_size": 48,
    "small": False,
    "aux": False,
    "batch_norm": True,
    "bias": True,
    "block": "basic",
    "resnetv2_18.block": "bottleneck",
    "blocks": (1, 1, 1),
    "configuration": "B",
    "count_padding": True,
    "dropout": 0.9,
    "eps": 0.1,
    "five": 3,
    "form": "slim",
    "group_width": 8,
    "groups": 2,
    "alexnet.groups": 1,
    "growth": 8,
    "init": "paper",
    "j": 30.0,
    "layers": (1, 1),
    "pool": "ceil",
    "lenet5_modern.pool": "avg",
    "senet154.pool": "half",
    "xception.pool": "half",
    "projection": 96,
    "released": True,
    "reset_scale": 1.0,
    "scales": (0.3, 0.3, 0.3),
    "se": 4,
    "senet154.se": 8,
    "se_relu": True,
    "shortcut": "none",
    "resnetv2_18.shortcut": "A",
    "resnetv2_50.shortcut": "A",
    "resnetv2_164.shortcut": "A",
    "six": True,
    "stem_width": 32,
    "stride_in": "1x1",
    "units": (1, 1, 1),
    "version": 1,
    "width": 8,
    "mobilenet_v1.width": 0.5,
    "widths": (16, 16, 16),
    "zero_init": True,
}
BASE = {
    "lenet5": {},
    "lenet5_modern": {},
    "alexnet": {},
    "alexnet_owt": {},
    "zfnet": {},
    "vgg11": {},
    "googlenet": {},
    "bn_inception": {},
    "inception_v3": {},
    "inception_v4": {},
    "inception_resnet_v2_figures": {},
    "resnet50": {"units": (1, 2)},
    "resnet20": {},
    "resnetv2_18": {"units": (1, 2)},
    "resnetv2_50": {"units": (1, 2)},
    "resnetv2_164": {"units": (1, 1)},
    "resnext29_8x64d": {"groups": 4, "group_width": 16},
    "senet154": {"units": (1, 1)},
    "xception": {},
    "mobilenet_v1": {},
    "densenet121": {"layers": (2, 2)},
}
# Where an argument has nothing to change: the stride's place is a bottleneck's, in whose networks "B" is the shortcut; behind a ReLU,
# as in the paper's form, zeros around a map are never above what is in it.
IDLE = {
    ("resnetv2_18", "stride_in"),
    ("resnetv2_164", "stem_width"),
    ("resnetv2_18", "zeros_in_pool"),
    ("resnetv2_50", "zeros_in_pool"),
}
ARGUMENTS = [
    (name, key)
    for name in BASE
    for key in {**inspect.signature(architecture(name).build).parameters, **architecture(name).own}
    if key != "design" and (name, key) not in IDLE
]
OF_THE_FULL_FORM = {"pool", "small"}  # the small forms have no pool in the stem


@pytest.mark.parametrize(("name", "key"), sampled(ARGUMENTS, FEW))
def test_every_argument_changes_something(name, key):
    known = architecture(name)
    if key == "image_size" and not isinstance(meta(lambda: create_model(name)).head.pool, Grid | nn.AdaptiveAvgPool2d):
        pytest.skip("global pooling: any image size, the same network")
    small = {"small": key not in OF_THE_FULL_FORM or key == "small"} if known.small_min_size is not None else {}
    size = max(67, known.min_size) if key in OF_THE_FULL_FORM else 32
    base = {"num_classes": 3, "in_chans": 1, "image_size": size, **small, **BASE[name]}

    def fingerprint(**arguments):
        torch.manual_seed(0)
        net = create_model(name, **{**base, **arguments})
        torch.manual_seed(1)
        x = torch.randn(3, net.spec["in_chans"], size, size)
        loss = net.train().training_loss(x, torch.tensor([0, 1, 2]), F.cross_entropy)
        return {k: tuple(v.shape) for k, v in net.state_dict().items()}, loss.item()

    assert fingerprint() != fingerprint(**{key: OTHER.get(f"{name}.{key}", OTHER.get(key))})


# LeNet-5's own loss and rate are tested with its recipe; the others left out are a class that is there already.
LEARNERS = sorted({*FAMILIES} - {"lenet5", "googlenet_tv", "inception_resnet_v1", "resnet50_v1", "resnext50_32x4d"})


@pytest.mark.parametrize("name", sampled(LEARNERS, FEW))
def test_every_family_learns_from_the_digits(name):
    """Eight steps on sixteen digits, in the small form: the loss falls, and where there are batch norms by a fifth at least."""
    known = architecture(name)
    small = {"small": True} if known.small_min_size is not None else {}
    torch.manual_seed(0)
    net = create_model(name, num_classes=10, in_chans=1, image_size=16, **small)
    data = load_data("digits").splits["train"]
    x = torch.tensor(data.pixels[:16, ::2, ::2]).permute(0, 3, 1, 2).float() / 128 - 1
    y = torch.tensor(data.labels[:16])
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = net.train().training_loss(x, y, F.cross_entropy)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    normed = any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert sum(losses[-3:]) / 3 < (0.8 if normed else 1.0) * losses[0]


def test_registry_finds_names_and_says_the_closest():
    assert list_models("resnet*").index("resnet20") < list_models("resnet*").index("resnet110")
    with pytest.raises(UsageError, match="resnet50"):
        create_model("resnet5O")
    with pytest.raises(UsageError, match="dropout"):
        create_model("vgg11", dropuot=0.1)
    with pytest.raises(UsageError, match=r"did you mean num_classes\?"):
        create_model("resnet20", num_clases=3)
    with pytest.raises(UsageError, match="it takes configuration"):
        create_model("vgg16", width=8)
    with pytest.raises(UsageError, match="at least 2"):
        create_model("lenet5", num_classes=1)
    with pytest.raises(UsageError, match="at least 1"):
        create_model("lenet5", in_chans=0)
    with pytest.raises(ValueError, match="two architectures"):
        register(nn.Module, {"lenet5": {}})


@pytest.mark.parametrize(
    ("name", "argument"),
    [("resnet18", {"shortcut": "Z"}), ("lenet5_modern", {"pool": "mean"}), ("alexnet", {"init": "glorot"})],
)
def test_a_value_that_an_argument_does_not_have_is_refused_by_name(name, argument):
    (key, value) = next(iter(argument.items()))
    with pytest.raises(UsageError, match=f"{name}: {key}='{value}'") as refused:
        create_model(name, **argument)
    assert "give one of '" in refused.value.fix


NAN, INF, HUGE = float("nan"), float("inf"), 10**400
IMPOSSIBLE = {  # values that an argument cannot have, by the kind of its default
    bool: ["yes", 1, None, HUGE],
    int: [-1, 1.5, NAN, True, "10", 10**12, HUGE, [3], b"x"],
    float: [-0.5, NAN, INF, True, "0.5", HUGE, None, (0.5,)],
    str: ["bottelneck", 0, True, NAN, ""],
    tuple: [(), 3, "33", (0, 0, 0), (NAN, 1, 1), (True, 1, 1), (10**12, 1, 1), (2,) * 99],
}


@pytest.mark.parametrize("name", sampled(NAMES))
def test_impossible_values_of_every_argument_of_every_network_are_refused_by_name(name):
    known = architecture(name)
    arguments = {"num_classes": 10, "in_chans": 3, "image_size": 64, "small": False, **known.own}
    for key, default in arguments.items():
        of_tuple = {"hidden": [(64,), (0, 64)], "units": [(1.5, 2)], "widths": [(1.5, 2, 2)]}.get(key, [])
        zero = [0] if type(default) is int and key != "se" else []
        for value in [*IMPOSSIBLE.get(type(default), [NAN, True, HUGE, ()]), *zero, *of_tuple]:
            with pytest.raises(UsageError) as refused:
                create_model(name, **{key: value})
            assert key in refused.value.what, (key, value)
            assert refused.value.fix, (key, value)


@pytest.mark.parametrize(
    ("name", "arguments", "what", "fix"),
    [
        ("resnet18", {"block": "bottelneck"}, "resnet18: block='bottelneck'", "give one of 'basic', 'bottleneck'"),
        ("resnetv2_18", {"shortcut": "D"}, "resnetv2_18: shortcut='D'", "give one of 'A', 'B'"),
        ("resnet20", {"width": 0}, "resnet20: width=0", "give at least 1"),
        ("mobilenet_v1", {"width": 0}, "mobilenet_v1: width=0", "give more than 0"),
        ("vgg11", {"num_classes": "10"}, "num_classes: '10' is a text", "give the number: num_classes=10"),
        ("resnet50", {"width": 64.5}, "width: 64.5", "give a whole number"),
        ("vgg16", {"dropout": 1.0}, "vgg16: dropout=1.0", "below 1"),
        ("zfnet", {"widths": (384, 384)}, "zfnet: widths=(384, 384)", "give 3 values"),
        ("densenet121", {"layers": []}, "densenet121: layers=[]", "give from 1 to 16 values"),
        ("alexnet", {"groups": 5}, "alexnet cannot be built with groups=5: ", "change groups"),
        ("densenet121", {"layers": (1,) * 7}, "densenet121 cannot be built with layers=(1, 1, 1, 1, 1, 1, ...): ", "change layers"),
        ("googlenet", {"five": 4}, "googlenet cannot be built with five=4: ", "change five"),
        ("resnet50", {"width": 90_000}, "resnet50 with width=90000 has ", "give smaller numbers"),
        ("resnet18", {"num_classes": 10**9}, "resnet18 with num_classes=1000000000 has 2,052 GB of weights", "give smaller"),
    ],
)  # fmt: skip
def test_an_argument_that_makes_no_network_is_refused_in_two_lines_with_a_mend(name, arguments, what, fix):
    with pytest.raises(UsageError) as refused:
        create_model(name, **arguments)
    assert str(refused.value.what).startswith(what)
    assert fix in refused.value.fix
    assert "\n" not in refused.value.what + refused.value.fix
