"""Data sets as people really lay them out: read with the right classes and splits, or refused with the reason and the mend."""

import contextlib
import io
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import inside, one_error
from podium.api.check import check
from podium.data.folders import images_below
from podium.data.names import look_alikes, split_named
from podium.data.sources import load_data, read
from podium.errors import DataError
from podium.natural import natural

COUNT = iter(range(10**6))


def picture(ending=".png"):
    """The bytes of an image like no other."""
    out, kind = io.BytesIO(), {".tif": "TIFF", ".jpg": "JPEG"}.get(ending, "PNG")
    Image.fromarray(np.random.default_rng(next(COUNT)).integers(0, 255, (6, 6, 3), np.uint8)).save(out, kind)
    return out.getvalue()


def tree(root, *folders, count=3, ending=".png"):
    """Each folder with some images in it; a folder with a slash at its end is left empty."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for n in range(0 if folder.endswith("/") else count):
            (root / folder / f"{n}{ending}").write_bytes(picture(ending))
    return root


def as_folder(root):
    return root


def as_tar(root):
    path = root.with_name(f"{root.name}.tar")
    with tarfile.open(path, "w") as tar:
        tar.add(root, root.name)
    return path


def as_zip(root):
    path = root.with_name(f"{root.name}.zip")
    with zipfile.ZipFile(path, "w") as file:
        for inner in [root, *sorted(root.rglob("*"))]:
            file.write(inner, inner.relative_to(root.parent))
    return path


def split_classes(data):
    """Split -> class -> how many images."""
    return {
        name: {
            c: int(n) for c, n in zip(data.classes, np.bincount(split.labels, minlength=len(data.classes)), strict=True)
        }
        for name, split in data.splits.items()
    }


CATS_DOGS = ("cat", "dog")
BOTH = {"train": {"cat": 3, "dog": 3}, "test": {"cat": 3, "dog": 3}}


def paths(*parts):
    """Every path of one folder of each part."""
    found = [""]
    for part in parts:
        found = [f"{a}/{b}".strip("/") for a in found for b in ([part] if isinstance(part, str) else part)]
    return found


@pytest.mark.parametrize("packed", [as_folder, as_tar, as_zip])
@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        pytest.param(paths(CATS_DOGS), {"train": {"cat": 3, "dog": 3}}, id="class folders"),
        pytest.param(paths("pets", CATS_DOGS), {"train": {"cat": 3, "dog": 3}}, id="wrapped"),
        pytest.param(paths("a", "b", "pets", CATS_DOGS), {"train": {"cat": 3, "dog": 3}}, id="wrapped three times"),
        pytest.param(["pets", *paths("pets", CATS_DOGS)], {"train": {"cat": 3, "dog": 3}}, id="wrapped with previews"),
        pytest.param(["train", "test", *paths(("train", "test"), CATS_DOGS)], BOTH, id="previews in splits"),
        pytest.param(
            ["pets/train/all", "pets/test/all", *paths("pets", ("train", "test"), "all", CATS_DOGS)],
            BOTH,
            id="previews in wrapped splits",
        ),
        pytest.param(
            [*paths("pets", CATS_DOGS), "empty/", "__MACOSX/"], {"train": {"cat": 3, "dog": 3}}, id="empty beside"
        ),
        pytest.param(paths("pets", ("train", "test"), CATS_DOGS), BOTH, id="wrapped splits"),
        pytest.param(paths(("training_set", "test_set"), CATS_DOGS), BOTH, id="training_set"),
        pytest.param(paths(("Train", "Test"), CATS_DOGS), BOTH, id="capitals"),
        pytest.param(paths(("train_data", "test_data"), CATS_DOGS), BOTH, id="train_data"),
        pytest.param(paths(("TrainImages", "TestImages"), CATS_DOGS), BOTH, id="camels"),
        pytest.param(paths(("train2017", "test2017"), CATS_DOGS), BOTH, id="years"),
        pytest.param(paths(("01_train", "02-testing"), CATS_DOGS), BOTH, id="numbered"),
        pytest.param(paths(("trainset", "testset"), CATS_DOGS), BOTH, id="one word"),
        pytest.param(paths(("pets_train", "pets_test"), CATS_DOGS), BOTH, id="the data's own name"),
        pytest.param(paths(("训练集", "测试集"), CATS_DOGS), BOTH, id="Chinese"),
        pytest.param(paths(("訓練集", "測試集"), CATS_DOGS), BOTH, id="traditional Chinese"),
        pytest.param(paths(("学習用データ", "テスト"), CATS_DOGS), BOTH, id="Japanese"),
        pytest.param(paths(("훈련", "테스트"), CATS_DOGS), BOTH, id="Korean"),
        pytest.param(paths(("Trainingsdaten", "Testdaten"), CATS_DOGS), BOTH, id="German"),
        pytest.param(paths(("entrai\u0302nement", "test"), CATS_DOGS), BOTH, id="French, as macOS writes it"),
        pytest.param(paths(("обучающая выборка", "тест"), CATS_DOGS), BOTH, id="Russian"),
        pytest.param(paths("images", ("train", "test"), CATS_DOGS), BOTH, id="images/train"),
        pytest.param(paths(("train", "test"), "images", CATS_DOGS), BOTH, id="train/images"),
        pytest.param(
            ["seg_train/seg_train/cat", "seg_train/seg_train/dog", "seg_test/seg_test/cat", "seg_test/seg_test/dog"],
            BOTH,
            id="twice",
        ),
        pytest.param(paths(CATS_DOGS, ("train", "test")), BOTH, id="splits inside classes"),
        pytest.param(
            ["pets/train/cat", "pets/train/dog", "pets/val/"], {"train": {"cat": 3, "dog": 3}}, id="empty split"
        ),
        pytest.param(["bus", "car", "train"], {"train": {"bus": 3, "car": 3, "train": 3}}, id="a class called train"),
        pytest.param(
            paths("vehicles", ("bus", "car", "train")), {"train": {"bus": 3, "car": 3, "train": 3}}, id="wrapped"
        ),
        pytest.param(["valid", "invalid"], {"train": {"invalid": 3, "valid": 3}}, id="a class called valid"),
        pytest.param(
            paths(("train", "test"), ("bus", "train")),
            {"train": {"bus": 3, "train": 3}, "test": {"bus": 3, "train": 3}},
            id="a class called train in splits",
        ),
        pytest.param(["test/cat", "test/dog"], {"test": {"cat": 3, "dog": 3}}, id="test alone"),
        pytest.param(["cat/a", "cat/b", "dog"], {"train": {"cat": 6, "dog": 3}}, id="sub-folders"),
    ],
)
def test_classes_and_splits(tmp_path, folders, expected, packed):
    source = packed(tree(tmp_path / "data", *folders))
    data = read(source)
    assert split_classes(data) == expected
    for split in data.splits.values():
        for file, label in zip(split.files, split.labels, strict=True):
            assert data.classes[label] in file.below.split("/")


def test_the_name_below_the_root_is_the_same_wherever_the_data_lies(tmp_path):
    folder = tree(tmp_path / "pets", *paths(("train", "test"), CATS_DOGS))
    wrapped = tmp_path / "around" / "pets"
    wrapped.parent.mkdir()
    os.symlink(folder, wrapped)
    sources = [folder, wrapped.parent, as_tar(folder), as_zip(folder)]
    names = [[file.below for split in read(source).splits.values() for file in split.files] for source in sources]
    assert names[0][0] == "train/cat/0.png"
    assert all(other == names[0] for other in names)


@pytest.mark.parametrize("packed", [as_folder, as_tar, as_zip])
@pytest.mark.parametrize(
    ("folders", "says"),
    [
        pytest.param(
            paths(("part1", "part2"), CATS_DOGS), "hold the same sub-folders (cat, dog)", id="no split's names"
        ),
        pytest.param(paths(("amazon", "webcam"), "images", CATS_DOGS), "hold the same sub-folders", id="deeper"),
        pytest.param(paths(("fold1", "fold2"), ("train", "test"), CATS_DOGS), "hold the same sub-folders", id="folds"),
        pytest.param(
            [*paths("gallery", ("1", "2", "3", "4", "5")), "query/1", "query/4"],
            "hold the same sub-folders",
            id="a subset",
        ),
        pytest.param(
            [*paths("cells", CATS_DOGS), *paths("cells/cells", CATS_DOGS)], "cells/cells holds cat, dog", id="once more"
        ),
        pytest.param([*CATS_DOGS, *paths("pets/all", CATS_DOGS)], "pets holds cat, dog", id="once more, deeper"),
        pytest.param([*CATS_DOGS, "old/cat"], "old holds cat, and so does", id="one class once more"),
        pytest.param(
            [*paths(("train", "test"), CATS_DOGS), *paths("test/all", CATS_DOGS)], "test/all holds", id="in a split"
        ),
        pytest.param(["train", "test"], "named like splits", id="flat splits"),
        pytest.param(["trainA", "testA", "trainB", "testB"], "named like splits", id="flat splits with letters"),
        pytest.param(
            ["train/cat", "train/dog", "unlabeled"], "could be the training images, or a class", id="unlabelled"
        ),
        pytest.param(["cat", "dog", "test/cat", "test/dog"], "so does the folder around it", id="training at the root"),
        pytest.param(["cat", "dog", "test"], "could be test images or a class", id="flat test beside classes"),
        pytest.param(
            paths(("train", "training_set", "test"), CATS_DOGS), "could both be the train images", id="two trains"
        ),
        pytest.param(["rose/train", "rose/test", "tulip"], "rose holds splits", id="splits in one class"),
        pytest.param(["Circle", "circle", "square"], "'Circle' and 'circle' differ", id="case"),
        pytest.param(["cat ", "cat", "dog"], "differ in case, spaces", id="spaces"),
        pytest.param(["cafe\u0301", "caf\u00e9", "dog"], "Unicode form", id="composed"),
        pytest.param(["train/Cat", "train/cat", "test/cat"], "'Cat' and 'cat' differ", id="in a split"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_and_checked(tmp_path, folders, says, packed):
    source = packed(tree(tmp_path / "data", *folders))
    with pytest.raises(DataError) as caught:
        load_data(source)
    assert says in caught.value.what
    assert caught.value.fix
    assert {p.kind for p in check(source).problems} & {"layout", "look-alike"}


def test_a_folder_with_only_test_images_is_read_and_not_trained_on(tmp_path):
    tree(tmp_path / "data", "test/cat", "test/dog")
    done = inside("train", "lenet5_modern", tmp_path / "data", "-o", tmp_path / "run")
    one_error(done, 3, "only test images", "none to train on")
    assert split_classes(load_data(tmp_path / "data" / "test", val=0.34))["train"] == {
        "cat": 2,
        "dog": 2,
    }  # the mend's other way
    assert set(read(tmp_path / "data").splits) == {"test"}


def test_classes_with_sub_folders_are_said(tmp_path):
    data = tree(tmp_path / "data", "animals/cats", "animals/dogs", "plants")
    line = f"class animals has sub-folders cats, dogs; give {data / 'animals'} for those classes"
    assert f"note: {line}" in load_data(data).notes
    done = inside("check", data)
    assert done.returncode == 3
    assert line in done.stdout
    assert load_data(data / "animals").classes == ("cats", "dogs")
    assert any("unpack it and give data/animals" in note for note in load_data(as_tar(data)).notes)


def test_a_class_with_too_few_images_is_named(tmp_path):
    data = tree(tmp_path / "data", "cat", "dog")
    tree(data, "fox", count=1)
    assert any("fox" in note and "1 training image" in note for note in load_data(data).notes)
    done = inside("check", data)
    assert done.returncode == 3
    assert "few-images: fox" in done.stdout


def test_files_of_the_system_are_no_problem_and_hidden_images_are(tmp_path):
    data = tree(tmp_path / "data", "cat", "dog", ".ipynb_checkpoints", "__MACOSX/cat")
    for name in (".DS_Store", "cat/Thumbs.db", "dog/._0.png", "cat/.DS_Store", "desktop.ini"):
        (data / name).write_bytes(b"x")
    assert inside("check", data).returncode == 0
    (data / "cat" / ".mine.png").write_bytes(picture())
    done = inside("check", data)
    assert done.returncode == 3
    assert "cat/.mine.png" in done.stdout


def test_images_of_formats_that_are_not_read_are_counted_by_format(tmp_path):
    data = tree(tmp_path / "data", "cat", "dog", ending=".psd")
    (data / "cat" / "x.jxl").write_bytes(b"x")
    done = inside("check", data)
    assert done.returncode == 3
    assert "6 Photoshop, which cannot be read here" in done.stdout
    assert "1 JPEG XL, which cannot be read here" in done.stdout
    words = ["train", "lenet5_modern", data, "-o", tmp_path / "run"]
    one_error(inside(*words), 3, "7 images of formats that cannot be read here (6 Photoshop, 1 JPEG XL)", "JPEG")
    tree(data, "cat", "dog", count=100)
    one_error(inside(*words), 3, "7 images of formats that cannot be read here")
    one_error(inside(*words, "--on-bad", "skip"), 3, "7 of 207 images cannot be read")
    for path in data.rglob("*.psd"):
        path.unlink()
    skipped = load_data(data, on_bad="skip")
    assert [name for name, _ in skipped.skipped] == ["cat/x.jxl"]
    assert any("x.jxl" in note for note in skipped.notes)
    assert tmp_path / "data" / "cat" / "x.jxl" in images_below(data)


# --- order and names


def test_the_order_of_files_is_one_for_all_file_systems(tmp_path, monkeypatch):
    names = [
        "1.jpg",
        "01.jpg",
        "001.jpg",
        "10\u00b25.jpg",
        "\u0663.jpg",
        "2.jpg",
        "10.jpg",
        "a" * 20 + "9" * 200 + ".jpg",
    ]
    for folder, order in (("a", names), ("b", names[::-1])):
        tree(tmp_path / folder, "cat/", "dog/")
        for name in order:
            (tmp_path / folder / "cat" / name).write_bytes(picture(".jpg"))
        (tmp_path / folder / "dog" / "0.jpg").write_bytes(picture(".jpg"))
    found = [[f.below for f in read(tmp_path / folder).splits["train"].files] for folder in "ab"]
    assert found[0] == found[1]
    assert len(found[0]) == 9
    honest = os.scandir

    class Backwards:
        def __init__(self, path):
            self.entries = sorted(honest(path), key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(os, "scandir", Backwards)
    assert [f.below for f in read(tmp_path / "a").splits["train"].files] == found[0]


def test_natural_order_is_total():
    names = ["10", "9", "1", "01", "001", "1a", "a1", "a01", "a", "", "\u00b2", "9" * 5000]
    backwards = names[::-1]
    assert sorted(names, key=natural) == sorted(backwards, key=natural)
    assert sorted(["b10", "b9", "b1"], key=natural) == ["b1", "b9", "b10"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train", ("train", True)),
        ("Validation_Set", ("val", True)),
        ("images-test", ("test", True)),
        ("flowers_train", ("train", False)),
        ("train_val", ("train", True)),
        ("train_test_split", ("", False)),
        ("trainer", ("", False)),
        ("contest", ("", False)),
        ("invalid", ("", False)),
        ("strain", ("", False)),
    ],
)
def test_names_of_splits(name, expected):
    assert split_named(name) == expected


def test_names_that_people_cannot_tell_apart():
    assert look_alikes(["a", "A", "b"]) == [("a", "A")]
    for one, other in [
        ("cat", "cat\u200b"),
        ("a b", "a\u00a0b"),
        ("a b", "ab"),
        ("\uff43at", "cat"),
        ("stra\u00dfe", "STRASSE"),
    ]:
        assert look_alikes([one, other]) == [(one, other)]
    assert look_alikes(["10\u00b2", "102", "cat_1", "cat1", "\u00e9", "e"]) == []


def test_equal_numbers_that_are_written_differently_are_named(tmp_path):
    source = tree(tmp_path / "data", "1", "01", "10", "2.0", "2")
    for notes in (load_data(source).notes, check(source).notes):
        said = "\n".join(notes)
        assert "the classes 01 and 1 are one number" in said or "the classes 1 and 01 are one number" in said
        assert "the classes 2 and 2.0 are one number" in said
        assert said.count("are one number") == 2
    assert len(load_data(source).classes) == 5


@pytest.mark.parametrize(
    "name", ["Screenshot 1\u202fAM.png", "n\u00fcl.jpg", "tab\there.png", "x.y.PNG", 'it\'s "q".jfif']
)
def test_an_ending_lies_only_when_it_does(tmp_path, name):
    data = tree(tmp_path / "data", "cat", "dog")
    jpeg = name.lower().endswith(("jpg", "jfif"))
    (data / "cat" / name).write_bytes(picture(".jpg" if jpeg else ".png"))
    assert check(data).problems == []
    (data / "cat" / name).write_bytes(picture(".png" if jpeg else ".jpg"))
    assert [p.kind for p in check(data).problems] == ["extension-lies"]


# --- links, copies, what may not be read


def test_a_linked_split_is_a_split_and_its_images_a_leak(tmp_path):
    data = tree(tmp_path / "data", *paths(("train", "test"), CATS_DOGS))
    os.symlink("test", data / "val")
    assert set(read(data).splits) == {"train", "val", "test"}
    leaks = [p for p in check(data).problems if p.kind == "leak"]
    assert len(leaks) == 6
    assert {p.kind for p in check(as_tar(data)).problems} == {"leak"}  # the link is in the tar as a link


def test_a_folder_is_never_read_inside_itself(tmp_path):
    data = tree(tmp_path / "data", "cat", "dog")
    for link, target in (("cat/up", data), ("cat/self", data / "cat"), ("dog/a", "b"), ("dog/b", "a")):
        os.symlink(target, data / link)
    os.mkfifo(data / "dog" / "pipe.png")
    assert split_classes(read(data)) == {"train": {"cat": 3, "dog": 3}}
    assert any("pipe.png" in p.path for p in check(data).problems)


def test_copies_are_called_what_they_are(tmp_path):
    data = tree(tmp_path / "data", "cat", "dog")
    for n in range(2):
        (data / "cat" / f"copy{n}.png").write_bytes((data / "cat" / "0.png").read_bytes())
    (data / "dog" / "other.png").write_bytes((data / "cat" / "1.png").read_bytes())
    report = check(data)
    assert [p.kind for p in report.problems] == ["conflicting-label", "duplicate", "duplicate"]
    assert report.repeated == (2, 3)
    assert "2 images are there more than once, 3 copies" in inside("check", data).stdout


@pytest.fixture
def open_folder():
    """A folder that every user can reach, and may write into."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


