"""`predict` takes every kind of image, in the order given, in Python and on the command line, with torch and without."""

import csv
import io
import json
import logging
import os
import shutil
import struct
import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import podium as library
from podium.data.image_file import ImageFile
from podium.data.preprocessing import Preprocessing
from podium.errors import STARVED, DataError, ImageError, MachineError, UsageError
from podium.runs import bundle, predictor

CLASSES = ("cat", "dog", "fox")


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    """The bundle of a network for colour images, with weights as they were drawn."""
    torch.manual_seed(0)
    net = library.create_model("resnet20", num_classes=3).eval()
    p = Preprocessing(32, 3, "crop", 1.0, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    folder = tmp_path_factory.mktemp("colour") / "bundle"
    bundle.save(folder, net, CLASSES, p, {})
    return folder


@pytest.fixture
def photo():
    return np.random.default_rng(2).integers(0, 256, (40, 50, 3), np.uint8)


def encoded(image, kind="PNG", **how):
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **how)
    return out.getvalue()


def shares(row):
    return {each["class"]: each["probability"] for each in row["top"]}


def same(row, other):
    return shares(row) == pytest.approx(shares(other), abs=1e-5)


# Kinds of images


def test_bytes_pillow_images_and_arrays_are_answered_as_the_file(colour, photo, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(photo))
    model = library.load(colour)
    (expected,) = model.predict(path)
    content, image = path.read_bytes(), Image.fromarray(photo)
    for one in (content, bytearray(content), memoryview(content), image, Image.open(path), photo, photo[::1]):
        (row,) = model.predict(one)
        assert same(row, expected)
        assert row["file"] == "image"
    rows = model.predict([content, str(path), image, photo, path])
    assert [row["file"] for row in rows] == ["images[0]", str(path), "images[2]", "images[3]", str(path)]
    assert all(same(row, expected) for row in rows)
    assert len(model.predict(one for one in (photo, photo))) == 2
    assert model.predict([]) == []


