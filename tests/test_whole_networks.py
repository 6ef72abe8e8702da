"""A file of whole networks is refused with a line that keeps all that the file says, and other files of code by their names."""

import itertools
import math
import operator
import os
import pickle
import random
import re
import shlex
import zipfile
import zoneinfo

import numpy as np
import pytest
import torch
from torch import nn

import podium
from podium.errors import ModelFileError
from podium.weights.pickled import read_pickled
from test_wrappers import PLAIN, SOURCE, in_this_process

__all__ = ["in_this_process"]  # the fixture that reads pickles without a child process
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
NAMES = tuple("abcdefghij")


class Normalize(nn.Module):
    """As torchvision's: numbers that are no buffers."""

    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = mean, std


class Fleeting(nn.Module):
    """With buffers that no state dict has."""

    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)


class Kept(Fleeting):
    """With buffers that every state dict has."""

    def __init__(self, mean, std):
        super().__init__(mean, std)
        self._non_persistent_buffers_set.clear()


class Around(nn.Module):
    """A network with a mean and a deviation of its own, of pixels from 0 to 255."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.pixel_mean, self.pixel_std = (torch.tensor(each) * 255 for each in (MEAN, STD))


class Learner:
    """What fastai's `learn.export` writes: an object with a network in it."""

    def __init__(self, model):
        self.model, self.vocab = model, list(NAMES)


class Tree(nn.Module):
    """Modules by the names of a state dict, without code."""

    def __init__(self, state):
        super().__init__()
        for name, value in state.items():
            *layers, last = name.split(".")
            at = self
            for layer in layers:
                if layer not in at._modules:
                    at.add_module(layer, nn.Module())
                at = at._modules[layer]
            at.register_buffer(last, value) if "running" in last or "num_" in last else at.register_parameter(
                last, nn.Parameter(value)
            )


@pytest.fixture(scope="module")
def net():
    return Tree(PLAIN)


def refused(content, tmp_path, save=torch.save):
    """The refusal of a file."""
    file = tmp_path / "it's mine.pth"
    save(content, file)
    with pytest.raises(ModelFileError, match=r"mine\.pth: holds more than weights: ") as caught:
        podium.import_weights(SOURCE, file)
    assert len(str(caught.value).splitlines()) == 2
    return caught.value


def mended(error, tmp_path, monkeypatch, **options):
    """What the line in a refusal makes of the file."""
    line = re.search(r"run python -c (.*?) beside it, and give (.*?); ", error.fix)
    monkeypatch.chdir(tmp_path)
    (code,) = shlex.split(line[1])
    exec(code, {})
    return podium.import_weights(SOURCE, tmp_path / line[2], **options)


def holds(bundle):
    """Whether a bundle has the weights that were saved."""
    return torch.equal(bundle.model.head.classifier.weight, PLAIN["linear.weight"])


def everything(net):
    return {"epoch": 3, "classes": list(NAMES), "mean": list(MEAN), "std": list(STD), "model": net}


PLACES = {
    "an entry": (lambda net: everything(net), '["model"]'),
    "a parallel one": (lambda net: everything(nn.DataParallel(net)), '["model"]'),
    "deep": (lambda net: {"checkpoint": everything(net), "epoch": 3}, '["checkpoint"]["model"]'),
    "in a tuple": (lambda net: (net, everything(None)), "[0]"),
    "in a list": (lambda net: [net, everything(None)], "[0]"),
    "with a criterion": (lambda net: {**everything(net), "criterion": nn.CrossEntropyLoss()}, '["model"]'),
    "twice": (lambda net: {**everything(net), "best": net}, '["model"]'),
}


@pytest.mark.parametrize(
    "wrap", [lambda n: n, nn.DataParallel, lambda n: {"net": n}, lambda n: {"net": nn.DataParallel(n)}]
)
def test_the_line_keeps_names_that_are_an_attribute_of_the_network(wrap, tmp_path, monkeypatch):
    own = Tree(PLAIN)
    own.classes = [*NAMES]
    made = mended(refused(wrap(own), tmp_path), tmp_path, monkeypatch)
    assert holds(made)
    assert made.classes == NAMES