@contextlib.contextmanager
def nobody():
    """Not root, who may read everything."""
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("what", ["cat", "cat/inner", ".", "train/dog", "data.tar", "data.zip"])
@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_what_may_not_be_read_is_named_and_the_rest_not_trained_on(open_folder, what, mode):
    if what.startswith("train"):
        data = tree(open_folder / "data", *paths(("train", "test"), CATS_DOGS))
    else:
        data = tree(open_folder / "data", "cat", "cat/inner", "dog")
    if what.startswith("data."):
        if mode:
            pytest.skip("a file that may be read")
        data = (as_tar if what.endswith("tar") else as_zip)(data)
        victim = data
    else:
        victim = data / what
    for verb in (["train", "lenet5_modern"], ["check"]):
        inside(*verb, tree(open_folder / "nothing", "a/"))  # imports, which another user may not be able to
    victim.chmod(mode)
    try:
        with nobody():
            trained = inside("train", "lenet5_modern", data, "-o", open_folder / "run")
            checked = inside("check", data)
    finally:
        victim.chmod(0o755)
    one_error(trained, 3, "cannot be read (Permission denied)", what if what != "." else "data")
    assert checked.returncode == 3
    assert "Permission denied" in checked.stdout + checked.stderr
    assert not list(open_folder.rglob("*.safetensors"))
