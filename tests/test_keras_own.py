"""Outputs, classes and settings of a Keras model that only look like Keras's own: the path to and from the head is closed."""

import json
import zipfile

import numpy as np
import pytest

import podium
from keras_layouts import Configured, configuration, dot_keras, old_h5
from podium.errors import ModelFileError
from podium.weights.keras_behind import Head, read_head
from podium.weights.keras_graph import own_models
from test_front import MOBILENET, in_this_process, mobilenet, squares  # noqa: F401 - a fixture
from test_keras_behind import (
    AVERAGE,
    CONV,
    NETWORK,
    RELU6,
    activation,
    base,
    ends,
    head,
    layer,
    own_logits,
    refused,
    saved,
    softmax,
    three,
)

NAME, _, _ = NETWORK
MINE = dict(head()[2])


def functional(*steps, outputs, how=".keras", folder):
    """A file of a model whose network is followed by layers that say what they read."""
    return saved(folder, [NETWORK, *steps], how, "Functional", outputs)


def gives(made, wanted):
    assert np.allclose(made.outputs(squares(224))[1], wanted, atol=1e-5)


# --- several outputs

POOL = layer("GlobalAveragePooling2D", "pool", three(NAME))
MAPS = [NAME, 0, 0]
BESIDE = {
    "maps": [["mine", 0, 0], MAPS],
    "maps first": [MAPS, ["mine", 0, 0]],
    "names, with what the head reads": {"prob": ["mine", 0, 0], "embedding": ["pool", 0, 0]},
}


@pytest.mark.parametrize("how", [".keras", ".h5"])
@pytest.mark.parametrize("outputs", BESIDE)
def test_the_classes_are_taken_of_several_outputs(outputs, how, tmp_path):
    steps = [POOL, head(nodes=three("pool"))]
    gives(podium.import_weights(MOBILENET, functional(*steps, outputs=BESIDE[outputs], how=how, folder=tmp_path)), softmax(own_logits()))  # fmt: skip


def test_logits_beside_their_softmax_and_one_output_beside_maps(tmp_path):
    steps = [POOL, head("linear", nodes=three("pool")), layer("Softmax", "p", three("mine"))]
    path = functional(*steps, outputs=[["mine", 0, 0], ["p", 0, 0]], folder=tmp_path)
    gives(podium.import_weights(MOBILENET, path), softmax(own_logits()))
    path = functional(POOL, head("sigmoid", 1, nodes=three("pool")), outputs=BESIDE["maps"], folder=tmp_path)
    second = 1 / (1 + np.exp(-own_logits()[:, 0]))
    gives(podium.import_weights(MOBILENET, path), np.stack([1 - second, second], 1))


LARGEST, TWICE = layer("GlobalMaxPooling2D", "pool", three(NAME)), layer("Multiply", "twice", three(NAME))
OTHERS = {
    "the largest of each map": ([LARGEST, head(nodes=three("pool"))], MAPS, r"'pool' \(GlobalMaxPooling2D\) stands between"),
    "a product": ([TWICE, layer("GlobalAveragePooling2D", "pool", three("twice")), head(nodes=three("pool"))], MAPS, r"'twice' \(Multiply\) stands between"),
    "several sigmoids": ([POOL, head("sigmoid", nodes=three("pool"))], MAPS, "a sigmoid of its own"),
    "tanh": ([POOL, head("tanh", nodes=three("pool"))], MAPS, "has the activation 'tanh'"),
    "what only one output has": ([POOL, head(nodes=three("pool")), layer("TrueDivide", "cold", three("mine"))], ["cold", 0, 0], r"'cold' \(TrueDivide\) stands behind"),
}  # fmt: skip


@pytest.mark.parametrize("how", OTHERS)
def test_each_output_that_the_head_reaches_is_looked_at(how, tmp_path):
    steps, second, said = OTHERS[how]
    refused(functional(*steps, outputs=[["mine", 0, 0], second], folder=tmp_path), said)


# --- classes of one's own

OWN = [{"module": None}, {"module": "project.layers"}, {"module": "mine", "registered_name": "mine>Odd"}]
PLACES = {
    "between": ([NETWORK, AVERAGE, layer("Identity"), head()], "odd", "'odd' (Identity) stands between"),
    "a mean": ([NETWORK, layer("Mean", axis=[1, 2]), head()], "odd", "'odd' (Mean) stands between"),
    "behind": ([NETWORK, AVERAGE, head("linear"), layer("Softmax")], "odd", "'odd' (Softmax) stands behind"),
    "the head": ([NETWORK, AVERAGE, head()], "mine", "its head 'mine' (Dense) is no Dense or Conv2D of Keras's own"),
}


