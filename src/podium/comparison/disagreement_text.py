"""What two networks' disagreement comes to, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podium.comparison.disagreement import Disagreement


def verdict(found: Disagreement) -> str:
    """Say which network is better on the images, how sure that is, and what it does not say.

    Args:
        found: the two networks on the same images.
    """
    one, two = found.names
    if found.same_network:
        return f"{one} and {two} are the same network: their weights have the same digest."
    if (found.first.answers == found.second.answers).all():
        every = f"{one} and {two} give the same answer to every one of {found.images}"
        return f"{every}; {percent(found.top1.first)} are right. {_scope(found)}"
    return f"{_outcome(found)} {_alone(found)} {_scope(found)}"


def _outcome(found: Disagreement) -> str:
    top1, (one, two) = found.top1, found.names
    if found.better is None:
        on_edge = found.p_value < 0.05 or top1.low > 0 or top1.high < 0
        said = "A difference is at the edge of what can be told" if on_edge else "There is no clear difference"
        shares = f"{one} has {percent(top1.first)}, {two} {percent(top1.second)}"
        interval = f"{two} less {one} is between {100 * top1.low:+.2f} and {100 * top1.high:+.2f} points at 95 %"
        return f"{said} on {found.images}: {shares}; {interval} ({format_test(found)})."
    (better, high), (worse, low) = ((two, top1.second), (one, top1.first))[:: 1 if found.better else -1]
    limits = sorted((abs(top1.low), abs(top1.high)))
    by = f"{100 * abs(top1.difference):.2f} points more (95 % interval {100 * limits[0]:.2f} to {100 * limits[1]:.2f}; {format_test(found)})"
    shares = f"{percent(high)} against {percent(low)}, {by}"
    return f"{better} is more accurate than {worse} on {found.images}: {shares}."


def _alone(found: Disagreement) -> str:
    first, second = found.table["first"], found.table["second"]
    images = "1 image" if first == 1 else f"{first:,} images"
    return f"{found.names[0]} alone is right on {images}, {found.names[1]} alone on {second:,}."


def _scope(found: Disagreement) -> str:
    if "cross-validated" in (found.first.split, found.second.split):
        return "This is about the trained networks of these folds; with other seeds each would answer differently."
    about = "This is about these two trained networks"
    if found.first.model.split()[0] == found.second.model.split()[0]:  # "resnet20" and "resnet20 int8"
        return f"{about}; trained with another seed, each would answer differently."
    return f"{about}, not about their architectures: `podium compare --seeds 3` compares those."


def percent(share: float) -> str:
    """A share for people: "93.40 %"."""
    return f"{100 * share:.2f} %"


def format_interval(low: float, high: float) -> str:
    """An interval of a difference of shares, in points: "-0.42 to +1.20 points"."""
    return f"{100 * low:+.2f} to {100 * high:+.2f} points"


def format_test(found: Disagreement) -> str:
    """The test and its p-value for people: "exact McNemar test: p = 0.031"."""
    name = "exact McNemar test" if found.first.groups is None else "paired permutation test of groups"
    return f"{name}: p {'< 0.0001' if found.p_value < 1e-4 else f'= {found.p_value:.2g}'}"
