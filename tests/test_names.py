"""Names that are not UTF-8, or that end lines: what the end of a run writes is tried before its first step."""

import json
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import podium as library
from command import inside, one_error
from conftest import sampled
from podium.data.dataset import Dataset, Split
from podium.data.images import ArrayImages
from podium.errors import DataError
from podium.files import json_text, shell_word
from podium.runs.folder import RunFolder

ODD = [b"caf\xe9", b"it's\xff odd", b"line\nfeed\x1b[31m", "sep\u2028arate".encode()]
WORDS = ["--epochs", "1", "--image-size", "32", "--batch-size", "16"]


def photos(root: bytes, classes, count=6, name=b"%d.png"):
    """Class folders of small pictures."""
    draw = np.random.default_rng(0)
    for level, label in enumerate(classes):
        folder = os.path.join(root, label)
        os.makedirs(folder)
        for n in range(count):
            pixels = draw.integers(0, 90, (20, 24, 3), np.uint8) + np.uint8(100 * level)
            Image.fromarray(pixels).save(os.fsdecode(os.path.join(folder, name % n)), "PNG")
    return Path(os.fsdecode(root))


@pytest.mark.parametrize("split", [b"", b"train"])
def test_a_class_whose_name_is_not_utf8_is_refused_before_the_first_step_and_the_mend_works(tmp_path, split):
    data = photos(os.path.join(os.fsencode(tmp_path), b"data", split), [b"caf\xe9", b"it's\xff", b"tea"])
    data = tmp_path / "data"
    checked = inside("check", data, "--json")
    assert checked.returncode == 3
    named = [p["path"] for p in json.loads(checked.stdout)["problems"] if p["kind"] == "not-utf-8"]
    assert set(named) == {repr("caf\udce9"), repr("it's\udcff")}
    refused = inside("train", "lenet5_modern", data, *WORDS, "-o", tmp_path / "run")
    one_error(refused, 3, "caf\\udce9", "not UTF-8", "fix: mv ")
    assert not (tmp_path / "run").exists()
    while (done := inside("train", "lenet5_modern", data, *WORDS, "-o", tmp_path / "run")).returncode:
        mend = next(line for line in done.stderr.splitlines() if line.startswith("fix: mv ")).removeprefix("fix: ")
        subprocess.run(["bash", "-c", mend], check=True)  # one class a time: there are two
    assert sorted(RunFolder(tmp_path / "run").result["classes"]) == ["café", "it'sÿ", "tea"]


def test_a_name_that_is_taken_is_not_given_again(tmp_path):
    data = photos(os.fsencode(tmp_path / "data"), [b"caf\xe9", "café".encode()])
    refused = inside("train", "lenet5_modern", data, *WORDS, "-o", tmp_path / "run")
    one_error(refused, 3, "caf_e9")


def test_a_class_in_an_archive_whose_name_is_not_utf8_is_decoded_and_said(tmp_path):
    photos(os.fsencode(tmp_path / "data"), [b"caf\xe9", b"tea"])
    with tarfile.open(tmp_path / "data.tar", "w") as tar:
        tar.add(tmp_path / "data", arcname="data")
    done = inside("train", "lenet5_modern", tmp_path / "data.tar", *WORDS, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "not UTF-8; they are read as Windows-1252" in done.stderr
    assert json.loads((tmp_path / "run/card.json").read_text(encoding="utf-8"))["classes"] == ["caf\u00e9", "tea"]


@pytest.mark.parametrize("odd", sampled(ODD, 2))
def test_data_runs_and_photos_may_have_any_name(tmp_path, odd, monkeypatch):
    """The data's folder, the one above it, the photos and the run: trained, gone on with, reported, predicted."""
    monkeypatch.chdir(tmp_path)
    root = os.fsencode(tmp_path)
    data = photos(os.path.join(root, odd, odd), [b"coffee", b"tea"], name=odd + b"%d.png")
    out = Path(os.fsdecode(os.path.join(root, b"run-" + odd)))
    done = inside("train", "lenet5_modern", data, *WORDS, "-o", out)
    assert done.returncode == 0, done.stderr
    assert (out / "report.html").is_file()
    assert "settings.yaml" in os.listdir(out)
    for name in ("card.json", "result.json"):
        json.loads((out / name).read_bytes().decode("utf-8"))
    assert [row["event"] for row in RunFolder(out).rows()] == ["start", "epoch", "done"]
    (out / "result.json").unlink()
    assert inside("train", "--resume", "-o", out).returncode == 0
    photo = sorted((data / "tea").iterdir())[0]
    said = inside("predict", out, photo, "--json")
    assert json.loads(said.stdout)[0]["file"] == str(photo)
    assert len(inside("predict", out, photo).stdout.splitlines()) == 1


def test_a_class_of_two_lines_is_one_line_of_what_is_printed(tmp_path):
    data = photos(os.fsencode(tmp_path / "data"), [b"one\ntwo\x1b[31m", b"tea"])
    done = inside("train", "lenet5_modern", data, *WORDS, "-o", tmp_path / "run")
    assert done.returncode == 0
    assert "\x1b" not in done.stderr
    assert RunFolder(tmp_path / "run").result["classes"] == ["one\ntwo\x1b[31m", "tea"]
    assert library.load(tmp_path / "run").classes == ("one\ntwo\x1b[31m", "tea")


@pytest.mark.parametrize("classes", [("caf\udce9", "tea"), (0, 1), (np.int64(0), np.int64(1))])
def test_classes_of_a_data_set_made_in_python_are_held_to_the_same(tmp_path, classes):
    split = Split(np.arange(32) % 2, ArrayImages(np.random.default_rng(0).integers(0, 255, (32, 32, 32, 1), np.uint8)))
    data = Dataset("made", classes, {"train": split, "test": split}, 1, 32, False, (0.5,), (0.5,))
    with pytest.raises(DataError, match="class"):
        library.train("lenet5_modern", data, tmp_path / "run", epochs=1)
    assert not RunFolder(tmp_path / "run").rows()
    whole = replace(data, classes=("a", "b"), name="caf\udce9")
    assert library.train("lenet5_modern", whole, tmp_path / "other", epochs=1).finished


def test_json_is_utf8_and_gives_the_name_back():
    text = json_text({"file": "caf\udce9 é\u2028"})
    assert "é" in text
    assert json.loads(text.encode("utf-8")) == {"file": "caf\udce9 é\u2028"}


@pytest.mark.parametrize("odd", [*ODD, b"plain", b'$HOME `x` "q" \\ \'', "日本 é".encode()])
def test_a_shell_takes_a_word_as_it_is_printed(odd):
    word = shell_word(os.fsdecode(odd))
    assert "\n" not in word
    assert subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True).stdout == odd
