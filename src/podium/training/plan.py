"""The plan of a run: everything that its settings and its data decide, before the first step."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch

from podium.data.dataset import Dataset
from podium.data.loader import Loader
from podium.data.preprocessing import Preprocessing
from podium.data.record import Record
from podium.evaluation.cost import Cost
from podium.models.convnet import ConvNet
from podium.settings import Settings
from podium.training.distributed.parallel import ALONE, Ranks
from podium.training.losses import Criterion, criterion
from podium.training.step import PRECISIONS
from podium.training.transfer.source import RANDOM


@dataclass
class Plan:
    """A run, ready to train.

    Args:
        settings: with a value for everything that was left open.
        data: with its images in their roles.
        net: on its device, in its memory format.
        cost: of the network.
        preprocessing: from an image to the network's input.
        device: that trains.
        train: this rank's part of the training batches.
        loaders: this rank's part of each split that is evaluated.
        evaluation_split: the split that the result reports: the test split where there is one, else validation.
        monitor: the split that is evaluated after every epoch: validation where there is one, else `evaluation_split`.
        ranks: the processes that share the run.
        notes: lines that a person should see before the run starts.
        criterion: from a batch's images to the loss of their logits.
        parents: "parent" and "teacher": the name and SHA-256 of the weights the run starts from and of its teacher.
        earlier: what these networks have learned from.
        start: what the weights are at the start, for people: "ImageNet (torchvision:resnet18)", "random weights".
        decided: the settings that the images decide, each with the reason for its value.
    """

    settings: Settings
    data: Dataset
    net: ConvNet
    cost: Cost
    preprocessing: Preprocessing
    device: torch.device
    train: Loader
    loaders: dict[str, Loader]
    evaluation_split: str
    monitor: str
    ranks: Ranks = ALONE
    notes: list[str] = field(default_factory=list)
    criterion: Criterion = field(default_factory=lambda: criterion(0.0, None, 0.0, 1.0))
    parents: dict[str, str] = field(default_factory=dict)
    earlier: Record | None = None
    start: str = RANDOM
    decided: dict[str, str] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """The data set's fingerprint."""
        return self.data.fingerprint()

    @property
    def amp(self) -> torch.dtype | None:
        """What autocast computes the steps in; None: float32."""
        return PRECISIONS.get(self.settings.amp)

    @property
    def selects(self) -> bool:
        """Whether the best epoch's weights are kept, which takes images that the result does not report."""
        return self.monitor != self.evaluation_split
