"""What an image says beside its pixels may be damaged: the pixels are read all the same, upright where that can be read."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from podium.api.check import check
from podium.data.decode import decode, decode_pixels
from podium.data.formats import recognised
from podium.data.inspection import damaged_metadata
from podium.data.metadata import orientation, without_metadata
from podium.errors import DataError

PIXELS = np.random.Generator(np.random.PCG64(5)).integers(0, 256, (12, 20, 3), np.uint8)
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}


def saved(kind, **more):
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, kind, **({"lossless": True} if kind == "WEBP" else {}), **more)
    return out.getvalue()


def exif(*entries, order="<"):
    """A TIFF of one directory of (tag, type, count, four bytes), written by hand from the standard."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "LH", 8, len(entries))
    return head + b"".join(struct.pack(order + "HHL", *entry[:3]) + entry[3] for entry in entries) + bytes(4)


def turned(value, order="<"):
    return 0x0112, 3, 1, struct.pack(order + "HH", value, 0)


def with_block(kind, name, content, spoiled=False):
    """The image with one block of metadata put in; a PNG's checksum may be wrong."""
    plain = saved(kind)
    if kind == "JPEG":
        marker, head = {
            "exif": (0xE1, b"Exif\0\0"),
            "xmp": (0xE1, b"http://ns.adobe.com/xap/1.0/\0"),
            "icc": (0xE2, b"ICC_PROFILE\0\1\1"),
            "text": (0xFE, b""),
        }[name]
        body = (head + content)[:65_000]
        return plain[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + plain[2:]
    if kind == "PNG":
        tag = {"exif": b"eXIf", "xmp": b"iTXt", "icc": b"iCCP", "text": b"tEXt"}[name]
        head = {"xmp": b"XML:com.adobe.xmp\0\0\0\0\0", "icc": b"ICC\0\0", "text": b""}.get(name, b"")
        body = head + (zlib.compress(content) if name == "icc" else content)
        chunk = struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body) ^ spoiled)
        return plain[:33] + chunk + plain[33:]
    flag, tag = {"exif": (8, b"EXIF"), "xmp": (4, b"XMP "), "icc": (32, b"ICCP"), "text": (4, b"XMP ")}[name]
    size = struct.pack("<I", PIXELS.shape[1] - 1)[:3] + struct.pack("<I", PIXELS.shape[0] - 1)[:3]
    chunks = [(b"VP8X", bytes([flag, 0, 0, 0]) + size), (tag, content)]
    written = [t + struct.pack("<I", len(c)) + c + b"\0" * (len(c) % 2) for t, c in chunks]
    body = written[0] + (written[1] + plain[12:] if name == "icc" else plain[12:] + written[1])
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def both_ways(data):
    """The pixels, which are the same on the way through Pillow and on the short one."""
    pixels = np.asarray(decode(data, "it", 3))
    np.testing.assert_array_equal(decode_pixels(data, "it", 3), pixels)
    return pixels


STORED = {kind: np.asarray(Image.open(io.BytesIO(saved(kind))).convert("RGB")) for kind in ("JPEG", "PNG", "WEBP")}
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("value", UPRIGHT)
def test_the_orientation_is_that_of_pillow(kind, value):
    """Both orders of bytes, EXIF and XMP: what the most used decoder says of the same file."""
    blocks = [("exif", exif(turned(value, order), order=order)) for order in "<>"]
    blocks += [
        ("xmp", XMP.replace(b'"8"', b'"%d"' % value)),
        ("xmp", b"<tiff:Orientation>%d</tiff:Orientation>" % value),
    ]
    for name, content in blocks:
        data = with_block(kind, name, content)
        assert Image.open(io.BytesIO(data)).getexif().get(0x0112, 1) == orientation(data) == value
        np.testing.assert_array_equal(both_ways(data), UPRIGHT[value](STORED[kind]))


def test_exif_goes_before_xmp_and_imagemagick_s_profile_is_read():
    both = with_block("JPEG", "exif", exif(turned(3)))
    plain = with_block("JPEG", "xmp", XMP)
    assert orientation(both[:2] + plain[2 : len(plain) - len(saved("JPEG")) + 2] + both[2:]) == 3
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n 40\n{(b'Exif' + bytes(2) + exif(turned(6))).hex()}\n", zip=True)
    assert orientation(saved("PNG", pnginfo=info)) == 6


