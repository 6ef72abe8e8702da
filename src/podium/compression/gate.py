"""Whether a smaller network may take a larger one's place: both are evaluated on the same images, which chose nothing else."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from podium.data.dataset import Dataset
from podium.errors import DataError, UsageError
from podium.evaluation.paired import Z95, Paired, score

Outcome = Literal["within", "above", "unproven"]
SPLITS = {"val": "validation", "test": "test"}
UNPROVEN = "-unproven"  # how the name ends of a result that too few images decide on


def deciding_split(data: Dataset) -> str:
    """The images that decide: test images, and validation images where there are no others.

    Validation images choose the epoch only where test images report, so neither has chosen anything where it decides.
    """
    return "test" if "test" in data.splits else "val"


def unproven(out: Path) -> Path:
    """Where a result goes that too few images decide on: beside the folder that was named for it."""
    place = out if out.name not in ("", "..") else Path(os.path.abspath(out))
    return place.with_name(f"{place.name}{UNPROVEN}")


@dataclass(frozen=True)
class Gate:
    """The accuracies of two networks, and what they say of the loss that is accepted.

    Args:
        pair: of the larger network (before) and the smaller one (after), from `evaluation.paired`.
        tolerance: loss of top-1 that is accepted, as a fraction.
        split: the images that both were evaluated on.
        available: how many images the split has.
        accept_unproven: whether a person takes the smaller network where the images are too few to tell.
    """

    pair: Paired
    tolerance: float
    split: str
    available: int
    accept_unproven: bool = False

    @property
    def outcome(self) -> Outcome:
        """Whether the loss is within the tolerance at 95 %, above it at 95 %, or neither is shown."""
        low, high = self.pair.limits
        return "within" if high <= self.tolerance else "above" if low > self.tolerance else "unproven"

    @property
    def passed(self) -> bool:
        """Whether the loss is within the tolerance at 95 %."""
        return self.outcome == "within"

    @property
    def left_open(self) -> bool:
        """Whether the images are too few to tell, and nobody has accepted that."""
        return self.outcome == "unproven" and not self.accept_unproven

    @property
    def images_needed(self) -> int | None:
        """About how many images would decide if as large a share of them is lost and won; None if no number would.

        An image is counted as lost where none was, and one as won where none was: the next images may have one.
        """
        lost, won = max(1, self.pair.lost), max(1, self.pair.won)
        n = max(self.pair.n, lost + won)
        if (distance := score(lost, won, n, self.tolerance)) == 0:
            return None
        return max(self.pair.n + 1, math.ceil(_rounded_up(n * (Z95 / distance) ** 2)))

    def to_dict(self) -> dict[str, Any]:
        """The gate as cards and JSON have it.

        Returns:
            {split, n, before, after, lost, won, drop, low, high (the limits of the drop at 95 %), tolerance, outcome, passed,
            accepted: whether an open outcome was accepted, images_needed: None where the outcome is not open}.
        """
        low, high = self.pair.limits
        is_open = self.outcome == "unproven"
        return {
            "split": self.split,
            **asdict(self.pair),
            "drop": self.pair.drop,
            "low": low,
            "high": high,
            "tolerance": self.tolerance,
            "outcome": self.outcome,
            "passed": self.passed,
            "accepted": is_open and self.accept_unproven,
            "images_needed": self.images_needed if is_open else None,
        }

    def __str__(self) -> str:
        p, (low, high) = self.pair, self.pair.limits
        change = f"top-1 {100 * p.before:.2f} % -> {100 * p.after:.2f} % on the same {self.images}"
        counts = f"{p.lost} image{'s' * (p.lost != 1)} lost, {p.won} won"
        limit = f"at least {100 * low:.2f}" if self.outcome == "above" else f"at most {100 * high:.2f}"
        return f"{change}: a loss of {100 * p.drop:.2f} points ({counts}), {limit} at 95 %; {self.conclusion}"

    @property
    def images(self) -> str:
        """The images that decide, in words."""
        return f"{self.pair.n:,} {SPLITS[self.split]} images"

    @property
    def conclusion(self) -> str:
        """The outcome in words, with the number of images that would do where they are too few."""
        tolerance = f"the tolerance of {format_points(self.tolerance)}"
        if self.outcome != "unproven":
            return f"{self.outcome} {tolerance}"
        few = f"too few images to tell whether the loss is within {tolerance}"
        needed = self.images_needed
        would = f"about {needed:,} would do" if needed else "no number would, the loss is about the tolerance itself"
        return f"{few}: {would}{', accepted all the same' * self.accept_unproven}"


@dataclass(frozen=True)
class Terms:
    """What a smaller network may lose.

    Args:
        tolerance: loss of top-1 that is accepted, as a fraction.
        accept_unproven: whether it is taken where the images are too few to tell.

    Raises:
        UsageError: the tolerance is no fraction.
    """

    tolerance: float = 0.005
    accept_unproven: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise UsageError(f"tolerance: {self.tolerance}", "give a fraction from 0 to 1, such as 0.005")

    def check(self, data: Dataset, limit: int | None = None) -> None:
        """Refuse images that are too few to show the tolerance, before anything is trained.

        Args:
            data: with its images in their roles.
            limit: the number of images that are evaluated at most.

        Raises:
            DataError: they could not show it if both networks had the same ones right; says how many could.
        """
        split = deciding_split(data)
        available = len(data.splits[split])
        n = available if limit is None else min(limit, available)
        if self.accept_unproven or (self.tolerance and n >= (needed := least_images(self.tolerance))):
            return
        if not self.tolerance:
            what = (
                "tolerance: 0 cannot be shown by any number of images, even if both networks have the same ones right"
            )
            raise DataError(what, "give a larger --tolerance, such as 0.005; or --accept-unproven")
        few = f"{n:,} {SPLITS[split]} images are too few to show a loss of at most {format_points(self.tolerance)}"
        least = _rounded_up(Z95**2 / (n + Z95**2))
        more = f"--limit {needed}" if available >= needed else f"more {SPLITS[split]} images"
        fix = f"give {more}; or --tolerance {least:g}, the least that so many show; or --accept-unproven"
        raise DataError(f"{few}, even if both networks have the same ones right: {needed:,} would do", fix)

    def decide(self, pair: Paired, data: Dataset) -> Gate:
        """The gate for two networks that were compared on the images which decide."""
        split = deciding_split(data)
        return Gate(pair, self.tolerance, split, len(data.splits[split]), self.accept_unproven)


def least_images(tolerance: float) -> int:
    """How many images show a tolerance above 0 if none of them is lost or won: see `evaluation.paired.largest_loss`."""
    return math.ceil(Z95**2 * (1 - tolerance) / tolerance)


def format_points(share: float) -> str:
    """A share as percentage points: "0.5 points"."""
    return f"{100 * share:g} point{'s' * (share != 0.01)}"


def _rounded_up(number: float) -> float:
    """The next larger number of two digits and zeros."""
    unit = 10.0 ** (math.floor(math.log10(number)) - 1)
    return unit * math.ceil(number / unit)
