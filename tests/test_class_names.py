"""A fine-tuned checkpoint gets the names of its classes in the order it was trained with, or the names are refused."""

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import podium as library
from podium.data.class_names import read_class_names
from podium.data.sources import load_data
from podium.errors import DataError, UsageError
from test_tables import pictures
from test_wrappers import SOURCE, weights

PETS = ("cat", "dog", "eel")
NUMBERED = {"0": "cat", "1": "dog", "2": "eel"}
FILES = {
    "lines.txt": "cat\ndog\neel\n",
    "windows.txt": "\ufeffcat\r\ndog\r\neel\r\n\r\n",
    "numbered.txt": "0 cat\n1 dog\n2 eel\n",  # Teachable Machine's labels.txt
    "colons.txt": "2: eel\n0: cat\n1: dog\n",
    "behind.txt": "eel: 2\ncat: 0\ndog: 1\n",
    "tabs.txt": "cat\t0\ndog\t1\neel\t2\n",
    "list.json": json.dumps(PETS),
    "imagenet_class_index.json": json.dumps({"0": ["n02121808", "cat"], "2": ["n01443537", "eel"], "1": ["n02084071", "dog"]}),
    "by_number.json": json.dumps({"2": "eel", "0": "cat", "1": "dog"}),
    "class_to_idx.json": json.dumps({"eel": 2, "cat": 0, "dog": 1}),
    "texts.json": json.dumps({"cat": "0", "dog": "1", "eel": "2"}),
    "config.json": json.dumps({"model_type": "resnet", "id2label": NUMBERED, "label2id": {"cat": 0, "dog": 1, "eel": 2}}),
    "label2id.json": json.dumps({"label2id": {"cat": 0, "dog": 1, "eel": 2}}),
    "timm.json": json.dumps({"architecture": "resnet18", "num_classes": 3, "label_names": list(PETS)}),
    "data.yaml": "path: x\nnames:\n  0: cat\n  1: dog\n  2: eel\n",
    "one.csv": "name\ncat\ndog\neel\n",
    "plain.csv": "cat\ndog\neel\n",
    "two.csv": "index,name\n1,dog\n0,cat\n2,eel\n",
    "turned.csv": "cat,0\neel,2\ndog,1\n",
    "odd_title.csv": "idx;animal\n0;cat\n2;eel\n1;dog\n",
    "more.csv": "id,class,note\n0,cat,a\n1,dog,b\n2,eel,c\n",
    "tabs.tsv": "label\tid\ncat\t0\ndog\t1\neel\t2\n",
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_names_gives_them_in_the_order_of_the_outputs(name, tmp_path):
    (tmp_path / name).write_bytes(FILES[name].encode())
    found = read_class_names(tmp_path / name)
    assert found.names == PETS
    (note,) = found.notes
    assert name in note
    assert "order of its" in note
    assert note.endswith("cat, dog, eel")


def test_names_that_are_numbers_are_told_from_numbers(tmp_path):
    """ImageFolder's class_to_idx of the folders 1, 2 and 10."""
    (tmp_path / "a.json").write_text(json.dumps({"1": 0, "10": 1, "2": 2}))
    assert read_class_names(tmp_path / "a.json").names == ("1", "10", "2")
    (tmp_path / "b.json").write_text(json.dumps({"0": "1", "1": "10", "2": "2"}))
    assert read_class_names(tmp_path / "b.json").names == ("1", "10", "2")
    (tmp_path / "c.txt").write_text("3 stripes\n5 stars\nplain\n")
    for name, lines in {
        "c.txt": ("3 stripes", "5 stars", "plain"),
        "d.txt": ("class 0", "class 1"),
        "e.txt": ("Boeing 737", "Boeing 747"),
    }.items():
        (tmp_path / name).write_text("\n".join(lines))
        assert read_class_names(tmp_path / name).names == lines


REFUSED = {
    "empty.txt": ("cat\n\neel\n", r"empty\.txt, line 2: an empty name"),
    "twice.txt": ("cat\ndog\ncat\n", "'cat' occurs more than once"),
    "one.txt": ("cat\n", "1 names"),
    "nothing.txt": ("", "0 names"),
    "commas.txt": ("dog,cat,eel\n", "one line, not one name a line"),
    "words.txt": ("dog cat eel\n", "one line, not one name a line"),
    "python.txt": ("['dog', 'cat', 'eel']\n", "in brackets, not one name a line"),
    "long_list.txt": ("['dog',\n 'cat',\n 'eel']\n", "in brackets, not one name a line"),
    "numbers.txt": ("{'dog': 0,\n 'cat': 1}\n", "in brackets, not one name a line"),
    "set.txt": ("{\n'dog': 0,\n'cat': 1\n}\n", "in brackets, not one name a line"),
    "spaces.json": (json.dumps(["cat", " "]), "the name of class 1 is empty"),
    "from_1.txt": ("1 cat\n2 dog\n", "from 1"),
    "cat_to_name.json": (json.dumps({"1": "cat", "2": "dog", "10": "eel"}), "not numbered 0 to 2"),  # of folders
    "from_1.csv": ("id,name\n1,cat\n2,dog\n", "numbered 1 to 2, not 0 to 1"),
    "gap.json": (json.dumps({"cat": 0, "dog": 2}), "not numbered 0 to 1"),
    "both.json": (json.dumps({"0": "1", "1": "0"}), "cannot be told apart"),
    "nested.json": (json.dumps([["n01", "cat"], ["n02", "dog"]]), "is not the name of a class"),
    "null.json": (json.dumps({"0": None, "1": "dog"}), "None is not the name of a class"),
    "objects.json": (json.dumps({"0": {"name": "cat"}, "1": {"name": "dog"}}), "is not the name of a class"),
    "key_twice.json": ('{"0": "cat", "1": "dog", "1": "eel"}', "'1' occurs more than once"),
    "key_twice.yaml": ("names:\n  0: cat\n  1: dog\n  1: eel\n", "'1' occurs more than once"),
    "words.yaml": ("yes: 0\nno: 1\n", "True is not the name of a class"),
    "number.json": ("7", "holds no names"),
    "broken.json": ("{", "cannot be read"),
    "ragged.csv": ("0,cat\n1,dog,x\n", "different numbers of columns"),
    "which.csv": ("0,cat,katze\n1,dog,hund\n", "no single column of names"),
    "latin.txt": ("caf\xe9\ncat\n".encode("latin1"), "not a text in UTF-8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_would_be_a_guess_are_refused(name, tmp_path):
    content, says = REFUSED[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=says) as caught:
        read_class_names(tmp_path / name)
    assert name in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize("name", ["commas.txt", "words.txt", "python.txt", "long_list.txt"])
def test_names_in_one_line_have_a_mend_that_says_how_to_write_them(name, tmp_path):
    (tmp_path / name).write_text(REFUSED[name][0])
    with pytest.raises(DataError) as caught:
        read_class_names(tmp_path / name)
    assert caught.value.fix == "write one name a line"


def test_names_in_brackets_are_names(tmp_path):
    (tmp_path / "a.txt").write_text("[background]\n(other)\n[cat]\n")
    assert read_class_names(tmp_path / "a.txt").names == ("[background]", "(other)", "[cat]")


@pytest.mark.parametrize("ending", ["npy", "pkl", "pickle", "joblib"])
def test_names_that_python_wrote_have_a_mend_that_works(ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(pickle.dumps({"cat": 0, "dog": 1}))
    with pytest.raises(DataError, match="not a text of names") as caught:
        read_class_names(path)
    assert 'json.dump(NAMES, open("classes.json", "w"))' in caught.value.fix
    with (tmp_path / "classes.json").open("w") as file:
        json.dump(pickle.loads(path.read_bytes()), file)
    assert read_class_names(tmp_path / "classes.json").names == ("cat", "dog")


@pytest.fixture
def folders(tmp_path):
    """Twelve class folders, 1 to 12, whose images are of one grey each."""
    for number in range(1, 13):
        for i in range(2):
            path = tmp_path / "photos" / str(number) / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((32, 32, 3), 20 * number + i, np.uint8)).save(path)
    return tmp_path / "photos"


AS_TEXT = ("1", "10", "11", "12", "2", "3", "4", "5", "6", "7", "8", "9")


def test_data_give_the_order_of_imagefolder_which_is_said_and_can_be_chosen(folders):
    assert sorted(path.name for path in folders.iterdir()) == list(AS_TEXT), (
        "as torchvision.datasets.folder.find_classes"
    )
    found = read_class_names(folders)
    assert found.names == AS_TEXT
    notes = "\n".join(found.notes)
    assert "sorted as text, as ImageFolder and Keras number them: 1, 10, 11" in notes
    assert "natural order is 1, 2, 3" in notes
    assert "--class-order natural" in notes
    assert read_class_names(folders, "natural").names == tuple(map(str, range(1, 13)))


@pytest.mark.parametrize(
    ("name", "image", "line"),
    [
        ("train.csv", "{}.png", "{},{}"),  # as pandas writes it, and Kaggle's
        ("train.csv", "{}", "{},{}"),  # Kaggle's ids, without an ending
        ("labels.tsv", "images/{}.png", "{}\t{}"),
        ("train.txt", "images/{}.png", "{} {}"),
        ("train.jsonl", "images/{}.png", '{{"image": "{}", "label": "{}"}}'),
    ],
)
def test_a_table_of_images_gives_its_labels_in_podiums_own_order(name, image, line, tmp_path):
    (tmp_path / "images").mkdir()
    labels = ["2", "10", "1"] * 3
    rows = [(image.format(f"im{number:02d}"), label) for number, label in enumerate(labels)]
    for number in range(9):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "images" / f"im{number:02d}.png")
    head = [] if name.endswith((".jsonl", ".txt")) else [line.format("image", "label")]
    (tmp_path / name).write_text("\n".join([*head, *(line.format(*row) for row in rows)]) + "\n")
    found = read_class_names(tmp_path / name)
    assert found.names == load_data(tmp_path / name).classes == ("1", "2", "10")
    assert found.notes[0].endswith("in natural order: 1, 2, 10")
    assert "text order is 1, 10, 2 (--class-order text)" in found.notes[1]
    assert read_class_names(tmp_path / name, "text").names == ("1", "10", "2")
    if name == "train.csv":
        assert read_class_names(tmp_path).names == found.names  # the folder is read by its table


def test_a_table_of_images_that_are_not_there_says_that_of_them(tmp_path):
    (tmp_path / "train.csv").write_text("image,label\na.jpg,cat\nb.jpg,dog\nc.jpg,cat\n")
    with pytest.raises(DataError, match="no column names images that are there"):
        read_class_names(tmp_path / "train.csv")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="2 images cannot be used"):  # a class could be missing
        read_class_names(tmp_path / "train.csv")


def test_one_image_a_class_and_an_index_are_a_table_of_images_and_examples_of_classes_are_none(tmp_path):
    for name in "abc":
        Image.new("RGB", (8, 8), (ord(name), 0, 0)).save(tmp_path / f"{name}.jpg")
    (tmp_path / "train.csv").write_text("idx,name,breed\n0,a.jpg,dog\n1,b.jpg,cat\n2,c.jpg,dog\n")
    assert read_class_names(tmp_path / "train.csv").names == ("cat", "dog")
    (tmp_path / "classes.csv").write_text("index,name,example\n1,cat,a.jpg\n0,eel,b.jpg\n")
    assert read_class_names(tmp_path / "classes.csv").names == ("eel", "cat")


def test_data_whose_classes_cannot_be_guessed_ask_for_a_file_of_names(tmp_path):
    """What says how images are read, such as --class-from, is no flag of an import."""
    photos = pictures(tmp_path / "photos", *(f"{label}-{n}.png" for label in ("cat", "dog") for n in range(3)))
    lines = [f"{path.name},{n % 2},{n % 3}" for n, path in enumerate(sorted(photos.iterdir()))]
    (tmp_path / "photos.csv").write_text("\n".join(["image,label,class", *(f"photos/{line}" for line in lines)]))
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    for source in (photos, tmp_path / "photos.csv"):
        with pytest.raises(DataError) as caught:
            read_class_names(source)
        assert caught.value.fix.startswith("give a text file with one name a line")
    assert read_class_names(tmp_path / "names.txt").names == ("cat", "dog")


def test_an_order_of_folders_beside_names_that_have_one_is_refused(tmp_path):
    (tmp_path / "names.txt").write_text("1\n10\n2\n")
    for names, giver in ((tmp_path / "names.txt", "names.txt"), (["1", "10", "2"], "a list")):
        with pytest.raises(UsageError, match=f"'natural' does nothing here: {giver}"):
            read_class_names(names, "natural")


def test_a_run_or_bundle_gives_its_own_classes(tmp_path):
    save_file(weights(0, 3), tmp_path / "w.safetensors")
    library.import_weights(SOURCE, tmp_path / "w.safetensors", tmp_path / "first", classes=["eel", "cat", "dog"])
    made = library.import_weights(SOURCE, tmp_path / "w.safetensors", classes=tmp_path / "first")
    assert made.classes == ("eel", "cat", "dog")
    assert "in the order of its outputs: eel, cat, dog" in "".join(made.card["notes"])


def test_an_order_that_is_no_guess_is_not_called_one(tmp_path):
    for name in PETS:
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "train" / name / "a.png")
    found = read_class_names(tmp_path)
    assert found.names == PETS
    assert len(found.notes) == 1


