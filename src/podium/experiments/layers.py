"""Claims on layers of the early networks: activations, overlapping pooling, local response normalisation."""

from __future__ import annotations

from podium.experiments.claim import Arm, Claim
from podium.experiments.schedules import imagenet, sketch, small
from podium.experiments.statements import better, not_worse

ALEX = "5x5:32 {act}{lrn} {pool}; 5x5:32 {act}{lrn} {pool}; 3x3:64 {act} {pool} -> flat fc64 {act}"
FOUR = "5x5:64 {act}{lrn} {pool}; 5x5:64 {act}{lrn} {pool}; 3x3:128 {act} {pool} -> flat"  # with the classifier four layers
VGG_A = "3x3:24 relu{lrn} max2/2; 3x3:48 relu max2/2; 3x3:64 relu 3x3:64 relu max2/2 -> flat fc128 relu"


def alex(act: str = "relu", pool: str = "max3/2", lrn: bool = False, layers: str = ALEX) -> str:
    """The line of a network like AlexNet."""
    return layers.format(act=act, pool=pool, lrn=" lrn" if lrn else "")


def _alexnet(name: str, pool: str, lrn: str = "lrn", recipe: str | None = None) -> Arm:
    """AlexNet on two towers as an arm, with other pooling, without response normalisation, or trained as in another paper than its partners."""
    first, second = f"11x11/4v:96 relu {lrn} {pool}", f"5x5:256g2 relu {lrn} {pool}"
    last = f"3x3:384 relu 3x3:384g2 relu 3x3:256g2 relu {pool}"
    head = "flat fc4096 relu drop0.5 fc4096 relu drop0.5"
    layers = f"{first}; {second}; {last} -> {head}"
    return Arm(name, {"model": "sketch", "image_size": 227, "layers": layers}, recipe=recipe)


SECOND_LOOK = "The first three seeds were looked at before the number of seeds was raised to five."
# Sigmoid units need a higher rate: their gradient is a quarter of the error at most.
ACTIVATIONS = {"relu": (0.01, 0.03, 0.1), "tanh": (0.01, 0.03, 0.1), "sigmoid": (0.1, 0.3, 1.0)}
RELU = Claim(
    "relu",
    "Networks of rectifiers learn faster than networks of tanh or sigmoid units.",
    "Krizhevsky et al. 2012, section 3.1, Figure 1",
    (
        better("after the same steps, ReLU has fewer training errors than tanh", "relu@train", "tanh@train"),
        better("after the same steps, ReLU has fewer test errors than tanh", "relu", "tanh"),
        better("ReLU has fewer test errors than sigmoid", "relu", "sigmoid", source="The articles S000 and S001"),
        better(
            "tanh has fewer test errors than sigmoid", "tanh", "sigmoid", source="LeCun et al. 1998, Efficient BackProp"
        ),
    ),
    small("relu", *(sketch(act, alex(act), rates=rates) for act, rates in ACTIVATIONS.items())),
    # The four-layer network of the figure learns CIFAR-10; the rates are tried for each activation, as the paper says it did,
    # and nothing regularises.
    small(
        "relu",
        *(sketch(act, alex(act, layers=FOUR), rates=rates) for act, rates in ACTIVATIONS.items()),
        epochs=90,
        train=None,
        side=None,
        val=5000,
        settings={"weight_decay": 0.0, "crop": "none", "flip": False},
    ),
    note=SECOND_LOOK,
)
OVERLAPPING = Claim(
    "overlapping-pooling",
    "Pooling windows that overlap, 3x3 with stride 2, are more accurate than 2x2 with stride 2.",
    "Krizhevsky et al. 2012, section 3.4: 0.4 points of top-1 on ImageNet",
    (better("3x3 with stride 2 is more accurate than 2x2 with stride 2", "3x3/2", "2x2/2", smallest=0.004),),
    small("overlapping-pooling", sketch("3x3/2", alex()), sketch("2x2/2", alex(pool="max2/2"))),
    imagenet("overlapping-pooling", "alexnet-2012", _alexnet("3x3/2", "max3/2v"), _alexnet("2x2/2", "max2/2v")),
    note=SECOND_LOOK,
)
LRN = Claim(
    "lrn",
    "Local response normalisation helps AlexNet, and does not help VGG.",
    "Krizhevsky et al. 2012, section 3.3 (1.4 points of top-1; on CIFAR-10 13 % of errors become 11 %); Simonyan and Zisserman 2014, "
    "section 4 (configuration A-LRN)",
    (
        better("a network like AlexNet is more accurate with LRN", "AlexNet, LRN", "AlexNet"),
        not_worse(
            "a network like VGG-A is as accurate without LRN, within half a point", "VGG-A", "VGG-A, LRN", allowed=0.005
        ),
    ),
    small(
        "lrn",
        sketch("AlexNet", alex()),
        sketch("AlexNet, LRN", alex(lrn=True)),
        sketch("VGG-A", VGG_A.format(lrn="")),
        sketch("VGG-A, LRN", VGG_A.format(lrn=" lrn")),
    ),
    imagenet(
        "lrn",
        "vgg-2014",
        _alexnet("AlexNet", "max3/2v", lrn="", recipe="alexnet-2012"),
        _alexnet("AlexNet, LRN", "max3/2v", recipe="alexnet-2012"),
        Arm("VGG-A", {"model": "vgg11"}),
        Arm("VGG-A, LRN", {"model": "vgg11_lrn"}),
    ),
)
CLAIMS = (RELU, OVERLAPPING, LRN)
