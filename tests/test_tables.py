"""Tables of images and labels as people have them: every row is read with the right class, or counted and named."""

import csv
import json
import shutil
from unicodedata import normalize

import numpy as np
import pytest

import podium
from command import Running, inside, one_error
from podium.api.check import check
from podium.api.run_images import bundle_of, images_for
from podium.data.dataset import Dataset, Split
from podium.data.images import ArrayImages
from podium.data.sources import load_data, read
from podium.errors import DataError, ImageError, MachineError, UsageError
from test_layouts import picture, split_classes

LABELS = {"a.png": "cat", "b.png": "dog", "c.png": "cat", "d.png": "dog", "e.png": "cat", "f.png": "dog"}
CATS_DOGS = {"train": {"cat": 3, "dog": 3}}


def pictures(root, *names):
    """An image file for each name, below the folder."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture())
    return root


def classes_of(data):
    """File name -> class, over all splits."""
    return {
        file.path.name: data.classes[label]
        for split in data.splits.values()
        for file, label in zip(split.files, split.labels, strict=True)
    }


def table(path, rows, header=("image", "label"), delimiter=",", encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows([*([header] if header else []), *rows])
    return path


@pytest.fixture
def photos(tmp_path):
    return pictures(tmp_path / "photos", *LABELS)


# --- forms of text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_delimiters_and_byte_order_marks(photos, delimiter, encoding):
    path = table(photos / "labels.csv", LABELS.items(), delimiter=delimiter, encoding=encoding)
    data = read(path)
    assert classes_of(data) == LABELS
    assert split_classes(data) == CATS_DOGS


def test_what_spreadsheets_and_pandas_write_is_read_as_it_is_meant(tmp_path):
    root = pictures(tmp_path / "set", *(f"{n}.png" for n in range(6)))
    rows = [f'{n}.0, "{"cat" if n % 2 else "dog"}", "two\nlines"' for n in range(6)]
    (root / "labels.csv").write_text("\n".join(["sep=,", "id, label, text", *rows]))
    data = read(root / "labels.csv")
    assert classes_of(data) == {f"{n}.png": "cat" if n % 2 else "dog" for n in range(6)}
    rows[3] = '9.0, "cat", ""'
    (root / "labels.csv").write_text("\n".join(["sep=,", "id, label, text", *rows]))
    with pytest.raises(ImageError, match=r"labels\.csv, line 9: no image '9'"):  # the rows above have two lines each
        read(root / "labels.csv")


@pytest.mark.parametrize("written", ["nan", "NaN", "NULL", "<NA>", "#N/A"])
def test_a_missing_label_is_no_class_however_it_is_written(photos, written):
    rows = [(name, written if name == "c.png" else label) for name, label in LABELS.items()]
    with pytest.raises(ImageError, match=r"line 4: no label for 'c\.png'"):
        read(table(photos / "labels.csv", rows))
    numbers = [(name, written if name == "c.png" else float(label == "dog")) for name, label in LABELS.items()]
    with pytest.raises(ImageError, match=r"line 4: no label for 'c\.png'"):
        read(table(photos / "labels.csv", numbers))


def test_a_list_of_mxnet(photos):
    rows = [(n, f"{int(label == 'dog')}.000000", name) for n, (name, label) in enumerate(LABELS.items())]
    data = read(table(photos / "train.lst", rows, None, delimiter="\t"))
    assert classes_of(data) == {name: str(int(label == "dog")) for name, label in LABELS.items()}


def test_old_windows_text_is_decoded_and_said(photos):
    rows = [(name, {"cat": "Käfer", "dog": "Mücke"}[label]) for name, label in LABELS.items()]
    data = read(table(photos / "labels.csv", rows, encoding="cp1252"))
    assert data.classes == ("Käfer", "Mücke")
    assert any("not UTF-8" in note for note in data.notes)


def test_quoted_commas_belong_to_the_label(photos):
    rows = [(name, {"cat": "cat, tabby", "dog": 'dog "big"'}[label]) for name, label in LABELS.items()]
    assert read(table(photos / "labels.csv", rows)).classes == ("cat, tabby", 'dog "big"')


@pytest.mark.parametrize(("name", "form"), [("train.txt", "{} {}\n"), ("labels.csv", "{},{}\n"), ("a.tsv", "{}\t{}\n")])
def test_a_list_without_a_header(photos, name, form):
    pictures(photos, "with space.png")
    rows = {**LABELS, "with space.png": "cat"}
    (photos / name).write_text("".join(form.format(*row) for row in rows.items()))
    data = read(photos / name)
    assert classes_of(data) == rows
    assert any("no header" in note for note in data.notes)


def test_lines_end_where_files_say_and_not_where_unicode_does(photos):
    """A caption may hold U+2028, U+0085 or a form feed, which `str.splitlines` takes for the ends of lines."""
    caption = "one\u2028two\x85three"
    records = [{"file_name": name, "label": label, "text": caption} for name, label in LABELS.items()]
    lines = [json.dumps(each, ensure_ascii=False) for each in records]
    (photos / "a.jsonl").write_text("\r\n".join(lines), newline="")
    assert classes_of(read(photos / "a.jsonl")) == LABELS
    every = {**LABELS, pictures(photos, "x\u2028y.png").joinpath("x\u2028y.png").name: "cat"}
    (photos / "train.txt").write_text("".join(f"{name} {label}\n" for name, label in every.items()))
    assert classes_of(read(photos / "train.txt")) == every


@pytest.mark.parametrize("form", ["jsonl", "records", "object"])
def test_json(photos, form):
    records = [{"file_name": name, "label": label} for name, label in LABELS.items()]
    texts = {
        "jsonl": "\n".join(map(json.dumps, records)),
        "records": json.dumps(records),
        "object": json.dumps(LABELS),
    }
    path = photos / ("labels.jsonl" if form == "jsonl" else "labels.json")
    path.write_text(texts[form])
    assert classes_of(read(path)) == LABELS


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image,label\na.png,cat\nb.png,dog,big\n", "line 3: 3 fields"),
        ("image,label\n\n\na.png\n", "line 4: 1 fields"),
        ("image\na.png\nb.png\n", "one column only"),
        ("", "an empty file"),
        ("image,label\n", "without rows"),
        ("image,image\na.png,cat\n", "several columns are called image"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(photos, text, says):
    (photos / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        read(photos / "labels.csv")


def test_a_spreadsheet_is_not_read_as_text(photos):
    (photos / "labels.csv").write_bytes(b"PK\3\4" + bytes(100))
    with pytest.raises(DataError, match="spreadsheet"):
        read(photos / "labels.csv")


# --- images


@pytest.mark.parametrize(
    "kind", ["absolute", "relative", "dotted", "backslashes", "drive", "elsewhere", "ids", "case", "folders"]
)
def test_a_name_finds_its_image_however_it_is_written(tmp_path, kind):
    root = pictures(tmp_path / "data", *(f"images/{name}" for name in LABELS))
    written = {
        "absolute": lambda name: root / "images" / name,
        "relative": lambda name: f"images/{name}",
        "dotted": lambda name: f"./images/{name}",
        "backslashes": lambda name: f"images\\{name}",
        "drive": lambda name: "D:" + f"\\images\\{name}",
        "elsewhere": lambda name: f"/nowhere/at/all/images/{name}",
        "ids": lambda name: name.removesuffix(".png"),
        "case": lambda name: f"IMAGES/{name.upper()}",
        "folders": lambda name: f"data/images/{name}",
    }[kind]
    path = table(root / "labels.csv", [(written(name), label) for name, label in LABELS.items()])
    data = read(path)
    assert classes_of(data) == LABELS
    plain = read(table(root / "labels.csv", [(f"images/{name}", label) for name, label in LABELS.items()]))
    assert data.fingerprint() == plain.fingerprint(), "the same images, however they are named"


@pytest.mark.parametrize(("stored", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_in_the_two_unicode_forms_are_the_same(tmp_path, stored, written):
    names = [f"Blüte {n}.png" for n in range(4)]
    root = pictures(tmp_path / "set", *(f"images/{normalize(stored, name)}" for name in names))
    rows = [(normalize(written, name), "ab"[n % 2]) for n, name in enumerate(names)]
    expected = {normalize(stored, name): "ab"[n % 2] for n, name in enumerate(names)}
    assert classes_of(read(table(root / "labels.csv", rows))) == expected


def test_a_file_address_is_a_path(photos):
    rows = [(f"file://{photos / name}", label) for name, label in LABELS.items()]
    assert classes_of(read(table(photos / "labels.csv", rows))) == LABELS


def test_images_outside_of_the_table_s_folder(tmp_path):
    root = pictures(tmp_path / "photos", *LABELS)
    path = table(tmp_path / "elsewhere" / "set.csv", [(root / name, label) for name, label in LABELS.items()])
    data = read(path)
    assert classes_of(data) == LABELS
    assert {file.below for file in data.splits["train"].files} == LABELS.keys()


def test_a_moved_table_is_the_same_data(photos, tmp_path):
    table(photos / "labels.csv", LABELS.items())
    before = read(photos / "labels.csv").fingerprint()
    shutil.move(photos, tmp_path / "moved")
    assert read(tmp_path / "moved/labels.csv").fingerprint() == before
    shuffled = list(LABELS.items())[::-1]
    assert read(table(tmp_path / "moved/labels.csv", shuffled)).fingerprint() == before, (
        "the order of rows says nothing"
    )


def test_rows_without_an_image_or_a_label_stop_and_are_named(photos):
    rows = [*LABELS.items(), ("gone.png", "cat"), ("a2.png", "")]
    pictures(photos, "a2.png")
    path = table(photos / "labels.csv", rows)
    with pytest.raises(ImageError, match=r"2 images cannot be used.*line 8: no image 'gone.png'.*line 9: no label"):
        read(path)
    done = inside("compare", path, "-m", "lenet5", "--epochs", "1")
    one_error(done, 3, "line 8", "--on-bad skip")
    kinds = [(problem.kind, problem.detail) for problem in check(path).problems]
    assert ("row", "no image 'gone.png'") in kinds
    done = inside("check", path, "--list", photos / "list.csv")
    assert done.returncode == 3, done.stderr
    with (photos / "list.csv").open(newline="") as file:
        listed = {row["path"]: row for row in csv.DictReader(file) if row["problem"] == "row"}
    assert sorted(listed) == [f"labels.csv, line {number}" for number in (8, 9)]
    assert all("take it out" in row["suggestion"] for row in listed.values())
    with pytest.raises(DataError, match="more than 1 %"):
        load_data(path, on_bad="skip")


def test_one_bad_row_can_be_left_out(photos):
    path = table(photos / "labels.csv", [*LABELS.items(), ("gone.png", "cat")])
    data = load_data(path, on_bad="skip")
    assert len(data.skipped) == 1
    assert "line 8" in data.skipped[0][0]


def test_an_image_with_two_labels_is_named_with_both_lines(photos):
    many = [f"{n}.png" for n in range(30)]
    pictures(photos, *many)
    rows = [*LABELS.items(), *((name, "cat") for name in many), ("a.png", "dog")]
    path = table(photos / "labels.csv", rows)
    with pytest.raises(ImageError, match=r"line 38: 'a.png' is dog here and cat in .*labels.csv, line 2"):
        read(path)
    assert "a.png" not in classes_of(read(path, on_bad="skip")), "neither label is taken"


def test_the_same_row_twice_counts_once_and_is_said(photos):
    data = read(table(photos / "labels.csv", [*LABELS.items(), ("a.png", "cat")]))
    assert split_classes(data) == CATS_DOGS
    assert any("1 rows name an image that an earlier row has" in note for note in data.notes)


def test_a_name_of_several_images_is_refused(tmp_path):
    root = pictures(tmp_path / "data", "one/a.png", "two/a.png", "one/b.png")
    with pytest.raises(ImageError, match=r"'a' could be .*one/a.png and .*two/a.png"):
        read(table(root / "labels.csv", [("a", "cat"), ("b", "dog")]))


@pytest.mark.parametrize("before", ["", "/elsewhere/data/"])
def test_a_missing_image_is_not_taken_from_another_folder(tmp_path, before):
    """The folder that a path names is there, so the image of the same name in another one is another image."""
    root = pictures(tmp_path / "data", "cat/1.png", "cat/2.png", "dog/2.png", "dog/3.png")
    rows = [(f"{before}{name}", name[:3]) for name in ("cat/1.png", "cat/2.png", "dog/2.png", "cat/3.png")]
    with pytest.raises(ImageError, match=f"1 image cannot be used .*line 5: no image '{before}cat/3.png'"):
        read(table(root / "labels.csv", rows))
    flat = pictures(tmp_path / "flat", "images/1.png", "images/2.png")  # neither folder is there: the names decide
    rows = [(f"{before}cat/1.png", "cat"), (f"{before}dog/2.png", "dog")]
    assert classes_of(read(table(flat / "labels.csv", rows))) == {"1.png": "cat", "2.png": "dog"}


def test_a_folder_that_holds_other_images_than_those_of_a_table_does_not_hide_them(tmp_path):
    """A table was made elsewhere, in a folder called train; the one beside it here holds a preview, or the classes."""
    rows = [(f"/elsewhere/train/{n}.png", ("cat", "dog")[n % 2]) for n in range(4)]
    root = pictures(tmp_path / "a", *(f"photos/{n}.png" for n in range(4)), "train/preview.png")
    assert split_classes(read(table(root / "labels.csv", rows))) == {"train": {"cat": 2, "dog": 2}}
    root = pictures(tmp_path / "b", "train/0.png", *(f"train/{('cat', 'dog')[n % 2]}/{n}.png" for n in range(1, 4)))
    assert split_classes(read(table(root / "labels.csv", rows))) == {"train": {"cat": 2, "dog": 2}}


def test_an_image_of_metadata_is_not_taken_from_another_split(tmp_path):
    names = {"train": ["1.png", "2.png", "3.png", "4.png"], "test": ["1.png", "2.png"]}
    for split, held in names.items():
        pictures(tmp_path, *(f"{split}/images/{name}" for name in held))
        rows = [(f"images/{name}", ("cat", "dog")[n % 2]) for n, name in enumerate(held)]
        table(tmp_path / split / "metadata.csv", rows, ("file_name", "label"))
    assert {name: len(split) for name, split in read(tmp_path).splits.items()} == {"train": 4, "test": 2}
    (tmp_path / "test/images/2.png").rename(tmp_path / "test/images/0.png")
    with pytest.raises(ImageError, match=r"1 image cannot be used .*line 3: no image 'images/2.png'"):
        read(tmp_path)


def test_many_images_of_one_name_in_many_folders_are_told_apart(tmp_path):
    """As the frames of videos, by the paths that they had on another machine."""
    root = pictures(tmp_path / "set", *(f"video{k}/Left/{n}.png" for k in range(12) for n in range(2)))
    rows = [(f"/elsewhere/video{k}/left/{n}", f"c{k % 3}") for k in range(12) for n in range(2)]
    data = read(table(root / "labels.csv", rows))
    found = zip(data.splits["train"].files, data.splits["train"].labels, strict=True)
    assert {file.below.rsplit("/", 2)[0]: data.classes[label] for file, label in found} == {
        f"video{k}": f"c{k % 3}" for k in range(12)
    }


def test_an_address_is_no_file(photos):
    rows = [*LABELS.items(), ("https://example.org/a.png", "cat")]
    with pytest.raises(ImageError, match="images are not downloaded"):
        read(table(photos / "labels.csv", rows))


# --- columns


def test_columns_are_guessed_and_said(photos):
    rows = [(n, 30 + n, f"{name}", label) for n, (name, label) in enumerate(LABELS.items())]
    data = read(table(photos / "meta.csv", rows, ("", "age", "img_path", "species")))
    assert classes_of(data) == LABELS
    assert any("images by img_path, classes by species" in note for note in data.notes)


def test_columns_can_be_said(photos):
    rows = [(name, label, "ab"[n % 2], "train" if n < 4 else "test") for n, (name, label) in enumerate(LABELS.items())]
    path = table(photos / "meta.csv", rows, ("image", "label", "side", "where"))
    assert load_data(path, label_column="side").classes == ("a", "b")
    assert load_data(path, label_column="3").classes == ("a", "b")
    data = read(path)
    assert list(data.splits) == ["train"]
    split = load_data(path, split_column="where")
    assert {name: len(part) for name, part in split.splits.items()} == {"train": 4, "test": 2}
    with pytest.raises(UsageError, match=r"no column lable(.|\n)*did you mean label"):
        load_data(path, label_column="lable")
    with pytest.raises(UsageError, match=r"'lable_column'(.|\n)*did you mean label_column"):
        load_data(path, lable_column="label")
    with pytest.raises(DataError, match="'a' in column side is not a split"):
        load_data(path, split_column="side")


def test_two_columns_that_could_be_the_classes_are_a_question(photos):
    rows = [(name, label, "xy"[n // 3]) for n, (name, label) in enumerate(LABELS.items())]
    path = table(photos / "meta.csv", rows, ("image", "fine_kind", "coarse_kind"))
    done = inside("check", path)
    one_error(done, 3, "fine_kind, coarse_kind could each be the classes", "--label-column fine_kind (or coarse_kind)")


def test_a_number_beside_a_name_is_the_same_class(photos):
    rows = [(name, {"cat": 0, "dog": 1}[label], label) for name, label in LABELS.items()]
    assert read(table(photos / "meta.csv", rows, ("image", "label", "label_name"))).classes == ("cat", "dog")


@pytest.mark.parametrize("name", ["classes.txt", "label_num_to_disease_map.json", "class_names.csv", "obj.names"])
def test_a_file_with_the_names_of_numbered_classes_is_said(photos, name):
    rows = [(image, int(label == "dog")) for image, label in LABELS.items()]
    path = table(photos / "train.csv", rows)
    assert not any("may have their names" in note for note in read(path).notes)
    (photos / name).write_text('{"0": "cat", "1": "dog"}' if name.endswith("json") else "cat\ndog\n")
    for source in (path, photos):
        assert sum(f"the classes are numbers; {name} may have their names" in note for note in read(source).notes) == 1


def test_measures_are_no_classes(photos):
    rows = [(name, f"{0.37 * n:.2f}") for n, name in enumerate(LABELS)]
    with pytest.raises(DataError, match="target holds numbers with fractions, one for nearly each image"):
        read(table(photos / "labels.csv", rows, ("image", "target")))


def test_numbers_are_classes_in_natural_order(photos):
    rows = [(name, f"{n}.0") for name, n in zip(LABELS, (0, 1, 2, 10, 9, 10), strict=True)]
    assert read(table(photos / "labels.csv", rows)).classes == ("0", "1", "2", "9", "10")


@pytest.mark.parametrize(
    ("header", "values", "expected"),
    [
        ("split", ("train", "valid", "test"), {"train": 2, "val": 2, "test": 2}),
        ("Usage", ("Training", "PublicTest", "PrivateTest"), {"train": 2, "val": 2, "test": 2}),
        ("is_valid", ("False", "True", "True"), {"train": 2, "val": 4}),
        ("is_valid", ("0", "1", "0"), {"train": 4, "val": 2}),
        ("is_train", ("1", "0", "1"), {"train": 4, "test": 2}),
        ("data set", ("train", "valid", "test"), {"train": 2, "val": 2, "test": 2}),
    ],
)
def test_split_columns(photos, header, values, expected):
    rows = [(name, label, values[n // 2]) for n, (name, label) in enumerate(LABELS.items())]
    data = read(table(photos / "meta.csv", rows, ("image", "label", header)))
    assert {name: len(split) for name, split in data.splits.items()} == expected
    assert any(f"splits by {header}" in note for note in data.notes)


ROLES = ("train", "train", "val", "val", "test", "test")


@pytest.mark.parametrize(
    ("flags", "written"),
    [
        ({"is_valid": "val", "is_test": "test"}, ("0", "1")),
        ({"is_train": "train", "is_val": "val"}, ("no", "yes")),
        ({"train": "train", "val": "val", "test": "test"}, ("False", "True")),
        ({"split": None}, ("tr", "va", "te")),
        ({"set": None}, ("TRAIN", "VALIDATE", "TEST")),
    ],
)
def test_splits_in_several_columns_and_in_short_words(photos, flags, written):
    def cells(role):
        return [
            written[role == kind] if kind else written[("train", "val", "test").index(role)] for kind in flags.values()
        ]

    rows = [(*row, *cells(role)) for row, role in zip(LABELS.items(), ROLES, strict=True)]
    for options in ({}, {"split_column": ",".join(flags)}):
        data = load_data(table(photos / "meta.csv", rows, ("image", "label", *flags)), **options)
        assert {file.path.name: name for name, split in data.splits.items() for file in split.files} == dict(
            zip(LABELS, ROLES, strict=True)
        )


def test_columns_that_give_an_image_two_splits_or_none_stop(photos):
    header = ("image", "label", "is_train", "is_test")
    for odd, said in (((1, 1), "test and train"), ((0, 0), "none")):
        rows = [(*row, *(odd if n == 3 else (1, 0))) for n, row in enumerate(LABELS.items())]
        with pytest.raises(DataError, match=f"line 5: is_train, is_test say {said} for the split"):
            read(table(photos / "meta.csv", rows, header))


def test_one_hot_columns_may_be_called_like_one_split(photos):
    rows = [(name, int(label == "cat"), int(label == "dog")) for name, label in LABELS.items()]
    data = read(table(photos / "labels.csv", rows, ("image", "train", "bus")))
    assert classes_of(data) == {name: "train" if label == "cat" else "bus" for name, label in LABELS.items()}
    assert set(data.splits) == {"train"}


@pytest.mark.parametrize(
    ("other", "cells"),
    [("valid", (1, 1, 0, 0, 1, 1)), ("test", (0, 1, 0, 1, 1, 0)), ("train", ("no", "no", "yes", "yes", "no", "no"))],
)
def test_a_column_that_may_say_something_else_is_no_split(photos, other, cells):
    """A photo may be valid, a blood test positive, and a vehicle a train."""
    rows = [(*row, cell) for row, cell in zip(LABELS.items(), cells, strict=True)]
    data = read(table(photos / "meta.csv", rows, ("image", "label", other)))
    assert split_classes(data) == CATS_DOGS
    assert f"note: column {other} is not read as a split; --split-column {other} reads it" in data.notes
    assert len(load_data(photos / "meta.csv", split_column=other).splits) == 2
    flagged = [(*row, int(n > 3)) for n, row in enumerate(rows)]
    data = read(table(photos / "meta.csv", flagged, ("image", "label", other, "is_valid")))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 4, "val": 2}
    data = read(table(photos / "meta.csv", [row[::2] for row in rows], ("image", other)))
    assert len(data.classes) == 2
    assert not any("not read" in note for note in data.notes)


def test_is_train_and_columns_that_divide_all_images_with_it_are_the_splits(photos):
    rows = [(*row, *(int(n // 2 == k) for k in range(3))) for n, row in enumerate(LABELS.items())]
    data = read(table(photos / "meta.csv", rows, ("image", "label", "is_train", "val", "test")))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 2, "val": 2, "test": 2}


@pytest.mark.parametrize("also", [False, True])
def test_a_table_of_the_test_images_needs_no_column_of_splits_and_keeps_its_name(photos, also):
    rows = [*LABELS.items()]
    table(photos / "train.csv", [(*row, n // 2) for n, row in enumerate(rows[:4])], ("image", "label", "is_valid"))
    held = [(*row, *([0] * also)) for row in rows[4:]]
    table(photos / "test.csv", held, ("image", "label", *(["is_valid"] * also)))
    data = read(photos)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 2, "val": 2, "test": 2}


@pytest.mark.parametrize("odd", ["", "extra"])
def test_a_row_without_a_split_beside_others_that_have_one_stops(photos, odd):
    rows = [(*row, odd if n == 4 else "train" if n < 3 else "val") for n, row in enumerate(LABELS.items())]
    with pytest.raises(DataError, match=f"line 6: '{odd}' in column split is not a split"):
        read(table(photos / "labels.csv", rows, ("image", "label", "split")))


def test_paths_in_split_folders_are_splits(tmp_path):
    names = [f"{split}/{label}/{n}.png" for split in ("train", "valid") for label in ("cat", "dog") for n in range(2)]
    root = pictures(tmp_path / "cards", *names)
    data = read(table(root / "cards.csv", [(name, name.split("/")[1]) for name in names], ("filepaths", "labels")))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 4, "val": 4}


def test_one_hot_columns_are_classes(photos):
    rows = [(name.removesuffix(".png"), int(label == "cat"), int(label == "dog")) for name, label in LABELS.items()]
    path = table(photos / "train.csv", rows, ("image_id", "cat", "dog"))
    assert classes_of(read(path)) == LABELS
    assert classes_of(load_data(path, label_column="cat,dog")) == LABELS
    true_false = [
        (name, bool(cat), bool(dog), False) for name, cat, dog in rows
    ]  # as pandas writes; no image is of UNK
    assert classes_of(read(table(photos / "train.csv", true_false, ("image", "cat", "dog", "UNK")))) == LABELS
    yes_no = [(name, *("yes" if bit else "no" for bit in bits)) for name, *bits in rows]
    assert classes_of(read(table(photos / "train.csv", yes_no, ("image", "cat", "dog")))) == LABELS
    rows[3] = (*rows[3][:1], 0, 0)
    with pytest.raises(ImageError, match="line 5: no label"):
        read(table(photos / "train.csv", rows, ("image_id", "cat", "dog")))


# --- several labels an image


MULTI = {
    "spaces": ["scab", "rust", "scab rust", "healthy", "scab", "scab rust"],
    "bars": ["Effusion", "Mass|Effusion", "None", "Mass", "None", "None"],
    "commas": ["red,round", "red", "round", "red", "red", "round"],
    "lists": ["['a', 'b']", "['a']", "['b']", "['a']", "['b']", "['a']"],
    "lists without quotes": ["[a, b]", "[a]", "[b]", "[a]", "[b]", "[a]"],
    "arrays of numpy": ["['a' 'b']", "['a']", "['b']", "['a']", "['b']", "['a']"],
    "vectors of numpy": ["[1 0]", "[0 1]", "[1 0]", "[0 1]", "[1 1]", "[0 1]"],
    "sets": ["{a,b}", "{a}", "{b}", "{a}", "{b}", "{a}"],
    "choices of Label Studio": ['{"choices":["a","b"]}', "a", "b", "a", "b", "a"],
    "slashes": ["a/b", "a", "b", "a", "b", "a"],
    "plus signs": ["a+b", "a", "b", "a", "b", "a"],
    "ampersands": ["a & b", "a", "b", "a", "b", "a"],
    "rows of zeros and ones": ["0101", "1000", "0010", "0101", "1000", "0010"],
}


@pytest.mark.parametrize("kind", MULTI)
def test_multi_label_cells_are_refused_in_one_sentence(photos, kind):
    path = table(photos / "labels.csv", zip(LABELS, MULTI[kind], strict=True))
    done = inside("compare", path, "-m", "lenet5")
    one_error(done, 3, "multi-label", "one class", "line ")


def test_several_one_hot_columns_set_at_once_are_refused(photos):
    rows = [(name, 1, int(label == "dog")) for name, label in LABELS.items()]
    with pytest.raises(DataError, match=r"line 3: has both rust and scab, so this is multi-label data"):
        read(table(photos / "labels.csv", rows, ("image", "rust", "scab")))


def test_rows_that_repeat_images_with_other_labels_are_refused(photos):
    rows = [*LABELS.items(), *((name, "bird") for name in LABELS)]
    with pytest.raises(DataError, match="multi-label"):
        read(table(photos / "labels.csv", rows))


@pytest.mark.parametrize("form", ["columns", "a cell", "a list"])
def test_pixels_as_numbers_are_said(tmp_path, form):
    numbers = [str(n % 256) for n in range(64)]
    if form == "a list":
        path = tmp_path / "train.jsonl"
        path.write_text("\n".join(json.dumps({"label": n % 2, "image": [[1] * 8] * 8}) for n in range(4)))
    else:
        header = ["label", *(f"pixel{n}" for n in range(64))] if form == "columns" else ["emotion", "pixels"]
        row = numbers if form == "columns" else [" ".join(numbers)]
        path = table(tmp_path / "train.csv", [(n % 2, *row) for n in range(4)], header)
    with pytest.raises(DataError, match="has the pixels of images as numbers"):
        read(path)


def test_an_index_does_not_name_images_by_accident(tmp_path):
    root = pictures(tmp_path / "set", *(f"{n}.png" for n in range(6)))
    rows = [(n, 5 - n, "ab"[n % 2]) for n in range(6)]
    meant = {f"{5 - n}.png": "ab"[n % 2] for n in range(6)}
    assert classes_of(read(table(root / "labels.csv", rows, ("", "image_id", "label")))) == meant
    path = table(root / "labels.csv", rows, ("id", "number", "label"))
    with pytest.raises(DataError, match="id, number could each name the images"):
        read(path)
    assert classes_of(load_data(path, image_column="number")) == meant


def test_numbered_columns_of_labels_are_multi_label(photos):
    rows = [(name, label, "bird") for name, label in LABELS.items()]
    with pytest.raises(DataError, match=r"label_1, label_2 each hold labels, so this is multi-label data") as caught:
        read(table(photos / "labels.csv", rows, ("image", "label_1", "label_2")))
    assert "--label-column label_1" in caught.value.fix or "label_column" in caught.value.fix


def test_records_name_no_class(photos):
    records = [
        {"file_name": name, "objects": {"bbox": [[1, 2, 3, 4]], "categories": [n % 2]}} for n, name in enumerate(LABELS)
    ]
    (photos / "metadata.jsonl").write_text("\n".join(map(json.dumps, records)))
    with pytest.raises(DataError, match=r"line 1: objects holds records \(bbox, categories\), which name no class"):
        read(photos)


def test_lists_in_json_are_refused(photos):
    records = [{"image": name, "labels": ["x", "y"][: 1 + (name == "c.png")]} for name in LABELS]
    (photos / "labels.jsonl").write_text("\n".join(map(json.dumps, records)))
    with pytest.raises(DataError, match=r"line 3: labels holds several labels \('x', 'y'\)"):
        read(photos / "labels.jsonl")


@pytest.mark.parametrize(
    "labels",
    [
        ["golden retriever", "labrador retriever", "poodle"],
        ["Portland, Oregon", "Salem, Oregon", "Boise, Idaho"],
        ["small red circle", "large red circle", "small blue square"],
        ["tench, Tinca tinca", "goldfish, Carassius auratus", "hen"],
        ["dog/beagle", "dog/poodle", "cat/siamese"],
        ["A+", "A-", "B+"],
        ["[a]", "(b)", "{c}"],
        ["up", "left", "up_left"],
        ["T", "shirt", "T-shirt"],
        ["100", "010", "001"],  # each has one class
        ["100", "101", "110"],  # numbers of classes
        ["000", "001", "002"],
        ["10", "01", "11"],
    ],
)
def test_a_class_of_several_words_is_one_class(photos, labels):
    data = read(table(photos / "labels.csv", zip(LABELS, labels * 2, strict=True)))
    assert sorted(data.classes) == sorted(labels)


@pytest.mark.parametrize("names", [("up", "left", "up_left"), ("cat", "dog", "dog+cat"), ("a", "b", "c", "b-a-c")])
def test_a_class_that_is_named_like_several_is_trained_and_pointed_out(tmp_path, names):
    root = pictures(tmp_path / "set", *(f"{name}/{n}.png" for name in names for n in range(2)))
    data = load_data(root)
    assert sorted(data.classes) == sorted(names)
    (note,) = [note for note in data.notes if "multi-label" in note]
    assert note.startswith(f"note: {names[-1]} is a class beside ")
    assert [note] == [line for line in check(root).notes if "multi-label" in line]


def test_names_with_underscores_alone_say_nothing(tmp_path):
    root = pictures(tmp_path / "set", *(f"{name}/{n}.png" for name in ("a_b", "b_c", "a", "c") for n in range(2)))
    assert not any("multi-label" in note for note in load_data(root).notes)


# --- folders with tables


def test_roboflow_s_table_in_the_folder_of_each_split(tmp_path):
    root = tmp_path / "set"
    for split, n in (("train", 4), ("valid", 2), ("test", 2)):
        pictures(root, *(f"{split}/{split}{k}.jpg" for k in range(n)))
        rows = [(f"{split}{k}.jpg", f" {k % 2 == 0:d}", f" {k % 2:d}") for k in range(n)]
        table(root / split / "_classes.csv", rows, ("filename", " cat", " dog"))
    expected = {split: {"cat": n, "dog": n} for split, n in (("train", 2), ("val", 1), ("test", 1))}
    assert split_classes(read(root)) == expected


def test_kaggle_s_train_csv_beside_its_images(tmp_path):
    root = pictures(
        tmp_path / "kaggle", *(f"train_images/{n}.png" for n in range(6)), *(f"test_images/{n}.png" for n in range(6))
    )
    table(root / "train.csv", [(n, "ab"[n % 2]) for n in range(6)], ("id", "target"))
    table(root / "test.csv", [(n,) * 2 for n in range(6)], ("id", "id2"))
    table(root / "sample_submission.csv", [(n, "a") for n in range(6)], ("id", "target"))
    data = read(root)
    assert split_classes(data) == {"train": {"a": 3, "b": 3}}
    assert all(file.path.parent.name == "train_images" for file in data.splits["train"].files)
    assert any("6 images" in note and "no row of train.csv" in note for note in data.notes)
    assert check(root).problems == []
    assert read(root / "train.csv").fingerprint() == data.fingerprint()


def test_a_table_for_each_split(tmp_path):
    root = pictures(tmp_path / "data", *(f"images/{n}.png" for n in range(9)))
    for part, start in (("train", 0), ("val", 3), ("test", 6)):
        table(root / f"{part}.csv", [(f"images/{n}.png", "ab"[n % 2]) for n in range(start, start + 3)])
    assert {name: len(split) for name, split in read(root).splits.items()} == {"train": 3, "val": 3, "test": 3}


def test_two_tables_with_labels_are_a_question(photos):
    for name in ("one.csv", "two.csv"):
        table(photos / name, LABELS.items())
    with pytest.raises(DataError, match=r"one.csv and two.csv each name images(.|\n)*give one of them"):
        read(photos)


def test_folders_that_are_no_classes_by_the_table_beside_them(tmp_path):
    """As HAM10000 comes: two folders of images, which hold parts of them, and a table with the diagnoses."""
    names = [f"part_{1 + n // 3}/img_{n}.png" for n in range(6)]
    root = pictures(tmp_path / "ham", *names)
    path = table(root / "meta.csv", [(f"img_{n}", "ab"[n % 2]) for n in range(6)], ("image_id", "dx"))
    with pytest.raises(DataError, match=r"meta.csv has other labels than the folders(.|\n)*give .*meta.csv"):
        read(root)
    assert split_classes(read(path)) == {"train": {"a": 3, "b": 3}}


def test_a_table_that_says_what_the_folders_say_changes_nothing(tmp_path):
    names = [f"{label}/{n}.png" for label in ("cat", "dog") for n in range(3)]
    root = pictures(tmp_path / "pets", *names)
    before = read(root).fingerprint()
    path = table(root / "labels.csv", [(name, name.split("/")[0]) for name in names])
    assert read(root).fingerprint() == before
    assert read(path).fingerprint() == before, "the same images with the same labels"


@pytest.mark.parametrize("place", ["top", "splits"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_hugging_face_s_metadata(tmp_path, place, kind):
    root = tmp_path / "data"
    parts = {"train": ["0.png", "1.png", "2.png", "3.png"], "test": ["0.png", "1.png"]}
    pictures(root, *(f"{part}/{name}" for part, names in parts.items() for name in names))
    rows = {part: [(name, "ab"[int(name[0]) % 2]) for name in names] for part, names in parts.items()}
    if place == "top":
        rows = {".": [(f"{part}/{name}", label) for part, named in rows.items() for name, label in named]}
    for folder, named in rows.items():
        if kind == "csv":
            table(root / folder / "metadata.csv", named, ("file_name", "label"))
        else:
            lines = (json.dumps({"file_name": name, "label": label}) for name, label in named)
            (root / folder / "metadata.jsonl").write_text("\n".join(lines))
    assert split_classes(read(root)) == {"train": {"a": 2, "b": 2}, "test": {"a": 1, "b": 1}}


def test_a_column_needs_a_table(tmp_path):
    root = pictures(tmp_path / "pets", "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    for source, says in ((root, "holds no table"), ("digits", "has its labels with its images")):
        with pytest.raises(UsageError, match=says):
            load_data(source, label_column="label")


def test_an_archive_with_a_table_says_to_unpack_it(photos, tmp_path):
    table(photos / "train.csv", LABELS.items())
    shutil.make_archive(tmp_path / "set", "zip", tmp_path, "photos")
    with pytest.raises(DataError, match=r"labels are not read from the table train.csv(.|\n)*unpack"):
        read(tmp_path / "set.zip")


# --- Parquet


@pytest.fixture
def arrow():
    return pytest.importorskip("pyarrow")


def shards(root, arrow, split="train", count=2, names=("cat", "dog"), images=6):
    """What `datasets` writes: structs of bytes and path, numbers as labels, and their names in the schema's metadata."""
    import pyarrow.parquet

    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    root.mkdir(parents=True, exist_ok=True)
    for shard in range(count):
        cells = [{"bytes": picture(), "path": f"{n}.png"} for n in range(images)]
        part = arrow.table({"image": cells, "label": [n % len(names) for n in range(images)]})
        name = f"{split}-{shard:05d}-of-{count:05d}.parquet"
        pyarrow.parquet.write_table(part.replace_schema_metadata(meta), root / name)
    return root


