"""Every format that is read gives the pixels that its standard says, and what cannot be read is counted by format and named.

The expected values are written by hand, or computed from what the file was written from; the TIFF and DICOM files are built
byte by byte from their standards, so that no image library has a say in them.
"""

import io
import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT
from podium.api.check import check
from podium.data.decode import decode, decode_pixels
from podium.data.depth import look_at
from podium.data.image_file import ImageFile
from podium.data.opening import opened
from podium.data.preprocessing import Preprocessing
from podium.data.sources import load_data
from podium.errors import DataError
from test_decode import UPRIGHT, encoded, waves

HEIC = ROOT / "tests" / "data" / "heic"
COLOURS = ((200, 30, 40), (30, 180, 50), (40, 60, 190), (240, 240, 240))  # as tests/data/heic/make.py has them
QUARTERS = np.array(COLOURS, np.uint8).reshape(2, 2, 3).repeat(12, 0).repeat(16, 1)


def pixels(data, channels=3, **how):
    return np.asarray(decode(data, "it", channels, **how))


def tiff(values, order="<", photometric=None, compression=1, tile=None, **tags):
    """A TIFF of one strip, or of tiles; (H, W) or (H, W, C) of any type of number; compression 1 (none) or 8 (deflate)."""
    values = np.asarray(values)
    samples = 1 if values.ndim == 2 else values.shape[2]
    height, width = values.shape[:2]
    photometric = photometric if photometric is not None else (1 if samples == 1 else 2)
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]

    def raw(part):
        content = part.astype(part.dtype.newbyteorder(order)).tobytes()
        return zlib.compress(content) if compression == 8 else content

    if tile:
        padded = np.pad(values, [(0, -height % tile), (0, -width % tile), *[(0, 0)] * (values.ndim - 2)])
        rows, columns = padded.shape[0] // tile, padded.shape[1] // tile
        parts = [raw(padded[r * tile :][:tile, c * tile :][:, :tile]) for r in range(rows) for c in range(columns)]
    else:
        parts = [raw(values)]
    offsets = np.cumsum([8, *map(len, parts)]).tolist()
    entries = {256: (4, [width]), 257: (4, [height]), 258: (3, [values.dtype.itemsize * 8] * samples)}
    entries |= {259: (3, [compression]), 262: (3, [photometric]), 277: (3, [samples]), 339: (3, [kind] * samples)}
    if tile:
        entries |= {322: (3, [tile]), 323: (3, [tile]), 324: (4, offsets[:-1]), 325: (4, [*map(len, parts)])}
    else:
        entries |= {273: (4, offsets[:-1]), 278: (4, [height]), 279: (4, [len(parts[0])])}
    entries |= {int(tag): value for tag, value in tags.get("more", {}).items()}
    place = offsets[-1] + offsets[-1] % 2
    behind = place + 2 + 12 * len(entries) + 4
    table, spare = struct.pack(order + "H", len(entries)), b""
    for tag, (kind, content) in sorted(entries.items()):
        packed = content if kind == 2 else struct.pack(order + {3: "H", 4: "L"}[kind] * len(content), *content)
        if len(packed) > 4:
            packed, spare = struct.pack(order + "L", behind + len(spare)), spare + packed + b"\0" * (len(packed) % 2)
        table += struct.pack(order + "HHL", tag, kind, len(content)) + packed.ljust(4, b"\0")
    begin = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "L", place)
    return begin + b"".join(parts) + b"\0" * (offsets[-1] % 2) + table + struct.pack(order + "L", 0) + spare


# --- TIFF

EITHER_WAY = pytest.mark.parametrize("order", ["<", ">"])
PACKED = pytest.mark.parametrize("compression", [1, 8])
RAMP = np.arange(0, 240, dtype=np.uint8).reshape(12, 20)


@EITHER_WAY
@PACKED
@pytest.mark.parametrize("tile", [None, 16])
def test_tiff_of_eight_bits(order, compression, tile):
    colour = waves(40, 24)
    assert (pixels(tiff(colour, order, compression=compression, tile=tile)) == colour).all()
    assert (pixels(tiff(RAMP, order, compression=compression, tile=tile), 1) == RAMP).all()
    assert (pixels(tiff(RAMP, order, 0, compression, tile=tile), 1) == 255 - RAMP).all()  # WhiteIsZero


