"""The part of a network that is trained; where the rest is frozen and no image changes, its features are computed once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from podium.data.augment import Augment
from podium.data.loader import Batch, Loader
from podium.models.convnet import ConvNet, Head
from podium.settings import Settings
from podium.training.plan import Plan

LARGEST_BYTES = 2 << 30  # of features that are kept; more are computed anew in every epoch


@dataclass(frozen=True)
class TrainedPart:
    """What the training steps run: the whole network on images, or its head on cached features.

    Args:
        net: takes the steps.
        train: its training batches.
        evaluation: its batches of the split that is evaluated after every epoch.
    """

    net: ConvNet
    train: Loader
    evaluation: Loader


def trained_part(plan: Plan) -> TrainedPart:
    """Return the head on cached features where these are the same in every epoch, else the whole network on images."""
    net, train, evaluation = plan.net, plan.train, plan.loaders[plan.monitor]
    whole = len(net.frozen) == 1 + len(net.stages)
    if whole and train.augment is not None and same_every_epoch(train.augment, plan.settings):
        loaders = cache_features(net, train, evaluation, evaluation.batch_size)
        if loaders is not None:
            return TrainedPart(head_alone(net), *loaders)
    return TrainedPart(net, train, evaluation)


class FeatureLoader(Loader):
    """The batches of a loader, with features (N, F) in the place of images.

    Args:
        loader: whose order and batches these are.
        features: (M, F), of all images of its split.
    """

    def __init__(self, loader: Loader, features: Tensor) -> None:
        self.__dict__.update(loader.__dict__)
        self.features = features

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, as the loader does."""
        for rows in self.rows(epoch, start):
            index = rows.to(self.device) % len(self.split)
            yield Batch(self.features[index], self.labels[index], index)


def same_every_epoch(augment: Augment, s: Settings) -> bool:
    """Return whether the head of a network that is frozen up to its features gets the same input in every epoch."""
    drawn = augment.crop != "none" or augment.flip or augment.erase or augment.colour or s.mixup or s.cutmix
    return not drawn and s.unfreeze is None and s.teacher is None


def cache_features(
    net: ConvNet, train: Loader, evaluation: Loader, batch_size: int
) -> tuple[FeatureLoader, FeatureLoader] | None:
    """Compute the features of two splits and return loaders of them; None where they would take over `LARGEST_BYTES`.

    Args:
        net: frozen up to its features.
        train: loader of training images, whose augmentation changes nothing.
        evaluation: loader of the split that is evaluated after every epoch.
        batch_size: images a forward pass.
    """
    ordered, validation = (  # every image of a split, in order; each of several processes computes all of them
        Loader(of.split, of.preprocessing, batch_size=batch_size, device=of.device, workers=of.workers)
        for of in (train, evaluation)
    )
    with torch.inference_mode():
        shape = net.head.pool(net.forward_features(next(ordered.epoch()).x[:1])).shape[1:]  # of LeNet-5 a map
    if 4 * shape.numel() * (len(train.split) + len(evaluation.split)) > LARGEST_BYTES:
        return None
    features, evaluated = (_pooled(net, loader, shape) for loader in (ordered, validation))
    return FeatureLoader(train, features), FeatureLoader(evaluation, evaluated)


def _pooled(net: ConvNet, loader: Loader, shape: torch.Size) -> Tensor:
    """Return the features of all images of a split, (M, *shape), each computed into its place."""
    training, done = net.training, 0
    out = torch.empty(len(loader.split), *shape, device=loader.device)
    net.eval()
    with torch.inference_mode():
        for batch in loader.epoch():
            out[done : done + len(batch.y)] = net.head.pool(net.forward_features(batch.x))
            done += len(batch.y)
    net.train(training)
    return out


def head_alone(net: ConvNet) -> ConvNet:
    """Return the head as a network of its own that takes features (N, F) and shares the head's weights."""
    classifier = ConvNet(nn.Identity(), [], Head(nn.Identity(), net.head.classifier, net.head.hidden))
    classifier.spec = net.spec
    return classifier
