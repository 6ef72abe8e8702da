"""ImageNet as it is downloaded: the labels of the flat validation images, whose numbers have two orders.

The first five validation images are n01751748, n09193705, n02105855, n04263257 and n03125729. The development kit's ground truth
gives them the numbers 490, 361, 171, 822 and 297 (ILSVRC ids), and Caffe's val.txt 65, 970, 230, 809 and 516 (sorted WordNet ids).
"""

import json

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

import podium
from command import inside
from podium.data.sources import read
from podium.errors import DataError
from podium.imagenet import class_names, wordnet_ids
from test_layouts import picture, split_classes
from test_tables import classes_of
from test_wrappers import SOURCE, weights

FIRST = ("n01751748", "n09193705", "n02105855", "n04263257", "n03125729")
ILSVRC, SORTED = (490, 361, 171, 822, 297), (65, 970, 230, 809, 516)
NAMES = [f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, 6)]


def in_kit_s_order():
    """1,000 WordNet ids in no order, of which the five known ones have their ILSVRC ids."""
    ids = [f"n9{7919 * n % 100003:07d}" for n in range(1000)]
    for number, wnid in zip(ILSVRC, FIRST, strict=True):
        ids[number - 1] = wnid
    return ids


def in_sorted_order():
    """1,000 sorted WordNet ids, of which the five known ones stand at their places: others are made up between them."""
    ids, last = [], 1440000
    known = dict(zip(SORTED, FIRST, strict=True))
    for place in range(1000):
        last = int(known[place][1:]) if place in known else last + 1
        ids.append(f"n{last:08d}")
    return ids


@pytest.fixture
def val(tmp_path):
    root = tmp_path / "imagenet"
    root.mkdir()
    for name in NAMES:
        (root / name).write_bytes(picture())
    return root


@pytest.fixture
def truth(val):
    (val / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{n}\n" for n in ILSVRC))
    return val


EXPECTED = dict(zip(NAMES, FIRST, strict=True))


def test_the_ground_truth_with_the_kit_s_meta_mat(truth):
    from scipy.io import savemat

    rows = np.zeros(1000, [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)])
    for n, wnid in enumerate(in_kit_s_order(), 1):
        rows[n - 1] = (n, wnid, "a word")
    (truth / "devkit/data").mkdir(parents=True)
    savemat(truth / "devkit/data/meta.mat", {"synsets": rows})
    data = read(truth)
    assert classes_of(data) == EXPECTED
    assert any("has ILSVRC ids" in note for note in data.notes)


@pytest.mark.parametrize("form", ["{1} {0} some_name", "{0} {1}", "{1}"])
def test_the_ground_truth_with_a_list_in_its_own_order(truth, form):
    lines = [form.format(n, wnid) for n, wnid in enumerate(in_kit_s_order(), 1)]
    (truth / "map_clsloc.txt").write_text("\n".join(lines))
    assert classes_of(read(truth)) == EXPECTED


@pytest.mark.parametrize("name", ["synset_words.txt", "LOC_synset_mapping.txt"])
def test_the_ground_truth_with_the_other_order_is_refused(truth, name):
    (truth / name).write_text("\n".join(f"{wnid} a word, another" for wnid in in_sorted_order()))
    with pytest.raises(
        DataError, match=rf"has ILSVRC ids, and .*{name} is in the order of WordNet ids, which is another"
    ):
        read(truth)


def test_the_ground_truth_alone_is_refused(truth):
    with pytest.raises(DataError, match=r"nothing beside it says which WordNet ids(.|\n)*meta.mat"):
        read(truth)


def test_a_ground_truth_from_0_is_refused(val):
    (val / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{n}\n" for n in (0, *SORTED[1:])))
    (val / "synset_words.txt").write_text("\n".join(in_sorted_order()))
    with pytest.raises(DataError, match="their order cannot be known"):
        read(val)


def test_kaggle_s_solution(val):
    rows = [f"{name[:-5]},{wnid} 1 2 3 4 {wnid} 5 6 7 8" for name, wnid in EXPECTED.items()]
    (val / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *reversed(rows)]))
    assert classes_of(read(val)) == EXPECTED


def test_inception_s_list_of_ids(val):
    listed = val / "imagenet_2012_validation_synset_labels.txt"
    listed.write_text("\n".join(FIRST))
    assert classes_of(read(val)) == EXPECTED
    listed.write_text("\n".join(FIRST[:-1]))
    with pytest.raises(DataError, match=f"{len(FIRST) - 1} lines for {len(FIRST)} images"):
        read(val)
    listed.write_text("\n".join([*FIRST[:-1], "65"]))
    with pytest.raises(DataError, match=f"line {len(FIRST)}: no WordNet id"):
        read(val)


