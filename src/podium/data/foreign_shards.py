"""Shards that other programs wrote: tars of the WebDataset convention without an index, of which every header is read once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from podium.data.archives import member_path, opened_tar
from podium.data.image_file import ImageFile
from podium.data.imagenet import WORDNET
from podium.data.layout import Listing
from podium.data.names import EXTENSIONS, SPLIT_NAMES, UNREAD, show
from podium.errors import DataError
from podium.natural import natural

NUMBERED = re.compile(r"-?\d+\.tar$")  # the names of shards, such as train-000000.tar
LONGEST_LABEL = 1 << 20  # bytes of a .cls or .json that are read


def foreign_shards(folder: Path) -> Iterator[Path]:
    """The shards of a folder without an index, in natural order; those in its split folders too."""
    entries = (entry for entry in folder.iterdir() if NUMBERED.search(entry.name) or entry.name.lower() in SPLIT_NAMES)
    for entry in sorted(entries, key=lambda entry: natural(entry.name)):
        if entry.is_dir():
            inner = (path for path in entry.iterdir() if NUMBERED.search(path.name) and path.is_file())
            yield from sorted(inner, key=lambda path: natural(path.name))
        elif NUMBERED.search(entry.name) and entry.is_file():
            yield entry


def begins_as_shard(tar: Path) -> bool:
    """Whether the only tar of a folder is a shard rather than an archive of class folders, by its first members."""
    with suppress(DataError), opened_tar(tar, "r:") as file:
        return any(member.name.endswith((".cls", ".json")) for member in islice(file, 8))
    return False


def read_headers(folder: Path) -> Listing:
    """List the images of a folder of shards without an index; every header and label is read once.

    Raises:
        DataError: a shard is damaged or hostile, or an image has no label; names it.
    """
    found: dict[str, dict[str, list[ImageFile]]] = {}
    listing = Listing()
    for shard in foreign_shards(folder):
        below = shard.relative_to(folder).as_posix()
        words = re.split(r"[^a-z]+", below.lower())
        split = next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), "")
        images, labels = _read_shard(shard, below, listing)
        for key, file in images.items():
            if key not in labels:
                mend = "a shard holds KEY.cls, or KEY.json with a label, beside KEY.jpg"
                if WORDNET.fullmatch(shard.stem):
                    mend = "of ImageNet's tars, each of which is a class, unpack each into a folder of its own name, and give the folder around them"
                raise DataError(f"{file.name}: has no label", mend)
            found.setdefault(split, {}).setdefault(labels[key], []).append(file)
    unnamed = "" if set(found) == {""} else "train"  # beside shards of a split, those of none are for training
    for split, classes in found.items():
        for label, files in classes.items():
            listing.files.setdefault(split or unnamed, {}).setdefault(label, []).extend(files)
    return listing


def _read_shard(shard: Path, below: str, listing: Listing) -> tuple[dict[str, ImageFile], dict[str, str]]:
    """Read the headers and labels of one shard.

    Args:
        shard: the tar.
        below: its path below the data set's root.
        listing: receives the members that are neither an image that is read nor a label.

    Returns:
        The images and the labels, both by the key that they share.
    """
    images: dict[str, ImageFile] = {}
    labels: dict[str, str] = {}
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
            key, ending = str(where.with_name(stem)) if stem else "", ending.lower()
            if f".{ending}" in EXTENSIONS:
                place = f"{below}/{member.name}"
                images[key] = ImageFile(shard, name, member.offset_data, member.size, stat.st_mtime_ns, below=place)
            elif ending in ("cls", "json") and member.size <= LONGEST_LABEL:
                part = tar.extractfile(member)
                label = _label(part.read() if part is not None else b"", ending)
                if label is not None and (ending == "cls" or key not in labels):
                    labels[key] = label
            elif f".{ending}" in UNREAD:
                listing.unread.append((name, UNREAD[f".{ending}"]))
            else:
                listing.strays.append((name, "neither an image nor its label"))
    return images, labels


def _label(content: bytes, ending: str) -> str | None:
    """The name of the class in a .cls or .json file; None where it holds none."""
    try:
        text = content.decode().strip()
        if ending == "cls":
            return text or None
        fields = json.loads(text)
        value = next((fields[key] for key in ("cls", "label", "class") if key in fields), None)
    except (ValueError, TypeError, RecursionError):
        return None
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
