"""Shards: the files of a data set in uncompressed tars of the WebDataset convention, read by index. numpy only.

A member `KEY.jpg` is an image, and `KEY.cls` beside it its class, as a number or a name (or `KEY.json`, under "cls", "label"
or "class"). `podium pack --shards` writes beside the tars

- `index.npy`: a row an image: shard, where its bytes begin, how many they are, label, CRC-32, the member's name;
- `contents.npy`: a key an image of its bytes (`identity.content_key`), (N,) uint64;
- `shards.json`: format, classes, how many images each split has, the size of every shard, and the SHA-256 of the others.

With these, an image is one read of a part of one file, from a folder or by fsspec from elsewhere. Shards that others wrote are
read from a folder too: their headers are gone through once, at the start. Nothing is extracted to the disk, nothing is run (no
`pipe:`), and members that are pickles are left alone, as all that is neither image nor label.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from podium import __version__
from podium.data.archives import member_path, opened_tar
from podium.data.dataset import Dataset, ImageFile, show
from podium.data.decode import decode, format_of
from podium.data.identity import content_key
from podium.data.layout import Listing
from podium.data.names import EXTENSIONS, SPLIT_NAMES, UNREAD, natural
from podium.data.pack import AGAIN, AT_ONCE, as_file, new_folder
from podium.data.readers import Readers
from podium.errors import DataError, MachineError, UsageError
from podium.files import seal, write_atomic, write_json

FORMAT = 1  # of the index that is written; those of a higher number are refused
CARD, INDEX, CONTENTS = "shards.json", "index.npy", "contents.npy"
NUMBERED = re.compile(r"-?\d+\.tar$")  # as train-000000.tar: what a folder of others' shards holds
URL = re.compile(r"[A-Za-z0-9+.:-]+://")
SHARD_SIZE = 500_000_000
LONGEST_LABEL = 1 << 20  # bytes of a .cls or .json that are read
ROW = [("shard", "i8"), ("offset", "i8"), ("size", "i8"), ("label", "i8"), ("crc", "u4")]


@dataclass(frozen=True)
class Member(ImageFile):
    """An image inside a shard that is indexed.

    Args:
        store: from (shard, first byte, bytes) to those bytes.
        crc: CRC-32 of the image's bytes.
        checked: of all images, (all,) bool, those whose bytes were compared in this process.
        row: which of them this is.
    """

    store: Callable[[str, int, int], bytes] = lambda *_: b""
    crc: int = 0
    checked: np.ndarray | None = None
    row: int = 0

    def read(self) -> bytes:
        """The image's bytes, compared with their checksum when they are read first.

        Raises:
            DataError: they cannot be read, or are not those that were indexed.
        """
        try:
            content = self.store(str(self.path), self.offset, self.size)
        except OSError as error:
            what = f"{self.name}: cannot be read ({error.strerror or error})"
            raise DataError(what, "check the shard, and the way to it") from None
        if self.checked is not None and not self.checked[self.row]:
            if zlib.crc32(content) != self.crc:
                raise DataError(f"{self.name}: is not what was packed (its CRC-32 is another)", AGAIN)
            self.checked[self.row] = True
        return content


# --- writing


def write_shards(
    data: Dataset, out: Path, shard_size: int = SHARD_SIZE, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Put the files of a data set into shards, byte for byte, and write the index; whole or not at all.

    Images of a split are shuffled, the same each time: who reads shards as a stream sees all classes early.

    Args:
        data: of files.
        out: the folder to make.
        shard_size: bytes of images from which a shard is followed by the next.
        progress: called with (images done, images in all).

    Returns:
        What `shards.json` holds.

    Raises:
        DataError: an image cannot be read or decoded; names it.
        MachineError: the disk is full. What was written is taken away again; the images are untouched.
    """
    count, sizes = sum(map(len, data.splits.values())), dict[str, int]()
    rows, names, keys = list[tuple[int, ...]](), list[str](), list[int]()
    with new_folder(data, out) as (folder, wrote):
        for split in data.splits:
            images = _shuffled(data, split)
            number = 0
            while (first := next(images, None)) is not None:
                shard = f"{split}-{number:06d}.tar"
                with tarfile.open(folder / shard, "w:", format=tarfile.USTAR_FORMAT) as tar:
                    held = 0
                    sample: tuple[bytes, str, int] | None = first
                    while sample is not None:
                        content, kind, label = sample
                        name = f"{len(rows):08d}.{kind}"
                        rows.append((len(sizes), _add(tar, name, content), len(content), label, zlib.crc32(content)))
                        names.append(name)
                        keys.append(content_key(content))
                        _add(tar, f"{len(rows) - 1:08d}.cls", str(label).encode())
                        held += len(content)
                        wrote(len(content))
                        if progress is not None:
                            progress(len(rows), count)
                        sample = next(images, None) if held < shard_size else None
                number += 1
                sizes[shard] = (folder / shard).stat().st_size
        table = np.empty(len(rows), [*ROW, ("name", f"S{max(map(len, names))}")])
        for place, (row, name) in enumerate(zip(rows, names, strict=True)):
            table[place] = (*row, name.encode())
        index, contents = as_file(table), as_file(np.array(keys, np.uint64))
        write_atomic(folder / INDEX, index)
        write_atomic(folder / CONTENTS, contents)
        card: dict[str, Any] = {
            "format": FORMAT,
            "podium": __version__,
            "name": data.name,
            "classes": list(data.classes),
            "splits": {name: len(split) for name, split in data.splits.items()},
            "shards": sizes,
            "skipped": [list(pair) for pair in data.skipped],
            "index_sha256": hashlib.sha256(index).hexdigest(),
            "contents_sha256": hashlib.sha256(contents).hexdigest(),
        }
        card["sha256"] = seal(card)
        write_json(folder / CARD, card)
    return card


