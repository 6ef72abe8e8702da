"""Writing files so that a crash or a full disk never costs the one that was there."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from podium.errors import MachineError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_atomic(path: Path, *parts: bytes) -> None:
    """Write a file whole or not at all: beside it first, synced, then renamed over it.

    Raises:
        MachineError: the disk is full; the file that was there is untouched.
    """
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        with temporary.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise disk_error(error, path, sum(map(len, parts))) from None


def disk_error(error: OSError, path: Path, needed: int) -> MachineError:
    """What to tell a person when a file could not be written."""
    free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
    return MachineError(
        f"cannot write {path}: {error.strerror} (need {needed / 1e6:.1f} MB, have {free / 1e6:.1f} MB)",
        "free some space, then go on with --resume",
    )


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last through a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
