"""All claims by name, in the order in which `podium claims all` decides them: those that need no training first."""

from __future__ import annotations

from podium.errors import UsageError, closest
from podium.experiments import blocks, cost, depth, heads, kernels, layers, normalisation, pruning, views
from podium.experiments.claim import Claim

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
