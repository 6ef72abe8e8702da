"""Knowing when the network does not know: temperature, thresholds and operating points, from fitting to every answer."""

import json
import math
import shutil

import numpy as np
import pytest
import torch

import podium as library
from podium.errors import ModelFileError, UsageError
from podium.evaluation.calibration import calibration_error, enough_for, fit_temperature, keeping, risk_coverage
from podium.evaluation.evaluate import Outputs
from podium.runs.answers import Rule
from podium.settings import parse_recall
from podium.training.confidence import fit_confidence, format_confidence, measure_confidence, not_fitted


def drawn(n, k=4, scale=1.0, seed=0):
    """Logits, and labels drawn from their softmax: with a scale of 1 the confidences are exact."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 1.5, (n, k))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([draw.choice(k, p=row) for row in p])
    return (scale * logits).astype(np.float32), labels


# Fitting


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_of_scaled_logits_is_the_scale(scale):
    logits, labels = drawn(20_000, scale=scale)
    assert fit_temperature(logits, labels) == pytest.approx(scale, rel=0.04)


def test_no_other_temperature_has_a_smaller_loss():
    """By torch's cross-entropy, on a grid."""
    logits, labels = drawn(500, scale=2.5)
    found = fit_temperature(logits, labels)

    def loss(temperature):
        return float(
            torch.nn.functional.cross_entropy(torch.tensor(logits).double() / temperature, torch.tensor(labels))
        )

    assert all(loss(found) <= loss(found * factor) for factor in np.linspace(0.5, 2, 61))


def test_where_no_temperature_is_best_none_is_fitted():
    logits, labels = drawn(300)
    assert fit_temperature(logits, logits.argmax(1)) is None  # all right: the colder the better
    assert fit_temperature(logits, logits.argmin(1)) is None  # worse than chance: the hotter the better
    assert fit_temperature(logits[:0], labels[:0]) is None


def test_calibration_error_by_hand():
    """Four images in two bins of equal mass: |0.55 - 0.5| and |0.85 - 1|, half of the images each."""
    confidence, right = np.array([0.9, 0.5, 0.8, 0.6]), np.array([True, False, True, True])
    assert calibration_error(confidence, right, bins=2) == pytest.approx(0.5 * 0.05 + 0.5 * 0.15)
    assert calibration_error(np.ones(3), np.ones(3, bool)) == 0
    assert calibration_error(np.full(3, 0.4), np.zeros(3, bool), bins=1) == pytest.approx(0.4)


def test_confidences_that_are_exact_have_no_calibration_error():
    logits, labels = drawn(20_000)
    p = Rule().probabilities(logits)
    assert calibration_error(p.max(1), p.argmax(1) == labels) < 0.015


def test_risk_and_coverage_by_hand():
    curve = risk_coverage(np.array([0.5, 0.9, 0.9, 0.7]), np.array([False, True, False, True]))
    assert [(c["confidence"], c["coverage"]) for c in curve] == [(0.9, 0.5), (0.7, 0.75), (0.5, 1.0)]
    assert [c["risk"] for c in curve] == pytest.approx([1 / 2, 1 / 3, 2 / 4])
    assert len(risk_coverage(np.linspace(0, 1, 5000), np.ones(5000, bool))) == 200


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95])
def test_a_threshold_keeps_what_it_promises_of_new_scores(share):
    """Over many samples of 60, on average; and not much more."""
    draw = np.random.default_rng(1)
    kept = [(draw.normal(size=200) >= keeping(draw.normal(size=60), share)).mean() for _ in range(2000)]
    assert share - 0.005 < np.mean(kept) < share + 0.02


def test_how_many_scores_a_promise_takes():
    assert [enough_for(share) for share in (0.5, 0.9, 0.95, 0.99)] == [1, 9, 19, 99]
    scores = np.arange(99.0)
    assert keeping(scores, 0.99) == 0.0
    assert keeping(scores, 0.98) == 1.0
    assert keeping(scores[:5], 0.99) == 0.0  # too few: the smallest


# Answering


