"""YOLO's and COCO's folders: classification as it is, detection where each image has one category, else refused."""

import json

import pytest

from command import inside, one_error
from podium.data.sources import read
from podium.errors import DataError
from test_layouts import split_classes
from test_tables import classes_of, pictures

BOX = "0.5 0.5 0.2 0.2"


def test_yolo_s_classification_folders(tmp_path):
    names = [
        f"{split}/{label}/{n}.png" for split in ("train", "val", "test") for label in ("cat", "dog") for n in range(2)
    ]
    root = pictures(tmp_path / "set", *names)
    (root / "data.yaml").write_text("names: [cat, dog]\n")
    assert split_classes(read(root)) == {split: {"cat": 2, "dog": 2} for split in ("train", "val", "test")}


def yolo(root, form, categories, names="names: [cat, dog]\n"):
    """Images 0, 1, ... in train and val, each with a label file of some categories."""
    for split in ("train", "val"):
        for n, found in enumerate(categories):
            place = form.format(split=split, kind="images")
            pictures(root, f"{place}/{n}.png")
            label = root / form.format(split=split, kind="labels") / f"{n}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("".join(f"{category} {BOX}\n" for category in found))
    (root / "data.yaml").write_text(names)
    return root


@pytest.mark.parametrize("form", ["{kind}/{split}", "{split}/{kind}", "set/{kind}/{split}"])
@pytest.mark.parametrize("names", ["names: [cat, dog]\n", "names:\n  0: cat\n  1: dog\n"])
def test_detection_of_yolo_with_one_category_an_image(tmp_path, form, names):
    data = read(yolo(tmp_path / "set", form, [(0,), (1,), (0, 0), (1, 1, 1)], names))
    assert split_classes(data) == {"train": {"cat": 2, "dog": 2}, "val": {"cat": 2, "dog": 2}}
    assert any("boxes are not used" in note for note in data.notes)


def test_detection_of_yolo_with_several_is_refused(tmp_path):
    root = yolo(tmp_path / "set", "{kind}/{split}", [(0,), (1,), (0, 1)])
    one_error(inside("compare", root), 3, "2.png has objects of cat and dog", "multi-label", "line 2")


def test_an_image_without_objects_is_counted(tmp_path):
    root = yolo(tmp_path / "set", "{kind}/{split}", [(0,), (1,), ()])
    with pytest.raises(DataError, match=r"2 images cannot be used .*no label for '2.png'"):
        read(root)


def test_an_image_that_is_missing_or_not_read_is_counted(tmp_path):
    root = yolo(tmp_path / "set", "{kind}/{split}", [(0,), (1,), (0,), (1,)])
    (root / "images/train/2.png").unlink()
    with pytest.raises(DataError, match=r"1 image cannot be used .*labels/train/2.txt: no image 'images/train/2'"):
        read(root)
    (root / "images/train/2.jxl").write_bytes(b"\xff\x0a" + bytes(60))
    with pytest.raises(DataError, match=r"1 image of a format that cannot be read here \(1 JPEG XL\)"):
        read(root)


def test_texts_without_images_that_are_no_labels_do_no_harm(tmp_path):
    root = yolo(tmp_path / "set", "{kind}/{split}", [(0,), (1,), (0,), (1,)])
    (root / "labels/train/list.txt").write_text("../images/train/0.png\n")
    (root / "labels/train/empty.txt").write_text("")
    assert split_classes(read(root)) == {split: {"cat": 2, "dog": 2} for split in ("train", "val")}


def test_the_name_of_an_image_is_no_split_in_yolo(tmp_path):
    root = yolo(tmp_path / "set", "{kind}", [(0,), (1,), (0,), (1,)])
    for folder, ending in (("images", "png"), ("labels", "txt")):
        (root / folder / f"0.{ending}").rename(root / folder / f"train_0.{ending}")
    assert split_classes(read(root)) == {"train": {"cat": 2, "dog": 2}}


