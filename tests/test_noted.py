"""What data sets have that is easily overlooked: hidden folders, a photo in two classes, numbers written in two ways."""

import json
import shutil

import pytest

from command import inside, one_error
from podium.data.sources import load_data, read
from test_layouts import as_folder, as_tar, as_zip, split_classes, tree
from test_tables import classes_of, pictures, table


def notes_with(data, text):
    return [note for note in data.notes if text in note]


@pytest.mark.parametrize("packed", [as_folder, as_tar, as_zip])
def test_images_in_a_hidden_folder_are_counted(tmp_path, packed):
    """.net may be the name of a class."""
    data = tree(tmp_path / "data", "java", "python", ".net", "java/.cache", "__MACOSX/java")
    found = read(packed(data))
    assert split_classes(found) == {"train": {"java": 3, "python": 3}}
    (note,) = notes_with(found, "hidden folders")
    assert "6 images" in note
    assert ".net" in note


@pytest.mark.parametrize("split", ["", "train/"])
def test_a_photo_in_two_classes_is_named(tmp_path, split):
    data = tree(tmp_path / "data", f"{split}cat", f"{split}dog", count=6)
    assert not notes_with(load_data(data), "several classes")
    first, second = data / f"{split}cat/0.png", data / f"{split}dog/9.png"
    shutil.copy(first, second)
    (note,) = notes_with(load_data(data), "several classes")
    assert note.startswith("note: 1 image is")
    assert str(first) in note
    assert str(second) in note


def test_groups_that_are_one_number_are_named(tmp_path):
    root = pictures(tmp_path / "data", *(f"{n}.png" for n in range(12)))
    rows = [(f"{n}.png", "ab"[n % 2], ("001", "1", "2", "3")[n % 4]) for n in range(12)]
    data = load_data(table(root / "labels.csv", rows, ("image", "label", "patient")), group_column="patient")
    assert notes_with(data, "the groups 001 and 1 are one number")
    assert not notes_with(data, "the groups 2 and")


def test_the_usage_of_fer2013_is_a_validation_and_a_test_split(tmp_path):
    root = pictures(tmp_path / "data", *(f"{n}.png" for n in range(12)))
    usage = ("Training", "PublicTest", "PrivateTest")
    rows = [(f"{n}.png", "ab"[n % 2], usage[n // 2 % 3]) for n in range(12)]
    data = read(table(root / "labels.csv", rows, ("image", "emotion label", "Usage")))
    assert split_classes(data) == {name: {"a": 2, "b": 2} for name in ("train", "val", "test")}


@pytest.mark.parametrize("count", [2, 3])
def test_columns_of_numbers_below_an_id_have_a_header(tmp_path, count):
    root = pictures(tmp_path / "data", *(f"{n}.png" for n in range(12)))
    rows = [(f"{n}", *(int(n % count == k) for k in range(count))) for n in range(12)]
    data = read(table(root / "labels.csv", rows, ("id", *range(count))))
    assert classes_of(data) == {f"{n}.png": str(n % count) for n in range(12)}


def test_a_class_that_is_called_like_a_column_is_no_header(tmp_path):
    root = pictures(tmp_path / "data", *(f"a{n}.png" for n in range(6)))
    path = table(root / "labels.csv", [(f"a{n}", ("photo", "sketch")[n % 2]) for n in range(6)], None)
    assert len(read(path).splits["train"]) == 6


@pytest.mark.parametrize("first", ["# made by a program\n", "# of 2024, by hand, anew\n# twice\n"])
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_comments_above_a_table_are_no_header(tmp_path, first, delimiter):
    names = [f"a{n}.png" for n in range(6)]
    path = pictures(tmp_path / "data", *names) / "labels.csv"
    rows = [f"{name}{delimiter}{'ab'[n % 2]}" for n, name in enumerate(names)]
    path.write_text(first + "\n".join([f"image{delimiter}label", *rows]))
    assert classes_of(read(path)) == {name: "ab"[n % 2] for n, name in enumerate(names)}
    path.write_text("\n".join([f"# image{delimiter}label", *rows]))
    assert len(read(path).splits["train"]) == 6


@pytest.mark.parametrize("form", [list, lambda cells: {str(n): cell for n, cell in enumerate(cells)}])
def test_json_by_column_is_what_pandas_writes(tmp_path, form):
    names = [f"a{n}.png" for n in range(6)]
    path = pictures(tmp_path / "data", *names) / "labels.json"
    path.write_text(json.dumps({"image": form(names), "label": form([*"ababab"])}))
    assert classes_of(read(path)) == dict(zip(names, "ababab", strict=True))


def test_the_list_of_a_check_is_no_table_of_labels(tmp_path):
    data = tree(tmp_path / "data", "cat", "dog")
    shutil.copy(data / "cat/0.png", data / "dog/9.png")
    inside("check", data, "--list", data / "check.csv")
    one_error(inside("check", data / "check.csv"), 3, "a list that `podium check` wrote", "give the data")
    assert split_classes(read(data)) == {"train": {"cat": 3, "dog": 4}}
