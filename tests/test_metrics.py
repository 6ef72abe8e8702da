"""Numbers about predictions, against scikit-learn's and against ones worked out by hand."""

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from podium.errors import NumericError
from podium.evaluation import metrics
from podium.evaluation.evaluate import Outputs
from podium.evaluation.metrics import calibration, probabilities, summarize, top_k


@pytest.fixture(params=[2, 3, 7, 40], ids=lambda k: f"{k} classes")
def answers(request):
    """Logits and labels of 500 images, right somewhat more often than chance."""
    k = request.param
    draw = np.random.default_rng(k)
    labels = draw.integers(0, k, 500)
    logits = draw.normal(0, 2, (500, k)).astype(np.float32)
    logits[np.arange(500), labels] += 1.5
    logits *= np.linspace(0.05, 1, 500, dtype=np.float32)[:, None]  # from hardly sure of anything to sure
    return logits, labels, [f"class {i}" for i in range(k)]


def test_scores_are_those_of_scikit_learn(answers):
    logits, labels, classes = answers
    k, predicted = len(classes), logits.argmax(1)
    scores = summarize(*answers)
    assert scores["n"] == 500
    assert scores["top1"] == pytest.approx(reference.accuracy_score(labels, predicted), abs=1e-12)
    most = reference.top_k_accuracy_score(labels, logits, k=5, labels=range(k)) if k > 5 else 1.0
    assert scores["top5"] == pytest.approx(most, abs=1e-12)
    assert scores["loss"] == pytest.approx(reference.log_loss(labels, probabilities(logits), labels=range(k)))
    assert scores["confusion"] == reference.confusion_matrix(labels, predicted, labels=range(k)).tolist()
    columns = reference.precision_recall_fscore_support(labels, predicted, labels=range(k), zero_division=0)
    for name, column in zip(("precision", "recall", "f1", "n"), columns, strict=True):
        assert [row[name] for row in scores["per_class"]] == pytest.approx(list(column))
    assert [row["class"] for row in scores["per_class"]] == classes
    assert scores["macro_f1"] == pytest.approx(reference.f1_score(labels, predicted, average="macro"))


def test_training_and_judging_count_alike(answers):
    logits, labels, _ = answers
    brief, scores = Outputs(logits, labels.astype(np.int64)).brief, summarize(*answers)
    assert (brief["top1"], brief["top5"]) == (scores["top1"], scores["top5"])
    assert brief["loss"] == pytest.approx(scores["loss"], rel=1e-5)


def test_calibration_error_by_the_definition(answers):
    """Guo et al. 2017, equation 3: over bins ((b-1)/15, b/15], the share of images times |accuracy - confidence|."""
    logits, labels, _ = answers
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    expected, bins = 0.0, []
    for b in range(1, 16):
        inside = [i for i in range(500) if (b - 1) / 15 < p[i].max() <= b / 15]
        if inside:
            right = sum(p[i].argmax() == labels[i] for i in inside) / len(inside)
            sure = sum(p[i].max() for i in inside) / len(inside)
            expected += len(inside) / 500 * abs(right - sure)
            bins.append({"n": len(inside), "confidence": pytest.approx(sure), "accuracy": pytest.approx(right)})
    assert summarize(*answers)["ece"] == pytest.approx(expected)
    assert calibration(logits, labels) == bins


def test_three_images_by_hand():
    # Probabilities (1/2, 1/4, 1/4): the first image is right, the second wrong, and the third, at (1/8, 3/4, 1/8), right.
    logits = np.log([[2, 1, 1], [2, 1, 1], [1, 6, 1]]).astype(np.float32)
    scores = summarize(logits, np.array([0, 2, 1]), ["a", "b", "c"])
    assert scores["top1"] == pytest.approx(2 / 3)
    assert scores["loss"] == pytest.approx((math.log(2) + math.log(4) + math.log(4 / 3)) / 3, rel=1e-6)
    assert scores["ece"] == pytest.approx(2 / 3 * abs(1 / 2 - 1 / 2) + 1 / 3 * (1 - 3 / 4), abs=1e-6)
    assert scores["confusion"] == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    a, b, c = scores["per_class"]
    assert (a["precision"], a["recall"]) == (0.5, 1.0)
    assert a["f1"] == pytest.approx(2 / 3)
    assert (b["precision"], b["recall"], b["f1"], b["n"]) == (1.0, 1.0, 1.0, 1)
    assert (c["precision"], c["recall"], c["f1"], c["n"]) == (0.0, 0.0, 0.0, 1)
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_a_class_without_images_counts_in_no_mean():
    logits = np.eye(4, dtype=np.float32)[[0, 1, 1, 3]]  # "nowhere" (2) has no image; "wrong" (3) is predicted for a 0
    scores = summarize(logits, np.array([0, 1, 1, 0]), ["a", "b", "nowhere", "wrong"])
    empty = scores["per_class"][2]
    assert (empty["n"], empty["precision"], empty["recall"], empty["f1"]) == (0, 0.0, 0.0, 0.0)
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["top1"] == 0.75


@pytest.mark.parametrize(("label", "k", "right"), [(0, 1, 1), (1, 1, 0), (1, 2, 1), (2, 2, 0), (2, 3, 1), (2, 9, 1)])
def test_of_equal_logits_the_first_class_counts_as_larger(label, k, right):
    assert top_k(np.zeros((1, 3), np.float32), np.array([label]), k) == right


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_no_score(value):
    logits = np.zeros((3, 2), np.float32)
    logits[1, 0] = value
    with pytest.raises(NumericError, match="1 images"):
        summarize(logits, np.array([0, 0, 0]), ["a", "b"])


def test_a_network_that_says_nan_is_never_right():
    logits, labels = np.full((4, 3), np.nan, np.float32), np.array([0, 1, 2, 0])
    assert Outputs(logits, labels).brief["top1"] == 0.0
    assert top_k(logits, labels, 5) == 0.0


def test_probabilities_of_huge_logits_are_finite():
    p = probabilities(np.array([[1e30, 0.0], [-1e30, 1e30]], np.float32))
    assert p.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert math.isfinite(summarize(np.array([[1e30, 0.0]], np.float32), np.array([1]), ["a", "b"])["loss"])


def test_an_interval_is_not_empty_where_every_image_is_right():
    assert 100 * metrics.half_wilson(1.0, 300) == pytest.approx(0.63, abs=0.01)  # 98.74 to 100 % by Wilson
