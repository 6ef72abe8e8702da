"""What differs between operating systems for a board: which process holds the lock of a file, and how it alone is sent a signal.

Linux lists the holders of locks and has handles of processes; elsewhere nothing is known and nothing is sent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
from pathlib import Path


def lock_holders() -> dict[int, list[int]] | None:
    """The processes that hold locks of `lock`, by the inode of the file: {inode: processes}; None where the system does not list them.

    An inode alone does not name a file of a machine with several disks: `holds_open` tells.
    """
    try:
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return None
    held: dict[int, list[int]] = {}
    for (
        row
    ) in rows:  # "1: FLOCK ADVISORY WRITE PROCESS MAJOR:MINOR:INODE 0 EOF"; one that waits has "->" as its second word
        if len(row) > 5 and row[1] == "FLOCK" and row[4].isdecimal():
            held.setdefault(int(row[5].rpartition(":")[2]), []).append(int(row[4]))
    return held


def holds_open(process: int, path: Path) -> bool:
    """Whether a process that we may look into has a file open; False where the system does not tell."""
    with contextlib.suppress(OSError):
        own = path.stat()
        for handle in os.listdir(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError):  # it was closed
                if os.path.samestat(own, Path(f"/proc/{process}/fd/{handle}").stat()):
                    return True
    return False


def stop_holder(path: Path) -> int | None:
    """Send SIGTERM to the process that holds the lock of a file, and to no other: the number of a process may pass to another.

    It is sent once, whichever board of this machine sends it: a second signal would end the process without a checkpoint.

    Args:
        path: of the file.

    Returns:
        The process; None where none holds the lock, or it is not ours, or the system cannot tell.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    with contextlib.suppress(OSError):
        inode = path.stat().st_ino
        for process in (lock_holders() or {}).get(inode, []):
            handle = os.pidfd_open(process)  # stands for this process also once it has ended
            try:
                if process in (lock_holders() or {}).get(inode, []) and holds_open(process, path):
                    if _is_first_to_stop(process):
                        signal.pidfd_send_signal(handle, signal.SIGTERM)
                    return process
            finally:
                os.close(handle)
    return None


def _is_first_to_stop(process: int) -> bool:
    """Whether no board of this machine that still runs has stopped a process, which from now on this one has.

    The mark is the name of a socket without a file, which Linux gives to one process, until that ends.
    """
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        mark.bind(f"\0podium stops {process} {_birth(process)}")
    except OSError as error:
        mark.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    mark.detach()  # it stays open
    return True


def _birth(process: int) -> str:
    """When a process began, as Linux counts it: a later process of the same number began at another time."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