def test_grey_and_transparent_arrays_are_what_their_pictures_are(colour, photo):
    model = library.load(colour)
    alpha = np.dstack([photo, np.full(photo.shape[:2], 128, np.uint8)])
    for array in (photo[..., 0], alpha):
        assert same(*model.predict([array, encoded(array)]))
    assert same(*model.predict([photo[..., :1], photo[..., 0]]))
    assert same(*model.predict([photo[::2, ::-1], np.ascontiguousarray(photo[::2, ::-1])]))


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_pillow_image_is_turned_as_its_file_is(colour, photo, tmp_path, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    (tmp_path / "it.jpg").write_bytes(encoded(photo, "JPEG", quality=100, exif=exif))
    opened = Image.open(tmp_path / "it.jpg")
    rows = library.load(colour).predict([tmp_path / "it.jpg", opened, opened.copy()])
    assert same(rows[0], rows[1])
    assert same(rows[0], rows[2])


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "YCbCr", "HSV"])
def test_a_pillow_image_of_any_mode_is_answered(colour, photo, mode):
    if mode == "I;16":
        image = Image.fromarray(photo[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(photo).convert(mode)
    (row,) = library.load(colour).predict(image)
    assert sum(shares(row).values()) == pytest.approx(1, abs=1e-5)
    if mode == "I;16":
        assert same(row, library.load(colour).predict(photo[..., 0])[0])


def test_a_pillow_image_whose_file_is_damaged_is_named(colour, photo):
    content = encoded(photo)[:900]
    with pytest.raises(ImageError, match=r"images\[1\]: truncated"):
        library.load(colour).predict([photo, Image.open(io.BytesIO(content))])
    with pytest.raises(DataError, match="an image written as text") as refused:
        library.load(colour).predict("data:image/png;base64," + 10_000 * "A")
    assert len(refused.value.what) < 100
    with pytest.raises(ImageError, match="image: empty"):
        library.load(colour).predict(b"")


@pytest.mark.parametrize(
    ("wrong", "says", "mend"),
    [
        (Image.Exif(), "images", "a path"),
        (np.zeros((4, 9, 9, 3), np.uint8), r"\(4, 9, 9, 3\)", "list(array)"),
        (np.zeros((3, 9, 9), np.uint8), "channels first", "transpose(1, 2, 0)"),
        (np.zeros((9, 9, 3), np.float32), "float32", "array * 255"),
        (np.zeros((9, 9, 3), np.float64), "float64", "array * 255"),
        (np.zeros((9, 9, 3), np.uint16), "uint16", "257"),
        (np.zeros((9, 9, 3), np.int64), "int64", "astype('uint8')"),
        (np.zeros((9, 9), bool), "bool", "* 255"),
        (np.zeros((9, 9, 2), np.uint8), r"\(9, 9, 2\)", "(H, W, 3)"),
        (np.zeros((0, 9, 3), np.uint8), r"\(0, 9, 3\)", "(H, W, 3)"),
        (np.zeros(9, np.uint8), r"\(9,\)", "(H, W, 3)"),
        (np.array(["a.png", "b.png"]), "<U5", "array.tolist()"),
        (np.array([None, "b.png"]), "object", "array.tolist()"),
        (torch.zeros(3, 9, 9), "tensor", "(tensor * 255)"),
        (torch.zeros(3, 9, 9, dtype=torch.uint8), "tensor", "give tensor.permute(1, 2, 0).numpy()"),
        (torch.zeros(2, 3, 9, 9), "tensor", "give list((tensor * 255).round().byte().permute(0, 2, 3, 1).numpy())"),
        (io.BytesIO(b"x"), "BytesIO", "file.getvalue()"),
        (7, "7", "a path"),
        (None, "None", "a path"),
        ({"image": 1}, "image", "a path"),
    ],
)
def test_what_is_no_image_is_refused_with_how_to_make_one(colour, wrong, says, mend):
    model = library.load(colour)
    for given in (wrong, [wrong]):
        with pytest.raises(UsageError, match=says) as refused:
            model.predict(given)
        assert mend in refused.value.fix


@pytest.mark.parametrize("shape", [(9, 11), (3, 9, 11), (2, 3, 9, 11)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_what_is_said_to_do_with_a_tensor_works(colour, shape, dtype):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    tensor = torch.from_numpy(pixels).to(dtype) / (1 if dtype == torch.uint8 else 255)
    tensor = tensor.to(dtype)
    model = library.load(colour)
    with pytest.raises(UsageError) as refused:
        model.predict(tensor)
    images = eval(refused.value.fix.rpartition("give ")[2], {"tensor": tensor})  # the line that it says
    expected = np.moveaxis(pixels, -3, -1) if len(shape) > 2 else pixels
    assert np.array_equal(np.asarray(images), expected)
    assert len(model.predict(images)) == (2 if len(shape) == 4 else 1)


def test_nothing_is_no_image_and_an_archive_says_to_unpack_it(colour, photo, tmp_path):
    model = library.load(colour)
    with pytest.raises(ImageError, match="image: an image of 0 x 9 pixels"):
        model.predict(Image.new("RGB", (0, 9)))
    with pytest.raises(DataError, match="an empty path"):
        model.predict("")
    (tmp_path / "new").mkdir()
    (tmp_path / "new/photo.png").write_bytes(encoded(photo))
    for form in ("tar", "gztar", "bztar", "xztar", "zip"):
        made = shutil.make_archive(str(tmp_path / "photos"), form, tmp_path, "new")
        with pytest.raises(ImageError, match="an archive, not an image") as refused:
            model.predict(made)
        assert refused.value.fix == "unpack it, and give the folder"


def test_what_is_no_image_is_refused_before_the_first_is_read(colour, photo):
    with pytest.raises(UsageError, match=r"images\[1\]: 3, no image"):
        library.load(colour).predict(["missing.png", 3])


def test_sixteen_bits_that_pillow_has_dropped_are_refused_where_the_network_needs_them(colour, tmp_path):
    model = library.load(colour)
    twelve = bundle.Bundle(model.model, CLASSES, replace(model.preprocessing, white=4095), {})
    raw = np.random.default_rng(0).integers(0, 4096, (9, 9, 3)).astype(">u2")
    head = struct.pack(">2I5B", 9, 9, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in raw)
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))  # noqa: E731
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert len(twelve.predict(content)) == 1
    with pytest.raises(UsageError, match="Pillow keeps 8 of its 16 bits") as refused:
        twelve.predict(Image.open(io.BytesIO(content)))
    assert "bytes" in refused.value.fix


# Without torch, and in batches


@pytest.mark.slow
def test_an_exported_file_takes_the_same_without_torch(colour, photo, tmp_path):
    data = tmp_path / "data"
    for name in CLASSES:
        for number in range(3):
            place = data / "test" / name
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.roll(photo, 7 * number + len(name), 0)).save(place / f"{number}{name}.png")
    shutil.copytree(data / "test", data / "train")
    for path in (data / "train").rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"other")
    library.export(colour, tmp_path / "it.onnx", data=data, heat_map=True)
    (tmp_path / "photo.png").write_bytes(encoded(photo))
    code = """
import io, json, sys
sys.modules["torch"] = None
import numpy as np
from PIL import Image
import podium
model = podium.load("it.onnx")
image = Image.open("photo.png")
rows = model.predict(["photo.png", open("photo.png", "rb").read(), image, np.asarray(image), "*.png"], top=3)
print(json.dumps({"rows": rows, "explained": model.explain(image).to_dict()}))
"""
    run = library.load(colour)
    ours = run.predict(tmp_path / "photo.png")[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, env=os.environ
    )
    said = json.loads(done.stdout)
    rows, explained = said["rows"], run.explain(photo, method="class-map").to_dict()
    np.testing.assert_allclose(said["explained"].pop("map"), explained.pop("map"), atol=2e-4)
    assert said["explained"]["top"][0]["class"] == explained["class"] == said["explained"]["class"]
    assert [row["file"] for row in rows] == ["photo.png", "images[1]", "images[2]", "images[3]", "photo.png"]
    assert all(shares(row) == pytest.approx(shares(ours), abs=1e-4) for row in rows)


