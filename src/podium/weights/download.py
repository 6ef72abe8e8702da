"""Official weight files in the cache: each is downloaded once, whole, and checked by its digest.

torchvision's and Keras's files are fetched here, from the host that PODIUM_MIRROR names or else from their own. What broke off
goes on where it stopped. timm's are fetched by `huggingface_hub` into its own cache, from the host that HF_ENDPOINT names.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from podium.errors import MachineError, ModelFileError, UsageError
from podium.files import FULL, cache_folder, disk_error
from podium.weights.official import find_official
from podium.weights.official_files import OfficialFile, split_tag

TIMEOUT = 30.0  # seconds to wait for the next bytes
CHUNK = 1 << 20

ByteProgress = Callable[[int, int | None], None]  # bytes that are there, and bytes in all where the server says so


class _BrokenOffError(Exception):
    """A download that ended early; what came is on the disk."""


def official(source: str, progress: ByteProgress | None = None) -> Path:
    """The path of an official weight file, downloaded where it is not in the cache yet.

    Args:
        source: "LIBRARY:NAME" or "LIBRARY:NAME.TAG".
        progress: called as bytes arrive.

    Raises:
        UsageError: no official file is on record for this name.
        MachineError: the download fails; says from where the file can be had and where to put it.
        ModelFileError: what is in the cache, or what the server sent, is not the official file.
    """
    record = find_official(source)
    if record is None:
        raise UsageError(
            f"no official file of {source} is known here", "download it yourself, and give its path after the name"
        )
    if path := cached(record):
        check(record, path, str(path), "delete it, and run the same again")
        return path
    return _from_hub(record, progress) if record.repository else _from_host(record, progress)


def cached(record: OfficialFile) -> Path | None:
    """Where an official file lies on this machine; None where it must be downloaded."""
    if (path := by_hand(record)).is_file():
        return path
    if not record.repository:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(record.repository, record.file)
    return Path(found) if isinstance(found, str) else None


def by_hand(record: OfficialFile) -> Path:
    """Where a person may put an official file that was downloaded elsewhere."""
    return cache_folder() / record.cached_as


def address_of(record: OfficialFile) -> str:
    """Where an official file is fetched from: its own host, or the mirror that is named for it.

    Raises:
        UsageError: PODIUM_MIRROR or HF_ENDPOINT is not an address, or has a password in it, which messages would show.
    """
    variable = "HF_ENDPOINT" if record.repository else "PODIUM_MIRROR"
    mirror = os.environ.get(variable, "").strip()
    if not mirror:
        return record.address
    if not re.match(r"https?://[^/]+", mirror):
        raise UsageError(f"{variable}: {mirror!r} is not an address", "give one such as https://mirror.example.org")
    if "@" in urlsplit(mirror).netloc:
        raise UsageError(f"{variable}: a user or password in it is not supported", "name a mirror that asks for none")
    return mirror.rstrip("/") + urlsplit(record.address).path


def check(record: OfficialFile, path: Path, where: str, fix: str) -> None:
    """Refuse a file that is not the official one, as far as its size and digests are on record.

    Args:
        record: of the official file.
        path: of the file.
        where: what the message calls it.
        fix: of the message.

    Raises:
        ModelFileError: says what differs.
    """
    size, wrong = path.stat().st_size, ""
    known = record.sha256 or _digest_in_name(path.resolve())
    with path.open("rb") as file:
        page = file.read(64).lstrip().lower().startswith((b"<!doctype", b"<html"))
    if page:
        wrong = "it is a web page"
    elif known and not (sha256 := _digest(path, "sha256")).startswith(known):
        wrong = f"its sha256 starts with {sha256[:8]}, not {known[:8]}"
    elif record.md5 and (md5 := _digest(path, "md5")) != record.md5:
        wrong = f"its md5 is {md5}, not {record.md5}"
    elif record.bytes is not None and size != record.bytes:
        wrong = f"it has {size:,} bytes, not {record.bytes:,}"
    elif record.library == "keras" and not (known or record.md5) and size != _length_inside(path):
        wrong = "it is cut, or no file of Keras"
    if wrong:
        raise ModelFileError(f"{where}: not the official file ({wrong})", fix)


def _length_inside(path: Path) -> int | None:
    """The length that a file of Keras has by its own header, the superblock of HDF5; None for a file of another kind."""
    with path.open("rb") as file:
        head = file.read(48)
    keras = head.startswith(b"\x89HDF\r\n\x1a\n\0") and len(head) == 48 and head[13] == 8
    return int.from_bytes(head[40:48], "little") if keras else None


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def _digest_in_name(path: Path) -> str:
    """The SHA-256 of a large file of the Hugging Face Hub, by which its cache names it; empty for other names."""
    return path.name if re.fullmatch(r"[0-9a-f]{64}", path.name) else ""


def _from_host(record: OfficialFile, progress: ByteProgress | None) -> Path:
    """Download a file of torchvision or Keras into the cache, completely or not at all; other processes wait for it."""
    from filelock import FileLock

    path, address = by_hand(record), address_of(record)
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if path.is_file():  # another process has fetched it meanwhile
                return path
            if not (record.sha256 or record.md5):  # without a digest nobody can tell what is of an older file
                part.unlink(missing_ok=True)
                logging.getLogger("podium").warning(
                    f"{record.source}: no digest of {path.name} is published, so only its length is checked"
                )
            _download(record, address, part, progress)
            part.replace(path)
    except OSError as error:
        raise disk_error(error, path, record.bytes or 0) from None
    return path


def _download(record: OfficialFile, address: str, part: Path, progress: ByteProgress | None) -> None:
    """Download a file whole, and check it; where a part was there already and the whole is wrong, once more from its beginning."""
    had = part.exists()
    _receive(record, address, part, progress)
    fix = f"try another mirror, or {without_download([record])}"
    try:
        check(record, part, address, fix)
    except ModelFileError:
        part.unlink()
        if not had:
            raise
        _receive(record, address, part, progress)
        try:
            check(record, part, address, fix)
        except ModelFileError:
            part.unlink()
            raise


def _receive(record: OfficialFile, address: str, part: Path, progress: ByteProgress | None) -> None:
    """Download until everything is there, going on after each interruption as long as some bytes came."""
    came = idle = refused = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _continue(address, part, before, progress)
            return
        except _BrokenOffError as error:
            after = part.stat().st_size if part.exists() else 0
            if after and _whole(record, part):  # the server promised more than there is
                return
            came += max(0, after - before)
            idle = 0 if after > before else idle + 1
            if not came or idle > 1:
                raise _cannot(record, address, str(error)) from None
        except urllib.error.HTTPError as error:
            error.close()
            if before and _whole(record, part):  # nothing was missing: a process was killed at the very end
                return
            refused += 1
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not before or refused > 1:
                raise _cannot(record, address, f"{error.code} {error.reason}") from None
            part.unlink()  # it is no part of the file that is there now


def _whole(record: OfficialFile, part: Path) -> bool:
    """Whether the digest on record says that everything is there."""
    try:
        check(record, part, "", "")
    except ModelFileError:
        return False
    return bool(record.sha256 or record.md5 or record.library == "keras")


def _continue(address: str, part: Path, have: int, progress: ByteProgress | None) -> None:
    """Append what is missing of a file to its part; a server that sends everything again starts it anew.

    Raises:
        _BrokenOffError: the connection failed or ended early, or something else than a file came.
        urllib.error.HTTPError: the server refuses.
        OSError: the disk is full.
    """
    headers = {"User-Agent": "podium", "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT)  # noqa: S310 - http(s) only, by `address_of`
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(str(getattr(error, "reason", error)) or type(error).__name__) from None
    with answer:
        if "html" in answer.headers.get("Content-Type", ""):
            raise _BrokenOffError("the server sent a web page in place of the file")
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise _BrokenOffError("the server sent another part of the file than the one that is missing")
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        with part.open("ab" if have else "wb") as file:
            while chunk := _read(answer):
                file.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(have, total)
    if total is not None and have < total:
        raise _BrokenOffError(f"the connection ended after {have:,} of {total:,} bytes")


def _read(answer: http.client.HTTPResponse) -> bytes:
    """The next bytes of an answer; none at its end."""
    try:
        return answer.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(str(error) or type(error).__name__) from None


def _from_hub(record: OfficialFile, progress: ByteProgress | None) -> Path:
    """Download a file of timm into the cache of the Hugging Face Hub, whose entry tells the digest."""
    from huggingface_hub import hf_hub_download
    from tqdm.std import tqdm

    class Bar(tqdm):
        """A bar that only reports."""

        def __init__(self, *arguments: object, **options: object) -> None:
            with open(os.devnull, "w") as nowhere:
                super().__init__(*arguments, **{**options, "disable": False, "file": nowhere})

        def display(self, *_: object, **__: object) -> None:
            if progress is not None:
                progress(int(self.n), int(self.total) if self.total else None)

        def close(self) -> None:
            self.disable = True

    address, endpoint = address_of(record), os.environ.get("HF_ENDPOINT") or None
    _refuse_unreachable(record, address)
    try:
        path = Path(
            hf_hub_download(
                str(record.repository), record.file, endpoint=endpoint, tqdm_class=Bar, library_name="podium"
            )
        )
    except Exception as error:  # its client has errors of its own, which change with its version
        if isinstance(error, OSError) and error.errno in FULL:
            raise disk_error(error, by_hand(record), 0) from None
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise _cannot(record, address, reason[0]) from None
    try:
        check(record, path, address, f"run the same again, or {without_download([record])}")
    except ModelFileError:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise
    return path


def _refuse_unreachable(record: OfficialFile, address: str) -> None:
    """Raise at once where no connection is possible, of which the hub's client would make many attempts."""
    request = urllib.request.Request(address, headers={"User-Agent": "podium"}, method="HEAD")  # noqa: S310 - http(s) only, by `address_of`
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()  # the hub's client says it in better words
    except (OSError, http.client.HTTPException) as error:
        raise _cannot(record, address, str(getattr(error, "reason", error)) or type(error).__name__) from None


def _cannot(record: OfficialFile, address: str, reason: str) -> MachineError:
    """The error for a file that cannot be fetched."""
    reason = " ".join(reason.split())
    what = f"{record.cached_as} of {split_tag(record.source)[0]} cannot be downloaded from {address} ({reason})"
    return MachineError(what, without_download([record]))


def without_download(records: Sequence[OfficialFile]) -> str:
    """What to do where official files cannot be downloaded, for all of them at once.

    Args:
        records: of the files.

    Raises:
        UsageError: PODIUM_MIRROR or HF_ENDPOINT is not an address.
    """
    places = "; ".join(f"{address_of(record)} at {by_hand(record)}" for record in records)
    variables = " and ".join(
        dict.fromkeys("HF_ENDPOINT" if record.repository else "PODIUM_MIRROR" for record in records)
    )
    one = len(records) == 1
    download = f"download {address_of(records[0])} on another machine and put it at {by_hand(records[0])}"
    each = f"download these {len(records)} files on another machine and put each where it is looked for: {places}"
    return f"{download if one else each}; or name a mirror by {variables}"
