"""Keys of images by their content, which are the same wherever an image lies; an index on the disk keeps those of files.

A key is the first 8 bytes of the SHA-256 of a file's bytes, or of an array's shape and pixels. Between one million images and
another million, the probability that two different ones share a key is 5e-8.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from podium.data.readers import Readers
from podium.files import cache_folder

if TYPE_CHECKING:
    from podium.data.image_file import ImageFile

INDEX = "contents.sqlite"  # in the folder of caches
SETTLED = 2_000_000_000  # nanoseconds: a file that changed more recently may change again without a new time stamp
MOST = 5_000_000  # files in the index; a larger one is emptied

# Where a file's bytes lie, and what differs once they change: device, inode, first byte; size, time modified, time changed.
State = tuple[int, int, int, int, int, int]


def content_key(*parts: bytes | memoryview) -> int:
    """The key of some content, which may come in parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return int.from_bytes(digest.digest()[:8], "little")


def pixel_keys(pixels: np.ndarray) -> np.ndarray:
    """The keys of images in memory.

    Args:
        pixels: (N, H, W, C) uint8.

    Returns:
        (N,) uint64.
    """
    begun, whole = hashlib.sha256(repr(pixels.shape[1:]).encode()), np.ascontiguousarray(pixels)
    data, size = whole.data.cast("B"), whole.nbytes // max(1, len(whole))
    digests = bytearray()
    for start in range(0, whole.nbytes, size):
        digest = begun.copy()
        digest.update(data[start : start + size])
        digests += digest.digest()[:8]
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def file_keys(files: Sequence[ImageFile], progress: Callable[[int, int], None] | None = None) -> np.ndarray:
    """The keys of image files. Each file is read once, and its key is kept in the user's cache folder.

    The index identifies a file by device, inode, size and both time stamps. So it recognises a file that was moved, and does
    not take one that was replaced for the old one.

    Args:
        files: the image files.
        progress: called with (files read, files to read).

    Returns:
        (N,) uint64.

    Raises:
        DataError: a file cannot be read; names it.
    """
    keys, unknown = np.zeros(len(files), np.uint64), list[int]()
    states = [_state(file) if file.key is None and file.content is None else None for file in files]
    with _opened() as index:
        for number, (file, state) in enumerate(zip(files, states, strict=True)):
            key = file.key if file.key is not None else _found(index, state)
            if key is None:
                unknown.append(number)
            else:
                keys[number] = key
        with Readers(2) as pool:
            read = pool.map(lambda number: content_key(files[number].read()), unknown)
            for done, (number, key) in enumerate(zip(unknown, read, strict=True), 1):
                keys[number] = key
                if progress is not None:
                    progress(done, len(unknown))
        _remember(index, [(states[number], int(keys[number])) for number in unknown])
    return keys


def _state(file: ImageFile) -> State | None:
    """The state of a file on this machine; None where it cannot be found."""
    try:
        stat = os.stat(file.path)
    except OSError:
        return None
    device, inode = (number if number < 1 << 63 else number - (1 << 64) for number in (stat.st_dev, stat.st_ino))
    return device, inode, file.offset, file.size, stat.st_mtime_ns, stat.st_ctime_ns


@contextlib.contextmanager
def _opened() -> Iterator[sqlite3.Connection | None]:
    """Open the index; None where it cannot be used, and then files are read again each time."""
    index: sqlite3.Connection | None = None
    path = cache_folder() / INDEX
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        index = sqlite3.connect(path, timeout=2.0)
        index.execute(
            "CREATE TABLE IF NOT EXISTS contents (device INTEGER, inode INTEGER, start INTEGER, size INTEGER, modified INTEGER, "
            "changed INTEGER, key INTEGER, PRIMARY KEY (device, inode, start)) WITHOUT ROWID"
        )
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            with contextlib.suppress(OSError):
                path.unlink()  # a damaged index is deleted, and the next process makes a new one
        if index is not None:
            index.close()
        index = None
    try:
        yield index
    finally:
        if index is not None:
            index.close()


def _found(index: sqlite3.Connection | None, state: State | None) -> int | None:
    if index is None or state is None:
        return None
    where = "device = ? AND inode = ? AND start = ? AND size = ? AND modified = ? AND changed = ?"
    with contextlib.suppress(sqlite3.Error):
        row = index.execute(f"SELECT key FROM contents WHERE {where}", state).fetchone()  # noqa: S608 - a fixed text
        return None if row is None else int(row[0]) % (1 << 64)
    return None


def _remember(index: sqlite3.Connection | None, read: list[tuple[State | None, int]]) -> None:
    """Store the keys of files that have not changed recently."""
    before = time.time_ns() - SETTLED
    rows = [(*state, key - (1 << 64) if key >> 63 else key) for state, key in read if state and max(state[4:]) < before]
    if index is None or not rows:
        return
    with contextlib.suppress(sqlite3.Error), index:
        if index.execute("SELECT COUNT(*) FROM contents").fetchone()[0] > MOST:
            index.execute("DELETE FROM contents")
        index.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
