"""A Keras model answers in Podium as it did, or its head is left out: what stands around the head is looked at."""

import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest

import podium
from keras_layouts import Configured, configuration, dot_keras, numbered_h5, old_h5
from podium.errors import ModelFileError
from podium.weights.keras_behind import Head, read_head
from test_front import MOBILENET, in_this_process, mobilenet, squares  # noqa: F401 - a fixture

WIDTH = 256  # features of the network


def layer(cls, name="odd", nodes=None, **settings):
    return name, cls, Configured(nodes=nodes, **settings)


def activation(name):
    return layer("Activation", f"to_{name}", activation=name)


def tensor(name, shape=None):
    """What a layer of Keras 3 reads."""
    return {"class_name": "__keras_tensor__", "config": {"shape": shape, "keras_history": [name, 0, 0]}}


def three(*names):
    """The `inbound_nodes` of Keras 3; the layer reads several others as a list."""
    tensors = [tensor(name) for name in names]
    return [{"args": [tensors if len(names) > 1 else tensors[0]], "kwargs": {}}]


def two(*names):
    """The `inbound_nodes` of Keras 2."""
    return [[[name, 0, 0, {}] for name in names]]


RELU6 = layer("ReLU", "conv_pw_13_relu", max_value=6.0, negative_slope=0.0, threshold=0.0)
RELU6_OF_KERAS_2 = layer("ReLU", "conv_pw_13_relu", max_value=6.0, threshold={"class_name": "__numpy__", "config": {"value": 0.0}})  # fmt: skip
AVERAGE, DROPOUT, FLATTEN = layer("GlobalAveragePooling2D", "pool"), layer("Dropout", "drop", rate=0.2), layer("Flatten", "flat")  # fmt: skip
INPUT_224 = layer("InputLayer", "image", batch_input_shape=[None, 224, 224, 3])


def base(*last, name="mobilenet_0.25_224"):
    """The network without its head, nested in the model, with other layers behind its last norm."""
    return name, "Sequential", [*mobilenet()[:-1], *last]


NETWORK = base(RELU6)


def head(act="softmax", classes=5, conv=False, nodes=None):
    """A layer with the values of the network's own head, or with its first columns."""
    (leaf, kernel), (_, bias) = mobilenet()[-1][2]
    kernel = kernel[..., :classes] if conv else kernel[0, 0, :, :classes]
    more = {"kernel_size": [1, 1]} if conv else {}
    weights = [(leaf, kernel), ("bias", bias[:classes])]
    return "mine", "Conv2D" if conv else "Dense", Configured(weights, nodes, activation=act, **more)


def pool(cls, side, shape=None):
    nodes = [{"args": [tensor("a", shape)], "kwargs": {}}] if shape else None
    return layer(cls, "odd", nodes, pool_size=[side, side], strides=[side, side])


def saved(folder, layers, how=".keras", cls="Sequential", outputs=None):
    """A file of a model whose layers follow each other, or say what they read."""
    if how == ".h5":
        return old_h5(folder / "a.h5", layers, model=True, whole={"cls": cls, "outputs": outputs})
    return dot_keras(folder / "a.keras", layers, cls=cls, outputs=outputs)


@functools.cache
def own_logits():
    """What the network's own head gives of two images."""
    with tempfile.TemporaryDirectory() as folder:
        path = numbered_h5(Path(folder) / "a.weights.h5", mobilenet())
        return podium.import_weights(MOBILENET, path).outputs(squares(224))[0]


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


