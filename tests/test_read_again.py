"""A verb that reads the data of a run again reads it as the run did: its columns, what it left out, how large images may be."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import podium
from command import inside
from podium.api.run_images import images_for
from podium.training.images import as_parent
from podium.training.recipes.named import settings_of

BRIGHT = {"a": 40, "b": 200}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A table with two columns that could be the classes, and one image that is larger than the run below opens."""
    root, draw = tmp_path_factory.mktemp("again"), np.random.default_rng(0)
    with (root / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("id", "kind", "side"))
        for number in range(60):
            size, side = (40 if number == 7 else 28), "ab"[number % 2]
            pixels = draw.integers(0, 40, (size, size, 3), np.uint8) + np.uint8(BRIGHT[side])
            Image.fromarray(pixels).save(root / f"{number}.png")
            table.writerow((f"{number}.png", "xyz"[number % 3], side))
    return root / "labels.csv"


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "a"
    how = {"label_column": "side", "max_pixels": 900, "on_bad": "skip", "image_size": 28}
    return podium.train("lenet5_modern", data, out, steps=2, progress=False, **how)


def test_eval_leaves_out_what_the_run_left_out_and_says_so(run, data):
    done = inside("eval", run.path, data, "--json")
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)
    assert {row["class"] for row in scores["per_class"]} == {"a", "b"}
    assert (scores["n"], scores["top1"]) == (run.result["n"], run.result["top1"])
    assert any("7.png" in note for note in scores["notes"])


@pytest.mark.parametrize("given", [False, True])
def test_export_quantize_and_bench_have_the_images_of_the_run(run, data, given):
    images = images_for(podium.load(run.path), data if given else None)
    assert images.classes == ("a", "b")
    assert images.is_what(podium.load(run.path).card["data_sha256"])


def test_a_loaded_run_is_exported_with_its_own_images(run, tmp_path):
    assert podium.export(podium.load(run.path), tmp_path / "a.pt2").images == run.result["n"]


@pytest.fixture(scope="module")
def of_loaded(data, tmp_path_factory):
    """A run on a data set that was loaded before."""
    how = {"label_column": "side", "max_pixels": 900, "on_bad": "skip", "val": 0.3, "seed": 5}
    loaded = podium.load_data(data, **how)
    out = tmp_path_factory.mktemp("runs") / "loaded"
    return podium.train("lenet5_modern", loaded, out, seed=2, image_size=28, steps=2, progress=False)


def test_how_a_data_set_was_loaded_is_on_record(of_loaded, data):
    text = (of_loaded.path / "settings.yaml").read_text()
    for line in ("label_column: side", "max_pixels: 900", "on_bad: skip", "val: 0.3", "split_seed: 5"):
        assert f"{line}  # as the data set was loaded\n" in text
    assert images_for(podium.load(of_loaded.path), None).is_what(podium.load(of_loaded.path).card["data_sha256"])
    assert podium.evaluate(of_loaded.path, data)["top1"] == of_loaded.result["top1"]


def test_the_settings_of_a_run_on_a_loaded_data_set_run_it_again(of_loaded, tmp_path):
    done = inside("train", "--config", of_loaded.path / "settings.yaml", "-o", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    first, second = (podium.load(path).card for path in (of_loaded.path, tmp_path / "again"))
    assert second["data_sha256"] == first["data_sha256"]
    assert second["sha256"] == first["sha256"], "the same weights to the bit"


def test_folds_of_a_loaded_data_set_are_the_run_s(data, tmp_path):
    loaded = podium.load_data(data, label_column="side", seed=5)
    how = {"folds": 3, "fold": 1, "image_size": 28, "steps": 1, "progress": False}
    run = podium.train("lenet5_modern", loaded, tmp_path / "run", **how)
    text = (run.path / "settings.yaml").read_text()
    assert "label_column: side" in text
    assert "split_seed: null" in text


@pytest.mark.parametrize("asked", [{}, {"max_pixels": 1000}])
def test_a_smaller_network_is_made_of_the_same_images(run, data, asked):
    merged = settings_of("shrink", None, {"data": str(data), **asked})
    s, images = as_parent(merged, run.path, None)
    assert (s.label_column, s.on_bad, s.max_pixels) == ("side", "skip", asked.get("max_pixels", 900))
    assert images.is_what(podium.load(run.path).card["data_sha256"])


def test_other_data_with_an_image_that_cannot_be_read_are_an_error(run, data, tmp_path):
    """What a run left out of its own data was a person's decision on these data."""
    for path in data.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    done = inside("eval", run.path, tmp_path / "labels.csv")
    assert done.returncode == 3
    assert "7.png" in done.stderr
