"""What writing packs and shards have in common: a folder that appears whole or not at all, and the head of its card."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from podium import __version__
from podium.data.dataset import Dataset
from podium.data.names import show
from podium.errors import MachineError, UsageError
from podium.files import disk_error, scratch_folder, sync_folder

AT_ONCE = 64  # images decoded ahead of the disk
PACK_AGAIN = "pack the images again"


def card_head(data: Dataset, number: int) -> dict[str, Any]:
    """What the card of a pack or of shards begins with: format, version, name, classes and the sizes of the splits."""
    return {
        "format": number,
        "podium": __version__,
        "name": data.name,
        "classes": list(data.classes),
        "splits": {name: len(split) for name, split in data.splits.items()},
    }


def as_file(array: np.ndarray) -> bytes:
    """The bytes of an array as an `.npy` file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@contextlib.contextmanager
def new_folder(data: Dataset, out: Path) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """A folder to write a data set of files into, which gets its name when everything is written.

    Args:
        data: of files.
        out: the name of the folder, which must not exist or be empty.

    Yields:
        The folder, and a function to call with the number of bytes of each write, which messages add up.

    Raises:
        UsageError: the name is taken, or the data are not files.
        MachineError: the disk is full. What was written is removed.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{show(out)}: exists already", "name another folder with -o")
    if any(split.files is None for split in data.splits.values()):
        raise UsageError(f"{data.name}: is not made of image files", "use it as it is: it is read at memory speed")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"cannot make {show(out)}: {error.strerror}", "name another folder with -o") from None
    place = Path(os.path.abspath(out))
    total = 0

    def wrote(count: int) -> None:
        nonlocal total
        total += count

    try:
        with scratch_folder(place) as folder:
            yield folder, wrote
            sync_folder(folder)
            folder.rename(place)
            sync_folder(place.parent)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            what = f"{show(out)}: was made by another process meanwhile"
            raise UsageError(what, "use that, or name another folder with -o") from None
        raise disk_error(error, out, total) from None