def test_a_data_set_saved_as_parquet(tmp_path, arrow):
    root = shards(tmp_path / "set/data", arrow).parent
    shards(root / "data", arrow, "test", 1)
    (root / "README.md").write_text("---\n")
    data = read(root)
    assert split_classes(data) == {"train": {"cat": 6, "dog": 6}, "test": {"cat": 3, "dog": 3}}
    assert data.splits["train"].image(0, 3).size == (6, 6)
    assert check(root).problems == []
    shutil.move(root, tmp_path / "moved")
    assert read(tmp_path / "moved").fingerprint() == data.fingerprint()


def test_a_missing_shard_stops(tmp_path, arrow):
    root = shards(tmp_path / "set", arrow)
    (root / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(DataError, match=r"1 of 2 files of train are missing: train-00001-of-00002\.parquet"):
        read(root)


def test_files_of_no_split_beside_those_of_splits_are_counted(tmp_path, arrow, photos):
    root = shards(tmp_path / "set", arrow)
    shards(root, arrow, "unsupervised", 1)
    data = read(root)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 12}
    assert any(note.startswith("note: 6 images are of none of the splits") for note in data.notes)
    rows = [*LABELS.items()]
    table(photos / "train.csv", rows[:4])
    table(photos / "extra.csv", [(name, "cow") for name, _ in rows[4:]])
    data = read(photos)
    assert (data.classes, len(data.splits["train"])) == (("cat", "dog"), 4)
    assert any(note.startswith("note: 2 images are of none of the splits") for note in data.notes)


