"""What a Keras file does not say of its front is refused or named in a note, and every mend is one that works."""

import h5py
import numpy as np
import pytest

import podium
from keras_layouts import Configured, dot_keras, fixture_layers, numbered_h5, old_h5
from podium.errors import ModelFileError, UsageError
from podium.weights.front import prepare_as
from podium.weights.keras_files import read_keras
from podium.weights.peers import CAFFE_PIXELS, find_peer
from test_front import (  # noqa: F401 - a fixture
    HALF,
    INPUT,
    MOBILENET,
    SMALL,
    TENSOR,
    in_this_process,
    lambda_op,
    mobilenet,
    operation,
)

USUAL = "preprocessing as usual for keras:MobileNet_0.25 (mean 0.5; std 0.5): the file says nothing of pixels"


def imported(write, path, layers, **given):
    return podium.import_weights(MOBILENET, write(path, layers), **given)


def refusal(write, path, layers, source=MOBILENET):
    with pytest.raises(ModelFileError) as caught:
        podium.import_weights(source, write(path, layers))
    return caught.value


# --- layers of one's own, in Keras 3's weights alone


def test_a_layer_of_ones_own_in_weights_alone_is_refused_and_the_flags_help(tmp_path):
    """`class Prep(Layer)` with `x / 255.` has the group `layers/prep`, which holds nothing."""
    layers = [INPUT, ("prep", "Prep", []), *mobilenet()]
    error = refusal(numbered_h5, tmp_path / "a.weights.h5", layers)
    assert "does not say what 'prep' does" in error.what
    assert "--mean M --std S" in error.fix
    made = imported(numbered_h5, tmp_path / "b.weights.h5", layers, mean=0, std=1)
    assert made.preprocessing.std == (1.0,) * 3


def test_a_class_that_is_called_like_an_input_is_a_layer_of_ones_own(tmp_path):
    """Groups have the names of classes there, so that `ScaleImage` is no name of an input."""
    assert (
        "'scale_image'"
        in refusal(numbered_h5, tmp_path / "a.weights.h5", [("scale_image", "ScaleImage", []), *mobilenet()]).what
    )


def test_a_layer_of_ones_own_among_the_attributes_of_a_class(tmp_path):
    path = numbered_h5(tmp_path / "a.weights.h5", mobilenet())
    with h5py.File(path, "r+") as file:
        file.create_group("a_step/vars").attrs["name"] = "prep_1"
    with pytest.raises(ModelFileError, match="does not say what 'prep_1' does"):
        podium.import_weights(MOBILENET, path)


NETWORKS_OWN = ["ReLU", "ZeroPadding2D", "Dropout", "Reshape", "Activation", "Add", "Concatenate", "MaxPooling2D", "GlobalAveragePooling2D",
                "Flatten", "Softmax", "RandomFlip", "GaussianNoise", "Average"]  # fmt: skip


def test_layers_that_networks_have_are_no_layers_of_ones_own(tmp_path):
    layers = [
        INPUT,
        *((f"my_{cls}", cls, []) for cls in NETWORKS_OWN),
        ("sequential", "Sequential", [("flip", "RandomFlip", [])]),
        *mobilenet(),
    ]
    path = numbered_h5(tmp_path / "a.weights.h5", layers)
    with h5py.File(path, "r+") as file:  # of a compiled model
        file.create_group("optimizer/learning/vars").attrs["name"] = "adam"
    assert read_keras_front(path) is None


def read_keras_front(path):
    return read_keras(path).front


# --- blue first, in Keras 2's weights alone

CAFFE = [("tf.__operators__.getitem_1", "TFOpLambda", []), ("tf.nn.bias_add", "TFOpLambda", [])]


def test_blue_first_is_the_usual_of_a_network_of_caffe(tmp_path):
    """`preprocess_input` of ResNet50 leaves the names of two operations in `save_weights("w.h5")`, and no numbers."""
    front = read_keras_front(old_h5(tmp_path / "a.h5", [INPUT, *CAFFE, *mobilenet()]))
    prepared = prepare_as(front, None, 3, usual_order="bgr")
    assert (prepared.refusal, prepared.pixels) == (None, {})
    assert prepared.usual("keras:ResNet50", CAFFE_PIXELS) == (
        "preprocessing as usual for keras:ResNet50 (mean 0.407604, 0.457957, 0.48502; std 0.00392157, blue first): "
        "tf.__operators__.getitem_1 and tf.nn.bias_add in the file are taken for Keras's preprocess_input, whose numbers the file "
        "does not hold"
    )
    assert find_peer("keras:ResNet50").pixels == find_peer("keras:VGG16").pixels == CAFFE_PIXELS