MAP = [None, 7, 7, WIDTH]
RIGHT = {
    "pooling='avg'": [base(RELU6, AVERAGE), head()],
    "a pool and Dropout": [NETWORK, AVERAGE, DROPOUT, head()],
    "Keras 2's numbers of numpy": [base(RELU6_OF_KERAS_2), AVERAGE, head()],
    "noise and penalties": [NETWORK, layer("SpatialDropout2D", "a", rate=0.1), layer("ActivityRegularization", "b"), AVERAGE, layer("GaussianNoise", "c"), head()],
    "a pool of the whole map": [NETWORK, pool("AveragePooling2D", 7, MAP), FLATTEN, head()],
    "the same in Keras 2": [INPUT_224, NETWORK, pool("AveragePooling2D", 7), FLATTEN, head()],
    "a mean of both sides": [NETWORK, layer("Mean", "mean", axis=[1, 2]), head()],
    "a mean of TensorFlow": [NETWORK, layer("TFOpLambda", "tf.math.reduce_mean", [[NETWORK[0], 0, 0, {"axis": [1, 2]}]], function="math.reduce_mean"), head()],
    "an adaptive pool": [NETWORK, layer("AdaptiveAveragePooling2D", "pool", output_size=[1, 1]), FLATTEN, head()],
    "a mean of rows": [NETWORK, layer("Reshape", "rows", target_shape=[49, WIDTH]), layer("GlobalAveragePooling1D", "pool"), head()],
    "a softmax of the second axis": [NETWORK, AVERAGE, head("linear"), layer("Softmax", "p", [{"args": [tensor("mine", [None, 5])], "kwargs": {}}], axis=1)],
    "a map of one pixel": [NETWORK, layer("GlobalAveragePooling2D", "pool", keepdims=True), FLATTEN, head()],
    "a shape": [NETWORK, AVERAGE, layer("Reshape", "shape", target_shape=[WIDTH]), head()],
    "the activation again": [NETWORK, AVERAGE, layer("ReLU", "again"), activation("linear"), head()],
    "a nested extractor": [("extractor", "Sequential", [NETWORK, AVERAGE]), DROPOUT, head()],
    "a nested head": [NETWORK, ("top", "Sequential", [AVERAGE, DROPOUT, head()])],
    "a softmax in a model around": [("inner", "Sequential", [NETWORK, AVERAGE, head("linear")]), layer("Softmax", "softmax", axis=-1)],
    "logits": [NETWORK, AVERAGE, head(None)],
    "an activation": [NETWORK, AVERAGE, head("linear"), activation("softmax"), layer("Cast", "cast", dtype="float32")],
    "a function": [NETWORK, AVERAGE, head({"class_name": "function", "config": "softmax"})],
    "a layer as activation": [NETWORK, AVERAGE, head({"class_name": "Softmax", "config": {"axis": -1}})],
    "a convolution": [NETWORK, head("linear", conv=True), AVERAGE, activation("softmax")],
    "a convolution of one pixel": [NETWORK, layer("GlobalAveragePooling2D", "pool", keepdims=True), DROPOUT, head("linear", conv=True), FLATTEN, activation("softmax")],
    "the layers one by one": [*base(RELU6)[2], AVERAGE, DROPOUT, head()],
}  # fmt: skip


@pytest.mark.parametrize("how", RIGHT)
def test_what_leaves_the_networks_answers_as_they_are(how, tmp_path):
    made = podium.import_weights(MOBILENET, saved(tmp_path, RIGHT[how]))
    assert np.allclose(made.outputs(squares(224))[1], softmax(own_logits()), atol=1e-5)


@pytest.mark.parametrize(("reads", "how"), [(three, ".keras"), (three, ".h5"), (two, ".h5")])
def test_layers_that_say_what_they_read(reads, how, tmp_path):
    """The layers of a functional model are followed by their names, not by their order."""
    name, _, _ = NETWORK
    steps = [
        layer("GlobalAveragePooling2D", "pool", reads(name)),
        layer("Dropout", "drop", reads("pool"), rate=0.2),
        head(nodes=reads("drop")),
    ]
    path = saved(tmp_path, [NETWORK, *steps], how, "Functional", [["mine", 0, 0]])
    made = podium.import_weights(MOBILENET, path)
    assert np.allclose(made.outputs(squares(224))[1], softmax(own_logits()), atol=1e-5)
    largest = layer("GlobalMaxPooling2D", "pool", reads(name))
    path = saved(tmp_path, [NETWORK, largest, *steps[1:]], how, "Functional", ["mine", 0, 0])
    with pytest.raises(ModelFileError, match=r"'pool' \(GlobalMaxPooling2D\) stands between"):
        podium.import_weights(MOBILENET, path)


