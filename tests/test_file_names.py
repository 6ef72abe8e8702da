"""Flat folders with the class in the file name: read by --class-from, and the pattern that works is proposed."""

import json
import shlex

import pytest

from command import inside, one_error
from podium.data.sources import load_data, read
from podium.errors import DataError, UsageError
from test_layouts import split_classes
from test_tables import pictures

FLAT = {
    "cat.{n}.jpg": "cats and dogs of Kaggle",
    "{n}_cat.png": "number first",
    "cat ({n}).jpg": "numbered by Windows",
    "cat-{n:04d}.webp": "dash",
    "american_cat_{n}.jpg": "several words",
    "cat_{n:04x}a1.jpg": "a code",
    "n0212331{n}_1{n}.JPEG": "WordNet ids",
    "img_{n}_label_cat.png": "label",
    "4f{n}a-cat.png": "a code first",
    "{n}_cat_0{n}.png": "between numbers",
    "猫_{n}.png": "Chinese",
}


@pytest.mark.parametrize("form", FLAT, ids=FLAT.values())
@pytest.mark.parametrize("folder", ["", "images/"])
def test_the_fix_of_a_flat_folder_is_a_command_that_works(tmp_path, form, folder):
    others = {"猫_{n}.png": "狗_{n}.png"}
    forms = [form, others.get(form, form.replace("cat", "dog"))]
    expected = ["cat", "dog"]
    if form.startswith("n0"):
        forms = ["n02123310_1{n}.JPEG", "n02123319_1{n}.JPEG"]
        expected = ["n02123310", "n02123319"]
    elif "american" in form or form in others:
        expected = ["american_cat", "american_dog"] if "american" in form else ["狗", "猫"]
    root = pictures(tmp_path / "flat", *(folder + each.format(n=n) for each in forms for n in range(1, 5)))
    done = inside("compare", root, "-m", "lenet5", "--epochs", "1")
    one_error(done, 3, "no class folders", "--class-from")
    fix = next(line for line in done.stderr.splitlines() if line.startswith("fix: ")).removeprefix("fix: ")
    words = shlex.split(fix)
    assert words[:2] == ["podium", "compare"]
    assert words[3:7] == ["-m", "lenet5", "--epochs", "1"]
    checked = inside("check", words[2], *words[7:], "--json")
    report = json.loads(checked.stdout)
    assert report["classes"] == {name: {"train": 4} for name in expected}
    assert {problem["kind"] for problem in report["problems"]} <= {"extension-lies"}  # all are PNG


def test_kaggle_s_cats_and_dogs_with_its_test_images(tmp_path):
    names = [f"train/{label}.{n}.jpg" for label in ("cat", "dog") for n in range(4)]
    root = pictures(tmp_path / "kaggle", *names, *(f"test1/{n}.jpg" for n in range(1, 9)))
    done = inside("check", root)
    one_error(done, 3, f"podium check {root / 'train'} --class-from")


@pytest.mark.parametrize(
    "names", [[f"IMG_{n}.jpg" for n in range(9)], [f"{n}.jpg" for n in range(9)], ["one.jpg", "two.jpg"]]
)
def test_names_that_say_nothing_propose_nothing(tmp_path, names):
    root = pictures(tmp_path / "flat", *names)
    with pytest.raises(DataError, match="none in a class folder") as refused:
        read(root)
    assert "class_from" not in refused.value.fix


def test_the_class_is_a_group_of_that_name_or_the_first(tmp_path):
    root = pictures(
        tmp_path / "flat",
        *(f"{day}/{label}-{n}.png" for day in ("mon", "tue") for label in ("a", "b") for n in range(3)),
    )
    for pattern in (r"(\w)-\d", r"(?P<day>\w+)/(?P<class>\w)-"):
        assert split_classes(load_data(root, class_from=pattern, val=0.5))["train"].keys() == {"a", "b"}
    assert load_data(root, class_from=r"^(\w+)/").classes == ("mon", "tue")


@pytest.mark.parametrize("folders", [("2021", "2022"), ("fold1", "fold2"), ("part_a", "part_b")])
def test_folders_that_hold_the_same_classes_are_no_flat_folder(tmp_path, folders):
    """The pattern would take the images of all of them together."""
    names = [f"{top}/{label}/{label}_{n}.png" for top in folders for label in ("rye", "wheat") for n in range(3)]
    with pytest.raises(DataError, match="hold the same sub-folders") as refused:
        read(pictures(tmp_path / "data", *names))
    assert "class_from" not in refused.value.fix


@pytest.mark.parametrize("odd", ["more/cat.7.png", "cat.7.png"])
def test_no_image_beside_splits_is_taken_together_with_all_of_them(tmp_path, odd):
    names = [f"{top}/{label}.{n}.png" for top in ("train", "test") for label in ("cat", "dog") for n in range(3)]
    root = pictures(tmp_path / "data", *names, odd)
    with pytest.raises(DataError, match=rf"{odd} lies in none of the splits test, train"):
        load_data(root, class_from=r"(\w+)[.]\d")
    (root / odd).unlink()
    assert split_classes(load_data(root, class_from=r"(\w+)[.]\d")).keys() == {"train", "test"}


def test_a_pattern_that_makes_each_image_a_class_is_said(tmp_path):
    root = pictures(tmp_path / "flat", *(f"cat_{n}.png" for n in range(4)))
    with pytest.raises(DataError, match="too few images to hold any out: each of the 4 classes has one image only"):
        load_data(root, class_from=r"(\w+)[.]")


def test_split_folders_of_flat_images_are_splits(tmp_path):
    names = [f"{split}/{label}.{n}.png" for split in ("train", "test") for label in ("cat", "dog") for n in range(3)]
    data = load_data(pictures(tmp_path / "flat", *names), class_from=r"([a-z]+)\.\d")
    assert split_classes(data) == {"train": {"cat": 3, "dog": 3}, "test": {"cat": 3, "dog": 3}}


def test_images_that_do_not_match_stop(tmp_path):
    root = pictures(
        tmp_path / "flat", *(f"{label}.{n}.png" for label in ("cat", "dog") for n in range(3)), "readme.png"
    )
    with pytest.raises(DataError, match=r"finds no class in 1 of 7 images \(readme.png\)"):
        load_data(root, class_from=r"(\w+)\.\d")


@pytest.mark.parametrize(
    ("pattern", "says"), [("(", "not a regular expression"), ("[a-z]+", "no group"), (r"(\w+", "not a regular")]
)
def test_a_pattern_that_cannot_be_meant_is_refused(tmp_path, pattern, says):
    root = pictures(tmp_path / "flat", "cat.1.png", "dog.1.png")
    with pytest.raises(UsageError, match=says):
        load_data(root, class_from=pattern)
    one_error(inside("check", root, "--class-from", pattern), 2, says)


def test_class_from_makes_no_sense_for_a_table_or_arrays(tmp_path):
    (tmp_path / "a.csv").write_text("image,label\n1.png,a\n")
    for source in (tmp_path / "a.csv", "digits"):
        with pytest.raises(UsageError, match="class_from"):
            load_data(source, class_from="(.)")
