"""Where shards lie: in a folder, or at a URL that fsspec knows; from either, a part of a file is read at a time."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from podium.data.names import show
from podium.errors import MachineError, UsageError

URL = re.compile(r"[A-Za-z0-9+.:-]+://")


def part_reader(source: str) -> Callable[[str, int, int], bytes]:
    """A function that reads a part of a file, by (name, first byte, number of bytes; -1 for all)."""
    if not URL.match(source):

        def local(name: str, start: int, size: int) -> bytes:
            with Path(source, name).open("rb", buffering=0) as file:
                file.seek(start)
                return file.read(size)

        return local
    try:
        import fsspec
    except ImportError:
        raise MachineError(f"{source}: fsspec is not installed", "pip install 'podium[shards]'") from None
    try:
        system, root = fsspec.core.url_to_fs(source)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{show(source)}: {error}", "give a URL that fsspec knows, and install its extra") from None

    def remote(name: str, start: int, size: int) -> bytes:
        try:
            return system.cat_file(f"{root.rstrip('/')}/{name}", start or None, start + size if size >= 0 else None)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # each file system of fsspec raises its own
            raise OSError(f"{type(error).__name__}: {error}") from None

    return remote
