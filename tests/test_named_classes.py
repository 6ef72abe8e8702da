"""The names of classes that a checkpoint keeps beside its weights become the bundle's, and nothing else is given silently."""

import argparse
import collections
import json
import types

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import podium
from podium.runs.named import CIFAR10_CLASSES
from podium.weights import foreign, named
from podium.weights.foreign import read_checkpoint
from test_wrappers import SOURCE, in_this_process, under, weights

__all__ = ["in_this_process"]  # the fixture that reads pickles without a child process
IN_A_CHILD = foreign._in_a_child
EUROSAT = (
    "AnnualCrop", "Forest", "Herbaceous", "Highway", "Industrial", "Pasture", "PermanentCrop", "Residential", "River", "SeaLake",
)  # fmt: skip
TO_NUMBER = {name: i for i, name in reversed(list(enumerate(EUROSAT)))}
TO_NAME = dict(enumerate(EUROSAT))
NUMBERED = tuple(f"class {i}" for i in range(10))
STATE = weights()


def made(content, tmp_path, **options):
    torch.save({"state_dict": STATE, **content}, tmp_path / "best.pth")
    return podium.import_weights(SOURCE, tmp_path / "best.pth", **options)


def notes_of(bundle):
    """The notes that are of names."""
    return [note for note in bundle.card["notes"] if "classes" in note and "left out" not in note]


NAMED = {
    "classes": {"classes": list(EUROSAT)},
    "CLASSES": {"CLASSES": EUROSAT},
    "class_names": {"class_names": np.array(EUROSAT)},
    "label_names": {"label_names": list(np.unique(EUROSAT))},
    "labels": {"labels": list(EUROSAT)},
    "class_to_idx": {"class_to_idx": TO_NUMBER},
    "idx_to_class": {"idx_to_class": TO_NAME},
    "id2label": {"id2label": {str(i): name for i, name in TO_NAME.items()}},
    "label2id": {"label2id": collections.OrderedDict(TO_NUMBER)},
    "classes of objects": {"classes": np.array(EUROSAT, dtype=object)},
    "numbers of numpy": {"class_to_idx": {name: np.int64(i) for name, i in TO_NUMBER.items()}},
    "args": {"args": argparse.Namespace(lr=0.1, classes=list(EUROSAT))},
    "hyper_parameters": {"hyper_parameters": {"lr": 0.1, "class_names": list(EUROSAT)}},
    "config": {"config": {"model": {"depth": 20}, "id2label": TO_NAME}},
    "meta": {"meta": {"CLASSES": EUROSAT, "epoch": 9}},
    "meta.dataset_meta": {"meta": {"dataset_meta": {"classes": EUROSAT}}},
    "an object": {
        "train_dataset": types.SimpleNamespace(classes=list(EUROSAT), class_to_idx=TO_NUMBER, targets=[0, 1])
    },
    "two places": {"classes": list(EUROSAT), "class_to_idx": TO_NUMBER},
}


@pytest.mark.parametrize("how", NAMED)
def test_names_in_the_file_are_taken_and_said(how, tmp_path):
    bundle = made(NAMED[how], tmp_path)
    assert bundle.classes == EUROSAT
    (note,) = notes_of(bundle)
    assert note.startswith("names of the classes from the file's ")
    assert note.endswith(": AnnualCrop, Forest, Herbaceous, Highway, Industrial, Pasture, ...")
    assert next(iter(NAMED[how])) in note or how == "an object"


@pytest.mark.parametrize("options", [{"_use_new_zipfile_serialization": False}, {"pickle_protocol": 5}])
def test_arrays_of_names_are_read_as_every_protocol_writes_them(options, tmp_path):
    torch.save({"model": STATE, "classes": np.array(EUROSAT)}, tmp_path / "best.pth", **options)
    assert podium.import_weights(SOURCE, tmp_path / "best.pth").classes == EUROSAT