@EITHER_WAY
@PACKED
def test_tiff_of_sixteen_bits(order, compression):
    grey = np.array([[0, 1, 2048, 4095]], np.uint16)
    # value * 255 / 4095, rounded: 0, 0.06, 127.53, 255
    assert pixels(tiff(grey, order, compression=compression), 1, white=4095).tolist() == [[0, 0, 128, 255]]
    colour = np.array([[[0, 2048, 4095], [4095, 1, 65535]]], np.uint16)
    expected = [[[0, 128, 255], [255, 0, 255]]]
    assert pixels(tiff(colour, order, compression=compression), white=4095).tolist() == expected
    # Pillow keeps the upper 8 of 16 bits: 257 * v becomes v
    assert (pixels(tiff(waves(9, 5).astype(np.uint16) * 257, order, compression=compression)) == waves(9, 5)).all()


def test_white_is_zero_of_sixteen_bits_and_of_fractions():
    assert pixels(tiff(np.array([[0, 4095]], np.uint16), photometric=0), 1, white=4095).tolist() == [[255, 0]]
    assert pixels(tiff(np.array([[0, 1]], np.float32), photometric=0), 1, white=(0.0, 1.0)).tolist() == [[255, 0]]


@EITHER_WAY
@PACKED
def test_tiff_of_fractions(order, compression):
    values = np.array([[0, 0.25, 1, 1.5, -3, np.nan, np.inf, -np.inf]], np.float32)
    # 0.25 * 255 = 63.75; beyond the range is black or white, and what is no number is black
    assert pixels(tiff(values, order, compression=compression), 1, white=(0.0, 1.0)).tolist() == [
        [0, 64, 255, 255, 0, 0, 255, 0]
    ]


@EITHER_WAY
@PACKED
@pytest.mark.parametrize("kind", [np.int16, np.int32])
def test_tiff_of_signed_values(order, compression, kind):
    values = np.array([[-1023, 0, 1536, 4095]], kind)
    # (v + 1023) * 255 / 5118: 50.97, 127.5 -> 128
    assert pixels(tiff(values, order, compression=compression), 1, white=(-1023.0, 4095.0)).tolist() == [
        [0, 51, 128, 255]
    ]


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("deep", [False, True])
def test_tiff_is_upright(orientation, compression, deep):
    photo = waves(20, 12)
    data = tiff(
        photo.astype(np.uint16) * 16 if deep else photo, compression=compression, more={274: (3, [orientation])}
    )
    found = pixels(data, white=4080) if deep else pixels(data)
    assert (found == UPRIGHT[orientation](photo)).all()


@pytest.mark.parametrize("how", [{"compression": c} for c in ("tiff_lzw", "packbits", "tiff_adobe_deflate")])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "CMYK"])
def test_tiff_that_pillow_writes(mode, how):
    image = Image.fromarray(waves(40, 24)).convert(mode)
    expected = image.convert("RGB") if mode != "CMYK" else Image.fromarray(waves(40, 24))
    assert np.abs(pixels(encoded(image, "TIFF", **how)).astype(int) - np.asarray(expected)).max() <= 1
    jpeg = pixels(encoded(Image.fromarray(waves(40, 24)), "TIFF", compression="jpeg", quality=95))
    assert np.abs(jpeg.astype(int) - waves(40, 24)).mean() < 4


