"""Comparison with the best: what is said of all networks of a study holds at once, and one network is recommended by it."""

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from conftest import ROOT
from podium.comparison.best import standings
from podium.comparison.optimism import optimism
from podium.comparison.recommend import recommend
from podium.comparison.statistics import Answers


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("verdict_benchmark", ROOT / "benchmarks" / "verdict.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


@pytest.mark.parametrize(("networks", "seeds"), [("6 equal", 1), ("20 equal", 1), ("3 tied of 20", 3)])
def test_equal_networks_are_seldom_called_worse(benchmark, networks, seeds):
    """At most 5 % of studies, however many networks there are: of 100, more than 11 come by chance once in two hundred times."""
    rows = benchmark.measure_studies(100, [(seeds, 300)], [networks])
    for row in rows:
        assert row["a_best_called_worse"] <= 0.11, row
        assert row["a_bound_fails"] <= 0.11, row


def test_a_network_that_is_better_is_found(benchmark):
    (_, row) = benchmark.measure_studies(60, [(1, 1000)], ["1 of 6 better by 3 points"])
    assert row["worse_found"] > 0.2, row
    assert row["a_best_called_worse"] <= 0.1


def test_the_stated_accuracy_is_not_flattered(benchmark):
    (_, row) = benchmark.measure_studies(100, [(1, 1000)], ["6 equal"])
    assert abs(row["stated_less_true"]) < 0.4, "its standard error is 0.11 points"
    assert row["highest_less_true"] > 0.5, "the highest accuracy of six, on the images that chose it"
    assert abs(row["after_correction"]) < 1, "a few studies only are corrected"


def test_two_networks_are_told_apart_as_by_the_paired_test():
    """Ten images lost and none won: with Student's t of one pair, and one more image on which the two differ."""
    right = np.ones((2, 1, 500), bool)
    right[1, 0, :10] = False
    best, other = standings(Answers(list(right)))
    error = np.sqrt(500 / 499 * (10 - 100 / 500) + 1) / 500
    assert other.behind == pytest.approx(0.02)
    assert other.at_most == pytest.approx(0.02 + stats.t.ppf(0.95, 499) * error, rel=0.02)
    assert other.worse
    assert (best.behind, best.worse) == (0, False)
    assert best.at_most == 0


@pytest.mark.parametrize("networks", [2, 3])
@pytest.mark.parametrize(("n", "near"), [(20, False), (1000, True)])
def test_networks_that_answer_alike_are_not_sure_to_be_alike(networks, n, near):
    """On 20 images two networks may differ on one in seven and agree by chance (0.86^20 = 5 %); on 1,000 they may not."""
    right = np.ones((1, n), bool)
    right[0, : n // 10] = False
    found = standings(Answers([right] * networks))
    assert all(one.at_most == pytest.approx(stats.t.ppf(0.95, n - 1) / n) for one in found)
    assert all((one.at_most <= 0.01) == near and (one.needed <= n) == near for one in found)
    assert not any(one.worse for one in found)
    enough = np.tile(right, 100)[:, : int(np.ceil(found[0].needed * 1.001))]  # the quantile is of a few more
    assert standings(Answers([enough] * networks))[0].at_most == pytest.approx(0.01, rel=0.06)


@pytest.mark.parametrize(("n", "worse"), [(1, False), (2, False), (3, False), (4, False), (5, True)])
def test_so_few_images_call_no_network_worse(n, worse):
    """All of n images won: by chance alone in 1 of 2^n cases, which is 6 % of four and 3 % of five."""
    best, other = standings(Answers([np.ones((1, n), bool), np.zeros((1, n), bool)]))
    assert (best.worse, other.worse) == (False, worse)
    if not worse:
        assert (best.at_most, other.at_most) == (1, 1)
        assert best.needed == other.needed == np.inf


def test_more_networks_need_more_evidence():
    draw = np.random.default_rng(0)
    base = draw.random(400) < 0.9
    lost = base.copy()
    lost[np.flatnonzero(base)[:7]] = False
    others = [np.where(draw.random(400) < 0.15, ~base, base) for _ in range(18)]
    assert standings(Answers([base[None], lost[None]]))[1].worse
    many = standings(Answers([base[None], lost[None], *(row[None] for row in others)]))
    assert not many[1].worse or many[1].at_most > standings(Answers([base[None], lost[None]]))[1].at_most


def test_the_number_of_images_that_would_show_it_does():
    """As many images more with the same answers bring the bound to what is allowed."""
    draw = np.random.default_rng(1)
    a = draw.random(300) < 0.9
    b = np.where(draw.random(300) < 0.05, ~a, a)
    first, second = sorted(standings(Answers([a[None], b[None]]), 0.03), key=lambda one: one.behind)
    if second.behind >= 0.03:
        assert second.needed == np.inf
        return
    times = int(np.ceil(second.needed / 300)) + 1
    more = standings(Answers([np.tile(a, times)[None], np.tile(b, times)[None]]), 0.03)
    assert max(one.at_most for one in more) <= 0.031
    assert first.needed <= second.needed


def row(model, latency, at_most, learned=True, needed=None):
    return SimpleNamespace(
        model=model, latency_p50_ms=latency, macs=latency, params=1, behind=at_most / 2, behind_at_most=at_most, learned=learned,
        images_needed=needed,
    )  # fmt: skip


def test_the_cheapest_that_is_near_enough_is_taken():
    rows = [
        row("best", 9.0, 0.0),
        row("near", 5.0, 0.009),
        row("cheap", 1.0, 0.04, needed=5000),
        row("dear", 20.0, 0.008),
    ]
    found = recommend(rows, 0.01)
    assert (found.row.model, found.best) == ("near", False)
    found = recommend(rows, 0.001)
    assert (found.row.model, found.best, found.cheaper.model) == ("best", True, "cheap")
    assert recommend(rows, 0.05).row.model == "cheap"


def test_a_network_that_has_not_learned_is_never_taken():
    assert recommend([row("a", 1.0, 0.0, learned=False)], 0.01) is None
    assert recommend([row("a", 5.0, 0.0), row("b", 1.0, 0.0, learned=False)], 0.01).row.model == "a"


def test_networks_without_measured_time_cost_their_multiply_adds():
    rows = [row("a", 5.0, 0.0), row("b", 4.0, 0.0), row("c", 6.0, 0.0)]
    rows[0].latency_p50_ms = None
    assert recommend(rows, 0.01).row.model == "b"


def test_a_single_network_flatters_by_nothing():
    assert optimism(Answers([np.ones((1, 50), bool)])) == 0.0
