"""Networks ranked by macro-F1, balanced accuracy or log-loss."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.metrics import log_loss as sklearn_log_loss

import podium
from command import inside, one_error
from podium.comparison.best import standings
from podium.comparison.ranking import SCORES, answers_by, blind
from podium.evaluation.metrics import probabilities


@pytest.fixture(scope="module")
def answers():
    """Labels of three unequal classes, and the logits of a network that is good at the large one and of one that is fair."""
    draw = np.random.default_rng(0)
    labels = draw.choice(3, 400, p=(0.8, 0.15, 0.05))
    large = draw.normal(0, 1, (400, 3)) + 3 * np.eye(3)[labels] + np.array([2.5, 0, 0])
    fair = draw.normal(0, 1, (400, 3)) + 2 * np.eye(3)[labels]
    return labels, large, fair


def score(by, labels, logits):
    return SCORES[by].sign * SCORES[by].of(logits, labels).mean()


def test_scores_are_those_of_scikit_learn(answers):
    labels, large, fair = answers
    for logits in (large, fair):
        p, guesses = probabilities(logits), logits.argmax(1)
        expected = {
            "top1": (guesses == labels).mean(),
            "macro-f1": f1_score(labels, guesses, average="macro"),
            "balanced-accuracy": balanced_accuracy_score(labels, guesses),
            "log-loss": sklearn_log_loss(labels, p),
        }
        for name, value in expected.items():
            assert score(name, labels, logits) == pytest.approx(value, abs=1e-9)


def test_a_class_without_images_counts_in_no_mean():
    labels, guesses = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 3])
    logits = np.eye(4)[guesses]
    assert score("balanced-accuracy", labels, logits) == pytest.approx(1 / 2), "half of each of the two"
    assert score("macro-f1", labels, logits) == pytest.approx(2 / 3), "each precise where it is predicted"


@pytest.mark.parametrize("name", SCORES)
def test_what_an_image_adds_is_how_far_it_moves_the_score(answers, name):
    """Counting an image twice moves the score by its value's distance from the mean, over the number of images."""
    labels, _, fair = answers
    values, n = SCORES[name].of(fair, labels), len(labels)
    for image in (0, 5, int((labels == 2).argmax())):
        twice = np.append(np.arange(n), image)
        moved = SCORES[name].of(fair[twice], labels[twice]).mean() - values.mean()
        assert moved == pytest.approx((values[image] - values.mean()) / (n + 1), abs=0.06 * n / (n + 1) / 20)
        assert np.sign(moved) == pytest.approx(np.sign(values[image] - values.mean()))


@pytest.mark.parametrize("name", SCORES)
def test_the_standard_error_is_that_of_the_bootstrap(answers, name):
    labels, large, fair = answers
    draw, n = np.random.default_rng(1), len(labels)
    drawn = []
    for _ in range(1000):
        rows = draw.integers(0, n, n)
        drawn.append(
            SCORES[name].of(large[rows], labels[rows]).mean() - SCORES[name].of(fair[rows], labels[rows]).mean()
        )
    found = answers_by(name, [[large], [fair]], labels)
    variance = found.covariance
    assert np.sqrt(variance[0, 0] + variance[1, 1] - 2 * variance[0, 1]) == pytest.approx(np.std(drawn), rel=0.12)


def test_unequal_classes_change_the_order(answers):
    labels, large, fair = answers
    first, second = standings(answers_by("top1", [[large], [fair]], labels))
    assert first.behind == 0 < second.behind
    first, second = standings(answers_by("balanced-accuracy", [[large], [fair]], labels))
    assert second.behind == 0 < first.behind


def test_seeds_are_averaged(answers):
    labels, large, fair = answers
    both = answers_by("log-loss", [[large, fair]], labels).scores.mean()
    assert -both == pytest.approx((score("log-loss", labels, large) + score("log-loss", labels, fair)) / 2)


@pytest.mark.parametrize("name", SCORES)
def test_the_same_network_is_not_behind_itself(answers, name):
    labels, large, _ = answers
    for found in standings(answers_by(name, [[large], [large]], labels)):
        assert (str(found.behind), found.worse) == ("0.0", False), "as JSON and CSV have it"


@pytest.mark.parametrize("name", SCORES)
def test_images_of_a_group_count_as_one_draw(answers, name):
    """Four copies of an image are no more evidence than the image."""
    labels, *logits = (array[:60] for array in answers)
    alone = answers_by(name, [[one] for one in logits], labels)
    copied, groups = [[np.repeat(one, 4, 0)] for one in logits], np.repeat(np.arange(60), 4)
    grouped = answers_by(name, copied, np.repeat(labels, 4), groups)
    np.testing.assert_allclose(grouped.covariance, alone.covariance, rtol=1e-6, atol=1e-12)
    each = standings(answers_by(name, copied, np.repeat(labels, 4)))
    four = standings(grouped)
    behind = max(range(2), key=lambda k: four[k].behind)
    assert four[behind].at_most - four[behind].behind > 1.4 * (each[behind].at_most - each[behind].behind)


def test_one_group_says_nothing_of_others(answers):
    labels, large, fair = answers
    for found in standings(answers_by("macro-f1", [[large], [fair]], labels, np.zeros(len(labels)))):
        assert (found.worse, found.at_most) == (False, np.inf)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCORES)
def test_the_intervals_hold_about_as_often_as_they_say(name):
    def drawn(count, draw):
        labels = draw.choice(3, count, p=(0.7, 0.2, 0.1))
        return draw.normal(0, 1, (count, 3)) + 1.5 * np.eye(3)[labels], labels

    many, true_labels = drawn(200_000, np.random.default_rng(99))
    true = SCORES[name].of(many, true_labels).mean()
    held = 0
    for seed in range(40):
        logits, labels = drawn(300, np.random.default_rng(seed))
        low, high = answers_by(name, [[logits]], labels).interval(0)
        held += low <= true <= high
    assert held >= 34, "95 % of 40 are 38; fewer than 34 come by chance once in two hundred times"


@pytest.mark.parametrize("name", SCORES)
def test_an_answer_that_looks_at_no_image_has_not_learned(answers, name):
    labels, large, _ = answers
    shares = np.broadcast_to(np.log(np.bincount(labels) / len(labels)), large.shape)
    found, unseeing = answers_by(name, [[large], [shares]], labels), blind(name, labels, 3)
    assert (found.above(0, unseeing).clear, found.above(1, unseeing).clear) == (True, False)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("ranked") / "all"
    podium.compare(["lenet5", "lenet5_modern"], "digits", out, steps=60, progress=False)
    return out


@pytest.mark.parametrize("by", SCORES)
def test_a_comparison_is_ranked_again_by_another_score(compared, by):
    board = podium.compare(["lenet5", "lenet5_modern"], "digits", compared, steps=60, rank_by=by, progress=False)
    first, second = board.networks
    logits, labels = board.runs[first.model].validation or board.runs[first.model].predictions
    assert first.score == pytest.approx(score(by, labels, logits), abs=1e-6)
    assert (first.score >= second.score) == (by != "log-loss")
    assert f"By {SCORES[by].name} on " in board.verdict()
    assert board.best.path.name == f"{board.taken.model}-seed0"


def test_an_unknown_score_is_refused_with_the_closest(compared):
    one_error(inside("compare", "digits", "--rank-by", "macrof1", "-o", compared), 2, "rank_by: 'macrof1'", "macro-f1")
