"""`podium check`: every fault of a data set is built for real, found, and named by its kind, file and reason."""

import json
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from command import inside
from podium.api.check import check
from podium.errors import DataError, UsageError

COUNTS = {"train": {"ant": 4, "bee": 4}, "val": {"ant": 2, "bee": 2}}


@pytest.fixture
def folder(tmp_path):
    """Twelve photos, each different, in two splits of two classes: nothing is wrong with it."""
    draw = np.random.Generator(np.random.PCG64(0))
    for split, classes in COUNTS.items():
        for name, count in classes.items():
            (tmp_path / split / name).mkdir(parents=True)
            for n in range(count):
                pixels = draw.integers(0, 256, (30, 30, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{n}.jpg")
    return tmp_path


def found(folder):
    """(kind, path below the folder) of each problem."""
    return [(p.kind, p.path.removeprefix(f"{folder}/")) for p in check(folder).problems]


def test_nothing_is_wrong(folder):
    report = check(folder)
    assert report.problems == []
    assert report.images == 12
    assert report.classes == {name: {split: COUNTS[split][name] for split in COUNTS} for name in ("ant", "bee")}


def cut(path):
    path.write_bytes(path.read_bytes()[:-300])
    Image.open(path).verify()  # which is why every image is decoded


def bomb(path):
    """A PNG that says 9,000 x 10,000."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 9_000, 10_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))))


@pytest.mark.parametrize(
    ("kind", "damage", "says"),
    [
        ("zero-byte", lambda path: path.write_bytes(b""), "empty"),
        ("truncated", cut, "truncated"),
        ("unreadable", lambda path: path.write_bytes(b"<html>404</html>"), "not an image"),
        ("unread-format", lambda path: path.write_bytes(b"8BPS" + bytes(99)), "1 Photoshop, which cannot be read here"),
        ("extension-lies", lambda path: Image.new("RGB", (5, 5)).save(path, "TIFF"), "TIFF"),
        ("too-large", bomb, "50 million"),
        ("extension-lies", lambda path: Image.new("RGB", (5, 5)).save(path, "PNG"), "PNG"),
    ],
)
def test_a_bad_file(folder, kind, damage, says):
    damage(folder / "train/bee/2.jpg")
    (problem,) = check(folder).problems
    assert (problem.kind, problem.path) == (
        kind,
        str(folder / "train/bee/2.jpg" if kind != "unread-format" else folder),
    )
    assert says in problem.detail


def test_every_bad_file_is_listed(folder):
    for n in range(4):
        (folder / f"train/ant/{n}.jpg").write_bytes(b"")
    cut(folder / "val/bee/1.jpg")
    assert sorted(found(folder)) == [
        ("truncated", "val/bee/1.jpg"),
        *(("zero-byte", f"train/ant/{n}.jpg") for n in range(4)),
    ]


@pytest.mark.parametrize(
    ("original", "copy", "kinds"),
    [
        ("train/ant/0.jpg", "train/ant/copy.jpg", ["duplicate"]),
        ("train/ant/0.jpg", "val/ant/copy.jpg", ["leak"]),
        ("train/ant/0.jpg", "train/bee/copy.jpg", ["conflicting-label"]),
        ("train/ant/0.jpg", "val/bee/copy.jpg", ["conflicting-label", "leak"]),
    ],
)
def test_the_same_image_twice(folder, original, copy, kinds):
    shutil.copy(folder / original, folder / copy)
    problems = check(folder).problems
    assert [p.kind for p in problems] == kinds
    for p in problems:
        assert {p.path, p.detail.split("same content as ")[1].split(": ")[0].split(", which")[0]} == {
            str(folder / original),
            str(folder / copy),
        }


def test_empty_files_are_not_duplicates_of_one_another(folder):
    for n in range(2):
        (folder / f"train/ant/{n}.jpg").write_bytes(b"")
    assert {kind for kind, _ in found(folder)} == {"zero-byte"}


def test_a_class_without_images(folder):
    (folder / "train/cat").mkdir()
    (folder / "val/cat").mkdir()
    assert found(folder) == [("empty-class", "cat")]


def test_a_class_missing_from_a_split(folder):
    shutil.rmtree(folder / "val/bee")
    (problem,) = check(folder).problems
    assert (problem.kind, problem.path, problem.detail) == ("missing-class", "bee", "no images in val")


def test_a_class_that_train_does_not_have(folder):
    (folder / "val/bee").rename(folder / "val/Bee")
    kinds = {(p.kind, p.path): p.detail for p in check(folder).problems}
    assert set(kinds) == {("missing-class", "bee"), ("extra-class", "Bee")}
    assert "looks like 'bee'" in kinds["extra-class", "Bee"]


@pytest.mark.parametrize(("more", "told"), [(36, False), (37, True)])
def test_imbalance_is_told_above_ten_to_one(folder, more, told):
    for n in range(more):  # beside the four that are there; bee has four
        Image.new("RGB", (8, 8), (n, 0, 0)).save(folder / f"train/ant/more{n}.png")
    problems = check(folder).problems
    assert [p.kind for p in problems] == ["imbalance"] * told
    assert all(p.path == "bee" and "4 training images, ant has 41" in p.detail for p in problems)


def test_one_class_only(tmp_path):
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "cat/0.png")
    assert [(p.kind, p.path) for p in check(tmp_path).problems] == [("empty-class", "cat")]


def test_a_class_that_cannot_be_read_does_not_leave_an_only_one(tmp_path, monkeypatch):
    """What hides the other class is named, and is all that is to be mended."""
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 40), "red").save(tmp_path / name / "1.png")
    scandir = os.scandir

    def denied(path):
        if str(path).endswith("bee"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", denied)
        found = check(tmp_path)
    assert [problem.kind for problem in found.problems if problem.path.endswith("bee")] == ["denied"]
    assert "the only class" not in str(found.problems)
    (tmp_path / "bee/1.png").write_bytes(b"8BPS" + bytes(99))
    (tmp_path / "bee/1.png").rename(tmp_path / "bee/1.psd")
    found = check(tmp_path)
    assert "unread-format" in {problem.kind for problem in found.problems}
    assert "the only class" not in str(found.problems)


def test_files_that_are_left_alone(folder):
    (folder / "train/ant/notes.txt").write_text("x")
    (folder / "train/ant/.DS_Store").write_text("x")
    (folder / "train/bee/gone.jpg").symlink_to(folder / "nowhere.jpg")
    Image.new("RGB", (8, 8)).save(folder / "train/stray.png")
    problems = {path: kind for kind, path in found(folder)}
    assert problems == {
        "train/ant/notes.txt": "ignored",
        "train/bee/gone.jpg": "ignored",
        "train/stray.png": "root-image",
    }


def test_nothing_to_check(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        check(tmp_path)


def test_arrays_are_checked_too(tmp_path):
    def write(name, array):
        head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (tmp_path / name).write_bytes(head + array.tobytes())

    images = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (24, 28, 28), np.uint8)
    train, test = images[:20].copy(), images[20:].copy()
    train[7] = train[3]  # one label: a duplicate
    train[9] = train[4]  # two labels
    test[2] = train[0]  # a leak
    labels = np.array([0, 1, 2, 3, 4, 5, 6, 3, 8, 9] * 2, np.uint8)
    write("train-images-idx3-ubyte", train)
    write("train-labels-idx1-ubyte", labels)
    write("t10k-images-idx3-ubyte", test)
    write("t10k-labels-idx1-ubyte", np.array([1, 2, 0, 3], np.uint8))
    report = check(tmp_path)
    assert report.images == 24
    assert [(p.kind, p.path) for p in report.problems if p.kind != "missing-class"] == [
        ("conflicting-label", "train image 9"),
        ("leak", "test image 2"),
        ("empty-class", "7"),
        ("duplicate", "train image 7"),
    ]
    assert "train image 0" in next(p.detail for p in report.problems if p.kind == "leak")


def test_progress_comes_to_the_end(folder):
    seen = []
    check(folder, lambda *now: seen.append(now))
    assert seen == [(n, 12) for n in range(1, 13)]


def test_the_command(folder):
    cut(folder / "train/bee/2.jpg")
    shown = inside("check", folder)
    assert shown.returncode == 3
    assert "truncated" in shown.stdout
    assert "2.jpg" in shown.stdout
    said = inside("check", folder, "--json")
    report = json.loads(said.stdout)
    assert said.returncode == 3
    assert report["images"] == 12
    assert [(p["kind"], p["path"]) for p in report["problems"]] == [("truncated", str(folder / "train/bee/2.jpg"))]
    assert said.stderr == ""
    (folder / "train/bee/2.jpg").unlink()
    assert inside("check", folder).returncode == 0


def test_groups_in_two_splits_and_images_without_one_are_problems(folder):
    for place in ("train/ant/p1_a.jpg", "train/bee/p1_b.jpg", "val/ant/p1_c.jpg"):
        Image.fromarray(np.random.default_rng(len(place)).integers(0, 255, (40, 40, 3), np.uint8)).save(folder / place)
    report = check(folder, group_from=r"/(p\d+)_")
    kinds = [(p.kind, p.path.removeprefix(f"{folder}/"), p.detail) for p in report.problems]
    assert ("group-leak", "p1", "a group that lies in several splits (train 2, val 1)") in kinds
    assert sum(kind == "no-group" for kind, _, _ in kinds) == 12
    done = inside("check", folder, "--group-from", r"/(p\d+)_")
    assert done.returncode == 3
    assert "group-leak: p1" in done.stdout


def test_sub_folders_of_patients_are_groups_and_no_layout_problem(tmp_path):
    draw = np.random.default_rng(0)
    for label, patients in (("benign", ("p1", "p2")), ("malignant", ("p1", "p2", "p3"))):
        for patient in patients:
            for n in range(2):
                place = tmp_path / label / patient / f"{n}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draw.integers(0, 255, (40, 40, 3), np.uint8)).save(place)
    assert any(p.kind == "layout" for p in check(tmp_path).problems)
    report = check(tmp_path, group_from="([^/]+)/[^/]+$")
    assert report.faults == []
    assert "note: 10 images in 3 groups of 2 to 4" in report.notes


def test_a_column_of_groups_is_checked(tmp_path):
    draw = np.random.default_rng(0)
    rows = ["file,label,patient"]
    for n in range(6):
        Image.fromarray(draw.integers(0, 255, (40, 40, 3), np.uint8)).save(tmp_path / f"{n}.png")
        rows.append(f"{n}.png,{'ant' if n % 2 else 'bee'},{'p1' if n % 2 else f'p{n}'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    problems = check(tmp_path / "labels.csv", group_column="patient").faults
    assert [(p.kind, p.path) for p in problems] == [("few-groups", "ant")]
    with pytest.raises(UsageError, match="there is no column 'patients'") as refused:
        check(tmp_path / "labels.csv", group_column="patients")
    assert "did you mean patient?" in refused.value.fix


def test_a_limit_that_does_nothing_with_pixels_is_named():
    assert any("max_pixels: 9 does nothing here" in note for note in check("digits", max_pixels=9).notes)