@pytest.mark.parametrize("form", ["{}", "{}/train"])
def test_configurations_of_a_data_set_are_not_mixed(tmp_path, arrow, form):
    for name in ("full", "small"):
        shards(tmp_path / "set" / form.format(name), arrow, *(["part", 1] if form != "{}" else []))
    if form != "{}":
        for path in sorted((tmp_path / "set").rglob("*.parquet")):
            path.rename(path.with_name("0000.parquet"))
    with pytest.raises(DataError, match=r"full and .*small each hold train, as two data sets"):
        read(tmp_path / "set")
    assert set(read(tmp_path / "set/small").splits) == {"train"}


def test_files_numbered_in_folders_of_splits_are_one_data_set(tmp_path, arrow):
    for split, count in (("train", 2), ("test", 1)):
        shards(tmp_path / "set" / split, arrow, "part", count)
    assert {name: len(split) for name, split in read(tmp_path / "set").splits.items()} == {"train": 12, "test": 6}


def test_two_columns_of_labels_in_parquet_are_a_question(tmp_path, arrow):
    import pyarrow.parquet

    cells = [{"bytes": picture(), "path": None} for _ in range(8)]
    columns = {"img": cells, "fine_label": [n % 4 for n in range(8)], "coarse_label": [n % 2 for n in range(8)]}
    tmp_path.joinpath("set").mkdir()
    pyarrow.parquet.write_table(arrow.table(columns), tmp_path / "set/train.parquet")
    with pytest.raises(DataError, match="fine_label, coarse_label could each be the classes"):
        read(tmp_path / "set")
    assert load_data(tmp_path / "set", label_column="coarse_label").classes == ("0", "1")


