"""DICOM: one frame of a medical image as a person sees it, by pydicom. Without torch.

The stored values become units by the file's rescale slope and intercept (PS3.3, C.11.1), and these become grey values by its
first window (VOI LUT, C.11.2). Where a file has no window, its values stay as they are, and the range of the data set
decides what is black and white (`depth.py`), as for other images of more than 8 bits. MONOCHROME1 is inverted.
"""

from __future__ import annotations

import io
import warnings
import zlib
from typing import Any

import numpy as np
from PIL import Image

from podium.data.formats import SYNTAXES
from podium.data.starving import out_of_memory
from podium.errors import ImageError

# pydicom warns of values that break the standard, which files in use do all the time.
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")

DEFLATED = "1.2.840.10008.1.2.1.99"
STILL_CODED = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
PIECE, SPARE = 1 << 12, 1 << 20  # bytes inflated at once, and what a file may hold beside its pixels
BYTES_A_PIXEL = 8  # at most, of a deflated file for an image as large as any that is opened
GREY = ("MONOCHROME1", "MONOCHROME2")
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
    try:
        image = _as_image(read, _frame(read, name))
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


def _as_image(read: Any, values: np.ndarray) -> Image.Image:
    """Values of a frame as an image: rescaled and windowed where the file says how."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

    kind = str(read.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        values = apply_color_lut(values, read)
        values = (values >> 8).astype(np.uint8) if values.dtype.itemsize > 1 else values
    if values.ndim == 3:
        bits = int(read.BitsStored)
        deep = values.dtype.itemsize > 1 and kind != "PALETTE COLOR"
        return Image.fromarray((values >> max(0, bits - 8)).astype(np.uint8) if deep else values.astype(np.uint8))
    inverted = kind == "MONOCHROME1"
    units = apply_modality_lut(values, read)
    windowed = all(read.get(name) not in (None, "") for name in ("WindowCenter", "WindowWidth"))  # an empty one is none
    if kind in GREY and (read.get("VOILUTSequence") or windowed):
        low, high = _shown_range(read)
        grey = (apply_voi_lut(units, read).astype(np.float64) - low) * (255 / max(high - low, 1e-9))
        eight = np.floor(np.clip(grey, 0, 255) + 0.5).astype(np.uint8)
        return Image.fromarray(255 - eight if inverted else eight)
    if units is values and values.dtype == np.uint8 and int(read.BitsStored) == 8:
        return Image.fromarray(255 - values if inverted else values)
    whole = np.issubdtype(units.dtype, np.integer) or bool((units == np.round(units)).all())
    image = Image.fromarray(units.astype(np.int32) if whole else units.astype(np.float32))
    if inverted:
        image.info["white_is_zero"] = True
    return image


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
