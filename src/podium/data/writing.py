"""What packs and shards have in common: a folder that appears whole or not at all, the head of its card, and columns."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from podium import __version__
from podium.data.dataset import Dataset
from podium.data.groups import GROUP
from podium.data.names import show
from podium.errors import DataError, MachineError, UsageError
from podium.files import disk_error, scratch_folder, sync_folder

AT_ONCE = 64  # images decoded ahead of the disk
COLUMNS = "columns.json"
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


def columns_file(data: Dataset, orders: Mapping[str, np.ndarray] | None = None) -> bytes | None:
    """The columns of the images, such as patient and camera, as a JSON file of texts; None where there are none.

    Args:
        data: whose groups, which settings name, are no column of its own.
        orders: the order in which the images of each split are written; None: as they are.
    """
    names = dict.fromkeys(name for split in data.splits.values() for name in split.columns if name != GROUP)
    texts: dict[str, list[str]] = {name: [] for name in names}
    for key, split in data.splits.items():
        order = orders[key] if orders is not None else np.arange(len(split))
        for name in names:
            values = split.columns.get(name)
            texts[name] += [""] * len(split) if values is None else map(str, values[order])
    return json.dumps(texts).encode() if texts else None


def read_columns(content: bytes, images: int) -> dict[str, list[str]]:
    """The columns in a file of `columns_file`, in the order of the images.

    Raises:
        DataError: they are not of so many images.
    """
    found = json.loads(content)
    if not isinstance(found, dict) or any(len(texts) != images for texts in found.values()):
        raise DataError(f"{COLUMNS}: is not of {images:,} images", PACK_AGAIN)
    return found


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
