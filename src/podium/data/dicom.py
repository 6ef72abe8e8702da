"""DICOM: one frame of a medical image as a person sees it, by pydicom. Without torch.

The stored values become units by the file's rescale slope and intercept (PS3.3, C.11.1), and these become grey values by its
first window (VOI LUT, C.11.2). An enhanced file says both in the functional groups of its frames (C.7.6.16). Where a file has no window, its values stay as they are, and the range of the data set
decides what is black and white (`depth.py`), as for other images of more than 8 bits. MONOCHROME1 is inverted.
"""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from podium.data.formats import SYNTAXES
from podium.data.starving import out_of_memory
from podium.errors import FormatNotRead, ImageError

# pydicom warns of values that break the standard, which files in use do all the time.
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")

DEFLATED = "1.2.840.10008.1.2.1.99"
STILL_CODED = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
PIECE, SPARE = 1 << 12, 1 << 20  # bytes inflated at once, and what a file may hold beside its pixels
BYTES_A_PIXEL = 8  # at most, of a deflated file for an image as large as any that is opened
GREY = ("MONOCHROME1", "MONOCHROME2")
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")  # of all frames, and one of each
MAPPINGS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")  # units and windows, in a functional group
WINDOWS = {"LINEAR": 1.0, "LINEAR_EXACT": 0.0, "SIGMOID": 0.0}  # functions of a window -> the bound of its width
WIDEN = (
    "write a WindowWidth of 1 or more, or remove WindowCenter and WindowWidth (the range of the data set decides then)"
)
DAMAGED = "copy it again from where it came from, or delete it"


def open_dicom(data: bytes, name: str, max_pixels: int) -> Image.Image:
    """Decode the first frame of a DICOM file.

    Args:
        data: the file's bytes.
        name: for messages.
        max_pixels: the largest number of columns times rows.

    Returns:
        An image of mode "L" or "RGB"; of "I" or "F" where the file has no window and more than 8 bits. Its `info` has "frames",
        and "white_is_zero" where that holds of its values.

    Raises:
        ImageError: too large, without an image, or compressed in a way for which a package is missing.
        Exception: pydicom raises anything where a file is damaged.
    """
    import pydicom  # an extra

    from podium.data.opening import check_size

    _check_deflated(data, name, max_pixels)
    read = pydicom.dcmread(io.BytesIO(data))
    if "PixelData" not in read or not read.get("Rows") or not read.get("Columns"):
        raise ImageError(f"{name}: DICOM without an image", "move it out of the data")
    size = (int(read.Columns), int(read.Rows))
    check_size(size, name, max_pixels)
    if (coded := _coded_size(read)) not in (None, size):
        raise ImageError(f"{name}: damaged image (it says {size}, and its picture is {coded})", DAMAGED)
    _take_groups(read)
    try:
        image = _as_image(read, _frame(read, name), _has_window(read, name))
    except Exception as error:
        if out_of_memory(error, size):
            raise MemoryError from None
        raise
    image.format = "DICOM"
    image.info["frames"] = int(read.get("NumberOfFrames") or 1)
    return image


def _frame(read: Any, name: str) -> np.ndarray:
    """The stored values of the first frame, (H, W) or (H, W, 3)."""
    from pydicom.pixels import pixel_array

    syntax = str(read.file_meta.TransferSyntaxUID)
    known = SYNTAXES.get(syntax.removeprefix("1.2.840.10008.1.2.4"))
    try:
        return pixel_array(read, index=0)
    except Exception as error:  # decoders raise anything
        if known is None or isinstance(error, MemoryError):
            raise
        why = " ".join(str(error).split())[:200]
        raise ImageError(f"{name}: DICOM, {known[0]}, which cannot be decoded here ({why})", known[2]) from None


def _take_groups(read: Any) -> None:
    """Put what an enhanced file says of its first frame's units and window where other files say it."""
    for groups in GROUPS:
        for group in (read.get(groups) or ())[:1]:
            for mapping in MAPPINGS:
                for said in (group.get(mapping) or ())[:1]:
                    read.update(said)


def _has_window(read: Any, name: str) -> bool:
    """Whether a file has a window or VOI LUT that makes grey of its units; one that is empty, or all zeros, is none.

    Raises:
        FormatNotRead: it has a window that the standard does not know.
    """
    if read.get("VOILUTSequence"):
        return True
    center, width = (_first(read.get(key)) for key in ("WindowCenter", "WindowWidth"))
    if "" in (center, width) or float(center) == float(width) == 0:
        return False
    if not read.get("VOILUTFunction"):
        read.VOILUTFunction = "LINEAR"  # which the standard means where none is said
    function = str(read.VOILUTFunction)
    if function not in WINDOWS:
        what = f"{name}: DICOM with a window of the function {function!r}, which is not read"
        raise FormatNotRead(what, f"write one of {', '.join(WINDOWS)} as its VOILUTFunction")
    if not (float(width) >= 1 if function == "LINEAR" else float(width) > 0):
        raise FormatNotRead(f"{name}: DICOM with a window of width {float(width):g}, which shows nothing", WIDEN)
    return True


