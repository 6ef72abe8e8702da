"""What a file of Keras without the configuration of its layers tells of its model: the names of layers are all there is.

The scale of a Rescaling is not among the weights, nor what a function of TensorFlow or a Lambda does. Where the file does not
say in which order layers act, the number of channels may tell whether one acts on pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from podium.weights.keras_front import behind, makes_images
from podium.weights.keras_kinds import (
    CAFFE,
    CROPS,
    FILTERS,
    INSIDE,
    MODELS,
    NORMS,
    PADS,
    RESCALES,
    SIZES,
    STATISTICS,
    does_nothing,
)
from podium.weights.keras_layers import Weights, snake

if TYPE_CHECKING:
    import h5py

Strings = Callable[["h5py.Group", str], list[str]]  # reads a list of names among the attributes
Entry = dict[str, Any]
STATISTIC = re.compile(r"(?:(.*)/)?(mean|variance|count)(?:_\d+)?(?::\d+)?")  # of a Normalization layer
RANDOM_STATE = re.compile(r"(.*/)?StateVar(_\d+)?(:\d+)?")  # of augmentation layers inside a model
NOT_THE_NETWORK = re.compile(r"_?(optimizer|metrics|compiled?_(metrics|loss))/|(.*/)?random_\w+/")
OTHER = "Identity"  # stands for what does not bear on pixels
GET_ITEM, BIAS_ADD = "tf.__operators__.getitem", "tf.nn.bias_add"  # which turn red first into blue first, and add
WHOLE_MODEL = (
    "they may turn red first into blue first, which --mean and --std cannot say: save the whole model, by "
    'model.save("m.h5"), whose file says what its operations do'
)
# Classes that bear on pixels or answers, by the automatic names of layers.
_TELLING = {
    name: "".join(word.capitalize() for word in name.split("_"))
    for name in RESCALES | NORMS | FILTERS | SIZES | CROPS | {"lambda"}
} | {"tf.image.resize": "Resize"}
# What people call an input, and a padding such as conv1_pad.
_QUIET = re.compile(r"(\w+_)?(inputs?|images?|img|pixels|tensor|data|x|pad)")


def guess_ordered(root: h5py.Group, strings: Strings, layers: Mapping[str, Weights]) -> Entry:
    """The configuration of an old file's model, whose layers the file lists in their order; nested ones are one layer there.

    Args:
        root: the group of weights.
        strings: see above.
        layers: the weights of every layer, by its name.
    """
    entries, nested, front, notes = list[Entry](), list[Entry](), list[Entry](), list[str]()
    names, begun = strings(root, "layer_names"), False
    for name in names:
        weights = [weight for weight in strings(root[name], "weight_names") if not RANDOM_STATE.fullmatch(weight)]
        normal = {match[1] or "": weight for weight in weights if (match := STATISTIC.fullmatch(weight))}
        entry: Entry = {"class_name": kind_by_name(name.rpartition("/")[2]), "config": {"name": name}}
        if len(normal) == 1 and all(map(STATISTIC.fullmatch, weights)):
            entry["class_name"] = "Normalization"
            if _without_number(name) in MODELS:
                entry["doubt"] = f"the file does not say what {name!r} does beside its Normalization"
        elif weights:  # a nested model lists what is not trained behind what is, and so in no order
            entry["class_name"], begun = _kind_by_weights(name, layers.get(name, {})), True
            if name not in layers:
                notes.append(f"the file names no layers without weights inside {name!r}, such as a Rescaling")
            inside = (owner.rpartition("/")[2] or "Normalization" for owner in normal)
            nested += [_unplaced(owner, "Normalization", layers) for owner in inside]
        elif entry["class_name"] == OTHER and not begun and not _is_quiet(name):
            entry |= {"class_name": "Lambda", "doubt": f"the file does not say what {name!r} does"}
        entries.append(entry)
        front += [] if begun else [entry]
    nested += _by_channels({name: held for name, held in layers.items() if name not in names}, layers)
    said = {"class_name": OTHER, "config": {}, "notes": notes}
    return {"config": {"layers": [said, *nested, *_joined_as_caffe(entries, front, not nested)]}}


def _joined_as_caffe(entries: list[Entry], front: list[Entry], alone: bool) -> list[Entry]:
    """The layers of a model, with one in place of the two operations that Keras's preprocess_input has with blue first.

    What may turn the channels is in doubt, with a mend that says it.

    Args:
        entries: layers in their order.
        front: those before the first with weights.
        alone: whether nothing else may act on pixels.
    """
    acting = [entry for entry in front if entry["class_name"] != OTHER and snake(entry["class_name"]) not in SIZES]
    kinds = [_without_number(entry["config"]["name"]) for entry in acting]
    if GET_ITEM in kinds:
        names = [entry["config"]["name"] for entry in acting]
        for entry in acting:
            entry |= {"doubt": f"the file does not say what {' and '.join(map(repr, names))} do", "fix": WHOLE_MODEL}
        if kinds == [GET_ITEM, BIAS_ADD] and alone:
            acting[0] |= {"config": {"name": " and ".join(names)}, CAFFE: True}
            entries.remove(acting[1])
    return entries


def guess_listed(root: h5py.Group, strings: Strings, layers: Mapping[str, Weights]) -> Entry:
    """The same for a model that is a class of its own, whose file lists its layers in no order."""
    kinds = []
    for name in strings(root, "layer_names"):
        kind = kind_by_name(name)
        bare = kind == OTHER and not strings(root[name], "weight_names")
        unknown = bare and not (_is_quiet(name) or _without_number(name) in INSIDE)
        kinds.append((name, "Lambda" if unknown else kind))
    held = [(name, "Normalization") for name, weights in layers.items() if weights.keys() <= STATISTICS]
    return _guess([*(pair for pair in kinds if pair not in held), *held], layers)


def guess_numbered(file: h5py.File, text: Callable[[Any], str], layers: Mapping[str, Weights]) -> Entry:
    """The same for Keras 3's layout, whose groups have the names of classes, in no order."""
    paths: list[str] = []
    file.visit(paths.append)
    holding = {path[:end] for path in paths if not hasattr(file[path], "keys") for end in _ends(path)}
    kinds = []
    for path in paths:
        above, _, layer = path.rpartition("/")
        known = f"{path}/vars" in file
        name = text(file[f"{path}/vars"].attrs.get("name", layer)) if known else layer
        # A layer that is an attribute of a class of one's own has the attribute's name as its path.
        if (above.endswith("layers") or known) and not NOT_THE_NETWORK.match(f"{path}/"):
            called = layer if above.endswith("layers") else name
            kind, bare = kind_by_name(called), path not in holding and f"{path}/layers" not in file
            kinds.append((name, "Lambda" if kind == OTHER and bare and not _is_known(called) else kind))
    return _guess(kinds, layers)


