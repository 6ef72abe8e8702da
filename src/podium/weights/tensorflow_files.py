"""Formats of TensorFlow and Keras that Podium does not read: what each is, and the line that saves one that it does read.

Their weights have no names of layers, or stand in many files. The names of the files tell them.
"""

from __future__ import annotations

import re
from pathlib import Path

from podium.errors import ModelFileError

_CHECKPOINT = re.compile(
    r"(.+)\.(index|data-\d{5}-of-\d{5})"
)  # of TensorFlow: PREFIX.index, PREFIX.data-00000-of-00001
_SHARDS = ".weights.json"  # of Keras 3, beside its NAME_00000.weights.h5
_MODEL = ("saved_model.pb", "saved_model.pbtxt")  # in the folder of a SavedModel


def refuse_tensorflow(path: Path) -> None:
    """Refuse what TensorFlow and Keras write beside `.h5` and `.keras`.

    Args:
        path: as someone gives it: a file, the folder that it lies in, or what TensorFlow's own functions take for a checkpoint,
            which is the part of its files' names that they share.

    Raises:
        ModelFileError: it is a checkpoint of TensorFlow, a SavedModel, or weights of Keras in several files.
    """
    prefix = _prefix(path)
    if path.name in _MODEL or any((path / name).is_file() for name in _MODEL):
        folder = path.parent if path.name in _MODEL else path
        what, load = "a SavedModel of TensorFlow", f'model = tf.keras.models.load_model("{folder}")'
    elif prefix is not None:
        what, load = "a checkpoint of TensorFlow", f'model.load_weights("{prefix}")'
    elif path.name.endswith(_SHARDS):
        what, load = "weights of Keras in several files", f'model.load_weights("{path}")'
    else:
        return
    ending = ".weights.h5" if path.name.endswith(_SHARDS) else ".h5"
    fix = f'save the model by model.save("m.keras") or model.save_weights("w{ending}"); in a new session load it first: {load}'
    raise ModelFileError(f"{path}: {what}, which Podium does not read", fix)


def _prefix(path: Path) -> Path | None:
    """What TensorFlow calls a checkpoint that a path belongs to; None where it belongs to none."""
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        return found[-1].with_suffix("") if found and any(path.glob("*.data-?????-of-?????")) else None
    if path.is_file():
        name = _CHECKPOINT.fullmatch(path.name)
        return path.with_name(name[1]) if name else None
    return path if path.with_name(f"{path.name}.index").is_file() else None
