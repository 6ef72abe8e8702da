"""Write files so that a crash or a full disk leaves the earlier file untouched."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import logging
import math
import os
import shlex
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from podium.errors import ROOM, MachineError
from podium.platform import SHARED, lock, process_lives

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNSYNCED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # what file systems answer that cannot sync
UNFINISHED = ".tmp-"  # how the name begins of a file or folder that is being written; a process id follows
LONGEST_NAME = 200  # bytes of a file's name that leave room for the beginning within the 255 that file systems take
SHARED_LEAST = 1 << 20  # bytes of it below which it counts as full


def write_atomic(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file whole or not at all.

    Raises:
        MachineError: the disk is full; the file that was there is untouched.
    """
    with atomic(path, sum(map(len, parts))) as file:
        for part in parts:
            file.write(part)


def refuse_unwritable(path: Path) -> None:
    """Refuse a file that cannot be written, before anything is computed for it.

    Raises:
        MachineError: says why it cannot.
    """
    with _unfinished(path, 0) as temporary:
        temporary.touch()
        temporary.unlink()


def write_text(path: Path, text: str) -> None:
    r"""Write text as UTF-8, whole or not at all; of a file name that is not UTF-8 the odd bytes become `\udce9`."""
    write_atomic(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json_text(content, indent=1))


def json_text(content: Any, indent: int | None = None) -> str:
    r"""JSON that is always UTF-8: file names that are not have their odd bytes as `\udce9`, which `json.loads` gives back."""
    return json.dumps(content, ensure_ascii=False, indent=indent).encode(errors="backslashreplace").decode()


def content_digest(*paths: Path) -> str:
    """The SHA-256 of files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def shell_word(text: str | os.PathLike[str]) -> str:
    """A path or a word as a shell takes it, on one line, whatever bytes it has."""
    word = os.fspath(text)
    if word.isprintable() and word.encode(errors="replace").decode() == word:
        return shlex.quote(word)
    escaped = (chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\{b:03o}" for b in os.fsencode(word))
    return f"$'{''.join(escaped)}'"


@contextlib.contextmanager
def atomic(path: Path, size: int) -> Iterator[BinaryIO]:
    """A file to write into that lies beside `path`, and takes its place when it is complete and synced.

    Args:
        path: of the file to be.
        size: in bytes, for the message where the disk is full.

    Raises:
        MachineError: the disk is full; the file that was there is untouched.
    """
    with _unfinished(path, size) as temporary:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            fault(f"{path.name}:written")
            sync(file.fileno(), path)
        fault(f"{path.name}:synced")
        os.replace(temporary, path)
        fault(f"{path.name}:renamed")
        sync_folder(path.parent)


def write_together(folder: Path, contents: Mapping[str, Sequence[bytes | memoryview]]) -> None:
    """Write files that belong together: all are on the disk before the first takes its place.

    Args:
        folder: of the files.
        contents: in parts, by the files' names.

    Raises:
        MachineError: the disk is full; the files that were there are untouched.
    """
    with contextlib.ExitStack() as all_of_them:
        fresh = {}
        for name, parts in contents.items():
            fresh[name] = all_of_them.enter_context(_unfinished(folder / name, sum(map(len, parts))))
            with fresh[name].open("wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                sync(file.fileno(), folder / name)
            fault(f"{name}:synced")
        for name, temporary in fresh.items():
            os.replace(temporary, folder / name)
            fault(f"{name}:renamed")
        sync_folder(folder)


@contextlib.contextmanager
def _unfinished(path: Path, size: int) -> Iterator[Path]:
    """The name that a file of this process has until it is complete; what is left of it goes when that fails."""
    if path.exists() and not path.is_file():  # a device or a pipe would be lost, and a folder cannot be replaced
        raise MachineError(f"cannot write {path}: it is there and no file", "name a file")
    fits = len(os.fsencode(path.name)) <= LONGEST_NAME
    name = path.name if fits else hashlib.sha256(os.fsencode(path.name)).hexdigest()
    temporary = path.with_name(f"{UNFINISHED}{os.getpid()}-{name}")
    try:
        yield temporary
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise disk_error(error, path, size) from None
        raise


@contextlib.contextmanager
def scratch_folder(place: Path) -> Iterator[Path]:
    """A folder beside `place` to make something in, and to rename to it; what is still there at the end is taken away.

    Its name has the process's number, and the folder is locked while it is used: another process that makes something of the
    same name has a folder of its own. Those that were left by processes which were killed are removed.

    Raises:
        OSError: it cannot be made.
    """
    beside = Path(os.path.abspath(place))
    for old in beside.parent.glob(f"{UNFINISHED}*"):
        number, _, name = old.name.removeprefix(UNFINISHED).partition("-")
        process = number.partition(".")[0]
        if process.isdigit() and name == beside.name and not process_lives(int(process)) and old.is_dir():
            with _held(old) as free:
                if free:
                    shutil.rmtree(old, ignore_errors=True)
    names = (f"{UNFINISHED}{os.getpid()}{f'.{n}' if n else ''}-{beside.name}" for n in itertools.count())
    for folder in map(beside.with_name, names):
        with contextlib.suppress(FileExistsError):  # of another thread, or of a process of this number before
            folder.mkdir()
            break
    with _held(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock, which the system gives back when the process ends; yields whether it was free."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # the folder is gone meanwhile, or is on a system that opens no folders
        yield False
        return
    try:
        yield bool(lock(handle))
    finally:
        os.close(handle)


def disk_error(error: OSError, path: Path, needed: int) -> MachineError:
    """The error to raise when a file could not be written."""
    if error.errno not in FULL:
        return MachineError(f"cannot write {path}: {error.strerror}", "check the folder and its permissions")
    free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
    need_have = f"{f'need {needed / 1e6:.1f} MB, ' if needed else ''}have {free / 1e6:.1f} MB"
    return MachineError(f"disk full: {need_have} at {path} ({error.strerror})", ROOM)


def copy_file(source: str, target: str) -> None:
    """Copy a file whole or not at all, as `shutil.copytree` calls it.

    Raises:
        MachineError: it cannot be written.
    """
    with open(source, "rb") as content, atomic(Path(target), os.path.getsize(source)) as copy:
        shutil.copyfileobj(content, copy)


def seal(card: Mapping[str, Any], key: str = "sha256") -> str:
    """SHA-256 of a card without its entry `key`, which holds the digest itself."""
    rest = {name: value for name, value in card.items() if name != key}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def not_finite(value: Any, name: str = "") -> str | None:
    """Where in plain values a number is NaN or infinite, which JSON does not have: "scores.top1"; None where all are finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return name
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    found = (not_finite(each, f"{name}.{key}" if name else str(key)) for key, each in items)
    return next((where for where in found if where is not None), None)


