"""Read the weight files of other libraries.

A file that could run code or crash its parser is read by a child process, which writes the tensors as safetensors.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from podium.errors import MachineError, ModelFileError
from podium.weights.front import Front
from podium.weights.named import Named, names_in_config, names_in_texts
from podium.weights.pixel_means import is_called_a_mean
from podium.weights.sharded import INDEX, WHOLE, files_of
from podium.weights.tensorflow_files import refuse_tensorflow

# Both run in a process of their own: a pickle is not to be trusted, and libhdf5 can loop for ever or crash on a damaged file.
# A few bytes can ask for any amount of memory, so the process has a limit of it, set when all is imported.
_CHILD = """
import json, sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from safetensors.torch import save_file
from podium.errors import PodiumError
from podium.platform import limit_memory
path, beside, front, named = Path(sys.argv[1]), [], None, {{}}
problem, notes = "", []
try:
    {imported}
    limit_memory(int(sys.argv[4]))
    {read}
    tensors = {{name: tensor.contiguous().clone() for name, tensor in tensors.items()}}
    told = {{"beside": beside, "front": front and front.to_dict(), "named": named, "problem": problem, "notes": notes}}
    save_file(tensors, sys.argv[2], {{key: json.dumps(value) for key, value in told.items()}})
except PodiumError as error:
    print(type(error).__name__, error.what, error.fix, sep="\\0", end="", file=sys.stderr)
    sys.exit(3)
"""
_READ_PICKLE = _CHILD.format(
    imported="from podium.weights.pickled import read_pickled", read="tensors, beside, named = read_pickled(path)"
)
_READ_KERAS = _CHILD.format(
    imported="from podium.weights.keras_files import read_keras; from podium.weights.keras_layers import to_torch",
    read="layers, front, problem, notes = read_keras(path); tensors = to_torch(layers)",
)
PATIENCE = 300.0  # seconds that the child process may take
SPARE, COPIES = (
    1 << 30,
    8,
)  # bytes of memory that it may take, and how often the size of the file: it is read, widened and written
ENDED_BY_MEMORY = ("MemoryError", "can't allocate memory", "bad_alloc", "Cannot allocate memory", "unable to mmap")

# What else people give, by how it begins: what it is, and what to do.
_OTHERS = (
    (b"", "an empty file", "download or save it again"),
    (b"version https://", "a pointer of Git LFS, not the file itself", "fetch the file: git lfs pull"),
    (b"<", "a web page or XML", "download the file itself"),
    (b"\x93NUMPY", "an array of numpy", "save all weights by their names, by torch.save or safetensors"),
    (b"\x1f\x8b", "packed by gzip", "unpack it, and give what is inside"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", "unpack it, and give what is inside"),
    (b"\xfd7zXZ", "packed by xz", "unpack it, and give what is inside"),
    (b"\x08", "of ONNX or TensorFlow, a graph whose weights have lost their names", "give the checkpoint that it was made from"),
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """What a weight file holds.

    Args:
        tensors: by their names in the file; those of nested dictionaries are joined by dots.
        beside: names of what is no weights, such as "optimizer" and "epoch".
        front: what a Keras model does to pixels before its network; None where it does nothing.
        named: names of classes, by their places in the file.
        problem: why the head of a Keras model is left out; empty where it is not.
        notes: lines on what was changed.
    """

    tensors: dict[str, Tensor]
    beside: tuple[str, ...] = ()
    front: Front | None = None
    named: Named = field(default_factory=dict)
    problem: str = ""
    notes: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a weight file, or one that is in several parts.

    Args:
        path: `.safetensors`, torch's `.pt`, `.pth`, `.th` or `.bin`, Keras's `.h5`, `.weights.h5` or `.keras`. The content
            tells the format, not the name. The index of a file in parts (`model.safetensors.index.json`), or its folder.

    Raises:
        ModelFileError: missing, damaged, not a weight file, or a pickle that would run code.
    """
    refuse_tensorflow(path)
    main, parts = files_of(path)
    hub = names_in_config(main.parent) if main.name in WHOLE or main.name.endswith(INDEX) else {}
    if parts is None:
        held = _read(main)
        return replace(held, named=held.named | hub)
    tensors: dict[str, Tensor] = {}
    for part, names in parts.items():
        found = _read(part).tensors
        if lacking := sorted(names - found.keys()):
            what = f"{part}: without {lacking[0]}, which {main.name} says it has"
            raise ModelFileError(what, "download this part again")
        tensors |= found
    return Checkpoint(tensors, named=hub)


