"""A checkpoint that prepares pixels itself gives the probabilities it had, or is refused with a mend that works."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

import podium
from command import inside
from conftest import sampled
from keras_layouts import Configured, dot_keras, numbered_h5, old_h5
from podium.errors import ModelFileError, UsageError
from podium.weights import foreign
from podium.weights.create import create_model
from podium.weights.foreign import Checkpoint
from podium.weights.keras_files import read_keras
from podium.weights.keras_layers import to_torch
from podium.weights.pickled import read_pickled

RESNET20, MOBILENET = "akamaster:resnet20", "keras:MobileNet_0.25"
BACK = (("stem.", ""), ("stages.stage", "layer"), (".residual.", "."), ("head.classifier.", "linear."))
CIFAR10 = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch, request):
    """Files are read here by what a child process reads them with otherwise."""

    def read(program, path):
        if program == foreign._READ_KERAS:
            model = read_keras(path)
            front = model.front and dataclasses.replace(model.front)
            return Checkpoint(to_torch(model.layers), front=front, problem=model.problem, notes=model.notes)
        tensors, beside, named = read_pickled(path)
        return Checkpoint(tensors, tuple(beside), named=named)

    if "child" not in request.node.name:
        monkeypatch.setattr(foreign, "_in_a_child", read)


def squares(side, count=2):
    """Images of uint8 (N, S, S, C)."""
    return np.random.default_rng(3).integers(0, 256, (count, side, side, 3), np.uint8)


# --- torch


class Normalize(nn.Module):
    """As people write it, in front of a network."""

    def __init__(self, mean, std, shape=(3,), names=("mean", "std")):
        super().__init__()
        self.names = names
        for name, values in zip(names, (mean, std), strict=True):
            self.register_buffer(name, torch.tensor(values).reshape(shape))

    def forward(self, x):
        mean, std = (getattr(self, name).reshape(1, -1, 1, 1) for name in self.names)
        return (x - mean) / std


class Wrapped(nn.Module):
    """A network that normalises its input itself, with the layer after the network among its attributes."""

    def __init__(self, net, front, outer=False):
        super().__init__()
        self.net, self.normalizer = net, front
        if outer:
            self.register_buffer("mean", torch.zeros(3))
            self.register_buffer("std", torch.ones(3))

    def forward(self, x):
        return self.net(self.normalizer(x))


def resnet20():
    """ResNet-20 with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return create_model("resnet20", shortcut="A-split", num_classes=10).eval()


def theirs(module):
    """The state dict with akamaster's names of the network's layers."""
    out = {}
    for key, value in module.state_dict().items():
        for ours, name in BACK:
            key = key.replace(ours, name)
        out[key] = value.clone()
    return out


def imported(content, tmp_path, **options):
    torch.save(content, tmp_path / "best.pth")
    return podium.import_weights(RESNET20, tmp_path / "best.pth", **options)


def answers_as(made, module, white=1.0):
    """Whether a bundle gives the probabilities of a module of torch, which gets pixels from 0 to `white`."""
    pixels = squares(32)
    x = torch.tensor(pixels).permute(0, 3, 1, 2).double() / 255 * white
    with torch.inference_mode():
        expected = module.double().eval()(x).softmax(1)
    module.float()
    return np.allclose(made.outputs(pixels)[1], expected.numpy(), atol=1e-5)


def by_one_more(front):
    return nn.Sequential(front, nn.Sequential(nn.Identity(), resnet20()))


TORCH = {
    "Sequential": lambda: nn.Sequential(Normalize(*CIFAR10), resnet20()),
    "a prefix": lambda: nn.ModuleDict({"model": nn.Sequential(Normalize(*CIFAR10, (1, 3, 1, 1)), resnet20())})["model"],
    "after the network": lambda: Wrapped(resnet20(), Normalize(*CIFAR10, (3, 1, 1))),
    "other names": lambda: Wrapped(resnet20(), Normalize(*CIFAR10, names=("new_mean", "new_std"))),
    "pixel_mean": lambda: Wrapped(resnet20(), Normalize(*CIFAR10, names=("pixel_mean", "pixel_std"))),
    "deeper": lambda: by_one_more(Normalize(*CIFAR10)),
    "one number": lambda: nn.Sequential(Normalize((0.5,), (0.25,), (1,)), resnet20()),
    "none at all": lambda: nn.Sequential(Normalize((0.0,) * 3, (1.0,) * 3), resnet20()),
}


