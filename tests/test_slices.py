"""Accuracy by slice: per value the images, the accuracy and its interval, and the worst one by name."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import podium as library
from command import inside, one_error
from podium.comparison.slices import accuracy_by
from podium.data.image_columns import with_column
from podium.data.sources import load_stored
from podium.runs.folder import RunFolder

CAMERA = "_(?P<camera>[a-z]+)[0-9]*[.]"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of two classes by three cameras, and one photo by none."""
    folder = tmp_path_factory.mktemp("slices") / "photos"
    for label, name in enumerate(("circle", "line")):
        (folder / name).mkdir(parents=True)
        for i in range(30):
            draw = np.random.default_rng([label, i])
            pixels = draw.integers(0, 200, (32, 32, 3), np.uint8)
            pixels[..., label] += 30
            camera = ("canon", "nikon", "phone")[i % 3]
            Image.fromarray(pixels).save(folder / name / (f"{i}_{camera}{i}.png" if i or label else "0.png"))
    return folder


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "r"
    flags = ("--image-size", "32", "--epochs", "1", "--val", "0.5", "--batch-size", "8", "--slice", CAMERA)
    done = inside("train", "lenet5_modern", photos, *flags, "-o", out)
    assert done.returncode == 0, done.stderr
    return out


def by_hand(run, photos):
    """Camera -> which of its validation images the run has right, from the files' names and the recorded logits."""
    logits, labels = RunFolder(run).predictions
    data = library.load_data(photos, val=0.5)
    found = {}
    for file, right in zip(data.splits["val"].files, logits.argmax(1) == labels, strict=True):
        match = re.search(CAMERA, file.path.name)
        found.setdefault(match["camera"] if match else "(none)", []).append(bool(right))
    return found


def test_eval_reports_each_value(run, photos):
    done = inside("eval", run, photos, "--slice", CAMERA, "--json")
    found = json.loads(done.stdout)["slices"]
    expected = by_hand(run, photos)
    assert found["column"] == "camera"
    assert {row["value"]: (row["n"], row["top1"]) for row in found["values"]} == {
        name: (len(right), np.mean(right)) for name, right in expected.items()
    }
    assert [row["top1"] for row in found["values"]] == sorted(row["top1"] for row in found["values"])
    for row in found["values"]:
        assert 0 <= row["top1_low"] <= row["top1"] <= row["top1_high"] <= 1
    shown = inside("eval", run, photos, "--slice", CAMERA).stdout
    assert "The worst camera of" in shown
    assert "nikon" in shown


def test_the_report_of_a_run_has_the_slices(run):
    page = (run / "report.html").read_text()
    assert "Accuracy by camera" in page
    assert "canon" in page


def test_a_comparison_has_them_and_another_slice_trains_nothing_again(photos, tmp_path):
    flags = ("--image-size", "32", "--epochs", "1", "--val", "0.5", "--batch-size", "8", "-o", tmp_path / "c")
    first = inside("compare", photos, "-m", "lenet5_modern", *flags, "--slice", CAMERA, "--json")
    assert first.returncode == 0, first.stderr
    assert {row["value"] for row in json.loads(first.stdout)["slices"]["lenet5_modern"]["values"]} >= {"canon", "phone"}
    written = (tmp_path / "c" / "lenet5_modern-seed0" / "model.safetensors").stat().st_mtime_ns
    again = inside("compare", photos, "-m", "lenet5_modern", *flags, "--slice", "/(?P<number>[0-9])")
    assert again.returncode == 0, again.stderr
    assert "Accuracy by number" in (tmp_path / "c" / "report.html").read_text()
    assert (tmp_path / "c" / "lenet5_modern-seed0" / "model.safetensors").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("wanted", "code", "says"),
    [
        ("camera", 2, "no column 'camera'"),
        ("(x", 2, "not a regular expression"),
        ("(leica)", 3, "the path of no image"),
    ],
)
def test_what_slices_nothing_is_refused(run, photos, tmp_path, wanted, code, says):
    one_error(inside("eval", run, photos, "--slice", wanted), code, says)
    done = inside("train", "lenet5_modern", photos, "--slice", wanted, "-o", tmp_path / "r")
    one_error(done, code, says)


def test_a_column_slices_by_its_name(run, photos):
    stored = load_stored(photos)
    numbers = np.array([file.path.name.split("_")[0] for file in stored.splits["train"].files])
    data = with_column(stored, "hour", {"train": np.where(numbers < "2", "early", "late")})
    found = library.evaluate(run, data, slice="hour")["slices"]
    assert {row["value"] for row in found["values"]} == {"early", "late"}
    assert sum(row["n"] for row in found["values"]) == 30


def test_the_worst_is_called_clear_only_where_it_is():
    values = np.repeat([f"v{i}" for i in range(10)], 100)
    draw, false_alarms = np.random.default_rng(0), 0
    for _ in range(400):  # ten values that are alike: the worst of them is one by chance
        false_alarms += accuracy_by(draw.random(1000) < 0.8, values, "camera").clear
    assert false_alarms <= 0.05 * 400
    right = draw.random(1000) < np.where(values == "v3", 0.5, 0.8)
    found = accuracy_by(right, values, "camera")
    assert (found.worst, found.clear) == ("v3", True)
    assert "clearly below" in found.sentence()
    alike = accuracy_by(np.ones(1000, bool), values, "camera")
    assert (alike.worst, alike.sentence()) == (None, "")
