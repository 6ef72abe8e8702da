"""Images of more than 8 bits a channel: which value is white is found once, said, used, and kept."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import podium
from command import inside
from podium.data.decode import decode
from podium.data.depth import find_white
from podium.data.image_file import ImageFile
from podium.data.pack import read_pack, write_pack
from podium.data.preprocessing import Preprocessing
from podium.data.sources import load_data, read
from podium.runs import bundle

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
