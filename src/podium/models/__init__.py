"""The networks: one file a paper. Pure torch; knows nothing else of Podium."""

from podium.models.convnet import ConvNet
from podium.models.create import create_model
from podium.models.registry import Architecture, architecture, list_models

__all__ = ["Architecture", "ConvNet", "architecture", "create_model", "list_models"]