def _ends(path: str) -> Iterator[int]:
    """Where the paths of the groups above something end in its path."""
    return (match.start() for match in re.finditer("/", path))


def _is_known(name: str) -> bool:
    """Whether the automatic name of a layer without weights is of a class that leaves pixels as they are, or of a network's own."""
    kind = _without_number(name)
    return does_nothing(kind) or kind in PADS | SIZES | INSIDE | MODELS


def _guess(kinds: Iterable[tuple[str, str]], layers: Mapping[str, Weights]) -> Entry:
    """A configuration in which layers that act on pixels, or of which that is not known, come before the network."""
    entries = [_unplaced(name, kind, layers) for name, kind in kinds if kind != OTHER]
    return {"config": {"layers": [*entries, *_by_channels(layers, layers), {"class_name": "Dense", "config": {}}]}}


def kind_by_name(name: str) -> str:
    """The class of a layer by its automatic name, where it bears on pixels."""
    return _TELLING.get(_without_number(name), "TFOpLambda" if name.startswith("tf.") else OTHER)


def _is_quiet(name: str) -> bool:
    """Whether the name of a layer without weights says that it leaves pixels as they are."""
    kind = _without_number(name.rpartition("/")[2])
    return does_nothing(kind) or kind in PADS | SIZES | {"activation"} or _QUIET.fullmatch(kind) is not None


def _without_number(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _kind_by_weights(name: str, weights: Weights) -> str:
    """The class of a layer with weights; a nested model has none of its own, and counts as a convolution."""
    if (named := kind_by_name(name)) != OTHER:
        return named
    if "moving_mean" in weights:
        return "BatchNormalization"
    if weights.keys() & {"gamma", "beta"}:
        return "LayerNormalization"
    return "Dense" if weights and weights.get("kernel", np.empty((1,) * 4)).ndim == 2 else "Conv2D"


def _unplaced(name: str, kind: str, layers: Mapping[str, Weights]) -> Entry:
    """A layer of which the file does not say where it stands: in front of the network by its channels, or in doubt.

    Raises:
        ModelFileError: it does not act on pixels.
    """
    entry: Entry = {"class_name": kind, "config": {"name": name}}
    place = "whether it stands in front of the network; where it stands behind it, save the model without it"
    if kind == "Rescaling":
        return entry | {"doubt": f"the file does not say by what {name!r} (Rescaling) multiplies, nor {place}"}
    if kind == "Lambda":
        return entry | {"doubt": f"the file does not say what {name!r} does, nor {place}"}
    mean = layers.get(name, {}).get("mean")
    if kind != "Normalization" or mean is None:
        return entry
    channels, given = _channels(layers)
    if mean.shape not in ((), (1,), (channels,)):
        raise behind(entry, f"it is of {mean.size} channels, and the network's images have {channels}")
    if mean.shape == () or mean.size != channels or channels in given:
        return entry | {"doubt": f"the file does not say of {name!r} ({kind}) {place}"}
    return entry


def _by_channels(some: Mapping[str, Weights], layers: Mapping[str, Weights]) -> Iterator[Entry]:
    """Norms and convolutions among some layers that are of as many channels as the images of the network."""
    channels, _ = _channels(layers)
    for name, weights in some.items():
        kernel = weights.get("kernel", weights.get("depthwise_kernel"))
        norm = weights.get("moving_mean", weights.get("gamma", weights.get("beta")))
        reads = kernel.shape[-2:-1] if kernel is not None else norm.shape if norm is not None else ()
        if reads == (channels,) and makes_images(name, layers):
            yield {"class_name": _kind_by_weights(name, weights), "config": {"name": name}}


def _channels(layers: Mapping[str, Weights]) -> tuple[int, set[int]]:
    """The channels of the network's images, and how many values its layers give."""
    kernels = [(leaf, array.shape) for held in layers.values() for leaf, array in held.items() if "kernel" in leaf]
    channels = min((shape[-2] for _, shape in kernels if len(shape) == 4), default=0)
    return channels, {shape[-1] for leaf, shape in kernels if leaf != "depthwise_kernel"}