def test_cmyk_of_sixteen_bits():
    # (1 - ink) * (1 - black): cyan only, and half black
    data = tiff(np.array([[[65535, 0, 0, 0], [0, 0, 0, 32896]]], np.uint16), photometric=5)
    assert pixels(data).tolist() == [[[0, 255, 255], [127, 127, 127]]]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (tiff(np.zeros((4, 4), np.int8)), "signed bytes"),
        (tiff(np.zeros((4, 4, 3), np.uint16), more={284: (3, [2])}), "separate planes"),
        (tiff(np.zeros((4, 4, 7), np.uint8)), "TIFF of a kind that is not read"),
        (tiff(np.zeros((4, 4, 3), np.float32)), "TIFF of a kind that is not read"),
        (tiff(np.zeros((4, 4), np.float64)), "TIFF of a kind that is not read"),
        (tiff(np.zeros((4, 4, 3), np.uint8), more={50706: (3, [1])}), "camera raw"),
        (tiff(np.zeros((4, 4, 3), np.uint8), more={254: (4, [1]), 330: (4, [8])}), "camera raw"),
        (tiff(np.zeros((4, 4), np.uint16), photometric=32803), "TIFF of a kind that is not read|camera raw"),
        (tiff(np.zeros((4, 4), np.uint8), compression=34712), "TIFF with JPEG 2000 inside"),
        (tiff(np.zeros((4, 4), np.uint8), compression=50002), "TIFF with JPEG XL inside"),
        (tiff(np.zeros((4, 4), np.uint8), compression=50001), "TIFF with WebP inside"),
        (tiff(np.zeros((4, 4), np.uint8), compression=12345), "TIFF with a compression of the number 12345"),
    ],
)
def test_a_tiff_that_would_be_misread_is_refused(data, says):
    with pytest.raises(DataError, match=f"cat\\.tif: .*({says})") as caught:
        decode(data, "cat.tif", 3, white=4095)
    assert "JPEG" in caught.value.fix


# --- AVIF, JPEG 2000, Netpbm


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_avif_is_upright_exactly_once(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(QUARTERS), "AVIF", quality=95, subsampling="4:4:4", exif=exif)
    found = pixels(data).astype(int)
    assert found.shape == UPRIGHT[orientation](QUARTERS).shape
    assert np.abs(found - UPRIGHT[orientation](QUARTERS)).max() <= 6
    assert (pixels(data) == decode_pixels(data, "it", 3)).all()


def test_avif_with_transparency_lies_on_white():
    image = Image.fromarray(QUARTERS).convert("RGBA")
    image.putalpha(0)
    assert (pixels(encoded(image, "AVIF")) == 255).all()


@pytest.mark.parametrize("name", ["it.jp2", "it.j2k"])
def test_jpeg_2000(name, tmp_path):
    photo = waves(40, 24)
    Image.fromarray(photo).save(tmp_path / name, "JPEG2000", irreversible=False)
    assert (pixels((tmp_path / name).read_bytes()) == photo).all()
    deep = np.array([[0, 16, 32768, 65535]] * 4, np.uint16)
    Image.fromarray(deep).save(tmp_path / name, "JPEG2000", irreversible=False)
    assert pixels((tmp_path / name).read_bytes(), 1)[0].tolist() == [0, 0, 128, 255]


@pytest.mark.parametrize("name", ["it.jp2", "it.j2k"])
def test_jpeg_2000_of_more_bits_than_are_read_is_refused(name, tmp_path):
    for mode, read in (("RGB", 8), ("L", 16)):
        Image.new(mode, (8, 8)).save(tmp_path / name, "JPEG2000")
        for bits in (10, 12, 16, 17):
            data = bytearray((tmp_path / name).read_bytes())
            sizes = data.find(b"\xff\x4f\xff\x51") + 42  # each channel: bits less one, and its steps
            for at in range(sizes, sizes + 3 * len(mode), 3):
                data[at] = bits - 1
            if bits > read:
                with pytest.raises(DataError, match=f"it: JPEG 2000 of {bits} bits") as caught:
                    decode(bytes(data), "it", 3)
                assert "PNG" in caught.value.fix
            else:
                opened(bytes(data), "it")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"P1 2 1\n1 0", [[0, 255]]),  # 1 is black
        (b"P4 2 1\n\x80", [[0, 255]]),
        (b"P2 # a comment\n3 1 100\n0 50 100", [[0, 128, 255]]),
        (b"P5 3 1 255\n\x00\x07\xff", [[0, 7, 255]]),
        (b"P5 2 1 4095\n" + struct.pack(">2H", 2048, 4095), [[128, 255]]),  # scaled by the largest value that it says
        (b"P5 2 1 65535\n" + struct.pack(">2H", 32768, 65535), [[128, 255]]),
        (b"P6 1 1 255\n\x01\x02\x03", [[[1, 2, 3]]]),
        (b"P3 1 1 255\n1 2 3", [[[1, 2, 3]]]),
        (b"P6 1 1 4095\n" + struct.pack(">3H", 0, 2048, 4095), [[[0, 128, 255]]]),
    ],
)
def test_netpbm(data, expected):
    assert pixels(data, 3 if np.ndim(expected) == 3 else 1).tolist() == expected