# blocks that Pillow's `exif_transpose` raises on, each in its own way, beside an orientation that can be read
UNREADABLE = {
    "struct.error": exif((0x0100, 9, 1, b"\xff" * 4), turned(6)),
    "AttributeError": exif((0x010D, 11, 1, bytes(4)), turned(6)),
    "KeyError": exif((0x0106, 3, 2, bytes(4)), turned(6)),
    "TypeError": exif(turned(6), (0x011A, 2, 4, b"abc\0")),
    "ValueError": exif(turned(6), (0x8769, 6, 1, b"\xff" * 4)),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_the_blocks_are_such_that_pillow_raises(case):
    kind = {"struct.error": struct.error, "AttributeError": AttributeError, "KeyError": KeyError}.get(case)
    with pytest.raises(kind or (TypeError, ValueError)):
        ImageOps.exif_transpose(Image.open(io.BytesIO(with_block("JPEG", "exif", UNREADABLE[case]))))


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("case", UNREADABLE)
def test_exif_that_pillow_cannot_parse_costs_no_image(kind, case):
    data = with_block(kind, "exif", UNREADABLE[case])
    np.testing.assert_array_equal(both_ways(data), UPRIGHT[6](STORED[kind]))


@pytest.mark.parametrize("kind", STORED)
def test_exif_that_is_no_exif_leaves_the_image_as_it_is_stored(kind):
    for content in (b"", b"II", b"garbage" * 9, b"II*\0\xff\xff\xff\xff", exif(turned(9)), exif(turned(0))):
        np.testing.assert_array_equal(both_ways(with_block(kind, "exif", content)), STORED[kind])


def test_check_names_what_has_damaged_metadata(tmp_path):
    for n, name in enumerate(("a", "b")):
        for i in range(4):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(PIXELS + (4 * n + i)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "a" / "odd.jpg").write_bytes(with_block("JPEG", "exif", UNREADABLE["AttributeError"]))
    (problem,) = check(tmp_path).problems
    assert (problem.kind, problem.path) == ("metadata", str(tmp_path / "a" / "odd.jpg"))
    assert "EXIF" in problem.detail


@pytest.mark.parametrize("packed", [True, False])
def test_a_long_text_is_no_fault(packed):
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "x" * 3_000_000, zip=True)
    data = saved("PNG", pnginfo=text) if packed else with_block("PNG", "text", b"parameters\0" + b"x" * 70_000_000)
    np.testing.assert_array_equal(both_ways(data), PIXELS)
    assert damaged_metadata(data) == ""


@pytest.mark.parametrize("key", ["transparency", "exif", "icc_profile", "gamma", "dpi", "XML:com.adobe.xmp"])
def test_a_text_with_the_name_of_something_else_is_a_text(key):
    text = PngImagePlugin.PngInfo()
    text.add_text(key, "0")
    np.testing.assert_array_equal(both_ways(saved("PNG", pnginfo=text)), PIXELS)


def test_a_phone_s_jpeg_of_several_pictures_is_a_jpeg():
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "MPO", save_all=True, append_images=[Image.fromarray(255 - PIXELS)])
    data = out.getvalue()
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert recognised(data) == "JPEG"
    np.testing.assert_array_equal(both_ways(data), STORED["JPEG"])
    small = decode(data, "it", 3, lambda *_: 2)
    assert small.size == (10, 6)
    np.testing.assert_array_equal(decode_pixels(data, "it", 3, lambda *_: 2), np.asarray(small))


def test_an_image_without_metadata_is_left_alone():
    for kind in STORED:
        assert without_metadata(saved(kind)) is None
    assert without_metadata(b"GIF89a") is None


def mutated(draw, content):
    """Bytes changed, cut off or put in, one to four times."""
    out = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at, how = draw.randrange(len(out) + 1), draw.randrange(4)
        some = draw.choice([draw.randbytes(draw.randint(1, 6)), b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"])
        if how < 2:
            out[at : at + len(some)] = some
        elif how == 2:
            out[at:at] = some
        else:
            del out[at:]
    return bytes(out)


def rich_exif():
    tags = Image.Exif()
    tags[0x0112], tags[0x010F], tags[0x011A], tags[0x0132] = 6, "maker", 72.0, "2026:01:01 00:00:00"
    tags.get_ifd(0x8769).update({0x9003: "2026:01:01 00:00:00", 0x829A: 0.01, 0x9286: b"ASCII\0\0\0words"})
    tags.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0)})
    return tags.tobytes().removeprefix(b"Exif\0\0")


def test_two_thousand_mutations_of_metadata_cost_no_pixel():
    draw = random.Random(0)
    blocks = {
        "exif": rich_exif(),
        "icc": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        "xmp": XMP,
        "text": b"Comment\0a few words of text",
    }
    for number in range(2000):
        kind, name = ("JPEG", "PNG", "WEBP")[number % 3], draw.choice(list(blocks))
        data = with_block(kind, name, mutated(draw, blocks[name]), spoiled=draw.random() < 0.3)
        got = both_ways(data)
        assert any(np.array_equal(got, upright(STORED[kind])) for upright in UPRIGHT.values()), (number, kind, name)
        damaged_metadata(data)


@pytest.mark.parametrize("kind", STORED)
def test_mutations_of_the_whole_file_are_read_or_refused(kind):
    draw = random.Random(1)
    whole = saved(kind, exif=b"Exif\0\0" + rich_exif(), icc_profile=bytes(200))
    for _ in range(300):
        data, found = mutated(draw, whole), []
        for way in (decode, decode_pixels):
            try:
                found.append(np.asarray(way(data, "it", 3)))
            except DataError:
                found.append(None)
        assert (found[0] is None) == (found[1] is None)
        if found[0] is not None:
            np.testing.assert_array_equal(*found)