P = np.array([[0.5, 0.3, 0.2], [0.34, 0.33, 0.33], [0.1, 0.25, 0.65]])


def test_less_than_the_threshold_is_unknown_and_as_much_is_not():
    assert Rule().answers(P).tolist() == [0, 0, 2]
    assert Rule(threshold=0.5).answers(P).tolist() == [0, -1, 2]
    assert Rule(threshold=0.5).answers(P, 0.0).tolist() == [0, 0, 2]
    assert Rule().answers(P, 0.6).tolist() == [-1, -1, 2]


def test_a_class_with_an_operating_point_has_its_own_threshold():
    assert Rule(threshold=0.4, own={1: 0.26}).answers(P).tolist() == [1, 1, 2]
    assert Rule(own={0: 0.6}).answers(P).tolist() == [1, 1, 2]  # below its own threshold it is not the answer
    assert Rule(own={1: 0.24, 2: 0.5}).answers(P).tolist() == [1, 1, 2]  # of two that are met the more probable
    assert Rule(own={0: 0.9, 1: 0.9, 2: 0.9}).answers(P).tolist() == [-1, -1, -1]


def test_a_temperature_changes_no_first_class():
    logits, _ = drawn(500)
    for temperature in (0.1, 1.0, 7.0):
        p = Rule(temperature).probabilities(logits)
        assert (p.argmax(1) == logits.argmax(1)).all()
        expected = torch.tensor(logits).double().div(temperature).softmax(1).numpy()
        np.testing.assert_allclose(p, expected, atol=1e-12)


# What a card says


def test_what_is_fitted_is_measured_on_other_images():
    classes = ("a", "b", "c", "d")
    fit, test = (Outputs(*drawn(2000, scale=3.0, seed=seed)) for seed in (0, 1))
    found = fit_confidence(fit, test, classes, {"b": 0.9}, ("val", "test"))
    assert found["calibration_temperature"] == pytest.approx(3.0, rel=0.1)
    measured = found["measured"]
    assert (found["split"], measured["split"], measured["images"]) == ("val", "test", 2000)
    assert measured["calibration_error"] < 0.06 < 0.1 < measured["calibration_error_before"]
    p = torch.tensor(test.logits).double().div(found["calibration_temperature"]).softmax(1).numpy()
    threshold, own = found["threshold"], found["classes"]["b"]["threshold"]
    answered_b = p[:, 1] >= own
    recall = answered_b[test.labels == 1].mean()
    assert measured["classes"]["b"]["recall"] == pytest.approx(recall)
    assert recall == pytest.approx(0.9, abs=0.05)
    low, high = measured["classes"]["b"]["recall_interval"]
    assert low < recall < high
    assert measured["classes"]["b"]["precision"] == pytest.approx((test.labels == 1)[answered_b].mean())
    others = np.delete(p, 1, axis=1).max(1) >= threshold
    assert measured["coverage"] == pytest.approx((answered_b | others).mean())
    answer = np.where(answered_b, 1, np.delete(p, 1, axis=1).argmax(1) + (np.delete(p, 1, axis=1).argmax(1) > 0))
    assert measured["accuracy"] == pytest.approx((answer == test.labels)[answered_b | others].mean())
    json.dumps(found, allow_nan=False)
    text = "\n".join(format_confidence(found))
    assert "fitted on 2,000 val images" in text
    assert "for a recall of 0.9" in text


def test_the_threshold_loses_one_right_answer_in_twenty():
    fit, test = (Outputs(*drawn(4000, seed=seed)) for seed in (3, 4))
    measured = fit_confidence(fit, test, tuple("abcd"), {}, ("val", "test"))["measured"]
    assert measured["right_kept"] == pytest.approx(0.95, abs=0.015)
    assert measured["coverage"] < 0.95


