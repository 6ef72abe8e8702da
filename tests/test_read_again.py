"""A verb that reads the data of a run again reads it as the run did: its columns, what it left out, how large images may be."""

import csv
import json
import shlex

import numpy as np
import pytest
from PIL import Image

import podium
from command import inside, one_error
from podium.api.run_images import images_for
from podium.compression.qat import fine_tuned
from podium.data.reading import Reading
from podium.errors import UsageError
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


@pytest.fixture(scope="module")
def weighed(data, tmp_path_factory):
    """A run with an operating point, that draws all classes equally often and reports slices."""
    out = tmp_path_factory.mktemp("weighed") / "run"
    how = {"label_column": "side", "val": 0.2, "test": 0.2, "image_size": 28, "steps": 2, "progress": False}
    return podium.train("lenet5_modern", data, out, sampler="balanced", recall="b=0.8", slice="kind", **how)


CARRIED = ("recall", "slice", "sampler", "class_weights")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("b=0.8", "kind", "balanced", "none")),
        ({"slice": "id", "recall": "a=0.7"}, ("a=0.7", "id", "balanced", "none")),
        ({"class_weights": "inverse"}, ("b=0.8", "kind", "shuffle", "inverse")),  # both would count classes twice
        ({"sampler": "shuffle"}, ("b=0.8", "kind", "shuffle", "none")),
    ],
)
def test_a_smaller_network_is_trained_for_what_the_run_was(weighed, data, given, expected):
    merged = settings_of("shrink", None, {"data": str(data), **given})
    s, _ = as_parent(merged, weighed.path, None)
    assert tuple(getattr(s, name) for name in CARRIED) == expected
    loaded = podium.load_data(data, label_column="side", val=0.2, test=0.2)
    s, _ = as_parent(merged, weighed.path, loaded)
    assert tuple(getattr(s, name) for name in CARRIED) == expected


def test_an_operating_point_that_nothing_could_fit_is_left_out_and_named(weighed, data, caplog):
    loaded = podium.load_data(data, label_column="kind")
    with caplog.at_level("INFO", "podium"):
        s, _ = as_parent(settings_of("shrink", None, {"data": str(data)}), weighed.path, loaded)
    assert s.recall is None
    assert "recall: b=0.8 of" in caplog.text
    assert "is not used" in caplog.text


def test_distilling_records_what_is_taken_over(weighed, data, tmp_path, monkeypatch):
    monkeypatch.setattr("podium.compression.shrink.in_engines", lambda *_: [])
    monkeypatch.setattr("podium.compression.shrink.SECONDS", 0.01)
    out = tmp_path / "student"
    made = podium.distill(weighed.path, "lenet5", data, out, controls=False, steps=2, progress=False)
    text = (out / "settings.yaml").read_text()
    for line in ("recall: b=0.8", "slice: kind", "sampler: balanced"):
        assert f"{line}  # by the teacher's run\n" in text
    assert podium.load(out).card["confidence"]["classes"]["b"]["recall"] == 0.8
    assert "kind" in (out / "report.html").read_text()
    assert made.run.result["steps"] == 2


def test_a_fine_tuning_for_int8_keeps_the_operating_points(weighed, data, tmp_path):
    model = podium.load(weighed.path)
    fine_tuned(model, images_for(model, None), tmp_path / "qat", 1, lambda *_: None)
    assert "b" in podium.load(tmp_path / "qat").card["confidence"]["classes"]
    assert "sampler: balanced" in (tmp_path / "qat" / "settings.yaml").read_text()


def test_other_data_with_an_image_that_cannot_be_read_are_an_error(run, data, tmp_path):
    """What a run left out of its own data was a person's decision on these data."""
    for path in data.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    done = inside("eval", run.path, tmp_path / "labels.csv")
    assert done.returncode == 3
    assert "7.png" in done.stderr


# --- the same data at a new place


