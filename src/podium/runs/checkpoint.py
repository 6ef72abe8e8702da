"""Everything an exact resume needs, on disk: written so that a crash at any moment leaves a good file to go on from.

A checkpoint is one line of text with a format number, the SHA-256 and the length of the rest, then a safetensors
file whose metadata holds the plain values as JSON. No format that torch or safetensors offer notices a flipped byte.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from podium.data.readers import Readers
from podium.errors import MachineError, ModelFileError
from podium.files import atomic, fault, sync_folder
from podium.runs.tensors import safetensors_parts, sha256
from podium.settings import duration
from podium.weights.match import refuse_not_finite

MAGIC = b"podium-checkpoint"
FORMAT = 1
LAST, PREVIOUS, DAMAGED = "last.ckpt", "previous.ckpt", "damaged-"
USUAL, SHARE = (
    60.0,
    0.03,
)  # seconds between checkpoints, and the share of the time that they may take, unless asked otherwise


@dataclass
class Position:
    """Where a run is: what changes from step to step beside tensors. A checkpoint holds all of it.

    Args:
        step: steps taken.
        judged: the step at which the network was last judged.
        log_rows: rows of the log so far.
        seconds: of training so far.
        left_out: steps that were not finite.
        loss_sum, images_seen: of the epoch so far.
        best: scores of the epoch that validation likes best, and its number.
        devices: how many processes take part; more than one number where --elastic changed it.
        threads: the same of the threads that compute in each; none where an older Podium wrote it.
    """

    step: int = 0
    judged: int = 0
    log_rows: int = 0
    seconds: float = 0.0
    left_out: int = 0
    loss_sum: float = 0.0
    images_seen: int = 0
    best: dict[str, Any] = field(default_factory=lambda: {"top1": -1.0, "epoch": 0})
    devices: list[int] = field(default_factory=lambda: [1])
    threads: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, values: dict[str, Any]) -> Position:
        """Out of a checkpoint; what an older Podium did not write is as at the start."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})


def save(folder: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write `last.ckpt`, keeping the one before as `previous.ckpt`.

    Raises:
        MachineError: the disk is full; the checkpoints that were there are untouched.
    """
    parts = safetensors_parts(tensors, {"values": json.dumps(values)})
    size = sum(map(len, parts))
    fresh = folder / f"next-{LAST}"
    with atomic(fresh, size) as file, _beside(sha256, parts) as digest:
        file.write(_line("0" * 64, size))
        for part in parts:
            file.write(part)
        file.seek(0)
        file.write(_line(digest(), size))
    last = folder / LAST
    # Between these two renames only `next-last.ckpt` is new: `candidates` looks there too.
    if last.exists():
        os.replace(last, folder / PREVIOUS)
        fault("checkpoint:rotated")
    os.replace(fresh, last)
    sync_folder(folder)


def pause(asked: str | None, took: float) -> float:
    """Seconds from one checkpoint to the next.

    Args:
        asked: the setting; where there is none it is a minute, or longer where saving takes more than 3 % of that.
        took: seconds that the one before took to save.
    """
    return duration("checkpoint_every", asked)[0] if asked is not None else max(USUAL, took / SHARE)


@contextmanager
def _beside(
    work: Callable[[Sequence[bytes | memoryview]], str], parts: Sequence[bytes | memoryview]
) -> Iterator[Callable[[], str]]:
    """Have a thread work on something; gives what waits for the outcome. Where no thread can be started that is when it is done."""
    try:
        thread = Readers(1)
    except MachineError:
        yield lambda: work(parts)
        return
    with thread:
        yield thread.submit(work, parts).result


def _line(digest: str, size: int) -> bytes:
    return b"%s %d %s %d\n" % (MAGIC, FORMAT, digest.encode(), size)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and values of one checkpoint, moved by `save` to the CPU.

    Raises:
        ModelFileError: not a checkpoint, of a newer format, or damaged, with expected and actual checksum; or with weights
            that are not finite.
    """
    from safetensors.torch import load as deserialize

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror})", "check the file and the disk") from None
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
    tensors = deserialize(payload)
    refuse_not_finite({name: value for name, value in tensors.items() if not name.startswith("optimizer.")}, str(path))
    return tensors, json.loads(metadata["values"])


def newest(folder: Path) -> Iterator[Path]:
    """The checkpoints of a run, newest first, whether good or damaged."""
    for name in (f"next-{LAST}", LAST, PREVIOUS):
        if (folder / name).exists():
            yield folder / name


def load_newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """The newest good checkpoint of a run, and a line for each damaged one that was passed over.

    Damaged ones are set aside as `damaged-*.ckpt` once a good one is found, so that they do not take its place.

    Raises:
        ModelFileError: there is none, or none is good; nothing was touched.
    """
    passed, damaged = [], []
    for path in newest(folder):
        try:
            tensors, values = read(path)
        except ModelFileError as error:
            passed.append(error.what)
            damaged.append(path)
            continue
        if path.name == PREVIOUS and not passed:
            passed.append(f"{folder / LAST}: missing")
        for other in damaged:
            with suppress(FileNotFoundError):  # a process beside this one was first
                os.replace(other, other.with_name(f"{DAMAGED}{other.name}"))
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
