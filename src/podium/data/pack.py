"""Packs: photos decoded once, stored as pixels in one file, and read from there at memory speed. numpy and Pillow only.

A pack is a folder of these files:

- `images.bin` has the pixels (H, W, 3) uint8 of every image, one after the other. Images keep their shape, so a random crop
  is a few rows of a memory map, and "crop", "pad" and "stretch" remain possible.
- `index.npy`, (N, 5) int64, has one row an image: first byte, height, width, label, CRC-32 of the pixels.
- `contents.npy`, (N,) uint64, has one key an image, of the file that was packed (`identity.content_key`).
- `columns.json` has the columns of images that stood in a table, such as patient and camera; elsewhere there is none.
- `pack.json` has the format, the classes, the size of each split, how the images were prepared, and the size and SHA-256 of
  the other files.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from podium import __version__
from podium.data.dataset import Dataset, Split
from podium.data.depth import WHITE, White, as_white
from podium.data.identity import content_key
from podium.data.images import ImageSource, Progress, Shrink, as_image
from podium.data.names import show
from podium.data.readers import Readers
from podium.data.writing import AT_ONCE, COLUMNS, PACK_AGAIN, as_file, card_head, columns_file, new_folder, read_columns
from podium.errors import DataError, UsageError
from podium.files import seal, write_atomic, write_json

FORMAT = 1  # of packs; a higher number is refused
CARD, INDEX, IMAGES, CONTENTS = "pack.json", "index.npy", "images.bin", "contents.npy"


@dataclass(frozen=True)
class Pack:
    """The parts of a pack on the disk.

    Args:
        path: its folder.
        pixels: of all of its images, (bytes,) uint8, a memory map.
        index: of all of its images, as in `index.npy`.
        checked: (all,) bool, the images whose pixels this process has compared with their CRC-32.
        keys: (all,) uint64, of the contents of the files that were packed; None in packs that have none.
    """

    path: Path
    pixels: np.ndarray
    index: np.ndarray
    checked: np.ndarray
    keys: np.ndarray | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process maps the same file, and has no copy of it."""
        return _opened_again, (self.path, self.index, self.checked, self.keys)


def _opened_again(path: Path, index: np.ndarray, checked: np.ndarray, keys: np.ndarray | None) -> Pack:
    return Pack(path, np.memmap(path / IMAGES, np.uint8, "r"), index, checked, keys)


class PackImages(ImageSource):
    """Some images of a pack, read from its memory map.

    Args:
        pack: the pack.
        rows: (N,) which of its images these are.
    """

    flat: np.ndarray

    def __init__(self, pack: Pack, rows: np.ndarray) -> None:
        self.pack, self.rows, self.flat = pack, rows, pack.pixels

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.pack, self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> np.ndarray:
        """The pixels of an image, (H, W, 3) uint8, not copied; they are checked when they are read first.

        Raises:
            DataError: they are not those that were packed.
        """
        row, pack = self.rows[number], self.pack
        start, height, width, _, crc = pack.index[row].tolist()
        pixels = self.flat[start : start + height * width * 3]
        if not pack.checked[row]:
            if zlib.crc32(pixels.data) != crc:
                raise DataError(f"{show(pack.path / IMAGES)}: image {row} is damaged", PACK_AGAIN)
            pack.checked[row] = True
        return pixels.reshape(height, width, 3)

    def image(self, index: int, channels: int) -> Image.Image:  # noqa: D102
        return as_image(self[index], channels)

    def array(self, index: int, channels: int, shrink: Shrink | None = None) -> np.ndarray:  # noqa: D102
        return self[index] if channels == 3 else super().array(index, channels, shrink)

    def places(self, rows: list[int]) -> np.ndarray:
        """Where images lie, (3, n) int64: first byte, height, width; they are checked when they are read first."""
        stored = self.rows[rows]
        if not (checked := self.pack.checked[stored]).all():
            for place in np.flatnonzero(~checked):
                self[rows[place]]
        return self.pack.index[stored, :3].T

    def select(self, rows: np.ndarray) -> Self:  # noqa: D102
        return type(self)(self.pack, self.rows[rows])

    def joined(self, other: Self) -> Self:  # noqa: D102
        return type(self)(self.pack, np.concatenate([self.rows, other.rows]))

    def contents(self, progress: Progress | None = None) -> np.ndarray:
        """Keys of the files that were packed, (N,) uint64; in packs of Podium 0.1.0, of shape and CRC-32."""
        if self.pack.keys is not None:
            return self.pack.keys[self.rows]
        rows = np.ascontiguousarray(self.pack.index[self.rows][:, [1, 2, 4]])
        return np.fromiter((content_key(row.data) for row in rows), np.uint64, len(rows))

    def fingerprint(self) -> bytes:
        """SHA-256 of places, shapes and contents."""
        return hashlib.sha256(np.ascontiguousarray(self.pack.index[self.rows]).data).digest()

    def fingerprint_before(self, source: Path, root: Path) -> bytes:  # noqa: D102
        return self.fingerprint()

    def content_order(self) -> list[int]:  # noqa: D102
        return np.argsort(self.pack.index[self.rows, 4], kind="stable").tolist()

    def longest_side(self, limit: int) -> int:  # noqa: D102
        return int(self.pack.index[self.rows, 1:3].max(initial=0))