def test_a_fine_tuned_network_is_right_by_its_names_and_in_no_other_order(podium, folders, tmp_path):
    """Its classifier is fitted to twelve greys in the order of ImageFolder, as a fine-tuned network's is."""
    state = weights(0, 12)
    save_file(state, tmp_path / "fresh.safetensors")
    made = library.import_weights(SOURCE, tmp_path / "fresh.safetensors")
    made.model.head.classifier = torch.nn.Identity()
    scale, offset = (torch.from_numpy(v) for v in made.preprocessing.scale_and_offset())
    paths = [(k, path) for k, name in enumerate(AS_TEXT) for path in (folders / name).iterdir()]
    pixels = torch.stack([torch.tensor(made.preprocessing.pixels(path.read_bytes(), "")) for _, path in paths])
    with torch.inference_mode():
        features = made.model((pixels * scale + offset).permute(0, 3, 1, 2).float())
    wanted = torch.nn.functional.one_hot(torch.tensor([k for k, _ in paths]), 12).float()
    ones = torch.ones(len(paths), 1)
    solved = torch.linalg.lstsq(torch.cat([features, ones], 1), wanted, driver="gelsd").solution
    state |= {"linear.weight": solved[:-1].T.contiguous(), "linear.bias": solved[-1].contiguous()}
    save_file(state, tmp_path / "best.safetensors")
    said = podium("import", SOURCE, tmp_path / "best.safetensors", "--classes", folders, "-o", tmp_path / "net")
    assert said.code == 0, said.err
    assert "sorted as text" in said.err
    assert library.load(tmp_path / "net").classes == AS_TEXT
    assert library.evaluate(tmp_path / "net", folders, workers=1)["top1"] == 1.0
    other = library.import_weights(SOURCE, tmp_path / "best.safetensors", classes=folders, class_order="natural")
    assert library.evaluate(other, folders, workers=1)["top1"] < 0.5


