"""Calls from Python that cannot be meant: two lines with the right mend, never a bare TypeError, never an empty mend."""

import numpy as np
import pytest

import podium
from podium.calls import meant
from podium.errors import PodiumError, UsageError
from podium.settings import FIELDS
from podium.training.recipes.named import settings_of

NAN = float("nan")
WRONG = [  # function, arguments, keywords, words of the error, words of the mend
    ("train", ("lenet5", "digits", "x"), {"val": "20%"}, "val: '20%'", "0.2"),
    ("train", ("lenet5", "digits", "x"), {"lr": "0.1"}, "lr: '0.1'", "0.1"),
    ("train", ("lenet5", "digits", "x"), {"learning_rate": 0.1}, "'learning_rate'", "did you mean lr?"),
    ("train", ("lenet5", "digits", "x"), {"epoch": 1}, "'epoch'", "did you mean epochs?"),
    ("train", ("lenet5", "digits", "x"), {"batch": 8}, "'batch'", "did you mean batch_size?"),
    ("train", ("lenet5", "digits", "x"), {"wd": 0.1}, "'wd'", "did you mean weight_decay?"),
    ("train", ("lenet5", "digits", "x"), {"optim": "adam"}, "'optim'", "did you mean optimizer?"),
    ("train", ("lenet5", "digits", "x"), {"pretrained": True}, "'pretrained'", 'weights="torchvision:'),
    ("train", ("lenet5", "digits", "x"), {"zzzz": True}, "'zzzz'", "podium train --help"),
    ("train", ("lenet5", "digits", "x"), {"epochs": "3"}, "epochs: '3'", "give the number: 3"),
    ("train", ("lenet5", "digits", "x"), {"epochs": "2.5"}, "epochs: '2.5'", "give the number: 2.5"),
    ("train", ("lenet5", "digits", "x"), {"clip": "5"}, "clip: '5'", "give the number: 5"),
    ("load_data", ("digits",), {"val": "0"}, "val: '0'", "val=0"),
    ("train", ("lenet5", "digits", "x"), {"epochs": -1}, "epochs: -1", "at least 1"),
    ("train", ("lenet5", "digits", "x"), {"epochs": NAN}, "epochs: nan", "at least 1"),
    ("train", ("lenet5", "digits", "x"), {"epochs": True}, "epochs: True", "number"),
    ("train", ("lenet5", "digits", "x"), {"steps": 1.5}, "steps: 1.5", "whole number"),
    ("train", ("lenet5", "digits", "x"), {"budget": 90}, "budget: '90'", "90s"),
    ("train", ("lenet5", "digits", "x"), {"budget": "30ep"}, "budget: '30ep'", "90s"),
    ("train", ("lenet5", "digits", "x"), {"flip": "yes"}, "flip: 'yes'", "true or false"),
    ("train", ("lenet5", "digits", "x"), {"milestones": [2, 3]}, "milestones: [2, 3]", "between 0 and 1"),
    ("train", ("lenet5", "digits", "x"), {"config": 3}, "config: 3", "a path"),
    ("train", ("lenet5", "digits", "x"), {"recipe": 3}, "recipe: 3", "a text"),
    ("train", ("lenet5", "digits", "x"), {"elastic": True}, "elastic: True", "resume=True"),
    ("train", ("lenet5", "digits"), {}, "'out'", "train(net, data, out"),
    ("train", ("lenet5", "digits", "x", "y", "z"), {}, "too many", "train(net, data, out"),
    ("train", (None, "digits", "x"), {}, "net: None", "a ConvNet"),
    ("train", ("lenet5", ["digits"], "x"), {}, "data: ['digits']", "load_data"),
    ("train", ("lenet5", "digits", None), {}, "out: None", "a path"),
    ("load_data", (["a"],), {}, "source: ['a']", "folder"),
    ("load_data", (None,), {}, "source: None", "folder"),
    ("load_data", (42,), {}, "source: 42", "folder"),
    ("load_data", (b"digits",), {}, "source: b'digits'", "folder"),
    ("load_data", ("digits",), {"val": "20%"}, "val: '20%'", "val=0.2"),
    ("load_data", ("digits",), {"seed": "1"}, "seed: '1'", "seed=1"),
    ("load_data", ("digits",), {"validation_split": 0.2}, "'validation_split'", "did you mean val?"),
    ("load_data", ("digits",), {"val": NAN}, "val: nan", "finite"),
    ("load_data", ("digits",), {"seed": -1}, "seed: -1", "at least 0"),
    ("load_data", ("digits",), {"max_pixels": 0}, "max_pixels: 0", "at least 1"),
    ("check", ("digits",), {"max_pixels": -1}, "max_pixels: -1", "at least 1"),
    ("create_model", ("resnet18",), {"pretrained": True}, "'pretrained'", 'weights="torchvision:'),
    ("create_model", ("resnet18",), {"num_classes": "10"}, "num_classes: '10'", "num_classes=10"),
    ("create_model", ("resnet18",), {"classes": 10}, "'classes'", "did you mean num_classes?"),
    ("create_model", (3,), {}, "name: 3", "a text"),
    ("create_model", (), {}, "'name'", "create_model(name"),
    ("compare", ("resnet20", "digits", "x"), {}, "models: 'resnet20'", "models=['resnet20']"),
    ("compare", (["resnet20"], "digits", "x"), {"seeds": "3"}, "seeds: '3'", "seeds=3"),
    ("compare", (["resnet20", 3], "digits", "x"), {}, "models: ", "list of texts"),
    ("compare", ([], "digits", "x"), {}, "none given", "give the names of some with models=, such as"),
    ("compare", (["resnet20"], "digits", "x"), {"rank_by": 3}, "rank_by: 3", "a text"),
    ("compare", (["resnet20"], "digits", "x"), {"rank_by": "macro-f2"}, "rank_by: 'macro-f2'", "macro-f1"),
    ("evaluate", ("runs/a", 42), {}, "data: 42", "folder"),
    ("evaluate", ("runs/a", "digits"), {"splt": "val"}, "'splt'", "did you mean split"),
    ("evaluate", ("runs/a", "digits"), {"limit": "5"}, "limit: '5'", "limit=5"),
    ("diff", ("runs/a",), {}, "'second'", "diff(first, second"),
    ("diff", ("runs/a", 3), {}, "second: 3", "a path"),
    ("diff", ("runs/a", "runs/b", "photos"), {"label_colum": "x"}, "'label_colum'", "did you mean label_column"),
    ("diff", ("runs/a", "runs/b"), {"label_column": "x"}, "no data are given", "give the data too"),
    ("export", ("runs/a",), {}, "'out'", "export(run, out"),
    ("export", ("runs/a", "x.onnx"), {"format": 3}, "format: 3", "a text"),
    ("slim", ("resnet18", "digits", "x"), {"width": "0.5"}, "width: '0.5'", "width=0.5"),
    ("slim", ("resnet18", "digits", "x"), {"width": 0.5, "depth": 2}, "depth: 2", "list of whole numbers"),
    ("slim", ("resnet18", "digits", "x"), {}, "'width'", "slim(name, data, out, width"),
    ("prune", ("runs/a", "digits"), {"latency": [1]}, "latency: [1]", "a text or a number"),
    ("prune", ("runs/a", "digits"), {"macs": "0.5"}, "macs: '0.5'", "macs=0.5"),
    ("prune", ("runs/a", "digits"), {"macs": NAN}, "macs: nan", "finite"),
    ("prune", (3, "digits"), {"macs": 0.5}, "run: 3", "a path"),
    ("distill", ("runs/a", 5, "digits", "x"), {}, "student: 5", "a text"),
    ("distill", ("runs/a", "lenet5", "digits", "x"), {"alpha": "0.5"}, "alpha: '0.5'", "0.5"),
    ("load", (3,), {}, "path: 3", "a path"),
    ("verify", (None,), {}, "path: None", "a path"),
    ("check", (3,), {}, "source: 3", "folder"),
    ("check", ("photos",), {"lables": True}, "'lables'", "did you mean labels"),
    ("check", ("photos",), {"max_pixel": 9}, "'max_pixel'", "did you mean max_pixels"),
    ("import_weights", (3,), {}, "source: 3", ""),
    ("import_weights", ("torchvision:resnet18", 4), {}, "path: 4", "a path"),
    ("import_weights", ("torchvision:resnet18",), {"class_order": "natural"}, "does nothing here", "classes=DATA"),
    ("list_models", (3,), {}, "pattern: 3", "a text"),
    ("architecture", (None,), {}, "name: None", "a text"),
]