@pytest.mark.slow
def test_the_names_of_blue_first_in_front_of_a_resnet50(tmp_path):
    made = podium.import_weights(
        "keras:ResNet50", old_h5(tmp_path / "a.h5", [INPUT, *CAFFE, *fixture_layers("ResNet50")])
    )
    p = made.preprocessing
    assert p.channel_order == "bgr"
    assert p.mean == pytest.approx((103.939 / 255, 116.779 / 255, 123.68 / 255))
    assert p.std == pytest.approx((1 / 255,) * 3)
    assert any("are taken for Keras's preprocess_input" in note for note in made.card["notes"])


UNSURE = {
    "of another network": CAFFE,
    "a turn alone": CAFFE[:1],
    "with more behind it": [*CAFFE, ("tf.math.truediv", "TFOpLambda", [])],
}


@pytest.mark.parametrize("how", UNSURE)
def test_blue_first_that_is_not_the_usual_is_refused_without_flags_that_cannot_say_it(how, tmp_path):
    error = refusal(old_h5, tmp_path / "a.h5", [INPUT, *UNSURE[how], *mobilenet()])
    assert "'tf.__operators__.getitem_1'" in error.what
    assert "which mean and std cannot say: save the whole model" in error.fix
    if how != "of another network":
        front = read_keras_front(tmp_path / "a.h5")
        assert prepare_as(front, None, 3, usual_order="bgr").refusal is not None


# --- a Normalization of rows, columns or pixels


def normal(shape, **settings):
    return "normalization", "Normalization", Configured([("mean", np.full(shape, 9, np.float32)), ("variance", np.full(shape, 4, np.float32))], **settings)  # fmt: skip


MAPS = {
    "a mean image": (dot_keras, normal((1, 224, 224, 3), axis=[1, 2, 3])),
    "rows": (dot_keras, normal((224,), axis=[1])),
    "as many rows as channels": (dot_keras, normal((3,), axis=1)),
    "rows and channels": (dot_keras, normal((224, 3), axis=[1, 3])),
    "constants": (dot_keras, ("norm", "Normalization", Configured(mean=[[1, 2], [3, 4]], variance=[[1, 2], [3, 4]]))),
    "rows in weights alone": (old_h5, normal((224,))),
    "a mean image in weights alone": (old_h5, normal((1, 224, 224, 3))),
    "rows in Keras 3's weights alone": (numbered_h5, normal((224,))),
}  # fmt: skip


@pytest.mark.parametrize("how", MAPS)
def test_no_numbers_do_what_a_mean_image_does(how, tmp_path):
    write, layer = MAPS[how]
    error = refusal(write, tmp_path / "a.file", [INPUT, layer, *mobilenet()])
    assert layer[0] in error.what
    assert "save the model without that layer" in error.fix
    assert "--mean" not in error.fix


def test_a_normalization_of_channels_by_their_place_is_read(tmp_path):
    made = imported(dot_keras, tmp_path / "a.keras", [INPUT, normal((3,), axis=3), *mobilenet()])
    assert made.preprocessing.mean == pytest.approx((9 / 255,) * 3)
    assert made.preprocessing.std == pytest.approx((2 / 255,) * 3)


# --- channels turned by an operation


def flip(axis):
    return "flip", "Flip", Configured(nodes=[{"args": [TENSOR], "kwargs": {}}], axis=axis)


TURNS = {"flip": flip(-1), "flip of axis 3": flip(3), "reverse": lambda_op("reverse", axis=[-1], name=None)}