def _first(value: Any) -> Any:
    """The first of an element's values, or its one; empty where it has none."""
    several = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    return "" if not several or several[0] is None else several[0]


def _padding(read: Any, values: np.ndarray) -> np.ndarray | None:
    """Where stored values are the padding that the file names (C.7.5.1.1.2), as (H, W) bool; None where it names none."""
    said = read.get("PixelPaddingValue")
    until = read.get("PixelPaddingRangeLimit")
    if not isinstance(said, int) or values.ndim == 3:
        return None
    bounds = np.array([said, until if isinstance(until, int) else said], np.int64).astype(values.dtype)
    return (values >= bounds.min()) & (values <= bounds.max())  # a negative one is often said without its sign


def _as_image(read: Any, values: np.ndarray, windowed: bool) -> Image.Image:
    """Values of a frame as an image: rescaled and windowed where the file says how. Padding is black."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

    kind = str(read.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        values = apply_color_lut(values, read)
        values = (values >> 8).astype(np.uint8) if values.dtype.itemsize > 1 else values
    if values.ndim == 3:
        bits = int(read.BitsStored)
        deep = values.dtype.itemsize > 1 and kind != "PALETTE COLOR"
        return Image.fromarray((values >> max(0, bits - 8)).astype(np.uint8) if deep else values.astype(np.uint8))
    inverted, padding = kind == "MONOCHROME1", _padding(read, values)
    units, eight = apply_modality_lut(values, read), None
    if kind in GREY and windowed:
        low, high = _shown_range(read)
        grey = (apply_voi_lut(units, read).astype(np.float64) - low) * (255 / max(high - low, 1e-9))
        eight = np.floor(np.clip(grey, 0, 255) + 0.5).astype(np.uint8)
    elif units is values and values.dtype == np.uint8 and int(read.BitsStored) == 8:
        eight = values
    if eight is not None:
        shown = 255 - eight if inverted else eight
        return Image.fromarray(shown if padding is None else np.where(padding, np.uint8(0), shown))
    image = Image.fromarray(units.astype(np.int32 if _are_whole(read, units) else np.float32))
    image.info |= {"white_is_zero": True} if inverted else {}
    image.info |= {} if padding is None else {"padding": padding}
    return image


def _are_whole(read: Any, units: np.ndarray) -> bool:
    """Whether units are whole numbers by what the file says of them, not by what this frame happens to hold."""
    steps = [] if np.issubdtype(units.dtype, np.integer) else [read.RescaleSlope, read.RescaleIntercept]
    return all(float(step).is_integer() for step in steps) and float(np.abs(units.astype(np.float64)).max()) < 2**31


def _shown_range(read: Any) -> tuple[float, float]:
    """The values that a window or VOI LUT gives for black and for white."""
    from pydicom.pixels import apply_windowing

    if read.get("VOILUTSequence"):
        bits = int(read.VOILUTSequence[0].LUTDescriptor[2])
        return 0.0, float(2**bits - 1)
    with np.errstate(over="ignore"):
        low, high = apply_windowing(np.array([-1e30, 1e30]), read)
    return float(low), float(high)


def _coded_size(read: Any) -> tuple[int, int] | None:
    """The size that a compressed frame itself says, which decides how much memory its decoder takes; None of other frames."""
    from pydicom.encaps import generate_fragments

    if str(read.file_meta.TransferSyntaxUID) not in STILL_CODED:
        return None
    fragments = generate_fragments(read.PixelData)
    next(fragments, None)  # the table of offsets
    with Image.open(io.BytesIO(next(fragments, b"")), formats=("JPEG", "JPEG2000")) as image:
        return image.size


def _check_deflated(data: bytes, name: str, max_pixels: int) -> None:
    """Refuse a deflated file that becomes far larger than an image of `max_pixels`: pydicom inflates it before it has a size."""
    from podium.data.opening import too_large

    if DEFLATED.encode() not in data[:1024]:
        return
    length = int.from_bytes(data[140:144], "little")  # of the group of elements before the deflated part
    most = BYTES_A_PIXEL * max_pixels + SPARE
    inflater, left = zlib.decompressobj(-zlib.MAX_WBITS), most
    for start in range(144 + length, len(data), PIECE):
        piece = data[start : start + PIECE]
        while piece and left > 0:
            left -= len(inflater.decompress(piece, SPARE))
            piece = inflater.unconsumed_tail
    if left <= 0:
        raise too_large(name, f"more than {most / 1e6:.0f} MB when inflated", max_pixels)
