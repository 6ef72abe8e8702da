"""The images that a person hands over for an answer: files, folders, patterns, URLs, bytes, Pillow images, arrays. Without torch."""

from __future__ import annotations

import glob
import os
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from podium.data.decode import upright_of
from podium.data.folders import images_below
from podium.data.image_file import ImageFile
from podium.data.names import show
from podium.data.preprocessing import Preprocessing
from podium.errors import DataError, PodiumError, UsageError
from podium.natural import natural

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://", re.ASCII)
KINDS = "give a path, an https URL, the bytes of an image file, a Pillow image, an array (H, W, 3) uint8, or a list of these"


@dataclass(frozen=True)
class Input:
    """One image that is to be answered.

    Args:
        name: the path, the URL, or the place in the list.
        read: from the network's preprocessing to the upright image, of mode "L" or "RGB". Raises a DataError that names the
            image where it cannot be read.
    """

    name: str
    read: Callable[[Preprocessing], Image.Image]


def inputs(images: Any) -> Iterator[Input]:
    """Yield images one by one, in the order given, without opening them.

    Args:
        images: see `KINDS`; a path may also be a folder (all images in it and below, in natural order) or a pattern with *, ? or
            [...]. A file that has such a name is that file.

    Returns:
        Images; a path that leads to none is one too, whose `read` says so.

    Raises:
        UsageError: a value of another kind, before the first image is read unless the values come from a generator.
    """
    if _is_one(images):
        _check(images, "image")
        return _each(images, "image")
    if isinstance(images, Mapping) or not isinstance(images, Iterable) or _hint(images):
        raise UsageError(f"images: {reprlib.repr(images)}", _hint(images) or KINDS)
    if isinstance(images, list | tuple):
        for number, one in enumerate(images):
            _check(one, f"images[{number}]")
    return _all(images)


def _all(images: Iterable[Any]) -> Iterator[Input]:
    for number, one in enumerate(images):
        _check(one, f"images[{number}]")
        yield from _each(one, f"images[{number}]")


def _is_one(value: Any) -> bool:
    return isinstance(value, str | os.PathLike | np.ndarray | Image.Image | bytes | bytearray | memoryview)


def _check(value: Any, name: str) -> None:
    """Raise a UsageError for what is no image, with how to make one of it."""
    if isinstance(value, np.ndarray):
        _check_array(value, name)
    elif not _is_one(value):
        raise UsageError(f"{name}: {reprlib.repr(value)}, no image", _hint(value) or KINDS)


def _hint(value: Any) -> str:
    """How to make an image of something that other libraries have; empty where that is not known."""
    library = type(value).__module__.partition(".")[0]
    if library == "torch" and hasattr(value, "dtype"):
        order = {3: ".permute(1, 2, 0)", 4: ".permute(0, 2, 3, 1)"}.get(value.ndim, "")
        whole = str(value.dtype) == "torch.uint8"
        array = f"{'tensor' if whole else '(tensor * 255).round().byte()'}{order}.numpy()"
        return f"{'' if whole else 'of values from 0 to 1, '}give {f'list({array})' if value.ndim == 4 else array}"
    if library in ("pandas", "polars"):
        return "give a list: column.to_list()"
    if hasattr(value, "getvalue"):
        return "a file in memory: give its bytes, file.getvalue()"  # its `read` goes on where it was written
    if hasattr(value, "read"):
        return "an open file: give its bytes, file.read()"
    if hasattr(value, "__array__"):
        return "give numpy.asarray(image), (H, W, 3) uint8"
    return ""


def _check_array(array: np.ndarray, name: str) -> None:
    """Raise a UsageError unless an array is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8."""
    what = f"{name}: an array {array.shape} of {array.dtype}"
    if array.dtype.kind in "OSU":
        raise UsageError(what, "give a list: array.tolist()")
    if array.ndim == 4:
        raise UsageError(what, "give a list of images: list(array)")
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        raise UsageError(f"{what}, with channels first", "give (H, W, C): array.transpose(1, 2, 0)")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or not array.size:
        raise UsageError(what, "give (H, W) for grey, (H, W, 3) for RGB, or (H, W, 4) for RGB with transparency")
    if array.dtype != np.uint8:
        raise UsageError(what, as_uint8(array))


