"""An image for which memory is short is never called damaged, whichever decoder reports it, since `--on-bad skip` would drop it."""

import io
import os
import subprocess
import sys

import pytest
from PIL import Image

from podium.data.starving import size_by_header

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space")

# A process of its own without torch, in which malloc gives back what is free, so that a limit on the address space counts.
DECODE = """
import io, os, resource, sys
import numpy as np
from PIL import Image
from podium.data.decode import decode
from podium.errors import ImageError, MachineError

def stored(image, **how):
    file = io.BytesIO()
    image.save(file, **how)
    return file.getvalue()

def dicom(image):
    import pydicom
    from pydicom.encaps import encapsulate
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    meta.TransferSyntaxUID = pydicom.uid.JPEG2000
    file = pydicom.dataset.FileDataset("x", {}, file_meta=meta, preamble=bytes(128))
    file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = *image.size[::-1], 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation = 7, 0
    file.PixelData = encapsulate([stored(image.convert("L"), format="JPEG2000", no_jp2=True)])
    file["PixelData"].is_undefined_length = True
    content = io.BytesIO()
    file.save_as(content, enforce_file_format=True)
    return content.getvalue()

noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
image = Image.fromarray(noise).resize((800, 600))
data = {
    "jpeg": lambda: stored(image, format="JPEG"),
    "progressive": lambda: stored(image, format="JPEG", progressive=True),
    "png": lambda: stored(image, format="PNG"),
    "webp": lambda: stored(image, format="WEBP", method=0),
    "lossless": lambda: stored(image, format="WEBP", lossless=True, method=0),
    "animated": lambda: stored(image, format="WEBP", method=0, save_all=True, append_images=[image.rotate(180)]),
    "tiff": lambda: stored(image, format="TIFF", compression="tiff_lzw"),
    "jpeg 2000": lambda: stored(image, format="JPEG2000"),
    "avif": lambda: stored(image, format="AVIF", speed=10),
    "gif": lambda: stored(image.convert("P"), format="GIF"),
    "bmp": lambda: stored(image, format="BMP"),
    "deep": lambda: stored(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), format="PNG"),
    "dicom": lambda: dicom(image),
}[sys.argv[1]]()
decode(data, "x", 3)  # what it imports is imported
for spare in (1, 2, 4, 8, 12, 16, 24, 32, 48, 1024):  # quarters of a megabyte
    if (child := os.fork()) == 0:
        space = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (space + (spare << 18),) * 2)
        try:
            decode(data, "x", 3)
            code = 0
        except MachineError:
            code = 6
        except ImageError as error:
            print(error, file=sys.stderr, flush=True)
            code = 3
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
FEW = ("progressive", "webp", "jpeg 2000", "dicom")  # their decoders call the image damaged
MORE = ("jpeg", "png", "lossless", "animated", "tiff", "avif", "gif", "bmp", "deep")


@pytest.mark.parametrize("format", [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_a_decoder_that_has_too_little_memory_says_nothing_of_the_image(format):
    if format == "dicom":
        pytest.importorskip("pydicom")
    slim = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(
        [sys.executable, "-c", DECODE, format], capture_output=True, text=True, check=True, env={**os.environ, **slim}
    )
    codes = done.stdout.split()
    assert set(codes) <= {"0", "6"}, done.stderr
    if format != "avif":  # which keeps the memory of the image before, and needs little more
        assert codes[0] == "6"
    assert codes[-1] == "0"


@pytest.mark.parametrize(
    "how",
    [
        {"format": "WEBP"},
        {"format": "WEBP", "lossless": True},
        {"format": "WEBP", "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"},
        {"format": "WEBP", "save_all": True, "append_images": [Image.new("RGB", (301, 77), "red")]},
        {"format": "JPEG"},
        {"format": "JPEG2000"},
        {"format": "AVIF"},
    ],
    ids=lambda how: "-".join(how) + how["format"],
)
def test_the_size_is_known_without_opening_the_image(how):
    file = io.BytesIO()
    Image.new("RGB", (301, 77)).save(file, **how)
    assert size_by_header(file.getvalue(), 301 * 77) == (301, 77)
    assert size_by_header(file.getvalue(), 301 * 77 - 1) == (0, 0), "larger than what is opened"
    for length in range(0, 60, 3):
        size_by_header(file.getvalue()[:length], 10**9)  # no error
