"""Weight files of Keras, read by h5py alone: no Keras, no TensorFlow.

There are three layouts. In the old `.h5` each layer is a group whose weights have names. In the `.weights.h5` of Keras 3
groups are called after classes, and weights are numbered. A `.keras` file is a zip with such a `.weights.h5` and the model's
configuration. Files are not trusted: no link out of a file is followed, nothing is unpacked to a path, and sizes are checked.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from podium.errors import MachineError, ModelFileError
from podium.natural import natural
from podium.weights.front import Front
from podium.weights.keras_behind import ONE_OUTPUT, as_two_classes, read_head
from podium.weights.keras_front import read_front
from podium.weights.keras_graph import own_models
from podium.weights.keras_guess import (
    NOT_THE_NETWORK,
    OTHER,
    RANDOM_STATE,
    STATISTIC,
    guess_listed,
    guess_numbered,
    guess_ordered,
    kind_by_name,
)
from podium.weights.keras_kinds import NORMS, STATISTICS, layers_in
from podium.weights.keras_layers import TORCH, KerasLayer, Weights, auto_name, kind_of, snake

if TYPE_CHECKING:
    import h5py

# Keras 2 and 3 write "conv1/kernel:0". Keras 1 wrote "block1_conv1_W_1:0", and the official files of VGG and Xception are
# still of Keras 1. Its `running_std` is a variance.
_OLD_WEIGHT = re.compile(
    rf"(?:(?:(.*)/)?({'|'.join(TORCH)})"
    r"|(.*)_(W|b|gamma|beta|running_mean|running_std|depthwise_kernel|pointwise_kernel))(?:_\d+)?(?::\d+)?"
)
_KERAS_1 = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}

# What h5py, zipfile and json raise on damaged files; the SystemError is a bug of h5py.
_DAMAGE = (
    OSError, EOFError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError, SystemError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


# What helps where layers have no names: Keras 2 writes the old layout at model.save_weights("w.h5").
NAMELESS_CLASS = (
    'a class of your own is saved with the names of its layers by model.save_weights("w.h5"), or by Keras 3.6 and later: '
    "give that file, and --mean and --std for what its call does to pixels"
)
NAMELESS = f'save the model by model.save("m.h5"); {NAMELESS_CLASS}'
OWN_MODEL = (
    "the file has a model of its owner's class {}: its layers are taken as Keras's would use them, which is right where the class "
    "only trains in another way; the file does not say what its call does"
)


class KerasModel(NamedTuple):
    """What a file of Keras holds.

    Args:
        layers: those with weights, without a head whose answers would be others.
        front: what the model does to pixels before them; None where it does nothing.
        problem: why its head is left out; empty where it is not.
        notes: lines on what was changed.
    """

    layers: list[KerasLayer]
    front: Front | None
    problem: str = ""
    notes: tuple[str, ...] = ()


def read_keras(path: Path) -> KerasModel:
    """Read an `.h5`, `.weights.h5` or `.keras` file, with the layers of nested models.

    An old file gives them in the model's order, the other layouts by class and number. Where a batch norm in a `.weights.h5`
    has only one of gamma and beta, the file does not say which; it is taken for beta, as in the Inceptions.

    Raises:
        ModelFileError: missing, damaged, not of Keras, linking out of itself, or with layers of other kinds.
        MachineError: h5py is not installed.
    """
    try:
        import h5py  # noqa: F401 - only to report a missing package first
    except ImportError:
        raise MachineError(
            f"{path}: h5py, which reads Keras's files, is not installed", 'pip install "podium[keras]"'
        ) from None
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file", "give the path of a downloaded weight file")
    try:
        return _read(path)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error.what}", error.fix) from None
    except _DAMAGE as error:
        why = error.__cause__ or error
        raise ModelFileError(f"{path}: damaged, or not a file of Keras ({why})", "download or save it again") from None


def _read(path: Path) -> KerasModel:
    """Do the work of `read_keras`; errors do not name the file."""
    import h5py

    limit = 20 * path.stat().st_size + 2**26  # bytes; Keras does not compress, and weights hardly shrink
    source: Path | io.BytesIO = path
    config: Any = None
    with path.open("rb") as opened:
        head = opened.read(8)
    if head.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(path) as archive:
            config = json.loads(_member(archive, "config.json", limit))
            source = io.BytesIO(_member(archive, "model.weights.h5", limit))
    elif head != b"\x89HDF\r\n\x1a\n":
        raise ModelFileError(f"not of Keras (it starts with {head!r})", "give an .h5, .weights.h5 or .keras file")
    layers: dict[str, Weights] = {}
    with h5py.File(source, "r") as file:
        datasets = _datasets(file, limit)
        root = file.get("model_weights", file)
        named = bool({"layer_names", "layer_names0"} & set(root.attrs))
        if named:
            config = json.loads(file.attrs.get("model_config", "null"))
        for name, weights in _named_layers(root, config) if named else _numbered_layers(file, datasets, config):
            if name in layers:
                raise ModelFileError(f"two layers are called {name!r}", "save the model inside on its own")
            layers[name] = weights
        if not named and not _configured(config):
            config = guess_numbered(file, _text, layers)
        elif not _configured(config):  # a class of one's own has a configuration without layers
            config = (guess_listed if config else guess_ordered)(root, _strings, layers)
    weighted = {name: weights for name, weights in layers.items() if not weights.keys() <= STATISTICS}
    if not weighted:
        raise ModelFileError("holds no weights of Keras layers", "give an .h5, .weights.h5 or .keras file of a model")
    front, found = read_front(config, layers), read_head(config, weighted)
    if found.problem and found.layer not in weighted:
        raise ModelFileError(found.problem, "save the model without that layer, or the one inside it on its own")
    if found.problem:
        del weighted[found.layer]
    if found.one_output:
        weighted[found.layer] = as_two_classes(weighted[found.layer])
    notes = [ONE_OUTPUT] if found.one_output else []
    notes += [OWN_MODEL.format(cls) for cls in own_models(config)]
    return KerasModel([KerasLayer(*layer) for layer in weighted.items()], front, found.problem, tuple(notes))


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """One member of a zip as bytes; refused where its size is out of proportion."""
    if name not in archive.namelist():
        raise ModelFileError(f"a zip without {name}", "give a .keras file that Keras saved in its default format")
    size = archive.getinfo(name).file_size  # zipfile never unpacks more than this
    if size > limit:
        raise ModelFileError(f"{name} in it claims {size:,} bytes, out of proportion", "download or save it again")
    return archive.read(name)


def _datasets(file: h5py.File, limit: int) -> dict[str, h5py.Dataset]:
    """Every array by its path, after a check of all links and sizes."""
    import h5py

    links: dict[str, Any] = {}
    file.visititems_links(links.__setitem__)  # follows only links to groups inside the file
    seen = {h5py.h5o.get_info(file.id).addr}  # a second path to an object is a link too, and could form a circle
    datasets = {}
    size = 0
    for name, link in links.items():
        item = file[name] if isinstance(link, h5py.HardLink) else None
        elsewhere = isinstance(item, h5py.Dataset) and (item.external or item.is_virtual)
        address = None if item is None else h5py.h5o.get_info(item.id).addr
        if item is None or elsewhere or address in seen:
            raise ModelFileError(f"{name!r} in it is a link, which Keras never writes", "save the model again")
        seen.add(address)
        if isinstance(item, h5py.Dataset):
            datasets[name] = item
            size += item.nbytes
    if size > limit:
        raise ModelFileError(f"claims {size:,} bytes of weights, out of proportion", "download or save it again")
    return datasets


def _named_layers(root: h5py.Group, config: Any) -> Iterator[tuple[str, Weights]]:
    """The old layout: `layer_names` among the attributes lists groups, `weight_names` of each lists arrays."""
    if root.attrs.get("backend") in ("theano", b"theano"):
        raise ModelFileError("saved under Theano, whose kernels are mirrored", "load it and save it under TensorFlow")
    kinds = {entry.get("config", {}).get("name"): kind_of(entry) for entry in _configured(config).values()}
    for group_name in _strings(root, "layer_names"):
        group = root[group_name]
        found: dict[str, Weights] = {}  # by the path before the weight's name; a nested model has several
        for weight in _strings(group, "weight_names"):
            if match := _OLD_WEIGHT.fullmatch(weight):
                leaf, array = match[2] or _KERAS_1.get(match[4], match[4]), _array(group[weight])
                if leaf.endswith("kernel") != (array.ndim > 1):
                    raise _unreadable(group_name, f"a weight {weight!r} of the shape {array.shape}")
                found.setdefault(match[1] or match[3] or "", {})[leaf] = array
            elif match := STATISTIC.fullmatch(weight):
                if match[2] != "count":
                    found.setdefault(match[1] or "", {})[match[2]] = _array(group[weight])
            elif not RANDOM_STATE.fullmatch(weight):
                raise _unreadable(group_name, f"a weight {weight!r}")
        for owner, weights in found.items():
            # For the second conv1 of a session TensorFlow 1 numbers the path and not the layer: conv1/conv1_1/kernel:0.
            own = len(found) == 1 and (not owner or re.search(rf"(^|/){re.escape(group_name)}(_\d+)?$", owner))
            name = group_name if own else owner.rsplit("/", 1)[-1]
            yield name, _name_depthwise(weights, kinds.get(name) or auto_name(name)[0])


def _numbered_layers(
    file: h5py.File, datasets: Mapping[str, h5py.Dataset], config: Any
) -> Iterator[tuple[str, Weights]]:
    """Keras 3's layout: `layers/conv2d_3/vars/0`, where 3 counts the model's layers of a class and `vars` has the name."""
    entries = _configured(config)
    variables: dict[str, dict[int, h5py.Dataset]] = {}
    for path, dataset in datasets.items():
        match = re.fullmatch(r"(.+)/vars/(\d{1,3})", path)
        if match and not NOT_THE_NETWORK.match(path):
            variables.setdefault(match[1], {})[int(match[2])] = dataset
    for path in sorted(variables, key=natural):
        entry = entries.get(path, {})
        settings = entry.get("config", {})
        name = _text(settings.get("name") or file[f"{path}/vars"].attrs.get("name", ""))
        if not name:
            what = f"does not say what the layer at {path!r} is called, as Keras before 3.6 did not"
            raise ModelFileError(what, NAMELESS if config is None else NAMELESS_CLASS)
        tail = path.rsplit("/", 1)[-1]
        cls = snake(entry.get("class_name") or max(kind_by_name(tail), kind_by_name(name), key=OTHER.__ne__))
        if cls == "normalization":
            yield name, {"mean": _array(variables[path][0]), "variance": _array(variables[path][1])}
            continue
        kind = cls if cls in NORMS else kind_of(entry) if entry else auto_name(tail)[0] or auto_name(name)[0]
        arrays = [_array(variables[path][i]) for i in range(len(variables[path]))]
        affine: Literal["gamma", "beta"] = "gamma" if settings.get("center") is False else "beta"
        leaves = _leaves(kind, [array.ndim for array in arrays], affine)
        if leaves is None:
            raise _unreadable(name, f"weights of the shapes {[array.shape for array in arrays]}")
        yield name, _name_depthwise(dict(zip(leaves, arrays, strict=False)), kind)


def _leaves(kind: str, ndims: list[int], affine: Literal["gamma", "beta"]) -> list[str] | None:
    """The names of a layer's numbered weights, in the order in which Keras makes them; None for a layer that is not known.

    A bias at the end may be missing.

    Args:
        kind: class of the layer; empty where it is not known.
        ndims: number of dimensions of each weight.
        affine: the one that a batch norm with three weights has.
    """
    match ndims:
        case [1, 1] if kind == "batch_normalization":
            return ["moving_mean", "moving_variance"]
        case [1] | [1, 1] if kind in NORMS:
            return ["gamma", "beta"]
        case [1, 1, 1]:
            return [affine, "moving_mean", "moving_variance"]
        case [1, 1, 1, 1]:
            return ["gamma", "beta", "moving_mean", "moving_variance"]
        case [4, 4] | [4, 4, 1]:
            return ["depthwise_kernel", "pointwise_kernel", "bias"]
        case [2 | 3 | 4 | 5] | [2 | 3 | 4 | 5, 1]:
            return ["kernel", "bias"]
    return None


def _name_depthwise(weights: Weights, kind: str) -> Weights:
    """The same weights, with the `kernel` of Keras 3's DepthwiseConv2D, (H, W, C, M), renamed to `depthwise_kernel`.

    Where the class is not known, the shapes tell it: a bias has C·M values, and M is 1 in all networks with such layers.
    """
    kernel, bias = weights.get("kernel"), weights.get("bias")
    if kernel is None or kernel.ndim != 4 or kind not in ("", "depthwise_conv2d"):
        return weights
    height, width, channels, multiplier = kernel.shape
    plain = multiplier > 1 or height * width == 1 if bias is None else bias.size != channels * multiplier
    if plain and not kind:
        return weights
    return {"depthwise_kernel" if leaf == "kernel" else leaf: array for leaf, array in weights.items()}


def _configured(config: Any, prefix: str = "") -> dict[str, dict[str, Any]]:
    """The configuration of every layer, nested ones included, by the path where Keras 3 stores its weights."""
    entries: dict[str, dict[str, Any]] = {}
    seen: Counter[str] = Counter()
    for entry in [] if config is None else layers_in(config):
        name = snake(entry["class_name"])
        path = f"{prefix}layers/{name}" + (f"_{seen[name]}" if seen[name] else "")
        seen[name] += 1
        entries |= {path: entry} | _configured(entry, f"{path}/")
    return entries


def _strings(group: h5py.Group, name: str) -> list[str]:
    """A list of names among the attributes; a long one is in parts `name0`, `name1`, ..."""
    parts = [name] if name in group.attrs else takewhile(group.attrs.__contains__, (f"{name}{i}" for i in count()))
    return [_text(text) for part in parts for text in group.attrs[part]]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _array(dataset: h5py.Dataset) -> np.ndarray:
    """The values of a dataset as float32."""
    dtype = dataset.dtype
    if dtype.kind == "V" and dtype.itemsize == 2:  # bfloat16, unknown to HDF5: the upper half of a float32
        return (dataset[()].view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    if dtype.kind != "f":
        raise ModelFileError(
            f"{dataset.name} in it is of {dtype}, not of floats", "save the model before quantising it"
        )
    return dataset[()].astype(np.float32, copy=False)


def _unreadable(layer: str, what: str) -> ModelFileError:
    return ModelFileError(
        f"the layer {layer!r} in it has {what}; convolutions, dense layers and batch norms are what can be read",
        "save the model without that layer",
    )
