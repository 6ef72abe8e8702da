"""Images of more than 8 bits a channel: which value is white is found once, said, used, and kept."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import podium
from command import inside
from podium.data.decode import decode, upright_of
from podium.data.depth import find_white, look_at
from podium.data.image_file import ImageFile
from podium.data.pack import read_pack, write_pack
from podium.data.preprocessing import Preprocessing
from podium.data.sources import load_data, read
from podium.errors import DataError
from podium.runs import bundle
from test_formats import tiff

DRAW = np.random.default_rng(0)


def png(values, kind=None):
    """A PNG of 16 bits: grey (H, W), or colour or transparency (H, W, C) by hand, which Pillow does not write."""
    values = np.asarray(values, np.uint16)
    channels = 1 if values.ndim == 2 else values.shape[2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels] if kind is None else kind
    height, width = values.shape[:2]
    rows = values.reshape(height, -1).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def photo(bits, label, channels=1):
    """A bright or dark disc on noise, in so many bits."""
    y, x = np.mgrid[:32, :32]
    disc = (y - 16) ** 2 + (x - 16) ** 2 < DRAW.integers(60, 120)
    level = np.where(disc, 0.9 if label else 0.1, 0.5) + DRAW.normal(0, 0.03, (32, 32))
    grey = (level.clip(0, 1) * (2**bits - 1)).astype(np.uint16)
    grey[0, 0] = 2**bits - 1
    return grey if channels == 1 else np.repeat(grey[..., None], channels, 2)


def folder(root, bits, channels=1, count=20, splits=("train", "test")):
    for split in splits:
        for label in (0, 1):
            (root / split / f"c{label}").mkdir(parents=True)
            for i in range(count):
                (root / split / f"c{label}" / f"{i:02d}.png").write_bytes(png(photo(bits, label, channels)))
    return root


def files(folder):
    return [ImageFile.of(path) for path in sorted(folder.rglob("*.png"))]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("bits", "white"), [(8, 255), (10, 1023), (12, 4095), (14, 16383), (16, 65535)])
def test_white_is_the_largest_value_of_the_bits_in_use(tmp_path, bits, white, channels):
    found, note = find_white(files(folder(tmp_path, bits, channels, 3)))
    assert found == white
    said = f"16-bit images that use {bits} bits (largest value {white:,}): scaled by {white:,}"
    assert note == (f"note: {said}" if bits < 16 else None)


def test_a_dark_set_is_not_stretched_beyond_its_bits(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(png(np.full((4, 4), 3000 + i)))
    assert find_white(files(tmp_path))[0] == 4095


def test_sets_of_eight_bits_and_black_ones_have_the_white_they_had(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    assert find_white(files(tmp_path)) == (65535, None)
    (tmp_path / "b.png").write_bytes(png(np.zeros((4, 4))))
    (tmp_path / "c.png").write_bytes(b"\x89PNG damaged")
    assert find_white(files(tmp_path)) == (65535, None)


def test_in_a_mixed_set_the_images_of_eight_bits_stay_as_they_are(tmp_path):
    folder(tmp_path, 12, count=5)
    eight = Image.fromarray(DRAW.integers(0, 256, (32, 32), np.uint8))
    eight.save(tmp_path / "train/c0/eight.png")
    data = load_data(tmp_path)
    assert data.depth[0] == 4095
    split = data.splits["train"].scaled(4095)
    place = next(i for i, file in enumerate(split.files) if file.path.name == "eight.png")
    np.testing.assert_array_equal(np.asarray(split.image(place, 1)), np.asarray(eight))


# value * 255 / 4095, rounded: 0, 1 -> 0.06, 2048 -> 127.53, 4095; what is above is white
@pytest.mark.parametrize(("value", "seen"), [(0, 0), (1, 0), (2048, 128), (4095, 255), (5000, 255), (65535, 255)])
def test_scaling(value, seen):
    def as_seen(data, channels=3):
        return np.asarray(decode(data, "it", channels, white=4095))[0, 0].tolist()

    assert as_seen(png([[value]]), 1) == seen
    assert as_seen(png([[[value] * 3]])) == [seen] * 3
    assert as_seen(png([[[value, 0, 4095]]])) == [seen, 0, 255]
    assert as_seen(png([[[value, 0, 4095, 65535]]])) == [seen, 0, 255]
    assert as_seen(png([[[value, 0, 4095, 0]]])) == [255, 255, 255]  # transparent, on white
    assert as_seen(png([[[value, 65535]]])) == [seen] * 3


def test_only_the_training_images_are_asked(tmp_path):
    folder(tmp_path, 12, count=3, splits=("train",))
    folder(tmp_path, 16, count=3, splits=("test",))
    assert load_data(tmp_path).depth[0] == 4095


def test_a_card_without_it_means_sixteen_bits_and_one_of_sixteen_bits_has_none():
    plain = Preprocessing(8, 1)
    assert "white" not in plain.to_dict()
    assert Preprocessing.from_dict(plain.to_dict()).white == 65535
    twelve = Preprocessing(8, 1, white=4095)
    assert Preprocessing.from_dict(twelve.to_dict()) == twelve
    for wrong in (0, -1, 1.5, "4095", None):
        with pytest.raises(ValueError, match="white"):
            Preprocessing(8, 1, white=wrong)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("twelve")
    data = folder(root / "data", 12)
    said = inside(
        "train", "lenet5_modern", data, "--epochs", 12, "--image-size", 32, "--workers", 0, "-o", root / "run"
    )
    assert said.returncode == 0, said.stderr
    return root / "run", data, said.stdout + said.stderr


def test_a_run_on_twelve_bits_learns_and_says_what_it_did(run):
    out, _, said = run
    assert "16-bit images that use 12 bits (largest value 4,095): scaled by 4,095" in said
    assert bundle.load(out).preprocessing.white == 4095
    assert podium.evaluate(out, run[1])["top1"] > 0.9


def test_predict_eval_export_and_a_pack_see_the_same_pixels(run, tmp_path):
    pytest.importorskip("onnxruntime")
    out, data, _ = run
    paths = sorted((data / "test").rglob("*.png"))
    model = bundle.load(out)
    whole = Image.open(paths[0])
    by_hand = (np.asarray(whole).astype(int) * 255 + 2047) // 4095  # as the card's crop of all of it would see it
    assert np.asarray(decode(paths[0].read_bytes(), "it", 1, white=4095)).tolist() == by_hand.tolist()
    answers = [row["top"][0]["probability"] for row in model.predict(paths)]
    assert podium.export(out, tmp_path / "it.onnx", data=data).holds
    exported = [row["top"][0]["probability"] for row in podium.load(tmp_path / "it.onnx").predict(paths)]
    np.testing.assert_allclose(exported, answers, atol=1e-4)
    write_pack(read(data), tmp_path / "pack")
    packed = read_pack(tmp_path / "pack")
    assert packed.depth == (4095, None)
    assert podium.evaluate(out, tmp_path / "pack")["top1"] == podium.evaluate(out, data)["top1"]
    one = packed.splits["test"].image(0, 1)
    np.testing.assert_array_equal(np.asarray(one), by_hand)


def test_other_images_are_scaled_as_the_card_says_not_as_they_say(run, tmp_path):
    """One dark image alone must not become bright because it is alone."""
    out, _, _ = run
    (tmp_path / "dark.png").write_bytes(png(np.full((32, 32), 200)))
    seen = bundle.load(out).preprocessing.pixels((tmp_path / "dark.png").read_bytes(), "dark")
    assert set(np.unique(seen).tolist()) == {12}  # 200 * 255 / 4095 = 12.45
    buffer = io.BytesIO()
    Image.fromarray(np.full((32, 32), 200, np.uint8)).save(buffer, "PNG")
    assert set(np.unique(bundle.load(out).preprocessing.pixels(buffer.getvalue(), "eight bits")).tolist()) == {200}


RAMP = np.arange(4800).reshape(60, 80) / 4799
NAMED = {42113: (2, b"-9999\0")}  # GDAL's tag for the value of pixels that have none


def spoiled(special, values=RAMP, kind=np.float32):
    """Values with two rows of a special one, as at the border of a map."""
    made = np.array(values, kind)
    made[:2] = special
    return made


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        (spoiled(-9999), 1),
        (spoiled(np.finfo(np.float32).min), 1),
        (spoiled(65535, RAMP * 4000, np.uint16), 16),  # 4,000 * 0.998 of 65,535
        ((29000 + RAMP * 1400).astype(np.uint16), 11),  # 1,400 * 0.998 of 32,767
    ],
    ids=["nodata", "the least float", "hot pixels", "thermal"],
)
def test_a_range_of_which_images_use_little_is_said_with_a_mend_that_works(tmp_path, values, levels):
    (tmp_path / "0.tif").write_bytes(tiff(values))
    found = look_at([ImageFile.of(tmp_path / "0.tif")])
    assert f"become about {levels} of 256 grey levels" in found.flat
    mend = found.flat.split(": ")[-1].removesuffix(", as uint16")
    mended = eval(mend, {"numpy": np, "v": values.astype(np.float64)}).astype(np.uint16)
    (tmp_path / "0.tif").write_bytes(tiff(mended))
    again = look_at([ImageFile.of(tmp_path / "0.tif")])
    assert (again.white, again.flat) == (65535, None)
    seen = np.asarray(decode(tiff(mended), "it", 1))
    assert (seen.min(), seen.max(), len(np.unique(seen))) == (0, 255, 256)


@pytest.mark.parametrize(
    "values",
    [RAMP * 4095, np.where(RAMP < 0.5, 0, 65535), np.where(RAMP < 0.97, RAMP * 100, RAMP * 60000), np.zeros((4, 4))],
    ids=["a ramp", "a mask", "bright spots", "black"],
)
def test_ordinary_ranges_are_not_said_to_be_flat(tmp_path, values):
    (tmp_path / "0.tif").write_bytes(tiff(values.astype(np.uint16)))
    assert look_at([ImageFile.of(tmp_path / "0.tif")]).flat is None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "photometric"), [(np.float32, 0), (np.float32, 1), (np.int16, 1)])
def test_values_that_a_tiff_names_as_none_are_black_and_no_part_of_the_range(tmp_path, order, kind, photometric):
    top = 1 if kind is np.float32 else 4095
    data = tiff(spoiled(-9999, RAMP * top, kind), order, photometric, more=NAMED)
    (tmp_path / "0.tif").write_bytes(data)
    found = look_at([ImageFile.of(tmp_path / "0.tif")])
    assert (found.white, found.flat) == ((0.0, 1.0) if kind is np.float32 else 4095, None)
    seen = np.asarray(decode(data, "it", 1, white=found.white))
    right = np.floor(np.array(RAMP * top, kind).astype(np.float64) / top * 255 + 0.5)
    right = right if photometric else 255 - right
    right[:2] = 0
    assert np.abs(seen - right).max() <= 1


def test_colours_that_a_tiff_names_as_none_are_black(tmp_path):
    colour = np.repeat(spoiled(65535, RAMP * 4095, np.uint16)[..., None], 3, 2)
    data = tiff(colour, more={42113: (2, b"65535\0")})
    (tmp_path / "0.tif").write_bytes(data)
    found = look_at([ImageFile.of(tmp_path / "0.tif")])
    assert found.white == 4095
    for white in (4095, 65535):
        assert not np.asarray(decode(data, "it", 3, white=white))[:2].any()


def test_thirty_two_bits_without_a_sign_have_none(tmp_path):
    values = np.array([[0, 2**31, 2**32 - 1]], np.uint32)
    (tmp_path / "0.tif").write_bytes(tiff(values))
    found = look_at([ImageFile.of(tmp_path / "0.tif")])
    assert found.white == 2**32 - 1
    assert np.asarray(decode(tiff(values), "it", 1, white=found.white)).tolist() == [[0, 128, 255]]
    opened = Image.open(tmp_path / "0.tif")
    assert np.asarray(upright_of(opened, "it", 1, found.white)).tolist() == [[0, 128, 255]]
    with pytest.raises(DataError, match="TIFF of a kind that is not read"):
        decode(tiff(values, ">"), "it", 1)