def as_uint8(array: np.ndarray) -> str:
    """How to make pixels of an array of other numbers, which could mean several things and are never converted silently.

    Args:
        array: of any shape, with at least one number.
    """
    fix = "give values from 0 to 255 as uint8: "
    if array.dtype == bool:
        return f"{fix}array.astype('uint8') * 255"
    if array.dtype.kind not in "if" or (array.dtype.kind == "i" and array.min() >= 0):
        return f"{fix}array.astype('uint8') where no value is above 255; of 16 bits, (array // 257).astype('uint8')"
    if not np.isfinite(array).all():
        return f"{fix}some of these are NaN or infinite, and no pixels: find out where they come from"
    if array.min() < 0:
        stretched = "numpy.interp(array, (BLACK, WHITE), (0, 255)).round().astype('uint8')"
        before = "give the pixels from before they were normalised"
        return f"{fix}some of these are negative, as of normalised images: {before}, or {stretched}"
    if array.max() > 255:
        return f"{fix}some of these are above 255: divide them by the value of white, and multiply by 255"
    scaled = "array" if array.max() > 1 else "(array * 255)"
    return f"{fix}{scaled}.round().astype('uint8')"


def _each(value: Any, name: str) -> Iterator[Input]:
    """The image that a value is, or the images that a path leads to."""
    if isinstance(value, bytes | bytearray | memoryview):
        content = bytes(value)
        yield Input(name, lambda p: p.decode(content, name))
    elif isinstance(value, np.ndarray):
        yield Input(name, lambda p: upright_of(_image_of(value), name, p.channels, p.white, p.max_pixels))
    elif isinstance(value, Image.Image):
        yield Input(name, lambda p: upright_of(value, name, p.channels, p.white, p.max_pixels))
    else:
        yield from _of_text(os.fspath(value))


def _image_of(array: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array))


def _of_text(text: str | bytes) -> Iterator[Input]:
    """The images that a path, a pattern or a URL leads to."""
    text = os.fsdecode(text)
    if text.startswith("data:"):
        what = f"{reprlib.repr(text)}: an image written as text"
        yield _failed(text[:20], DataError(what, "give its bytes: base64.b64decode(text.partition(',')[2])"))
    elif SCHEME.match(text):
        yield _url(text)
    elif not text:
        yield _failed("''", DataError("'': an empty path", "give the path of an image"))
    elif "\0" in text:
        yield _failed(text, DataError(f"{text!r}: no path has a zero byte in it", "check the path"))
    elif os.path.isdir(text):
        try:
            below = images_below(Path(text))
        except DataError as problem:
            yield _failed(text, problem)
        else:
            yield from map(_file, map(str, below))
    elif not os.path.lexists(text) and glob.has_magic(text):
        found = sorted(glob.glob(text, recursive=True), key=natural)
        for path in found:
            yield from _of_text(path)
        if not found:
            what = f"{show(text)}: no file has a name of this pattern"
            yield _failed(text, DataError(what, "check the pattern, and the folder that it begins in"))
    else:
        yield _file(text)


def _url(url: str) -> Input:
    def read(p: Preprocessing) -> Image.Image:
        from podium.data.fetch import fetch  # TLS is imported where it is used, and need not be in every Python

        return p.decode(fetch(url), url)

    return Input(url, read)


def _failed(name: str, problem: PodiumError) -> Input:
    def read(p: Preprocessing) -> Image.Image:
        raise problem

    return Input(name, read)


def _file(path: str) -> Input:
    def read(p: Preprocessing) -> Image.Image:
        return p.decode(ImageFile.of(Path(path)).read(), path)

    return Input(path, read)
