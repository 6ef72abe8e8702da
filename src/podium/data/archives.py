"""Archives of images, tar and zip, recognised by their content. They are read in place or in memory, never extracted to disk."""

from __future__ import annotations

import contextlib
import lzma
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from podium.data.encodings import guessed, readable
from podium.data.formats import HEAD
from podium.data.image_file import ImageFile
from podium.data.layout import FOLDER, HIDDEN, Entries, Left
from podium.data.names import SYSTEM, hidden, hidden_image, show
from podium.data.unread import kind_of_file, without_companions
from podium.errors import DataError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".zip")
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")  # the first bytes of gzip, bzip2 and xz
UNREAD_ARCHIVES = {b"Rar!": "RAR", b"7z\xbc\xaf": "7z", b"\x28\xb5\x2f\xfd": "zstd"}
MOST_UNPACKED = 4 << 30  # bytes of a compressed archive that may be held in memory
UNPACK = "unpack the archive with the system that packed it, and give the folder"
LONGEST_TARGET = 4096  # bytes of the target of a link in a zip
UNICODE_PATH = 0x7075  # the extra field in which Info-ZIP keeps a name in UTF-8


@dataclass(frozen=True)
class Link:
    """A member that stands for another one.

    Args:
        target: the path of the other one from the archive's root; None where it lies outside.
        shown: the target as the archive writes it.
    """

    target: str | None
    shown: str


Entry = ImageFile | Left | Link


def is_archive(path: Path) -> bool:
    """Whether a file is a tar or a zip, by its content or, where the content is damaged, by its name.

    Raises:
        DataError: it may not be read, or is an archive of a kind that Podium does not read.
    """
    head = _head(path)
    for start, kind in UNREAD_ARCHIVES.items():
        if head.startswith(start):
            raise DataError(f"{show(path)}: a {kind} archive, which is not read", "unpack it, and give the folder")
    named = path.name.lower().endswith(ARCHIVES)
    return named or head.startswith((b"PK\3\4", b"PK\5\6", *PACKED)) or head[257:262] == b"ustar"


def archive_entries(path: Path) -> tuple[Entries, list[str]]:
    """Find what an archive holds, with each path from its root; and notes on its names.

    Raises:
        DataError: it cannot be read, or holds something hostile.
    """
    head = _head(path)
    zipped = head.startswith((b"PK\3\4", b"PK\5\6"))
    tarred = head.startswith(PACKED) or head[257:262] == b"ustar"
    as_zip = zipped or (not tarred and path.name.lower().endswith(".zip"))
    members = list(_zip(path) if as_zip else _tar(path, head.startswith(PACKED)))
    names, encoding = readable([name for name, _ in members])
    entries: dict[PurePosixPath, Entry] = {}
    for name, (_, entry) in zip(
        names, members, strict=True
    ):  # of several members with one name the last counts, as when unpacking
        place = member_path(path, name)
        if any(map(hidden, place.parts[:-1])):
            if isinstance(entry, ImageFile) and SYSTEM.isdisjoint(place.parts) and not place.name.startswith("._"):
                entries[place] = HIDDEN
        elif place.parts and (not hidden(place.name) or hidden_image(place.name)):
            entries[place] = replace(entry, name=f"{show(path)}!{name}") if isinstance(entry, ImageFile) else entry
    notes = (
        [f"note: names in {show(path)} are not UTF-8; they are {guessed(names, encoding, UNPACK)}"] if encoding else []
    )
    return without_companions(_linked(path, entries).items()), notes


