"""Splits in a file beside class folders: test images of a published split are never trained on without a word."""

import pytest

from podium.data.sources import read
from podium.errors import DataError
from test_layouts import as_tar, split_classes, tree
from test_tables import table

NAMES = [f"{label}/{n}.png" for label in ("cat", "dog") for n in range(4)]
HALF = {"train": {"cat": 2, "dog": 2}, "test": {"cat": 2, "dog": 2}}
FORMS = {  # how people's lists name an image
    "paths": lambda name: name,
    "without ending": lambda name: name.removesuffix(".png"),
    "with a number": lambda name: f"{name} {int('dog' in name)}",
    "from the folder above": lambda name: f"images/{name}",
    "from Windows": lambda name: f"data\\{name}".replace("/", "\\"),
}


@pytest.fixture
def photos(tmp_path):
    return tree(tmp_path / "data", "cat", "dog", count=4)


def split_of(number):
    return "test" if number % 2 else "train"


def test_a_table_with_splits_is_to_be_given_and_then_read(photos):
    rows = [(name, name.split("/")[0], split_of(n)) for n, name in enumerate(NAMES)]
    path = table(photos / "labels.csv", rows, ("file", "label", "split"))
    with pytest.raises(DataError, match=r"labels\.csv has splits \(test, train\)") as refused:
        read(photos)
    assert f"give {path}" in refused.value.fix
    assert split_classes(read(path)) == HALF


def test_a_table_without_splits_is_noted(photos):
    table(photos / "labels.csv", [(name, name.split("/")[0], "x") for name in NAMES], ("file", "label", "camera"))
    data = read(photos)
    assert split_classes(data) == {"train": {"cat": 4, "dog": 4}}
    assert any("labels.csv has the labels of the folders and is not read" in note for note in data.notes)


@pytest.mark.parametrize("folder", ["", "meta/"])
@pytest.mark.parametrize("form", FORMS)
def test_lists_of_the_splits_are_named(photos, form, folder):
    (photos / folder).mkdir(exist_ok=True)
    for split in ("train", "test"):
        lines = [FORMS[form](name) for n, name in enumerate(NAMES) if split_of(n) == split]
        (photos / folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=f"no splits, but {folder}t.*txt seem to have them") as refused:
        read(photos)
    assert "move" in refused.value.fix
    for split in ("train", "test"):
        (photos / folder / f"{split}.txt").unlink()
    if folder:
        (photos / folder).rmdir()
    assert split_classes(read(photos)) == {"train": {"cat": 4, "dog": 4}}


def test_numbers_of_images_and_splits_are_named(photos):
    (photos / "train_test_split.txt").write_text("".join(f"{n + 1} {n % 2}\n" for n in range(8)))
    with pytest.raises(DataError, match=r"train_test_split\.txt seems to have them"):
        read(photos)


def test_lists_in_an_archive_are_known_by_their_names(photos):
    for split in ("train", "test"):
        (photos / f"{split}.txt").write_text("cat/0\n")
    with pytest.raises(DataError, match=r"train\.txt seem to have them") as refused:
        read(as_tar(photos))
    assert refused.value.fix.startswith("unpack it")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.txt", "".join(f"{name}\n" for name in NAMES)),  # all images
        ("training_log.txt", "1 0.69\n2 0.61\n3 0.55\n"),
        ("test.txt", "The test images are not public.\n"),
        ("classes.txt", "cat\ndog\n"),
    ],
)
def test_other_texts_beside_class_folders_say_nothing(photos, name, text):
    (photos / name).write_text(text)
    assert split_classes(read(photos)) == {"train": {"cat": 4, "dog": 4}}
