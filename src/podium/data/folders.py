"""Folders of images on the disk, listed without opening an image."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from podium.data.archives import ARCHIVES
from podium.data.formats import HEAD, READ
from podium.data.image_file import SPECIAL, ImageFile
from podium.data.layout import FOLDER, HIDDEN, Left
from podium.data.names import EXTENSIONS, SYSTEM, hidden, hidden_image, show, suffix
from podium.data.unread import kind_of_file, without_companions
from podium.errors import DataError
from podium.natural import natural

MISSING = Left("other", "a link to nothing")


def find_archive(folder: Path) -> Path | None:
    """Find the only archive in a folder without class folders and images, or in its only sub-folder; None where there is none."""
    with contextlib.suppress(OSError):  # `walk` reports a folder that may not be read
        entries = [entry for entry in folder.iterdir() if not hidden(entry.name)]
        if len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink():
            return find_archive(entries[0])
        archives = [entry for entry in entries if entry.is_file() and entry.name.lower().endswith(ARCHIVES)]
        others = any(entry.is_dir() or suffix(entry.name) in EXTENSIONS for entry in entries)
        return archives[0] if len(archives) == 1 and not others else None
    return None


def images_below(folder: Path) -> list[Path]:
    """Find the image files in a folder and its sub-folders, in natural order, including formats that Podium does not read.

    Raises:
        DataError: there is none, or a folder may not be read.
    """
    found = []
    for path, file in without_companions(walk(folder)):
        if isinstance(file, ImageFile) or file.kind == "unread":
            found.append(path)
        elif file.kind == "denied":
            raise DataError(f"{show(folder / path)}: cannot be read ({file.why})", "check its permissions")
    if not found:
        kinds = ", ".join(each.name for each in READ)
        raise DataError(f"{show(folder)}: a folder without an image", f"images are files of {kinds}")
    return [folder / path for path in sorted(found, key=lambda path: natural(str(path)))]


def walk(root: Path) -> Iterator[tuple[PurePosixPath, ImageFile | Left]]:
    """Yield every entry below a folder, with its path from there; links are followed, except into themselves."""
    waiting: list[tuple[Path, PurePosixPath, tuple[tuple[int, int], ...]]] = [(root, PurePosixPath(), ())]
    while waiting:
        folder, below, above = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries]
            info = os.stat(folder)
        except OSError as error:
            yield below, Left("denied", error.strerror or str(error))
            continue
        own = (info.st_dev, info.st_ino)
        if own in above:  # a loop of links
            continue
        if below.parts:
            yield below, FOLDER
        for name in names:
            file = describe(folder / name)
            if file == FOLDER:
                waiting.append((folder / name, below / name, (*above, own)))
            elif file is not None:
                yield below / name, file
            elif name not in SYSTEM:
                yield from _hidden(folder / name, below / name)


def _hidden(folder: Path, below: PurePosixPath) -> Iterator[tuple[PurePosixPath, Left]]:
    """Yield the images in a folder whose name begins with a dot."""
    for place, _, names in os.walk(folder):
        inside = below / Path(place).relative_to(folder)
        yield from (
            (inside / name, HIDDEN) for name in names if suffix(name) in EXTENSIONS and not name.startswith("._")
        )


def describe(path: Path) -> ImageFile | Left | None:
    """Describe one entry of a folder; None for files of the system."""
    if hidden(path.name):
        return Left("other", "hidden: its name begins with a dot") if hidden_image(path.name) else None
    try:
        info = path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return MISSING
        return Left("denied", error.strerror or str(error))
    if stat.S_ISDIR(info.st_mode):
        return FOLDER
    if not stat.S_ISREG(info.st_mode):
        return Left("other", f"{SPECIAL.get(stat.S_IFMT(info.st_mode), 'no file')}, not a file")
    file = ImageFile(path, show(path), 0, info.st_size, info.st_mtime_ns)
    return kind_of_file(path.name, lambda: file.head(HEAD)) or file