def test_what_cannot_be_fitted_is_said():
    logits, labels = drawn(50)
    right = Outputs(logits, logits.argmax(1))
    found = fit_confidence(right, Outputs(logits, labels), tuple("abcd"), {"a": 0.99}, ("val", "test"))
    assert found["calibration_temperature"] is None
    assert "every validation image is answered right" in found["notes"][0]
    assert "too few to promise a recall of 0.99, which takes 99" in found["notes"][1]
    nothing = fit_confidence(
        Outputs(logits[:3], np.array([3, 3, 3])), right, tuple("abcd"), {"a": 0.5}, ("val", "test")
    )
    assert nothing["classes"] == {}
    assert "no threshold of its own" in " ".join(nothing["notes"])
    json.dumps([found, nothing, measure_confidence(nothing, right, tuple("abcd"), "test")], allow_nan=False)
    for split, mend in (("test", "--val 0.1"), ("val", "--test 0.1")):
        assert mend in format_confidence(not_fitted(split))[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("defect=0.99", {"defect": 0.99}),
        ("defect=99%, scratch = 0.9", {"defect": 0.99, "scratch": 0.9}),
        ("a,b=0.5,c=d=.25", {"a,b": 0.5, "c=d": 0.25}),
        ("日本=0.7", {"日本": 0.7}),
    ],
)
def test_operating_points_are_read(text, found):
    assert parse_recall(text) == pytest.approx(found)


@pytest.mark.parametrize("text", ["", "defect", "defect=", "=0.9", "defect=1", "defect=0", "defect=1.1", "defect=nan"])
def test_what_is_no_operating_point_is_refused(text):
    with pytest.raises(UsageError, match="recall"):
        parse_recall(text)


# From a run to its answers


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A run on the digits with validation images, and an operating point for the threes."""
    out = tmp_path_factory.mktemp("fitted") / "run"
    return library.train("lenet5_modern", "digits", out, epochs=2, val=0.2, recall="3=0.9")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The first test images of the digits, as files."""
    folder = tmp_path_factory.mktemp("photos")
    images = library.load_data("digits").splits["test"]
    for index in range(40):
        images.image(index, 1).save(folder / f"{index}.png")
    return folder


def test_the_card_the_result_and_eval_say_the_same(fitted, podium):
    card = json.loads((fitted / "card.json").read_text())["confidence"]
    assert card == fitted.result["confidence"]
    assert card["split"] == "val"
    assert card["measured"]["split"] == "test"
    logits, labels = fitted.predictions
    p = Rule(card["calibration_temperature"]).probabilities(logits)
    assert card["measured"]["calibration_error"] == calibration_error(p.max(1), p.argmax(1) == labels)
    again = podium("eval", fitted.path, "digits", "--json").json["confidence"]
    assert again["measured"]["coverage"] == card["measured"]["coverage"]
    assert again["measured"]["classes"] == card["measured"]["classes"]
    assert "calibration temperature" in podium("eval", fitted.path, "digits").out
    page = (fitted / "report.html").read_text()
    assert "network-0-coverage" in page
    assert "for a recall of 0.9" in page
    assert "The diamond is the threshold" in page


def test_probabilities_have_the_temperature_and_the_answer_has_the_thresholds(fitted, photos):
    model = library.load(fitted.path)
    fit = model.card["confidence"]
    rows = model.predict(photos, top=10)
    logits, _ = fitted.predictions
    for index, row in enumerate(rows):
        expected = torch.tensor(logits[index]).div(fit["calibration_temperature"]).softmax(0)
        p = {each["class"]: each["probability"] for each in row["top"]}
        assert [p[str(digit)] for digit in range(10)] == pytest.approx(expected.tolist(), abs=1e-4)
        if p["3"] >= fit["classes"]["3"]["threshold"]:
            assert row["answer"] == "3"
        else:
            name, best = max(((c, q) for c, q in p.items() if c != "3"), key=lambda pair: pair[1])
            assert row["answer"] == (name if best >= fit["threshold"] else "unknown")
        assert row["known"] == (row["answer"] != "unknown")
    assert {row["known"] for row in model.predict(photos, min_confidence=1.0) if row["answer"] != "3"} == {False}
    assert all(row["known"] for row in model.predict(photos, min_confidence=0))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["it.onnx", "it.xml"])
