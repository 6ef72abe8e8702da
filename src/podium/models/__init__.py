"""What every network can do: the contract, the registry of names, and what is derived from both."""

from podium.models.convnet import ConvNet
from podium.models.registry import Architecture, architecture, list_models

__all__ = ["Architecture", "ConvNet", "architecture", "list_models"]
