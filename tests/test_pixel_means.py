"""Means and deviations of pixels in a torch checkpoint are found by any of their usual names, or refused where they are in doubt."""

import argparse

import numpy as np
import pytest
import torch

import podium
from podium.errors import ModelFileError, UsageError
from test_front import CIFAR10, RESNET20, imported, in_this_process, resnet20, theirs  # noqa: F401 - a fixture

MEAN, STD = (torch.tensor(values) for values in CIFAR10)
BLUE = 103.53, 116.28, 123.675  # of ImageNet, as Detectron has it
BLUE_STD = 57.375, 57.12, 58.395


def with_layer(place, **buffers):
    """ResNet-20 behind a layer with these buffers: `place` is "0." of a Sequential, or empty for the network's own module."""
    network = theirs(resnet20())
    inside = {f"1.{key}": value for key, value in network.items()} if place else network
    return inside | {f"{place}{name}": value for name, value in buffers.items()}


def prepared(made):
    return made.preprocessing.mean, made.preprocessing.std, made.preprocessing.channel_order


PAIRS = [("Mean", "Std"), ("MEAN", "STD"), ("mu", "sigma"), ("mean_", "std_"), ("mean_rgb", "std_rgb"), ("means", "stds"), ("image_mu", "image_sigma")]  # fmt: skip


@pytest.mark.parametrize("names", PAIRS, ids=lambda names: names[0])
@pytest.mark.parametrize("place", ["", "0.", "normalize."])
def test_a_mean_and_a_deviation_are_the_preprocessing_under_any_usual_name(names, place, tmp_path):
    made = imported(with_layer(place, **dict(zip(names, (MEAN, STD), strict=True))), tmp_path)
    assert made.preprocessing.mean == pytest.approx(CIFAR10[0])
    assert made.preprocessing.std == pytest.approx(CIFAR10[1])
    assert made.card["preprocessing_from"] == "the file"


def test_whole_numbers_are_read(tmp_path):
    made = imported(with_layer("", mean=torch.tensor([124, 116, 104]), std=torch.tensor([58, 57, 57])), tmp_path)
    assert made.preprocessing.mean == pytest.approx((124 / 255, 116 / 255, 104 / 255))
    assert made.preprocessing.std == pytest.approx((58 / 255, 57 / 255, 57 / 255))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_every_kind_of_float_is_read(kind, tmp_path):
    half = torch.tensor([0.5, 0.25, 0.125])  # which all kinds hold exactly
    made = imported(with_layer("0.", mean=half.to(kind), std=half.to(kind)), tmp_path)
    assert prepared(made) == ((0.5, 0.25, 0.125), (0.5, 0.25, 0.125), "rgb")


