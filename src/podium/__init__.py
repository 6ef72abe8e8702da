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
    "compare": "podium.api",
    "create_model": "podium.weights.create",
    "distill": "podium.smaller",
    "evaluate": "podium.api",
    "export": "podium.api",
    "import_weights": "podium.api",
    "list_models": "podium.models",
    "load": "podium.deployment.load",
    "load_data": "podium.data.sources",
    "prune": "podium.smaller",
    "quantize": "podium.api",
    "slim": "podium.smaller",
    "train": "podium.api",
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