@pytest.mark.parametrize("how", TURNS)
def test_a_flip_of_the_channels_is_blue_first(how, tmp_path):
    three = ("rescaling", "Rescaling", Configured(scale=[0.01, 0.02, 0.04], offset=[-1, -2, -4]))
    p = imported(dot_keras, tmp_path / "a.keras", [INPUT, TURNS[how], three, *mobilenet()]).preprocessing
    assert p.channel_order == "bgr"
    assert p.std == pytest.approx([1 / 2.55, 1 / 5.1, 1 / 10.2])
    assert p.mean == pytest.approx([100 / 255] * 3)


@pytest.mark.parametrize(
    "turn", [flip(2), flip(None), flip([1, 3]), lambda_op("reverse", axis=[1], name=None)], ids=str
)
def test_a_flip_of_anything_else_is_refused(turn, tmp_path):
    error = refusal(dot_keras, tmp_path / "a.keras", [INPUT, turn, SMALL, *mobilenet()])
    assert repr(turn[0]) in error.what
    assert "--mean" not in error.fix


# --- another size

SIZED = ("input_layer", "InputLayer", Configured(batch_shape=[None, 32, 32, 3]))
UNSTATED = "another size, which it does not say; Podium makes them the network's own size"
ANOTHER_SIZE = {
    "UpSampling2D": (dot_keras, ("up_sampling2d", "UpSampling2D", Configured(size=[7, 7])), "224x224 pixels"),
    "an operation of Keras 3": (dot_keras, ("resize", "Resize", Configured(nodes=[{"args": [TENSOR], "kwargs": {}}], size=[128, 128])), "128x128 pixels"),
    "an operation of TensorFlow": (dot_keras, lambda_op("image.resize", size=[128, 128], name=None), "128x128 pixels"),
    "Resizing": (dot_keras, ("resizing", "Resizing", Configured(height=128, width=128)), "128x128 pixels"),
    "an old file of weights alone": (old_h5, ("up_sampling2d", "UpSampling2D", []), UNSTATED),
    "the operation in such a file": (old_h5, ("tf.image.resize", "TFOpLambda", []), UNSTATED),
    "weights alone of Keras 3": (numbered_h5, ("up_sampling2d", "UpSampling2D", []), UNSTATED),
}  # fmt: skip


@pytest.mark.parametrize("how", ANOTHER_SIZE)
def test_a_layer_that_resizes_is_passed_with_a_note_and_is_no_preprocessing(how, tmp_path):
    write, layer, size = ANOTHER_SIZE[how]
    made = imported(write, tmp_path / "a.file", [SIZED, layer, *mobilenet()])
    assert made.preprocessing.mean == (0.5,) * 3
    assert "preprocessing_from" not in made.card
    notes = made.card["notes"]
    assert f"{layer[0]} in the file makes images {size}" in notes
    assert USUAL in notes
    stated_size = int(size.partition("x")[0]) if size != UNSTATED else 224
    assert made.preprocessing.image_size == stated_size
    stated = podium.import_weights(MOBILENET, tmp_path / "a.file", mean=0, std=1)
    assert "preprocessing as --mean and --std say (mean 0; std 1)" in stated.card["notes"]
    assert not any("as usual" in note for note in stated.card["notes"])


def test_what_comes_behind_a_resizing_is_read(tmp_path):
    layer = ANOTHER_SIZE["UpSampling2D"][1]
    made = imported(dot_keras, tmp_path / "a.keras", [SIZED, layer, SMALL, *mobilenet()])
    assert made.preprocessing.std == (1.0,) * 3


@pytest.mark.parametrize("write", [dot_keras, old_h5, numbered_h5])
@pytest.mark.parametrize("cls", ["Cropping2D", "CenterCrop"])
def test_a_layer_that_cuts_images_has_a_mend_of_its_own(cls, write, tmp_path):
    name = {"Cropping2D": "cropping2d", "CenterCrop": "center_crop"}[cls]
    error = refusal(write, tmp_path / "a.file", [INPUT, (name, cls, Configured(height=224, width=224)), *mobilenet()])
    assert "cuts images" in error.what
    assert error.fix.startswith("Podium does not cut images as that layer does: cut your images in this way yourself")


# --- what is said of the usual preprocessing