def read_foreign(path: Path) -> dict[str, Tensor]:
    """The tensors of a weight file by their names; see `read_checkpoint`."""
    return read_checkpoint(path).tensors


def _read(path: Path) -> Checkpoint:
    """Read one file."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelFileError(f"{path}: no such file", "give the path of a downloaded checkpoint")
    with path.open("rb") as file:
        head = file.read(16)
    if head[8:9] == b"{":
        try:
            with safe_open(path, "pt") as file_of_tensors:
                metadata = file_of_tensors.metadata() or {}
            unread = tuple(filter(is_called_a_mean, metadata))  # numbers in texts
            return Checkpoint(load_file(path), unread, named=names_in_texts(metadata))
        except SafetensorError as error:
            raise ModelFileError(f"{path}: a damaged safetensors file ({error})", "download it again") from None
    if head.startswith(b"\x89HDF") or (head.startswith(b"PK") and _is_keras(path)):
        return _in_a_child(_READ_KERAS, path)
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return _in_a_child(_READ_PICKLE, path)
    raise _other(path, head)


def _other(path: Path, head: bytes) -> ModelFileError:
    """The refusal of a file of another kind."""
    for start, what, fix in _OTHERS:
        if head == start or (start and head.lstrip().startswith(start)):
            return ModelFileError(f"{path}: not a model file, but {what}", fix)
    if tarfile.is_tarfile(path):
        return ModelFileError(f"{path}: not a model file, but an archive", "unpack it, and give what is inside")
    what = f"{path}: not a model file (it starts with {head!r})"
    return ModelFileError(what, "give a file of torch.save, safetensors or Keras, or download it again")


def _is_keras(path: Path) -> bool:
    """Whether a zip file is a `.keras` file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "model.weights.h5" in archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def _in_a_child(program: str, path: Path) -> Checkpoint:
    """What a program, run by a child process, reads from a file."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "weights.safetensors"
        here = str(Path(__file__).parents[2])  # the folder that this podium is imported from
        most = SPARE + COPIES * path.stat().st_size
        command = [sys.executable, "-P", "-c", program, str(path.resolve()), str(out), here, str(most)]
        try:
            child = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)  # noqa: S603 - ours
        except subprocess.TimeoutExpired:
            what = f"{path}: its reader has not ended in {PATIENCE:.0f} s"
            fix = "try again on a machine with less to do; where that does not help, save its weights as safetensors"
            raise ModelFileError(what, fix) from None
        if child.returncode == 0:
            with safe_open(out, "pt") as file:
                told = {key: json.loads(value) for key, value in file.metadata().items()}
            front = told["front"] and Front.from_dict(told["front"])
            rest = told["named"], told["problem"], tuple(told["notes"])
            return Checkpoint(load_file(out), tuple(told["beside"]), front, *rest)
    if child.returncode == 3 and child.stderr.count("\0") == 2:
        kind, what, fix = child.stderr.split("\0")
        what = what.replace(str(path.resolve()), str(path))
        named = what if str(path) in what else f"{path}: {what}"
        raise (MachineError if kind == "MachineError" else ModelFileError)(named, fix)
    if any(word in child.stderr for word in ENDED_BY_MEMORY):
        what = f"{path}: asks for more than {most / 1e9:.1f} GB of memory, with {path.stat().st_size:,} bytes in it"
        raise ModelFileError(what, "take a checkpoint from a source that you trust, or save its weights as safetensors")
    reason = (child.stderr.strip().splitlines() or [f"its reader ended with {child.returncode}"])[-1]
    raise ModelFileError(f"{path}: damaged or not a checkpoint ({reason})", "download it again")