@pytest.mark.parametrize("under", ["", "state_dict.module."])
@pytest.mark.parametrize("how", TORCH)
def test_a_layer_of_torch_that_normalises_is_the_preprocessing(how, under, tmp_path):
    module = TORCH[how]()
    made = imported({f"{under}{key}": value for key, value in theirs(module).items()}, tmp_path)
    assert answers_as(made, module)
    assert made.card["preprocessing_from"] == "the file"
    (said,) = [note for note in made.card["notes"] if "preprocessing" in note]
    assert "preprocessing from the file: " in said
    assert "for pixels from 0 to 1" in said
    assert not any("left out" in note for note in made.card["notes"])


def test_buffers_of_the_network_itself(tmp_path):
    net = resnet20()
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in CIFAR10)
    made = imported({"model": theirs(net) | {"mean": mean, "std": std}}, tmp_path)
    assert answers_as(made, nn.Sequential(Normalize(*CIFAR10), net))


def test_statistics_of_pixels_up_to_255(tmp_path):
    module = nn.Sequential(Normalize([255 * m for m in CIFAR10[0]], [255 * s for s in CIFAR10[1]]), resnet20())
    made = imported(theirs(module), tmp_path)
    assert made.preprocessing.mean == pytest.approx(CIFAR10[0])
    assert answers_as(made, module, white=255)


def test_each_set_of_weights_has_its_own_layer(tmp_path):
    """robustness keeps the network and its layer a second time in the attacker; EMA weights have one too."""
    plain, averaged = (nn.Sequential(Normalize((m,), (0.25,), (1,)), resnet20()) for m in (0.25, 0.5))
    with torch.no_grad():
        averaged[1].head.classifier.weight.mul_(2)
    states = {"model": theirs(plain), "model_ema": theirs(averaged)}
    assert answers_as(imported(states, tmp_path), plain)
    assert answers_as(imported(states, tmp_path, ema=True), averaged)
    attacked = {f"module.{place}{k}": v for place in ("", "attacker.") for k, v in theirs(plain).items()}
    assert answers_as(imported(attacked, tmp_path), plain)


def test_grey_after_a_layer_of_three_channels(tmp_path):
    """--in-chans 1 folds the file's own statistics into the first convolution."""
    module = nn.Sequential(Normalize(*CIFAR10), resnet20())
    grey = imported(theirs(module), tmp_path, in_chans=1)
    colour = imported(theirs(module), tmp_path)
    pixels = squares(32)[..., :1]
    expected = colour.outputs(np.repeat(pixels, 3, axis=3))[1]
    assert grey.outputs(pixels)[1] == pytest.approx(expected, abs=1e-5)


UNCLEAR = {
    "two that disagree": lambda: Wrapped(nn.Sequential(Normalize((0.5,), (0.5,), (1,)), resnet20()), Normalize(*CIFAR10)),
    "an outer one too": lambda: Wrapped(resnet20(), Normalize(*CIFAR10), outer=True),
    "no unit": lambda: nn.Sequential(Normalize(CIFAR10[0], [1 / s for s in CIFAR10[1]]), resnet20()),
    "four channels": lambda: nn.Sequential(Normalize((0.5,) * 3, (0.0,) * 3), resnet20()),
    "a variance": lambda: nn.Sequential(Normalize(*CIFAR10, names=("mean", "var")), resnet20()),
    "a batch norm": lambda: nn.Sequential(nn.BatchNorm2d(3, affine=False), resnet20()),
    "a convolution": lambda: nn.Sequential(nn.Conv2d(3, 3, 1), resnet20()),
}  # fmt: skip


@pytest.mark.parametrize("how", UNCLEAR)
def test_what_torch_does_to_pixels_is_refused_where_it_is_not_known_and_the_mend_works(how, tmp_path):
    content = theirs(UNCLEAR[how]())
    with pytest.raises(ModelFileError, match=r"best\.pth: what it does to pixels cannot be said as a mean") as caught:
        imported(content, tmp_path)
    assert "--mean M --std S" in caught.value.fix
    made = imported(content, tmp_path, mean=CIFAR10[0], std=CIFAR10[1])
    assert answers_as(made, nn.Sequential(Normalize(*CIFAR10), resnet20()))
    assert made.card["preprocessing_from"] == "--mean and --std"


def test_statistics_of_something_else_are_none_of_pixels(tmp_path):
    """Running statistics of features, of a loss, of a metric and of an optimiser."""
    other = {
        "loss.mean": torch.ones(3),
        "metrics.mean": torch.ones(1),
        "neck.mean": torch.ones(64),
        "best.mean": torch.ones(1),
    }
    made = imported({"net": theirs(resnet20()), "teacher": other}, tmp_path)
    assert made.preprocessing.mean == (0.485, 0.456, 0.406)
    assert "preprocessing_from" not in made.card


