"""Podium trains the classic convolutional image classifiers side by side and says which one wins.

The public names are imported on first use, so that `import podium` costs next to nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Bundle": "podium.runs.bundle",
    "Dataset": "podium.data.dataset",
    "Leaderboard": "podium.comparison.leaderboard",
    "PodiumError": "podium.errors",
    "Settings": "podium.settings",
    "architecture": "podium.models",
    "check": "podium.data.check",
    "compare": "podium.api.compare",
    "create_model": "podium.weights.create",
    "distill": "podium.api.smaller",
    "evaluate": "podium.api.evaluate",
    "export": "podium.api.deploy",
    "import_weights": "podium.api.weights",
    "list_models": "podium.models",
    "load": "podium.deployment.load",
    "load_data": "podium.data.sources",
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
