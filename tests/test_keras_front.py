"""A layer of Keras that rescales acts on pixels only in front of the network; elsewhere, and where that is not known, it is refused."""

import io
import json
import zipfile

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
    TENSOR,
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
    "another shape": [("in", "InputLayer", Configured(batch_shape=[None, 112, 448, 3])), ("reshape", "Reshape", Configured(target_shape=[224, 224, 3]))],
    "a shape that is not known": [INPUT, ("reshape", "Reshape", Configured(target_shape=[224, 224, 3]))],
}  # fmt: skip


@pytest.mark.parametrize("how", BUSY)
def test_what_may_change_pixels_is_refused(how, tmp_path):
    path = dot_keras(tmp_path / "a.keras", [*BUSY[how], SMALL, *mobilenet()])
    with pytest.raises(ModelFileError, match="it is not known what") as caught:
        podium.import_weights(MOBILENET, path)
    assert caught.value.fix.startswith("if all it does is to multiply and to add")
    assert "--mean M --std S" in caught.value.fix


def cast(dtype):
    return "cast", "Cast", Configured(nodes=[{"args": [TENSOR], "kwargs": {}}], dtype=dtype)


CANNOT = {
    "an activation": ("activation", "Activation", Configured(activation="tanh")),
    "a permutation": ("permute", "Permute", Configured(dims=[2, 1, 3])),
    "ReLU": ("re_lu", "ReLU", []),
    "a limit": operation("Clip", 0.5),
    "a power": operation("Power", 2.0),
    "other colours": operation("RGBToHSV", None),
    "contrast of each image": ("auto_contrast", "AutoContrast", []),
    "the mean of each image": operation("Mean", None),
    "a product of matrices": operation("Matmul", [[1.0, 0.0, 0.0]] * 3),
    "whole numbers": cast("int32"),
}


@pytest.mark.parametrize("how", CANNOT)
def test_what_no_mean_and_deviation_can_do_is_refused_and_the_fix_says_so(how, tmp_path):
    path = dot_keras(tmp_path / "a.keras", [INPUT, CANNOT[how], SMALL, *mobilenet()])
    with pytest.raises(ModelFileError, match="does more than to multiply and to add") as caught:
        podium.import_weights(MOBILENET, path)
    assert repr(CANNOT[how][0]) in caught.value.what
    assert caught.value.fix.startswith("Podium cannot do that to pixels")
    assert "--mean" not in caught.value.fix


def values(**shapes):
    return [(leaf, np.full(shape, 0.5, np.float32)) for leaf, shape in shapes.items()]


MOVING = {"moving_mean": (3,), "moving_variance": (3,)}
IN_FRONT = {
    "a batch norm": ("batch_normalization", "BatchNormalization", values(gamma=(3,), beta=(3,), **MOVING)),
    "a batch norm of two weights": ("bn", "BatchNormalization", values(**MOVING)),
    "a layer norm": ("layer_normalization", "LayerNormalization", values(gamma=(3,), beta=(3,))),
    "a group norm": ("group_normalization", "GroupNormalization", []),
    "a unit norm": ("unit_normalization", "UnitNormalization", []),
    "a convolution": ("conv2d", "Conv2D", values(kernel=(1, 1, 3, 3), bias=(3,))),
    "a blur": ("depthwise_conv2d", "DepthwiseConv2D", values(depthwise_kernel=(5, 5, 3, 1))),
}


@pytest.mark.parametrize("given", [{"num_classes": 4}, {"mean": 0.5, "std": 0.5}], ids=["fresh", "stated"])
@pytest.mark.parametrize("write", [dot_keras, old_h5, numbered_h5])
@pytest.mark.parametrize("how", IN_FRONT)
def test_a_norm_or_convolution_in_front_of_the_network_is_no_part_of_its_head(how, write, given, tmp_path):
    path = write(tmp_path / "a.file", [INPUT, IN_FRONT[how], *mobilenet()])
    with pytest.raises(ModelFileError, match="stands in front of the network; Podium cannot import it") as caught:
        podium.import_weights(MOBILENET, path, **given)
    assert repr(IN_FRONT[how][0]) in caught.value.what
    assert not any(flag in caught.value.fix for flag in ("--num-classes", "num_classes", "--mean"))