PAIR = {"mean": torch.tensor([0.3, 0.4, 0.5]), "std": torch.tensor([0.2, 0.3, 0.2])}
OTHERS = {  # a mean and a deviation that are of something else, beside a network's weights
    "a score": {"acc_mean": torch.tensor(0.91), "acc_std": torch.tensor(0.01)},
    "a history": {"history": {"mean": torch.tensor(0.3), "std": torch.tensor(0.2)}},
    "classes": {"class_mean": PAIR["mean"], "class_std": PAIR["std"]},
    "gradients": {"optimizer": {"grad_mean": torch.ones(1), "grad_std": torch.ones(1)}},
    "a layer of another network": {"teacher": {"norm": PAIR}},
    "a discriminator of images": {
        "discriminator": {"bn4.running_mean": PAIR["mean"], "out.weight": torch.ones(3, 3, 3, 3)}
    },
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_mean_of_something_else_changes_no_preprocessing(what, tmp_path):
    plain = imported({"state_dict": theirs(resnet20())}, tmp_path)
    made = imported({"state_dict": theirs(resnet20()), **OTHERS[what]}, tmp_path)
    assert made.preprocessing == plain.preprocessing


def test_a_mean_within_the_network_is_none_of_pixels(tmp_path):
    inside_it = {f"head.{name}": value for name, value in PAIR.items()}
    with pytest.raises(ModelFileError, match=r"2 unexpected: head\.mean, head\.std"):
        imported({**theirs(resnet20()), **inside_it}, tmp_path)


def test_the_callers_numbers_win_and_say_so(tmp_path):
    module = nn.Sequential(Normalize(*CIFAR10), resnet20())
    made = imported(theirs(module), tmp_path, mean=0.5, std=[0.25, 0.25, 0.25])
    assert answers_as(made, nn.Sequential(Normalize((0.5,), (0.25,), (1,)), module[1]))
    (said,) = [note for note in made.card["notes"] if "preprocessing" in note]
    assert said == (
        "preprocessing as --mean and --std say (mean 0.5; std 0.25), and not as 0.mean and 0.std in the file "
        "(mean 0.4914, 0.4822, 0.4465; std 0.247, 0.2435, 0.2616)"
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"mean": 0.5}, "mean: does nothing without std"),
        ({"std": 0.5}, "std: does nothing without mean"),
        ({"mean": 0.5, "std": 0}, "std: 0"),
        ({"mean": (0.5, 0.5), "std": 0.5}, "mean: 2 numbers, but the network in the file reads 3 channels"),
        ({"mean": (), "std": 0.5}, "mean: "),
    ],
)
def test_numbers_that_cannot_be_meant(given, says, tmp_path):
    with pytest.raises(UsageError, match=says) as caught:
        imported(theirs(resnet20()), tmp_path, **given)
    assert caught.value.fix


# --- Keras


def mobilenet(classes=5, width=0.25):
    """The layers of Keras's MobileNet with random weights."""
    random = np.random.default_rng(7)

    def norm(name, channels):
        values = [("gamma", 1.0), ("beta", 0.1), ("moving_mean", 0.1), ("moving_variance", 0.5)]
        return name, "BatchNormalization", [(leaf, np.full(channels, v, np.float32)) for leaf, v in values]

    def conv(name, leaf, shape, cls="Conv2D"):
        fan = np.prod(shape[:-1]) if leaf == "kernel" else shape[0] * shape[1]
        return name, cls, [(leaf, (random.standard_normal(shape) * np.sqrt(2 / fan)).astype(np.float32))]

    wide = [int(width * c) for c in (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)]
    before = int(width * 32)
    layers = [conv("conv1", "kernel", (3, 3, 3, before)), norm("conv1_bn", before)]
    for i, channels in enumerate(wide, 1):
        layers += [
            conv(f"conv_dw_{i}", "depthwise_kernel", (3, 3, before, 1), "DepthwiseConv2D"),
            norm(f"conv_dw_{i}_bn", before),
        ]
        layers += [conv(f"conv_pw_{i}", "kernel", (1, 1, before, channels)), norm(f"conv_pw_{i}_bn", channels)]
        before = channels
    name, cls, kernel = conv("conv_preds", "kernel", (1, 1, before, classes))
    return [*layers, (name, cls, [*kernel, ("bias", np.linspace(-1, 1, classes, dtype=np.float32))])]


def rescaling(scale, offset=0.0, name="rescaling", nodes=None):
    return name, "Rescaling", Configured(nodes=nodes, scale=scale, offset=offset)


