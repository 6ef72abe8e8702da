"""Two networks on the same images: which images only one of them has right, and whether that is more than chance.

The difference of accuracy has its 95 % interval, and the exact test of McNemar [1947]: if the networks were equally good, each
image that only one of them has right would be as likely the one's as the other's. Where images have groups, it is whole groups
whose images may be exchanged between the networks, since images of one group are right or wrong together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from podium.comparison.answered import Answered, names_of
from podium.comparison.class_recall import ClassRecall, class_recalls
from podium.comparison.disagreement_text import verdict
from podium.comparison.ranking import SCORES, answers_by
from podium.comparison.report.pictures import Album
from podium.comparison.statistics import Answers
from podium.html import paragraph, table

ALPHA = 0.05
RESAMPLES = 9999  # exchanges that are drawn where there are too many groups to try them all
CORRECTION = "95 % for all classes at once: Tango's score intervals with Šidák's correction"
# The images whose answers differ, by which network has them right.
KINDS = ("first", "second", "neither")


@dataclass(frozen=True)
class ScorePair:
    """A score of two networks on the same images.

    Args:
        name: of the score: "top1", "macro_f1" or "loss".
        first, second: its values.
        low, high: 95 % interval of `second` less `first`.
    """

    name: str
    first: float
    second: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """The second value less the first."""
        return self.second - self.first

    def to_dict(self) -> dict[str, float]:
        """The score as JSON has it."""
        values = {"first": self.first, "second": self.second, "difference": self.difference}
        return {**values, "difference_low": self.low, "difference_high": self.high}


@dataclass(frozen=True, repr=False)
class Disagreement:
    """Two networks on the same images.

    Args:
        first, second: their answers to the same images, in the same order and with the classes in the same order.
        album: the pictures of the images; empty where the data is not there.
        notes: what a person should know about the images.
    """

    first: Answered
    second: Answered
    album: Album = field(default_factory=Album)
    notes: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, str]:
        """What people call the two."""
        one, two = self.first, self.second
        return names_of((one.model, one.run), (two.model, two.run))

    @property
    def n(self) -> int:
        """How many images there are."""
        return len(self.first)

    @property
    def images(self) -> str:
        """The images in words: "48 test images"."""
        role = f"{self.first.split} " if self.first.split == self.second.split else ""
        return f"{self.n:,} {role}image{'s' if self.n != 1 else ''}"

    @cached_property
    def table(self) -> dict[str, int]:
        """How many images both have right, only the first, only the second, and neither."""
        one, two = self.first.right, self.second.right
        rows = {"both": one & two, "first": one & ~two, "second": two & ~one, "neither": ~one & ~two}
        return {name: int(each.sum()) for name, each in rows.items()}

    @cached_property
    def p_value(self) -> float:
        """The probability of a difference of accuracy this large between equally good networks, by the exact test."""
        groups = self.first.groups
        if groups is None:
            from scipy.stats import binomtest

            differing = self.table["first"] + self.table["second"]
            return float(binomtest(self.table["first"], differing).pvalue) if differing else 1.0
        from scipy.stats import permutation_test

        which = np.unique(groups, return_inverse=True)[1]
        won = np.bincount(which, self.second.right.astype(np.float64) - self.first.right)
        won = won[won != 0]
        if len(won) < 2:
            return 1.0
        draw = np.random.default_rng(0)
        test = permutation_test(
            (won,), np.sum, permutation_type="samples", vectorized=True, n_resamples=RESAMPLES, rng=draw
        )
        return float(test.pvalue)

    @cached_property
    def top1(self) -> ScorePair:
        """The accuracies."""
        return self._pair("top1", "top1")

    @cached_property
    def intervals(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Where the accuracy of each network lies with 95 %."""
        answers = Answers([self.first.right[None], self.second.right[None]], self.first.groups)
        return answers.interval(0), answers.interval(1)

    @cached_property
    def scores(self) -> tuple[ScorePair, ...]:
        """Top-1, macro-F1 and log-loss."""
        return self.top1, self._pair("macro_f1", "macro-f1"), self._pair("loss", "log-loss")

    def _pair(self, name: str, by: str) -> ScorePair:
        """A score of both networks; `by` is one of `ranking.SCORES`."""
        one, two, sign = self.first, self.second, SCORES[by].sign
        answers = answers_by(by, [[one.logits], [two.logits]], one.labels, one.groups)
        first, second = (sign * float(score.mean()) for score in answers.scores)
        half = answers.difference(1, 0).half
        return ScorePair(name, first, second, second - first - half, second - first + half)

    @cached_property
    def classes(self) -> list[ClassRecall]:
        """The recall of each class that has images, with intervals that hold for all classes at once."""
        one, two = self.first, self.second
        return class_recalls((one.right, two.right), one.labels, one.classes, one.groups)

    @property
    def same_network(self) -> bool:
        """Whether both have the same weights."""
        return self.first.digest is not None and self.first.digest == self.second.digest

    @property
    def better(self) -> int | None:
        """Which network is better, 0 or 1, by the interval and the test; None where they do not tell."""
        clear = self.p_value < ALPHA and (self.top1.low > 0 or self.top1.high < 0)
        return int(self.top1.difference > 0) if clear else None

    def rows(self, kind: str) -> np.ndarray:
        """The images whose answers differ, those first of which both networks are most certain.

        Args:
            kind: one of `KINDS`: which network has them right.
        """
        one, two = self.first, self.second
        right = {"first": one.right, "second": two.right, "neither": ~one.right & ~two.right}[kind]
        rows = np.flatnonzero(right & (one.answers != two.answers))
        return rows[np.argsort(-(one.confidence + two.confidence)[rows], kind="stable")]

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON has it, with every image whose answers differ."""
        one, two, t = self.first, self.second, self.table
        accuracy = {**self.top1.to_dict(), "p_value": self.p_value, "better": self._side(self.better)}
        for side, (low, high) in zip(("first", "second"), self.intervals, strict=True):
            accuracy |= {f"{side}_low": low, f"{side}_high": high}
        return {
            "first": _of_network(one, self.names[0]),
            "second": _of_network(two, self.names[1]),
            "n": self.n,
            "both_right": t["both"],
            "only_first_right": t["first"],
            "only_second_right": t["second"],
            "both_wrong": t["neither"],
            "top1": accuracy,
            **{score.name: score.to_dict() for score in self.scores[1:]},
            "per_class": [row.to_dict() for row in self.classes],
            "per_class_intervals": CORRECTION,
            "disagreements": [self.image(int(row), kind) for kind in KINDS for row in self.rows(kind)],
            "same_network": self.same_network,
            "verdict": self.verdict(),
            "notes": list(self.notes),
        }

    def image(self, row: int, kind: str) -> dict[str, Any]:
        """One image whose answers differ: its name below the data's root where that is known, its class, both answers."""
        found: dict[str, Any] = {
            "image": self.album.name(int(self.first.keys[row])),
            "class": self.first.classes[self.first.labels[row]],
            "right": kind,
        }
        for side, each in (("first", self.first), ("second", self.second)):
            found[side] = each.classes[each.answers[row]]
            found[f"{side}_confidence"] = float(each.confidence[row])
        return found

    def _side(self, number: int | None) -> str | None:
        return None if number is None else ("first", "second")[number]

    def verdict(self) -> str:
        """Which network is better on these images, how sure that is, and what it does not say."""
        return verdict(self)

    def save(self, path: str | Path) -> Path:
        """Write a page that works offline, with the pictures of the images on which the networks disagree.

        Raises:
            UsageError: the name does not end in .html, its folder is not there, or another file is there.
        """
        from podium.comparison.report.diff_page import check_target, write_diff_page

        path = Path(path)
        check_target(path)
        return write_diff_page(path, self)

    def __repr__(self) -> str:
        return f"<Disagreement of {self.names[0]} and {self.names[1]} on {self.images}: {self.verdict()}>"

    def _repr_html_(self) -> str:
        """The verdict and the counts, as a notebook shows them."""
        t, (one, two) = self.table, self.names
        rows = [
            [f"{one} right", str(t["both"]), str(t["first"])],
            [f"{one} wrong", str(t["second"]), str(t["neither"])],
        ]
        return paragraph(self.verdict()) + table(["", f"{two} right", f"{two} wrong"], rows)


def _of_network(network: Answered, name: str) -> dict[str, Any]:
    return {"name": name, "model": network.model, "run": network.run, "split": network.split, **network.facts}
