"""What cannot be read is counted by format and stops the run with what to do; photos of a telephone need one command."""

import importlib.util
import json
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

import podium as library
from command import inside, one_error
from podium.api.check import check
from podium.data import formats
from podium.data.pack import read_pack, write_pack
from podium.data.shards import write_shards
from podium.data.sources import load_data, read
from podium.errors import DataError
from test_decode import encoded
from test_formats import CT, HEIC, dicom, tiff

MOVIE = b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(200)
RAW = b"II*\0\x10\0\0\0CR\x02\0" + bytes(200)


def photo(seed):
    draw = np.random.default_rng(seed)
    return Image.fromarray(draw.integers(0, 256, (24, 32, 3), np.uint8))


def total(data):
    return sum(map(len, data.splits.values()))


def telephone(root, labels=("cat", "dog"), count=6):
    """A folder as telephones fill it: HEIC photos, all different, with the videos of Live Photos, and notes on edits."""
    content = (HEIC / "irot_6.heic").read_bytes()
    for label in labels:
        (root / label).mkdir(parents=True)
        for number in range(count):
            free = b"\0\0\0\x10free" + f"{label:>4}{number:04d}".encode()[-8:]  # a box that readers pass over
            (root / label / f"IMG_{number}.HEIC").write_bytes(content + free)
            (root / label / f"IMG_{number}.MOV").write_bytes(MOVIE)
        (root / label / "IMG_0.AAE").write_bytes(b"<?xml version='1.0'?><plist/>")
    return root


@pytest.fixture
def nothing_installed(monkeypatch):
    """As if none of the packages of extras that read images were installed."""
    find = importlib.util.find_spec
    missing = {name for each in formats.READ for name in each.packages}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in missing else find(name, *more))


def test_a_telephones_folder_trains_evaluates_predicts_and_exports(tmp_path):
    pytest.importorskip("onnxruntime")
    data = telephone(tmp_path / "data")
    run = tmp_path / "run"
    words = ("train", "lenet5_modern", data, "--steps", "2", "--image-size", "32", "-o", run)
    done = inside(*words)
    assert done.returncode == 0, done.stderr
    assert "the video of a Live Photo, whose image is beside it (12)" in done.stdout + done.stderr
    assert library.evaluate(run, data)["top1"] >= 0
    paths = sorted(data.rglob("*.HEIC"))
    library.export(run, tmp_path / "it.onnx", data=data)
    torch = [row["top"][0]["probability"] for row in library.load(run).predict(paths)]
    runtime = [row["top"][0]["probability"] for row in library.load(tmp_path / "it.onnx").predict(paths)]
    np.testing.assert_allclose(runtime, torch, atol=1e-4)
    said = inside("predict", run, data / "cat", "--json")
    assert said.returncode == 0
    assert len(json.loads(said.stdout)) == 6


def test_without_the_reader_one_line_says_what_to_install(tmp_path, nothing_installed):
    data = telephone(tmp_path / "data")
    for read_it in (lambda: load_data(data), lambda: load_data(data, on_bad="skip")):
        with pytest.raises(DataError, match="12 images of formats that cannot be read here") as caught:
            read_it()
        assert caught.value.fix == 'pip install "podium[heic]"'
        assert "(12 HEIC)" in caught.value.what
    report = check(data)
    assert report.formats == {"HEIC": 12}
    assert [p.kind for p in report.problems] == ["unread-format"]  # their folders are right, and nothing says otherwise
    assert 'pip install "podium[heic]"' in report.problems[0].detail


