"""All claims by name, in the order in which `podium claims all` decides them: those that need no training first."""

from __future__ import annotations

from collections.abc import Iterable

from podium.errors import UsageError, closest
from podium.experiments import blocks, cost, depth, heads, kernels, layers, normalisation, pruning, views
from podium.experiments.claim import Claim

ALL = "all"  # in place of every name
FILES = (cost, layers, normalisation, kernels, heads, blocks, views, depth, pruning)
CLAIMS: dict[str, Claim] = {claim.name: claim for file in FILES for claim in file.CLAIMS}


def claim(name: str) -> Claim:
    """The claim of this name.

    Raises:
        UsageError: there is none; names the closest.
    """
    if name not in CLAIMS:
        raise UsageError(
            f"no claim is called {name!r}", closest(name, list(CLAIMS)) or "`podium claims` lists them all"
        )
    return CLAIMS[name]


def claims_of(names: Iterable[str]) -> list[Claim]:
    """The claims of these names, each once; "all" among them stands for every claim.

    Raises:
        UsageError: a name is of none.
    """
    given = list(dict.fromkeys(names))
    named = [claim(name) for name in given if name != ALL]
    return list(CLAIMS.values()) if ALL in given else named