BETWEEN = {
    "the largest of each map": layer("GlobalMaxPooling2D"),
    "a pool of a part": pool("AveragePooling2D", 5, MAP),
    "a pool of an unknown part": pool("AveragePooling2D", 5),
    "a pool of the largest": pool("MaxPooling2D", 7, MAP),
    "a Lambda": layer("Lambda"),
    "a norm": layer("Normalize", axis=-1),
    "a product": layer("Multiply"),
    "tanh": layer("Activation", activation="tanh"),
    "a leaky ReLU": layer("ReLU", negative_slope=0.1),
    "the maximum": layer("Max", axis=[1, 2]),
    "a mean of one side": layer("Mean", axis=[1]),
    "a border of zeros": layer("ZeroPadding2D"),
    "a part of the map": layer("Cropping2D"),
    "one pixel": layer("GetItem"),
    "an operation of Keras 2": layer("TFOpLambda", function="math.l2_normalize"),
    "a layer of one's own": layer("Scale"),
}


@pytest.mark.parametrize("how", BETWEEN)
def test_what_stands_between_the_network_and_its_head(how, tmp_path):
    odd = BETWEEN[how]
    path = saved(tmp_path, [NETWORK, odd, FLATTEN, head()])
    name = rf"'odd' \({odd[1]}\)"
    refused(path, rf"{name} stands between its network and its head, and Podium's network has no such layer")


def refused(path, said):
    """The head is refused, and what the error says helps."""
    with pytest.raises(ModelFileError, match=said) as caught:
        podium.import_weights(MOBILENET, path)
    assert caught.value.what.startswith(str(path))
    assert "num_classes=N puts a fresh classifier on it" in caught.value.fix
    assert "the file's answers are lost with its head" in caught.value.fix
    with pytest.raises(ModelFileError, match=said):  # names ask for no fresh classifier
        podium.import_weights(MOBILENET, path, classes=list("abcde"))
    for classes in (4, 5):  # 5 is the number that the file has
        made = podium.import_weights(MOBILENET, path, num_classes=classes)
        assert len(made.classes) == classes
        assert sum("left out: the file's head, since" in note for note in made.card["notes"]) == 1
        assert "the file has no classifier that is taken over: a fresh one" in " ".join(made.card["notes"])


def test_a_class_of_ones_own_with_a_name_of_keras():
    config = configuration([NETWORK, layer("Dropout"), head()], cls="Sequential")
    config["config"]["layers"][1]["registered_name"] = "mine>Dropout"
    assert "'odd' (Dropout) stands between" in read_head(config, {}).problem


@pytest.mark.parametrize("cls", ["Add", "Concatenate", "Average"])
@pytest.mark.parametrize("reads", [two, three])
def test_two_pools_of_a_network(cls, reads, tmp_path):
    name, _, _ = NETWORK
    pools = [layer("GlobalAveragePooling2D", "a", reads(name)), layer("GlobalMaxPooling2D", "b", reads(name))]
    both = layer(cls, "both", reads("a", "b"))
    path = saved(tmp_path, [NETWORK, *pools, both, head(nodes=reads("both"))], ".h5", "Functional", [["mine", 0, 0]])
    refused(path, rf"'both' \({cls}\) stands between its network and its head")


BEHIND = {
    "a Lambda": [layer("Lambda")],
    "a number before it": [layer("Subtract", nodes=[{"args": [1, tensor("mine")], "kwargs": {}}])],
    "a quotient": [layer("TrueDivide")],
    "its negative": [layer("Negative"), activation("softmax")],
    "a power": [layer("Power"), activation("softmax")],
    "another order": [layer("Flip", axis=1)],
    "ReLU": [layer("ReLU"), activation("softmax")],
    "a softmax over images": [layer("Softmax", axis=0)],
}


@pytest.mark.parametrize("how", BEHIND)
def test_what_stands_behind_the_head(how, tmp_path):
    odd = BEHIND[how][0]
    path = saved(tmp_path, [NETWORK, AVERAGE, head("linear"), *BEHIND[how]])
    refused(path, rf"'odd' \({odd[1]}\) stands behind its head, and changes its answers")