def test_grey_images_that_a_convolution_gives_colours_are_refused(tmp_path):
    """As people do it to feed grey images to a network of three channels."""
    colours = ("conv2d", "Conv2D", values(kernel=(3, 3, 1, 3), bias=(3,)))
    for write in (dot_keras, old_h5, numbered_h5):
        with pytest.raises(ModelFileError, match=r"'conv2d'.* stands in front of the network"):
            podium.import_weights(MOBILENET, write(tmp_path / "a.file", [colours, *mobilenet()]), num_classes=4)


def test_a_norm_behind_the_network_belongs_to_its_head(tmp_path):
    """The fresh classifier takes its place."""
    norm = ("batch_normalization", "BatchNormalization", values(moving_mean=(256,), moving_variance=(256,)))
    for write in (dot_keras, old_h5, numbered_h5):
        head = ("dense", "Dense", dense(mobilenet())[-1][2])
        path = write(tmp_path / "a.file", [*mobilenet()[:-1], norm, head])
        assert len(podium.import_weights(MOBILENET, path, num_classes=4).classes) == 4


def own_class(write, path, layers, **how):
    """A file of a class of one's own, whose configuration has no layers."""
    bare = json.dumps({"class_name": "Mine", "config": {"trainable": True}})
    if write is old_h5:
        with h5py.File(old_h5(path, layers, model=True), "r+") as file:
            file.attrs["model_config"] = bare
        return path
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", bare)
        archive.writestr("model.weights.h5", numbered_h5(io.BytesIO(), layers, **how).getvalue())
    return path


@pytest.mark.parametrize("write", [dot_keras, old_h5])
def test_a_class_of_ones_own_is_read_as_weights_alone(write, tmp_path):
    adapted = ("normalization", "Normalization", NORMAL)
    made = podium.import_weights(MOBILENET, own_class(write, tmp_path / "a.file", [*mobilenet(), adapted]))
    assert made.preprocessing.mean == pytest.approx((120 / 255, 110 / 255, 100 / 255))
    path = own_class(write, tmp_path / "b.file", [("rescaling", "Rescaling", []), *mobilenet()])
    with pytest.raises(ModelFileError, match="does not say by what 'rescaling'") as caught:
        podium.import_weights(MOBILENET, path)
    assert "--mean M --std S" in caught.value.fix
    assert podium.import_weights(MOBILENET, path, mean=0, std=1).preprocessing.std == (1.0,) * 3


def test_a_layer_among_the_attributes_of_a_class_of_ones_own(tmp_path):
    """Keras calls the group after the attribute where its name comes before "layers"."""
    path = numbered_h5(tmp_path / "a.weights.h5", mobilenet())
    with h5py.File(path, "r+") as file:
        file.create_group("before/vars").attrs["name"] = "rescaling_3"
    with pytest.raises(ModelFileError, match="does not say by what 'rescaling_3'"):
        podium.import_weights(MOBILENET, path)


UNKNOWN = {
    "a Lambda of Keras 3": (numbered_h5, ("lambda", "Lambda", [])),
    "a Lambda": (old_h5, ("lambda_1", "Lambda", [])),
    "a name of one's own": (old_h5, ("to_unit", "Rescaling", [])),
    "a model in front": (old_h5, ("prepare", "Sequential", [])),
}


@pytest.mark.parametrize("how", UNKNOWN)
def test_a_layer_in_weights_alone_that_may_prepare_pixels_is_undecided(how, tmp_path):
    write, layer = UNKNOWN[how]
    path = write(tmp_path / "a.file", [INPUT, layer, *mobilenet()])
    with pytest.raises(ModelFileError, match=repr(layer[0])) as caught:
        podium.import_weights(MOBILENET, path)
    assert caught.value.fix.startswith("if all it does is to multiply and to add")
    assert podium.import_weights(MOBILENET, path, mean=0, std=1).preprocessing.std == (1.0,) * 3


def test_names_in_weights_alone_that_do_nothing_are_passed_over(tmp_path):
    names = ["my_image", "random_flip_2", "dropout", "zero_padding2d_1", "conv1_pad", "activation"]
    path = old_h5(tmp_path / "a.h5", [*((name, "Any", []) for name in names), *mobilenet(), ("last", "Any", [])])
    assert podium.import_weights(MOBILENET, path).preprocessing.mean == (0.5,) * 3


