"""Folders of class folders, and archives of them: what lies where, without opening an image."""

from __future__ import annotations

import contextlib
import lzma
import os
import re
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from podium.data.dataset import ImageFile, is_text, show
from podium.errors import DataError
from podium.files import shell_word

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"})
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".zip")
LAYOUT = "lay it out as DATA/CLASS/image.jpg, or DATA/train/CLASS/image.jpg with val/ or test/ beside train/"
MOST_UNPACKED = 4 << 30  # bytes of a compressed archive that are held in memory


@dataclass
class Listing:
    """What a folder or archive holds.

    Args:
        files: split -> class -> images; the split is "" where there are no split folders.
        strays: (name, why) of what is not an image in a class folder.
    """

    files: dict[str, dict[str, list[ImageFile]]] = field(default_factory=dict)
    strays: list[tuple[str, str]] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """Over all splits, those of train first, in natural order."""
        order = sorted(self.files, key=lambda split: ["", "train", "val", "test"].index(split))
        return list(dict.fromkeys(name for split in order for name in sorted(self.files[split], key=natural)))


def natural(text: str) -> list[tuple[int, int | str]]:
    """A key that sorts 2 before 10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", text) if part]


def hidden(name: str) -> bool:
    """Files of the system, not of the data set."""
    return name.startswith(".") or name in ("Thumbs.db", "__MACOSX", "desktop.ini")


def find_archive(folder: Path) -> Path | None:
    """The one archive in a folder that has no class folders, if there is just one."""
    entries = [entry for entry in folder.iterdir() if not hidden(entry.name)]
    archives = [entry for entry in entries if entry.is_file() and entry.name.lower().endswith(ARCHIVES)]
    return archives[0] if len(archives) == 1 and not any(entry.is_dir() for entry in entries) else None


def list_path(path: Path) -> Listing:
    """The images of a folder or an archive.

    Raises:
        DataError: it cannot be read, or an archive holds something hostile.
    """
    if path.is_dir():
        inner = find_archive(path)
        return list_path(inner) if inner is not None else _arrange(_walk(path))
    if path.name.lower().endswith(".zip"):
        return _arrange(_zip(path))
    return _arrange(_tar(path))


def images_below(folder: Path) -> list[Path]:
    """The image files in a folder and in those below it, in natural order.

    Raises:
        DataError: there is none.
    """
    found = [path for path, file in _walk(folder) if isinstance(file, ImageFile)]
    if not found:
        kinds = ", ".join(sorted(EXTENSIONS))
        raise DataError(f"{show(folder)}: a folder without an image", f"images are files that end with {kinds}")
    return [folder / path for path in sorted(found, key=lambda path: natural(str(path)))]


def _arrange(found: Iterator[tuple[PurePosixPath, ImageFile | str]]) -> Listing:
    """Sort (relative path, image or why not) into splits and classes."""
    entries = list(found)
    tops = {path.parts[0] for path, _ in entries if len(path.parts) > 1}
    # an archive often wraps everything in one folder: flowers/train/rose/1.jpg
    if (
        len(tops) == 1
        and all(len(p.parts) > 2 for p, f in entries if isinstance(f, ImageFile))
        and not (tops & SPLIT_NAMES.keys())
    ):
        entries = [(PurePosixPath(*p.parts[1:]) if len(p.parts) > 1 else p, f) for p, f in entries]
        tops = {path.parts[0] for path, _ in entries if len(path.parts) > 1}
    split = "train" in {SPLIT_NAMES.get(top.lower()) for top in tops}
    listing = Listing()
    for path, file in sorted(entries, key=lambda entry: natural(str(entry[0]))):
        parts = path.parts
        name = SPLIT_NAMES.get(parts[0].lower(), "") if split and len(parts) > 1 else ""
        inside = parts[1:] if name else parts
        if isinstance(file, str):
            if file == "folder":
                if len(inside) == 1 and not (split and not name):
                    listing.files.setdefault(name, {}).setdefault(inside[0], [])
            else:
                listing.strays.append((show(str(path)), file))
        elif len(inside) < 2 or (split and not name):
            listing.strays.append((file.name, "an image outside of a class folder"))
        else:
            held = listing.files.setdefault(name, {}).setdefault(inside[0], [])
            held.append(replace(file, below="/".join(parts)))
    return listing


def _walk(root: Path) -> Iterator[tuple[PurePosixPath, ImageFile | str]]:
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in seen:  # a loop of links
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        for name in sorted(folders):
            relative = PurePosixPath(Path(folder, name).relative_to(root).as_posix())
            if hidden(name):
                yield relative, "hidden"
            else:
                yield relative, "folder"
        folders[:] = sorted(name for name in folders if not hidden(name))
        for name in names:
            path = Path(folder, name)
            relative = PurePosixPath(path.relative_to(root).as_posix())
            if hidden(name):
                yield relative, "hidden"
            elif path.suffix.lower() not in EXTENSIONS:
                yield relative, "not an image by its name"
            else:
                try:
                    yield relative, ImageFile.of(path)
                except DataError as error:
                    special = error.what.endswith("not a file")
                    yield relative, error.what.rpartition(": ")[2] if special else "a link to nothing, or unreadable"


def member_path(archive: Path, name: str) -> PurePosixPath:
    """A member's path, if it stays inside.

    Raises:
        DataError: absolute, or with "..".
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{show(archive)}: holds {name!r}, which points outside", "do not use this archive")
    return path