LISTS = {
    "lists": lambda mean, std: {"mean": list(mean), "std": list(std)},
    "tuples": lambda mean, std: {"pixel_mean": mean, "pixel_std": std},
    "arrays": lambda mean, std: {"mean": np.array(mean), "std": np.array(std)},
    "arrays of float32": lambda mean, std: {"mean": np.array(mean, "f4"), "std": np.array(std, ">f4")},
    "hyperparameters": lambda mean, std: {"hyper_parameters": {"mean": list(mean), "std": list(std), "milestones": [1, 2, 3]}},
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("how", LISTS)
def test_numbers_that_are_no_tensors_are_read(how, protocol, tmp_path):
    content = {"state_dict": theirs(resnet20()), "betas": (0.8, 0.9), **LISTS[how](*CIFAR10)}
    torch.save(content, tmp_path / "a.pth", pickle_protocol=protocol)
    made = podium.import_weights(RESNET20, tmp_path / "a.pth")
    assert made.preprocessing.mean == pytest.approx(CIFAR10[0])
    assert made.preprocessing.std == pytest.approx(CIFAR10[1])
    assert not any("mean" in note and "left out" in note for note in made.card["notes"])


def test_lists_of_something_else_are_left_alone(tmp_path):
    beside = {"scale": [1, 2, 3], "std": [1, 2, 3], "acc_mean": [0.7, 0.8, 0.9], "history": {"mean": [0.7, 0.8, 0.9]}}
    made = imported({**theirs(resnet20()), **beside}, tmp_path)
    assert made.preprocessing.mean == (0.485, 0.456, 0.406)


DOUBTFUL = {
    "shift and scale": ({"shift": torch.tensor([-0.03, -0.088, -0.188]), "scale": STD}, "the one added"),
    "single numbers": ({"mu": torch.tensor(0.5), "sigma": torch.tensor(0.5)}, "may be of something else"),
    "a variance": ({"mean": MEAN, "var": STD**2}, "var is a variance"),
    "a mean alone": ({"Mean": MEAN}, "Mean has no deviation beside it"),
    "too small a deviation": ({"mean": MEAN, "std": torch.full((3,), 1e-45)}, "too little for a deviation"),
    "too great a deviation": ({"mean": 100 * MEAN, "std": torch.full((3,), 1e30)}, "from 0.00001 to 100,000"),
}


@pytest.mark.parametrize("place", ["", "0."])
@pytest.mark.parametrize("how", DOUBTFUL)
def test_what_is_in_doubt_is_refused_and_the_mend_works(how, place, tmp_path):
    buffers, says = DOUBTFUL[how]
    content = with_layer(place, **buffers)
    with pytest.raises(ModelFileError) as caught:
        imported(content, tmp_path)
    assert says in caught.value.what
    assert "--mean M --std S" in caught.value.fix
    assert prepared(imported(content, tmp_path, mean=0.5, std=0.25)) == ((0.5,) * 3, (0.25,) * 3, "rgb")


@pytest.mark.parametrize("std", [1e-45, 1e-6, 1e6])
def test_the_callers_deviation_has_the_same_bounds(std, tmp_path):
    with pytest.raises(UsageError, match=r"^std: ") as caught:
        imported(theirs(resnet20()), tmp_path, mean=0.5, std=std)
    assert "from 0.00001 to 100,000" in caught.value.fix


BLUE_FIRST = {
    "Detectron": (BLUE, (1.0, 1.0, 1.0), (1 / 255,) * 3),
    "Detectron, with deviations": (BLUE, BLUE_STD, tuple(value / 255 for value in BLUE_STD)),
    "Caffe": ((102.9801, 115.9465, 122.7717), (1.0, 1.0, 1.0), (1 / 255,) * 3),
    "pixels up to 1": ((0.406, 0.456, 0.485), (0.225, 0.224, 0.229), (0.225, 0.224, 0.229)),
}


@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
@pytest.mark.parametrize("how", BLUE_FIRST)
def test_well_known_means_are_blue_first(how, kind, tmp_path):
    mean, std, deviation = BLUE_FIRST[how]
    made = imported(with_layer("", pixel_mean=torch.tensor(mean, dtype=kind), pixel_std=torch.tensor(std, dtype=kind)), tmp_path)  # fmt: skip
    assert made.preprocessing.channel_order == "bgr"
    assert made.preprocessing.mean == pytest.approx([value / (255 if mean[0] > 2 else 1) for value in mean], rel=1e-3)
    assert made.preprocessing.std == pytest.approx(deviation, rel=1e-3)
    assert any("blue first" in note for note in made.card["notes"])


def test_the_same_means_red_first_are_red_first_and_a_name_may_say_blue(tmp_path):
    red = imported(with_layer("", mean=torch.tensor(BLUE[::-1]), std=torch.tensor(BLUE_STD[::-1])), tmp_path)
    named = imported(with_layer("", mean_bgr=MEAN, std_bgr=STD), tmp_path)
    assert (red.preprocessing.channel_order, named.preprocessing.channel_order) == ("rgb", "bgr")


COPIES = {  # of the network, and of the layer in front of it
    "beside": ("1.", "0.", "ema.1.", "ema.0."),
    "by name": ("net.", "normalize.", "net_ema.", "normalize_ema."),
}


@pytest.mark.parametrize("how", COPIES)
def test_ema_weights_and_plain_ones_have_each_their_own_layer(how, tmp_path):
    """The two layers do not stand in one chain, be their values the same or not."""
    network, content = theirs(resnet20()), {}
    for place, layer, mean in zip(COPIES[how][::2], COPIES[how][1::2], (0.25, 0.5), strict=True):
        content |= {f"{place}{key}": value for key, value in network.items()}
        content |= {f"{layer}mean": torch.tensor([mean]), f"{layer}std": torch.tensor([0.25])}
    assert imported(content, tmp_path).preprocessing.mean == (0.25,) * 3
    assert imported(content, tmp_path, ema=True).preprocessing.mean == (0.5,) * 3


def test_two_layers_around_one_network_are_refused_though_they_are_the_same(tmp_path):
    content = with_layer("0.", mean=MEAN, std=STD) | {"mean": MEAN, "std": STD}
    with pytest.raises(ModelFileError, match=r"which of them acts is not known"):
        imported(content, tmp_path)


def test_a_refusal_of_two_buffers_speaks_of_two(tmp_path):
    grey = {key: value[:, :1] if value.ndim == 4 and value.shape[1] == 3 else value for key, value in theirs(resnet20()).items()}  # fmt: skip
    with pytest.raises(ModelFileError, match="mean and std in it have 3 channels, and the network has 1"):
        imported(grey | {"mean": MEAN, "std": STD}, tmp_path)


RGB = [list(values) for values in CIFAR10]
NAMESPACE = argparse.Namespace(lr=0.1, mean=RGB[0], std=RGB[1], config=None)
PLACES = {  # what a checkpoint holds beside the network's weights under net
    "a module deeper": {"preprocess.1.mean": MEAN, "preprocess.1.std": STD},
    "inside DataParallel": {"normalize.module.mean": MEAN, "normalize.module.std": STD},
    "arguments of a program": {"args": NAMESPACE},
    "nested settings": {"config": {"data": {"normalization": {"mean": RGB[0], "std": RGB[1]}}}},
    "settings in capitals": {"config": {"MODEL": {"PIXEL_MEAN": RGB[0], "PIXEL_STD": RGB[1]}}},
    "settings of timm": {"pretrained_cfg": {"mean": tuple(RGB[0]), "std": tuple(RGB[1]), "crop_pct": 0.9}},
    "numbers of numpy": {"mean": [np.float64(value) for value in RGB[0]], "std": [np.float32(value) for value in RGB[1]]},
    "a layer and its settings": {"0.mean": MEAN, "0.std": STD, "hyper_parameters": {"mean": RGB[0], "std": RGB[1]}},
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_statistics_of_pixels_are_read_wherever_they_stand(place, tmp_path):
    made = imported({f"net.{key}": value for key, value in theirs(resnet20()).items()} | PLACES[place], tmp_path)
    assert made.preprocessing.mean == pytest.approx(CIFAR10[0])
    assert made.preprocessing.std == pytest.approx(CIFAR10[1])


def test_single_numbers_are_the_statistics_of_grey_images(tmp_path):
    grey = {key: value[:, :1] if value.ndim == 4 and value.shape[1] == 3 else value for key, value in theirs(resnet20()).items()}  # fmt: skip
    made = imported({"state_dict": grey, "mean": 0.1307, "std": 0.3081}, tmp_path)
    assert (made.preprocessing.mean, made.preprocessing.std) == ((0.1307,), (0.3081,))


UNKNOWN = {
    "another word": {"cifar_mean": MEAN, "cifar_std": STD},
    "a layer of another name": {"standardize.mean": MEAN, "standardize.std": STD},
    "other words for both": {"img_sub": MEAN, "img_div": STD},
    "a number for each pixel": {"mean": MEAN[:, None, None].expand(3, 32, 32), "std": torch.ones(3, 32, 32)},
    "folds": {"mean": [0.91, 0.92, 0.93], "std": [0.01, 0.01, 0.01]},
    "an initialisation": {"config": {"mean": [0.0], "std": [0.02]}},
    "more in the layer": {"normalize.mean": MEAN, "normalize.std": STD, "normalize.gamma": STD},
    "pixels of 16 bits": {"mean": torch.tensor([30000.0]), "std": torch.tensor([9000.0])},
    "a layer before it in a sequence": {"0.weight": torch.ones(3), "0.bias": torch.ones(3)},
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_may_be_of_pixels_is_refused_and_the_callers_numbers_hold(what, tmp_path):
    content = {f"1.{key}": value for key, value in theirs(resnet20()).items()} | UNKNOWN[what]
    with pytest.raises(ModelFileError) as caught:
        imported(content, tmp_path)
    assert "--mean M --std S" in caught.value.fix
    assert prepared(imported(content, tmp_path, mean=0.5, std=0.25)) == ((0.5,) * 3, (0.25,) * 3, "rgb")


FOREIGN = [
    "grad_norm", "pixel_acc", "image_loss", "new_best", "input_size", "y_norm", "target_normalizer", "vgg_norm", "image_noise",
]  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_statistics_of_something_else_change_nothing_and_are_said_to_be_left_out(name, tmp_path):
    beside = {f"{name}_mean": MEAN, f"{name}_std": STD}
    made = imported({f"net.{key}": value for key, value in theirs(resnet20()).items()} | beside, tmp_path)
    assert made.preprocessing.mean == (0.485, 0.456, 0.406)
    assert any(f"{name}_mean" in note for note in made.card["notes"])


OWN = {  # buffers of the network's own module, under what people wrap it in
    "state_dict.": ["state_dict.normalize."], "model.": ["model.normalize.", "model."], "module.": ["module.normalize.", "module."],
    "_orig_mod.": ["_orig_mod."], "weights.": ["weights.normalize."], "best_model.": ["best_model.normalize."],
    "fold0.": ["fold0.normalize."], "metric_net.backbone.": ["metric_net.normalize."], "state_dict.model._orig_mod.": ["state_dict.model.normalize."],
}  # fmt: skip


@pytest.mark.parametrize(("prefix", "layer"), [(prefix, layer) for prefix, layers in OWN.items() for layer in layers])
def test_what_wraps_a_network_says_nothing_of_its_normaliser(prefix, layer, tmp_path):
    content = {f"{prefix}{key}": value for key, value in theirs(resnet20()).items()}
    made = imported(content | {f"{layer}mean": MEAN, f"{layer}std": STD}, tmp_path)
    assert made.preprocessing.mean == pytest.approx(CIFAR10[0])
    assert made.preprocessing.std == pytest.approx(CIFAR10[1])


@pytest.mark.parametrize("more", [{"sigma": 0.5}, {"scale": [0.08, 1.0]}, {"mu": 7}, {"scale": 64.0}], ids=str)
@pytest.mark.parametrize("first", [True, False])
def test_the_deviation_of_a_mean_is_its_std_whatever_else_is_on_record(more, first, tmp_path):
    own = {"mean": RGB[0], "std": RGB[1]}
    settings = {**more, **own} if first else {**own, **more}
    made = imported({"state_dict": theirs(resnet20()), "args": argparse.Namespace(**settings)}, tmp_path)
    assert made.preprocessing.std == pytest.approx(CIFAR10[1])


@pytest.mark.parametrize(("mean", "std"), [(0.31, 0.05), (0.0, 0.1), (23.4, 5.2), (0.0, 1.0)])
def test_a_single_number_on_record_is_not_taken_for_the_pixels_of_three_colours(mean, std, tmp_path):
    with pytest.raises(ModelFileError, match="cannot be said"):
        imported({"state_dict": theirs(resnet20()), "mean": mean, "std": std}, tmp_path)


def test_the_mean_of_a_module_with_weights_of_its_own_is_left_out(tmp_path):
    classifier = {f"classifier.{key}": value for key, value in theirs(resnet20()).items()}
    other = {"critic.pixel_mean": MEAN, "critic.pixel_std": STD, "critic.blocks.weight": torch.ones(16, 16)}
    made = imported({**classifier, **other}, tmp_path)
    assert made.preprocessing.mean == (0.485, 0.456, 0.406)
