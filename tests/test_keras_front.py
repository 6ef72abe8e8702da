"""A layer of Keras that rescales acts on pixels only in front of the network; elsewhere, and where that is not known, it is refused."""

import h5py
import numpy as np
import pytest

import podium
from keras_layouts import Configured, dot_keras, numbered_h5, old_h5
from podium.errors import ModelFileError
from test_front import (  # noqa: F401 - a fixture
    HALF,
    INPUT,
    MOBILENET,
    NO_SCALE,
    NORMAL,
    SMALL,
    in_this_process,
    mobilenet,
    operation,
    rescaling,
)


def normalization(channels):
    values = [("mean", np.full(channels, 3.0, np.float32)), ("variance", np.full(channels, 4.0, np.float32))]
    return "normalization", "Normalization", Configured([*values, ("count", np.int64(0))])


def dense(layers):
    """The same network with a dense head."""
    name, _, weights = layers[-1]
    (kernel, values), bias = weights
    return [*layers[:-1], (name, "Dense", [(kernel, values.reshape(values.shape[-2:])), bias])]


BEHIND = {
    "Rescaling in a model": (dot_keras, [rescaling(0.5)]),
    "Rescaling in an old file of weights alone": (old_h5, [NO_SCALE]),
    "Normalization in a model": (dot_keras, [normalization(5)]),
    "Normalization in an old file of weights alone": (old_h5, [normalization(5)]),
    "Normalization in weights alone": (numbered_h5, [normalization(5)]),
    "behind an activation": (dot_keras, [("softmax", "Softmax", []), rescaling(0.5)]),
    "an operation": (dot_keras, [operation("TrueDivide", 2.0, "conv_preds")]),
    "a Lambda": (dot_keras, [("lambda", "Lambda", [])]),
}


@pytest.mark.parametrize("stated", [{}, {"mean": 0.5, "std": 0.5}], ids=["", "stated"])
@pytest.mark.parametrize("how", BEHIND)
def test_a_layer_behind_the_network_is_none_of_pixels(how, stated, tmp_path):
    """It changes the answers, whatever is said of the pixels."""
    write, layers = BEHIND[how]
    path = write(tmp_path / "a.file", [INPUT, *mobilenet(), *layers])
    with pytest.raises(ModelFileError, match="changes the network's answers and not its pixels") as caught:
        podium.import_weights(MOBILENET, path, **stated)
    assert repr(layers[-1][0]) in caught.value.what
    assert "save the model without that layer" in caught.value.fix
    assert "--mean" not in caught.value.fix


def test_a_layer_between_the_networks_own_is_none_of_pixels_either(tmp_path):
    first, *others = mobilenet()
    path = dot_keras(tmp_path / "a.keras", [first, HALF, *others])
    with pytest.raises(ModelFileError, match="stands behind the network's first layer with weights"):
        podium.import_weights(MOBILENET, path, mean=0.5, std=0.5)


def test_activations_and_sums_behind_the_head_do_no_harm(tmp_path):
    tail = [("softmax", "Softmax", []), ("out", "Activation", Configured(activation="linear")), ("add", "Add", [])]
    made = podium.import_weights(MOBILENET, dot_keras(tmp_path / "a.keras", [SMALL, *dense(mobilenet()), *tail]))
    assert made.preprocessing.std == (1.0,) * 3


def test_normalization_of_as_many_channels_as_classes_is_undecided_without_an_order(tmp_path):
    """Keras 3's files of weights alone do not say what stands where."""
    path = numbered_h5(tmp_path / "a.weights.h5", [normalization(3), *mobilenet(classes=3)])
    with pytest.raises(ModelFileError, match=r"does not say of 'normalization'.* whether it stands in front") as caught:
        podium.import_weights(MOBILENET, path)
    assert "--mean M --std S" in caught.value.fix
    assert podium.import_weights(MOBILENET, path, mean=0.5, std=0.25).preprocessing.std == (0.25,) * 3
    single = numbered_h5(tmp_path / "b.weights.h5", [normalization(()), *mobilenet()])  # axis=None
    with pytest.raises(ModelFileError, match="whether it stands in front"):
        podium.import_weights(MOBILENET, single)


