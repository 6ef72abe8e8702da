"""Which networks of a pattern suit the data, and which ones are within the limits of a comparison; the others are named."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from podium.comparison.candidates import Candidate, Choice, spec_of, with_sources
from podium.comparison.sizes import Spec, cost_of, count_costs
from podium.data.dataset import Dataset
from podium.errors import ModelFileError, UsageError
from podium.evaluation.cost import Cost, short
from podium.models.registry import architecture
from podium.runs import bundle
from podium.settings import Settings
from podium.weights.official import best_source

FLAGS = {"parameters": "--max-params", "multiply-adds": "--max-macs"}


def selected(
    candidates: Sequence[Candidate],
    s: Settings,
    data: Dataset,
    choice: Choice,
    recorded: Mapping[str, str] | None,
    counted: Callable[[int, int], None] | None = None,
) -> tuple[list[Candidate], list[str]]:
    """Choose the networks of a comparison among those that were named, and say which ones are left out.

    Args:
        candidates: the networks that were named, or that a pattern or a family stands for.
        s: of the comparison.
        data: its images.
        choice: has the limits.
        recorded: name of a candidate -> the source that the comparison has on record, where networks start from pretrained
            weights; None where they start from random ones.
        counted: called with (networks whose multiply-adds are counted, networks in all): some networks take a second each.

    Returns:
        The networks, with their sources, and a note on each kind of those that are left out.

    Raises:
        UsageError: none is left, or no official weights are known of one that was named itself.
    """
    left = list(candidates)
    notes: list[str] = []
    if recorded is not None:
        unknown = [c for c in left if c.matched and c.source is None and best_source(c.model) is None]
        left, notes = _without(left, unknown, "of which no official weights are known")
        left = with_sources(left, recorded)
    small = [c for c in left if c.matched and (spec := spec_of(c, s, data)) is not None and _too_small(spec)]
    left, more = _without(left, small, f"for which {s.image_size} px are too small")
    count_costs(left, s, data, counted)
    above, why = _above(left, s, data, choice)
    left, most = _without(left, above, why)
    for note in (notes := [*notes, *more, *most]):
        logging.getLogger("podium").info(note)
    return left, notes


def _above(candidates: Sequence[Candidate], s: Settings, data: Dataset, choice: Choice) -> tuple[list[Candidate], str]:
    """Find the networks that are larger, or cost more, than a person allows.

    Returns:
        These networks, and the limits in words.

    Raises:
        UsageError: these are all networks; names the smallest.
    """
    given = {"parameters": choice.max_params, "multiply-adds": choice.max_macs}
    limits = {what: most for what, most in given.items() if most is not None}
    if not limits:
        return [], ""
    costs: dict[Candidate, dict[str, int]] = {}
    for candidate in candidates:
        if (cost := cost_in(candidate, s, data)) is not None:  # of others the error is said when they are built
            costs[candidate] = {"parameters": cost.params, "multiply-adds": cost.macs}
    above = [c for c, own in costs.items() if any(own[what] > most for what, most in limits.items())]
    if above and len(above) == len(candidates):
        least = min(above, key=lambda c: [costs[c][what] for what in limits])
        own = " and ".join(f"{costs[least][what]:,} {what}" for what in limits)
        needed = [w for k, most in limits.items() for w in (FLAGS[k], str(max(int(most), costs[least][k])))]
        allowed = " and ".join(f"at most {short(most)} {what}" for what, most in limits.items())
        error = f"no network has {allowed} here; the smallest, {least.model}, has {own}"
        raise UsageError(error, f"give {' '.join(needed)}, or name smaller networks with -m", tuple(needed))
    return above, "with more than " + " or ".join(f"{short(most)} {what}" for what, most in limits.items())


def cost_in(candidate: Candidate, s: Settings, data: Dataset) -> Cost | None:
    """Count the parameters and multiply-adds that a network has in a comparison; None where it cannot be built.

    Args:
        candidate: a network and its source.
        s: of the comparison.
        data: its images.
    """
    with suppress(UsageError, ModelFileError):
        spec = spec_of(candidate, s, data)
        if spec is None:
            spec = bundle.load(str(candidate.source)).model.spec
        return cost_of(spec)
    return None


def _too_small(spec: Spec) -> bool:
    return bool(spec["image_size"] < architecture(spec["model"]).smallest(spec["small"]))


def _without(
    candidates: Sequence[Candidate], others: Sequence[Candidate], why: str
) -> tuple[list[Candidate], list[str]]:
    """Return the candidates without some others, and a note that names these; all of them where none would be left."""
    left = [candidate for candidate in candidates if candidate not in others]
    if not others or not left:
        return list(candidates), []
    count = f"{len(others)} network{'s' * (len(others) > 1)}"
    return left, [f"{count} left out, {why}: {', '.join(c.model for c in others)}"]
