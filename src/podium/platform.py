"""What differs between operating systems and C libraries, each with what is done where it is missing. Standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import BinaryIO

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def processors() -> int:
    """The number of processors that this process may use: those it is bound to, or all where the system binds none."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores() -> int:
    """The number of threads to compute with: OMP_NUM_THREADS where it is set, as torch has it, else `processors`."""
    if (given := os.environ.get("OMP_NUM_THREADS", "")).isdecimal() and int(given) > 0:
        return int(given)
    return processors()


def stop_signals() -> list[signal.Signals]:
    """The signals that ask a process to stop: Ctrl-C, SIGTERM, a scheduler's SIGUSR1, and SIGHUP unless `nohup` ignores it."""
    wanted = ["SIGINT", "SIGTERM", "SIGUSR1", *([] if hangup_ignored() else ["SIGHUP"])]
    return [signal.Signals[name] for name in wanted if hasattr(signal, name)]


def hangup_ignored() -> bool:
    """Whether this process ignores that its terminal is gone, as one that `nohup` started."""
    return hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@functools.cache
def quiet_libtiff() -> None:
    """Keep the libtiff inside Pillow's wheel from printing each fault of a damaged file; Pillow raises an error all the same."""
    try:
        spec = importlib.util.find_spec("PIL")
        folder = Path(spec.origin).parents[1] / "pillow.libs" if spec is not None and spec.origin else None
        for library in folder.glob("libtiff*.so*") if folder is not None else ():
            ctypes.CDLL(str(library)).TIFFSetErrorHandler(None)
    except (ImportError, OSError, AttributeError):
        return  # other builds of Pillow, whose libtiff goes on printing


def read_at(file: BinaryIO, size: int, offset: int) -> bytes:
    """Read a part of a file that other threads do not have open; fewer bytes where the file ends."""
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), size, offset)
    file.seek(offset)
    return file.read(size)


def lock(handle: int) -> bool | None:
    """Take the lock of an open file or folder, which the system gives back when it is closed or the process ends.

    Returns:
        Whether it was free; None where the system or the file system has no such locks.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # another process holds it
        return False
    except OSError:  # some network file systems have no locks
        return None
    return True


def peak_memory() -> int | None:
    """The most bytes of memory that this process has had so far, as macOS counts them; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def address_limit() -> int | None:
    """The bytes of addresses that this process may use (`ulimit -v`); None where there is no limit."""
    try:
        import resource
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def keep_freed_memory() -> None:
    """Let malloc keep the memory that is freed, in one heap: every training step needs the same gigabyte of activations again.

    By default glibc maps each large tensor anew and unmaps it when it is freed, so every step has the kernel clear all of
    its pages: 4-6 % of a step of ResNet-50 or VGG-11 on two cores. Where the C library is another one, nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, 64 << 20), (_ARENA_MAX, 1)):
        mallopt(parameter, value)


def trim_freed_memory() -> None:
    """Give back to the system the freed memory that glibc's malloc keeps; nothing is done with another C library."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