def test_caffe_s_list_counts_sorted_ids(val):
    lines = [f"{name} {n}" for name, n in zip(NAMES, SORTED, strict=True)]
    (val / "val.txt").write_text("\n".join([*lines, "ILSVRC2012_val_00000006.JPEG 0"]))
    with pytest.raises(DataError, match=r"nothing says which WordNet ids(.|\n)*synset_words.txt"):
        read(val)
    (val / "synset_words.txt").write_text("\n".join(f"{wnid} a word" for wnid in in_sorted_order()))
    data = read(val)
    assert classes_of(data) == EXPECTED
    assert any("counts sorted WordNet ids from 0" in note for note in data.notes)


def test_a_list_that_may_count_from_0_or_from_1_cannot_be_known(val):
    (val / "val.txt").write_text("".join(f"{name} {n + 1}\n" for name, n in zip(NAMES, SORTED, strict=True)))
    (val / "synset_words.txt").write_text("\n".join(in_sorted_order()))
    with pytest.raises(DataError, match="numbers from 66 to 971"):
        read(val)


def test_no_labels_at_all(val):
    with pytest.raises(DataError, match=r"no file has their labels(.|\n)*LOC_val_solution.csv"):
        read(val)


def test_the_whole_of_kaggle_s_download(tmp_path):
    """Class folders to train on, flat validation images, test images without labels, and the solution at the top."""
    root = tmp_path / "kaggle"
    images = root / "ILSVRC/Data/CLS-LOC"
    for wnid in FIRST[:2]:
        (images / "train" / wnid).mkdir(parents=True)
        for n in range(3):
            (images / "train" / wnid / f"{wnid}_{n}.JPEG").write_bytes(picture())
    for part, names in (("val", NAMES[:2]), ("test", ["ILSVRC2012_test_00000001.JPEG"])):
        (images / part).mkdir()
        for name in names:
            (images / part / name).write_bytes(picture())
    rows = [f"{name[:-5]},{wnid} 1 2 3 4" for name, wnid in EXPECTED.items()]
    (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]))
    data = read(root)
    assert split_classes(data) == {"train": dict.fromkeys(FIRST[:2], 3), "val": dict.fromkeys(FIRST[:2], 1)}
    assert any("1 file " in note and "WordNet" in note for note in data.notes)
    done = inside("check", root, "--json")
    assert json.loads(done.stdout)["classes"][FIRST[0]] == {"train": 3, "val": 1}


def test_class_folders_of_wordnet_ids_are_evaluated_by_a_network_that_knows_names_and_the_other_way_round(tmp_path):
    names = dict(zip(wordnet_ids(), class_names(), strict=True))
    save_file(weights(0, 1000), tmp_path / "w.safetensors")
    for i, wnid in enumerate(FIRST[:3]):
        for folder in (tmp_path / "ids" / wnid, tmp_path / "names" / names[wnid]):
            folder.mkdir(parents=True)
            for n in range(2):
                pixels = np.random.default_rng([i, n]).integers(0, 256, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{n}.png")
    for classes in (class_names(), wordnet_ids()):
        made = podium.import_weights(SOURCE, tmp_path / "w.safetensors", classes=classes)
        plain, other = (podium.evaluate(made, tmp_path / kind) for kind in ("names", "ids"))
        assert plain["loss"] == pytest.approx(other["loss"])
        assert plain["top1"] == other["top1"]
        assert plain["per_class"] == other["per_class"]
        said = [sum("class folders are ImageNet's" in note for note in found["notes"]) for found in (plain, other)]
        assert said == ([0, 1] if classes == class_names() else [1, 0])
    (tmp_path / "ids" / FIRST[0]).rename(tmp_path / "ids" / "n99999999")
    with pytest.raises(DataError, match="n99999999"):
        podium.evaluate(made.__class__(made.model, class_names(), made.preprocessing, made.card), tmp_path / "ids")


def test_tiny_imagenet_as_it_is_downloaded(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    places = [f"train/{wnid}/images/{wnid}_{n}.JPEG" for wnid in FIRST[:2] for n in range(3)]
    places += [f"val/images/val_{n}.JPEG" for n in range(4)] + ["test/images/test_0.JPEG"]
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(picture())
    lines = [f"val_{n}.JPEG\t{FIRST[n % 2]}\t0\t32\t44\t62" for n in range(4)]
    (root / "val/val_annotations.txt").write_text("\n".join(lines))
    (root / "wnids.txt").write_text("\n".join(FIRST[:2]))
    data = read(root)
    assert split_classes(data) == {"train": dict.fromkeys(FIRST[:2], 3), "val": dict.fromkeys(FIRST[:2], 2)}
    assert classes_of(data)["val_1.JPEG"] == FIRST[1]
    assert any("1 file " in note and "WordNet" in note for note in data.notes)
    assert split_classes(read(root / "val")) == {"train": dict.fromkeys(FIRST[:2], 2)}
    (root / "val/val_annotations.txt").write_text("\n".join(lines[:3]))
    with pytest.raises(DataError, match=r"no label in val_annotations\.txt"):
        read(root)
