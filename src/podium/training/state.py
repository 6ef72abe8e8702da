"""Everything an exact resume needs, on disk: written so that a crash at any moment leaves a good file to go on from.

A checkpoint is one line of text with a format number, the SHA-256 and the length of the rest, then a safetensors
file whose metadata holds the plain values as JSON. No format that torch or safetensors offer notices a flipped byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from podium.errors import ModelFileError
from podium.files import sync_folder, write_atomic

MAGIC = b"podium-checkpoint"
FORMAT = 1
LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


def save(folder: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write `last.ckpt`, keeping the one before as `previous.ckpt`.

    Raises:
        MachineError: the disk is full; the checkpoints that were there are untouched.
    """
    from safetensors.torch import save as serialize

    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    payload = serialize(flat, metadata={"values": json.dumps(values)})
    header = b"%s %d %s %d\n" % (MAGIC, FORMAT, hashlib.sha256(payload).hexdigest().encode(), len(payload))
    fresh = folder / f"next-{LAST}"
    write_atomic(fresh, header, payload)
    fault("checkpoint:written")
    last = folder / LAST
    # Between these two renames only `next-last.ckpt` is new: `candidates` looks there too.
    if last.exists():
        os.replace(last, folder / PREVIOUS)
        fault("checkpoint:rotated")
    os.replace(fresh, last)
    sync_folder(folder)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and values of one checkpoint, moved by `save` to the CPU.

    Raises:
        ModelFileError: not a checkpoint, of a newer format, or damaged; names expected and actual checksum.
    """
    from safetensors.torch import load as deserialize

    content = path.read_bytes()
    line, _, payload = content.partition(b"\n")
    words = line.split()
    if len(words) != 4 or words[0] != MAGIC or not words[1].isdigit() or not words[3].isdigit():
        raise ModelFileError(f"{path}: not a Podium checkpoint", "start the run again in another folder")
    if int(words[1]) > FORMAT:
        raise ModelFileError(f"{path}: made by a newer Podium (format {int(words[1])})", "update podium")
    actual = hashlib.sha256(payload).hexdigest()
    if len(payload) != int(words[3]) or actual != words[2].decode(errors="replace"):
        raise ModelFileError(
            f"{path}: damaged ({len(payload)} of {int(words[3])} bytes, sha256 {actual[:12]}, "
            f"not {words[2].decode(errors='replace')[:12]})",
            "the checkpoint before it is used, where there is one",
        )
    length = int.from_bytes(payload[:8], "little")
    metadata = json.loads(payload[8 : 8 + length])["__metadata__"]
    return deserialize(payload), json.loads(metadata["values"])


def newest(folder: Path) -> Iterator[Path]:
    """The checkpoints of a run, newest first, whether good or damaged."""
    for name in (f"next-{LAST}", LAST, PREVIOUS):
        if (folder / name).exists():
            yield folder / name


def load_newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """The newest good checkpoint of a run, and a line for each damaged one that was passed over.

    Raises:
        ModelFileError: there is none, or none is good.
    """
    for stray in folder.glob(".tmp-*"):  # left by a kill in the middle of a write
        stray.unlink(missing_ok=True)
    passed: list[str] = []
    for path in newest(folder):
        try:
            tensors, values = read(path)
        except ModelFileError as error:
            passed.append(error.what)
            continue
        return tensors, values, passed
    if passed:
        raise ModelFileError("; ".join(passed), "no good checkpoint is left: start the run again in another folder")
    raise ModelFileError(f"{folder}: holds no checkpoint to resume from", "start without --resume")


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as tensors by name; settings such as the learning rate follow from the step."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{key}": value
        for index, entry in state.items()
        for key, value in entry.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_state` took, laid out in memory as the parameters are: fused kernels go by address."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            like = parameters[int(index)]
            laid_out = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
            state.setdefault(int(index), {})[key] = laid_out.detach()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def fault(place: str) -> float:
    """For tests: what PODIUM_FAULT asks to go wrong at this place; nothing in ordinary life.

    "kill@PLACE" dies as by a power cut, "signal:15@PLACE" is a signal from outside, "nan@PLACE" returns not a number.
    """
    asked, _, where = os.environ.get("PODIUM_FAULT", "").partition("@")
    if where == place and asked == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if where == place and asked.startswith("signal:"):
        os.kill(os.getpid(), int(asked.removeprefix("signal:")))
    return float("nan") if where == place and asked == "nan" else 0.0