def test_netpbm_of_twelve_bits_in_sixteen():
    colour = b"P6 1 1 65535\n" + struct.pack(">3H", 0, 2048, 4095)
    assert pixels(colour, white=4095).tolist() == [[[0, 128, 255]]]
    assert pixels(b"P5 2 1 65535\n" + struct.pack(">2H", 2048, 4095), 1, white=4095).tolist() == [[128, 255]]


# --- HEIC


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_upright_exactly_once(orientation):
    data = (HEIC / f"irot_{orientation}.heic").read_bytes()
    for found in (pixels(data), decode_pixels(data, "it", 3)):
        assert found.shape == (24, 32, 3)
        assert np.abs(found.astype(int) - QUARTERS)[2:-2, 2:-2].mean() < 3
    assert (orientation == 1) == (b"irot" not in data and b"imir" not in data)


@pytest.mark.parametrize("name", ["ten_bits", "two", "alpha", "grey"])
def test_heic_of_other_kinds(name):
    expected = QUARTERS.copy()
    if name == "alpha":
        expected[:12, :16] = 255
    if name == "grey":
        expected = np.asarray(Image.fromarray(QUARTERS).convert("L").convert("RGB"))
    found = pixels((HEIC / f"{name}.heic").read_bytes()).astype(int)
    assert np.abs(found - expected)[3:9, 3:13].max() <= 3
    assert np.abs(found - expected)[15:21, 19:29].max() <= 3


def test_what_a_telephone_names_wrongly_is_read_by_content(tmp_path):
    for name, content in (("a/x.jpg", (HEIC / "irot_6.heic").read_bytes()), ("b/y.heic", encoded(QUARTERS, "JPEG"))):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    report = check(tmp_path)
    assert report.formats == {"HEIC": 1, "JPEG": 1}
    assert {problem.kind for problem in report.problems} == {"extension-lies", "few-images"}


# --- DICOM


def dicom(values, kind="MONOCHROME2", bits=None, syntax="1.2.840.10008.1.2.1", frames=None, **more):
    """A DICOM file, explicit and little-endian, written out by hand from PS3.5 and PS3.10."""
    values = np.asarray(values)
    height, width = values.shape[:2]

    def element(group, number, form, content):
        content = content.encode() if isinstance(content, str) else content
        content += (b"\0" if form in ("UI", "OB", "OW") else b" ") * (len(content) % 2)
        long = form in ("OB", "OW", "SQ")
        size = b"\0\0" + struct.pack("<L", len(content)) if long else struct.pack("<H", len(content))
        return struct.pack("<HH", group, number) + form.encode() + size + content

    def short(group, number, value):
        return element(group, number, "US", struct.pack("<H", value))

    meta = element(2, 1, "OB", b"\0\1") + element(2, 2, "UI", "1.2.840.10008.5.1.4.1.1.7")
    meta += element(2, 3, "UI", "1.2.3") + element(2, 0x10, "UI", syntax)
    size = values.dtype.itemsize * 8
    colour = values.ndim == 3
    body = short(0x28, 2, 3 if colour else 1) + element(0x28, 4, "CS", kind)
    body += short(0x28, 6, 0) if colour else b""
    body += element(0x28, 8, "IS", str(frames)) if frames else b""
    body += short(0x28, 0x10, more.get("rows", height)) + short(0x28, 0x11, more.get("columns", width))
    body += short(0x28, 0x100, size) + short(0x28, 0x101, bits or size) + short(0x28, 0x102, (bits or size) - 1)
    body += short(0x28, 0x103, int(values.dtype.kind == "i"))
    for number, key in ((0x1050, "center"), (0x1051, "width"), (0x1052, "intercept"), (0x1053, "slope")):
        if key in more:
            body += element(0x28, number, "DS", str(more[key]))
    if "function" in more:
        body += element(0x28, 0x1056, "CS", more["function"])
    content = values.tobytes() * (frames or 1)
    body += element(0x7FE0, 0x10, "OW" if size > 8 else "OB", more.get("content", content))
    head = element(2, 0, "UL", struct.pack("<L", len(meta)))
    return bytes(128) + b"DICM" + head + meta + (more["squeeze"](body) if "squeeze" in more else body)


