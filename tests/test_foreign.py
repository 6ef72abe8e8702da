"""Labels in forms that are not read: the error names the form, its fix works, and no folder of masks is taken for a class."""

import json
import shutil
import tarfile

import pytest

from podium.data.sources import read
from podium.errors import DataError
from test_layouts import split_classes
from test_tables import pictures

NAMES = [f"{n}.png" for n in range(6)]
VOC = "<annotation><filename>0.png</filename><object><name>cat</name></object></annotation>"
CVAT = '<?xml version="1.0"?>\n<annotations><image id="0" name="0.png"><tag label="cat"/></image></annotations>'
LABELME = '{"version": "5.0", "shapes": [{"label": "cat"}], "imagePath": "0.png"}'
STUDIO = json.dumps([{"id": 1, "data": {"image": "upload/1/0.png"}, "annotations": [{"result": []}]}])
CREATEML = json.dumps([{"image": "0.png", "annotations": [{"label": "cat", "coordinates": {"x": 1}}]}])
VIA = json.dumps({"0.png123": {"filename": "0.png", "regions": [{"region_attributes": {"class": "cat"}}]}})
DATUMARO = json.dumps({"info": {}, "categories": {"label": {}}, "items": [{"id": "0"}]})


@pytest.mark.parametrize(
    ("images", "files", "says"),
    [
        ("JPEGImages/", {f"Annotations/{n}.xml": VOC for n in range(6)}, "Pascal VOC"),
        ("train/", {f"train/{n}.xml": VOC for n in range(6)}, "Pascal VOC"),
        ("images/", {"annotations.xml": CVAT}, "CVAT"),
        ("", {f"{n}.json": LABELME for n in range(6)}, "LabelMe"),
        ("images/", {"project-1.json": STUDIO}, "Label Studio"),
        ("", {"_annotations.createml.json": CREATEML}, "CreateML"),
        ("", {"via_region_data.json": VIA}, "VGG Image Annotator"),
        ("images/default/", {"annotations/default.json": DATUMARO}, "Datumaro"),
        ("", {"output.manifest": '{"source-ref": "s3://bucket/0.png", "label": 0}\n'}, "SageMaker"),
        ("images/", {"labels.xlsx": "PK\3\4"}, "spreadsheet"),
        ("", {f"{n}.txt": f"{n % 2} 0.5 0.5 0.2 0.2\n" for n in range(6)}, "YOLO"),
        ("obj_train_data/", {f"obj_train_data/{n}.txt": "0 0.5 0.5 0.2 0.2\n" for n in range(6)}, "YOLO"),
        ("train/", {"train.txt": "data/train/0.png\n", **{f"train/{n}.txt": "0 .5 .5 .2 .2\n" for n in range(6)}}, "YOLO"),
    ],
)  # fmt: skip
def test_labels_of_another_program_are_named(tmp_path, images, files, says):
    root = pictures(tmp_path / "set", *(images + name for name in NAMES))
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    with pytest.raises(DataError, match=f"labels seem to stand in .*{says}.*, which Podium does not read"):
        read(root)


