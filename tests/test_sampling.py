"""--limit takes images of all classes; a choice depends on the images and not on their order."""

from pathlib import Path

import numpy as np
import pytest

import podium
from podium.data.dataset import Split
from podium.data.image_file import ImageFile
from podium.data.images import FileImages
from podium.data.sampling import stratified
from podium.deployment.export import squares


@pytest.mark.parametrize(
    ("labels", "count", "expected"),
    [
        ([0] * 50 + [1] * 50, 10, {0: 5, 1: 5}),  # a folder, class by class: the first ten are of one
        ([0, 1, 2, 3] * 25, 25, {0: 7, 1: 6, 2: 6, 3: 6}),  # every fourth is of one class
        ([0] * 97 + [1] * 2 + [2], 20, {0: 18, 1: 1, 2: 1}),  # none is left out
        ([0] * 3 + [1] * 3, 100, {0: 3, 1: 3}),
        ([0] * 30 + [1] * 10, 4, {0: 3, 1: 1}),
    ],
)
def test_all_classes_in_proportion(labels, count, expected):
    labels = np.array(labels)
    rows = stratified(labels, count)
    assert len(set(rows.tolist())) == len(rows) == min(count, len(labels))
    assert (np.diff(rows) > 0).all()
    assert {k: int((labels[rows] == k).sum()) for k in expected} == expected


@pytest.mark.parametrize("count", range(1, 60))
def test_any_number_of_any_classes(count):
    labels = np.random.default_rng(count).integers(0, 13, 50) ** 2 // 12
    rows = stratified(labels, count)
    assert len(np.unique(rows)) == min(count, 50)
    assert len(np.unique(labels[rows])) == min(count, len(np.unique(labels)))


def test_eval_and_quantize_judge_by_images_of_all_classes(run):
    scores = podium.evaluate(run.path, "digits", limit=50)
    assert scores["n"] == 50
    assert [row["n"] for row in scores["per_class"]] == [5] * 10
    assert scores == podium.evaluate(run.path, "digits", limit=50)
    data = podium.load_data("digits")
    by_class = np.argsort(data.splits["test"].labels, kind="stable")
    data.splits["test"] = data.splits["test"].select(by_class)
    _, labels = squares(data, podium.load(run.path), 50, "test")
    assert np.bincount(labels).tolist() == [5] * 10


def test_a_split_keeps_its_white():
    files = [ImageFile(Path(name), name, 0, 1, 0) for name in "ab"]
    split = Split(np.zeros(2, np.int64), FileImages(files)).scaled(4095)
    assert split.select([1]).images.white == 4095