@pytest.mark.parametrize(("name", "arguments", "keywords", "says", "mend"), WRONG)
def test_a_call_that_cannot_be_meant_is_two_lines(tmp_path, monkeypatch, name, arguments, keywords, says, mend):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        getattr(podium, name)(*arguments, **keywords)
    assert says in caught.value.what
    assert caught.value.fix
    assert mend in caught.value.fix
    assert len(str(caught.value).splitlines()) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("method", "keywords", "says"),
    [
        ("predict", {"images": 3}, "images: 3"),
        ("predict", {"images": "a.png", "top": "3"}, "top: '3'"),
        ("predict", {"image": "a.png"}, "'image'"),
    ],
)
def test_a_loaded_run_is_asked_alike(run, method, keywords, says):
    with pytest.raises(UsageError, match=says) as caught:
        getattr(podium.load(run.path), method)(**keywords)
    assert caught.value.fix


@pytest.mark.parametrize(
    "keywords",
    [{"tolerance": NAN}, {"tolerance": -1}, {"seconds": -1.0}, {"limit": "5"}, {"tol": 0.1}, {"epochs": "3"}],
)
def test_quantize_and_prune_refuse_before_they_begin(run, tmp_path, keywords):
    with pytest.raises(UsageError) as caught:
        podium.quantize(run.path, "digits", tmp_path / "out", **keywords)
    assert caught.value.fix
    if "tolerance" in keywords:
        with pytest.raises(UsageError, match="tolerance"):
            podium.prune(run.path, "digits", tmp_path / "out", macs=0.5, **keywords)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize(
    "value", [object(), [], {}, {1}, b"x", NAN, -1, True, (1, "a"), [None], 1j, 10**30, np.ones(1)]
)
def test_no_value_of_a_setting_is_a_fault_of_podiums_own(name, value):
    said = []
    try:
        settings_of(None, None, {name: value})
    except PodiumError as error:
        said.append(error)
    assert all(error.fix and len(str(error).splitlines()) == 2 for error in said)


def test_numbers_of_numpy_lists_and_paths_are_taken(tmp_path):
    asked = {"seed": np.int64(3), "lr": np.float32(0.5), "milestones": [0.5, 0.75], "weights": tmp_path}
    s = settings_of(None, None, asked).settings
    assert (s.seed, s.lr, s.milestones, s.weights) == (3, 0.5, (0.5, 0.75), str(tmp_path))
    assert len(podium.load_data("digits", val=np.float64(0.25), seed=np.int64(1)).splits["val"]) > 0


@pytest.mark.parametrize("word", ["zzz", "q", "", "epoch", "LEARNING_RATE", "train-batch-size"])
def test_a_mend_is_never_empty(word):
    assert meant(word, FIELDS, "`podium train --help` lists them")
