"""Read the weight files of other libraries.

A file that could run code or crash its parser is read by a child process, which writes the tensors as safetensors.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from torch import Tensor

from podium.errors import MachineError, ModelFileError

# Takes nothing but tensors from the pickle; `weights_only` refuses a pickle that would run code.
_READ_PICKLE = """
import sys, torch
from safetensors.torch import save_file
content = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
for key in ("state_dict", "model", "model_state_dict"):
    if isinstance(content, dict) and isinstance(content.get(key), dict):
        content = content[key]
tensors = {k: v.contiguous().clone() for k, v in content.items() if isinstance(v, torch.Tensor)}
save_file(tensors, sys.argv[2])
"""
# Runs in a process of its own, since libhdf5 can loop for ever or crash on a damaged file.
_READ_KERAS = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from safetensors.torch import save_file
from podium.errors import PodiumError
from podium.weights.keras_files import read_keras, to_torch
try:
    save_file({k: v.contiguous() for k, v in to_torch(read_keras(Path(sys.argv[1]))).items()}, sys.argv[2])
except PodiumError as error:
    print(type(error).__name__, error.what, error.fix, sep="\\0", end="", file=sys.stderr)
    sys.exit(3)
"""
PATIENCE = 300.0  # seconds that the child process may take


def read_foreign(path: Path) -> dict[str, Tensor]:
    """The tensors of a weight file, by their names in the file.

    Args:
        path: `.safetensors`, torch's `.pt`, `.pth` or `.th`, Keras's `.h5`, `.weights.h5` or `.keras`. The content tells the format, not the name.

    Raises:
        ModelFileError: missing, damaged, not a weight file, or a pickle that would run code.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelFileError(f"{path}: no such file", "give the path of a downloaded checkpoint")
    with path.open("rb") as file:
        head = file.read(16)
    if head[8:9] == b"{":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ModelFileError(f"{path}: a damaged safetensors file ({error})", "download it again") from None
    if head.startswith(b"\x89HDF") or (head.startswith(b"PK") and _is_keras(path)):
        return _in_a_child(_READ_KERAS, path)
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return _in_a_child(_READ_PICKLE, path)
    raise ModelFileError(f"{path}: not a model file (it starts with {head!r})", "download it again")


def _is_keras(path: Path) -> bool:
    """Whether a zip file is a `.keras` file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "model.weights.h5" in archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def _in_a_child(program: str, path: Path) -> dict[str, Tensor]:
    """The tensors that a program, run by a child process, reads from a file."""
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "weights.safetensors"
        here = str(Path(__file__).parents[2])  # the folder that this podium is imported from
        command = [sys.executable, "-P", "-c", program, str(path.resolve()), str(out), here]
        try:
            child = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)  # noqa: S603 - ours
        except subprocess.TimeoutExpired:
            raise ModelFileError(f"{path}: could not be read in {PATIENCE:.0f} s", "download it again") from None
        if child.returncode == 0:
            return load_file(out)
    if child.returncode == 3 and child.stderr.count("\0") == 2:
        kind, what, fix = child.stderr.split("\0")
        raise (MachineError if kind == "MachineError" else ModelFileError)(
            what.replace(str(path.resolve()), str(path)), fix
        )
    if "weights_only" in child.stderr or "UnpicklingError" in child.stderr:
        what = f"{path}: holds more than weights, and opening it could run code"
        raise ModelFileError(what, "where you trust it, save its state_dict as .safetensors and give that")
    reason = (child.stderr.strip().splitlines() or [f"its reader ended with {child.returncode}"])[-1]
    raise ModelFileError(f"{path}: damaged or not a checkpoint ({reason})", "download it again")
