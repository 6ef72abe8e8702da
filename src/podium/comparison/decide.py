"""Ranks the networks of a comparison and says which one to take.

Validation images choose: they rank the networks, choose the run of each among its seeds, and the network to take. Test images
report, once: accuracy and its interval are of these. Where only one kind of held-out images exists, as in a cross-validation
or where networks are ranked on test images as papers do, the highest accuracy flatters; by how much is estimated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from podium.comparison.best import Standing, standings
from podium.comparison.optimism import optimism
from podium.comparison.ranking import SCORES, RankBy, RankOn, answers_by, blind, log_likelihood
from podium.comparison.recommend import NO_LIMITS, WITHIN, Limits, Recommendation, recommend
from podium.comparison.rows import Outputs, Row, Trials, outputs_of
from podium.comparison.statistics import Answers


@dataclass(frozen=True)
class Rules:
    """How networks are ranked and recommended.

    Args:
        by: the score that ranks, one of `ranking.RANKS`.
        on: the images that rank: "val"; or "test", the images that the results report.
        within: how far below the best the network to take may be, in units of the score: 0.01 is one point of accuracy.
        limits: what it may cost at most.
    """

    by: RankBy = "top1"
    on: RankOn = "val"
    within: float = WITHIN
    limits: Limits = NO_LIMITS


@dataclass(frozen=True)
class Outcome:
    """What a comparison found.

    Args:
        rows: of the networks, the best first, after them those that have not learned.
        taken: the network to take; None where none has learned, or none that has is within the limits.
        n, split: how many images the results report, and which these are.
        ranked_n, ranked_on: how many images rank, and which.
        groups: of how many groups the images that rank are; None where they have none.
        guess: the score, on these, of answering the most frequent class every time.
        enough: whether so many images could show that a network has learned.
        over_seeds: whether what is said covers other seeds: some network has more than one.
        some_run_learned: whether some run, taken alone, has clearly learned.
        flatters: how far the highest score is above what such a choice has on new images, where the images that rank also
            report; 0 where other images report.
    """

    rows: list[Row]
    taken: Recommendation | None
    n: int
    split: str
    ranked_n: int
    ranked_on: str
    groups: int | None
    guess: float
    enough: bool
    over_seeds: bool
    some_run_learned: bool
    flatters: float


def decide(networks: Sequence[Trials], rules: Rules) -> Outcome:
    """Rank networks and choose one.

    Args:
        networks: their finished runs, evaluated on the same images; each keeps the run that is chosen among its seeds.
        rules: how.

    Raises:
        ModelFileError: a run was evaluated on other images than the first.
    """
    ranking = outputs_of(networks, ranking=rules.on == "val")
    reported = outputs_of(networks, ranking=False)
    if reported.split == ranking.split:  # "val" too, where a run has no other images to report on
        reported = ranking
    answers = answers_by(rules.by, ranking.logits, ranking.labels, ranking.groups)
    answers = answers.lowered([network.flattered for network in networks])
    unseeing = blind(rules.by, ranking.labels, ranking.logits[0][0].shape[1])
    likelihoods = [np.array([log_likelihood(run, ranking.labels).mean() for run in runs]) for runs in ranking.logits]
    for network, runs, likely in zip(networks, answers.right, likelihoods, strict=True):
        network.choose(runs.mean(1), likely)
    rows = [
        replace(row, ranked_by=rules.by, ranked_on=ranking.split, ranked_n=answers.n)
        for row in _rows(networks, answers, reported, unseeing, rules)
    ]
    order = sorted(range(len(rows)), key=lambda k: (not rows[k].learned, rows[k].behind, -float(likelihoods[k].mean())))
    best_first = [_on_the_front(rows[k], rows) for k in order]
    best_first = [replace(row, of_limits=rules.limits.share(row)) for row in best_first]
    taken = recommend(best_first, rules.within, rules.limits)
    if taken is not None:
        best_first = [replace(row, recommended=row.model == taken.row.model) for row in best_first]
    perfect = Answers([np.ones((1, answers.n), bool)], answers.groups)
    return Outcome(
        rows=best_first,
        taken=taken,
        n=len(reported.labels),
        split=reported.split,
        ranked_n=answers.n,
        ranked_on=ranking.split,
        groups=answers.units if answers.groups is not None else None,
        guess=float((ranking.labels == np.bincount(ranking.labels).argmax()).mean()),
        enough=perfect.above(0, ranking.labels == np.bincount(ranking.labels).argmax()).clear,
        over_seeds=answers.freedom > 0,
        some_run_learned=answers.some_run_above(unseeing),
        flatters=optimism(answers) if reported is ranking else 0.0,
    )


def _rows(
    networks: Sequence[Trials], answers: Answers, reported: Outputs, unseeing: np.ndarray, rules: Rules
) -> list[Row]:
    """The rows of the networks with their scores and how they stand beside the best, in the order given."""
    right = [np.stack([run.argmax(1) == reported.labels for run in runs]) for runs in reported.logits]
    accuracy, score = Answers(right, reported.groups), SCORES[rules.by]
    found = []
    for number, (network, standing) in enumerate(zip(networks, standings(answers, rules.within), strict=True)):
        low, high = answers.interval(number)
        ends = sorted((score.sign * low, score.sign * high))
        found.append(
            replace(
                network.row(accuracy.interval(number)),
                learned=answers.above(number, unseeing).clear,
                score=score.sign * float(answers.scores[number].mean()),
                score_low=max(0.0, ends[0]),
                score_high=min(1.0, ends[1]) if score.sign > 0 else ends[1],
                **_standing(standing),
            )
        )
    return found


def _standing(standing: Standing) -> dict[str, Any]:
    """The fields of a row that say how a network stands beside the best."""
    needed = math.ceil(standing.needed) if math.isfinite(standing.needed) else None
    return {
        "behind": standing.behind,
        "behind_at_most": standing.at_most,
        "worse": standing.worse,
        "images_needed": needed,
    }


def _on_the_front(row: Row, rows: Sequence[Row]) -> Row:
    return replace(row, pareto=row.latency_p50_ms is not None and not any(other.dominates(row) for other in rows))
