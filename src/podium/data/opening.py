"""Opening an image by its content: from bytes to an image of Pillow's whose pixels are not decoded yet. Without torch.

Here is what bounds memory and time: the size that a header says, in every place in which a format says one.
"""

from __future__ import annotations

import importlib
import io
import logging
import re
from threading import Lock
from typing import Any

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from podium.data.formats import FORMATS, HEAD, OTHERS, PILLOW, RAW, READ, fixes, recognised, unread_kind
from podium.data.starving import stored_sizes
from podium.errors import FormatNotRead, ImageTooLarge, UsageError
from podium.platform import quiet_libtiff

MAX_PIXELS = 50_000_000  # by the header, before anything is decoded
DNG_VERSION, NEW_SUBFILE, SUB_IFDS, PHOTOMETRIC = 50706, 254, 330, 262  # tags of TIFF
SENSOR = (32803, 34892)  # photometric interpretations: values of a sensor
TILE_SIDES, ORIENTATION, COMPRESSION = (322, 323), 0x0112, 259
# What may compress the pixels of a TIFF: nothing, CCITT, LZW, JPEG, deflate, PackBits, LZMA and Zstandard are read.
TIFF_READ = (1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34925, 50000)
TIFF_OTHERS = {
    **dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000"),
    **dict.fromkeys((34927, 50001), "WebP"),
    **dict.fromkeys((50002, 52546), "JPEG XL"),
    **dict.fromkeys((22610, 34934), "JPEG XR"),
    34676: "SGI's LogLuv",
    34677: "SGI's LogLuv",
    34887: "LERC",
    34892: "lossy JPEG of a DNG",
    34933: "PNG",
}
HEIF_ITEM = re.compile(rb"infe(?:\x02.{7}(.{4})|\x03.{9}(.{4}))", re.DOTALL)
SAVE_AGAIN = "save it as JPEG or PNG"
for library in (
    "PIL",
    "pydicom",
):  # what they log is in their errors too; without a handler it would go to standard error
    logging.getLogger(library).addHandler(logging.NullHandler())
BIG = Lock()  # held while Pillow's own limit on pixels is lifted


def opened(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open an image of any format that is read, by its content.

    Args:
        data: the file's bytes.
        name: for messages.
        max_pixels: the largest width times height.

    Returns:
        An image with its size and mode. Its `info` may have "white_is_zero", and "frames", how many images the file holds.

    Raises:
        ImageError: too large, of a format that is not read, or of one whose reader is not installed.
        Exception: decoders raise anything where a file is damaged.
    """
    kind = recognised(data[:HEAD])
    if unread_kind(data[:HEAD]):
        raise not_read(data, name)
    if kind == "HEIC":
        image = _heif(data, name)
    elif kind == "DICOM":
        from podium.data.dicom import open_dicom

        return open_dicom(data, name, max_pixels)
    else:
        if kind == "TIFF":
            _check_compression(data, name)
        image = _by_pillow(data, name, max_pixels)
    check_size(image.size, name, max_pixels)
    if image.format == "TIFF":
        quiet_libtiff()
        _check_tiff(image, name, max_pixels)
    elif kind in ("HEIC", "AVIF", "JPEG 2000"):
        for size in _codestream_sizes(data) if kind == "JPEG 2000" else stored_sizes(data):
            check_size(size, name, max_pixels)
        if kind == "JPEG 2000":
            _check_bits(data, name)
    return image


def frames(image: Image.Image) -> int:
    """How many images, pages or frames are in a file, by the image that was opened from it."""
    if image.format == "MPO":  # the others are previews, depth maps, or the view of the other eye
        return 1
    try:
        return int(image.info.get("frames", getattr(image, "n_frames", 1)))
    except MemoryError:
        raise
    except Exception:  # counting walks through the file, which may be damaged behind its first image
        return 1


def own_orientation(image: Image.Image) -> int:
    """The orientation, as EXIF numbers it, that a format keeps in its own place and its reader has not applied."""
    if image.format != "AVIF":  # HEIC and TIFF come upright from their readers
        return 1
    said = image.getexif().get(ORIENTATION, 1)  # Pillow puts the container's rotation and mirroring here
    return said if isinstance(said, int) and 2 <= said <= 8 else 1


def check_max_pixels(most: int) -> None:
    """Raise a UsageError for a limit that no image keeps."""
    if most < 1:
        raise UsageError(f"max_pixels: {most}", "give at least 1")


def check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Refuse an image of too many pixels.

    Raises:
        ImageError: it has more than `max_pixels`.
    """
    if size[0] * size[1] > max_pixels:
        raise too_large(name, f"{size[0]} x {size[1]} pixels", max_pixels)


def too_large(name: str, size: str, max_pixels: int) -> ImageTooLarge:
    """The error for an image of more pixels than are opened."""
    most = f"{max_pixels / 1e6:g} million" if max_pixels >= 1e5 else f"{max_pixels:,}"
    return ImageTooLarge(
        f"{name}: {size}, above the limit of {most} pixels", "scale it down, or allow it: --max-pixels N"
    )


def not_read(data: bytes, name: str) -> FormatNotRead:
    """The error for a file that is not an image, or one of a format that is not read here."""
    kind, formats = unread_kind(data[:HEAD]), ", ".join(each.name for each in READ)
    for begins, what, mend in OTHERS:
        if not kind and re.match(begins, data, re.IGNORECASE | re.DOTALL):
            return FormatNotRead(f"{name}: {what}, not an image of {formats}", mend)
    if kind in FORMATS and not FORMATS[kind].has_reader:
        return FormatNotRead(f"{name}: {kind}, not an image of {formats}", FORMATS[kind].fix)
    if kind:
        return FormatNotRead(f"{name}: {kind}, whose reader is not installed", fixes([kind]))
    return FormatNotRead(f"{name}: not an image of {formats}", "copy it again, or delete it")


def _by_pillow(data: bytes, name: str, max_pixels: int) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=PILLOW)
    except Image.DecompressionBombError:
        known = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # Pillow raises above that
        if max_pixels <= known:
            raise too_large(name, f"more than {known // 1_000_000} million pixels", max_pixels) from None
        with BIG:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return Image.open(io.BytesIO(data), formats=PILLOW)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except UnidentifiedImageError:
        kind = FORMATS.get(recognised(data[:HEAD]))
        for reader in kind.pillow if kind is not None else ():
            Image.OPEN[reader][0](io.BytesIO(data), "")  # again, for the reason, which `Image.open` keeps to itself
        raise not_read(data, name) from None


