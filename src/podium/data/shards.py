"""Shards: the files of a data set in uncompressed tars of the WebDataset convention, read by index. numpy only.

A member `KEY.jpg` is an image. `KEY.cls` beside it holds its class, as a number or a name (or `KEY.json` does, under "cls",
"label" or "class"). `podium pack --shards` writes up to four files beside the tars:

- `index.npy` has one row an image: shard, first byte, number of bytes, label, CRC-32, name of the member.
- `contents.npy`, (N,) uint64, has one key an image, of its bytes (`identity.content_key`).
- `columns.json` has the columns of the images that stood in a table, such as patient and camera, in the same order.
- `shards.json` has the format, the classes, the size of each split and of each shard, and the SHA-256 of the others.

With these files, an image is one read of a part of one file, from a folder or, through fsspec, from elsewhere. A folder of shards
without an index is read too (`foreign_shards.py`). Nothing is extracted to the disk, no command is run (`pipe:`), and pickles
are ignored, as is every member that is neither an image nor a label.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from podium import __version__
from podium.data.dataset import Dataset
from podium.data.decode import decode
from podium.data.depth import ANY
from podium.data.foreign_shards import begins_as_shard, foreign_shards, read_headers
from podium.data.formats import FORMATS, HEAD, recognised
from podium.data.identity import content_key
from podium.data.image_file import ImageFile
from podium.data.layout import Listing
from podium.data.names import show
from podium.data.readers import Readers
from podium.data.shard_store import URL, part_reader
from podium.data.writing import AT_ONCE, COLUMNS, PACK_AGAIN, as_file, card_head, columns_file, new_folder, read_columns
from podium.errors import DataError, UsageError
from podium.files import seal, write_atomic, write_json

FORMAT = 1  # of the index; a higher number is refused
CARD, INDEX, CONTENTS = "shards.json", "index.npy", "contents.npy"
SHARD_SIZE = 500_000_000  # bytes
ROW = [("shard", "i8"), ("offset", "i8"), ("size", "i8"), ("label", "i8"), ("crc", "u4")]


@dataclass(frozen=True)
class Member(ImageFile):
    """An image in an indexed shard.

    Args:
        store: reads bytes, by (shard, first byte, number of bytes).
        crc: CRC-32 of the image's bytes.
        checked: (all,) bool, the images of the index whose bytes this process has compared with their CRC-32.
        row: the image's row in the index.
    """

    store: Callable[[str, int, int], bytes] = lambda *_: b""
    crc: int = 0
    checked: np.ndarray | None = None
    row: int = 0

    def head(self, count: int) -> bytes:
        """Nothing: a member's name ends as its content is, and reading a part of one may cost a request."""
        return b""

    def read(self) -> bytes:
        """Read the image's bytes, and compare them with their checksum the first time.

        Raises:
            DataError: they cannot be read, or have changed since they were indexed.
        """
        try:
            content = self.store(str(self.path), self.offset, self.size)
        except OSError as error:
            what = f"{self.name}: cannot be read ({error.strerror or error})"
            raise DataError(what, "check the shard, and the disk or network that it is read from") from None
        if self.checked is not None and not self.checked[self.row]:
            if zlib.crc32(content) != self.crc:
                raise DataError(f"{self.name}: is not what was packed (its CRC-32 is another)", PACK_AGAIN)
            self.checked[self.row] = True
        return content


# --- writing