def _shuffled(data: Dataset, name: str) -> Iterator[tuple[bytes, str, int]]:
    """Bytes, ending and label of every image of a split, each decoded once to see that it can be; read ahead by threads."""
    split = data.splits[name]
    files = split.files or ()
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(split))

    def read(index: int) -> tuple[bytes, str, int]:
        content = files[index].read()
        decode(content, files[index].name, 3)
        ending = format_of(content).lower().replace("jpeg", "jpg")
        return content, ending, int(split.labels[index])

    with Readers(2) as pool:
        for start in range(0, len(order), AT_ONCE):
            yield from pool.map(read, order[start : start + AT_ONCE].tolist())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Append a member; where its bytes begin."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    start = tar.offset + tarfile.BLOCKSIZE
    tar.addfile(info, io.BytesIO(content))
    return start


# --- reading


def is_shards(source: str | Path) -> bool:
    """Whether a source is shards: a URL, or a folder with our index or tars that are numbered (in it or in split
    folders; one alone has to begin as a shard does).

    Raises:
        UsageError: a command to run (`pipe:`), which is never done.
    """
    if str(source).lower().startswith("pipe:"):
        raise UsageError(f"{show(str(source))}: commands are not run", "give a folder of shards or a URL of fsspec's")
    if URL.match(str(source)):
        return True
    path = Path(source)
    try:
        found = list(islice(_foreign(path), 2)) if path.is_dir() else []
    except OSError:
        return False
    return len(found) > 1 or any(map(_labelled, found)) or os.path.isfile(path / CARD)


def _foreign(path: Path) -> Iterator[Path]:
    """The shards of a folder without index, in order; those of split folders too."""
    entries = (entry for entry in path.iterdir() if NUMBERED.search(entry.name) or entry.name.lower() in SPLIT_NAMES)
    for entry in sorted(entries, key=lambda entry: natural(entry.name)):
        if entry.is_dir():
            inner = (path for path in entry.iterdir() if NUMBERED.search(path.name) and path.is_file())
            yield from sorted(inner, key=lambda path: natural(path.name))
        elif NUMBERED.search(entry.name) and entry.is_file():
            yield entry


def _labelled(tar: Path) -> bool:
    """Whether a tar that is alone in its folder begins as a shard does, not as an archive of class folders."""
    with suppress(DataError), opened_tar(tar, "r:") as file:
        return any(member.name.endswith((".cls", ".json")) for member in islice(file, 8))
    return False


def list_shards(source: str | Path) -> Listing:
    """The images of shards, with no shard of an index opened.

    Args:
        source: a folder, or a URL of fsspec's.

    Raises:
        DataError: index or shards are missing, damaged, of a newer format, or hold something hostile; names it.
    """
    if not URL.match(str(source)) and not (Path(source) / CARD).is_file():
        return _headers(Path(source))
    store = _stored(str(source))
    try:
        content = store(CARD, 0, -1)
        card = json.loads(content)
        if card["format"] > FORMAT:
            what = f"{show(f'{source}/{CARD}')}: format {card['format']!r} of Podium {card.get('podium')}"
            raise DataError(f"{what}; this is {__version__}, which knows up to {FORMAT}", "update Podium")
        if card["sha256"] != seal(card):
            raise DataError(f"{show(f'{source}/{CARD}')}: damaged (its SHA-256 is another)", AGAIN)
        index = store(INDEX, 0, -1)
        contents = store(CONTENTS, 0, -1) if "contents_sha256" in card else None  # Podium 0.1.0 wrote none
        for name, said, digest in ((INDEX, index, "index_sha256"), (CONTENTS, contents, "contents_sha256")):
            if said is not None and hashlib.sha256(said).hexdigest() != card[digest]:
                raise DataError(f"{show(f'{source}/{name}')}: damaged (its SHA-256 is another)", AGAIN)
    except OSError as error:
        what = f"{show(str(source))}: no index of shards can be read there ({error.strerror or error})"
        raise DataError(what, "make one with `podium pack DATA --shards -o DIR`") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{show(f'{source}/{CARD}')}: damaged ({type(error).__name__}: {error})", AGAIN) from None
    table = np.load(io.BytesIO(index), allow_pickle=False)
    keys = np.load(io.BytesIO(contents), allow_pickle=False).tolist() if contents is not None else None
    shards, checked, listing = card["shards"], np.zeros(len(table), bool), Listing()
    _checked(source, shards, table, len(card["classes"]))
    for name, size in shards.items() if not URL.match(str(source)) else ():
        there = Path(source, name)
        if not there.is_file() or there.stat().st_size != size:
            found = f"{there.stat().st_size:,} bytes" if there.is_file() else "missing"
            raise DataError(f"{show(there)}: {found}, not the {size:,} bytes that were packed", AGAIN)
    rows, places = iter(enumerate(table.tolist())), [(Path(name), show(f"{source}/{name}")) for name in shards]
    for split, count in card["splits"].items():
        classes: dict[str, list[ImageFile]] = {name: [] for name in card["classes"]}
        listing.files[split] = classes
        for _, (row, (shard, offset, size, label, crc, member)) in zip(range(count), rows, strict=False):
            path, shown = places[shard]
            name = member.decode()
            key = keys[row] if keys is not None else content_key(f"{size} {crc}".encode())
            file = Member(
                path, f"{shown}!{name}", offset, size, 0, None, f"{path}/{name}", key, store, crc, checked, row
            )
            classes[card["classes"][label]].append(file)
    return listing