MEAN, VARIANCE = np.array([120.0, 110.0, 100.0], np.float32), np.array([3600.0, 2500.0, 4900.0], np.float32)
NORMAL = Configured([("mean", MEAN), ("variance", VARIANCE), ("count", np.int64(0))], axis=[-1])
AUGMENT = [
    ("flip", "RandomFlip", Configured(mode="horizontal")),
    ("random_rotation", "RandomRotation", Configured(factor=0.1)),
]
INPUT = ("input_layer", "InputLayer", [])


def lambda_op(function, **given):
    """An operation of TensorFlow in a model of Keras 2."""
    return f"tf.{function}", "TFOpLambda", Configured(nodes=[["input_layer", 0, 0, given]], function=function)


def operation(cls, value, before="input_layer"):
    """The same in Keras 3."""
    history = {"shape": [None, 224, 224, 3], "keras_history": [before, 0, 0]}
    tensor = {"class_name": "__keras_tensor__", "config": history}
    return cls.lower(), cls, Configured(nodes=[{"args": [tensor, value], "kwargs": {}}])


TENSOR = operation("Cast", None)[2].nodes[0]["args"][0]
SMALL, HALF = rescaling(1 / 255), rescaling(1 / 127.5, -1)
# What stands in front, and the same arithmetic in numpy.
KERAS = {
    "1/255": ([INPUT, SMALL], lambda x: x / 255),
    "1/127.5 - 1": ([INPUT, HALF], lambda x: x / 127.5 - 1),
    "after augmentation": ([INPUT, ("sequential", "Sequential", AUGMENT), HALF], lambda x: x / 127.5 - 1),
    "before augmentation": ([INPUT, SMALL, *AUGMENT], lambda x: x / 255),
    "inside": ([INPUT, ("prepare", "Sequential", [*AUGMENT, SMALL])], lambda x: x / 255),
    "two after each other": ([SMALL, rescaling(2.0, -1.0, "rescaling_1")], lambda x: x / 255 * 2 - 1),
    "a number a channel": ([rescaling([0.01, 0.02, 0.03], [-1, -2, -3])], lambda x: x * (0.01, 0.02, 0.03) - (1, 2, 3)),
    "Normalization": ([INPUT, ("normalization", "Normalization", NORMAL)], lambda x: (x - MEAN) / np.sqrt(VARIANCE)),
    "its constants in the configuration": (
        [SMALL, ("norm", "Normalization", Configured(mean=[0.4, 0.5, 0.6], variance=[0.04, 0.05, 0.06]))],
        lambda x: (x / 255 - (0.4, 0.5, 0.6)) / np.sqrt((0.04, 0.05, 0.06)),
    ),
    "operations of Keras 2": (
        [INPUT, lambda_op("math.truediv", y=127.5, name=None), lambda_op("math.subtract", y=1.0, name=None)],
        lambda x: x / 127.5 - 1,
    ),
    "operations of Keras 3": (
        [INPUT, operation("TrueDivide", 127.5), operation("Subtract", 1.0, "truedivide")],
        lambda x: x / 127.5 - 1,
    ),
}  # fmt: skip
KERAS["operations of Keras 2"][0][2][2].nodes[0][0] = "tf.math.truediv"
WRITERS = {
    "keras2.h5": lambda path, layers: old_h5(path, layers, model=True),
    "keras3.h5": lambda path, layers: old_h5(path, layers, keras=3, model=True),
    "a.keras": dot_keras,
}


@pytest.mark.parametrize("name", sampled(WRITERS, ["a.keras"]))
@pytest.mark.parametrize("how", KERAS)
def test_what_a_keras_model_does_to_pixels_is_the_preprocessing(how, name, tmp_path):
    front, arithmetic = KERAS[how]
    made = podium.import_weights(MOBILENET, WRITERS[name](tmp_path / name, [*front, *mobilenet()]))
    pixels = squares(224, 1)
    fed = torch.tensor(arithmetic(pixels.astype(np.float64))).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        expected = made.model(fed).softmax(1).numpy()
    assert made.outputs(pixels)[1] == pytest.approx(expected, abs=1e-5)
    assert made.card["preprocessing_from"] == "the file"
    assert any("preprocessing from the file: " in note for note in made.card["notes"])


def test_the_card_has_the_plain_numbers(tmp_path):
    for layer, mean, std in ((SMALL, 0.0, 1.0), (HALF, 0.5, 0.5)):
        path = dot_keras(tmp_path / "a.keras", [layer, *mobilenet()])
        p = podium.import_weights(MOBILENET, path).preprocessing
        assert (p.mean, p.std, p.channel_order) == ((mean,) * 3, (std,) * 3, "rgb")