def test_parquet_of_paths(photos, arrow):
    import pyarrow.parquet

    pyarrow.parquet.write_table(
        arrow.table({"image": list(LABELS), "label": list(LABELS.values())}), photos / "set.parquet"
    )
    assert classes_of(read(photos / "set.parquet")) == LABELS


def test_images_in_lists_and_previews_beside_parquet(tmp_path, arrow):
    import pyarrow.parquet

    cells = [[{"bytes": picture(), "path": f"{n}.png"}] for n in range(4)]
    path = tmp_path / "set/data/train-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pyarrow.parquet.write_table(arrow.table({"images": cells, "label": ["cat", "dog"] * 2}), path)
    pictures(tmp_path / "set", "preview.png")
    data = read(tmp_path / "set")
    assert split_classes(data) == {"train": {"cat": 2, "dog": 2}}
    assert any("1 image is left alone" in note and "left alone" in note for note in data.notes)
    pyarrow.parquet.write_table(arrow.table({"images": [cells[0] * 2], "label": ["cat"]}), path)
    with pytest.raises(DataError, match="row 1: 2 images in images"):
        read(tmp_path / "set")


def test_parquet_with_times_beyond_python_s_and_with_a_name_twice(photos, arrow):
    import pyarrow.parquet

    late = arrow.array([2**62] * 6).cast(arrow.timestamp("us"))
    fine = arrow.array([1] * 6).cast(arrow.timestamp("ns", tz="UTC"))
    columns = {"image": list(LABELS), "label": list(LABELS.values()), "taken": late, "stored": fine}
    pyarrow.parquet.write_table(arrow.table(columns), photos / "labels.parquet")
    assert classes_of(read(photos / "labels.parquet")) == LABELS
    twice = arrow.Table.from_arrays([list(LABELS), list(LABELS.values())] * 2, ["image", "label"] * 2)
    pyarrow.parquet.write_table(twice, photos / "labels.parquet")
    with pytest.raises(DataError, match="several columns are called image"):
        read(photos / "labels.parquet")


