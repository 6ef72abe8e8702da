"""Writes weight files as Keras does, without Keras: what a layer list looks like in each of its layouts.

A layer is (name, class, [(weight, array), ...]), as `keras_layers` of the reference's `peer_fill.py` gives it; a nested
model is (name, "Functional" or "Sequential", [layer, ...]). `Configured` weights have more for the configuration.
"""

import io
import json
import re
import zipfile
from collections import Counter
from pathlib import Path

import h5py
import numpy as np

import peer_fill

PEERS = Path(__file__).parent / "peers"
MODELS = ("Functional", "Sequential")
KERAS_1 = {"kernel": "W", "bias": "b", "moving_mean": "running_mean", "moving_variance": "running_std"}


class Configured(list):
    """A layer's weights, with its entries in the configuration.

    Args:
        weights: as of any layer.
        nodes: `inbound_nodes`, None to leave them out.
        settings: of the layer, such as scale=1 / 255.
    """

    def __init__(self, weights=(), nodes=None, **settings):
        super().__init__(weights)
        self.settings, self.nodes = settings, nodes


def fixture_layers(name: str):
    """The layers of peers/keras-NAME.json with their known values."""
    return peer_fill.keras_layers(json.loads((PEERS / f"keras-{name}.json").read_text()))


def write_keras(path: Path, layers) -> Path:
    """The layers as the file's ending asks: `.weights.h5` and `.keras` of Keras 3, else weights alone of Keras 2."""
    if path.name.endswith(".weights.h5"):
        return numbered_h5(path, layers)
    return dot_keras(path, layers) if path.suffix == ".keras" else old_h5(path, layers)


def old_h5(path: Path, layers, *, keras=2, model=False, parts=1, whole=None, **attributes) -> Path:
    """The old layout.

    Args:
        path: the file to write.
        layers: see above.
        keras: whose names the weights get: conv1_W:0 of 1, conv1/kernel:0 of 2, conv1/kernel of 3.
        model: the whole model, with its configuration and an optimizer, as `model.save` writes it.
        whole: of the configuration, such as {"cls": "Sequential"}.
        parts: into how many attributes the list of layers is divided, as Keras does above 64 KB.
        attributes: of the group of weights, such as backend="theano".
    """
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if model else file
        root.attrs.update({"backend": "tensorflow", "keras_version": f"{keras}.0.0"} | attributes)
        _strings(root, "layer_names", [name for name, _, _ in layers], parts)
        for name, cls, content in layers:
            group = root.create_group(name)
            rows = _old_rows(name, cls, content, keras)
            _strings(group, "weight_names", [weight for weight, _ in rows])
            for weight, array in rows:
                group[weight] = array
        if model:
            file.attrs["model_config"] = json.dumps(configuration(layers, **(whole or {})))
            file["optimizer_weights/adam/iteration"] = np.int64(3)
    return path


def numbered_h5(path, layers, *, names=True):
    """Keras 3's `.weights.h5` of a compiled model; Keras before 3.6 leaves the names out."""

    def write(prefix, content):
        seen = Counter()
        for name, cls, inside in content:
            kind = snake(cls)
            group = file.create_group(f"{prefix}layers/{kind}" + (f"_{seen[kind]}" if seen[kind] else ""))
            seen[kind] += 1
            variables = group.create_group("vars")
            if names:
                variables.attrs["name"] = name
            if cls in MODELS:
                write(f"{group.name}/", inside)
                continue
            for i, (_, array) in enumerate(inside):
                variables[str(i)] = array

    with h5py.File(path, "w") as file:
        file.create_group("vars").attrs["name"] = "model"
        write("", layers)
        file["optimizer/vars/0"] = np.int32(3)
        file["optimizer/vars/1"] = np.float32(0.001)
    return path


def dot_keras(path: Path, layers, *, names=True, **whole) -> Path:
    """Keras 3's `.keras`: a zip that stores the above beside the configuration, for which `whole` is meant."""
    weights = numbered_h5(io.BytesIO(), layers, names=names)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        archive.writestr("config.json", json.dumps(configuration(layers, **whole)))
        archive.writestr("model.weights.h5", weights.getvalue())
    return path


def configuration(layers, name="model", cls="Functional", outputs=None):
    """What Keras saves of a model's structure, as far as it bears on weights and answers.

    Args:
        layers: see above.
        name, cls: of the model; in a "Sequential" each layer reads the one before it.
        outputs: `output_layers`, None to leave them out.
    """
    entries = []
    for layer, kind, content in layers:
        if kind in MODELS:
            entries.append(configuration(content, layer, kind))
            continue
        settings = {"name": layer}
        if kind == "BatchNormalization":
            own = {leaf for leaf, _ in content}
            settings |= {"center": "beta" in own, "scale": "gamma" in own}
        settings |= getattr(content, "settings", {})
        entry = {"module": "keras.layers", "class_name": kind, "config": settings, "name": layer}
        nodes = getattr(content, "nodes", None)
        entries.append(entry if nodes is None else entry | {"inbound_nodes": nodes})
    inside = {"name": name, "layers": entries} | ({} if outputs is None else {"output_layers": outputs})
    return {"module": "keras", "class_name": cls, "config": inside, "name": name}


def snake(cls: str) -> str:
    """Conv2D is conv2d, BatchNormalization is batch_normalization."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls).lower()


def _old_rows(name, cls, content, keras):
    if cls in MODELS:
        return [row for layer in content for row in _old_rows(*layer, keras)]
    if keras == 1:
        return [(f"{name}_{KERAS_1.get(leaf, leaf)}:0", array) for leaf, array in content]
    return [(f"{name}/{leaf}" + (":0" if keras == 2 else ""), array) for leaf, array in content]


def _strings(group, name, strings, parts=1):
    """Bytes of fixed length, as TensorFlow's Keras; an empty list is one of floats, as numpy has it."""
    encoded = [text.encode() for text in strings]
    if parts == 1:
        group.attrs[name] = encoded
        return
    for i, part in enumerate(np.array_split(np.asarray(encoded), parts)):
        group.attrs[f"{name}{i}"] = part
