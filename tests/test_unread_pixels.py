"""What may act on pixels and cannot be read from a torch checkpoint is refused, and what only looks so is not."""

import pytest
import torch
from safetensors.torch import save_file

import podium
from podium.errors import ModelFileError
from podium.weights.front import Front, prepare_as
from test_front import CIFAR10, RESNET20, imported, in_this_process, resnet20, theirs  # noqa: F401 - a fixture

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # akamaster's usual preprocessing
MEAN, STD = (torch.tensor(values) for values in CIFAR10)


def under(prefix, network=None):
    return {f"{prefix}{key}": value for key, value in (network or theirs(resnet20())).items()}


# Wrappers whose names are those of other things: the network's own mean beside its layers is of pixels all the same.
@pytest.mark.parametrize(
    "wrapper", ["weights", "best_weights", "history", "features", "fold0", "head", "output", "init"]
)
def test_a_mean_beside_the_networks_layers_is_of_pixels_whatever_the_dictionary_is_called(wrapper, tmp_path):
    made = imported({wrapper: {**theirs(resnet20()), "mean": MEAN, "std": STD}}, tmp_path)
    assert made.preprocessing.mean == pytest.approx(CIFAR10[0])
    assert made.card["preprocessing_from"] == "the file"


def test_a_mean_of_the_network_of_a_loss_is_none_of_ours(tmp_path):
    loss = {"loss.vgg.features.0.weight": torch.ones(64, 3, 3, 3), "loss.vgg.mean": MEAN, "loss.vgg.std": STD}
    made = imported({**under("net."), **loss}, tmp_path)
    assert made.preprocessing.mean == pytest.approx(IMAGENET[0])


UNREAD = {
    "a Normalize without buffers in a Sequential": (under("1."), "0 holds no weights, stands before the network"),
    "the same in a wrapper": ({"state_dict": under("module.1.")}, "state_dict.module.0 holds no weights"),
    "two of them": (under("2."), "0 holds no weights"),
    "scale and bias": ({**under("net."), "normalize.scale": STD, "normalize.bias": MEAN}, "normalize.scale may act on pixels"),
    "a deviation alone": ({**under("net."), "normalize.std": STD}, "normalize.std may act on pixels"),
    "a scale of the input": ({**under("net."), "input_scale": torch.tensor(255.0)}, "input_scale may act on pixels"),
    "a mean of tensors": ({"state_dict": theirs(resnet20()), "mean": tuple(MEAN), "std": tuple(STD)}, "mean is of a form that is not read"),
    "a mean in a dictionary": ({"state_dict": theirs(resnet20()), "mean": {0.5}, "std": {0.25}}, "mean is of a form that is not read"),
    "a pair without names": ({"state_dict": theirs(resnet20()), "normalize": CIFAR10}, "normalize is of a form that is not read"),
    "accuracies of three folds": ({"state_dict": theirs(resnet20()), "mean": [0.91, 0.92, 0.9], "std": [0.05, 0.04, 0.06]}, "or of accuracies"),
    "a mean for each fold": ({"state_dict": theirs(resnet20()), "mean": MEAN.repeat(3, 1), "std": STD.repeat(3, 1)}, "mean has 9 numbers"),
}  # fmt: skip


@pytest.mark.parametrize("how", UNREAD)
def test_what_may_act_on_pixels_is_refused_and_the_mend_works(how, tmp_path):
    content, says = UNREAD[how]
    with pytest.raises(ModelFileError) as caught:
        imported(content, tmp_path)
    assert says in caught.value.what
    assert "--mean M --std S" in caught.value.fix
    made = imported(content, tmp_path, mean=CIFAR10[0], std=CIFAR10[1])
    assert made.preprocessing.mean == pytest.approx(CIFAR10[0])


HARMLESS = {
    "folds by numbers from 1": {"models": {"1": theirs(resnet20()), "2": theirs(resnet20())}},
    "a network that numbers its layers": {"state_dict": under("0."), "epoch": 3},
    "sizes": {"state_dict": theirs(resnet20()), "image_size": torch.tensor(32), "input_channels": torch.tensor(3)},
    "settings": {"state_dict": theirs(resnet20()), "args": {"scale": [0.08, 1.0], "img_scale": [32, 32], "input_shift": 0.1}},
    "the kind of norm": {"state_dict": theirs(resnet20()), "norm": "batch"},
    "mean accuracies": {"state_dict": theirs(resnet20()), "metrics": {"mean": [0.7, 0.8, 0.9]}, "mean_acc": 0.8},
}  # fmt: skip


@pytest.mark.parametrize("how", HARMLESS)
def test_what_only_looks_so_is_no_reason_to_refuse(how, tmp_path):
    made = imported(HARMLESS[how], tmp_path)
    assert made.preprocessing.mean == pytest.approx(IMAGENET[0])


def transformed(x):
    """torchvision's `_transform_input` of GoogLeNet and Inception v3, as torchvision 0.29 has it."""
    channels = [x[:, i] * (s / 0.5) + (m - 0.5) / 0.5 for i, (m, s) in enumerate(zip(*IMAGENET, strict=True))]
    return torch.stack(channels, 1)


@pytest.mark.parametrize("before", [IMAGENET, CIFAR10, ((0.5,) * 3, (0.5,) * 3)])
def test_statistics_in_front_of_transform_input_are_refused_with_both_mends(before):
    """With ImageNet's statistics it gives pixels from -1 to 1; the weights do not tell whether it is on."""
    mean, std = before
    front = Front(
        ("mean", "std"), tuple(1 / (255 * s) for s in std), tuple(-m / s for m, s in zip(mean, std, strict=True))
    )
    prepared = prepare_as(front, None, 3, transforms=True)
    assert prepared.pixels == {}
    on, off = (
        [
            [float(number) for number in words.split(",")]
            for words in part.split("--mean ")[1].replace("--std", "").split()
        ]
        for part in prepared.refusal.fix.replace(";", " ").split("if it is off")
    )
    x = torch.rand(2, 3, 4, 4, generator=torch.manual_seed(0))
    shaped = [torch.tensor(values).reshape(1, -1, 1, 1) for values in (*before, *on)]
    expected = transformed((x - shaped[0]) / shaped[1])
    assert torch.allclose((x - shaped[2]) / shaped[3], expected, atol=1e-4)
    assert off == [pytest.approx(list(values) if len({*values}) > 1 else [values[0]]) for values in before]


def test_stated_statistics_are_taken_and_the_note_has_those_behind_transform_input():
    prepared = prepare_as(None, IMAGENET, 3, transforms=True)
    assert prepared.pixels["mean"] == IMAGENET[0]
    assert "it reads mean 0.5; std 0.5: then give that" in prepared.notes[0]
    assert "transform_input" not in prepare_as(None, IMAGENET, 3).notes[0]


def test_statistics_in_the_metadata_of_safetensors_are_no_reason_to_take_the_usual_ones(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(
        theirs(resnet20()), path, {"format": "pt", "mean": "[0.4914, 0.4822, 0.4465]", "std": "[0.247, 0.2435, 0.2616]"}
    )
    with pytest.raises(ModelFileError, match="mean is of a form that is not read"):
        podium.import_weights(RESNET20, path)
    made = podium.import_weights(RESNET20, path, mean=CIFAR10[0], std=CIFAR10[1])
    assert made.preprocessing.mean == pytest.approx(CIFAR10[0])