def write_pack(data: Dataset, out: Path, side: int = 256, progress: Progress | None = None) -> dict[str, Any]:
    """Decode every image of a data set and write a pack: completely or not at all.

    Args:
        data: a data set of files.
        out: the folder to make.
        side: the short side, in pixels, to which larger images are shrunk; smaller images stay as they are.
        progress: called with (images written, images in all).

    Returns:
        The content of `pack.json`.

    Raises:
        DataError: an image cannot be read; names it.
        MachineError: the disk is full. What was written is removed; the images are untouched.
    """
    if side < 1:
        raise UsageError(f"side: {side}", "give pixels, such as 256")
    written, white = 0, data.depth[0]
    with new_folder(data, out) as (folder, wrote):
        count, rows, digest = sum(map(len, data.splits.values())), [], hashlib.sha256()
        with (folder / IMAGES).open("wb") as file:
            for pixels, label in _prepared(data, side, white):
                height, width, _ = pixels.shape
                rows.append((written, height, width, label, zlib.crc32(pixels.data)))
                file.write(pixels.data)
                digest.update(pixels.data)
                written += pixels.nbytes
                wrote(pixels.nbytes)
                if progress is not None:
                    progress(len(rows), count)
            file.flush()
            os.fsync(file.fileno())
        index = as_file(np.array(rows, np.int64))
        write_atomic(folder / INDEX, index)
        contents = as_file(np.concatenate([split.contents() for split in data.splits.values()]))
        write_atomic(folder / CONTENTS, contents)
        columns = columns_file(data)
        if columns is not None:
            write_atomic(folder / COLUMNS, columns)
        sealed = {INDEX: index, CONTENTS: contents} | ({} if columns is None else {COLUMNS: columns})
        card: dict[str, Any] = {
            **card_head(data, FORMAT),
            "rule": f"decoded upright as RGB, 8 bits; a short side of more than {side} pixels shrunk to {side}, bilinear, antialiased",
            "side": side,
            "skipped": [list(pair) for pair in data.skipped],
            **({"white": white} if white != WHITE else {}),
            **{key: getattr(data, key) for key in ("image_size", "mirror", "mean", "std", "crop_pct")},
            "files": {
                IMAGES: {"bytes": written, "sha256": digest.hexdigest()},
                **{
                    name: {"bytes": len(each), "sha256": hashlib.sha256(each).hexdigest()}
                    for name, each in sealed.items()
                },
            },
        }
        card["sha256"] = seal(card)
        write_json(folder / CARD, card)
    return card