def test_the_order_is_that_given_across_batches_and_damaged_images(colour, photo, monkeypatch):
    monkeypatch.setattr(predictor, "BATCH", 4)
    model = library.load(colour)
    images = [np.roll(photo, shift, 0) for shift in range(11)]
    alone = [model.predict(image)[0] for image in images]
    mixed = [*images[:5], b"damaged", *images[5:], b""]
    found = list(model.answers(mixed))
    assert [name for name, _ in found] == [f"images[{n}]" for n in range(13)]
    assert [n for n, (_, row) in enumerate(found) if isinstance(row, DataError)] == [5, 12]
    assert all(
        same(row, one) for (_, row), one in zip([f for f in found if isinstance(f[1], dict)], alone, strict=True)
    )


# The command line


def test_patterns_folders_and_files_are_answered_in_the_order_given(podium, run, picture):
    for name in ("a/2.png", "a/10.png", "b/x.jpg", "b/deep/y.png", "[1].png"):
        picture(name)
    said = podium("predict", run.path, "b", "a/*.png", "[1].png", "**/y.png", "--json")
    assert (said.code, said.err) == (0, "")
    expected = ["b/deep/y.png", "b/x.jpg", "a/2.png", "a/10.png", "[1].png", "b/deep/y.png"]
    assert [row["file"] for row in said.json] == expected
    podium("predict", run.path, "c/*.png").refused(3, "c/*.png: no file has a name of this pattern")


def test_answers_are_a_table_with_a_row_for_each_image(podium, run, picture, tmp_path):
    good, odd = picture("a.png"), picture('b "1", x.png')
    (tmp_path / "bad.png").write_bytes(b"no image")
    said = podium("predict", run.path, good, "bad.png", odd, "gone.png", "--csv", "out.csv", "--top", 2, "--json")
    assert said.code == 3
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [str(good), "bad.png", str(odd), "gone.png"]
    assert list(rows[0]) == ["file", "answer", "known", "class_1", "probability_1", "class_2", "probability_2", "error"]
    for row, answer in zip((rows[0], rows[2]), said.json, strict=True):
        assert (row["answer"], row["known"], row["error"]) == (answer["answer"], "true", "")
        assert row["class_1"] == answer["top"][0]["class"]
        assert float(row["probability_2"]) == pytest.approx(answer["top"][1]["probability"], abs=1e-6)
    assert "not an image" in rows[1]["error"]
    assert "gone.png" in rows[3]["error"]
    assert rows[1]["answer"] == ""


