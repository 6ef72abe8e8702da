"""What layers and operations of Keras do to pixels, by their classes: nothing, a product and a sum, or more than that."""

from __future__ import annotations

MODELS = {"functional", "sequential", "model"}
# What leaves pixels as they are in prediction, as do all that begin with "random_".
IDLE = {
    "input_layer", "dropout", "spatial_dropout2d", "gaussian_noise", "gaussian_dropout", "alpha_dropout", "identity",
    "rand_augment", "aug_mix", "mix_up", "cut_mix", "activity_regularization",
}  # fmt: skip
STATISTICS = {"mean", "variance"}  # of a Normalization, among the weights of a file
RESCALES = {"rescaling", "normalization"}
SIZES = {"resizing", "random_crop", "center_crop"}
PADS = {"zero_padding2d", "zero_padding2_d", "zeropadding2d"}
# Norms that no known network of Keras has, wherever they stand.
NORMS = {"group_normalization", "layer_normalization", "unit_normalization"}
# What acts on images alone, and so stands in front of a network also where a file does not say it.
FILTERS = {"auto_contrast", "equalization"}
# What does more than to multiply and to add, so that no mean and standard deviation do the same.
BEYOND = FILTERS | {
    "activation", "re_lu", "relu", "relu6", "leaky_re_lu", "elu", "sigmoid", "tanh", "softmax",
    "power", "pow", "square", "sqrt", "exp", "log", "log1p", "abs", "absolute", "clip", "clip_by_value", "maximum", "minimum",
    "round", "floor", "ceil", "mod", "cast",
    "mean", "std", "var", "max", "min", "reduce_mean", "reduce_std", "reduce_variance", "reduce_max", "reduce_min",
    "per_image_standardization", "adjust_contrast", "rgb_to_hsv", "hsv_to_rgb", "rgb_to_grayscale",
    "matmul", "dot", "einsum", "tensordot", "conv", "conv2d", "transpose", "permute", "flip",
    "average_pooling2d", "max_pooling2d",
}  # fmt: skip
# What a network may have behind its first layer, by the automatic names of layers without weights.
INSIDE = {
    "activation", "re_lu", "leaky_re_lu", "elu", "softmax", "flatten", "reshape", "add", "concatenate", "multiply",
    "average_pooling2d", "max_pooling2d", "global_average_pooling2d", "global_max_pooling2d",
}  # fmt: skip


def does_nothing(kind: str) -> bool:
    """Whether layers of a class, spelled as in automatic names, leave pixels as they are in prediction."""
    return kind in IDLE or kind.startswith("random_")