CT = np.array(
    [[0, 1024 - 160, 1024 + 40, 1024 + 240, 3000]], np.uint16
)  # with intercept -1024: -1024, -160, 40, 240, 1976


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(dicom(np.array([[0, 7, 255]], np.uint8)), [[0, 7, 255]], id="eight bits"),
        pytest.param(dicom(np.array([[0, 7, 255]], np.uint8), "MONOCHROME1"), [[255, 248, 0]], id="inverted"),
        # C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5) * 255 with c = 40, w = 400: (0.5 / 399 + 0.5) * 255 = 127.8
        pytest.param(dicom(CT, intercept=-1024, slope=1, center=40, width=400), [[0, 0, 128, 255, 255]], id="window"),
        pytest.param(
            dicom(CT, "MONOCHROME1", intercept=-1024, slope=1, center=40, width=400),
            [[255, 255, 127, 0, 0]],
            id="inverted window",
        ),
        pytest.param(
            dicom(CT, intercept=-1024, slope=1, center="40\\300", width="400\\1500"),
            [[0, 0, 128, 255, 255]],
            id="the first window",
        ),
        # C.11.2.1.3.2: 0.5 * 255 at the centre; C.11.2.1.3.1: 255 / (1 + exp(-4 (x - c) / w)): 0.02, 30.4, 127.5, 224.6, 255
        pytest.param(
            dicom(CT, intercept=-1024, slope=1, center=40, width=400, function="LINEAR_EXACT"),
            [[0, 0, 128, 255, 255]],
            id="exact",
        ),
        pytest.param(
            dicom(CT, intercept=-1024, slope=1, center=40, width=400, function="SIGMOID"),
            [[0, 30, 128, 225, 255]],
            id="sigmoid",
        ),
        pytest.param(
            dicom(np.array([[[1, 2, 3], [4, 5, 255]]], np.uint8), "RGB"), [[[1, 2, 3], [4, 5, 255]]], id="colour"
        ),
        pytest.param(dicom(np.array([[5, 9]], np.uint8), frames=3), [[5, 9]], id="the first frame"),
        # BT.601, full range: Y 100, Cb 128, Cr 228 -> R 100 + 1.402 * 100, G 100 - 0.714 * 100, B 100
        pytest.param(dicom(np.array([[[100, 128, 228]]], np.uint8), "YBR_FULL"), [[[240, 29, 100]]], id="YBR"),
    ],
)
def test_dicom(data, expected):
    assert pixels(data, 3 if np.ndim(expected) == 3 else 1).tolist() == expected


