"""The small world in which the commands of the documents are run as they are written: photos, a table, a trained run, and what is kept short.

Five things are smaller than a reader's, and nothing else: a training takes eight steps whatever its length; photos are seen at 32 px where
no size is given; a comparison without `-m` has two networks; networks start from random weights where official ones would be
downloaded; the gate of `prune` and `quantize` accepts what ten images cannot prove.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
from PIL import Image

from command import inside
from conftest import ROOT

CLASSES = {"daisy": (230, 230, 210), "rose": (200, 40, 60), "tulip": (220, 160, 40), "defect": (30, 40, 60)}
CAMERAS = ("canon", "nikon", "phone")
ADDED = {  # flags that a command of the documents gets beside its own
    "quantize": ["--accept-unproven", "--tolerance", "0.9", "--no-qat"],
    "prune": ["--accept-unproven", "--tolerance", "0.9"],
}
RESUMED = []  # has something while a run is resumed
BACKGROUND = ("serve", "board")
MADE = re.compile(r"podium\.(?:train|compare|quantize)\(.*?\"(runs/[\w-]+)\"")  # folders that Python makes
PORTS = re.compile(r"\b(8000|8001|9000)\b")


def shortened(monkeypatch):
    """Make trainings in this process short, as the head of this file says; a run that is resumed has its own settings."""
    from podium.training.recipes import named

    merge = named.merge

    def brief(settings, name, config, flags, origin):
        more = {} if RESUMED else {"image_size": 32} | flags | {"duration": "8it"}
        return merge(settings, name, config, flags | more, origin)

    monkeypatch.setattr(named, "merge", brief)
    monkeypatch.setattr("podium.comparison.study.start_pretrained", lambda *_: False)
    monkeypatch.setattr("podium.comparison.study.MODELS", ("lenet5_modern", "resnet18"))


def photo(path, colour, number, side=80):
    """Save a photo of one colour and some noise."""
    pixels = np.clip(np.random.default_rng(number).normal(colour, 20, (side, side + 16, 3)), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def build(root):
    """Make the files that documents speak of: `photos/` and others, `rose.jpg`, `train.csv`, and the run `runs/a`."""
    for place, (name, colour) in enumerate(CLASSES.items()):
        for number in range(12):
            file = f"patient{number % 6 + 6 * place}_{number}_{CAMERAS[number % 3]}.jpg"
            photo(root / "photos" / name / file, colour, 100 * place + number)
            photo(root / "new-photos" / name / f"new_{number % 4}.jpg", colour, 900 + 100 * place + number % 4)
            photo(root / "pets" / f"{('cat', 'dog')[number % 2]}_{number}.jpg", colour, 2000 + number)
        photo(root / "new" / f"{name}.jpg", colour, 3000 + place)
        photo(root / f"{name}.jpg", colour, 3100 + place)
    shutil.copy(root / "rose.jpg", root / "image.jpg")
    Image.open(root / "tulip.jpg").save(root / "tulip.png")
    for copy in ("visits", "flowers"):
        shutil.copytree(root / "photos", root / copy)
    for copy in ("other", "test_images"):
        shutil.copytree(root / "new", root / copy)
    shutil.copytree(ROOT / "examples", root / "examples")
    tables(root)
    done = inside("train", "lenet5_modern", root / "photos", "--image-size", "32", "-o", root / "runs" / "a")
    assert done.returncode == 0, done.stderr
    for copy in ("rose", "photos", "a-int8"):  # the latter stands for a smaller network
        shutil.copytree(root / "runs" / "a", root / "runs" / copy)
    done = inside("export", root / "runs" / "a", "-o", root / "rose.onnx")
    assert done.returncode == 0, done.stderr


def tables(root):
    """Write two tables of the photos: one with classes in a column and splits, one with a 0/1 column for each class."""
    photos = sorted((root / "photos").rglob("*.jpg"))
    with (root / "isic.csv").open("w") as file:
        print("image_name,diagnosis,fold_name", file=file)
        for number, path in enumerate(photos):
            print(
                f"{path.relative_to(root)},{path.parent.name},{('train', 'train', 'val', 'test')[number % 4]}",
                file=file,
            )
    with (root / "train.csv").open("w") as file:
        print("image,healthy,rust,scab", file=file)
        for number, path in enumerate(photos):
            print(path.relative_to(root), *(int(number % 3 == place) for place in range(3)), sep=",", file=file)


class Shell:
    """Runs the lines of a block as a person would type them in the current folder; ends what it has started.

    Args:
        folder: in which commands run.
    """

    def __init__(self, folder):
        self.folder, self.started = folder, []
        self.ports = {}
        self.given = {
            folder / "runs" / name for name in ("a", "rose", "photos", "a-int8")
        }  # until the page makes its own

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.started:
            process.terminate()
            process.wait()

    def run(self, block):
        """Run each line of a block; a line that fails is an error that shows what it printed."""
        for line in self.with_ports(block).replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["podium"]:
                self.podium(words[1:], line)
            elif words[:2] == ["pip", "install"]:
                installable(words[2:])
            elif words:
                done = subprocess.run(
                    ["bash", "-euc", line], cwd=self.folder, env=environment(), capture_output=True, text=True
                )
                assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"

    def podium(self, words, line):
        if words[0] in BACKGROUND:
            self.background(words)
            return
        if "-o" in words:
            self.make_room(words[words.index("-o") + 1], going_on="--resume" in words)
        RESUMED[:] = ["--resume"] * ("--resume" in words)
        done = inside(*words, *ADDED.get(words[0], []))
        fine = (0, 3) if words[0] == "check" else (0,)  # what a check finds in the world is no failure
        assert done.returncode in fine, f"{line}\n{done.stdout}{done.stderr}"

    def make_room(self, out, going_on=False):
        """Remove a folder of the world that the page is about to make: its reader does not have it yet."""
        out = self.folder / out
        if out in self.given and not going_on:
            shutil.rmtree(out)
        self.given.discard(out)

    def python(self, block, names):
        """Run a block of Python with the names of those before it."""
        for out in MADE.findall(block):
            self.make_room(out)
        exec(compile(self.with_ports(block), "block", "exec"), names)

    def with_ports(self, text):
        """The text with free ports in place of those that are written, the same for the whole page."""
        return PORTS.sub(lambda match: self.ports.setdefault(match[1], free_port()), text)

    def background(self, words):
        """Start a server and wait until it answers; the one before it ends, as a reader ends it with Ctrl-C."""
        default = {"serve": "8000", "board": "8001"}[words[0]]
        port = words[words.index("--port") + 1] if "--port" in words else self.with_ports(default)
        more = [] if "--port" in words else ["--port", port]
        command = [sys.executable, "-m", "podium", *words, *more]
        with (self.folder / "server.log").open("w") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=environment(), stdout=log, stderr=log)
        self.started.append(process)
        while not answers(port):
            assert process.poll() is None, (self.folder / "server.log").read_text()
            time.sleep(0.1)


def answers(port):
    """Whether a server listens on the port and takes requests."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/").close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}


def installable(words):
    """Check what `pip install` is given: Podium with extras that it has."""
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.optional-dependencies]")[2]
    for word in words:
        found = re.fullmatch(r"(?:podium|\.)\[([\w,]+)\]", word)
        assert found, f"pip install {word}"
        for extra in found[1].split(","):
            assert re.search(rf"^{extra} = ", extras, re.M), f"{extra} is no extra"