def test_lists_in_parquet_are_refused(photos, arrow):
    import pyarrow.parquet

    cells = [["x"], ["x", "y"], ["y"], ["x"], ["y"], ["y"]]
    pyarrow.parquet.write_table(arrow.table({"image": list(LABELS), "label": cells}), photos / "set.parquet")
    with pytest.raises(DataError, match="row 2: label holds several labels"):
        read(photos / "set.parquet")


def test_damaged_parquet_is_named(photos):
    pytest.importorskip("pyarrow")
    (photos / "set.parquet").write_bytes(b"PAR1" + bytes(50))
    with pytest.raises(DataError, match="not a Parquet file"):
        read(photos / "set.parquet")


def test_without_pyarrow_only_parquet_is_not_read(photos, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert classes_of(read(table(photos / "labels.csv", LABELS.items()))) == LABELS
    (photos / "set.parquet").write_bytes(b"PAR1")
    with pytest.raises(MachineError, match=r"pyarrow(.|\n)*podium\[tables\]"):
        read(photos / "set.parquet")


# --- verbs


def test_every_verb_reads_a_table(tmp_path):
    """Trained with columns that were said, recorded, evaluated, moved, resumed and packed."""
    names = [f"{n}.png" for n in range(60)]
    root = pictures(tmp_path / "data", *names)
    rows = [(n, "xyz"[n % 3], "ab"[n % 2]) for n in range(60)]
    path = table(root / "labels.csv", rows, ("id", "kind", "side"))
    out, how = tmp_path / "run", ("--label-column", "side", "--image-size", "28")
    done = inside("train", "lenet5_modern", path, *how, "--epochs", "1", "-o", out)
    assert done.returncode == 0, done.stderr
    text = (out / "settings.yaml").read_text()
    assert "label_column: side  # flag" in text
    assert "image_column: null  # default" in text
    done = inside("eval", out, path, "--json")
    assert done.returncode == 0, done.stderr
    assert {row["class"] for row in json.loads(done.stdout)["per_class"]} == {"a", "b"}
    assert images_for(bundle_of(out), None).classes == ("a", "b"), "as export and quantize load them"
    moved = shutil.move(root, tmp_path / "moved")
    for more in ((), ("--label-column", "side")):
        done = inside("eval", out, f"{moved}/labels.csv", *more, "--json")
        assert json.loads(done.stdout)["n"] == 12, "the images that the run held out"
    words = ("pack", f"{moved}/labels.csv", "--label-column", "kind", "-o")
    pack = json.loads(inside(*words, tmp_path / "packed", "--json").stdout)
    assert pack["classes"] == ["x", "y", "z"]
    assert any("images by id, classes by kind" in note for note in pack["notes"])
    assert pack["notes"][0] in inside(*words, tmp_path / "again").stderr
    assert inside("check", f"{moved}/labels.csv", "--label-column", "kind").returncode == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('image,label\na.png,"cat\nb.png,dog\n', "line 2: a quote opens in this line"),
        ("image,label\na.png,cat\nb.png,do\0g\n", "line 3: a zero byte"),
        ("<html>404</html>\n<p>not found</p>\n", "one column only"),
    ],
)
def test_what_is_hardly_a_table_is_no_data(photos, text, says):
    (photos / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        read(photos / "labels.csv")


def test_a_header_is_no_row_and_a_row_is_no_header(tmp_path):
    root = pictures(tmp_path / "data", *(f"{n}.png" for n in range(6)))
    (root / "labels.csv").write_text("".join(f"{n},{'ab'[n % 2]}\n" for n in range(6)))
    assert split_classes(read(root)) == {"train": {"a": 3, "b": 3}}


def test_test_images_without_labels_are_left_out_and_said(photos):
    rows = [
        (name, label if n < 4 else "", "train" if n < 4 else "test") for n, (name, label) in enumerate(LABELS.items())
    ]
    data = read(table(photos / "labels.csv", rows, ("image", "label", "split")))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 4}
    assert any("2 test images have no labels" in note for note in data.notes)


