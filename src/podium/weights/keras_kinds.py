"""What layers and operations of Keras do to pixels, by their classes: nothing, a product and a sum, or more than that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podium.weights.keras_layers import snake

MODELS = {"functional", "sequential", "model"}
# What leaves pixels as they are in prediction, as do all that begin with "random_".
IDLE = {
    "input_layer", "dropout", "spatial_dropout2d", "gaussian_noise", "gaussian_dropout", "alpha_dropout", "identity",
    "rand_augment", "aug_mix", "mix_up", "cut_mix", "activity_regularization",
}  # fmt: skip
CAFFE = "as Caffe"  # the key of an entry that stands for Keras's preprocess_input with blue first, whose numbers are not known
STATISTICS = {"mean", "variance"}  # of a Normalization, among the weights of a file
RESCALES = {"rescaling", "normalization"}
# Layers and operations that give images another size, with all that is in them.
SIZES = {"resizing", "resize", "random_crop", "up_sampling2d"}
CROPS = {"center_crop", "cropping2d", "central_crop", "crop_images", "crop_to_bounding_box"}
TURNS = {"flip", "reverse"}  # along axes that are given
PADS = {"zero_padding2d", "zero_padding2_d", "zeropadding2d"}
# Norms that no known network of Keras has, wherever they stand.
NORMS = {"group_normalization", "layer_normalization", "unit_normalization"}
# What acts on images alone, and so stands in front of a network also where a file does not say it.
FILTERS = {"auto_contrast", "equalization"}
# What does more than to multiply and to add, so that no mean and standard deviation do the same.
BEYOND = FILTERS | TURNS | {
    "activation", "re_lu", "relu", "relu6", "leaky_re_lu", "elu", "sigmoid", "tanh", "softmax",
    "power", "pow", "square", "sqrt", "exp", "log", "log1p", "abs", "absolute", "clip", "clip_by_value", "maximum", "minimum",
    "round", "floor", "ceil", "mod", "cast",
    "mean", "std", "var", "max", "min", "reduce_mean", "reduce_std", "reduce_variance", "reduce_max", "reduce_min",
    "per_image_standardization", "adjust_contrast", "rgb_to_hsv", "hsv_to_rgb", "rgb_to_grayscale",
    "matmul", "dot", "einsum", "tensordot", "conv", "conv2d", "transpose", "permute",
    "average_pooling2d", "max_pooling2d",
}  # fmt: skip
# What a network may have behind its first layer, by the automatic names of layers without weights.
INSIDE = {
    "activation", "re_lu", "leaky_re_lu", "elu", "softmax", "flatten", "reshape", "add", "average", "concatenate", "multiply",
    "maximum", "custom_scale_layer",  # the last is of Keras's own Inception-ResNet v2
    "average_pooling2d", "max_pooling2d", "global_average_pooling2d", "global_max_pooling2d",
}  # fmt: skip

_KERAS = {"keras", "tf_keras", "tensorflow"}  # where modules of classes of Keras begin


def own_class(row: Mapping[str, Any]) -> bool:
    """Whether a layer or an operation is of a class of somebody's own, whatever it is called.

    Args:
        row: of the layer in a configuration. Those of old Keras name no module.
    """
    called = f"{row.get('registered_name')} {row.get('class_name')}"
    return ">" in called or str(row.get("module", "keras")).partition(".")[0] not in _KERAS


def layers_in(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the layers in a model; empty for a layer, also where one of its settings is called "layers".

    Raises:
        TypeError: a model of Keras's own has something else for layers.
    """
    inside = row["config"]
    rows = inside.get("layers") if isinstance(inside, dict) else inside  # a list: Sequential in Keras 1
    if isinstance(rows, list) and all(isinstance(each, dict) and "class_name" in each for each in rows):
        return rows
    if rows is not None and snake(row.get("class_name", "model")) in MODELS:
        raise TypeError(f"layers are {rows!r:.40}")
    return []


def is_model(row: Mapping[str, Any]) -> bool:
    """Whether a row is of a model, which may be of a class of one's own that only trains in another way."""
    inside = row["config"]
    saved_as_one = isinstance(inside, dict) and ("output_layers" in inside or "build_input_shape" in inside)
    return snake(row["class_name"]) in MODELS or (saved_as_one and bool(layers_in(row)))


def does_nothing(kind: str) -> bool:
    """Whether layers of a class, spelled as in automatic names, leave pixels as they are in prediction."""
    return kind in IDLE or kind.startswith("random_")
