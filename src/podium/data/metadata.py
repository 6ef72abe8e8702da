"""The metadata of JPEG, PNG and WebP files: reading the orientation, and removing the metadata. Standard library only.

Cameras, phones and editors write metadata, which is often damaged in files whose pixels are sound. So it is read here byte by
byte and never raises an exception, and where a decoder refuses a file because of it, the file is decoded without it.
"""

from __future__ import annotations

import contextlib
import re
import struct
import zlib
from collections.abc import Iterator

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
JPEG_METADATA = (0xE1, 0xE2, 0xED, 0xFE)  # EXIF and XMP; ICC and further pictures; Photoshop; comments
ORIENTATION = 0x0112
INTEGERS = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l"}  # TIFF's types of integer fields, as `struct` names them
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
EXIF_HEAD, XMP_HEAD = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
LARGEST_PROFILE = 1 << 20  # bytes to which a compressed text is decompressed at most
MOST_TEXTS = 8  # of a PNG that are decompressed


def orientation(data: bytes) -> int:
    """The orientation of an image by its EXIF, or by its XMP where the EXIF has none.

    Args:
        data: the bytes of an image file.

    Returns:
        1 (upright as stored) to 8, as EXIF numbers them; 1 where none can be read.
    """
    exif, xmp = blocks(data)
    said = _exif_orientation(exif)
    if said is None and (match := XMP_ORIENTATION.search(xmp)):
        said = int(match[1])
    return said if said is not None and 2 <= said <= 8 else 1


def blocks(data: bytes) -> tuple[bytes, bytes]:
    """The EXIF and the XMP of a JPEG, PNG or WebP; each is empty where there is none."""
    exif = xmp = legacy = b""
    parts, texts = list[bytes](), 0
    if data.startswith(JPEG):
        for marker, start, end in _segments(data):
            content = data[start + 4 : end]
            if marker == 0xE1 and content.startswith(EXIF_HEAD):
                parts.append(content[len(EXIF_HEAD) :])
            elif marker == 0xE1 and content.startswith(XMP_HEAD):
                xmp = content[len(XMP_HEAD) :]
        exif = b"".join(parts)
    elif data.startswith(PNG):
        for kind, start, end in chunks(data):
            if kind == b"eXIf":
                exif = data[start + 8 : end - 4]
            elif kind in (b"tEXt", b"zTXt", b"iTXt") and texts < MOST_TEXTS:
                name, text = _text(kind, data[start + 8 : end - 4])
                texts += bool(text)
                xmp = text if name == b"XML:com.adobe.xmp" else xmp
                # Written by ImageMagick, in hexadecimal digits.
                legacy = text if name == b"Raw profile type exif" else legacy
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        for kind, start, end in _riff(data):
            exif = data[start + 8 : end] if kind == b"EXIF" else exif
            xmp = data[start + 8 : end] if kind == b"XMP " else xmp
    if not exif and legacy:
        with contextlib.suppress(ValueError):
            exif = bytes.fromhex("".join(legacy.decode("latin-1").split("\n")[3:]))
    return re.sub(b"^(?:Exif\0\0){1,2}", b"", exif), xmp


def without_metadata(data: bytes) -> bytes | None:
    """The same image without metadata; None where it has none, or is of another format."""
    bare = None
    if data.startswith(JPEG):
        parts, last = [JPEG], 2
        for marker, start, end in _segments(data):
            if marker not in JPEG_METADATA:
                parts.append(data[start:end])
            last = end
        bare = b"".join([*parts, data[last:]])
    elif data.startswith(PNG):
        bare = PNG + b"".join(data[start:end] for kind, start, end in chunks(data) if kind in PNG_PIXELS)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kept = bytearray()
        for kind, start, end in _riff(data):
            if kind not in (b"EXIF", b"XMP ", b"ICCP"):
                chunk = bytearray(data[start:end] + b"\0" * ((end - start) % 2))
                if kind == b"VP8X" and len(chunk) > 8:
                    chunk[8] &= ~(0x20 | 0x08 | 0x04)  # the flags for a profile, EXIF and XMP
                kept += chunk
        bare = b"RIFF" + struct.pack("<I", 4 + len(kept)) + b"WEBP" + bytes(kept)
    return bare if bare != data else None


def _exif_orientation(exif: bytes) -> int | None:
    """The orientation in the first directory of a TIFF; None where none can be read."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return None
    said = None
    with contextlib.suppress(struct.error):
        (place,) = struct.unpack_from(order + "L", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, place)
        for entry in range(place + 2, place + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(order + "HHL", exif, entry)
            if tag == ORIENTATION and values == 1 and kind in INTEGERS:
                (said,) = struct.unpack_from(order + INTEGERS[kind], exif, entry + 8)
    return said


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, first byte, end) of the segments of a JPEG before its first scan."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # 0xFF bytes may pad the space between segments
            place += 1
            continue
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in (0xD9, 0xDA) or not 0xC0 <= marker <= 0xFE or end > len(data) or end < place + 4:
            return
        yield marker, place, end
        place = end


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, first byte, end) of the chunks of a PNG; the last may be truncated."""
    place = len(PNG)
    while place + 8 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        yield data[place + 4 : place + 8], place, end
        place = end


def _riff(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, first byte, end) of the chunks of a WebP; the last may be truncated."""
    place = 12
    while place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        yield data[place : place + 4], place, place + 8 + size
        place += 8 + size + size % 2


def _text(kind: bytes, content: bytes) -> tuple[bytes, bytes]:
    """The keyword and the text of a PNG's text chunk; the text is empty where it cannot be decompressed."""
    name, _, text = content.partition(b"\0")
    if name not in (b"XML:com.adobe.xmp", b"Raw profile type exif"):
        return name, b""
    packed = kind == b"zTXt"
    if packed:
        text = text[1:]
    elif kind == b"iTXt":
        packed, text = text[:1] == b"\1", text[2:].split(b"\0", 2)[-1]
    if packed:
        try:
            text = zlib.decompressobj().decompress(text, LARGEST_PROFILE)
        except zlib.error:
            text = b""
    return name, text
