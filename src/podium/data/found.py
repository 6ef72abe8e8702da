"""Describing what lies in a folder that is no data set: files by ending and depth, and the nearest layout that would work."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath

from podium.data.archives import ARCHIVES
from podium.data.folders import walk
from podium.data.foreign import table_above
from podium.data.layout import FOLDER, LAYOUT
from podium.data.names import EXTENSIONS, UNREAD, hidden, show, split_named, suffix
from podium.natural import natural

KINDS = 6  # of files that are named, the most frequent ones
SIBLINGS = 1000  # folders beside a folder that are looked into at most
ARRAYS = (".npy", ".npz", ".mat", ".h5", ".hdf5", ".pkl", ".pickle", ".pt", ".pth", ".tfrecord", ".tfrecords", ".lmdb")
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")


def describe_folder(folder: Path) -> str:
    """What a folder holds, by ending and depth: "40 .jpg in it, 12 .txt in labels"; empty where it is no folder or empty."""
    places = list(_places(folder)) if folder.is_dir() else []
    counts = Counter((str(path.parent), suffix(path.name)) for path in places)
    folders = Counter((ending, len(PurePosixPath(parent).parts)) for parent, ending in counts)
    parts = []
    merged: dict[tuple[str, str], int] = {}
    for (parent, ending), count in counts.items():
        depth = len(PurePosixPath(parent).parts)
        many = folders[ending, depth]
        where = "in it" if depth == 0 else f"in {show(parent)}" if many == 1 else f"in {many} folders, {depth} deep"
        merged[ending, where] = merged.get((ending, where), 0) + count
    for (ending, where), count in sorted(merged.items(), key=lambda item: -item[1])[:KINDS]:
        parts.append(f"{count:,} {ending or 'without an ending'} {where}")
    if len(merged) > KINDS:
        parts.append("and others")
    return ", ".join(parts)


def nearest_layout(folder: Path) -> str:
    """The fix for a folder that has no class folders with images: the nearest layout that would work.

    Args:
        folder: the path that was given; it may be an archive.
    """
    if not folder.is_dir():
        return LAYOUT
    places = list(_places(folder))
    promised = {*EXTENSIONS, *UNREAD} - {*VIDEOS}
    pictures = [path for path in places if suffix(path.name) in promised]
    if pictures:
        if all(len(path.parts) == 1 for path in pictures) and (above := _set_above(folder)) is not None:
            data, classes = above
            names = ", ".join(map(show, classes[:5])) + (", ..." if len(classes) > 5 else "")
            return f"if it is one class, give {_shell(data)}, which has the class folders {names}; else {LAYOUT}"
        if (table := table_above(folder)) is not None and all(len(path.parts) == 1 for path in pictures):
            return f"give {_shell(table)} if their labels stand in it; else {LAYOUT}"
        if len({path.parent for path in pictures}) == 1 and len(pictures[0].parts) > 1:
            only = show(str(pictures[0].parent))
            return f"all images lie in {only}; {LAYOUT}, with a folder for each of at least two classes"
        return f"{LAYOUT}; the folder's name is the class"
    endings = Counter(suffix(path.name) for path in places)
    packed = [path for path in places if path.name.lower().endswith(ARCHIVES)]
    if packed:
        return (
            f"unpack {show(str(packed[0]))}, or give it" if len(packed) == 1 else "unpack the archives into one folder"
        )
    if found := [ending for ending in VIDEOS if endings[ending]]:
        return f"save frames of the videos ({', '.join(found)}) as images, a folder for each class"
    if found := [ending for ending in ARRAYS if endings[ending]]:
        return f"save the arrays ({', '.join(found)}) as PNG files, as DATA/CLASS/image.png, or as IDX files"
    return LAYOUT


def _places(folder: Path) -> Iterator[PurePosixPath]:
    """The files below a folder that are not the system's, as far as they may be read."""
    yield from (path for path, entry in walk(folder) if entry != FOLDER and path.parts)


def _set_above(folder: Path) -> tuple[Path, list[str]] | None:
    """The data set whose class folder this seems to be, and its classes; None where there is none."""
    place = Path(os.path.abspath(folder))
    classes = _class_folders(place.parent)
    if len(classes) < 2 or place.name not in classes or split_named(place.name)[1]:
        return None
    beside = [child.name for child in _folders(place.parent.parent)]
    kind = split_named(place.parent.name)[0]
    splits = {split_named(name)[0] for name in beside} - {""}
    data = folder.parent if folder.name not in ("", "..") else place.parent
    if kind and len(splits) > 1:
        data = data.parent if data.name not in ("", "..") else place.parent.parent
    return data, classes


def _class_folders(folder: Path) -> list[str]:
    """The names of the folders in a folder, if all of them hold images themselves; else none."""
    children = _folders(folder)
    return sorted((child.name for child in children), key=natural) if all(map(_has_image, children)) else []


def _folders(folder: Path) -> list[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        return [Path(entry.path) for entry in islice(entries, SIBLINGS) if not hidden(entry.name) and entry.is_dir()]
    return []


def _has_image(folder: Path) -> bool:
    with suppress(OSError), os.scandir(folder) as entries:
        names: Iterable[str] = (entry.name for entry in islice(entries, SIBLINGS))
        return any(suffix(name) in EXTENSIONS and not hidden(name) for name in names)
    return False


def _shell(path: Path) -> str:
    return shlex.quote(show(path))
