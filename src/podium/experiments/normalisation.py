"""Claims on batch normalisation: it allows higher learning rates, and makes dropout unnecessary."""

from __future__ import annotations

from typing import Any

from podium.experiments.claim import Arm, Claim
from podium.experiments.schedules import NORM_RATES, imagenet, sketch, small
from podium.experiments.statements import better, not_worse
from podium.networks.googlenet import TABLE

BODY = (
    "3x3:24{bn} relu max2/2; 3x3:48{bn} relu 3x3:48{bn} relu max2/2; 3x3:64{bn} relu 3x3:64{bn} relu max2/2 -> {head}"
)
LOW, HIGH = 0.03, 0.9  # thirty times as high: BN-x30
PAPER_RATES = (0.0015, 0.0075, 0.045)  # the baseline's, BN-x5, BN-x30


def _net(norm: bool, head: str = "average") -> str:
    return BODY.format(bn=" bn" if norm else "", head=head)


def _inception(norm: bool, dropout: float = 0.0) -> dict[str, Any]:
    """The arguments of the modules of GoogLeNet's Table 1, with two 3x3 for each 5x5 as in section 4.2, and without auxiliary classifiers."""
    act = "bn relu" if norm else "relu"
    parts = [f"7x7/2:64 {act} max3/2", f"1x1:64 {act} 3x3:192 {act} max3/2"]
    for name, (one, reduce3, three, reduce5, five, projected) in TABLE.items():
        double = f"1x1:{reduce5} {act} 3x3:{five} {act} 3x3:{five} {act}"
        module = f"[1x1:{one} {act} | 1x1:{reduce3} {act} 3x3:{three} {act} | {double} | max3/1 1x1:{projected} {act}]"
        parts.append(f"max3/2 {module}" if name in ("4a", "5a") else module)
    layers = f"{'; '.join(parts)} -> average" + (f" drop{dropout}" if dropout else "")
    return {"model": "sketch", "image_size": 224, "layers": layers}


DROPOUT = "flat drop0.5 fc128 relu drop0.5"
PLAIN = "flat fc128 relu"
BATCH_NORM = Claim(
    "batch-norm",
    "Batch normalisation allows a learning rate thirty times as high, and learns more in the same steps.",
    "Ioffe and Szegedy 2015, arXiv:1502.03167, section 4.2.1, Figure 2 (BN-x5, BN-x30)",
    (
        better("with batch norm, more is learned in the same steps than without, each at its best rate", "BN", "plain"),
        better(
            "with batch norm and thirty times the rate, more is learned than without at the low rate",
            "BN, x30",
            "plain, x1",
        ),
        better(
            "at thirty times the rate, the network without batch norm does not learn as it does at the low one",
            "plain, x1",
            "plain, x30",
        ),
    ),
    small(
        "batch-norm",
        sketch("plain", _net(False)),
        sketch("BN", _net(True), rates=NORM_RATES),
        sketch("plain, x1", _net(False), rates=(LOW,)),
        sketch("plain, x30", _net(False), rates=(HIGH,)),
        sketch("BN, x1", _net(True), rates=(LOW,)),
        sketch("BN, x30", _net(True), rates=(HIGH,)),
        epochs=6,
        seeds=3,
    ),
    imagenet(
        "batch-norm",
        "bn-inception-2015",
        *(
            Arm(name, _inception(False), rates=rates)
            for name, rates in (("plain", PAPER_RATES), ("plain, x1", PAPER_RATES[:1]), ("plain, x30", PAPER_RATES[2:]))
        ),
        *(
            Arm(name, _inception(True), rates=rates)
            for name, rates in (("BN", PAPER_RATES), ("BN, x1", PAPER_RATES[:1]), ("BN, x30", PAPER_RATES[2:]))
        ),
    ),
    note="At paper scale the arms are GoogLeNet's modules with two 3x3 for each 5x5, with and without batch norm and without auxiliary "
    "classifiers: the names `bn_inception` and `googlenet` differ in more than batch norm.",
)
LESS_DROPOUT = Claim(
    "batch-norm-dropout",
    "Where dropout helps, it no longer does once there is batch normalisation.",
    "Ioffe and Szegedy 2015, arXiv:1502.03167, sections 3.4 and 4.2.1",
    (
        better("without batch norm, dropout makes the network more accurate", "plain, dropout", "plain"),
        not_worse(
            "with batch norm, the network without dropout is as accurate, within half a point",
            "BN",
            "BN, dropout",
            allowed=0.005,
        ),
        better("batch norm without dropout is more accurate than dropout without batch norm", "BN", "plain, dropout"),
    ),
    small(
        "batch-norm-dropout",
        sketch("plain", _net(False, PLAIN)),
        sketch("plain, dropout", _net(False, DROPOUT)),
        sketch("BN", _net(True, PLAIN), rates=NORM_RATES),
        sketch("BN, dropout", _net(True, DROPOUT), rates=NORM_RATES),
        train=4000,
        epochs=12,
        settings={"crop": "none"},
    ),
    imagenet(
        "batch-norm-dropout",
        "bn-inception-2015",
        Arm("plain", _inception(False)),
        Arm("plain, dropout", _inception(False, 0.4)),
        Arm("BN", _inception(True)),
        Arm("BN, dropout", _inception(True, 0.4)),
    ),
    note="Networks of this claim are trained without shifted crops on 4,000 images, so that they overfit and dropout "
    "has something to do. At paper scale the arms are those of `batch-norm`.",
)
CLAIMS = (BATCH_NORM, LESS_DROPOUT)
