"""What a file of Keras with weights alone tells of its model, as a configuration: the names of layers are all there is.

The scale of a Rescaling is not among the weights, nor what a function of TensorFlow or a Lambda does. Where the file does not
say in which order layers act, the number of channels of a Normalization may tell whether it acts on pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from podium.weights.keras_front import MODELS, behind
from podium.weights.keras_layers import Weights

if TYPE_CHECKING:
    import h5py

STATISTIC = re.compile(r"(?:(.*)/)?(mean|variance|count)(?:_\d+)?(?::\d+)?")  # of a Normalization layer
RANDOM_STATE = re.compile(r"(.*/)?StateVar(_\d+)?(:\d+)?")  # of augmentation layers inside a model


def guess_named(
    root: h5py.Group, strings: Callable[[h5py.Group, str], list[str]], layers: Mapping[str, Weights]
) -> dict[str, Any]:
    """The configuration of an old file's model, whose layers the file lists in their order; nested ones are one layer there.

    Args:
        root: the group of weights.
        strings: reads a list of names among the attributes.
        layers: the weights of every layer, by its name.
    """
    entries, nested = list[dict[str, Any]](), list[dict[str, Any]]()
    for name in strings(root, "layer_names"):
        weights = [weight for weight in strings(root[name], "weight_names") if not RANDOM_STATE.fullmatch(weight)]
        normal = {match[1] or "": weight for weight in weights if (match := STATISTIC.fullmatch(weight))}
        kind = kind_by_name(name.rpartition("/")[2])
        entry: dict[str, Any] = {"class_name": kind, "config": {"name": name}}
        if len(normal) == 1 and all(map(STATISTIC.fullmatch, weights)):
            entry["class_name"] = "Normalization"
            if _without_number(name) in MODELS:
                entry["doubt"] = f"the file does not say what {name!r} does beside its Normalization"
        elif weights:  # a nested model lists what is not trained behind what is, and so in no order
            entry["class_name"] = "Dense"
            nested += [
                _unplaced({"name": owner.rpartition("/")[2] or "Normalization"}, "Normalization", layers)
                for owner in normal
            ]
        entries.append(entry)
    return {"config": {"layers": [*nested, *entries]}}


def guess_numbered(file: h5py.File, text: Callable[[Any], str], layers: Mapping[str, Weights]) -> dict[str, Any]:
    """The same for Keras 3's layout, whose groups have the names of classes, in no order."""
    groups: list[str] = []
    file.visit(groups.append)
    entries = []
    for path in groups:
        layer = path.rpartition("/")[2]
        if path.rpartition("/")[0].endswith("layers") and (kind := kind_by_name(layer)) != "InputLayer":
            name = text(file[path]["vars"].attrs.get("name", layer)) if "vars" in file[path] else layer
            entries.append(_unplaced({"name": name}, kind, layers))
    return {"config": {"layers": [*entries, {"class_name": "Dense", "config": {}}]}}


def kind_by_name(name: str) -> str:
    """The class of a layer without weights by its automatic name, where it bears on pixels."""
    kinds = {"rescaling": "Rescaling", "normalization": "Normalization"}
    return "TFOpLambda" if name.startswith("tf.") else kinds.get(_without_number(name), "InputLayer")


def _without_number(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _unplaced(config: dict[str, Any], kind: str, layers: Mapping[str, Weights]) -> dict[str, Any]:
    """A layer of which the file does not say where it stands: in front of the network by its channels, or in doubt.

    Raises:
        ModelFileError: it does not act on pixels.
    """
    entry = {"class_name": kind, "config": config}
    name = config["name"]
    place = "whether it stands in front of the network; where it stands behind it, save the model without it"
    if kind == "Rescaling":
        lacking = f"by what {name!r} (Rescaling) multiplies, nor {place}"
        return entry | {"doubt": f"the file does not say {lacking}"}
    mean = layers.get(name, {}).get("mean")
    if kind != "Normalization" or mean is None:
        return entry
    kernels = list(_kernels(layers))
    channels = min((kernel[-2] for _, kernel in kernels if len(kernel) == 4), default=0)
    given = {kernel[-1] for leaf, kernel in kernels if leaf != "depthwise_kernel"}
    if mean.shape not in ((), (1,), (channels,)):
        raise behind(name, kind, f"it is of {mean.size} channels, and the network's images have {channels}")
    if mean.shape == () or mean.size != channels or channels in given:
        return entry | {"doubt": f"the file does not say of {name!r} ({kind}) {place}"}
    return entry


def _kernels(layers: Mapping[str, Weights]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names and shapes of all kernels."""
    for weights in layers.values():
        yield from ((leaf, array.shape) for leaf, array in weights.items() if leaf.endswith("kernel"))
