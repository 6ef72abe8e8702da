"""Decoding: every kind of image becomes 8-bit pixels by the written rule, and what is not a whole image is refused by name."""

import io
import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from podium.data.decode import MAX_PIXELS, decode, decode_pixels
from podium.data.preprocessing import Preprocessing, fit
from podium.errors import DataError

PHOTO = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (40, 60, 3), np.uint8)


def encoded(image, kind, **options):
    """The bytes of an image file."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(width, height, depth, colour, rows=b"", **chunks):
    """A PNG file written out by hand from the standard, so that no image library has a say in it."""

    def chunk(kind, content):
        body = kind.encode() + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk("IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    middle = b"".join(chunk(kind, content) for kind, content in chunks.items())
    return b"\x89PNG\r\n\x1a\n" + header + middle + chunk("IDAT", zlib.compress(rows)) + chunk("IEND", b"")


def pixels(data, channels=3):
    return np.asarray(decode(data, "it", channels)).tolist()


PALETTE = bytes([10, 20, 30, 200, 0, 0, 0, 0, 250])
GREY_16 = png(4, 1, 16, 0, b"\0" + struct.pack(">4H", 0, 257, 32768, 65535))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(png(3, 1, 8, 0, b"\0\x00\x7f\xff"), [[0, 127, 255]], id="grey"),
        pytest.param(png(8, 1, 1, 0, b"\0\xa5"), [[255, 0, 255, 0, 0, 255, 0, 255]], id="one bit"),
        # v * 255 / 65535, rounded: 32768 -> 127.50 -> 128
        pytest.param(GREY_16, [[0, 1, 128, 255]], id="16 bits are scaled, not clipped"),
    ],
)
def test_grey(data, expected):
    assert pixels(data, 1) == expected
    assert pixels(data, 3) == [[[v] * 3 for v in row] for row in expected]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(png(2, 1, 8, 2, b"\0\x01\x02\x03\xff\xfe\xfd"), [[1, 2, 3], [255, 254, 253]], id="RGB"),
        pytest.param(
            png(3, 1, 8, 3, b"\0\x02\x00\x01", PLTE=PALETTE), [[0, 0, 250], [10, 20, 30], [200, 0, 0]], id="P"
        ),
        # half of 200, 0, 0 on white: 255 * (1 - 128/255) + 200 * 128/255 = 227.4 and 127
        pytest.param(
            png(3, 1, 8, 3, b"\0\x00\x01\x02", PLTE=PALETTE, tRNS=b"\x00\x80\xff"),
            [[255, 255, 255], [227, 127, 127], [0, 0, 250]],
            id="P with transparency on white",
        ),
        # 255 * (1 - 51/255) + 100 * 51/255 = 224
        pytest.param(
            png(3, 1, 8, 6, b"\0" + bytes([9, 9, 9, 0, 100, 0, 255, 51, 7, 8, 9, 255])),
            [[255, 255, 255], [224, 204, 255], [7, 8, 9]],
            id="RGBA on white",
        ),
        pytest.param(
            png(3, 1, 8, 4, b"\0" + bytes([0, 0, 100, 51, 77, 255])), [[255] * 3, [224] * 3, [77] * 3], id="LA on white"
        ),
        pytest.param(
            png(2, 1, 8, 0, b"\0\x05\x06", tRNS=b"\x00\x05"), [[255] * 3, [6] * 3], id="grey with a transparent value"
        ),
        pytest.param(png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 0, 257 * 100, 65535)), [[0, 100, 255]], id="RGB 16"),
        # What optimisers of PNG files write: the values of tRNS have as many bits as the pixels.
        pytest.param(png(2, 1, 4, 0, b"\0\x5a", tRNS=b"\0\x05"), [[255] * 3, [170] * 3], id="4 bits, one transparent"),
        pytest.param(png(2, 1, 2, 0, b"\0\x60", tRNS=b"\0\x01"), [[255] * 3, [170] * 3], id="2 bits, one transparent"),
        pytest.param(
            png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 257, 258), tRNS=struct.pack(">H", 257)),
            [[255] * 3, [1] * 3],
            id="grey 16, one transparent",
        ),
        pytest.param(
            png(
                2, 1, 16, 2, b"\0" + struct.pack(">6H", 0, 257, 514, 0, 257, 515), tRNS=struct.pack(">3H", 0, 257, 514)
            ),
            [[255] * 3, [0, 1, 2]],
            id="RGB 16, one transparent",
        ),
    ],
)
def test_colour(data, expected):
    assert pixels(data) == [expected]


@pytest.mark.parametrize(
    ("cmyk", "rgb"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 51, 102, 127), (128, 102, 77)),  # (1 - ink) * (1 - black) * 255
    ],
)
def test_cmyk(cmyk, rgb):
    flat = np.asarray(decode(encoded(Image.new("CMYK", (16, 16), cmyk), "JPEG", quality=100), "it", 3))
    assert flat.shape == (16, 16, 3)
    assert np.abs(flat.astype(int) - rgb).max() <= 2


def test_grey_of_colour_is_its_luma():
    assert pixels(png(3, 1, 8, 2, b"\0\xff\0\0\0\xff\0\0\0\xff"), 1) == [[76, 150, 29]]  # 0.299, 0.587, 0.114


# what an orientation asks for, in the words of the EXIF standard: where row 0 and column 0 of what is stored belong
UPRIGHT = {
    1: lambda a: a,  # top, left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.transpose(1, 0, 2),  # left, top
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],  # right, top
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
    8: lambda a: a.transpose(1, 0, 2)[::-1],  # left, bottom
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_orientation_is_applied(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = np.asarray(decode(encoded(PHOTO, kind, exif=exif), "it", 3))
    stored = PHOTO if kind == "PNG" else np.asarray(Image.open(io.BytesIO(encoded(PHOTO, "JPEG"))))
    np.testing.assert_array_equal(got, UPRIGHT[orientation](stored))


def test_content_counts_and_not_the_name(tmp_path):
    from podium.data.image_file import ImageFile

    file = tmp_path / "really a png.jpg"
    file.write_bytes(png(1, 1, 8, 2, b"\0\x01\x02\x03"))
    assert pixels(ImageFile.of(file).read()) == [[[1, 2, 3]]]


def test_first_frame_of_an_animation():
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    data = encoded(red, "GIF", save_all=True, append_images=[blue])
    assert pixels(data) == [[[255, 0, 0]] * 4] * 4


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP", "JPEG"])
def test_every_format_on_the_list(kind):
    grey = Image.new("RGB", (20, 10), (90, 90, 90))
    got = np.asarray(decode(encoded(grey, kind), "it", 3))
    assert got.shape == (10, 20, 3)
    assert np.abs(got.astype(int) - 90).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_a_truncated_image_is_an_error(kind, share):
    whole = encoded(PHOTO, kind)
    decode(whole, "whole", 3)
    with pytest.raises(DataError, match=r"^half\.jpg: (truncated|damaged) image|^half\.jpg: not an image"):
        decode(whole[: int(share * len(whole))], "half.jpg", 3)


def test_half_a_jpeg_passes_verify_but_not_us():
    half = encoded(PHOTO, "JPEG")[:-900]
    Image.open(io.BytesIO(half)).verify()
    with pytest.raises(DataError, match="truncated"):
        decode(half, "half.jpg", 3)


def test_a_progressive_jpeg_cut_after_its_first_scans_is_an_error():
    whole = encoded(PHOTO, "JPEG", progressive=True)
    with pytest.raises(DataError, match="truncated"):
        decode(whole[: len(whole) * 2 // 3], "half.jpg", 3)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "empty file", id="zero bytes"),
        pytest.param(b"<!DOCTYPE html>\n<html>404 not found</html>", "a web page in place of the image", id="html"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS", id="Git LFS"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "not an image|truncated|damaged", id="a signature alone"),
        pytest.param(b"\xff\xd8\xff\xe0" + bytes(50), "not an image|truncated|damaged", id="JPEG's start alone"),
        pytest.param(encoded(PHOTO, "TGA"), "not an image of JPEG, PNG", id="TGA"),
        pytest.param(b"8BPS\0\1" + bytes(99), "Photoshop, not an image of JPEG, PNG", id="Photoshop"),
        pytest.param(encoded(PHOTO, "EPS"), "not an image of JPEG, PNG", id="EPS, which would call Ghostscript"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image", id="SVG"),
        pytest.param(png(0, 5, 8, 0), "not an image|damaged", id="no width"),
    ],
)
def test_what_is_no_image_is_refused(data, says):
    with pytest.raises(DataError, match=f"^cat\\.jpg: .*({says})") as caught:
        decode(data, "cat.jpg", 3)
    mends = "copy it again|copy the file again|save (it|them) as JPEG or PNG|download the image itself|git lfs pull"
    assert re.search(mends, caught.value.fix)
    assert "nothing in Podium" not in caught.value.fix
    assert "\n" not in caught.value.what


def waves(width, height):
    """A smooth colour photo, as cameras make them."""
    y, x = np.mgrid[:height, :width] / 40
    return np.stack([128 + 100 * np.sin(x + y), 128 + 100 * np.cos(x - y), 128 + 60 * np.sin(x * y / 9)], 2).astype(
        np.uint8
    )


@pytest.mark.parametrize("times", [1, 2, 4, 8])
@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_jpeg_comes_smaller_where_that_is_asked_for(times, how):
    photo, asked = waves(322, 203), []
    data = encoded(photo, "JPEG", quality=95, **how)
    image = decode(data, "it", 3, lambda width, height: asked.append((width, height)) or times)
    assert asked == [(322, 203)]
    assert image.size == (-(-322 // times), -(-203 // times))
    padded = np.pad(photo, ((0, -203 % times), (0, -322 % times), (0, 0)), mode="edge")
    expected = Image.fromarray(padded).resize(image.size, Image.Resampling.BOX)
    difference = np.abs(np.asarray(image, float) - np.asarray(expected, float))
    assert float(difference.mean()) < 1  # of 255
    assert float(difference.max()) < 6
    np.testing.assert_array_equal(decode_pixels(data, "it", 3, lambda *_: times), np.asarray(image))


def test_what_comes_smaller_is_upright_and_its_size_too():
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise makes it upright
    photo, asked = waves(320, 200), []
    data = encoded(photo, "JPEG", quality=95, exif=exif)
    image = decode(data, "it", 3, lambda width, height: asked.append((width, height)) or 4)
    assert asked == [(200, 320)]
    expected = Image.fromarray(photo).rotate(-90, expand=True).resize((50, 80), Image.Resampling.BOX)
    assert image.size == expected.size
    assert float(np.abs(np.asarray(image, float) - np.asarray(expected, float)).mean()) < 3
    np.testing.assert_array_equal(decode_pixels(data, "it", 3, lambda *_: 4), np.asarray(image))


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_cmyk_and_grey_come_smaller_by_the_same_rules(mode):
    photo = Image.fromarray(waves(320, 200)).convert(mode)
    data = encoded(photo, "JPEG", quality=95)
    whole, small = decode(data, "it", 3), decode(data, "it", 3, lambda *_: 2)
    assert small.mode == whole.mode == "RGB"
    difference = np.asarray(small, float) - np.asarray(whole.resize((160, 100), Image.Resampling.BOX), float)
    assert float(np.abs(difference).mean()) < 3
    np.testing.assert_array_equal(decode_pixels(data, "it", 3, lambda *_: 2), np.asarray(small))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "GIF"])
def test_only_a_jpeg_comes_smaller(kind):
    data = encoded(waves(64, 32), kind)
    assert decode(data, "it.jpg", 3, lambda *_: 4).size == (64, 32)


@pytest.mark.parametrize("how", [{}, {"progressive": True}])
@pytest.mark.parametrize("cut", [3, 200, 2000])
@pytest.mark.parametrize("times", [2, 8])
def test_a_truncated_jpeg_is_an_error_at_any_scale(how, cut, times):
    data = encoded(waves(640, 480), "JPEG", quality=95, **how)
    for way in (decode, decode_pixels):
        way(data, "it.jpg", 3, lambda *_: times)
        with pytest.raises(DataError, match=r"it\.jpg: truncated"):
            way(data[:-cut], "it.jpg", 3, lambda *_: times)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("how", [{"quality": 30}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}])
def test_the_short_way_gives_the_pixels_of_the_long_one(mode, how, channels):
    for size in ((61, 43), (8, 8), (1, 1), (3, 200)):
        data = encoded(Image.fromarray(waves(*size)).convert(mode), "JPEG", **how)
        long = np.asarray(decode(data, "it", channels)).reshape(size[1], size[0], channels)
        np.testing.assert_array_equal(decode_pixels(data, "it", channels), long)


@pytest.mark.parametrize(
    ("data", "says"), [(b"", "empty"), (b"\xff\xd8\xff", "it"), (b"GIF89a", "it"), (b"words", "not an image")]
)
def test_the_short_way_refuses_what_the_long_one_refuses(data, says):
    with pytest.raises(DataError, match=says):
        decode_pixels(data, "it", 3)


def test_a_file_with_bytes_to_spare_is_accepted_on_both_ways():
    data = encoded(waves(64, 48), "JPEG")
    for odd in (data + b"spare", data[:20] + data[20:].replace(b"\xff\xd9", b"\0\0\xff\xd9")):
        np.testing.assert_array_equal(decode_pixels(odd, "it", 3), np.asarray(decode(odd, "it", 3)))


@pytest.mark.parametrize(("width", "height"), [(10_000, 5_001), (9_000, 10_000), (18_000, 10_000), (60_000, 50_000)])
def test_a_bomb_is_refused_by_its_header(width, height):
    bomb = png(width, height, 1, 0, bytes((width // 8 + 1) * 100))
    tracemalloc.start()
    before = _resident()
    with pytest.raises(DataError, match=r"bomb\.png: .*50 million"):
        decode(bomb, "bomb.png", 3)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    assert _resident() - before < 20e6
    tracemalloc.stop()


def _resident():
    """Bytes of memory of this process, Pillow's included."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_as_many_pixels_as_are_allowed_are_opened():
    width, height = 10_000, MAX_PIXELS // 10_000
    rows = bytes(width // 8 + 1) * height
    assert decode(png(width, height, 1, 0, rows), "large.png", 1).size == (width, height)


WIDE = np.zeros((8, 16, 3), np.uint8)
WIDE[:, :4], WIDE[:, 4:12], WIDE[:, 12:] = (200, 0, 0), (0, 200, 0), (0, 0, 200)  # a red, a green and a blue third


def test_crop_takes_the_centred_square():
    np.testing.assert_array_equal(fit(Image.fromarray(WIDE), 8, "crop"), WIDE[:, 4:12])
    np.testing.assert_array_equal(fit(Image.fromarray(WIDE), 4, "crop", 0.5), WIDE[2:6, 6:10])


def test_pad_keeps_all_of_it_centred_on_black():
    padded = fit(Image.fromarray(WIDE), 16, "pad")
    assert not padded[:4].any()
    assert not padded[12:].any()
    np.testing.assert_array_equal(padded[4:12], WIDE)


def test_stretch_uses_the_whole_width():
    stretched = fit(Image.fromarray(WIDE), 8, "stretch")
    assert stretched[0, 0].tolist() == [200, 0, 0]
    assert stretched[0, -1].tolist() == [0, 0, 200]
    assert (stretched == stretched[:1]).all()


def test_shrinking_averages():
    checks = np.indices((16, 16)).sum(0) % 2 * 200
    small = fit(Image.fromarray(checks.astype(np.uint8)), 4, "stretch")
    assert small.shape == (4, 4, 1)
    assert np.abs(small.astype(int) - 100).max() <= 15  # without antialiasing 0 or 200


@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (3, 2)])
def test_odd_shapes_become_squares(how, size):
    square = fit(Image.new("RGB", size, (50, 60, 70)), 32, how, 0.875)
    assert square.shape == (32, 32, 3)
    assert square.dtype == np.uint8
    assert (square.reshape(-1, 3) == (50, 60, 70)).all(1).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_preprocessing_is_decode_and_fit_and_survives_a_card(channels):
    p = Preprocessing(8, channels, "pad", 0.9, (0.1,) * channels, (0.2,) * channels)
    again = Preprocessing.from_dict(p.to_dict())
    assert again == p
    got = again.pixels(encoded(WIDE, "PNG"), "it")
    assert got.shape == (8, 8, channels)
    assert not got[:2].any()


