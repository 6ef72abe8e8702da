"""The input sizes of networks that are compared, and what one size for all of them would cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from podium.comparison.candidates import Candidate, spec_of
from podium.data.dataset import Dataset
from podium.errors import UsageError
from podium.evaluation.cost import Cost, count, format_cost, short
from podium.models.registry import architecture
from podium.settings import Settings

NAMED = 4  # networks whose cost at another size is named
Spec = Mapping[str, Any]


def cost_of(spec: Spec) -> Cost:
    """The cost of a spec; counted once for each."""
    return _cost(json.dumps(dict(spec)))


@cache
def _cost(text: str) -> Cost:
    return count(json.loads(text))


def count_costs(
    candidates: Sequence[Candidate],
    settings: Settings,
    data: Dataset,
    counted: Callable[[int, int], None] | None = None,
) -> None:
    """Count the costs of networks, which are kept.

    Args:
        candidates: the networks; those that start from a run are left out.
        settings: of the comparison.
        data: its images.
        counted: called with (networks that are counted, networks in all).
    """
    for done, candidate in enumerate(candidates, 1):
        with suppress(UsageError):  # it will be said when it fails
            if (spec := spec_of(candidate, settings, data)) is not None:
                cost_of(spec)
        if counted is not None:
            counted(done, len(candidates))


def forms(candidates: Sequence[Candidate], settings: Settings, data: Dataset) -> list[str]:
    """Return each network's form, size and cost, a line each, and what one size for all would do.

    Args:
        candidates: the networks.
        settings: of the comparison.
        data: its images.
    """
    specs: list[dict[str, Any]] = []
    for spec in filter(None, (spec_of(candidate, settings, data) for candidate in candidates)):
        with suppress(UsageError):  # it will be said when it fails
            cost_of(spec)
            specs.append(spec)
    sizes = different_sizes({spec["model"]: spec["image_size"] for spec in specs})
    return [*(format_cost(spec, cost_of(spec)) for spec in specs), *filter(None, (sizes, one_size(specs)))]


def different_sizes(sizes: Mapping[str, int | None]) -> str:
    """A sentence on which network sees images of which size, where they differ; else an empty text.

    Args:
        sizes: of the input of each network, in pixels; None where it is not on record.
    """
    known = sorted({size for size in sizes.values() if size is not None})
    if len(known) < 2:
        return ""
    named = (", ".join(name for name, own in sizes.items() if own == size) + f" {size} px" for size in known)
    return f"The networks see images of different sizes: {'; '.join(named)}."


def one_size(specs: Sequence[Spec]) -> str:
    """A sentence on what one `--image-size` for all networks would cost, where their sizes differ; else an empty text.

    It names the largest size in use, at which all see as much, and the smallest that all accept.
    """
    if len({spec["image_size"] for spec in specs}) < 2:
        return ""
    most = max(spec["image_size"] for spec in specs)
    least = max(architecture(spec["model"]).smallest(spec["small"]) for spec in specs)
    text = f"With --image-size {most} all see as much: {_changes(specs, most)}"
    if least < most:
        text += f"; with --image-size {least}, the least that all take: {_changes(specs, least)}"
    return f"{text} multiply-adds an image."


def _changes(specs: Sequence[Spec], size: int) -> str:
    """The multiply-adds at one size of the networks that it changes most."""
    rows = []
    for spec in (spec for spec in specs if spec["image_size"] != size):
        now, then = cost_of(spec).macs, cost_of({**spec, "image_size": size}).macs
        rows.append((max(then / now, now / then), f"{spec['model']} {short(now)} → {short(then)}"))
    named = [text for _, text in sorted(rows, reverse=True)[:NAMED]]
    return ", ".join([*named, *([f"{len(rows) - NAMED} more"] if len(rows) > NAMED else [])])