def test_names_that_are_digits_are_names(tmp_path):
    """Those of SVHN are "0" to "9"; without a word in the file they are CIFAR-10's, whose network this is."""
    assert made({"class_to_idx": {str(i): i for i in range(10)}}, tmp_path).classes == tuple("0123456789")
    for nothing in ({}, {"classes": 10}, {"classes": list(range(10))}, {"classes": None}, {"classes": np.int64(10)}):
        bundle = made(nothing, tmp_path)
        assert bundle.classes == CIFAR10_CLASSES
        assert any("taken for CIFAR-10's; podium import --classes names others" in note for note in notes_of(bundle))


def test_a_thousand_classes_of_ones_own_are_not_imagenets(tmp_path):
    names = [f"whale {i}" for i in range(1000)]
    torch.save(
        {"state_dict": weights(0, 1000), "class_to_idx": {n: i for i, n in enumerate(names)}}, tmp_path / "w.pth"
    )
    assert podium.import_weights(SOURCE, tmp_path / "w.pth").classes == tuple(names)


def test_names_for_a_width_without_names_on_record_are_not_said_to_lack(tmp_path):
    torch.save({"model": weights(0, 3), "classes": ["cat", "dog", "eel"]}, tmp_path / "w.pth")
    bundle = podium.import_weights(SOURCE, tmp_path / "w.pth")
    assert bundle.classes == ("cat", "dog", "eel")
    assert not [note for note in bundle.card["notes"] if "not name" in note or "left out" in note]


WRONG = {
    "nine": ({"classes": EUROSAT[:9]}, "classes has 9 names, and the network 10 outputs"),
    "twice": ({"classes": [*EUROSAT[:9], "Forest"]}, "classes: 'Forest' occurs more than once"),
    "empty": ({"classes": [*EUROSAT[:9], " "]}, "classes: the name of class 9 is empty"),
    "from 1": ({"class_to_idx": {n: i + 1 for n, i in TO_NUMBER.items()}}, "class_to_idx: its 10 classes are not numbered 0 to 9"),
    "gap": ({"args": {"id2label": {3 * i: n for i, n in TO_NAME.items()}}}, "args.id2label: its 10 classes are not numbered 0 to 9"),
    "no texts": ({"classes": [{"name": name} for name in EUROSAT]}, "classes cannot be read as a list or a dictionary of names"),
    "a set": ({"classes": set(EUROSAT)}, "classes cannot be read as a list"),
    "long": ({"classes": [*EUROSAT[:9], "x" * 1001]}, "classes cannot be read as a list"),
    "half a letter": ({"classes": [*EUROSAT[:9], "\ud800"]}, "classes cannot be read as a list"),
    "differ": ({"classes": list(EUROSAT), "idx_to_class": {**TO_NAME, 3: "River", 8: "Highway"}}, "class 3 is 'Highway' in classes, and 'River' in idx_to_class"),
}  # fmt: skip


@pytest.mark.parametrize("how", WRONG)
def test_names_that_do_not_fit_are_said_and_none_on_record_take_their_place(how, tmp_path):
    content, says = WRONG[how]
    bundle = made(content, tmp_path)
    assert bundle.classes == NUMBERED
    first, last = notes_of(bundle)
    assert first.startswith(f"not taken: names of classes in the file, since {says}")
    assert last.startswith("no names in the file fit its 10 classes: they are called class 0 to class 9")
    given = made(content, tmp_path, classes=EUROSAT)
    assert given.classes == EUROSAT


def test_names_that_fit_are_taken_beside_some_that_do_not(tmp_path):
    bundle = made({"classes": list(EUROSAT), "args": {"classes": ["all"]}}, tmp_path)
    assert bundle.classes == EUROSAT
    assert notes_of(bundle)[1].endswith("since args.classes: 1 names of classes")


def test_what_may_be_something_else_does_no_harm(tmp_path):
    """The labels of images, the names of parameters, and Hugging Face's names for classes without names."""
    beside = {
        "labels": ["cat", "dog", "cat"],
        "names": ["conv1", "bn1"],
        "id2label": {i: f"LABEL_{i}" for i in range(10)},
    }
    bundle = made(beside, tmp_path)
    assert bundle.classes == CIFAR10_CLASSES
    assert "left out, beside the weights: labels, names, id2label" in bundle.card["notes"]