def test_several_answers_of_one_head(tmp_path):
    """The mean of a head's answers to several dropouts."""
    name, _, _ = NETWORK
    drops = [layer("Dropout", drop, three("pool")) for drop in "ab"]
    shared = head(nodes=[*three("a"), *three("b")])
    steps = [layer("GlobalAveragePooling2D", "pool", three(name)), *drops, shared, layer("Average", "odd", three("mine", "mine"))]  # fmt: skip
    path = saved(tmp_path, [NETWORK, *steps], cls="Functional", outputs=["odd", 0, 0])
    refused(path, r"'odd' \(Average\) stands behind its head")


ACTIVATIONS = {
    "several sigmoids": ([AVERAGE, head("sigmoid")], "gives each class a sigmoid of its own, so that an image may be of several"),
    "several sigmoids behind it": ([AVERAGE, head("linear"), activation("sigmoid")], "a sigmoid of its own"),
    "tanh": ([AVERAGE, head("tanh"), activation("softmax")], "has the activation 'tanh', and Podium's a softmax"),
    "ReLU": ([AVERAGE, head("relu"), activation("softmax")], "has the activation 'relu'"),
    "a layer of another kind": ([AVERAGE, head({"class_name": "LeakyReLU", "config": {}})], "has the activation 'LeakyReLU'"),
    "a function of one's own": ([AVERAGE, head({"class_name": "function", "config": "mish2"})], "has the activation 'mish2'"),
    "two softmaxes": ([AVERAGE, head(), layer("Softmax", "a")], "has 5 outputs and then softmax and then softmax, and Podium's one softmax"),
    "the mean of softmaxes": ([head(conv=True), AVERAGE], "has 5 outputs and then softmax and then average"),
    "no mean": ([head(conv=True)], "no layer averages the maps"),
    "the softmax of one": ([AVERAGE, head(classes=1)], "has one output and then softmax, and Podium's one softmax"),
}  # fmt: skip


@pytest.mark.parametrize("how", ACTIVATIONS)
def test_a_head_with_another_activation_than_one_softmax(how, tmp_path):
    layers, said = ACTIVATIONS[how]
    refused(saved(tmp_path, [NETWORK, *layers]), said)


@pytest.mark.parametrize("last", [[], [layer("ReLU", "late")]], ids=["none", "behind the pool"])
def test_a_network_that_was_cut_before_its_last_activation(last, tmp_path):
    path = saved(tmp_path, [base(), AVERAGE, *last, head()])
    refused(path, r"no activation follows 'conv_pw_13_bn' \(BatchNormalization\), the end of its network")


def ends(*layers):
    """What is read of a head behind other ends of networks, each layer given as (class, name, what it reads)."""
    made = [layer(cls, name, three(*reads) if reads else None, **more) for cls, name, reads, more in layers]
    steps = [*made, layer("GlobalAveragePooling2D", "pool", three(made[-1][0])), head(nodes=three("pool"))]
    return read_head(configuration(steps, outputs=["mine", 0, 0]), {"mine": dict(head()[2])})


CONV, NORM, MERGED = ("Conv2D", "c", (), {"kernel_size": [3, 3]}), ("BatchNormalization", "n", "c", {}), ("Concatenate", "m", "ab", {})  # fmt: skip
RELU = {"activation": "relu"}
BRANCHES = [CONV, NORM, ("Activation", "a", "n", RELU)]
WHOLE = {
    "Xception, ResNet v2": [CONV, NORM, ("Activation", "r", "n", RELU)],
    "DenseNet": [CONV, ("AveragePooling2D", "p", "c", {}), ("Concatenate", "m", "cp", {}), ("BatchNormalization", "n", "m", {}), ("Activation", "r", "n", RELU)],
    "ResNet": [*BRANCHES, ("Add", "s", "na", {}), ("Activation", "r", "s", RELU)],
    "Inception": [*BRANCHES, ("Activation", "b", "n", RELU), MERGED],
}  # fmt: skip