def test_a_table_that_cannot_be_written_is_refused_before_anything_is_answered(podium, run, picture, tmp_path):
    good = picture("a.png")
    podium("predict", run.path, good, "--csv", "gone/out.csv").refused(2, "--csv: gone/out.csv")
    (tmp_path / "folder").mkdir()
    podium("predict", run.path, good, "--csv", "folder").refused(2, "--csv: folder: a folder")


def test_less_than_the_least_confidence_is_unknown(podium, run, picture):
    good = picture("a.png")
    row = podium("predict", run.path, good, "--json").json[0]
    best = row["top"][0]
    assert (row["answer"], row["known"]) == (best["class"], True)
    above, below = best["probability"] + 1e-3, best["probability"] - 1e-3
    assert podium("predict", run.path, good, "--min-confidence", below, "--json").json == [row]
    unknown = podium("predict", run.path, good, "--min-confidence", above, "--json").json[0]
    assert (unknown["answer"], unknown["known"], unknown["top"]) == ("unknown", False, row["top"])
    assert f"{good}: unknown; {best['class']} " in podium("predict", run.path, good, "--min-confidence", above).out
    podium("predict", run.path, good, "--min-confidence", 80).refused(2, "min_confidence: 80", "0 to 1")
    with pytest.raises(UsageError, match=r"min_confidence: 1\.5"):
        library.load(run.path).predict(good, min_confidence=1.5)


# In Python


def test_all_probabilities_of_one_image_of_any_kind(run, picture):
    path = picture("a.png")
    model = library.load(run.path)
    with Image.open(path) as image:
        kinds = [path, str(path), path.read_bytes(), image.convert("RGB"), np.asarray(image.convert("RGB")), [path]]
        got = [model.probabilities(kind) for kind in kinds]
    (row,) = model.predict(path, top=10)
    by_name = {each["class"]: each["probability"] for each in row["top"]}
    for probabilities in got:
        assert probabilities.shape == (10,)
        np.testing.assert_allclose(probabilities, [by_name[name] for name in model.classes], atol=1e-6)
    for none in ([], [path, path]):
        with pytest.raises(UsageError, match="those of one"):
            model.probabilities(none)
    with pytest.raises(DataError, match=r"gone\.png"):
        model.probabilities("gone.png")


def test_a_console_shows_a_network_in_one_line(run):
    assert repr(library.load(run.path)) == "<Bundle lenet5_modern, 32 px, 10 classes: 0, 1, 2, 3, 4, ...>"


# What is said


def test_every_verb_names_the_run_that_it_takes_of_a_comparison(podium, comparison, picture):
    note = f"note: {comparison} stands for the run that it recommends: {comparison}"
    for words in (
        ["predict", comparison, picture("a.png")],
        ["eval", comparison, "digits", "--limit", 20],
        ["info", comparison],
        ["verify", comparison],
        ["export", comparison, "-o", "it.pt2"],
        ["bench", comparison, "--seconds", 0.01, "--batch", 2],
        ["train", "lenet5_modern", "digits", "--weights", comparison, "--steps", 1, "-o", "tuned"],
    ):
        said = podium(*words)
        assert said.code == 0, said.err
        assert said.err.count(note) == 1, (words, said.err)


def test_the_library_says_it_too(comparison, caplog):
    with caplog.at_level(logging.INFO, logger="podium"):
        library.load(comparison)
    assert "the run that it recommends" in caplog.text


def test_a_mend_names_only_flags_that_the_command_has(podium, run, picture, monkeypatch):
    """Where memory or open files run out while an image is read, only commands with --workers speak of it."""
    good = picture("a.png")
    for name in ("cat", "dog"):
        for number in range(3):
            picture(f"photos/{name}/{number}.png", (20, 20 + number if name == "cat" else 30 + number))

    def starve(self):
        raise MachineError(f"{self.name}: cannot be read", STARVED)

    monkeypatch.setattr(ImageFile, "read", starve)
    said = podium("predict", run.path, good)
    said.refused(6, "end other programs")
    assert "--" not in said.err.partition("fix: ")[2]
    for words in (["train", "lenet5_modern", "photos", "-o", "a"], ["check", "photos"]):
        said = podium(*words)
        assert said.code == 6
        assert "--workers" in said.err if words[0] == "train" else "--workers" not in said.err