def test_class_folders_of_images_that_nothing_reads_are_no_wrong_layout(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.CR2").write_bytes(RAW)
    report = check(tmp_path)
    assert [p.kind for p in report.problems] == ["unread-format"]
    assert str(tmp_path / "a/1.CR2") in report.problems[0].detail


def test_content_decides_where_the_reader_is_missing(tmp_path, nothing_installed):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(3):
            (tmp_path / label / f"{number}.heic").write_bytes(encoded(photo(number + 10 * ord(label)), "JPEG"))
    assert total(load_data(tmp_path)) == 6  # JPEGs that are called .heic
    (tmp_path / "a" / "x.jpg").write_bytes((HEIC / "irot_1.heic").read_bytes())
    (tmp_path / "b" / "y.dcm").write_bytes(dicom(CT, center=40, width=400))
    with pytest.raises(DataError, match=r"2 images .*1 HEIC, 1 DICOM") as caught:
        load_data(tmp_path)
    assert caught.value.fix == 'pip install "podium[heic,dicom]"'


@pytest.mark.parametrize(
    ("name", "content", "kind", "fix"),
    [
        ("x.CR2", RAW, "camera raw", "develop"),
        ("x.nef", b"MM\0*" + bytes(99), "camera raw", "develop"),
        ("x.svg", b"<svg/>", "SVG", "save them as JPEG or PNG"),
        ("x.psd", b"8BPS", "Photoshop", "save them as JPEG or PNG"),
        ("x.jxl", b"\xff\x0a", "JPEG XL", "save them as JPEG or PNG"),
        ("alone.mov", MOVIE, "video", "move them out of the data"),
        ("alone.mp4", MOVIE, "video", "move them out of the data"),
        ("lies.jpg", b"8BPS" + bytes(99), "Photoshop", "save them as JPEG or PNG"),
        ("lies.png", MOVIE, "video", "move them out of the data"),
        ("lies.tif", RAW, "camera raw", "develop"),
        ("no_ending", b"8BPS" + bytes(99), "Photoshop", "save them as JPEG or PNG"),
        ("volume.nii.gz", b"\x1f\x8b" + bytes(99), "NIfTI", "save them as JPEG or PNG"),
        ("x.pam", b"P7\nWIDTH 2\n", "Netpbm of another kind", "save them as JPEG or PNG"),
        ("x.jxr", b"II\xbc\1" + bytes(99), "JPEG XR", "save them as JPEG or PNG"),
        ("lies.bmp", b"SIMPLE  =                    T", "FITS", "save them as JPEG or PNG"),
    ],
)
@pytest.mark.parametrize("place", ["folder", "tar", "zip"])
def test_an_image_that_would_be_lost_stops_the_run(tmp_path, name, content, kind, fix, place):
    data = tmp_path / "data"
    for label in ("a", "b"):
        (data / label).mkdir(parents=True)
        for number in range(3):
            photo(number + 10 * ord(label)).save(data / label / f"{number}.jpg")
    (data / "a" / name).write_bytes(content)
    source = data
    if place == "tar":
        source = tmp_path / "it.tar"
        with tarfile.open(source, "w") as tar:
            tar.add(data, "data")
    elif place == "zip":
        source = tmp_path / "it.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in data.rglob("*.*"):
                archive.write(path, path.relative_to(data))
            if name == "no_ending":
                archive.write(data / "a" / name, f"a/{name}")
    with pytest.raises(
        DataError, match=rf"1 (image|file) of a format that cannot be read here \(1 {kind}\): .*{name}"
    ) as caught:
        load_data(source)
    assert fix in caught.value.fix
    skipped = load_data(source, on_bad="skip")
    assert [kind in why for _, why in skipped.skipped] == [True]


def six_photos_and(root, name):
    """Two classes of three photos, and one more file with this name among them."""
    for label in ("a", "b"):
        (root / label).mkdir()
        for number in range(3):
            photo(number + 10 * ord(label)).save(root / label / f"{number}.jpg")
    (root / "a" / name).write_bytes(RAW if name.lower().endswith(("cr2", "dng")) else MOVIE)
    return root


@pytest.mark.parametrize("name", ["0.MOV", "0.mp4", "0.jpg.mov", "0.CR2", "0.dng", "0.xmp", "0.jpg.xmp", "0.AAE"])
def test_what_accompanies_a_photo_is_a_note_and_no_problem(tmp_path, name):
    data = load_data(six_photos_and(tmp_path, name))
    assert total(data) == 6
    (note,) = (note for note in data.notes if "left alone" in note)
    assert note.startswith("note: 1 file accompanies an image and is left alone: ")
    report = check(tmp_path)
    assert report.problems == []  # nobody has to move the videos of a telephone out of the way
    assert note in report.notes
    assert report.summary == "nothing wrong was found"


@pytest.mark.parametrize("name", ["notes.txt", "labels.json", "info.pdf", "9.xmp", "9.AAE"])
def test_what_accompanies_no_photo_is_a_note_and_a_problem_of_the_check(tmp_path, name):
    data = load_data(six_photos_and(tmp_path, name))
    assert total(data) == 6
    assert any("1 file is not an image of a class and is left alone" in note for note in data.notes)
    (problem,) = check(tmp_path).problems
    assert (problem.kind, problem.detail) == ("ignored", "not an image by its name; left alone")


def test_a_folder_without_endings_is_read_by_content(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(3):
            level = 500 * number + 90 * ord(label) // 97
            (tmp_path / label / f"IM{number:04d}").write_bytes(dicom(CT + np.uint16(level), center=1000, width=4000))
    data = load_data(tmp_path)
    assert total(data) == 6
    assert read(tmp_path).splits["train"].image(0, 1).size == (5, 1)


def test_packs_and_shards_of_every_format_hold_the_same_pixels(tmp_path):
    contents = {
        "0.tif": tiff(np.arange(0, 4096, 16, np.uint16).reshape(16, 16)),
        "1.avif": encoded(photo(1), "AVIF"),
        "2.jp2": encoded(photo(2), "JPEG2000"),
        "3.ppm": encoded(photo(3), "PPM"),
        "4.heic": (HEIC / "irot_6.heic").read_bytes(),
        "5.dcm": dicom(np.arange(0, 4096, 16, np.uint16).reshape(16, 16), center=2048, width=4096),
        "6.jpg": encoded(photo(6), "JPEG"),
    }
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
    for name, content in contents.items():
        (tmp_path / "data" / "ab"[int(name[0]) % 2] / name).write_bytes(content)
    data = read(tmp_path / "data")
    assert data.depth[0] == 4095
    write_pack(data, tmp_path / "pack")
    write_shards(data, tmp_path / "shards")
    shards = read(tmp_path / "shards").splits["train"].scaled(4095)
    split, packed = data.splits["train"].scaled(4095), read_pack(tmp_path / "pack").splits["train"]
    by_key = {int(key): row for row, key in enumerate(shards.contents())}
    for row in range(len(split)):
        expected = np.asarray(split.image(row, 3))
        np.testing.assert_array_equal(np.asarray(packed.image(row, 3)), expected)
        np.testing.assert_array_equal(np.asarray(shards.image(by_key[int(split.contents()[row])], 3)), expected)
    assert check(tmp_path / "data").formats == dict.fromkeys(
        ("TIFF", "AVIF", "JPEG 2000", "Netpbm", "HEIC", "DICOM", "JPEG"), 1
    )


def test_more_pixels_by_a_setting_which_the_card_keeps(tmp_path):
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(4):
            encodable = photo(number + 10 * ord(label)).resize((64, 48))
            encodable.save(tmp_path / "data" / label / f"{number}.png")
    words = ("train", "lenet5_modern", tmp_path / "data", "--steps", "1", "--image-size", "32")
    one_error(
        inside(*words, "--max-pixels", "3000", "-o", tmp_path / "a"),
        3,
        "above the limit of 3,000 pixels",
        "--max-pixels N",
    )
    assert inside(*words, "--max-pixels", "4000", "-o", tmp_path / "b").returncode == 0
    model = library.load(tmp_path / "b")
    assert model.preprocessing.max_pixels == 4000
    photo(0).resize((80, 60)).save(tmp_path / "large.png")
    one_error(
        inside("predict", tmp_path / "b", tmp_path / "large.png"),
        3,
        "above the limit of 4,000 pixels",
        "--max-pixels N",
    )
    assert inside("predict", tmp_path / "b", tmp_path / "large.png", "--max-pixels", "5000").returncode == 0
    assert inside("check", tmp_path / "data", "--max-pixels", "3000").returncode == 3
