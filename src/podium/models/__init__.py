"""What every network can do: the contract (`ConvNet`), the registry of names, and the functions that work on any network."""

from podium.models.convnet import ConvNet
from podium.models.registry import Architecture, architecture, list_models

__all__ = ["Architecture", "ConvNet", "architecture", "list_models"]