def test_a_model_without_such_a_layer_has_the_usual_preprocessing(tmp_path):
    path = dot_keras(tmp_path / "a.keras", [INPUT, *AUGMENT, ("conv1_pad", "ZeroPadding2D", []), *mobilenet()])
    made = podium.import_weights(MOBILENET, path)
    assert made.preprocessing.mean == (0.5, 0.5, 0.5)
    assert "preprocessing_from" not in made.card
    sized = dot_keras(tmp_path / "b.keras", [("resizing", "Resizing", Configured(height=180, width=180)), *mobilenet()])
    assert any("180x180" in note for note in podium.import_weights(MOBILENET, sized).card["notes"])


NO_SCALE = ("rescaling", "Rescaling", [])
REFUSED = {
    "a Lambda": ([INPUT, ("lambda", "Lambda", [])], dot_keras, "'lambda' (Lambda)"),
    "a class of one's own": ([("prepare", "Prepare", Configured(mean=3))], dot_keras, "'prepare' (Prepare)"),
    "after padding": ([("pad", "ZeroPadding2D", []), HALF], dot_keras, "pads"),
    "a branch": ([INPUT, rescaling(0.5, nodes=[[["input_layer", 0, 0, {}]]]), rescaling(0.1, name="other", nodes=[[["input_layer", 0, 0, {}]]])], dot_keras, "one after the other"),
    "weights alone": ([NO_SCALE], lambda path, layers: old_h5(path, layers), "by what 'rescaling' (Rescaling) multiplies"),
    "weights alone of Keras 3": ([NO_SCALE], numbered_h5, "by what 'rescaling' (Rescaling) multiplies"),
    "weights alone with an operation": ([("tf.math.truediv_1", "TFOpLambda", [])], lambda path, layers: old_h5(path, layers), "'tf.math.truediv_1'"),
}  # fmt: skip


@pytest.mark.parametrize("how", REFUSED)
def test_what_a_keras_model_does_to_pixels_is_refused_where_it_is_not_known_and_the_mend_works(how, tmp_path):
    front, write, says = REFUSED[how]
    path = write(tmp_path / "a.file", [*front, *mobilenet()])
    with pytest.raises(ModelFileError) as caught:
        podium.import_weights(MOBILENET, path)
    assert str(path) in caught.value.what
    assert says in caught.value.what
    assert "--mean M --std S" in caught.value.fix
    made = podium.import_weights(MOBILENET, path, mean=0, std=1)
    assert (made.preprocessing.mean, made.preprocessing.std) == ((0, 0, 0), (1, 1, 1))
    assert "preprocessing as --mean and --std say" in "\n".join(made.card["notes"])


def test_normalization_in_weights_alone(tmp_path):
    layers = [("normalization", "Normalization", NORMAL), *mobilenet()]
    for write in (old_h5, numbered_h5):
        p = podium.import_weights(MOBILENET, write(tmp_path / "a.file", layers)).preprocessing
        assert p.mean == pytest.approx(MEAN / 255)
        assert p.std == pytest.approx(np.sqrt(VARIANCE) / 255)


def test_blue_first(tmp_path):
    """`preprocess_input` of ResNet50 inside the model: the channels turned, then a mean taken off."""
    key = {"class_name": "__tuple__", "config": {"value": [{"class_name": "__ellipsis__", "config": {}},
           {"class_name": "__slice__", "config": {"start": None, "stop": None, "step": -1}}]}}  # fmt: skip
    mean = {"class_name": "__numpy__", "config": {"value": [-103.939, -116.779, -123.68], "dtype": "float32"}}
    front = [INPUT, operation("GetItem", key), operation("Add", mean, "getitem")]
    made = podium.import_weights(MOBILENET, dot_keras(tmp_path / "a.keras", [*front, *mobilenet()]))
    pixels = squares(224, 1)
    fed = torch.tensor(pixels[..., ::-1] - np.array((103.939, 116.779, 123.68))).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        expected = made.model(fed).softmax(1).numpy()
    assert made.outputs(pixels)[1] == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_the_command_reads_by_a_child_and_says_it(tmp_path):
    path = dot_keras(tmp_path / "a.keras", [SMALL, *mobilenet()])
    done = inside("import", MOBILENET, path, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "note: preprocessing from the file: rescaling (mean 0; std 1), for pixels from 0 to 1" in done.stderr
    assert json.loads((tmp_path / "out/card.json").read_text())["preprocessing"]["std"] == [1.0, 1.0, 1.0]
    done = inside("import", MOBILENET, path, "-o", tmp_path / "other", "--mean", "0.5,x", "--std", "1")
    assert done.returncode == 2
    assert "mean: '0.5,x'" in done.stderr
