"""Read torch's checkpoints without running anything in them: tensors become tensors, every other object a stand-in.

People save weights beside an optimiser, arguments (`argparse.Namespace`), numpy numbers, paths and dates. The unpickler here
knows the functions that rebuild tensors and nothing else. Whatever a file calls by another name is a stand-in that keeps what
it is given and does nothing.
"""

from __future__ import annotations

import _compat_pickle
import io
import pickle
import re
import sys
import types
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from podium.errors import ModelFileError
from podium.weights.named import Named, is_key, names_in
from podium.weights.pixel_means import is_statistic, without_normalizers
from podium.weights.stand_in import StandIn, array_of, bytes_of, numbers_of
from podium.weights.whole import Archive, networks_in, refusal

# What rebuilds a tensor, by module; a storage is a class called ...Storage, and torch.float32 and the like are dtypes.
_REBUILD = {
    "torch._utils": {
        "_rebuild_tensor",
        "_rebuild_tensor_v2",
        "_rebuild_tensor_v3",
        "_rebuild_parameter",
        "_rebuild_parameter_with_state",
    },
    "torch": {"Size", "device"},
    "torch.serialization": {"_get_layout"},
    "collections": {"OrderedDict"},
}
# The standard library's plain data, and functions that only count. A pickle that names anything else of the standard library, such
# as a function that runs a command, was made to do something: it is refused, though it could do nothing here.
_PLAIN = {"argparse", "collections", "datetime", "decimal", "enum", "fractions", "functools", "logging", "numbers", "pathlib",
          "re", "time", "types", "typing", "uuid", "_codecs", "copyreg", "operator", "_operator", "random", "_random", "itertools", "math",
          "cmath", "string", "statistics", "zoneinfo", "posixpath", "ntpath", "ipaddress", "array"}  # fmt: skip
_PLAIN_BUILTINS = {"set", "frozenset", "bytearray", "complex", "slice", "range", "object", "list", "dict", "tuple", "int", "float",
                   "str", "bytes", "bool", "type", "getattr", "max", "min", "len", "sum", "abs", "round", "sorted", "reversed", "enumerate",
                   "zip", "any", "all", "pow", "divmod", "print", *_compat_pickle.PYTHON2_EXCEPTIONS}  # fmt: skip
LISTED = 8  # names that a message lists
NETWORK = ("arch", "architecture", "model_name")  # keys under which people save the name of the network
_WORD = re.compile(r"[\w.-]{1,60}", re.ASCII)


class _Unpickler(pickle.Unpickler):
    """Finds what rebuilds tensors; every other name is a class of stand-ins."""

    def find_class(self, module: str, name: str) -> Any:
        module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))  # of Python 2
        module = _compat_pickle.IMPORT_MAPPING.get(module, module)
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
        if root in sys.stdlib_module_names and not plain:
            what = f"holds more than weights ({module}.{name}), and opening it elsewhere could run code"
            own = "where you wrote it yourself, save the weights alone: torch.save(model.state_dict(), FILE)"
            raise ModelFileError(what, f"take a checkpoint from a source that you trust; {own}")
        return type(name, (StandIn,), {"origin": f"{module}.{name}"})


def _load(file: Any, **arguments: Any) -> Any:
    return _Unpickler(file, **arguments).load()


_MODULE = types.SimpleNamespace(__name__="podium", Unpickler=_Unpickler, load=_load)  # as `torch.load` takes it


def _content(file: BinaryIO) -> Any:
    """What is in a file of `torch.save`, or of `pickle.dump`."""
    options: dict[str, Any] = {"encoding": "latin1"}  # reads the texts of Python 2, and never fails
    start = file.read(2)
    file.seek(0)
    if start != b"PK":
        first = _load(file, **options)
        if first != torch.serialization.MAGIC_NUMBER:
            return first
    else:
        _refuse_damaged(file)
        _refuse_torchscript(torch._C.PyTorchFileReader(file).get_all_records())
    file.seek(0)
    return torch.load(file, map_location="cpu", pickle_module=_MODULE, weights_only=False, **options)


def _refuse_torchscript(records: list[str]) -> None:
    """Refuse an archive that `torch.load` would run, by the names of its parts."""
    if "constants.pkl" not in records:
        return
    if any(name.startswith("constants/") for name in records) and not any(name.startswith("data/") for name in records):
        what = "a frozen TorchScript archive, whose weights are constants without names"
        raise ModelFileError(what, "give the checkpoint or the TorchScript archive that was frozen")
    raise Archive("a TorchScript archive", "torch.jit.load({file}).state_dict()")


def _refuse_damaged(file: BinaryIO) -> None:
    """Refuse an archive with a part that is not what it was when it was written; torch does not look.

    A file that was saved with `torch.serialization.set_crc32_options(False)` has no checksum that holds.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _refuse_others([member.filename for member in members])
        wrong = [member.filename for member in members if not _is_whole(archive, member)]
    if 0 < len(wrong) < len(members):
        raise ModelFileError(f"damaged: {wrong[0]} in it is not what its checksum says", "download it again")
    file.seek(0)


def _refuse_others(names: list[str]) -> None:
    """Refuse a zip archive that `torch.save` did not write."""
    if any(name.endswith(("data.pkl", "constants.pkl")) for name in names):
        return
    if any(name.endswith(("models/model.json", "serialized_exported_program.json")) for name in names):
        raise Archive("a program of torch.export", "torch.export.load({file}).state_dict")
    if names and all(name.endswith(".npy") for name in names):
        fix = "save them as torch tensors by the same names, by torch.save or safetensors"
        raise ModelFileError("not a model file, but arrays of numpy", fix)
    raise ModelFileError("not a model file, but an archive", "unpack it, and give what is inside")


def _is_whole(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(member) as part:
            while part.read(1 << 20):
                pass
    except (zipfile.BadZipFile, zlib.error, EOFError):
        return False
    return True


def _from_bytes(content: Any) -> Any:
    """A tensor's values where `pickle.dump` wrote it."""
    return _content(io.BytesIO(bytes_of(content)))