@pytest.mark.parametrize("how", WHOLE)
def test_the_ends_of_keras_networks(how):
    assert ends(*WHOLE[how]) == Head("mine")
    if how != "Inception":
        assert "no activation follows" in ends(*WHOLE[how][:-1]).problem


def test_a_concatenation_of_what_was_not_activated():
    odd = [*BRANCHES, ("MaxPooling2D", "b", "a", {}), MERGED]
    assert "'m' (Concatenate) stands between" in ends(*odd).problem


VGG = [layer("Conv2D", "block5_conv3", activation="relu", kernel_size=[3, 3]), pool("MaxPooling2D", 2), FLATTEN]


@pytest.mark.parametrize("act", ["relu", "tanh"])
def test_the_head_of_vgg(act):
    hidden = [layer("Dense", "fc1", activation="relu"), layer("Dense", "fc2", activation=act)]
    found = read_head(configuration([*VGG, *hidden, head()], cls="Sequential"), {})
    assert found.layer == "mine"
    assert found.problem == ("" if act == "relu" else "'fc2' (Dense) in its head has another activation than ReLU")
    of_means = [VGG[0], pool("AveragePooling2D", 2), *VGG[2:], *hidden[:1], head()]
    assert "'odd' (AveragePooling2D) stands between" in read_head(configuration(of_means, cls="Sequential"), {}).problem


# --- one output


def write_alone(write):
    return lambda folder, layers: write(folder / "b.weights.h5", layers)


ONE = {
    "a sigmoid": (saved, [NETWORK, AVERAGE, DROPOUT, head("sigmoid", 1)]),
    "a logit": (saved, [NETWORK, AVERAGE, head("linear", 1)]),
    "an activation": (saved, [NETWORK, AVERAGE, head("linear", 1), activation("sigmoid")]),
    "a convolution": (saved, [NETWORK, head("linear", 1, conv=True), AVERAGE, activation("sigmoid")]),
    "weights alone": (write_alone(numbered_h5), [NETWORK, AVERAGE, head("sigmoid", 1)]),
    "old weights alone": (write_alone(old_h5), [NETWORK, AVERAGE, head("sigmoid", 1)]),
}


@pytest.mark.parametrize("how", ONE)
def test_one_output_is_the_second_of_two_classes(how, tmp_path):
    write, layers = ONE[how]
    made = podium.import_weights(MOBILENET, write(tmp_path, layers))
    second = 1 / (1 + np.exp(-own_logits()[:, 0]))
    assert np.allclose(made.outputs(squares(224))[1], np.stack([1 - second, second], 1), atol=1e-5)
    said = "the head has one output in the file, and two classes here: class 1 is what the sigmoid of that output says"
    assert said in made.card["notes"]


def test_one_output_behind_a_hidden_layer_is_refused_with_what_is_lost(tmp_path):
    hidden = "dense", "Dense", Configured([("kernel", np.ones((WIDTH, WIDTH), np.float32))], activation="relu")
    for path in (
        saved(tmp_path, [NETWORK, AVERAGE, hidden, head("sigmoid", 1)]),
        numbered_h5(tmp_path / "b.weights.h5", [NETWORK, hidden, head("sigmoid", 1)]),
    ):
        with pytest.raises(ModelFileError, match="its head is not one linear layer that fits") as caught:
            podium.import_weights(MOBILENET, path)
        assert "the file's answers are lost with its head" in caught.value.fix
        assert len(podium.import_weights(MOBILENET, path, num_classes=4).classes) == 4


def test_the_child_process_tells_what_was_changed(tmp_path):
    made = podium.import_weights(MOBILENET, saved(tmp_path, [NETWORK, AVERAGE, head("sigmoid", 1)]))
    assert "class 1 is what the sigmoid of that output says" in " ".join(made.card["notes"])
    with pytest.raises(ModelFileError, match="a sigmoid of its own"):
        podium.import_weights(MOBILENET, saved(tmp_path, [NETWORK, AVERAGE, head("sigmoid")]))