def _prepared(data: Dataset, side: int, white: White) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the pixels and label of every image, split by split; threads decode ahead."""

    def prepare(split: Split, index: int) -> np.ndarray:
        image = split.scaled(white).image(index, 3)
        short = min(image.size)
        if short > side:
            width, height = (max(1, round(length * side / short)) for length in image.size)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.ascontiguousarray(image)

    with Readers(2) as pool:
        for split in data.splits.values():
            for start in range(0, len(split), AT_ONCE):
                chosen = range(start, min(start + AT_ONCE, len(split)))
                images = pool.map(prepare, [split] * len(chosen), chosen)
                yield from zip(images, split.labels[chosen].tolist(), strict=True)


def is_pack(path: Path) -> bool:
    """Whether a folder is a pack: it has a `pack.json`."""
    return os.path.isfile(path / CARD)


def read_pack(path: Path) -> Dataset:
    """Read a pack as a data set whose images stay on the disk.

    Sizes, `pack.json` and the index are checked here, the pixels of an image when they are read first.

    Raises:
        DataError: it is damaged, truncated, or made by a newer Podium; names the file.
    """
    card = _card(path)
    try:
        checked = [name for name in (INDEX, CONTENTS, COLUMNS) if name in card["files"]]  # Podium 0.1.0 wrote no keys
        for name in (IMAGES, *checked):
            size, expected = (path / name).stat().st_size, card["files"][name]["bytes"]
            if size != expected:
                raise DataError(
                    f"{show(path / name)}: {size:,} bytes, not the {expected:,} that were packed", PACK_AGAIN
                )
        for name in checked:
            if hashlib.sha256((path / name).read_bytes()).hexdigest() != card["files"][name]["sha256"]:
                raise DataError(f"{show(path / name)}: damaged (its SHA-256 is another)", PACK_AGAIN)
        index = np.load(path / INDEX, allow_pickle=False)
        pixels = np.memmap(path / IMAGES, np.uint8, "r")
        keys = np.load(path / CONTENTS, allow_pickle=False) if CONTENTS in checked else None
        pack = Pack(path, pixels, index, np.zeros(len(index), bool), keys)
        columns = read_columns((path / COLUMNS).read_bytes(), len(index)) if COLUMNS in checked else {}
        splits, first = {}, 0
        for name, count in card["splits"].items():
            rows = np.arange(first, first + count)
            cells = {column: np.array(texts[first : first + len(rows)], object) for column, texts in columns.items()}
            splits[name] = Split(index[rows, 3], PackImages(pack, rows), columns=cells)
            first += len(rows)
        notes = (f"note: a pack; of each image {card['rule']}",)
        return Dataset(
            card["name"],
            tuple(card["classes"]),
            splits,
            3,
            card["image_size"],
            None,  # packs say true whatever the photos are, so the photos decide
            tuple(card["mean"]),
            tuple(card["std"]),
            crop_pct=card["crop_pct"],
            source=str(path),
            skipped=tuple((name, why) for name, why in card["skipped"]),
            notes=notes,
            white=as_white(card.get("white", WHITE)),
        )
    except OSError as error:
        raise DataError(f"{show(error.filename or path)}: cannot be read ({error.strerror})", PACK_AGAIN) from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(f"{show(path / CARD)}: damaged ({type(error).__name__}: {error})", PACK_AGAIN) from None


def _card(path: Path) -> dict[str, Any]:
    """Read `pack.json`, and refuse a damaged one or one of a newer format."""
    try:
        card = json.loads((path / CARD).read_bytes())
        number = card["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{show(path / CARD)}: damaged ({error})", PACK_AGAIN) from None
    if not isinstance(number, int) or not 1 <= number <= FORMAT:
        what = f"{show(path / CARD)}: format {number!r} of Podium {card.get('podium')}; this is {__version__}, which knows up to {FORMAT}"
        raise DataError(what, "update Podium, or pack the images again with this one")
    if card.get("sha256") != seal(card):
        raise DataError(f"{show(path / CARD)}: damaged (its SHA-256 is another)", PACK_AGAIN)
    return card