STEP = np.tile(np.array([0, 0, 200, 200], np.uint8), (4, 1))


@pytest.mark.parametrize(
    ("interpolation", "row"),
    [
        # a quarter of a pixel from its neighbours: 200 times 0, 1/4, 3/4, 1
        ("bilinear", [0, 0, 0, 50, 150, 200, 200, 200]),
        # Keys's kernel, a = -1/2: weights 111, 29, -9, -3 (of 128) at 1/4, 3/4, 5/4 and 7/4 of a pixel. In the middle
        # 200 * (29 - 3) / 128 and 200 * (111 - 9) / 128; then one pixel is missing: 200 * 140 / 131 and 200 * 140 / 137
        ("bicubic", [0, 0, 0, 41, 159, 214, 204, 200]),
    ],
)
def test_interpolation_is_the_one_that_is_named(interpolation, row):
    got = fit(Image.fromarray(STEP), 8, "stretch", interpolation=interpolation)
    np.testing.assert_array_equal(got[..., 0], [row] * 8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
def test_every_way_to_a_square_interpolates_as_asked(how, interpolation):
    resample = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    image = Image.fromarray(PHOTO)  # 60 x 40
    expected = {
        "crop": lambda: image.resize((16, 16), resample, box=(15, 5, 45, 35)),
        "pad": lambda: ImageOps.pad(image, (16, 16), resample),
        "stretch": lambda: image.resize((16, 16), resample),
    }[how]()
    np.testing.assert_array_equal(fit(image, 16, how, 0.75, interpolation), np.asarray(expected))


def test_channels_come_in_the_order_that_the_network_has_them():
    data = png(2, 1, 8, 2, b"\0\x01\x02\x03\xff\xfe\xfd")
    for order, row in (("rgb", [[1, 2, 3], [255, 254, 253]]), ("bgr", [[3, 2, 1], [253, 254, 255]])):
        assert Preprocessing(2, 3, "stretch", channel_order=order).pixels(data, "it").tolist() == [row] * 2
    grey = Preprocessing(2, 1, "stretch", channel_order="bgr").pixels(GREY_16, "it")
    assert grey.shape == (2, 2, 1)


def test_a_card_from_before_has_the_defaults():
    old = {"image_size": 32, "channels": 3, "resize": "crop", "crop_pct": 0.9, "mean": [0.4], "std": [0.2]}
    p = Preprocessing.from_dict(old)
    assert (p.interpolation, p.channel_order) == ("bilinear", "rgb")
    other = Preprocessing(32, 3, interpolation="bicubic", channel_order="bgr")
    assert other.to_dict()["interpolation"] == "bicubic"
    assert other.to_dict()["channel_order"] == "bgr"
    assert Preprocessing.from_dict(other.to_dict()) == other


@pytest.mark.parametrize(
    ("name", "value"),
    [("interpolation", "nearest"), ("interpolation", None), ("channel_order", "BGR"), ("channel_order", 3)],
)
def test_preprocessing_refuses_what_it_does_not_know(name, value):
    with pytest.raises(ValueError, match=f"{name}: {value!r}"):
        Preprocessing(32, 3, **{name: value})