PIN = "@sha256:"  # parts the name of weights from the digest that they had


def without_folders(value: Any) -> Any:
    """Plain values that may leave this machine: of every path in them the last part, and of what is pinned the digest too.

    "/tmp/photos@sha256:12ab" becomes "photos@sha256:12ab", "timm:NAME=/tmp/w.pth" becomes "timm:NAME=w.pth".
    """
    if isinstance(value, Mapping):
        return {key: without_folders(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(each) for each in value]
    if not isinstance(value, str):
        return value
    where, pin, digest = value.partition(PIN)
    if os.path.isabs(where):
        return os.path.basename(where.rstrip("/")) + pin + digest
    peer, equals, file = where.partition("=")
    if equals and os.path.isabs(file):
        return peer + equals + os.path.basename(file) + pin + digest
    return value


def no_shared_memory(error: BaseException) -> MachineError | None:
    """The error to raise where shared memory is full; None where an error has another cause.

    Args:
        error: of the system's without a file's name, as for a semaphore; or of torch's or NCCL's, which name what they shared.
    """
    words = ("shared memory", "/dev/shm", "shm_open", "</torch_")  # noqa: S108
    said = any(word in str(error) for word in words)
    nameless = isinstance(error, OSError) and error.errno in FULL and error.filename is None
    if not said and not (nameless and SHARED.is_dir() and shutil.disk_usage(SHARED).free < SHARED_LEAST):
        return None
    size = f"{shutil.disk_usage(SHARED).total / 1e6:.3g} MB in all, {shutil.disk_usage(SHARED).free / 1e6:.3g} MB free"
    what = f"{SHARED}: full, or too small for what processes share" + (f" ({size})" if SHARED.is_dir() else "")
    return MachineError(what, f"mount -o remount,size=1g {SHARED}; of a container: docker run --shm-size=1g")


_warned: set[str] = set()


def sync(handle: int, what: Path) -> None:
    """Write a file's content to the disk, so that it survives a power cut; warn once where the file system cannot.

    Raises:
        OSError: it could not be written.
    """
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNSYNCED:
            raise
        _warn_unsynced(what.parent, error)


def sync_folder(folder: Path) -> None:
    """Write a folder's renames to the disk, so that they survive a power cut; warn once where the file system cannot."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        _warn_unsynced(folder, error)


def _warn_unsynced(folder: Path, error: OSError) -> None:
    if "sync" not in _warned:
        _warned.add("sync")
        text = f"{folder} cannot be synced ({error.strerror}): a power cut may cost what was written last"
        logging.getLogger("podium").warning(text)


def cache_folder() -> Path:
    """The folder of downloads and of what can be computed again: $PODIUM_CACHE, or podium in the user's cache folder.

    The latter follows the XDG Base Directory Specification.
    """
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PODIUM_CACHE") or Path(root) / "podium")


def fault(place: str) -> float:
    """For tests: cause the fault that PODIUM_FAULT names for this place; without that variable nothing happens.

    "kill@PLACE" ends the process as a power cut would, "signal:15@PLACE" sends it a signal, "hang@PLACE" waits for an hour,
    "nan@PLACE" returns NaN; several are separated by commas. Every file that is written whole has the places "NAME:written",
    "NAME:synced" and "NAME:renamed". "...@PLACE@1" is for rank 1 of several processes.
    """
    value = 0.0
    for each in os.environ.get("PODIUM_FAULT", "").split(","):
        action, _, where = each.partition("@")
        where, _, rank = where.partition("@")
        if where != place or rank not in ("", os.environ.get("RANK", "0")):
            continue
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == "hang":
            time.sleep(3600)
        elif action == "nan":
            value = float("nan")
        else:
            signal.raise_signal(int(action.removeprefix("signal:")))  # to this thread: it comes here and no later
    return value