def test_wrong_numbers_of_names_are_refused_before_anything_is_written(podium, tmp_path):
    save_file(weights(0, 12), tmp_path / "best.safetensors")
    (tmp_path / "names.txt").write_text("cat\ndog\neel\n")
    words = (
        "import",
        SOURCE,
        tmp_path / "best.safetensors",
        "--classes",
        tmp_path / "names.txt",
        "-o",
        tmp_path / "out",
    )
    podium(*words).refused(3, "3 names, but the classifier of", "is for 12 classes", "--num-classes 3")
    assert not (tmp_path / "out").exists()
    assert podium(*words, "--num-classes", 3).code == 0
    assert library.load(tmp_path / "out").classes == PETS


def test_a_body_takes_a_classifier_for_the_names(tmp_path):
    state = {k: v for k, v in weights().items() if not k.startswith("linear.")}
    save_file(state, tmp_path / "body.safetensors")
    made = library.import_weights(SOURCE, tmp_path / "body.safetensors", classes=PETS)
    assert made.classes == PETS
    assert made.card["notes"][0] == "the file has no classifier: a fresh one for 3 classes"


def test_a_file_that_does_not_name_its_classes_is_said_to(tmp_path):
    save_file(weights(0, 12), tmp_path / "best.safetensors")
    made = library.import_weights(SOURCE, tmp_path / "best.safetensors")
    assert "does not name its 12 classes" in made.card["notes"][-1]
    assert "podium import --classes" in made.card["notes"][-1]


def test_a_flag_of_import_that_changes_nothing_is_refused_or_named(podium, tmp_path):
    save_file(weights(0, 12), tmp_path / "best.safetensors")
    (tmp_path / "names.txt").write_text("\n".join(AS_TEXT))
    words = ("import", SOURCE, tmp_path / "best.safetensors", "-o", "net")
    for more in ((), ("--classes", "names.txt"), ("--classes", "digits")):
        podium(*words, *more, "--class-order", "natural").refused(2, "class_order: 'natural' does nothing here")
    said = podium(*words, "--num-classes", 12, "--in-chans", 3)
    assert said.code == 0, said.err
    assert "the classifier has 12 classes already" in said.err
    assert "reads 3 channels already" in said.err
