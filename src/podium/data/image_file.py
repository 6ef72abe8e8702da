"""Where the bytes of one image lie on the disk, and how they are read. Standard library only, and no decoding."""

from __future__ import annotations

import errno
import os
import stat as kinds
from dataclasses import dataclass
from pathlib import Path

from podium.data.names import show
from podium.errors import STARVED, DataError, MachineError
from podium.platform import read_at

STARVING = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)  # no fault of the file: too little memory, too many open files
SPECIAL = {
    kinds.S_IFIFO: "a named pipe",
    kinds.S_IFSOCK: "a socket",
    kinds.S_IFCHR: "a device",
    kinds.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class ImageFile:
    """The place of an image's bytes: a file of its own, a part of a tar, or memory.

    Args:
        path: the file or archive.
        name: the name that messages show.
        offset: the first byte in the file.
        size: the number of bytes.
        mtime_ns: when the file was modified last, in nanoseconds.
        content: the bytes themselves, for members of compressed archives.
        below: the name below the data set's root, with "/" between folders. It is the same wherever the data set lies.
        key: the key of the content (`identity.content_key`), where an index holds it.
    """

    path: Path
    name: str
    offset: int
    size: int
    mtime_ns: int
    content: bytes | None = None
    below: str = ""
    key: int | None = None

    @classmethod
    def of(cls, path: Path) -> ImageFile:
        """Describe a file that holds one image.

        Raises:
            DataError: it is missing, or not a file.
        """
        name = show(path)
        try:
            stat = path.stat()
        except OSError as error:
            raise DataError(f"{name}: cannot be read ({error.strerror})", "check the path") from None
        if path.is_dir():
            raise DataError(f"{name}: a folder, not an image", "give image files")
        if kind := SPECIAL.get(kinds.S_IFMT(stat.st_mode)):
            raise DataError(f"{name}: {kind}, not a file", "give image files")
        return cls(path, name, 0, stat.st_size, stat.st_mtime_ns)

    def head(self, count: int) -> bytes:
        """Read the first bytes, at most `count`; empty where they cannot be read, which `read` reports later."""
        if self.content is not None:
            return self.content[:count]
        try:
            with open(self.path, "rb", opener=_open_without_waiting) as file:
                return read_at(file, min(count, self.size), self.offset)
        except OSError:
            return b""

    def read(self) -> bytes:
        """Read the image's bytes.

        Raises:
            DataError: the file is gone, unreadable, or has changed since it was listed.
            MachineError: memory has run out, or too many files are open.
        """
        if self.content is not None:
            return self.content
        try:
            with open(self.path, "rb", opener=_open_without_waiting) as file:
                stat = os.fstat(file.fileno())
                if stat.st_mtime_ns != self.mtime_ns or stat.st_size < self.offset + self.size:
                    raise DataError(f"{self.name}: changed since the data set was read", "start again")
                return read_at(file, self.size, self.offset)
        except OSError as error:
            what = f"{self.name}: cannot be read ({error.strerror})"
            if error.errno in STARVING:
                raise MachineError(what, STARVED) from None
            raise DataError(what, "check the file and its permissions") from None


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file without waiting for another process: a named pipe that has replaced the file would block otherwise."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