@contextlib.contextmanager
def opened_tar(archive: Path, mode: Literal["r:", "r:*"] = "r:*") -> Iterator[tarfile.TarFile]:
    """A tar to read from.

    Raises:
        DataError: it is damaged, which may show only while it is read.
    """
    try:
        with tarfile.open(archive, mode) as tar:
            yield tar
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{show(archive)}: not a tar archive, or a damaged one ({why})", "download it again") from None


def _tar(archive: Path) -> Iterator[tuple[PurePosixPath, ImageFile | str]]:
    """A plain tar is indexed and read in place; a compressed one is held in memory. Nothing is ever extracted to disk."""
    with opened_tar(archive) as tar:
        mtime, compressed, total = archive.stat().st_mtime_ns, archive.suffix != ".tar", 0
        for member in tar:
            path = member_path(archive, member.name)
            if member.isdir() or not path.parts:
                if path.parts and not any(map(hidden, path.parts)):
                    yield path, "folder"
                continue
            if not member.isfile() or member.issparse():
                raise DataError(f"{show(archive)}: holds {member.name!r}, a link or device", "do not use this archive")
            why = _unwanted(path)
            if why:
                yield path, why
                continue
            content = None
            if compressed:
                total += member.size
                if total > MOST_UNPACKED:
                    raise DataError(
                        f"{show(archive)}: more than 4 GB unpacked", "unpack it into a folder and give that"
                    )
                file = tar.extractfile(member)
                content = file.read() if file is not None else b""
            name = f"{show(archive)}!{member.name}"
            yield path, ImageFile(archive, name, member.offset_data, member.size, mtime, content)


def _zip(archive: Path) -> Iterator[tuple[PurePosixPath, ImageFile | str]]:
    try:
        mtime, total = archive.stat().st_mtime_ns, 0
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                path = member_path(archive, info.filename)
                if info.is_dir():
                    if not any(map(hidden, path.parts)):
                        yield path, "folder"
                    continue
                why = _unwanted(path)
                if why:
                    yield path, why
                    continue
                total += info.file_size
                if total > MOST_UNPACKED:
                    raise DataError(
                        f"{show(archive)}: more than 4 GB unpacked", "unpack it into a folder and give that"
                    )
                yield (
                    path,
                    ImageFile(archive, f"{show(archive)}!{info.filename}", 0, info.file_size, mtime, file.read(info)),
                )
    except (
        zipfile.BadZipFile,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        zlib.error,
        lzma.LZMAError,
    ) as error:
        raise DataError(
            f"{show(archive)}: not a zip archive, or a damaged one ({error})", "download it again"
        ) from None


def _unwanted(path: PurePosixPath) -> str:
    if any(map(hidden, path.parts)):
        return "hidden"
    return "" if path.suffix.lower() in EXTENSIONS else "not an image by its name"


def not_utf8(listing: Listing) -> dict[str, str]:
    """Classes whose folders' names are not UTF-8, and the command that renames them: no card or report could hold them."""
    odd: dict[str, list[str]] = {}
    for classes in listing.files.values():
        for name, files in classes.items():
            if not is_text(name):
                folder = next((above for above in files[0].path.parents if above.name == name), None) if files else None
                moves = odd.setdefault(name, [])
                if folder is not None:
                    moves.append(f"mv {shell_word(folder)} {shell_word(folder.with_name(_as_text(folder)))}")
    return {name: " && ".join(moves) or "unpack it, and rename the folder" for name, moves in odd.items()}


def _as_text(folder: Path) -> str:
    """What a name that is not UTF-8 was meant to be: as Windows writes Western letters, else with the bytes' numbers."""
    with contextlib.suppress(UnicodeDecodeError):
        meant = os.fsencode(folder.name).decode("cp1252")
        if meant.isprintable() and not folder.with_name(meant).exists():
            return meant
    return "".join(chr(byte) if 32 <= byte < 127 else f"_{byte:02x}" for byte in os.fsencode(folder.name))


def look_alike(name: str, known: list[str]) -> str:
    """Another class that differs only by case, spaces or Unicode form; empty if there is none."""

    def plain(text: str) -> str:
        return unicodedata.normalize("NFC", text).strip().casefold()

    return next((other for other in known if other != name and plain(other) == plain(name)), "")