def test_dicom_without_a_window_has_the_range_of_its_set(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.dcm").write_bytes(dicom(CT, intercept=-1024, slope=1))
    seen = look_at([ImageFile.of(path) for path in tmp_path.iterdir()])
    assert seen.white == (-1023.0, 2047.0)  # -1,024 to 1,976 in whole bits
    assert seen.note == "note: images of signed values (from -1,024 to 1,976): -1,023 is black and 2,047 white"
    # (v + 1023) * 255 / 3070: 71.7, 88.3, 104.9, 249.1
    assert pixels(dicom(CT, intercept=-1024, slope=1), 1, white=seen.white).tolist() == [[0, 72, 88, 105, 249]]
    twelve = dicom(np.array([[0, 2048, 4095]], np.uint16), bits=12)
    assert pixels(twelve, 1, white=4095).tolist() == [[0, 128, 255]]
    assert pixels(dicom(np.array([[0, 4095]], np.uint16), "MONOCHROME1", 12), 1, white=4095).tolist() == [[255, 0]]
    empty = dicom(np.array([[0, 2048, 4095]], np.uint16), bits=12, center="", width="")  # the elements without a value
    assert pixels(empty, 1, white=4095).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize(
    ("syntax", "says", "install"),
    [
        ("1.2.840.10008.1.2.4.70", "JPEG Lossless", "pip install pylibjpeg pylibjpeg-libjpeg"),
        ("1.2.840.10008.1.2.4.80", "JPEG-LS", "pip install pyjpegls"),
        ("1.2.840.10008.1.2.4.201", "HTJ2K", "pip install pylibjpeg pylibjpeg-openjpeg"),
        ("1.2.840.10008.1.2.4.102", "MPEG video", "single frames"),
    ],
)
def test_dicom_that_needs_a_further_package_says_which(tmp_path, syntax, says, install):
    data = dicom(np.zeros((4, 4), np.uint8), syntax=syntax)
    with pytest.raises(DataError, match=f"DICOM, {says}") as caught:
        decode(data, "it.dcm", 3)
    assert install in caught.value.fix
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "0.dcm").write_bytes(data)
    with pytest.raises(DataError, match=f"2 DICOM, {says}") as caught:
        load_data(tmp_path)
    assert install in caught.value.fix


def test_dicom_deflated_and_without_an_image():
    def squeeze(body):
        packer = zlib.compressobj(wbits=-15)
        return packer.compress(body) + packer.flush()

    deflated = "1.2.840.10008.1.2.1.99"
    assert pixels(dicom(np.array([[3, 4]], np.uint8), syntax=deflated, squeeze=squeeze), 1).tolist() == [[3, 4]]
    with pytest.raises(DataError, match="without an image"):
        decode(dicom(np.zeros((2, 2), np.uint8), rows=0), "it.dcm", 3)


# --- the range of a data set


@pytest.mark.parametrize(
    ("values", "white"),
    [
        ([0, 0.7], (0.0, 1.0)),
        ([0, 1], (0.0, 1.0)),
        ([0, 0.04], (0.0, 0.0625)),
        ([0, 1.005], (0.0, 1.0)),
        ([0, 255], (0.0, 255.0)),
        ([3, 4000.5], (0.0, 4095.0)),
        ([-1, 1], (-1.0, 1.0)),
        ([-0.3, 0.9], (-0.5, 1.0)),
        ([0, np.nan], (0.0, 1.0)),
    ],
)
def test_the_range_of_fractions(tmp_path, values, white):
    (tmp_path / "0.tif").write_bytes(tiff(np.array([values], np.float32)))
    found = look_at([ImageFile.of(tmp_path / "0.tif")])
    assert found.white == white
    assert Preprocessing.from_dict(Preprocessing(8, 1, white=white).to_dict()).white == white


def test_fractions_beside_whole_numbers_are_refused_unless_of_one_range(tmp_path):
    (tmp_path / "0.tif").write_bytes(tiff(np.array([[0, 0.9]], np.float32)))
    (tmp_path / "1.tif").write_bytes(tiff(np.array([[0, 60000]], np.uint16)))
    with pytest.raises(DataError, match=r"whole numbers up to 60,000 and of fractions up to 0\.9"):
        look_at([ImageFile.of(path) for path in tmp_path.iterdir()])


def test_fractions_are_refused_by_a_network_that_has_seen_none():
    with pytest.raises(DataError, match="which value is white"):
        decode(tiff(np.array([[0, 0.9]], np.float32)), "it.tif", 3)


def test_several_pages_are_noted(tmp_path):
    first, second = Image.fromarray(QUARTERS), Image.new("RGB", (8, 8))
    (tmp_path / "0.tif").write_bytes(encoded(first, "TIFF", save_all=True, append_images=[second]))
    (tmp_path / "1.tif").write_bytes(encoded(second, "TIFF"))
    (tmp_path / "2.heic").write_bytes((HEIC / "two.heic").read_bytes())
    (tmp_path / "3.dcm").write_bytes(dicom(np.array([[5, 9]], np.uint8), frames=3))
    assert (pixels((tmp_path / "0.tif").read_bytes()) == QUARTERS).all()
    said = look_at([ImageFile.of(path) for path in tmp_path.iterdir()]).several
    assert said == "note: 3 of the 4 files looked at hold several images, pages or frames: the first is used"


