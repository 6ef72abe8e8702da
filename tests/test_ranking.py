"""Networks ranked by macro-F1, balanced accuracy or log-loss."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.metrics import log_loss as sklearn_log_loss

import podium
from command import inside, one_error
from podium.comparison.ranking import SCORES, rank
from podium.evaluation.metrics import probabilities


@pytest.fixture(scope="module")
def answers():
    """Labels of three unequal classes, and the logits of a network that is good at the large one and of one that is fair."""
    draw = np.random.default_rng(0)
    labels = draw.choice(3, 400, p=(0.8, 0.15, 0.05))
    large = draw.normal(0, 1, (400, 3)) + 3 * np.eye(3)[labels] + np.array([2.5, 0, 0])
    fair = draw.normal(0, 1, (400, 3)) + 2 * np.eye(3)[labels]
    return labels, large, fair


def test_scores_are_those_of_scikit_learn(answers):
    labels, large, fair = answers
    for logits in (large, fair):
        p, guesses = probabilities(logits), logits.argmax(1)
        expected = {
            "macro-f1": f1_score(labels, guesses, average="macro"),
            "balanced-accuracy": balanced_accuracy_score(labels, guesses),
            "log-loss": sklearn_log_loss(labels, p),
        }
        for name, value in expected.items():
            assert rank(name, [[logits]], labels)[0].value == pytest.approx(value, abs=1e-5)


def test_unequal_classes_change_the_order(answers):
    labels, large, fair = answers
    assert (large.argmax(1) == labels).mean() > (fair.argmax(1) == labels).mean()
    by_recall = rank("balanced-accuracy", [[large], [fair]], labels)
    assert by_recall[1].behind == 0
    assert by_recall[0].behind > 0


def test_less_log_loss_is_better_and_seeds_are_averaged(answers):
    labels, large, fair = answers
    one, both = rank("log-loss", [[large], [large, fair]], labels)
    alone = rank("log-loss", [[fair]], labels)[0]
    assert both.value == pytest.approx((one.value + alone.value) / 2)
    assert (one.behind == 0) == (one.value <= both.value)


def test_the_same_network_is_not_behind_itself(answers):
    labels, large, _ = answers
    for name in SCORES:
        first, second = rank(name, [[large], [large]], labels)
        assert (first.behind, second.behind, second.behind_95) == (0, 0, 0)
        assert str(first.behind) == "0.0", "as JSON and CSV have it"


@pytest.mark.parametrize("name", SCORES)
def test_images_of_a_group_count_as_one_draw(answers, name):
    """Four copies of an image are no more evidence than the image; only Student's t of few groups makes it a little less."""
    labels, *logits = (array[:60] for array in answers)
    wide = (60 / 59) ** 0.5 * stats.t.ppf(0.975, 59) / stats.norm.ppf(0.975)
    alone = rank(name, [[one] for one in logits], labels)
    copied, groups = [[np.repeat(one, 4, 0)] for one in logits], np.repeat(np.arange(60), 4)
    grouped = rank(name, copied, np.repeat(labels, 4), groups)
    for one, four in zip(alone, grouped, strict=True):
        assert four.value == pytest.approx(one.value, abs=1e-6)
        assert four.value - four.low == pytest.approx(wide * (one.value - one.low), rel=1e-3)
        assert four.behind_95 == pytest.approx(wide * one.behind_95, rel=1e-3)
    each = rank(name, copied, np.repeat(labels, 4))
    assert all(four.behind_95 <= 0.7 * one.behind_95 for one, four in zip(alone, each, strict=True))


def test_one_group_says_nothing_of_others(answers):
    labels, large, fair = answers
    first, second = rank("macro-f1", [[large], [fair]], labels, np.zeros(len(labels)))
    assert (first.low, first.high, first.learned) == (0.0, 1.0, False)
    assert first.behind <= first.behind_95
    assert second.behind <= second.behind_95


@pytest.mark.slow
@pytest.mark.parametrize("name", SCORES)
def test_the_intervals_hold_about_as_often_as_they_say(name):
    def drawn(count, draw):
        labels = draw.choice(3, count, p=(0.7, 0.2, 0.1))
        return draw.normal(0, 1, (count, 3)) + 1.5 * np.eye(3)[labels], labels

    many, true_labels = drawn(200_000, np.random.default_rng(99))
    true = float(SCORES[name].of(many, true_labels, np.ones((1, 200_000), np.float32))[0])
    held = 0
    for seed in range(40):
        logits, labels = drawn(300, np.random.default_rng(seed))
        (found,) = rank(name, [[logits]], labels)
        held += found.low <= true <= found.high
    assert held >= 34, "95 % of 40 are 38; fewer than 34 come by chance once in two hundred times"


def test_an_answer_that_looks_at_no_image_has_not_learned(answers):
    labels, large, _ = answers
    shares = np.log(np.bincount(labels) / len(labels))
    for name in SCORES:
        seeing, blind = rank(name, [[large], [np.broadcast_to(shares, large.shape)]], labels)
        assert (seeing.learned, blind.learned) == (True, False)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("ranked") / "all"
    podium.compare(["lenet5", "lenet5_modern"], "digits", out, steps=60, progress=False)
    return out


@pytest.mark.parametrize("by", SCORES)
def test_a_comparison_is_ranked_again_by_another_score(compared, by):
    board = podium.compare(["lenet5", "lenet5_modern"], "digits", compared, steps=60, rank_by=by, progress=False)
    best, other = board.networks
    key = {"macro-f1": "macro_f1", "balanced-accuracy": "balanced_accuracy", "log-loss": "loss"}[by]
    assert best.score == pytest.approx(getattr(best, key), abs=1e-4)
    assert (best.score >= other.score) == (by != "log-loss")
    assert board.verdict().startswith(f"{best.model} wins with {SCORES[by].name} {best.score:.3f} (95 % interval")
    assert board.best.path.name == f"{best.model}-seed0"


def test_an_unknown_score_is_refused_with_the_closest(compared):
    one_error(inside("compare", "digits", "--rank-by", "macrof1", "-o", compared), 2, "rank_by: 'macrof1'", "macro-f1")