@pytest.mark.parametrize("row", OWN, ids=["no module", "another module", "registered"])
@pytest.mark.parametrize("place", PLACES)
def test_a_class_of_ones_own_that_is_called_as_one_of_keras(place, row):
    steps, name, said = PLACES[place]
    config = configuration(steps, cls="Sequential")
    assert read_head(config, {"mine": MINE}) == Head("mine")
    own = next(each for each in config["config"]["layers"] if each["config"]["name"] == name)
    own |= row
    found = read_head(config, {"mine": MINE})
    assert found.layer == "mine"
    assert found.problem.startswith(said)


@pytest.mark.parametrize("cls", ["ArcFace", "NormDense", "EinsumDense"])
def test_a_head_of_another_class(cls, tmp_path):
    _, _, weights = head()
    other = "mine", cls, Configured(weights, equation="bc,dc->bd")
    refused(
        saved(tmp_path, [NETWORK, AVERAGE, other]), rf"its head 'mine' \({cls}\) is no Dense or Conv2D of Keras's own"
    )


def test_an_einsum_that_is_a_dense_layer(tmp_path):
    _, _, weights = head()
    same = "mine", "EinsumDense", Configured(weights, equation="bc,cd->bd", activation="softmax")
    gives(podium.import_weights(MOBILENET, saved(tmp_path, [NETWORK, AVERAGE, same])), softmax(own_logits()))


def test_what_wraps_the_network_or_its_head(tmp_path):
    inner = configuration([head()])["config"]["layers"][0]
    wrapped = layer("TimeDistributed", layer=inner)
    with pytest.raises(ModelFileError, match=r"'odd' \(TimeDistributed\) wraps a layer or a model") as caught:
        podium.import_weights(MOBILENET, saved(tmp_path, [NETWORK, AVERAGE, wrapped]))
    assert "the one inside it on its own" in caught.value.fix
    config = configuration([layer("TimeDistributed"), layer("GlobalAveragePooling1D", "p"), head()], cls="Sequential")
    assert "'odd' (TimeDistributed) stands between" in read_head(config, {}).problem


@pytest.mark.parametrize("pool", [POOL, LARGEST], ids=["average", "largest"])
@pytest.mark.parametrize("more", [{"build_input_shape": [None, 224, 224, 3]}, {"output_layers": [["mine", 0, 0]]}])
def test_a_model_of_ones_own_class_is_looked_through(more, pool):
    config = configuration([NETWORK, pool, head(nodes=three("pool"))], "inner")
    config |= {"class_name": "Trained", "module": None, "registered_name": "Trained"}
    config["config"] |= more
    around = configuration([], cls="Sequential")
    around["config"]["layers"] = [config]
    for model in (config, around):
        found = read_head(model, {"mine": MINE})
        assert found.layer == "mine"
        assert found.problem.startswith("'pool' (GlobalMaxPooling2D) stands between" if pool is LARGEST else "")
        assert bool(found.problem) == (pool is LARGEST)
        assert own_models(model) == ["Trained"]


def test_a_note_says_that_the_file_does_not_say_what_a_class_of_ones_own_does(tmp_path):
    made = podium.import_weights(MOBILENET, saved(tmp_path, [NETWORK, AVERAGE, head()], cls="my>Trained"))
    gives(made, softmax(own_logits()))
    assert "a model of its owner's class my>Trained" in " ".join(made.card["notes"])


# --- settings


@pytest.mark.parametrize("given", [2, [64, 32], "two"])
def test_a_setting_that_is_called_layers(given, tmp_path):
    odd = layer("Noop", layers=given)
    refused(saved(tmp_path, [NETWORK, odd, AVERAGE, head()]), r"'odd' \(Noop\) stands between its network and its head")


def test_a_model_of_ones_own_with_settings_alone(tmp_path):
    """Its layers are known by their weights, as those of a file without a configuration."""
    config = configuration([NETWORK, AVERAGE, head()])
    path = dot_keras(tmp_path / "a.keras", [NETWORK, AVERAGE, head()])
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config |= {"class_name": "Mine", "config": {"layers": [64, 32]}}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"config.json": json.dumps(config)}).items():
            archive.writestr(name, content)
    gives(podium.import_weights(MOBILENET, path), softmax(own_logits()))