def test_a_damaged_label_file_is_named(tmp_path):
    root = yolo(tmp_path / "set", "{kind}/{split}", [(0,), (1,)])
    (root / "labels/train/0.txt").write_text(f"0 {BOX}\ncat\n")
    with pytest.raises(DataError, match=r"labels/train/0.txt, line 2: 'cat' is not a category"):
        read(root)


def coco(pairs, names):
    """Annotations of images by name: (name, categories)."""
    images = [{"id": 10 + n, "file_name": name} for n, (name, _) in enumerate(pairs)]
    objects = [
        {"image_id": 10 + n, "category_id": c, "bbox": [0, 0, 1, 1]}
        for n, (_, found) in enumerate(pairs)
        for c in found
    ]
    return json.dumps(
        {"images": images, "annotations": objects, "categories": [{"id": k, "name": v} for k, v in names.items()]}
    )


NAMES = {7: "cat", 9: "dog"}
ONE = [(f"{n}.png", ((7,), (9,), (7, 7))[n % 3]) for n in range(6)]


@pytest.mark.parametrize("form", ["official", "roboflow"])
def test_detection_of_coco_with_one_category_an_image(tmp_path, form):
    root = tmp_path / "set"
    folders = {"official": ("train2017", "val2017"), "roboflow": ("train", "valid")}[form]
    for folder in folders:
        pictures(root, *(f"{folder}/{name}" for name, _ in ONE))
        place = root / (
            f"annotations/instances_{folder}.json" if form == "official" else f"{folder}/_annotations.coco.json"
        )
        place.parent.mkdir(exist_ok=True)
        place.write_text(coco(ONE, NAMES))
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations/captions_train2017.json").write_text("{}")
    data = read(root)
    assert split_classes(data) == {"train": {"cat": 4, "dog": 2}, "val": {"cat": 4, "dog": 2}}


def test_one_file_of_coco_beside_images(tmp_path):
    root = pictures(tmp_path / "set", *(f"images/{name}" for name, _ in ONE))
    (root / "result.json").write_text(coco(ONE, NAMES))
    assert classes_of(read(root)) == {name: NAMES[found[0]] for name, found in ONE}


def test_detection_of_coco_with_several_is_refused(tmp_path):
    root = pictures(tmp_path / "set", *(f"images/{name}" for name, _ in ONE))
    (root / "annotations").mkdir()
    (root / "annotations/instances_default.json").write_text(coco([*ONE[:5], ("5.png", (7, 9))], NAMES))
    one_error(inside("compare", root), 3, "5.png has objects of cat and dog", "multi-label")


def test_images_without_annotations_and_categories_without_a_name_are_said(tmp_path):
    root = pictures(tmp_path / "set", *(f"images/{name}" for name, _ in ONE), "images/more.png")
    (root / "result.json").write_text(coco(ONE, NAMES))
    assert any("1 image is left alone" in note and "no row of result.json" in note for note in read(root).notes)
    (root / "result.json").write_text(coco(ONE, {7: "cat"}))
    with pytest.raises(DataError, match=r"result\.json: an object of category 9, which its categories do not name"):
        read(root)


def test_annotations_that_are_no_json_are_named(tmp_path):
    root = pictures(tmp_path / "set", *(f"images/{name}" for name, _ in ONE))
    (root / "annotations").mkdir()
    (root / "annotations/instances_default.json").write_text("{")
    with pytest.raises(DataError, match=r"instances_default\.json: not JSON"):
        read(root)


def test_folders_that_are_no_classes_by_the_annotations_beside_them(tmp_path):
    root = pictures(tmp_path / "set", *(f"part_{'ab'[n % 2]}/{name}" for n, (name, _) in enumerate(ONE)))
    (root / "instances.json").write_text(coco(ONE, NAMES))
    with pytest.raises(DataError, match=r"instances\.json has other labels than the folders"):
        read(root)