def nested(path, normal):
    """An old file of weights alone of a model that is one nested model: its weights are in one group."""
    old_h5(path, [("model", "Functional", mobilenet())])
    with h5py.File(path, "r+") as file:
        group = file["model"]
        rows = [f"normalization/{leaf}:0" for leaf, _ in normal]
        for row, (_, values) in zip(rows, normal, strict=True):
            group[row] = values
        group.attrs["weight_names"] = [*group.attrs["weight_names"], *rows]
    return path


def test_normalization_inside_a_nested_model_of_weights_alone(tmp_path):
    made = podium.import_weights(MOBILENET, nested(tmp_path / "a.h5", NORMAL))
    assert made.preprocessing.mean == pytest.approx((120 / 255, 110 / 255, 100 / 255))
    with pytest.raises(ModelFileError, match="it is of 5 channels, and the network's images have 3"):
        podium.import_weights(MOBILENET, nested(tmp_path / "b.h5", normalization(5)[2]))


IDLE = {
    "an activation": [INPUT, ("activation", "Activation", Configured(activation="linear"))],
    "a permutation": [INPUT, ("permute", "Permute", Configured(dims=[1, 2, 3]))],
    "a shape": [("in", "InputLayer", Configured(batch_shape=[None, 224, 224, 3])), ("reshape", "Reshape", Configured(target_shape=[224, 224, 3]))],
    "a size and a shape": [("in", "InputLayer", Configured(batch_input_shape=[None, None, None, 3])), ("resize", "Resizing", Configured(height=224, width=224)), ("reshape", "Reshape", Configured(target_shape=[224, 224, 3]))],
}  # fmt: skip


@pytest.mark.parametrize("how", IDLE)
def test_what_leaves_pixels_as_they_are_is_passed_over(how, tmp_path):
    made = podium.import_weights(MOBILENET, dot_keras(tmp_path / "a.keras", [*IDLE[how], SMALL, *mobilenet()]))
    assert (made.preprocessing.mean, made.preprocessing.std) == ((0.0,) * 3, (1.0,) * 3)


BUSY = {
    "an activation": [INPUT, ("activation", "Activation", Configured(activation="tanh"))],
    "a permutation": [INPUT, ("permute", "Permute", Configured(dims=[2, 1, 3]))],
    "another shape": [("in", "InputLayer", Configured(batch_shape=[None, 112, 448, 3])), ("reshape", "Reshape", Configured(target_shape=[224, 224, 3]))],
    "a shape that is not known": [INPUT, ("reshape", "Reshape", Configured(target_shape=[224, 224, 3]))],
}  # fmt: skip


@pytest.mark.parametrize("how", BUSY)
def test_what_may_change_pixels_is_refused(how, tmp_path):
    path = dot_keras(tmp_path / "a.keras", [*BUSY[how], SMALL, *mobilenet()])
    with pytest.raises(ModelFileError, match="it is not known what") as caught:
        podium.import_weights(MOBILENET, path)
    assert "--mean M --std S" in caught.value.fix


def constants(mean, variance):
    return "norm", "Normalization", Configured(mean=mean, variance=variance)


NOT_FINITE = {
    "a division by 0": ([INPUT, operation("TrueDivide", 0.0)], "'truedivide'"),
    "a negative variance": ([constants([1.0, 2.0, 3.0], [4.0, -4.0, 4.0])], "'norm'"),
    "no offset": ([rescaling(1 / 255, None)], "'rescaling'"),
    "an infinite scale": ([rescaling(float("inf"))], "'rescaling'"),
    "too great a product": ([rescaling(1e300), rescaling(1e300, name="other")], "'other'"),
    "two and three channels": ([rescaling([0.1, 0.2]), rescaling([0.1, 0.2, 0.3], name="other")], "'other'"),
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("how", NOT_FINITE)
def test_numbers_that_no_pixels_can_have_are_refused_by_the_layers_name(how, tmp_path):
    layers, name = NOT_FINITE[how]
    path = dot_keras(tmp_path / "a.keras", [*layers, *mobilenet()])
    with pytest.raises(ModelFileError, match="cannot be said as a mean and a standard deviation") as caught:
        podium.import_weights(MOBILENET, path)
    assert name in caught.value.what
    assert podium.import_weights(MOBILENET, path, mean=0.5, std=0.5).preprocessing.mean == (0.5,) * 3