def member_path(archive: Path, name: str) -> PurePosixPath:
    """The path of a member inside its archive.

    Raises:
        DataError: it is absolute, or contains "..".
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{show(archive)}: holds {name!r}, which points outside", "do not use this archive")
    return path


@contextlib.contextmanager
def opened_tar(archive: Path, mode: Literal["r:", "r:*"] = "r:*") -> Iterator[tarfile.TarFile]:
    """Open a tar for reading.

    Raises:
        DataError: it is damaged, which may become known only inside the `with` block.
    """
    try:
        with tarfile.open(archive, mode, tarinfo=_Member) as tar:
            yield tar
    except PermissionError as error:
        raise _denied(archive, error) from None
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{show(archive)}: not a tar archive, or a damaged one ({why})", "download it again, or make it anew"
        ) from None


class _Member(tarfile.TarInfo):
    """A member whose header is whole. Python takes the first header that is not for the end of the tar."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        """Read the next header.

        Raises:
            ReadError: it is damaged, or the file ends without the mark of a tar's end.
        """
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.HeaderError as error:
            if str(error) == "end of file header":
                raise
            cut = str(error) in ("empty header", "truncated header")
            why = (
                "it ends without its end mark, as one that is cut off"
                if cut
                else f"{error} at byte {tarfile_.offset:,}"
            )
            raise tarfile.ReadError(why) from None


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(512)
    except OSError as error:
        raise _denied(path, error) from None


def _denied(path: Path, error: OSError) -> DataError:
    return DataError(f"{show(path)}: cannot be read ({error.strerror})", "check the file and its permissions")


def _tar(archive: Path, packed: bool) -> Iterator[tuple[str | bytes, Entry]]:
    """Yield the members of a tar. Images of a plain tar are read in place later; those of a compressed one are held in memory."""
    with opened_tar(archive) as tar:
        mtime, total = archive.stat().st_mtime_ns, 0
        for member in tar:
            name = member.name.encode("utf-8", "surrogateescape")
            if member.isdir():
                yield name, FOLDER
            elif member.islnk():
                yield name, Link(_inside(member.linkname), member.linkname)
            elif member.issym():
                yield name, Link(_inside(_beside(member.name, member.linkname)), member.linkname)
            elif not member.isfile() or member.issparse():
                raise _refused(archive, member.name, "a link or device")
            elif (left := _kind(member.name, partial(_tar_head, tar, member))) is not None:
                yield name, left
            else:
                content = None
                if packed:
                    total = _held(archive, total, member.size)
                    file = tar.extractfile(member)
                    content = file.read() if file is not None else b""
                yield name, ImageFile(archive, "", member.offset_data, member.size, mtime, content)


def _zip(archive: Path) -> Iterator[tuple[str | bytes, Entry]]:
    """Yield the members of a zip; images are held in memory."""
    try:
        mtime, total = archive.stat().st_mtime_ns, 0
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                raw = _zip_name(info)
                name = raw if isinstance(raw, str) else raw.decode("utf-8", "surrogateescape")
                if info.is_dir():
                    yield raw, FOLDER
                elif stat.S_ISLNK(info.external_attr >> 16) and info.file_size <= LONGEST_TARGET:
                    target = file.read(info).decode("utf-8", "surrogateescape")
                    yield raw, Link(_inside(_beside(name, target)), target)
                elif (left := _kind(name, partial(_zip_head, file, info))) is not None:
                    yield raw, left
                else:
                    if info.flag_bits & 1:
                        what = f"{show(archive)}: holds {name!r}, which is encrypted"
                        raise DataError(what, "unpack it with its password, and give the folder")
                    total = _held(archive, total, info.file_size)
                    yield raw, ImageFile(archive, "", 0, info.file_size, mtime, file.read(info))
    except PermissionError as error:
        raise _denied(archive, error) from None
    except (
        zipfile.BadZipFile,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        struct.error,
        zlib.error,
        lzma.LZMAError,
    ) as error:
        raise DataError(
            f"{show(archive)}: not a zip archive, or a damaged one ({error})", "download it again"
        ) from None


def _zip_name(info: zipfile.ZipInfo) -> str | bytes:
    """The name of a member; as bytes where the archive does not mark it as UTF-8."""
    if info.flag_bits & 0x800:
        return info.filename
    raw = info.orig_filename.encode("cp437", "replace").split(b"\0")[0]  # zipfile decoded it as cp437
    place = 0
    while place + 4 <= len(info.extra):
        kind, size = struct.unpack_from("<HH", info.extra, place)
        field = info.extra[place + 4 : place + 4 + size]
        if kind == UNICODE_PATH and field[1:5] == struct.pack("<L", zlib.crc32(raw)):
            return field[5:].decode("utf-8", "replace")
        place += 4 + size
    return raw


def _kind(name: str, head: Callable[[], bytes]) -> Left | None:
    """The reason why a member is not read; None for an image, by its name or, where that says nothing, by its first bytes."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return Left("other", "hidden: its name begins with a dot") if hidden_image(last) else kind_of_file(last, head)


def _tar_head(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read(HEAD) if file is not None else b""


def _zip_head(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.flag_bits & 1:  # encrypted
        return b""
    with archive.open(info) as file:
        return file.read(HEAD)


def _held(archive: Path, total: int, more: int) -> int:
    """The number of bytes in memory after `more` are added.

    Raises:
        DataError: that exceeds the limit.
    """
    if total + more > MOST_UNPACKED:
        raise DataError(f"{show(archive)}: more than 4 GB unpacked", "unpack it into a folder and give that")
    return total + more


def _refused(archive: Path, name: str, what: str) -> DataError:
    mend = "unpack it where you trust it, and give the folder; or make the archive again without this member"
    return DataError(f"{show(archive)}: holds {name!r}, {what}", mend)


# --- links


def _beside(name: str, target: str) -> str:
    return posixpath.join(posixpath.dirname(name), target)


def _inside(target: str) -> str | None:
    """The path of a link's target from the archive's root; None where it lies outside."""
    path = posixpath.normpath(target)
    return None if path.startswith(("/", "../")) or path == ".." else path


def _linked(archive: Path, entries: dict[PurePosixPath, Entry]) -> dict[PurePosixPath, ImageFile | Left]:
    """Replace each link by its target, a file or all of a folder; a link to a folder around it is dropped.

    Raises:
        DataError: a link's target is not in the archive, or links multiply without end.
    """
    found: dict[PurePosixPath, ImageFile | Left] = {p: e for p, e in entries.items() if not isinstance(e, Link)}
    links = {path: link for path, link in entries.items() if isinstance(link, Link)}
    most, shown = 1000 + 20 * len(entries), show(archive)
    while links:
        # A folder that holds links is resolved after them.
        around = {folder for path in links for folder in (path, *path.parents)}
        done = []
        for path, link in links.items():
            target = PurePosixPath(link.target if link.target is not None else "/")
            if path.is_relative_to(target):
                done.append(path)
            elif target not in around and (new := _below(found, target)):
                for rest, entry in new:
                    place = path / rest
                    found[place] = replace(entry, name=f"{shown}!{place}") if isinstance(entry, ImageFile) else entry
                done.append(path)
            if len(found) > most:
                raise _refused(archive, str(path), "a link or device that multiplies its files")
        if not done:
            path, link = next(iter(links.items()))
            raise _refused(archive, str(path), f"a link or device that leads to nothing in it (to {link.shown!r})")
        for path in done:
            del links[path]
    return found


def _below(found: dict[PurePosixPath, ImageFile | Left], target: PurePosixPath) -> Entries:
    """The file or the entries of the folder at `target`: (path from there, entry)."""
    if target in found and found[target] != FOLDER:
        return [(PurePosixPath(), found[target])]
    return [(path.relative_to(target), entry) for path, entry in found.items() if path.is_relative_to(target)]
