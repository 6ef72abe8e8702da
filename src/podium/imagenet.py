"""ImageNet-2012: the WordNet ids and names of its 1,000 classes in the order of published networks, and its mean colour."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import resources

CLASSES = 1000
# Mean and standard deviation of the training images' red, green and blue, from 0 to 1, as torchvision and timm have them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@functools.cache
def wordnet_ids() -> tuple[str, ...]:
    """The WordNet ids of the classes, such as "n01440764": sorted, which is the order of torchvision, timm and Keras."""
    return tuple(line.partition(" ")[0] for line in _lines())


@functools.cache
def class_names() -> tuple[str, ...]:
    """The names of the classes, in the order of their WordNet ids; no two are equal.

    Each is the first word of its synset in WordNet, as in torchvision and Keras, except where two synsets share it: the
    cranes are "crane bird" and "crane machine", and of the two that are called "maillot" one is "tank suit".
    """
    return tuple(line.partition(" ")[2] for line in _lines())


def in_other_words(classes: Sequence[str], known: Sequence[str]) -> tuple[str, ...] | None:
    """ImageNet's classes by their names where they are given as WordNet ids, or the other way round.

    Args:
        classes: all of them WordNet ids, or all of them names.
        known: the classes of a network.

    Returns:
        The classes as the network knows them; None where they are no such classes, or it knows them as they are.
    """
    names = dict(zip(wordnet_ids(), class_names(), strict=True))
    for words in (names, {name: number for number, name in names.items()}):
        if all(words.get(c) in known for c in classes) and not all(c in known for c in classes):
            return tuple(words[c] for c in classes)
    return None


def _lines() -> list[str]:
    return resources.files("podium").joinpath("imagenet.txt").read_text(encoding="utf-8").splitlines()
