"""Read torch's checkpoints without running anything in them: tensors become tensors, every other object a stand-in.

People save weights beside an optimiser, arguments (`argparse.Namespace`), numpy numbers, paths and dates. The unpickler here
knows the functions that rebuild tensors and nothing else. Whatever a file calls by another name is a stand-in that keeps what
it is given and does nothing.
"""

from __future__ import annotations

import io
import json
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from podium.errors import ModelFileError
from podium.files import shell_word

# What rebuilds a tensor, by module; a storage is a class called ...Storage, and torch.float32 and the like are dtypes.
_REBUILD = {
    "torch._utils": {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state"},
    "torch": {"Size", "device"},
    "torch.serialization": {"_get_layout"},
    "collections": {"OrderedDict"},
}
# The standard library's plain data. A pickle that names anything else of the standard library, such as a function that runs
# a command, was made to do something: it is refused, though it could do nothing here.
_PLAIN = {"argparse", "collections", "datetime", "decimal", "enum", "fractions", "functools", "logging", "numbers", "pathlib",
          "re", "time", "types", "typing", "uuid", "_codecs", "copyreg", "copy_reg"}  # fmt: skip
_PLAIN_BUILTINS = {"set", "frozenset", "bytearray", "complex", "slice", "range", "xrange", "object", "list", "dict", "tuple", "int",
                   "long", "float", "str", "unicode", "bytes", "bool", "type", "getattr"}  # fmt: skip


class StandIn(dict[Any, Any]):
    """In the place of an object of any class or the result of any function: it keeps items and attributes, and does nothing."""

    origin = ""  # MODULE.NAME in the file

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, *_: Any) -> None:
        """Take an element of a list."""

    extend = add = append
    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__

    @property
    def is_network(self) -> bool:
        """Whether the object was a `torch.nn.Module`."""
        return isinstance(self.state, dict) and {"_parameters", "_modules"} <= self.state.keys()


class _Unpickler(pickle.Unpickler):
    """Finds what rebuilds tensors; every other name is a class of stand-ins."""

    def find_class(self, module: str, name: str) -> Any:
        module = "builtins" if module == "__builtin__" else module  # of Python 2
        if name in _REBUILD.get(module, ()):
            return getattr(sys.modules[module], name)
        if module in ("torch", "torch.cuda", "torch.storage") and name.endswith("Storage"):
            return getattr(sys.modules[module], name)
        if module == "torch" and isinstance(dtype := getattr(torch, name, None), torch.dtype):
            return dtype
        if (module, name) == ("torch.nn.parameter", "Parameter"):
            return torch.nn.Parameter
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _from_bytes
        root = module.partition(".")[0]
        plain = name in _PLAIN_BUILTINS if module == "builtins" else root in _PLAIN
        if root in {*sys.stdlib_module_names, "__builtin__"} and not plain:
            what = f"holds more than weights ({module}.{name}), and opening it elsewhere could run code"
            raise ModelFileError(what, "take a checkpoint from a source that you trust")
        return type(name, (StandIn,), {"origin": f"{module}.{name}"})


def _load(file: Any, **arguments: Any) -> Any:
    return _Unpickler(file, **arguments).load()


_MODULE = types.SimpleNamespace(__name__="podium", Unpickler=_Unpickler, load=_load)  # as `torch.load` takes it


class _TorchScript(Exception):
    """The file is an archive that `torch.load` would run."""


def _content(file: BinaryIO) -> Any:
    """What is in a file of `torch.save`, or of `pickle.dump`."""
    options: dict[str, Any] = {"encoding": "latin1"}  # reads the texts of Python 2, and never fails
    start = file.read(2)
    file.seek(0)
    if start != b"PK":
        first = _load(file, **options)
        if first != torch.serialization.MAGIC_NUMBER:
            return first
    elif "constants.pkl" in torch._C.PyTorchFileReader(file).get_all_records():
        raise _TorchScript
    file.seek(0)
    return torch.load(file, map_location="cpu", pickle_module=_MODULE, weights_only=False, **options)


def _from_bytes(content: bytes) -> Any:
    """A tensor's values where `pickle.dump` wrote it."""
    return _content(io.BytesIO(content))


def read_pickled(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a checkpoint, and what else it holds.

    Args:
        path: a file of `torch.save`, of any version, or of `pickle.dump`.

    Returns:
        Tensors by their names; those of nested dictionaries have the dictionaries' names in front, joined by dots. Then the
        names of what lies beside dictionaries of tensors, such as "optimizer" and "epoch".

    Raises:
        ModelFileError: a whole network, a TorchScript archive, or a pickle that would run code.
    """
    try:
        with path.open("rb") as file:
            content = _content(file)
    except _TorchScript:
        raise _whole(path, "a TorchScript archive", "torch.jit.load({file}).state_dict()") from None
    if not isinstance(content, dict):
        what = f"damaged or not a checkpoint (a {type(content).__name__}, not a dictionary of tensors)"
        raise ModelFileError(what, "save the weights by torch.save(model.state_dict(), FILE), and give that")
    tensors: dict[str, Tensor] = {}
    for name, tensor in _tensors(content, ""):
        while name in tensors:  # {"a.b": x, "a": {"b": y}}
            name += " (again)"
        tensors[name] = tensor.detach()
    networks = dict(_networks(content))
    if networks and not any(value.ndim > 1 for value in tensors.values()):
        inside, kind = next(iter(networks.items()))
        held = f"[{json.dumps(inside)}]" if inside else ""
        raise _whole(path, f"a whole network ({kind})", f"torch.load({{file}}, weights_only=False){held}.state_dict()")
    beside = [str(key) for key, value in _items(content) if not _has_tensors(value)]
    return tensors, beside


def _items(content: Any) -> Iterator[tuple[Any, Any]]:
    """The entries of a dictionary, also of one of a class that is not here."""
    if isinstance(content, dict) and not (isinstance(content, StandIn) and content.is_network):
        yield from content.items()


def _tensors(content: Any, prefix: str, depth: int = 8) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that names alone lead to. An optimiser numbers its tensors, which are left out thereby."""
    for key, value in _items(content):
        if not isinstance(key, str):
            continue
        if isinstance(value, Tensor):
            if value.layout == torch.strided and not value.is_quantized:
                yield prefix + key, value
        elif depth:
            yield from _tensors(value, f"{prefix}{key}.", depth - 1)


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or any(True for _ in _tensors(value, ""))


def _networks(content: Any) -> Iterator[tuple[str, str]]:
    """The name and the class of every whole network: the content itself, whose name is empty, or an entry of it."""
    for key, value in [("", content), *_items(content)]:
        if isinstance(value, StandIn) and value.is_network:
            yield str(key), value.origin


def _whole(path: Path, what: str, state: str) -> ModelFileError:
    """The refusal of code and weights in one, with the line that takes the weights out."""
    out = path.with_name(f"{path.stem}-weights.pth")
    line = f"import torch; torch.save({state.format(file=json.dumps(path.name))}, {json.dumps(out.name)})"
    return ModelFileError(
        f"{path}: holds more than weights: {what}, whose code runs where it is opened",
        f"where you trust it and have its code, run python -c {shell_word(line)} beside it, and give {out.name}",
    )
