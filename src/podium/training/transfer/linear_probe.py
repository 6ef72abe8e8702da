"""How well a linear classifier does on the frozen features of a network: seconds, where fine-tuning takes minutes.

The accuracy is out of fold: every training image is classified by a classifier that was fitted without it. It takes no image
that validates or tests, so it may choose which networks are fine-tuned.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from podium.data.dataset import Dataset, Split
from podium.data.groups import GROUP, units
from podium.data.loader import Loader
from podium.data.preprocessing import Preprocessing
from podium.devices import pick_device
from podium.errors import NumericError
from podium.evaluation.cost import count_net
from podium.evaluation.evaluate import evaluation_batch
from podium.models.convnet import ConvNet
from podium.settings import Settings
from podium.training.autotune.fastest import set_memory_format

FOLDS = 5
# Inverse strength of the L2 penalty, on features of mean 0 and variance 1. On flowers-500 (400 images, 768 features) the
# out-of-fold accuracy is 85.0 %, and within a point of that from 0.001 to 1 (benchmarks/pretrained.py linear).
PENALTY = 0.003
MOST_ITERATIONS = 200
MOST_IMAGES = 5000
SMALLEST = 1e-7  # probability that counts in the loss


@dataclass(frozen=True)
class LinearProbe:
    """What a linear probe found.

    Args:
        top1: out-of-fold accuracy on the training images.
        loss: their mean cross-entropy, out of fold.
        images: how many there are.
        folds: that they were divided into.
        seconds: that features and classifiers took.
    """

    top1: float
    loss: float
    images: int
    folds: int
    seconds: float

    @classmethod
    def read(cls, values: dict[str, Any]) -> Self:
        """Read the values by name, as a JSON file has them."""
        return cls(**values)


def linear_probe_of(
    net: ConvNet,
    preprocessing: Preprocessing,
    data: Dataset,
    s: Settings,
    progress: Callable[[int, int], None] | None = None,
) -> LinearProbe | None:
    """Measure how well a linear classifier does on the frozen features of a network.

    Args:
        net: as fine-tuning would start with it.
        preprocessing: its own.
        data: the images in their roles; only those to train on are used, and of many a sample.
        s: of the run: device, threads that decode, and the seed that divides the images.
        progress: called with (images done, images in all) while features are computed.

    Returns:
        What was found; None where no class has two images that differ.

    Raises:
        NumericError: a feature is not finite.
    """
    begun, seed = time.monotonic(), s.seed if s.split_seed is None else s.split_seed
    train = _sample(data.splits["train"], seed)
    part = parts_of(train, seed)
    folds = int(part.max()) + 1
    if folds < 2:
        return None
    device = pick_device(s.device)
    batch = evaluation_batch(count_net(net))
    loader = Loader(train, preprocessing, batch_size=batch, device=device, workers=s.workers)
    features = features_of(set_memory_format(net.to(device), "channels_last"), loader, progress)
    scores = np.full((len(train), len(data.classes)), -np.inf)
    for fold in range(folds):
        if len(seen := np.unique(train.labels[part != fold])) == 1:
            scores[np.ix_(part == fold, seen)] = 0.0  # the only class that is known
            continue
        fitted = fit(features[part != fold], train.labels[part != fold])
        scores[np.ix_(part == fold, fitted.classes_)] = fitted.predict_log_proba(features[part == fold])
    sure = np.clip(np.exp(scores[np.arange(len(train)), train.labels]), SMALLEST, 1)
    right = scores.argmax(1) == train.labels
    seconds = round(time.monotonic() - begun, 2)
    return LinearProbe(float(right.mean()), float(-np.log(sure).mean()), len(train), folds, seconds)


@torch.inference_mode()
def features_of(net: ConvNet, loader: Loader, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
    """Compute what the classifier of a network sees of every image of a split, in the split's order: (N, D) float32.

    Args:
        net: in evaluation mode afterwards.
        loader: made without augmentation.
        progress: called with (images done, images in all) after each batch.

    Raises:
        NumericError: a feature is not finite.
    """
    net.eval()
    rows: list[np.ndarray] = []
    done = 0
    for batch in loader.epoch():
        head = net.head
        rows.append(head.hidden(head.pool(net.forward_features(batch.x))).float().cpu().numpy())
        done += len(batch.y)
        if progress is not None:
            progress(done, len(loader.split))
    features = np.concatenate(rows)
    if not np.isfinite(features).all():
        image = loader.split.name_of(int((~np.isfinite(features)).any(1).nonzero()[0][0]))
        raise NumericError(f"{net.spec['model']}: its features of {image} are not finite", "take other weights")
    return features


def _sample(train: Split, seed: int) -> Split:
    """Return the images, or of many `MOST_IMAGES` drawn at random: more change no ranking, and take minutes."""
    if len(train) <= MOST_IMAGES:
        return train
    draw = np.random.Generator(np.random.PCG64(seed))
    return train.select(np.sort(draw.permutation(len(train))[:MOST_IMAGES]))


def parts_of(train: Split, seed: int) -> np.ndarray:
    """Divide images into at most `FOLDS` parts, each with its share of every class; exact copies and groups are in one part.

    Args:
        train: the images.
        seed: decides which image is in which part.

    Returns:
        (N,) int64, the part of each image.
    """
    together = units(train) if GROUP in train.columns else train.contents()
    _, first, unit = np.unique(together, return_index=True, return_inverse=True)
    labels = train.labels[first]
    folds = min(FOLDS, int(np.bincount(labels).max()))
    draw = np.random.Generator(np.random.PCG64(seed))
    order = np.concatenate([draw.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)])
    part = np.empty(len(labels), np.int64)
    part[order] = np.arange(len(order)) % folds  # class after class, so that each is spread evenly
    return part[unit]


def fit(features: np.ndarray, labels: np.ndarray, penalty: float = PENALTY) -> Any:
    """Fit a linear classifier, a logistic regression on features scaled to mean 0 and variance 1.

    Args:
        features: (N, D).
        labels: (N,).
        penalty: inverse strength of the L2 penalty.

    Returns:
        scikit-learn's pipeline, with `classes_` and `predict_log_proba`.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    made = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=MOST_ITERATIONS))
    with warnings.catch_warnings():  # some iterations more change no ranking
        warnings.simplefilter("ignore", ConvergenceWarning)
        return made.fit(features, labels)
