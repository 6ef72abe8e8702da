"""What layers and operations of Keras do to pixels, by their classes: nothing, a product and a sum, or more than that."""

from __future__ import annotations

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


def does_nothing(kind: str) -> bool:
    """Whether layers of a class, spelled as in automatic names, leave pixels as they are in prediction."""
    return kind in IDLE or kind.startswith("random_")
