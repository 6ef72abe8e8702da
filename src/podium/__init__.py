"""Podium trains the classic convolutional image classifiers side by side and says which one wins.

The public names are imported on first use, so that `import podium` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import podium.platform  # noqa: F401 - registers what a process that is forked from this one has to know

if TYPE_CHECKING:  # for type checkers and editors, which do not see what is imported on first use
    from podium.api.check import check as check
    from podium.api.claims import claims as claims
    from podium.api.compare import compare as compare
    from podium.api.deploy import export as export
    from podium.api.deploy import quantize as quantize
    from podium.api.diff import diff as diff
    from podium.api.evaluate import evaluate as evaluate
    from podium.api.smaller import distill as distill
    from podium.api.smaller import prune as prune
    from podium.api.smaller import slim as slim
    from podium.api.train import train as train
    from podium.api.weights import import_weights as import_weights
    from podium.comparison.leaderboard import Leaderboard as Leaderboard
    from podium.data.dataset import Dataset as Dataset
    from podium.data.sources import load_data as load_data
    from podium.deployment.load import load as load
    from podium.errors import PodiumError as PodiumError
    from podium.models import architecture as architecture
    from podium.models import list_models as list_models
    from podium.runs.bundle import Bundle as Bundle
    from podium.settings import Settings as Settings
    from podium.verification import verify as verify
    from podium.weights.create import create_model as create_model
    from podium.weights.listing import official_weights as official_weights

__version__ = "0.1.0"

_HOMES = {
    "Bundle": "podium.runs.bundle",
    "Dataset": "podium.data.dataset",
    "Leaderboard": "podium.comparison.leaderboard",
    "PodiumError": "podium.errors",
    "Settings": "podium.settings",
    "architecture": "podium.models",
    "check": "podium.api.check",
    "claims": "podium.api.claims",
    "compare": "podium.api.compare",
    "create_model": "podium.weights.create",
    "diff": "podium.api.diff",
    "distill": "podium.api.smaller",
    "evaluate": "podium.api.evaluate",
    "export": "podium.api.deploy",
    "import_weights": "podium.api.weights",
    "list_models": "podium.models",
    "load": "podium.deployment.load",
    "load_data": "podium.data.sources",
    "official_weights": "podium.weights.listing",
    "prune": "podium.api.smaller",
    "quantize": "podium.api.deploy",
    "slim": "podium.api.smaller",
    "train": "podium.api.train",
    "verify": "podium.verification",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'podium' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