def test_the_fix_for_texts_beside_the_images_works(tmp_path):
    root = pictures(tmp_path / "set", *NAMES)
    for n in range(6):
        (root / f"{n}.txt").write_text(f"{n % 2} 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError) as caught:
        read(root)
    assert caught.value.fix == "move the images into a folder images and the texts into a folder labels beside it"
    for name, ending in (("images", ".png"), ("labels", ".txt")):
        (root / name).mkdir()
        for n in range(6):
            shutil.move(root / f"{n}{ending}", root / name)
    assert split_classes(read(root)) == {"train": {"0": 3, "1": 3}}


@pytest.mark.parametrize("name", ["annotations.xml", "project-1.json", "output.manifest"])
def test_a_file_of_another_program_is_named(tmp_path, name):
    root = pictures(tmp_path / "set", *NAMES)
    (root / name).write_text({"a": CVAT, "p": STUDIO, "o": '{"source-ref": "s3://bucket/0.png"}'}[name[0]])
    with pytest.raises(DataError, match=r"CVAT|Label Studio|SageMaker"):
        read(root / name)


def test_class_folders_with_annotations_or_captions_beside_the_images_are_classes(tmp_path):
    root = pictures(tmp_path / "set", *(f"{label}/{n}.png" for label in ("cat", "dog") for n in range(3)))
    (root / "cat/0.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "dog/0.xml").write_text(VOC)
    assert split_classes(read(root)) == {"train": {"cat": 3, "dog": 3}}


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        ("images/{n}.png", "masks/{n}.png"),
        ("train/images/{n}.png", "train/labels/{n}.png"),
        ("images/train/{n}.png", "annotations/train/{n}.png"),
        ("rgb/{n}.png", "depth/{n}.png"),
        ("leftImg8bit/train/aachen/aachen_{n}.png", "gtFine/train/aachen/aachen_{n}.png"),
        ("covid/images/{n}.png", "covid/masks/{n}.png"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_masks_are_no_class(tmp_path, picture, mask, packed):
    root = pictures(tmp_path / "set", *(form.format(n=n) for form in (picture, mask) for n in range(4)))
    if packed:
        with tarfile.open(tmp_path / "set.tar", "w") as tar:
            tar.add(root, "set")
        root = tmp_path / "set.tar"
    with pytest.raises(DataError, match="look like pictures and their masks or labels, which are no classes"):
        read(root)


def test_a_table_has_the_labels_of_images_beside_masks(tmp_path):
    root = pictures(tmp_path / "set", *(f"{folder}/{n}.png" for folder in ("images", "masks") for n in range(4)))
    (root / "labels.csv").write_text("file,label\n" + "".join(f"images/{n}.png,{'ab'[n % 2]}\n" for n in range(4)))
    data = read(root)
    assert split_classes(data) == {"train": {"a": 2, "b": 2}}
    assert any("4 images are left alone" in note and "left alone" in note for note in data.notes)


def test_masks_among_the_images_of_a_class_are_said(tmp_path):
    names = [
        f"{label}/{label} ({n}){mask}.png"
        for label in ("benign", "malignant")
        for n in (1, 2)
        for mask in ("", "_mask")
    ]
    root = pictures(tmp_path / "set", *names)
    assert any("4 images are named like masks of others" in note for note in read(root).notes)


def test_a_data_set_saved_to_disk_by_hugging_face_is_named(tmp_path):
    (tmp_path / "set/train").mkdir(parents=True)
    (tmp_path / "set/train/data-00000-of-00001.arrow").write_bytes(b"ARROW1")
    (tmp_path / "set/dataset_dict.json").write_text('{"splits": ["train"]}')
    for source in ("set", "set/train", "set/train/data-00000-of-00001.arrow"):
        with pytest.raises(DataError, match="as Hugging Face's save_to_disk writes it") as caught:
            read(tmp_path / source)
        assert "to_parquet" in caught.value.fix


def test_the_table_beside_a_folder_of_images_is_proposed(tmp_path):
    root = pictures(tmp_path / "set", *(f"images/{name}" for name in NAMES))
    (root / "labels.csv").write_text("file,label\n" + "".join(f"{name},a\n" for name in NAMES))
    with pytest.raises(DataError) as caught:
        read(root / "images")
    assert caught.value.fix.startswith(f"give {root / 'labels.csv'} if their labels stand in it")


def test_imagenet_s_tars_say_how_to_unpack_them(tmp_path):
    root = pictures(tmp_path / "images", "n01440764_18.JPEG")
    for name in ("n01440764", "n01443537"):
        (tmp_path / "train").mkdir(exist_ok=True)
        with tarfile.open(tmp_path / f"train/{name}.tar", "w") as tar:
            tar.add(root / "n01440764_18.JPEG", f"{name}_18.JPEG")
    with tarfile.open(tmp_path / "ILSVRC2012_img_train.tar", "w") as tar:
        tar.add(tmp_path / "train", "")
    with tarfile.open(tmp_path / "ILSVRC2012_img_val.tar", "w") as tar:
        tar.add(root / "n01440764_18.JPEG", "ILSVRC2012_val_00000001.JPEG")
    for name in ("ILSVRC2012_img_train.tar", "train"):
        with pytest.raises(DataError) as caught:
            read(tmp_path / name)
        assert "unpack each into a folder of its own name" in caught.value.fix
    with pytest.raises(DataError, match="validation images of ImageNet lie flat") as caught:
        read(tmp_path / "ILSVRC2012_img_val.tar")
    assert "LOC_val_solution.csv" in caught.value.fix
