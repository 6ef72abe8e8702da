"""What a table has on each image beside its class: groups and slices by its columns, wherever rows and images come together."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from command import inside, one_error
from podium.data.sources import load_data, read
from podium.errors import DataError
from podium.runs.folder import RunFolder

SHORT = ("--image-size", "32", "--epochs", "1", "--batch-size", "8")
HEADER = ("file", "label", "patient", "camera")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path_factory.mktemp("cache") / "podium"))


def photo(path, *key):
    """A photo of noise, another for every key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(list(key)).integers(0, 255, (32, 32, 3), np.uint8)).save(path)


def write(path, rows, header=HEADER):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def rows_of(patients, start=0):
    """Rows of eight images each of some patients, whose names in no file say whose they are, in no order."""
    found = [
        (f"img_{1000 * patient + i}.png", ("cat", "dog")[i % 2], f"patient {patient}", ("canon", "phone")[i // 4])
        for patient in range(start, start + patients)
        for i in range(8)
    ]
    return [found[row] for row in np.random.default_rng(0).permutation(len(found))]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of ten patients with eight photos each."""
    folder = tmp_path_factory.mktemp("columns") / "photos"
    for number, (name, *_) in enumerate(rows_of(10)):
        photo(folder / "images" / name, number)
    return write(folder / "labels.csv", rows_of(10))


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "r"
    flags = ("--group-column", "patient", "--val", "0.3", "--slice", "camera")
    done = inside("train", "lenet5_modern", table, *SHORT, *flags, "-o", out)
    assert done.returncode == 0, done.stderr
    return out


def by_name(rows, column):
    return {row[0]: row[HEADER.index(column)] for row in rows}


def test_every_image_has_the_cells_of_its_row(table):
    for split in load_data(table, val=0.25, seed=3).splits.values():
        for column in HEADER:
            expected = by_name(rows_of(10), column)
            assert [expected[file.path.name] for file in split.files] == split.columns[column].tolist()


def test_a_column_of_a_table_groups(table, run):
    data = load_data(table, val=0.3, group_column="patient")
    patients = by_name(rows_of(10), "patient")
    sides = [{patients[file.path.name] for file in split.files} for split in data.splits.values()]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 10
    assert any("80 images in 10 groups of 8 to 8" in note for note in data.notes)
    assert "patient" in (run / "settings.yaml").read_text()
    with np.load(run / "images.npz") as record:
        assert len(record["group val"]) == len(sides[1]) == 3


def test_a_column_called_group_groups_only_where_that_is_said(tmp_path, table):
    folder = tmp_path / "photos"
    rows = [(name, label, patient) for name, label, patient, _ in rows_of(10)]
    for number, (name, *_) in enumerate(rows):
        photo(folder / name, number)
    path = write(folder / "labels.csv", rows, ("file", "label", "group"))
    plain = load_data(path, val=0.3)
    assert not any("groups" in note for note in plain.notes)
    expected = load_data(table, val=0.3)
    assert [len(split) for split in plain.splits.values()] == [len(split) for split in expected.splits.values()]
    assert any("10 groups" in note for note in load_data(path, val=0.3, group_column="group").notes)


def test_eval_reports_each_value_of_a_column(table, run):
    logits, labels = RunFolder(run).predictions
    cameras = by_name(rows_of(10), "camera")
    names = [file.path.name for file in load_data(table, val=0.3, group_column="patient").splits["val"].files]
    right = dict(zip(names, logits.argmax(1) == labels, strict=True))
    found = json.loads(inside("eval", run, table, "--slice", "camera", "--json").stdout)["slices"]
    assert {row["value"]: (row["n"], row["top1"]) for row in found["values"]} == {
        camera: (12, np.mean([right[name] for name in names if cameras[name] == camera]))
        for camera in ("canon", "phone")
    }
    assert "Accuracy by camera" in (run / "report.html").read_text()
    one_error(inside("eval", run, table, "--slice", "kamera"), 2, "no column 'kamera'", "camera")


def test_a_grown_table_keeps_its_patients_on_their_sides(table, run, tmp_path):
    folder = tmp_path / "grown"
    for number, (name, *_) in enumerate(rows_of(10)):
        photo(folder / "images" / name, number)
    with np.load(run / "images.npz") as record:
        held = len(record["group val"])
    patients = by_name(rows_of(10), "patient")
    sides = load_data(table, val=0.3, group_column="patient").splits
    learned = {patients[file.path.name] for file in sides["train"].files}
    more = [("new_0.png", "cat", min(learned), "canon"), ("new_1.png", "dog", "patient 99", "canon")]
    for number, (name, *_) in enumerate(more):
        photo(folder / "images" / name, 9000 + number)
    grown = write(folder / "labels.csv", [*rows_of(10), *more])
    scores = json.loads(inside("eval", run, grown, "--json").stdout)
    assert scores["n"] == 8 * held + 1  # not the new photo of a patient whose others it learned from
    assert any("or on others of their groups (1)" in note for note in scores["notes"])


def test_patients_in_two_splits_and_without_a_name_stop(table, tmp_path):
    folder = tmp_path / "photos"
    rows = [(*row, ("train", "test")[row[2] == "patient 4"]) for row in rows_of(6)]
    for number, (name, *_) in enumerate(rows):
        photo(folder / name, number)
    path = write(folder / "labels.csv", rows, (*HEADER, "split"))
    assert len(load_data(path, group_column="patient").splits["test"]) == 8
    moved = [(*row[:4], "train") if row == next(r for r in rows if r[4] == "test") else row for row in rows]
    write(path, moved, (*HEADER, "split"))
    out = ("-o", tmp_path / "r")
    done = inside("train", "lenet5_modern", path, *SHORT, "--group-column", "patient", *out)
    one_error(done, 3, "1 of 6 groups", "patient 4 (train 1, test 7)", "--group-column")
    write(
        path,
        [(*row[:2], "" if number < 2 else row[2], *row[3:]) for number, row in enumerate(rows)],
        (*HEADER, "split"),
    )
    done = inside("train", "lenet5_modern", path, *SHORT, "--group-column", "patient", *out)
    one_error(done, 3, "2 of 48 images have no group", "fill in the column")


def test_tables_of_two_splits_may_have_other_columns(tmp_path):
    folder = tmp_path / "photos"
    rows = rows_of(2)
    for number, (name, *_) in enumerate(rows):
        photo(folder / name, number)
    write(folder / "train.csv", rows[:10])
    write(folder / "test.csv", [row[:2] for row in rows[10:]], HEADER[:2])
    data = read(folder)
    assert set(data.splits["train"].columns) == set(HEADER)
    assert set(data.splits["test"].columns) == {"file", "label"}
    with pytest.raises(DataError, match="6 of 16 images have no group"):
        load_data(folder, group_column="patient")


def test_a_row_that_comes_again_with_other_cells_is_said(tmp_path):
    rows = rows_of(2)
    for number, (name, *_) in enumerate(rows):
        photo(tmp_path / name, number)
    again = [(*rows[0][:2], "patient 77", rows[0][3]), rows[1]]
    data = read(write(tmp_path / "labels.csv", [*rows, *again]))
    assert rows[0][2] in data.splits["train"].columns["patient"]
    assert "patient 77" not in data.splits["train"].columns["patient"]
    assert any("2 rows name an image" in note for note in data.notes)
    assert any("1 of them differ in another column" in note for note in data.notes)


def test_parquet_that_holds_the_images_has_columns_too(tmp_path, table):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    rows = rows_of(10)
    columns = {name: [row[number] for row in rows] for number, name in enumerate(HEADER)}
    images = [{"bytes": (table.parent / "images" / row[0]).read_bytes(), "path": row[0]} for row in rows]
    held = {"image": images, "label": columns["label"], "patient": columns["patient"], "hour": list(range(80))}
    pyarrow.parquet.write_table(arrow.table(held), tmp_path / "train.parquet")
    data = load_data(tmp_path / "train.parquet", val=0.3, group_column="patient")
    sides = [set(split.columns["patient"].tolist()) for split in data.splits.values()]
    assert not sides[0] & sides[1]
    assert "image" not in data.splits["train"].columns
    hours = np.concatenate([split.columns["hour"] for split in data.splits.values()])
    assert sorted(hours.tolist()) == sorted(map(str, range(80)))


def test_a_table_is_cross_validated_by_patient_and_sliced(table, tmp_path):
    out = tmp_path / "c"
    flags = ("--folds", "2", "--group-column", "patient", "--slice", "camera", "--scratch")
    done = inside("compare", table, "-m", "lenet5_modern", *SHORT, *flags, "--json", "-o", out)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["slices"]["lenet5_modern"]
    assert {row["value"]: row["n"] for row in found["values"]} == {"canon": 40, "phone": 40}
    groups = []
    for number in (1, 2):
        with np.load(out / "lenet5_modern-seed0" / f"fold{number}" / "images.npz") as record:
            groups.append(set(record["group test"].tolist()))
            assert not groups[-1] & set(record["group train"].tolist())
    assert len(groups[0] | groups[1]) == 10