def _checked(source: str | Path, shards: dict[str, int], table: np.ndarray, classes: int) -> None:
    """See that an index leads only to parts of the shards beside it.

    Raises:
        DataError: it leads outside.
    """
    for name in shards:
        outside = PurePosixPath(name).name != name or "\\" in name or name in ("", "..")
        if outside or (not URL.match(str(source)) and Path(source, name).is_symlink()):
            raise DataError(f"{show(f'{source}/{CARD}')}: names {name!r}, which is not a file beside it", AGAIN)
    sizes = np.array(list(shards.values()), np.int64)
    place, start, count, label = (table[column] for column in ("shard", "offset", "size", "label"))
    fits = (place >= 0) & (place < len(sizes)) & (start >= 0) & (count >= 0) & (label >= 0) & (label < classes)
    if not fits.all() or (start + count > sizes[place]).any():
        row = int(np.argmin(fits)) if not fits.all() else int(np.argmax(start + count > sizes[place]))
        raise DataError(f"{show(f'{source}/{INDEX}')}: image {row} lies outside of the shards", AGAIN)


def _stored(source: str) -> Callable[[str, int, int], bytes]:
    """How parts of files are read: by (name, first byte, bytes; -1 for all)."""
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
        except Exception as error:  # every file system of fsspec's has its own
            raise error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}") from None

    return remote


def _headers(path: Path) -> Listing:
    """Shards of the WebDataset convention without an index: every header is read once, and the labels."""
    found: dict[str, dict[str, list[ImageFile]]] = {}
    listing = Listing()
    for shard in _foreign(path):
        words = re.split(r"[^a-z]+", shard.relative_to(path).as_posix().lower())
        split = next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), "")
        labels: dict[str, str] = {}
        images: dict[str, ImageFile] = {}
        stat = shard.stat()
        with opened_tar(shard, "r:") as tar:
            for member in tar:
                where = member_path(shard, member.name)
                if member.isdir():
                    continue
                name = f"{show(shard)}!{member.name}"
                if not member.isfile() or member.issparse():
                    raise DataError(f"{name}: a link or device", "do not use this archive")
                if member.offset_data + member.size > stat.st_size:
                    raise DataError(f"{name}: says {member.size:,} bytes, more than there are", "download it again")
                stem, _, ending = where.name.partition(".")
                key = str(where.with_name(stem)) if stem else ""
                if f".{ending.lower()}" in EXTENSIONS:
                    below = f"{shard.relative_to(path).as_posix()}/{member.name}"
                    images[key] = ImageFile(shard, name, member.offset_data, member.size, stat.st_mtime_ns, None, below)
                elif ending.lower() in ("cls", "json") and member.size <= LONGEST_LABEL:
                    part = tar.extractfile(member)
                    label = _label(part.read() if part is not None else b"", ending.lower())
                    if label is not None and (ending.lower() == "cls" or key not in labels):
                        labels[key] = label
                elif f".{ending.lower()}" in UNREAD:
                    listing.unread.append((name, UNREAD[f".{ending.lower()}"]))
                else:
                    listing.strays.append((name, "neither an image nor its label"))
        for key, file in images.items():
            if key not in labels:
                raise DataError(
                    f"{file.name}: has no label", "a shard holds KEY.cls, or KEY.json with a label, beside KEY.jpg"
                )
            found.setdefault(split, {}).setdefault(labels[key], []).append(file)
    named = "" if set(found) == {""} else "train"  # what is of no split, beside what is, is for training
    for split, classes in found.items():
        for label, files in classes.items():
            listing.files.setdefault(split or named, {}).setdefault(label, []).extend(files)
    return listing


def _label(content: bytes, ending: str) -> str | None:
    """The class that a .cls or .json says, as a name."""
    try:
        text = content.decode().strip()
        if ending == "cls":
            return text or None
        says = json.loads(text)
        value = next((says[key] for key in ("cls", "label", "class") if key in says), None)
    except (ValueError, TypeError, RecursionError):
        return None
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
