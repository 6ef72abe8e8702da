"""Claims on heads: average pooling for fully connected layers, dropout, auxiliary classifiers."""

from __future__ import annotations

from typing import Any

from podium.experiments.claim import Arm, Claim
from podium.experiments.measure import cost_of
from podium.experiments.schedules import imagenet, sketch, small
from podium.experiments.statements import better, between

BODY = "3x3:24 relu max2/2; 3x3:48 relu 3x3:48 relu max2/2; 3x3:64 relu 3x3:64 relu"
CONNECTED = f"{BODY} -> flat fc256 relu drop0.5 fc256 relu drop0.5"
POOLED = f"{BODY} -> average"


def _head_costs() -> dict[str, Any]:
    connected, pooled = (
        cost_of({"model": "sketch", "layers": layers, "image_size": 16})[0] for layers in (CONNECTED, POOLED)
    )
    vgg = cost_of({"model": "vgg16"})[0]
    body = cost_of({"model": "sketch", "layers": _vgg("average"), "image_size": 224, "num_classes": 1000})[0]
    return {
        "parameters, fully connected over average": connected / pooled,
        "parameters of VGG-16 in its head": 1 - body / vgg,
    }


VGG_HEAD = "flat fc4096 relu drop0.5 fc4096 relu drop0.5"


def _vgg(head: str) -> str:
    """VGG-16 with another head."""
    stages = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]
    return "; ".join(" ".join([f"3x3:{width} relu"] * count) + " max2/2" for width, count in stages) + f" -> {head}"


POOLED_HEAD = Claim(
    "average-pooling",
    "Average pooling before the classifier does without the fully connected layers, with a fraction of the parameters, and is more accurate.",
    "Szegedy et al. 2014, arXiv:1409.4842, section 5: 0.6 points of top-1; Lin et al. 2013, arXiv:1312.4400, sections 3.2 and 4.6",
    (
        between(
            "most parameters of VGG-16 are in its fully connected layers",
            "parameters of VGG-16 in its head",
            0.5,
            1,
            unit="of all",
        ),
        between(
            "the fully connected head at least doubles the parameters",
            "parameters, fully connected over average",
            2,
            unit="times",
        ),
        better(
            "average pooling is more accurate than fully connected layers with dropout", "average", "fully connected"
        ),
    ),
    small("average-pooling", sketch("average", POOLED), sketch("fully connected", CONNECTED)),
    imagenet(
        "average-pooling",
        "vgg-2014",
        *(
            Arm(name, {"model": "sketch", "image_size": 224, "layers": _vgg(head)})
            for name, head in (("average", "average drop0.4"), ("fully connected", VGG_HEAD))
        ),
    ),
    _head_costs,
)
WIDE = "5x5:32 relu max3/2; 5x5:32 relu max3/2; 3x3:64 relu max3/2 -> flat fc256 relu{drop} fc256 relu{drop}"
DROPOUT = Claim(
    "dropout",
    "Dropout in the fully connected layers prevents overfitting: more training errors, fewer test errors.",
    "Krizhevsky et al. 2012, section 4.2; Hinton et al. 2012, arXiv:1207.0580",
    (
        better("without dropout there are fewer training errors", "none@train", "dropout@train"),
        better("with dropout there are fewer test errors", "dropout", "none"),
    ),
    small(
        "dropout",
        sketch("none", WIDE.format(drop="")),
        sketch("dropout", WIDE.format(drop=" drop0.5")),
        train=4000,
        epochs=16,
        settings={"crop": "none"},
    ),
    imagenet(
        "dropout",
        "alexnet-2012",
        Arm("none", {"model": "alexnet", "dropout": 0.0}),
        Arm("dropout", {"model": "alexnet"}),
    ),
    note="4,000 images without shifted crops, so that the network overfits as AlexNet does on ImageNet.",
)


def _deep(aux: str) -> str:
    """Ten convolutions without batch norm, with auxiliary classifiers after the fourth and the seventh."""
    two = "3x3:{n} relu 3x3:{n} relu"
    first, second, third = (two.format(n=n) for n in (16, 24, 32))
    return (
        f"3x3:16 relu {first} max2/2 3x3:24 relu{aux}; {second} 3x3:32 relu max2/2{aux}; {third} 3x3:32 relu -> average"
    )


EARLY, LATE = {"duration": "2ep"}, {"duration": "10ep"}
AUXILIARY = Claim(
    "auxiliary-heads",
    "Auxiliary classifiers bring gradient to the lower layers: the network learns sooner and ends more accurate.",
    "Szegedy et al. 2014, arXiv:1409.4842, section 5; Szegedy et al. 2015, arXiv:1512.00567, section 4, says that early on they do "
    "nothing, and that they regularise",
    (
        better("early, the network with auxiliary classifiers is more accurate", "early, auxiliary", "early, none"),
        better("at the end, the network with auxiliary classifiers is more accurate", "late, auxiliary", "late, none"),
    ),
    small(
        "auxiliary-heads",
        sketch("early, none", _deep(""), EARLY),
        sketch("early, auxiliary", _deep(" aux"), EARLY),
        sketch("late, none", _deep(""), LATE),
        sketch("late, auxiliary", _deep(" aux"), LATE),
        seeds=3,
    ),
    imagenet(
        "auxiliary-heads",
        "googlenet-2014",
        Arm("early, none", {"model": "googlenet", "aux": False}, {"duration": "10ep"}),
        Arm("early, auxiliary", {"model": "googlenet"}, {"duration": "10ep"}),
        Arm("late, none", {"model": "googlenet", "aux": False}),
        Arm("late, auxiliary", {"model": "googlenet"}),
    ),
)
CLAIMS = (POOLED_HEAD, DROPOUT, AUXILIARY)