def first(cls, value):
    """An operation of Keras 3 with the constant first."""
    return cls.lower(), cls, Configured(nodes=[{"args": [value, TENSOR], "kwargs": {}}])


FIRST = {
    "Keras 3": first("Multiply", 1 / 255),
    "Keras 2": ("tf.math.multiply", "TFOpLambda", Configured(
        nodes=[["_CONSTANT_VALUE", -1, 1 / 255, {"y": ["input_layer", 0, 0], "name": None}]], function="math.multiply")),
    "to the same shape": ("reshape", "Reshape", Configured(nodes=[{"args": [TENSOR], "kwargs": {}}], newshape=[-1, 224, 224, 3])),
    "to floats": cast("float32"),
}  # fmt: skip


@pytest.mark.parametrize("how", FIRST)
def test_a_constant_may_come_first_and_a_shape_stay(how, tmp_path):
    front = [("input_layer", "InputLayer", Configured(batch_shape=[None, 224, 224, 3])), FIRST[how]]
    if how in ("to the same shape", "to floats"):
        front.append(operation("TrueDivide", 255.0, front[1][0]))
    made = podium.import_weights(MOBILENET, dot_keras(tmp_path / "a.keras", [*front, *mobilenet()]))
    assert (made.preprocessing.mean, made.preprocessing.std) == ((0.0,) * 3, (1.0,) * 3)


INVERTED = {  # what a mean and a positive deviation cannot say, so the mend does not offer --mean
    "a difference from a constant": (first("Subtract", 255.0), "subtracts pixels from a number"),
    "a number divided by pixels": (first("Divide", 255.0), "divides a number by them"),
    "a negative scale": (rescaling(-1 / 255, 1.0), "multiplies pixels by -0.00392157"),
}


@pytest.mark.parametrize("how", INVERTED)
def test_inverted_pixels_are_refused_with_a_mend_that_can_help(how, tmp_path):
    layer, said = INVERTED[how]
    path = dot_keras(tmp_path / "a.keras", [INPUT, layer, *mobilenet()])
    with pytest.raises(ModelFileError, match=said) as error:
        podium.import_weights(MOBILENET, path)
    assert "save the model without that layer" in error.value.fix
    assert "--mean" not in error.value.fix


def channel(index, name):
    key = [{"class_name": "__ellipsis__", "config": {}}, index]
    return name, "GetItem", Configured(nodes=[{"args": [TENSOR, key], "kwargs": {}}])


def stack(*names):
    tensors = [{"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}} for name in names]
    return "stack", "Stack", Configured(nodes=[{"args": [tensors], "kwargs": {}}], axis=-1)


def test_the_channels_that_keras_3_stacks_blue_first(tmp_path):
    """`preprocess_input` of ResNet50 in Keras 3: channels 2, 1 and 0, then a mean taken off, blue first."""
    takes = [channel(2, "a"), channel(1, "b"), channel(0, "c")]
    mean = {"class_name": "__tensor__", "config": {"value": [[[[-103.939, -116.779, -123.68]]]], "dtype": "float32"}}
    front = [INPUT, *takes, stack("a", "b", "c"), operation("Add", mean, "stack")]
    p = podium.import_weights(MOBILENET, dot_keras(tmp_path / "a.keras", [*front, *mobilenet()])).preprocessing
    assert p.channel_order == "bgr"
    assert p.mean == pytest.approx((103.939 / 255, 116.779 / 255, 123.68 / 255))
    assert p.std == pytest.approx((1 / 255,) * 3)
    other = dot_keras(tmp_path / "b.keras", [INPUT, *takes, stack("a", "a", "c"), *mobilenet()])
    with pytest.raises(ModelFileError, match="it is not known what 'a'"):
        podium.import_weights(MOBILENET, other)


def test_a_layer_of_another_input_is_not_said_to_stand_behind_the_network(tmp_path):
    table = ("table", "InputLayer", Configured(batch_shape=[None, 4]))
    path = dot_keras(tmp_path / "a.keras", [INPUT, SMALL, *mobilenet(), table, normalization(4)])
    with pytest.raises(ModelFileError, match="or behind another of the model's 2 inputs"):
        podium.import_weights(MOBILENET, path)


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