def read_pickled(path: Path) -> tuple[dict[str, Tensor], list[str], Named]:
    """The tensors of a checkpoint, and what else it holds.

    Args:
        path: a file of `torch.save`, of any version, or of `pickle.dump`.

    Returns:
        Tensors by their names; those of nested dictionaries have the dictionaries' names in front, joined by dots. Then the
        names of what lies beside dictionaries of tensors, such as "optimizer" and "epoch", and the names of classes.

    Raises:
        ModelFileError: a whole network, a TorchScript archive, or a pickle that would run code.
    """
    try:
        with path.open("rb") as file:
            content = _content(file)
    except Archive as archive:
        raise archive.refusal(path) from None
    save = "save the weights by torch.save(model.state_dict(), FILE), and give that"
    if not isinstance(content, dict | list | tuple):
        what = f"damaged or not a checkpoint (a {type(content).__name__}, not a dictionary of tensors)"
        raise ModelFileError(what, save)
    tensors, networks = _by_name(content), networks_in(content)
    if networks and not any(value.ndim > 1 for value in tensors.values()):
        raise refusal(path, content, networks)
    plain, named = _plain_statistics(content), names_in(content)
    if not tensors:  # weights by `value.numpy()`
        content = _with_arrays(content)
        tensors = _by_name(content)
    tensors |= plain
    said = {*plain, *filter(is_key, named)}
    whole = {each.top: f"{each.top} (a whole network{each.pixels and ', '}{each.pixels})" for each in networks}
    beside = [str(key) for key, value in _items(content) if not (_has_tensors(value) or key in said)]
    beside = [*whole.values(), *(_with_network(key, content) for key in beside if key not in whole)]
    if not tensors:
        inside = f", but {', '.join(beside[:LISTED])}" if beside else ""
        raise ModelFileError(f"damaged or not a checkpoint (no tensors that have names{inside})", save)
    return tensors, beside, named


def _with_network(key: str, content: Any) -> str:
    """The name of an entry, with what it says where it names the network."""
    said = content.get(key) if isinstance(content, dict) else None
    return f"{key}: {said}" if key in NETWORK and isinstance(said, str) and _WORD.fullmatch(said) else key


def _by_name(content: Any) -> dict[str, Tensor]:
    """Every tensor by the names that lead to it."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in _tensors(content, ""):
        while name in tensors:  # {"a.b": x, "a": {"b": y}}
            name += " (again)"
        tensors[name] = tensor.detach()
    return tensors


def _with_arrays(content: Any, depth: int = 8) -> Any:
    """The same with tensors for numpy's arrays of numbers."""
    if isinstance(content, StandIn) and (array := array_of(content)) is not None and array.dtype.kind in "fiub":
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    if depth and isinstance(content, dict) and not isinstance(content, StandIn):
        return {key: _with_arrays(value, depth - 1) for key, value in content.items()}
    return (
        [_with_arrays(value, depth - 1) for value in content]
        if depth and isinstance(content, list | tuple)
        else content
    )


def _items(content: Any) -> Iterator[tuple[Any, Any]]:
    """The entries of a dictionary, also of one of a class that is not here; of a list or a tuple those that have entries, by number."""
    if isinstance(content, list | tuple):
        yield from ((str(i), value) for i, value in enumerate(content) if isinstance(value, dict | list | tuple))
    elif isinstance(content, dict) and not (isinstance(content, StandIn) and content.is_network):
        yield from content.items()


def _tensors(content: Any, prefix: str, depth: int = 8) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that names alone lead to. An optimiser numbers its tensors, which are left out thereby."""
    for key, value in _items(content):
        if isinstance(key, int) and not prefix and isinstance(value, dict):  # folds: {0: weights, 1: weights}
            key = str(key)
        if not isinstance(key, str):
            continue
        if isinstance(value, Tensor):
            if value.layout == torch.strided and not value.is_quantized:
                yield prefix + key, value
        elif depth:
            yield from _tensors(value, f"{prefix}{key}.", depth - 1)


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or any(True for _ in _tensors(value, ""))


def _plain_statistics(content: Any) -> dict[str, Tensor]:
    """Means and deviations of pixels that are numbers, lists, tuples or arrays of numpy, as tensors by their names."""
    named = {
        name: torch.tensor(numbers, dtype=torch.float64)
        for name, value in _plain(content, "")
        if is_statistic(name) and (numbers := numbers_of(value))
    }
    used = {name for each in without_normalizers(named)[1] for name in each.names}
    return {name: value for name, value in named.items() if name in used}


def _plain(content: Any, prefix: str, depth: int = 4) -> Iterator[tuple[str, Any]]:
    """Every value that is no dictionary, by the names that lead to it; an object's attributes are such names, as an argparse.Namespace's."""
    if isinstance(content, list | tuple) and not prefix:  # weights and settings side by side
        for value in content if depth else ():
            yield from _plain(value, "", depth - 1)
        return
    if isinstance(content, StandIn) and not content and isinstance(content.state, dict) and not content.is_network:
        content = content.state
    if (isinstance(content, dict) and not isinstance(content, StandIn)) or (isinstance(content, StandIn) and content):
        for key, value in content.items():
            if isinstance(key, str) and not isinstance(value, Tensor) and depth:
                yield from _plain(value, f"{prefix}.{key}" if prefix else key, depth - 1)
    elif prefix:
        yield prefix, content