# --- bombs


def lying_jp2():
    """A JPEG 2000 whose container says 8 x 8 and whose codestream says 30,000 x 30,000."""
    out = io.BytesIO()
    out.name = "it.jp2"
    Image.new("L", (8, 8)).save(out, "JPEG2000")
    data = bytearray(out.getvalue())
    at = data.find(b"\xff\x4f\xff\x51") + 8
    data[at : at + 8] = struct.pack(">2L", 30_000, 30_000)
    return bytes(data)


def lying_heic():
    data = bytearray((HEIC / "irot_1.heic").read_bytes())
    for place in re.finditer(b"ispe", data):
        data[place.end() + 4 : place.end() + 12] = struct.pack(">2L", 30_000, 30_000)
    return bytes(data)


def lying_avif():
    data = bytearray(encoded(Image.fromarray(QUARTERS), "AVIF"))
    for place in re.finditer(b"ispe", data):
        data[place.end() + 4 : place.end() + 12] = struct.pack(">2L", 30_000, 30_000)
    return bytes(data)


BOMBS = {
    "TIFF": lambda: tiff(np.zeros((1, 1), np.uint8), compression=8, more={256: (4, [60_000]), 257: (4, [60_000])}),
    "a tile": lambda: tiff(np.zeros((16, 16), np.uint8), tile=16, compression=8, more={322: (4, [60_000]), 323: (4, [60_000])}),
    "Netpbm": lambda: b"P5 60000 60000 255\n\0",
    "JPEG 2000": lying_jp2,
    "HEIC": lying_heic,
    "AVIF": lambda: encoded(Image.new("L", (1_500, 1_000)), "AVIF", speed=10),
    "DICOM": lambda: dicom(np.zeros((2, 2), np.uint8), rows=60_000, columns=60_000),
    "deflated DICOM": lambda: dicom(
        np.zeros((2, 2), np.uint8), syntax="1.2.840.10008.1.2.1.99", squeeze=lambda body: _deflated(body, 60)
    ),
}  # fmt: skip


def _deflated(body, megabytes):
    packer = zlib.compressobj(wbits=-15)
    zeros = bytes(1 << 20)
    return packer.compress(body) + b"".join(packer.compress(zeros) for _ in range(megabytes)) + packer.flush()


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_by_its_header(kind):
    bomb = BOMBS[kind]()
    most = 1_000_000 if kind in ("deflated DICOM", "AVIF") else 50_000_000
    with pytest.raises(DataError):
        decode(bomb, "bomb", 3, max_pixels=most)  # which imports the reader
    tracemalloc.start()
    with pytest.raises(DataError, match=r"^bomb: .*above the limit of \d+ million pixels") as caught:
        decode(bomb, "bomb", 3, max_pixels=most)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert "--max-pixels" in caught.value.fix


def test_an_avif_that_lies_about_its_size_is_damaged():
    with pytest.raises(DataError, match=r"^it: (damaged image|.*above the limit of 50 million pixels)"):
        decode(lying_avif(), "it", 3)


def test_more_pixels_are_opened_where_that_is_allowed(tmp_path):
    wide = encoded(Image.new("1", (20_000, 10_000)), "PNG")  # more than Pillow itself opens
    with pytest.raises(DataError, match=r"more than 178 million pixels, above the limit of 50 million pixels"):
        decode(wide, "wide.png", 1)
    limit = Image.MAX_IMAGE_PIXELS
    assert decode(wide, "wide.png", 1, max_pixels=200_000_000).size == (20_000, 10_000)
    assert limit == Image.MAX_IMAGE_PIXELS
    with pytest.raises(DataError, match=r"above the limit of 100 pixels"):
        decode(encoded(QUARTERS, "JPEG"), "it.jpg", 3, max_pixels=100)
    with pytest.raises(DataError, match=r"above the limit of 100 pixels"):
        decode_pixels(encoded(QUARTERS, "JPEG"), "it.jpg", 3, max_pixels=100)
