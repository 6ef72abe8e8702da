"""What several tests need: the real data beside the repository, and runs small enough to be made in a test."""

import csv
import gc
import hashlib
import os
import shutil
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FSYNC = os.fsync
torch.set_num_threads(1)  # two processes share two cores

# A network of each family, the cheapest that shows what the family has: `make test` runs these, `make test-all` every name.
SAMPLE = (
    "lenet5",
    "lenet5_modern",
    "alexnet",
    "zfnet",
    "vgg11_bn",
    "googlenet",
    "bn_inception",
    "inception_resnet_v1",
    "resnet18",
    "resnet20",
    "resnetv2_18",
    "resnetv2_164",
    "resnext50_32x4d",
    "seresnet18",
    "wide_resnet50_2",
    "xception",
    "mobilenet_v1",
    "densenet121",
    "article_vgg11_mnist",
)

FEW = ("lenet5_modern", "vgg11_bn", "resnet20", "mobilenet_v1")  # where a network costs seconds


@pytest.fixture(scope="module", autouse=True)
def _less_garbage_collection():
    """Leave out of it what was there before a file's tests: each training collects garbage, and half a second would go to that."""
    gc.collect()
    gc.freeze()


def sampled(cases, fast=SAMPLE):
    """The cases of a parametrised test, of which `make test` runs some and `make test-all` every one.

    Args:
        cases: values, or tuples of several arguments.
        fast: the values, of the first argument, that `make test` runs; or a number, of the first cases.
    """
    cases = [case if isinstance(case, tuple) else (case,) for case in cases]
    always = {case[0] for case in cases[:fast]} if isinstance(fast, int) else fast
    return [pytest.param(*case, marks=() if case[0] in always else pytest.mark.slow) for case in cases]


@pytest.fixture(scope="session", autouse=True)
def _left_to_tests_of_their_own():
    """What would take time in most tests, and is tested where the comment says."""
    from command import forked_python
    from podium.weights import foreign

    subprocess = SimpleNamespace(run=forked_python, TimeoutExpired=foreign.subprocess.TimeoutExpired)
    with pytest.MonkeyPatch.context() as patch:
        # Networks of a comparison are exported and timed in engines, seconds each: tests/test_deployed.py.
        patch.setattr("podium.comparison.study.time_deployed", lambda *_: [])
        # The speed of each is measured for a second or more: tests/test_cost.py.
        patch.setattr("podium.comparison.study.allowance", lambda _: 0.0)
        # The disk is waited for at every file, against power cuts: tests/test_lasting.py.
        patch.setattr("os.fsync", lambda _: None)
        # Checkpoints are read by a process that imports torch, a second each; here it is forked: tests/test_weights.py.
        patch.setattr(foreign, "subprocess", subprocess)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ../shared; where it is missing the test is skipped, saying so."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs ../shared/data, which is not here")
    return folder


@pytest.fixture(scope="session")
def reference(shared):
    """The rows of the reference table of architectures, by (name, variant)."""
    with (shared / "reference" / "architectures.csv").open() as file:
        return {(row["name"], row["variant"]): row for row in csv.DictReader(file)}


@pytest.fixture(scope="session")
def small_set(tmp_path_factory):
    """400 training images, twelve steps an epoch, and 60 to judge by, as MNIST's files."""
    root, draw = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for part, count in (("train", 400), ("t10k", 60)):
        labels = np.arange(count, dtype=np.uint8) % 4
        pixels = draw.integers(0, 120, (count, 28, 28), np.uint8) + 40 * labels[:, None, None]
        (root / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">4B3I", 0, 0, 8, 3, *pixels.shape) + pixels.tobytes()
        )
        (root / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, count) + labels.tobytes())
    return root


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A finished run of two epochs on the digits."""
    import podium

    return podium.train("lenet5_modern", "digits", tmp_path_factory.mktemp("run") / "lenet", epochs=2, patience=0)


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory):
    """`podium export` of that run as ONNX and as OpenVINO's, to be read."""
    import podium

    folder = tmp_path_factory.mktemp("exported")
    for name in ("x.onnx", "x.xml"):
        podium.export(run, folder / name)
    return folder


@pytest.fixture(scope="session")
def comparison(tmp_path_factory):
    """The folder of a finished comparison, to be read: `podium compare digits -m lenet5_modern,lenet5 --epochs 1`."""
    from command import inside

    out = tmp_path_factory.mktemp("comparison") / "board"
    done = inside("compare", "digits", "-m", "lenet5_modern,lenet5", "--epochs", "1", "-o", out)
    assert done.returncode == 0, done.stderr
    before = contents(out)
    yield out
    assert contents(out) == before, "a test that writes into a comparison takes `own_comparison`"


def contents(folder):
    """The SHA-256 of each file of a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def own_comparison(comparison, tmp_path_factory):
    """A copy of `comparison` that a test may write into."""
    return Path(shutil.copytree(comparison, tmp_path_factory.mktemp("own") / "board"))


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    from browsers import CHROMIUM, playwright

    with playwright.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def podium(capsys, tmp_path, monkeypatch):
    """Run a command line in an empty folder of its own, inside this process."""
    from command import Said
    from podium.cli import main as cli

    monkeypatch.chdir(tmp_path)

    def call(*words):
        capsys.readouterr()
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as ended:  # argparse, after --help and --version
            code = ended.code
        return Said(code, capsys.readouterr())

    return call


@pytest.fixture
def picture(tmp_path):
    """Make an image file; each name is another image."""

    def make(name="picture.png", size=(20, 30)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng(list(str(name).encode()))
        Image.fromarray(draw.integers(0, 255, (*size, 3), np.uint8)).save(path, "PNG")
        return path

    return make