def test_the_inside_of_a_nested_model_in_an_old_file_is_not_named_and_the_preprocessing_is(tmp_path):
    """As of `Sequential([Sequential([Rescaling(1/255), base, GAP, Dense]), Softmax()])`."""
    nested = [("sequential_1", "Sequential", mobilenet()), ("softmax", "Softmax", [])]
    notes = imported(old_h5, tmp_path / "a.h5", nested).card["notes"]
    assert "the file names no layers without weights inside 'sequential_1', such as a Rescaling" in notes
    assert USUAL in notes
    flat = imported(old_h5, tmp_path / "b.h5", mobilenet()).card["notes"]
    assert not any("names no layers" in note for note in flat)


@pytest.mark.parametrize("write", [dot_keras, old_h5, numbered_h5])
def test_a_file_that_says_nothing_of_pixels_is_said_to(write, tmp_path):
    """`ImageDataGenerator(rescale=1/255)` is outside of the model."""
    assert USUAL in imported(write, tmp_path / "a.file", [INPUT, *mobilenet()]).card["notes"]


def test_a_file_that_says_how_pixels_are_prepared_needs_no_such_note(tmp_path):
    notes = imported(dot_keras, tmp_path / "a.keras", [INPUT, HALF, *mobilenet()]).card["notes"]
    assert not any("as usual" in note for note in notes)


# --- files whose layers have no names


def nameless(path, layers):
    return numbered_h5(path, layers, names=False)


def test_layers_without_names_have_a_mend_that_a_class_of_ones_own_can_follow(tmp_path):
    """A subclassed model of Keras 2 cannot be saved as a whole `.h5`, and its `.keras` has no names either."""
    from test_keras_front import own_class

    error = refusal(nameless, tmp_path / "a.weights.h5", mobilenet())
    assert 'model.save("m.h5")' in error.fix
    path = own_class(dot_keras, tmp_path / "b.keras", mobilenet(), names=False)
    with pytest.raises(ModelFileError, match="does not say what the layer at") as caught:
        podium.import_weights(MOBILENET, path)
    assert 'model.save_weights("w.h5")' in caught.value.fix
    assert "mean and std for what its call does to pixels" in caught.value.fix
    assert not any(wrong in caught.value.fix for wrong in ('model.save("', "as .keras"))


def test_a_network_that_podium_does_not_have_is_said_to_be_none_of_its_own():
    with pytest.raises(UsageError, match="MobileNetV2") as caught:
        find_peer("keras:MobileNetV2")
    assert "MobileNet" in caught.value.fix
    assert caught.value.fix.endswith("If not, Podium does not have that network")


# --- formats of TensorFlow and Keras that are not read

FORMATS = {
    "a checkpoint": ("model.ckpt.index", ["model.ckpt.index", "model.ckpt.data-00000-of-00001"], "a checkpoint of TensorFlow"),
    "its data": ("model.ckpt.data-00000-of-00001", ["model.ckpt.data-00000-of-00001"], "a checkpoint of TensorFlow"),
    "its name": ("model.ckpt", ["model.ckpt.index"], "a checkpoint of TensorFlow"),
    "its folder": (".", ["cp-1.ckpt.index", "cp-1.ckpt.data-00000-of-00001"], "a checkpoint of TensorFlow"),
    "a SavedModel": (".", ["saved_model.pb", "keras_metadata.pb"], "a SavedModel of TensorFlow"),
    "its graph": ("saved_model.pb", ["saved_model.pb"], "a SavedModel of TensorFlow"),
    "shards": ("w.weights.json", ["w.weights.json", "w_00000.weights.h5"], "weights of Keras in several files"),
}  # fmt: skip


@pytest.mark.parametrize("how", FORMATS)
def test_formats_of_tensorflow_are_named_with_the_line_that_saves_another(how, tmp_path):
    given, files, what = FORMATS[how]
    for name in files:
        (tmp_path / name).write_bytes(b"\x00\x01\x02")
    with pytest.raises(ModelFileError) as caught:
        podium.import_weights(MOBILENET, tmp_path / given)
    assert f"{what}, which Podium does not read" in caught.value.what
    assert 'model.save("m.keras") or model.save_weights("w' in caught.value.fix
    assert "model.load_weights(" in caught.value.fix or "load_model(" in caught.value.fix


def test_a_folder_of_torch_is_none_of_tensorflow(tmp_path):
    (tmp_path / "checkpoint.index").write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"a folder without model\.safetensors"):
        podium.import_weights(MOBILENET, tmp_path)
