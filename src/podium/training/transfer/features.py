"""Features computed once: where all but the head is frozen and no image changes, an epoch need not run the network again."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from podium.data.augment import Augment
from podium.data.loader import Batch, Loader
from podium.models.convnet import ConvNet, Head
from podium.settings import Settings

LARGEST_BYTES = 2 << 30  # of features; more are computed anew


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
        """As the loader's."""
        for rows in self.rows(epoch, start):
            index = rows.to(self.device)
            yield Batch(self.features[index], self.labels[index], index)


def constant(augment: Augment, s: Settings) -> bool:
    """Whether the head sees the same numbers in every epoch."""
    drawn = augment.crop != "none" or augment.flip or augment.erase or augment.colour or s.mixup or s.cutmix
    return not drawn and s.unfreeze is None and s.teacher is None


@torch.inference_mode()
def _pooled(net: ConvNet, loader: Loader) -> Tensor:
    training = net.training
    net.eval()
    out = torch.cat([net.head.pool(net.forward_features(batch.x)).float() for batch in loader.epoch()])
    net.train(training)
    return out


def cached(net: ConvNet, train: Loader, judged: Loader, batch_size: int) -> tuple[FeatureLoader, FeatureLoader] | None:
    """Loaders of features; None where they would take more memory than `LARGEST_BYTES`.

    Args:
        net: frozen up to its features.
        train: whose augmentation changes nothing.
        judged: of the images that are watched.
        batch_size: images a pass.
    """
    ordered, asked = (  # all of a split, in order, of which several processes would read a part each
        Loader(of.split, of.preprocessing, batch_size=batch_size, device=of.device, workers=of.workers)
        for of in (train, judged)
    )
    with torch.inference_mode():
        width = net.head.pool(net.forward_features(next(ordered.epoch()).x[:1])).shape[1]
    if 4 * width * (len(train.split) + len(judged.split)) > LARGEST_BYTES:
        return None
    seen, watched = (_pooled(net, loader).clone() for loader in (ordered, asked))
    return FeatureLoader(train, seen), FeatureLoader(judged, watched)


def probe(net: ConvNet) -> ConvNet:
    """The head alone, as a network on features (N, F); it shares the weights."""
    alone = ConvNet(nn.Identity(), [], Head(nn.Identity(), net.head.classifier, net.head.hidden))
    alone.spec = net.spec
    return alone