def test_labels_that_differ_in_case_are_named_with_a_fix_for_tables(photos):
    with pytest.raises(DataError, match=r"'Cat' and 'cat'(.|\n)*alike in every row"):
        read(table(photos / "labels.csv", zip(LABELS, ["cat", "Cat", "dog"] * 2, strict=True)))


def test_a_spreadsheet_says_to_save_it_as_csv(photos):
    (photos / "labels.xlsx").write_bytes(b"PK\3\4" + bytes(40))
    with pytest.raises(DataError, match=r"a spreadsheet(.|\n)*CSV"):
        read(photos / "labels.xlsx")


def test_a_chest_x_ray_table_is_multi_label(photos):
    rows = [
        (name, found, 50 + n, "MF"[n % 2]) for n, (name, found) in enumerate(zip(LABELS, MULTI["bars"], strict=True))
    ]
    path = table(photos / "Data_Entry.csv", rows, ("Image Index", "Finding Labels", "Patient Age", "Patient Gender"))
    with pytest.raises(DataError, match=r"line 3: Finding Labels holds several labels \('Mass', 'Effusion'\)"):
        read(path)


def test_attributes_of_minus_one_and_one_are_multi_label(photos):
    rows = [(name, 1, -1 if n % 2 else 1) for n, name in enumerate(LABELS)]
    with pytest.raises(DataError, match="multi-label"):
        read(table(photos / "attributes.csv", rows, ("image_id", "Smiling", "Young")))


