"""The body of a request, read into memory up to a limit and never onto the disk: one image, or a form with several."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from podium.serving.waiting import gone
from podium.web.problems import Problem

MOST_BYTES = 32 << 20  # of a body
MOST_IMAGES = 32  # of a request
MOST_PARTS = 64  # of a form, whose other fields are left aside
LONGEST_BOUNDARY = 70  # RFC 2046
MOST_PADDING = 1000  # spaces behind a boundary, which its parser reads one by one
LARGE = 256 << 10  # bytes of a body that is taken apart in a thread

Result = TypeVar("Result")


def too_large() -> Problem:
    """The error for a body above the limit; the client is to close the connection."""
    what = f"the request is larger than {MOST_BYTES >> 20} MiB"
    return Problem(413, "body_too_large", what, "scale the images down, or send fewer at once", {"Connection": "close"})


def declared_length(headers: dict[bytes, bytes]) -> int | None:
    """The length that a request says; None where it says none."""
    said = headers.get(b"content-length", b"")
    return int(said) if said.isdigit() else None


async def read_body(request: Request) -> bytes:
    """Read the whole body, whose size `Admission` limits.

    Raises:
        Problem: it is too large, empty, or compressed, or the client has gone.
    """
    if any(coding.lower() != "identity" for coding in request.headers.getlist("content-encoding")):
        fix = "send it as it is: images are compressed already"
        raise Problem(415, "encoding_not_supported", "the body has a content encoding", fix)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
    except ClientDisconnect:
        raise gone() from None
    if not body:
        raise Problem(400, "empty_body", "the body is empty", "send an image, as the body or in a form")
    return bytes(body)


async def apart(work: Callable[..., Result], body: bytes, *more: Any) -> Result:
    """The result of work(body, *more), in a thread where the body is large, so that other requests go on."""
    return work(body, *more) if len(body) < LARGE else await asyncio.to_thread(work, body, *more)


async def read_images(request: Request) -> list[bytes]:
    """Read the images of a request: its body, or the files of its form.

    Raises:
        Problem: there is none, there are too many, or the form is damaged; and as `read_body`.
    """
    kind, _, options = request.headers.get("content-type", "").partition(";")
    body = await read_body(request)
    if kind.strip().lower() != "multipart/form-data":
        return [body]
    images = await apart(_files_of, body, options)
    if not images:
        raise Problem(400, "no_image", "the form has no file", "send at least one image as a file of the form")
    if len(images) > MOST_IMAGES:
        what = f"more than {MOST_IMAGES} images in one request"
        raise Problem(413, "too_many_images", what, "send them in several requests")
    return images


def _files_of(body: bytes, options: str) -> list[bytes]:
    """The contents of a form's files, in order. Their names are not read.

    Raises:
        Problem: the form is damaged or has too many parts.
    """
    from python_multipart.exceptions import MultipartParseError
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(f"multipart/form-data;{options}".encode("latin-1", "replace"))[1].get(b"boundary")
    if not boundary or len(boundary) > LONGEST_BOUNDARY:
        raise _damaged()
    if re.search(rb"\r\n--" + re.escape(boundary) + rb"[ \t]{%d}" % MOST_PADDING, b"\r\n" + body):
        raise _damaged()
    form = _Form()
    calls = {
        "on_part_begin": form.begin,
        "on_part_data": form.data,
        "on_part_end": form.end,
        "on_header_field": form.field,
        "on_header_value": form.value,
        "on_header_end": form.header,
        "on_end": form.finish,
    }
    try:
        parser = MultipartParser(boundary, calls)  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except MultipartParseError:
        raise _damaged() from None
    if not form.finished:
        raise _damaged()
    return form.files


def _damaged() -> Problem:
    return Problem(400, "form_damaged", "the form cannot be read", "send multipart/form-data as RFC 7578 has it")


class _Form:
    """The parts of a form, as its parser finds them; a part with a file's name is an image."""

    def __init__(self) -> None:
        self.files: list[bytes] = []
        self.parts, self.finished = 0, False
        self.begin_header()

    def begin_header(self) -> None:
        self.name, self.text, self.is_file, self.content = bytearray(), bytearray(), False, bytearray()

    def begin(self) -> None:
        self.begin_header()
        self.parts += 1
        if self.parts > MOST_PARTS:
            raise Problem(413, "too_many_parts", f"more than {MOST_PARTS} parts in one form", "send fewer")

    def field(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def value(self, data: bytes, start: int, end: int) -> None:
        self.text += data[start:end]

    def header(self) -> None:
        if bytes(self.name).lower() == b"content-disposition":
            self.is_file = b"filename" in bytes(self.text).lower()
        elif bytes(self.name).lower() == b"content-type":
            self.is_file = self.is_file or bytes(self.text).lower().startswith((b"image/", b"application/octet"))
        self.name, self.text = bytearray(), bytearray()

    def data(self, data: bytes, start: int, end: int) -> None:
        if self.is_file:
            self.content += data[start:end]

    def end(self) -> None:
        if self.is_file:
            self.files.append(bytes(self.content))

    def finish(self) -> None:
        self.finished = True
