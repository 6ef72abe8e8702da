"""Writing files so that a crash or a full disk never costs the one that was there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from podium.errors import MachineError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNFINISHED = ".tmp-"  # how the name begins of a file that is being written


def write_atomic(path: Path, *parts: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        MachineError: the disk is full; the file that was there is untouched.
    """
    with atomic(path, sum(map(len, parts))) as file:
        for part in parts:
            file.write(part)


@contextlib.contextmanager
def atomic(path: Path, size: int) -> Iterator[BinaryIO]:
    """A file to write into that lies beside `path`, and takes its place when it is complete and synced.

    Args:
        path: of the file to be.
        size: in bytes, for the message where the disk is full.

    Raises:
        MachineError: the disk is full; the file that was there is untouched.
    """
    temporary = path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            fault(f"{path.name}:written")
            os.fsync(file.fileno())
        fault(f"{path.name}:synced")
        os.replace(temporary, path)
        fault(f"{path.name}:renamed")
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise disk_error(error, path, size) from None


def disk_error(error: OSError, path: Path, needed: int) -> MachineError:
    """What to tell a person when a file could not be written."""
    free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
    need_have = f"need {needed / 1e6:.1f} MB, have {free / 1e6:.1f} MB"
    if error.errno in FULL:
        return MachineError(
            f"disk full: {need_have} at {path} ({error.strerror})", "free some space, then go on with --resume"
        )
    return MachineError(f"cannot write {path}: {error.strerror} ({need_have})", "check the folder and its permissions")


def seal(card: Mapping[str, Any], key: str = "sha256") -> str:
    """SHA-256 of all that a card says but what it says under `key`, where the digest itself stands."""
    rest = {name: value for name, value in card.items() if name != key}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def not_finite(value: Any, name: str = "") -> str | None:
    """Where in plain values a number is NaN or infinite, which JSON does not have: "scores.top1"; None where all are finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return name
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    found = (not_finite(each, f"{name}.{key}" if name else str(key)) for key, each in items)
    return next((where for where in found if where is not None), None)


PIN = "@sha256:"  # parts the name of weights from the digest that they had


def without_folders(value: Any) -> Any:
    """Plain values that may leave this machine: of every path in them the last part, and of what is pinned the digest too.

    "/tmp/photos@sha256:12ab" becomes "photos@sha256:12ab", "timm:NAME=/tmp/w.pth" becomes "timm:NAME=w.pth".
    """
    if isinstance(value, Mapping):
        return {key: without_folders(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(each) for each in value]
    if not isinstance(value, str):
        return value
    where, pin, digest = value.partition(PIN)
    if os.path.isabs(where):
        return os.path.basename(where.rstrip("/")) + pin + digest
    peer, equals, file = where.partition("=")
    if equals and os.path.isabs(file):
        return peer + equals + os.path.basename(file) + pin + digest
    return value


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last through a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cache_folder() -> Path:
    """Where downloads, and what can be found out again, are kept: $PODIUM_CACHE, or podium in the user's folder of caches.

    The latter is as the XDG Base Directory Specification has it.
    """
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PODIUM_CACHE") or Path(root) / "podium")


def fault(place: str) -> float:
    """For tests: what PODIUM_FAULT asks to go wrong at this place; nothing in ordinary life.

    "kill@PLACE" dies as by a power cut, "signal:15@PLACE" is a signal from outside, "hang@PLACE" never ends, "nan@PLACE"
    returns not a number; several are separated by commas. Every file that is written whole has the places "NAME:written",
    "NAME:synced" and "NAME:renamed". "...@PLACE@1" is for rank 1 of several processes.
    """
    value = 0.0
    for each in os.environ.get("PODIUM_FAULT", "").split(","):
        asked, _, where = each.partition("@")
        where, _, rank = where.partition("@")
        if where != place or rank not in ("", os.environ.get("RANK", "0")):
            continue
        if asked == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif asked == "hang":
            time.sleep(3600)
        elif asked == "nan":
            value = float("nan")
        else:
            os.kill(os.getpid(), int(asked.removeprefix("signal:")))
    return value