@pytest.mark.slow
def test_a_moved_table_resumes(tmp_path):
    """A run of a table goes on where the table and its images lie now, to the same bits."""
    root = pictures(tmp_path / "data", *(f"{n}.png" for n in range(40)))
    table(
        root / "labels.csv", [(f"{n}.png", "ab"[n % 2], "xy"[n // 2 % 2]) for n in range(40)], ("image", "kind", "side")
    )
    how = ("--label-column", "side", "--image-size", "28", "--epochs", "2")
    whole = inside("train", "lenet5_modern", root / "labels.csv", *how, "-o", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    words = ("train", "lenet5_modern", root / "labels.csv", *how, "-o", tmp_path / "cut")
    with Running(*words, fault="signal:15@step:1") as run:
        assert run.ended().returncode == 143
    moved = shutil.move(root, tmp_path / "elsewhere")
    done = inside("train", "lenet5_modern", f"{moved}/labels.csv", *how, "-o", tmp_path / "cut", "--resume")
    assert done.returncode == 0, done.stderr
    one, other = ((tmp_path / run / "model.safetensors").read_bytes() for run in ("whole", "cut"))
    assert one == other


def test_a_split_of_parquet_without_labels_is_left_out_and_said(tmp_path, arrow):
    """Hugging Face writes -1 for labels that a contest keeps to itself."""
    import pyarrow.parquet

    root = shards(tmp_path / "set", arrow, count=1)
    bare = {"image": [{"bytes": picture(), "path": None} for _ in range(4)], "label": [-1] * 4}
    meta = pyarrow.parquet.read_schema(root / "train-00000-of-00001.parquet").metadata
    pyarrow.parquet.write_table(arrow.table(bare).replace_schema_metadata(meta), root / "test-00000-of-00001.parquet")
    data = read(root)
    assert split_classes(data) == {"train": {"cat": 3, "dog": 3}}
    assert any("4 test images have no labels" in note for note in data.notes)


def test_a_run_is_evaluated_by_the_column_that_is_named(photos, tmp_path):
    """Another column is the likelier one by its name: what a person names is taken all the same."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    images = Split(np.array([0, 1] * 4), ArrayImages(pixels))
    data = Dataset("pets", ("cat", "dog"), {"train": images, "val": images}, 3, 32, False, (0.5,) * 3, (0.2,) * 3)
    run = podium.train("lenet5_modern", data, tmp_path / "run", steps=1, progress=False)
    rows = [(name, label, "cat" if name < "e" else "dog") for name, label in LABELS.items()]
    path = table(photos / "labels.csv", rows, header=("image", "label", "species"))
    for column, counts in (("label", [3, 3]), ("species", [4, 2])):
        scores = podium.evaluate(run.path, path, label_column=column)
        assert [row["n"] for row in scores["per_class"]] == counts
