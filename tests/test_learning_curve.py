"""Whether more photos would help: what the fitted law says, how often its interval holds, and what is trained for it."""

import hashlib
import json

import numpy as np
import pytest

import podium
from command import inside
from podium.comparison import outlook
from podium.comparison.learning_curve import fit, nested_shares
from podium.runs.folder import RunFolder


def drawn(images, law, count, draw):
    """Answers that err by a law, (count,) each: an image that is hard for one network is hard for the others."""
    hardness = draw.random(count)
    return [(hardness > law(n)).astype(float) for n in images]


@pytest.mark.slow
def test_a_power_law_is_read_where_it_goes():
    images, count = [250, 500, 1000], 20_000
    curve = fit("net", images, drawn(images, lambda n: 4 * n**-0.5, count, np.random.default_rng(0)))
    assert curve.expected == pytest.approx(1 - 4 * 2000**-0.5, abs=0.01)
    assert curve.low < curve.expected < curve.high
    assert curve.clear
    assert "More photos would help" in curve.sentence()
    assert "2,000 training images" in curve.sentence()


def test_where_more_images_changed_nothing_none_are_promised():
    answers = (np.random.default_rng(0).random(200) > 0.2).astype(float)
    curve = fit("net", [50, 100, 200], [answers, answers, answers])
    assert curve.expected == pytest.approx(answers.mean(), abs=0.01)
    assert not curve.clear
    assert "cannot be told" in curve.sentence()


@pytest.mark.slow
@pytest.mark.parametrize("c", [0.2, 0.6])
def test_the_interval_holds_about_as_often_as_it_says(c):
    images, law = [100, 200, 400], lambda n: 0.4 * (n / 100) ** -c
    held = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        # Each network errs for reasons of its own too: half of its errors are shared with the others.
        answers = [np.where(draw.random(500) < 0.5, a, draw.random(500) > law(n)).astype(float)
                   for n, a in zip(images, drawn(images, law, 500, draw), strict=True)]  # fmt: skip
        curve = fit("net", images, answers)
        held += curve.low <= 1 - law(800) <= curve.high
    assert held >= 52, "95 % of 60 are 57; fewer than 52 come by chance once in a hundred times"


def test_images_of_a_group_count_as_one_draw():
    images, draw = [100, 200, 400], np.random.default_rng(0)
    single = drawn(images, lambda n: 0.4 * (n / 100) ** -0.4, 100, draw)
    alone = fit("net", images, single)
    copied = [np.repeat(one, 9) for one in single]
    grouped, each = fit("net", images, copied, np.repeat(np.arange(100), 9)), fit("net", images, copied)
    assert grouped.top1 == pytest.approx(alone.top1)
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.15)
    assert each.high - each.low == pytest.approx((alone.high - alone.low) / 3, rel=0.3)
    one = fit("net", images, copied, np.zeros(900))
    assert (one.low, one.high, one.clear) == (0.0, 1.0, False)


def test_no_error_at_all_is_no_certainty():
    curve = fit("net", [25, 50, 100], [np.ones(30)] * 3)
    assert curve.expected < 1
    assert not curve.clear


def test_shares_are_nested_keep_the_classes_and_do_not_follow_the_order():
    labels = np.array([0] * 40 + [1] * 8 + [2] * 1)
    keys = np.random.default_rng(0).integers(0, 2**63, len(labels), dtype=np.uint64)
    quarter, half, whole = nested_shares(labels, keys)
    assert set(quarter) <= set(half) <= set(whole) == set(range(len(labels)))
    assert np.bincount(labels[quarter]).tolist() == [10, 2, 1]
    order = np.random.default_rng(1).permutation(len(labels))
    again = nested_shares(labels[order], keys[order])
    assert set(order[again[0]]) == set(quarter)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("curve") / "all"
    names = ["lenet5", "lenet5_modern"]
    return out, podium.compare(names, "digits", out, steps=40, learning_curve=True, progress=False)


def test_the_best_network_is_trained_on_shares_and_the_verdict_says_what_more_would_give(compared):
    out, board = compared
    best = board.taken.model
    assert sorted(path.name for path in (out / "learning-curve").iterdir()) == [f"{best}-seed0-25", f"{best}-seed0-50"]
    assert board.curve.images[-1] == len(podium.load_data("digits", val=0.2).splits["train"])  # as compare holds out
    assert board.curve.images[0] == pytest.approx(board.curve.images[-1] / 4, abs=10)
    assert board.curve.top1[-1] == pytest.approx(board.taken.top1)
    assert board.curve.sentence() in board.verdict()
    steps = [RunFolder(path).result["steps"] for path in sorted((out / "learning-curve").iterdir())]
    assert steps == [10, 20]


def test_a_plan_counts_the_runs_of_the_curve(tmp_path, monkeypatch):
    monkeypatch.setattr(outlook, "forecast", lambda plan: {"seconds": 8.0, "memory_mb": {"peak": 1.0}})
    words = ("compare", "digits", "-m", "lenet5,lenet5_modern", "--seeds", "2", "--plan", "-o", tmp_path / "out")
    found = json.loads(inside(*words, "--learning-curve", "--json").stdout)
    assert (found["learning_curve"], found["runs"]) == (True, 2 * 2 + 2 * 2)
    assert (found["seconds_after"], found["seconds"]) == (2 * 8 * (0.25 + 0.5), 4 * 8 + 12)
    assert (
        "in all 8 runs, the last of them the best network on parts of the images: 44"
        in inside(*words, "--learning-curve").stdout
    )
    found = json.loads(inside(*words, "--json").stdout)
    assert (found["runs"], found["seconds"]) == (4, 32)


def test_the_same_again_trains_nothing(compared):
    out, board = compared
    files = sorted(out.rglob("model.safetensors"))
    before = [(path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
    again = podium.compare(["lenet5", "lenet5_modern"], "digits", out, steps=40, learning_curve=True, progress=False)
    assert again.curve == board.curve
    after = [(path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
    assert after == before
    assert again.best.path == board.best.path


def test_where_no_network_has_learned_there_is_no_curve_and_that_is_said(tmp_path, caplog):
    caplog.set_level("INFO", "podium")
    board = podium.compare(["lenet5"], "digits", tmp_path / "out", steps=0, learning_curve=True)
    assert board.curve is None
    assert "no learning curve is trained: no network is recommended" in caplog.messages
    assert not (tmp_path / "out" / "learning-curve").exists()