def _heif(data: bytes, name: str) -> Image.Image:
    """Open a HEIC file by pi-heif or pillow-heif; the rotation and mirroring of the container are applied when it is decoded."""
    for item in HEIF_ITEM.finditer(data):  # pi-heif 1.4 crashes on a type that is no text
        if not (item[1] or item[2]).isascii():
            raise ValueError("the type of an item is no text")
    for package in FORMATS["HEIC"].packages:
        try:
            plugin: Any = importlib.import_module(package)
        except ImportError:
            continue
        image: Image.Image = plugin.HeifImageFile(io.BytesIO(data))
        return image
    raise FormatNotRead(f"{name}: HEIC, whose reader is not installed", fixes(["HEIC"]))


def _check_compression(data: bytes, name: str) -> None:
    """Refuse a TIFF whose pixels are compressed in a way that is not read, which its tags say before Pillow fails at it.

    Raises:
        FormatNotRead: it is compressed in another way than `TIFF_READ`.
    """
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if b"+" in data[2:4] else 8])  # a BigTIFF's head is longer
    stream = io.BytesIO(data)
    stream.seek(tags.next)
    tags.load(stream)
    how = tags.get(COMPRESSION, 1)
    if how not in TIFF_READ:
        inside = TIFF_OTHERS.get(how, f"a compression of the number {how}")
        raise FormatNotRead(f"{name}: TIFF with {inside} inside, which is not read", SAVE_AGAIN)


def _check_tiff(image: Any, name: str, max_pixels: int) -> None:
    """Refuse what Pillow would misread: the preview in a camera's raw file, signed bytes, and planes of 16 bits.

    Also correct Pillow's idea of compressed values: libtiff gives them in the order of bytes of this machine.

    Raises:
        ImageError: it is one of these, or its tiles are larger than an image may be.
    """
    tags = image.tag_v2
    reduced = bool(tags.get(NEW_SUBFILE, 0) & 1) if isinstance(tags.get(NEW_SUBFILE, 0), int) else False
    if DNG_VERSION in tags or (reduced and SUB_IFDS in tags) or tags.get(PHOTOMETRIC) in SENSOR:
        what = f"{name}: {RAW}, of which only a preview could be read"
        raise FormatNotRead(what, FORMATS[RAW].fix)
    sides = [tags.get(side, 0) for side in TILE_SIDES]
    if all(isinstance(side, int) for side in sides):
        check_size((sides[0], sides[1]), f"{name}: a tile", max_pixels)
    bits, signs = tags.get(258, (1,)), tags.get(339, (1,))
    planes = tags.get(284, 1) == 2 and len(bits) > 1
    if (max(bits) > 8 and planes and image.tile and image.tile[0][0] == "raw") or (2 in signs and max(bits) == 8):
        kind = "signed bytes" if 2 in signs else "16-bit colours in separate planes"
        raise FormatNotRead(f"{name}: TIFF with {kind}, which are not read", SAVE_AGAIN)
    if tags.get(PHOTOMETRIC) == 0 and image.mode in ("I;16", "F"):
        image.info["white_is_zero"] = True
    image.tile = [
        tile._replace(args=(re.sub(r"B(S|F)$", r"N\1", tile.args[0]), *tile.args[1:])) if tile[0] == "libtiff" else tile
        for tile in image.tile
    ]


def _check_bits(data: bytes, name: str) -> None:
    """Refuse a JPEG 2000 of more bits than Pillow reads: in colour it adds up what is more than 8, and white becomes black.

    Raises:
        FormatNotRead: more than 8 bits a channel in colour, or more than 16 in grey.
    """
    place = data.find(b"\xff\x4f\xff\x51")
    count = int.from_bytes(data[place + 40 : place + 42], "big")
    bits = max((1 + (size & 0x7F) for size in data[place + 42 : place + 42 + 3 * count : 3]), default=8)
    if place >= 0 and bits > (16 if count == 1 else 8):
        colour = " a channel in colour" if count > 1 else ""
        raise FormatNotRead(f"{name}: JPEG 2000 of {bits} bits{colour}, which is not read", SAVE_AGAIN)


def _codestream_sizes(data: bytes) -> list[tuple[int, int]]:
    """The sizes of a JPEG 2000's image and of its tiles, by the codestream, which its container may contradict."""
    place = data.find(b"\xff\x4f\xff\x51")
    if place < 0 or len(data) < place + 40:
        return []
    right, bottom, left, top, wide, high = (
        int.from_bytes(data[at : at + 4], "big") for at in range(place + 8, place + 32, 4)
    )
    return [(max(0, right - left), max(0, bottom - top)), (min(wide, right), min(high, bottom))]