@pytest.mark.parametrize("where", PLACES)
def test_the_line_keeps_what_is_beside_the_network(where, net, tmp_path, monkeypatch):
    wrap, place = PLACES[where]
    error = refused(wrap(net), tmp_path)
    assert f"d{place} = d{place}.state_dict()" in error.fix.replace("\\", "")
    made = mended(error, tmp_path, monkeypatch)
    assert holds(made)
    assert made.classes == NAMES
    assert made.preprocessing.mean == pytest.approx(MEAN)
    assert made.preprocessing.std == pytest.approx(STD)


def save_as_once(content, file):
    """In the format of torch before 1.6."""
    torch.save(content, file, _use_new_zipfile_serialization=False)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize(
    "save", [torch.save, save_as_once, lambda content, file: file.write_bytes(pickle.dumps(content))]
)
def test_a_network_in_an_object_is_found_and_the_line_says_what_it_loses(save, net, tmp_path, monkeypatch):
    """fastai's `learn.export`."""
    error = refused(Learner(net), tmp_path, save)
    assert "a whole network (test_whole_networks.Tree)" in error.what
    assert ".model.state_dict()" in error.fix
    assert "this leaves out what else is in the file, such as names of classes" in error.fix
    made = mended(error, tmp_path, monkeypatch, classes=NAMES)
    assert holds(made)
    assert made.classes == NAMES


@pytest.mark.parametrize("front", ["numbers", "fleeting", "around"])
def test_numbers_that_no_state_dict_has_are_said(front, net, tmp_path, monkeypatch):
    whole = {
        "numbers": lambda: nn.Sequential(Normalize(MEAN, STD), net),
        "fleeting": lambda: nn.Sequential(Fleeting(MEAN, STD), net),
        "around": lambda: Around(net),
    }[front]()
    error = refused(whole, tmp_path)
    name, behind = ("pixel_", ", divided by 255") if front == "around" else ("0.", "")
    numbers = f"its {name}mean is 0.4914, 0.4822, 0.4465 and its {name}std 0.247, 0.2435, 0.2616{behind}"
    assert f"; {numbers}, which its weights do not say: give these as mean and std" in error.fix
    made = mended(error, tmp_path, monkeypatch, mean=MEAN, std=STD)
    assert holds(made)
    assert made.preprocessing.mean == pytest.approx(MEAN)


def test_where_nothing_is_said_of_pixels_the_fix_asks(net, tmp_path, monkeypatch):
    assert refused(net, tmp_path).fix.endswith("; where the network prepares pixels itself, give mean and std too")
    made = mended(refused(nn.Sequential(Kept(MEAN, STD), net), tmp_path), tmp_path, monkeypatch)
    assert made.preprocessing.mean == pytest.approx(MEAN)


def test_a_whole_network_beside_its_weights_is_said(net, tmp_path):
    whole = Around(net)
    torch.save({**dict.fromkeys("abcdefgh", 1), "model": whole, "state_dict": whole.state_dict()}, tmp_path / "w.pth")
    (note,) = (note for note in podium.import_weights(SOURCE, tmp_path / "w.pth").card["notes"] if "left out" in note)
    assert (
        "model (a whole network, its pixel_mean is 0.4914, 0.4822, 0.4465 and its pixel_std 0.247, 0.2435, 0.2616, divided by 255)"
        in note
    )


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_archives_of_code_are_told_apart(tmp_path, monkeypatch):
    small, example = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval(), torch.zeros(1, 3, 8, 8)
    script = torch.jit.trace(small, example)
    error = refused(script, tmp_path, torch.jit.save)
    assert "a TorchScript archive" in error.what
    assert "torch.jit.load" in error.fix
    assert "give mean and std too" in error.fix
    torch.jit.save(torch.jit.freeze(script), tmp_path / "frozen.pt")
    with pytest.raises(ModelFileError, match=r"a frozen TorchScript archive.*\n.*that was frozen"):
        podium.import_weights(SOURCE, tmp_path / "frozen.pt")
    file = tmp_path / "it's mine.pth"
    torch.export.save(torch.export.export(small, (example,)), file.with_suffix(".pt2"))
    error = refused(file.with_suffix(".pt2"), tmp_path, lambda source, target: source.rename(target))
    assert "a program of torch.export" in error.what
    (code,) = shlex.split(re.search(r"run python -c (.*?) beside it", error.fix)[1])
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert torch.equal(torch.load(tmp_path / "it's mine-weights.pth")["0.weight"], small[0].weight)