def test_names_that_are_given_win_and_a_note_says_where_the_file_differs(tmp_path):
    turned = EUROSAT[::-1]
    bundle = made({"classes": list(EUROSAT)}, tmp_path, classes=turned)
    assert bundle.classes == turned
    says = "since class 0 is 'AnnualCrop' in classes, and 'SeaLake' in the names that are given"
    assert notes_of(bundle) == [f"not taken: names of classes in the file, {says}"]
    assert not notes_of(made({"classes": list(EUROSAT)}, tmp_path, classes=EUROSAT))


def test_a_fresh_classifier_does_not_have_the_names_of_the_old_one(tmp_path):
    bundle = made({"classes": list(EUROSAT)}, tmp_path, num_classes=4)
    assert bundle.classes == NUMBERED[:4]
    assert "not taken: names of classes in the file (classes), since the classifier is fresh" in bundle.card["notes"]


def test_a_folder_of_the_hub_and_metadata_name_classes_too(tmp_path):
    save_file(STATE, tmp_path / "model.safetensors")
    config = tmp_path / "config.json"
    for content in ({"architecture": "resnet20", "label_names": EUROSAT}, {"id2label": TO_NAME, "label2id": TO_NUMBER}):
        config.write_text(json.dumps(content))
        for path in (tmp_path, tmp_path / "model.safetensors"):
            bundle = podium.import_weights(SOURCE, path)
            assert bundle.classes == EUROSAT
            assert f"{list(content)[-1]} in config.json" in notes_of(bundle)[0]
    config.write_text("{")
    bundle = podium.import_weights(SOURCE, tmp_path)
    assert bundle.classes == NUMBERED
    assert "config.json cannot be read" in notes_of(bundle)[0]
    config.write_text("[]")
    assert podium.import_weights(SOURCE, tmp_path).classes == CIFAR10_CLASSES
    save_file(STATE, tmp_path / "own.safetensors", {"format": "pt", "class_names": json.dumps(EUROSAT)})
    assert podium.import_weights(SOURCE, tmp_path / "own.safetensors").classes == EUROSAT
    save_file(STATE, tmp_path / "own.safetensors", {"class_names": "cat,dog"})
    assert podium.import_weights(SOURCE, tmp_path / "own.safetensors").classes == NUMBERED


def test_training_on_from_a_file_that_names_its_classes_keeps_the_classifier_for_them(tmp_path):
    from podium.training.transfer.source import origin_of, read_source

    torch.save({"model": STATE, "classes": list(EUROSAT)}, tmp_path / "w.pth")
    source = read_source(f"{SOURCE}={tmp_path / 'w.pth'}")
    assert source.bundle.classes == EUROSAT
    assert origin_of(source) == SOURCE, "not CIFAR-10"


def test_a_file_without_end_names_no_more_than_some_classes(tmp_path):
    round_and_round = {}
    round_and_round["config"] = round_and_round["args"] = round_and_round
    many = {f"class{'_' * i}names": [f"{i}", "x"] for i in range(50)}
    found = named.names_in({**round_and_round, **many, "classes": [str(i) for i in range(100_001)]})
    assert len(found) == named.MOST_PLACES
    assert named.names_in({"classes": [str(i) for i in range(100_001)]}) == {"classes": None}
    assert named.names_in({"classes": [f"{i}" + "x" * 990 for i in range(1100)]}) == {"classes": None}


def test_names_come_through_the_process_that_reads_a_pickle(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "_in_a_child", IN_A_CHILD)
    torch.save({"model": under("module.", STATE), "classes": ["猫\n\"'", "\x00犬"]}, tmp_path / "w.pth")
    assert read_checkpoint(tmp_path / "w.pth").named == {"classes": ["猫\n\"'", "\x00犬"]}
