"""Checkpoints, from which a resumed run has the same bits: a crash at any moment leaves a good one on disk.

A checkpoint is one line of text with a format number, the SHA-256 and the length of the rest, then a safetensors
file whose metadata holds the plain values as JSON. The digest is there because neither torch's nor safetensors' format
notices a flipped byte.
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
from podium.units import parse_duration
from podium.weights.match import refuse_not_finite

MAGIC = b"podium-checkpoint"
FORMAT = 1
LAST, PREVIOUS, DAMAGED = "last.ckpt", "previous.ckpt", "damaged-"
USUAL = 60.0  # seconds between checkpoints where the settings do not say
SHARE = 0.03  # of the time that checkpoints may take then


_NAMES = {"judged": "evaluated"}  # the name of a value in a checkpoint -> in `Position`


@dataclass
class Position:
    """Where a run is: the values beside its tensors that change while it trains. A checkpoint holds all of them.

    Args:
        step: steps taken.
        evaluated: the step after which the network was last evaluated; "judged" in a checkpoint.
        log_rows: rows of the log so far.
        seconds: of training so far.
        left_out: steps that were left out because they were not finite.
        loss_sum: losses of the epoch so far, each times its images.
        images_seen: images of the epoch so far.
        best: scores of the epoch with the best validation scores, and its number.
        devices: how many processes take part; a further number for each time --elastic changed it.
        threads: how many threads compute in each process, likewise; empty where an older version did not write it.
        loss_scale: in float16, the factor of the loss and the steps that it has held; None in other precisions.
        platforms: what computes, as `devices.platform_of` has it, likewise.
    """

    step: int = 0
    evaluated: int = 0
    log_rows: int = 0
    seconds: float = 0.0
    left_out: int = 0
    loss_sum: float = 0.0
    images_seen: int = 0
    best: dict[str, Any] = field(default_factory=lambda: {"top1": -1.0, "epoch": 0})
    devices: list[int] = field(default_factory=lambda: [1])
    threads: list[int] = field(default_factory=list)
    loss_scale: dict[str, float] | None = None
    platforms: list[dict[str, str]] = field(default_factory=list)

    @property
    def bit_comparable(self) -> bool:
        """Whether another run of the same settings, on what computed this one from its start, has the same bits."""
        same = all(platform["kernels"] == "deterministic" for platform in self.platforms)
        return same and len(self.devices) == len(self.threads) == 1 and len(self.platforms) <= 1

    @classmethod
    def read(cls, values: dict[str, Any]) -> Position:
        """Return the position that a checkpoint has; what an older version did not write is as at the start."""
        values = {_NAMES.get(name, name): value for name, value in values.items()}
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})

    def to_dict(self) -> dict[str, Any]:
        """Return the values as a checkpoint has them, under names that every version reads."""
        on_disk = {name: old for old, name in _NAMES.items()}
        return {on_disk.get(name, name): value for name, value in vars(self).items()}


def save(folder: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write `last.ckpt`, keeping the one before as `previous.ckpt`.

    Args:
        folder: of the run.
        tensors: by name, on any device.
        values: plain values, for JSON.

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
    # Between these two renames the new checkpoint is still `next-last.ckpt`, where `newest` looks too.
    if last.exists():
        os.replace(last, folder / PREVIOUS)
        fault("checkpoint:rotated")
    os.replace(fresh, last)
    sync_folder(folder)


def pause(requested: str | None, took: float) -> float:
    """Return the seconds from one checkpoint to the next.

    Args:
        requested: the setting `checkpoint_every`; None: a minute, or longer where saving takes more than 3 % of that.
        took: seconds that saving the previous one took.
    """
    return parse_duration("checkpoint_every", requested)[0] if requested is not None else max(USUAL, took / SHARE)


@contextmanager
def _beside(
    work: Callable[[Sequence[bytes | memoryview]], str], parts: Sequence[bytes | memoryview]
) -> Iterator[Callable[[], str]]:
    """Start some work on a thread, and give a function that waits for its result; without threads, that does the work.

    Args:
        work: from the parts of a file to its digest.
        parts: of the file.
    """
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
    """Return the tensors, on the CPU, and the values of one checkpoint.

    Raises:
        ModelFileError: the file is not a checkpoint, has a newer format, is damaged, or has weights that are not finite.
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
    if int(words[1]) < 1:
        raise ModelFileError(f"{path}: format 0, which no Podium wrote", "start the run again in another folder")
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
    """Yield the checkpoints of a run, good or damaged, the newest first."""
    for name in (f"next-{LAST}", LAST, PREVIOUS):
        if (folder / name).exists():
            yield folder / name


def load_newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """Return the newest good checkpoint of a run, and a line for each newer one that is damaged or missing.

    Damaged ones are renamed to `damaged-*.ckpt` once a good one is found, so that the next checkpoint does not keep them.

    Returns:
        Its tensors, its values, and the lines.

    Raises:
        ModelFileError: there is no good checkpoint; nothing was renamed.
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
            with suppress(FileNotFoundError):  # another process has renamed it
                os.replace(other, other.with_name(f"{DAMAGED}{other.name}"))
        return tensors, values, passed
    if passed:
        raise ModelFileError("; ".join(passed), "no good checkpoint is left: start the run again in another folder")
    raise ModelFileError(f"{folder}: holds no checkpoint to resume from", "start without --resume")


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state as tensors by name; the learning rate is not in it, as it follows from the step."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{key}": value
        for index, entry in state.items()
        for key, value in entry.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_state` returned, in the parameters' memory format, which fused kernels rely on.

    Args:
        optimizer: of the same parameters, without a state.
        tensors: of a checkpoint.

    Raises:
        ModelFileError: the optimiser's state is of other parameters, as where an older version put them in another order.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            like = parameters[int(index)]
            if tensor.ndim and tensor.shape != like.shape:
                what = f"the checkpoint's optimiser is that of other parameters: {tuple(tensor.shape)}, not {tuple(like.shape)}"
                raise ModelFileError(what, "resume with the version of Podium that began the run, or start it again")
            ordered = torch.empty_like(like).copy_(tensor) if tensor.ndim else tensor
            state.setdefault(int(index), {})[key] = ordered.detach()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