def test_an_exported_file_gives_the_runs_probabilities_and_answers(fitted, photos, tmp_path, name):
    pytest.importorskip("onnxruntime" if name.endswith("onnx") else "openvino")
    library.export(fitted.path, tmp_path / name, data="digits")
    ours, theirs = library.load(fitted.path).predict(photos, 10), library.load(tmp_path / name).predict(photos, 10)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine["file"], mine["answer"]) == (other["file"], other["answer"])
        p, q = ({each["class"]: each["probability"] for each in row["top"]} for row in (mine, other))
        assert p == pytest.approx(q, abs=1e-4)
    squares = np.zeros((2, 32, 32, 1), np.uint8)
    bundle, exported = library.load(fitted.path), library.load(tmp_path / name)
    for mine, other in zip(
        bundle.logits_and_probabilities(squares), exported.logits_and_probabilities(squares), strict=True
    ):
        np.testing.assert_allclose(mine, other, atol=1e-4)  # logits are those of the network, without the temperature
    assert exported.card["confidence"] == bundle.card["confidence"]


def test_a_program_of_torch_has_calibrated_probabilities_too(fitted, tmp_path):
    library.export(fitted.path, tmp_path / "it.pt2", data="digits")
    program = torch.export.load(tmp_path / "it.pt2").module()
    logits, probabilities = program(torch.full((2, 32, 32, 1), 70, dtype=torch.uint8))
    temperature = library.load(fitted.path).card["confidence"]["calibration_temperature"]
    assert temperature != 1
    torch.testing.assert_close(probabilities, (logits / temperature).softmax(1))


def test_a_run_without_validation_images_says_that_nothing_is_fitted(podium, run, photos):
    said = podium("train", "lenet5_modern", "digits", "--steps", 2, "-o", "plain")
    assert 'confidences are not calibrated, and predict never answers "unknown"' in said.out
    assert "--val 0.1" in said.out
    card = library.load(run.path).card["confidence"]
    assert list(card) == ["notes"]
    assert all(row["known"] for row in library.load(run.path).predict(photos))
    podium("train", "lenet5_modern", "digits", "--recall", "3=0.9", "-o", "a").refused(2, "recall", "--val 0.1")
    wrong = podium("train", "lenet5_modern", "digits", "--recall", "thre=0.9", "--val", 0.1, "-o", "a")
    wrong.refused(2, "no class is called 'thre'", "the classes are 0, 1")


def test_an_operating_point_is_on_record_and_a_resume_keeps_it(podium, fitted, tmp_path):
    assert "recall: 3=0.9" in (fitted / "settings.yaml").read_text()
    shutil.copytree(fitted.path, tmp_path / "copy")
    said = podium("train", "--resume", "--recall", "4=0.9", "-o", "copy")
    said.refused(2, "recall")


def test_a_card_whose_temperature_is_none_is_refused(fitted, tmp_path):
    shutil.copytree(fitted.path, tmp_path / "copy")
    card = json.loads((tmp_path / "copy" / "card.json").read_text())
    del card["card_sha256"]
    for change in ({"calibration_temperature": -1.0}, {"threshold": "high"}, {"classes": {"11": {"threshold": 1.0}}}):
        changed = {**card, "confidence": {**card["confidence"], **change}}
        (tmp_path / "copy" / "card.json").write_text(json.dumps(changed))
        with pytest.raises(ModelFileError, match="not a card of Podium"):
            library.load(tmp_path / "copy")


def test_a_curve_is_in_the_report_of_a_run_of_an_older_version(run):
    """Its result says nothing of confidence."""
    from podium.comparison.report.network_sections import _coverage

    result = {key: value for key, value in run.result.items() if key != "confidence"}
    drawn_curve = _coverage(run.path, result, "#000000")
    line, mark = drawn_curve["data"]
    assert line["x"][-1] == 1.0
    assert line["y"][-1] == pytest.approx(100 * (1 - result["top1"]))
    assert mark["x"] == []
    assert all(math.isfinite(y) for y in line["y"])