PATTERN = r"([ab])_\d+[.]png$"


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A run on a flat folder with the class in each name; then the same images at a new place."""
    root, draw = tmp_path_factory.mktemp("flat"), np.random.default_rng(0)
    for place in (root / "old", root / "new"):
        place.mkdir()
    for number in range(60):
        name = f"{'ab'[number % 2]}_{number}.png"
        pixels = draw.integers(0, 40, (28, 28, 3), np.uint8) + np.uint8(BRIGHT["ab"[number % 2]])
        Image.fromarray(pixels).save(root / "old" / name)
        (root / "new" / name).write_bytes((root / "old" / name).read_bytes())
    how = {"class_from": PATTERN, "image_size": 28, "steps": 2, "progress": False}
    return podium.train("lenet5_modern", root / "old", root / "run", **how), root / "new"


def test_flat_folders_at_a_new_place_are_read_as_a_person_says(flat, tmp_path):
    run, new = flat
    images = run.result["n"]
    assert podium.evaluate(run.path, new, class_from=PATTERN)["n"] == images
    assert podium.export(run, tmp_path / "a.pt2", data=new, class_from=PATTERN).images == images
    done = inside("export", run.path, "--data", new, "--class-from", PATTERN, "-o", tmp_path / "b.pt2", "--json")
    assert json.loads(done.stdout)["parity"]["images"] == images, done.stderr
    refused = inside("export", run.path, "--data", new, "-o", tmp_path / "c.pt2")
    assert refused.returncode == 3
    fix = next(line for line in refused.stderr.splitlines() if line.startswith("fix: "))
    again = shlex.split(fix.removeprefix("fix: "))
    assert again[:2] == ["podium", "export"]
    assert "--class-from" in again
    assert inside(*again[1:]).returncode == 0


@pytest.mark.parametrize("target", ["run", "lenet5_modern"])
def test_engines_are_compared_on_a_flat_folder(flat, target):
    run, new = flat
    target = run.path if target == "run" else target
    how = ("--engines", "eager", "--seconds", "0.01", "--batch", "1", "--json")
    done = inside("bench", target, "--data", new, "--class-from", PATTERN, *how)
    assert done.returncode == 0, done.stderr
    assert {row["agreement"] for row in json.loads(done.stdout)} == {1.0}


def test_a_run_that_is_trained_on_the_data_of_another_records_how_they_are_read(flat, tmp_path):
    """As quantize trains one, where rounding loses too much."""
    run, new = flat
    images = images_for(podium.load(run.path), new, reading=Reading(class_from=PATTERN))
    assert images.is_what(podium.load(run.path).card["data_sha256"])
    tuned = fine_tuned(podium.load(run.path), images, tmp_path / "qat", 1, lambda *_: None)
    assert podium.evaluate(tmp_path / "qat", new)["n"] == run.result["n"]
    assert tuned.classes == ("a", "b")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("quantize", "RUN", "-o", "q"), "give DATA, or leave out --class-from"),
        (("export", "RUN", "-o", "a.pt2"), "add --data DATA, or leave out --class-from"),
        (("bench", "RUN", "--engines", "eager"), "add --data DATA, or leave out --class-from"),
    ],
)
def test_how_data_are_read_without_data_is_refused(flat, words, says):
    words = [flat[0].path if word == "RUN" else word for word in words]
    one_error(inside(*words, "--class-from", PATTERN), 2, "--class-from does nothing here", says)


def test_in_python_too(flat, data, tmp_path):
    run, new = flat
    loaded = podium.load_data(new, class_from=PATTERN)
    for given, says in ((None, "no data are given"), (loaded, "loaded already")):
        with pytest.raises(UsageError, match=f"class_from: .*{says}"):
            podium.export(run, tmp_path / "a.pt2", data=given, class_from=PATTERN)
        with pytest.raises(UsageError, match=f"class_from: .*{says}"):
            podium.quantize(run, given, tmp_path / "q", class_from=PATTERN)
    with pytest.raises(UsageError, match="export: no argument is called 'class_form'"):
        podium.export(run, tmp_path / "a.pt2", data=new, class_form=PATTERN)