@pytest.mark.parametrize("how", ["zip", "old", "protocol 5", "pickle", "transposed"])
def test_weights_that_are_arrays_of_numpy_are_read(how, tmp_path):
    arrays = {key: value.numpy() for key, value in PLAIN.items()}
    if how == "transposed":
        arrays = {key: np.asfortranarray(value) if value.ndim > 1 else value for key, value in arrays.items()}
    content = {
        "model": arrays,
        "classes": list(NAMES),
        "mean": np.array(MEAN),
        "std": np.array(STD),
        "acc": np.float64(0.9),
    }
    if how == "pickle":
        (tmp_path / "w.pth").write_bytes(pickle.dumps(content, protocol=5))
    else:
        more = {"old": {"_use_new_zipfile_serialization": False}, "protocol 5": {"pickle_protocol": 5}}.get(how, {})
        torch.save(content, tmp_path / "w.pth", **more)
    made = podium.import_weights(SOURCE, tmp_path / "w.pth")
    assert holds(made)
    assert made.classes == NAMES
    assert made.preprocessing.mean == pytest.approx(MEAN)
    tensors = read_pickled(tmp_path / "w.pth")[0]
    assert all(torch.equal(tensors[f"model.{key}"], value) for key, value in PLAIN.items())


class Array:
    """Unpickling this is an array of numpy that says another shape than it has bytes."""

    def __init__(self, shape, held, kind="f4"):
        self.shape, self.held, self.kind = shape, held, np.dtype(kind)

    def __reduce__(self):
        empty = np.zeros(1).__reduce__()
        return empty[0], empty[1], (1, self.shape, self.kind, False, self.held)

    def __setstate__(self, state):
        """So that pickle takes the state."""


@pytest.mark.parametrize(
    ("shape", "held"), [((1 << 40,), b"1234"), ((-1,), b"1234"), ((0, 1 << 62), b""), ((2,), b"1234"), ((True,), b"1234"), ((1,) * 99, b"1234")]
)  # fmt: skip
def test_an_array_of_another_size_than_its_bytes_is_none(shape, held, tmp_path):
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"conv1.weight": Array(shape, held)}, protocol=4))
    with pytest.raises(ModelFileError, match="no tensors that have names"):
        read_pickled(tmp_path / "w.pth")


HARMLESS = {
    "itemgetter": operator.itemgetter(1),
    "lt": operator.lt,
    "random": random.Random(0),
    "count": itertools.count(3),
    "max": max,
    "len": len,
    "log": math.log,
    "join": os.path.join,
    "zone": zoneinfo.ZoneInfo("UTC"),
}


def test_harmless_objects_of_the_standard_library_are_left_out(tmp_path):
    torch.save({"state_dict": PLAIN, **HARMLESS, "hyper_parameters": dict(HARMLESS)}, tmp_path / "w.pth")
    made = podium.import_weights(SOURCE, tmp_path / "w.pth")
    assert holds(made)
    assert "left out, beside the weights: itemgetter, lt, random" in "\n".join(made.card["notes"])


def test_who_wrote_a_refused_file_is_told_how_to_save_the_weights_alone(tmp_path):
    torch.save({"state_dict": PLAIN, "o": os.getcwd}, tmp_path / "w.pth")
    with pytest.raises(
        ModelFileError, match=r"more than weights \(posix.getcwd\)[^\n]*\n.*where you wrote it yourself"
    ):
        podium.import_weights(SOURCE, tmp_path / "w.pth")


def test_another_archive_stays_one(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("model.json", "{}")
    with pytest.raises(ModelFileError, match="an archive"):
        read_pickled(tmp_path / "a.zip")