def write_shards(
    data: Dataset, out: Path, shard_size: int = SHARD_SIZE, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Copy the files of a data set into shards, byte for byte, and write the index: completely or not at all.

    The images of each split are shuffled in a fixed order, so that a program that reads the shards as a stream meets all
    classes early.

    Args:
        data: a data set of files.
        out: the folder to make.
        shard_size: bytes of images after which the next shard begins.
        progress: called with (images written, images in all).

    Returns:
        The content of `shards.json`.

    Raises:
        DataError: an image cannot be read or decoded; names it.
        MachineError: the disk is full. What was written is removed; the images are untouched.
    """
    count, sizes = sum(map(len, data.splits.values())), dict[str, int]()
    written = list[_Written]()
    with new_folder(data, out) as (folder, wrote):
        for split in data.splits:
            images = _shuffled(data, split)
            for number in itertools.count():
                if (first := next(images, None)) is None:
                    break
                shard = folder / f"{split}-{number:06d}.tar"
                for image in _fill(shard, len(sizes), len(written), itertools.chain([first], images), shard_size):
                    written.append(image)
                    wrote(image.size)
                    if progress is not None:
                        progress(len(written), count)
                sizes[shard.name] = shard.stat().st_size
        return _write_index(folder, data, written, sizes)


class _Written(NamedTuple):
    """An image that was written into a shard: its row in the index, and the key of its content."""

    shard: int
    offset: int
    size: int
    label: int
    crc: int
    name: str
    key: int


def _fill(
    shard: Path, number: int, first: int, images: Iterable[tuple[bytes, str, int]], most: int
) -> Iterator[_Written]:
    """Write one shard, and yield each image that it holds.

    Args:
        shard: the tar to write.
        number: the shard's number.
        first: the number of its first image.
        images: bytes, ending and label of each. Images beyond the shard are not taken from the iterator.
        most: bytes of images after which the shard is full.
    """
    held = 0
    with tarfile.open(shard, "w:", format=tarfile.USTAR_FORMAT) as tar:
        for place, (content, ending, label) in enumerate(images, first):
            name = f"{place:08d}.{ending}"
            start = _add(tar, name, content)
            _add(tar, f"{place:08d}.cls", str(label).encode())
            yield _Written(number, start, len(content), label, zlib.crc32(content), name, content_key(content))
            held += len(content)
            if held >= most:
                return


def _write_index(folder: Path, data: Dataset, written: list[_Written], sizes: dict[str, int]) -> dict[str, Any]:
    """Write the index, the keys and the card of shards; returns the card."""
    table = np.empty(len(written), [*ROW, ("name", f"S{max(len(image.name) for image in written)}")])
    for place, image in enumerate(written):
        table[place] = (image.shard, image.offset, image.size, image.label, image.crc, image.name.encode())
    index, contents = as_file(table), as_file(np.array([image.key for image in written], np.uint64))
    write_atomic(folder / INDEX, index)
    write_atomic(folder / CONTENTS, contents)
    columns = columns_file(data, {name: _order(len(split)) for name, split in data.splits.items()})
    if columns is not None:
        write_atomic(folder / COLUMNS, columns)
    card = {
        **card_head(data, FORMAT),
        "shards": sizes,
        "skipped": [list(pair) for pair in data.skipped],
        "index_sha256": hashlib.sha256(index).hexdigest(),
        "contents_sha256": hashlib.sha256(contents).hexdigest(),
        **({} if columns is None else {"columns_sha256": hashlib.sha256(columns).hexdigest()}),
    }
    card["sha256"] = seal(card)
    write_json(folder / CARD, card)
    return card


def _order(count: int) -> np.ndarray:
    """The order in which the images of a split are written."""
    return np.random.Generator(np.random.PCG64(0)).permutation(count)


def _shuffled(data: Dataset, name: str) -> Iterator[tuple[bytes, str, int]]:
    """Yield the bytes, ending and label of every image of a split. Threads read ahead, and decode each to prove it valid."""
    split = data.splits[name]
    files = split.files or ()
    order = _order(len(split))

    def read(index: int) -> tuple[bytes, str, int]:
        content = files[index].read()
        decode(content, files[index].name, 3, white=ANY, max_pixels=data.max_pixels)
        kind = FORMATS.get(recognised(content[:HEAD]))
        ending = kind.endings[0][1:] if kind is not None else files[index].name.rpartition(".")[2].lower()
        return content, ending, int(split.labels[index])

    with Readers(2) as pool:
        for start in range(0, len(order), AT_ONCE):
            yield from pool.map(read, order[start : start + AT_ONCE].tolist())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Append a member, and return the offset of its first byte in the tar."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    start = tar.offset + tarfile.BLOCKSIZE
    tar.addfile(info, io.BytesIO(content))
    return start


# --- reading


def is_shards(source: str | Path) -> bool:
    """Whether a source is shards: a URL, a folder with an index, or one with numbered tars, in it or in its split folders.

    A single tar counts where its first members are those of a shard.

    Raises:
        UsageError: the source is a command (`pipe:`), which is never run.
    """
    if str(source).lower().startswith("pipe:"):
        raise UsageError(f"{show(str(source))}: commands are not run", "give a folder of shards or a URL of fsspec's")
    if URL.match(str(source)):
        return True
    path = Path(source)
    try:
        found = list(islice(foreign_shards(path), 2)) if path.is_dir() else []
    except OSError:
        return False
    return len(found) > 1 or any(map(begins_as_shard, found)) or os.path.isfile(path / CARD)


def list_shards(source: str | Path) -> Listing:
    """List the images of shards; where there is an index, no shard is opened.

    Args:
        source: a folder, or a URL that fsspec knows.

    Raises:
        DataError: the index or a shard is missing, damaged, of a newer format or hostile; names it.
    """
    remote = URL.match(str(source)) is not None
    if not remote and not (Path(source) / CARD).is_file():
        return read_headers(Path(source))
    store = part_reader(str(source))
    card, table, keys, cells = _read_index(source, store)
    shards, checked, listing = card["shards"], np.zeros(len(table), bool), Listing()
    _check_places(source, shards, table, len(card["classes"]))
    for name, size in shards.items() if not remote else ():
        shard = Path(source, name)
        if not shard.is_file() or shard.stat().st_size != size:
            found = f"{shard.stat().st_size:,} bytes" if shard.is_file() else "missing"
            raise DataError(f"{show(shard)}: {found}, not the {size:,} bytes that were packed", PACK_AGAIN)
    rows, places = iter(enumerate(table.tolist())), [(Path(name), show(f"{source}/{name}")) for name in shards]
    for split, count in card["splits"].items():
        classes: dict[str, list[ImageFile]] = {name: [] for name in card["classes"]}
        listing.files[split] = classes
        for _, (row, (number, offset, size, label, crc, member)) in zip(range(count), rows, strict=False):
            path, shown = places[number]
            name = member.decode()
            key = keys[row] if keys is not None else content_key(f"{size} {crc}".encode())
            below, name = f"{path}/{name}", f"{shown}!{name}"
            file = Member(path, name, offset, size, 0, None, below, key, store, crc, checked, row)
            if cells is not None:
                listing.cells[split, below] = cells, row
            classes[card["classes"][label]].append(file)
    return listing


def _read_index(
    source: str | Path, store: Callable[[str, int, int], bytes]
) -> tuple[dict[str, Any], np.ndarray, list[int] | None, dict[str, list[str]] | None]:
    """Read the card, the index, the keys and the columns of shards; the keys are None in shards of Podium 0.1.0.

    Raises:
        DataError: they are missing, damaged or of a newer format.
    """
    try:
        content = store(CARD, 0, -1)
        card = json.loads(content)
        if not 1 <= card["format"] <= FORMAT:
            what = f"{show(f'{source}/{CARD}')}: format {card['format']!r} of Podium {card.get('podium')}"
            raise DataError(f"{what}; this is {__version__}, which knows up to {FORMAT}", "update Podium")
        if card["sha256"] != seal(card):
            raise DataError(f"{show(f'{source}/{CARD}')}: damaged (its SHA-256 is another)", PACK_AGAIN)
        index = store(INDEX, 0, -1)
        contents = store(CONTENTS, 0, -1) if "contents_sha256" in card else None
        columns = store(COLUMNS, 0, -1) if "columns_sha256" in card else None
        for name, stored in ((INDEX, index), (CONTENTS, contents), (COLUMNS, columns)):
            digest = f"{name.partition('.')[0]}_sha256"
            if stored is not None and hashlib.sha256(stored).hexdigest() != card[digest]:
                raise DataError(f"{show(f'{source}/{name}')}: damaged (its SHA-256 is another)", PACK_AGAIN)
    except OSError as error:
        what = f"{show(str(source))}: no index of shards can be read there ({error.strerror or error})"
        raise DataError(what, "make one with `podium pack DATA --shards -o DIR`") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{show(f'{source}/{CARD}')}: damaged ({type(error).__name__}: {error})", PACK_AGAIN) from None
    table = np.load(io.BytesIO(index), allow_pickle=False)
    keys = np.load(io.BytesIO(contents), allow_pickle=False).tolist() if contents is not None else None
    return card, table, keys, read_columns(columns, len(table)) if columns is not None else None


def _check_places(source: str | Path, shards: dict[str, int], table: np.ndarray, classes: int) -> None:
    """Check that an index points only into the shards beside it.

    Raises:
        DataError: it points elsewhere.
    """
    for name in shards:
        outside = PurePosixPath(name).name != name or "\\" in name or name in ("", "..")
        if outside or (not URL.match(str(source)) and Path(source, name).is_symlink()):
            raise DataError(f"{show(f'{source}/{CARD}')}: names {name!r}, which is not a file beside it", PACK_AGAIN)
    sizes = np.array(list(shards.values()), np.int64)
    place, start, count, label = (table[column] for column in ("shard", "offset", "size", "label"))
    fits = (place >= 0) & (place < len(sizes)) & (start >= 0) & (count >= 0) & (label >= 0) & (label < classes)
    if not fits.all() or (start + count > sizes[place]).any():
        row = int(np.argmin(fits)) if not fits.all() else int(np.argmax(start + count > sizes[place]))
        raise DataError(f"{show(f'{source}/{INDEX}')}: image {row} lies outside of the shards", PACK_AGAIN)