def test_a_layer_that_is_not_read_is_no_damage(tmp_path):
    attention = "attention", "MultiHeadAttention", [("bias", np.ones((2, 16), np.float32))]
    with pytest.raises(ModelFileError, match="the layer 'attention' in it has a weight 'attention/bias:0'"):
        podium.import_weights(MOBILENET, old_h5(tmp_path / "a.h5", [*mobilenet(), attention]))


RESHAPED = layer("Reshape", "odd", target_shape=[5, 1])
ODD_SETTINGS = {
    "a softmax of one": [NETWORK, AVERAGE, head("linear"), RESHAPED, layer("Softmax", "p", axis=-1)],
    "every second pixel": [NETWORK, ("mine", "Conv2D", Configured(head(conv=True)[2], kernel_size=[1, 1], strides=[2, 2])), AVERAGE],
}  # fmt: skip


@pytest.mark.parametrize("how", ODD_SETTINGS)
def test_settings_with_which_a_known_layer_does_something_else(how, tmp_path):
    with pytest.raises(ModelFileError):
        podium.import_weights(MOBILENET, saved(tmp_path, ODD_SETTINGS[how]))


# --- the network's last activation

SIX = {
    "an activation": activation("relu6"),
    "a layer": layer("ReLU", max_value=6.0),
    "an operation": layer("Relu6"),
    "a function of TensorFlow": layer("TFOpLambda", function="nn.relu6"),
}


@pytest.mark.parametrize("how", SIX)
def test_relu6_is_that_of_mobilenet_alone(how, tmp_path):
    for steps in ([base(SIX[how]), AVERAGE], [NETWORK, SIX[how], AVERAGE], [NETWORK, AVERAGE, SIX[how]]):
        gives(podium.import_weights(MOBILENET, saved(tmp_path, [*steps, head()])), softmax(own_logits()))
    name, cls, content = SIX[how]
    norm, relu = ("BatchNormalization", "n", "c", {}), ("Activation", "r", "n", {"activation": "relu"})
    again = (cls, name, (), content.settings)
    for layers, reads in (([CONV, norm, relu], "r"), ([CONV, norm], "n")):
        found = ends(*layers, (*again[:2], [reads], again[3]))
        assert found.problem.startswith(f"{name!r} ({cls}) stands between its network and its head")


@pytest.mark.parametrize("most", [None, 1.0, 20.0])
def test_an_end_of_mobilenet_without_its_relu6(most, tmp_path):
    said = r"'odd' \(ReLU\) (follows the end of its network, and a ReLU6 that of Podium's|stands between)"
    refused(saved(tmp_path, [base(layer("ReLU", max_value=most)), AVERAGE, head()]), said)


def test_vgg_that_was_cut_before_its_last_pool():
    conv = layer("Conv2D", "block5_conv3", activation="relu", kernel_size=[3, 3])
    hidden = [layer("Dense", name, activation="relu") for name in ("fc1", "fc2")]
    config = configuration([conv, layer("Flatten"), *hidden, head()], cls="Sequential")
    assert read_head(config, {}).problem.startswith("no MaxPooling2D follows 'block5_conv3' (Conv2D)")


# --- the network was named rightly


def conv(name, width):
    weights = [("kernel", np.ones((3, 3, width, 256), np.float32)), ("bias", np.ones(256, np.float32))]
    return name, "Conv2D", Configured(weights, kernel_size=[3, 3])


BESIDES = {
    "an adapter": ([NETWORK, conv("adapter", 256), AVERAGE, head()], "'adapter' (Conv2D) stands between its network and its head"),
    "a second network": ([NETWORK, conv("second", 3), layer("Dense", "dense"), head()], "second.weight"),
}  # fmt: skip


@pytest.mark.parametrize("how", BESIDES)
def test_layers_beside_a_network_that_was_named_rightly(how, tmp_path):
    layers, said = BESIDES[how]
    with pytest.raises(ModelFileError) as caught:
        podium.import_weights(MOBILENET, saved(tmp_path, layers))
    assert said in caught.value.what
    assert "the network has layers that mobilenet_v1_025 has not, and Podium cannot import it" in caught.value.fix


def test_a_network_that_was_cut(tmp_path):
    cut = "cut", "Sequential", [*mobilenet()[:-4], RELU6]
    with pytest.raises(ModelFileError, match=r"\d+ missing") as caught:
        podium.import_weights(MOBILENET, saved(tmp_path, [cut, AVERAGE, head()]))
    assert "where the network was cut before these layers, Podium cannot import it" in caught.value.fix
