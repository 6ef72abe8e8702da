"""Claims on depth: plain networks degrade, shortcuts cure it, deeper networks win, and pre-activation helps the deepest."""

from __future__ import annotations

from typing import Any

from podium.experiments.claim import Arm, Claim
from podium.experiments.schedules import cifar, small
from podium.experiments.statements import better, not_worse

RATE = (0.1,)  # the papers' own
WIDTH = 8  # channels of the first stage at small scale, half of the papers'
BLOCKS = {8: (1, 1, 1), 20: (3, 3, 3), 22: (3, 4, 3), 56: (9, 9, 9), 110: (18, 18, 18), 152: (25, 25, 25)}
# Multiply-adds of the residual networks below at 16 px, over those of the one of 20 layers: what an epoch costs.
COST = {8: 0.31, 20: 1.0, 22: 1.12, 152: 8.6}


def residual(depth: int, shortcut: str = "A", model: str = "resnet18", **more: Any) -> dict[str, Any]:
    """The arguments of a network of 6n + 2 layers for small images, half as wide as the papers'."""
    return {"model": model, "small": True, "units": BLOCKS[depth], "width": WIDTH, "shortcut": shortcut, **more}


def _depths() -> tuple[Arm, ...]:
    """Networks of four depths, each trained for as many multiply-adds as that of 20 layers for 6 epochs."""
    epochs = {depth: 6 / COST[depth] for depth in COST}
    return tuple(
        Arm(f"{depth} layers", residual(depth), {"duration": f"{round(157 * count)}it"})
        for depth, count in epochs.items()
    )


DEGRADATION = Claim(
    "degradation",
    "Plain networks get worse with depth, on training images too; with shortcuts they get better.",
    "He et al. 2015, arXiv:1512.03385, section 4.2, Figure 6",
    (
        better("plain-56 has more training errors than plain-20", "plain-20@train", "plain-56@train"),
        better("plain-56 has more test errors than plain-20", "plain-20", "plain-56"),
        better("ResNet-56 has fewer training errors than ResNet-20", "ResNet-56@train", "ResNet-20@train"),
        better("ResNet-56 has fewer test errors than ResNet-20", "ResNet-56", "ResNet-20"),
        better("ResNet-56 has fewer test errors than plain-56", "ResNet-56", "plain-56"),
    ),
    small(
        "degradation",
        Arm("plain-20", residual(20, "none")),
        Arm("ResNet-20", residual(20)),
        Arm("plain-56", residual(56, "none")),
        Arm("ResNet-56", residual(56)),
        rates=RATE,
        train=5000,
        seeds=3,
        epochs=10,
    ),
    cifar(
        "degradation",
        "resnet-cifar-2015",
        *(
            Arm(f"{word}-{n}", {"model": f"{name}{n}"})
            for n in (20, 56)
            for word, name in (("plain", "plain"), ("ResNet", "resnet"))
        ),
    ),
    note="Ten epochs on a tenth of the images underfit, so the gain of ResNet-56 over ResNet-20, which needs the paper's 64,000 "
    "steps, is the statement least likely to show.",
)
DEPTH = Claim(
    "depth",
    "At equal cost of training, more layers are more accurate: 8, 20, 22 and 152.",
    "The articles S000 and S001: errors fall from the 8 layers of AlexNet over 19 and 22 to the 152 of ResNet",
    (
        better("20 layers are more accurate than 8", "20 layers", "8 layers"),
        better("22 layers are more accurate than 20", "22 layers", "20 layers"),
        better("152 layers are more accurate than 22", "152 layers", "22 layers"),
    ),
    small("depth", *_depths(), rates=RATE, seeds=3),
    cifar("depth", "resnet-cifar-2015", *(Arm(f"{n} layers", residual(n, width=16)) for n in COST)),
    note="The four networks of the articles differ in much more than depth. Residual networks of the same kind are compared here: "
    "at small scale each has the same number of multiply-adds for training, so that the one of 152 layers does not see all images once; "
    "at paper scale all have 64,000 steps.",
)
PRE_ACTIVATION = Claim(
    "pre-activation",
    "Batch norm and ReLU before the convolutions help very deep residual networks.",
    "He et al. 2016, arXiv:1603.05027, Tables 2 and 3",
    (
        better("at 110 layers pre-activation is more accurate", "110, pre", "110, post"),
        not_worse("at 20 layers pre-activation is as accurate, within a point", "20, pre", "20, post"),
    ),
    small(
        "pre-activation",
        Arm("20, post", residual(20)),
        Arm("20, pre", residual(20, model="resnetv2_18")),
        Arm("110, post", residual(110)),
        Arm("110, pre", residual(110, model="resnetv2_18")),
        rates=RATE,
        train=5000,
        seeds=3,
        epochs=4,
    ),
    cifar(
        "pre-activation",
        "resnetv2-cifar-2016",
        Arm("20, post", {"model": "resnet20"}),
        Arm("20, pre", {"model": "resnetv2_110", "units": (3, 3, 3)}),
        Arm("110, post", {"model": "resnet110"}),
        Arm("110, pre", {"model": "resnetv2_110"}),
    ),
)
CLAIMS = (DEGRADATION, DEPTH, PRE_ACTIVATION)
