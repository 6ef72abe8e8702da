"""Claims on blocks: 1x1 bottlenecks, parallel branches, cardinality, squeeze-and-excitation."""

from __future__ import annotations

from typing import Any

from podium.experiments.claim import Arm, Claim
from podium.experiments.measure import cost_of
from podium.experiments.schedules import NORM_RATES, cifar, imagenet, sketch, small
from podium.experiments.statements import better, between, not_worse

TABLE_3A = "[1x1:64 | 1x1:96 3x3:128 | 1x1:16 5x5:32 | max3/1 1x1:32]"  # GoogLeNet, Table 1
NAIVE_3A = "[1x1:64 | 3x3:128 | 5x5:32 | max3/1]"  # Figure 2 (a)


def _inception(reduced: bool, act: str = "bn relu") -> str:
    """A network of three modules, with or without 1x1 convolutions before the 3x3 and 5x5 and behind the pool."""
    if reduced:
        branches = f"1x1:16 {act} | 1x1:16 {act} 3x3:24 {act} | 1x1:8 {act} 5x5:12 {act} | max3/1 1x1:12 {act}"
    else:
        branches = f"1x1:16 {act} | 3x3:24 {act} | 5x5:12 {act} | max3/1 1x1:12 {act}"
    return f"3x3:32 {act}; [{branches}] max2/2; [{branches}] max2/2; [{branches}] -> average"


def _bottleneck_costs() -> dict[str, Any]:
    with_, without = (cost_of(words, 192)[1] for words in (TABLE_3A, NAIVE_3A))
    bottleneck, basic = (
        cost_of(words, inputs)[1] for words, inputs in (("1x1:64 3x3:64 1x1:256", 256), ("3x3:64 3x3:64", 64))
    )
    wide = cost_of("3x3:256 3x3:256", 256)[1]
    return {
        "multiply-adds, module 3a with over without 1x1": with_ / without,
        "multiply-adds, bottleneck of 256 maps over two 3x3 of 64": bottleneck / basic,
        "multiply-adds, two 3x3 of 256 maps over the bottleneck": wide / bottleneck,
    }


BOTTLENECK = Claim(
    "bottleneck",
    "1x1 convolutions before larger ones make a network cheap, and it stays as accurate.",
    "Szegedy et al. 2014, arXiv:1409.4842, section 4, Figure 2; He et al. 2015, arXiv:1512.03385, section 4.1, Figure 5",
    (
        between(
            "GoogLeNet's module 3a costs less than half with 1x1 reductions",
            "multiply-adds, module 3a with over without 1x1",
            0,
            0.5,
            unit="times",
        ),
        between(
            "a bottleneck of 256 maps costs as much as two 3x3 of 64, within 10 %",
            "multiply-adds, bottleneck of 256 maps over two 3x3 of 64",
            0.9,
            1.1,
            unit="times",
        ),
        not_worse("with 1x1 reductions the network is as accurate, within a point", "with 1x1", "without"),
    ),
    small(
        "bottleneck",
        sketch("with 1x1", _inception(True)),
        sketch("without", _inception(False)),
        rates=NORM_RATES,
        epochs=5,
    ),
    imagenet(
        "bottleneck", "resnet-2015", Arm("with 1x1", {"model": "resnet50_v1"}), Arm("without", {"model": "resnet34"})
    ),
    _bottleneck_costs,
    "At paper scale the arms are ResNet-50 and ResNet-34, whose pairs of 3x3 become bottlenecks at about the same cost.",
)
MODULE = "[1x1:16 bn relu | 1x1:16 bn relu 3x3:24 bn relu | 1x1:8 bn relu 5x5:16 bn relu | max3/1 1x1:8 bn relu]"
CHAIN = "1x1:16 bn relu 3x3:24 bn relu 1x1:8 bn relu 5x5:16 bn relu 1x1:64 bn relu"


def _three(module: str) -> str:
    return f"3x3:32 bn relu; {module} max2/2; {module} max2/2; {module} -> average"


BRANCHES = Claim(
    "branches",
    "Layers side by side, whose results are joined, are more accurate than the same layers in a chain of the same cost.",
    "The article S004, after Szegedy et al. 2014, arXiv:1409.4842, section 3",
    (better("parallel branches are more accurate than a chain of the same multiply-adds", "branches", "chain"),),
    small("branches", sketch("branches", _three(MODULE)), sketch("chain", _three(CHAIN)), rates=NORM_RATES, epochs=6),
    cifar(
        "branches",
        "resnet-cifar-2015",
        sketch("branches", _three(MODULE)),
        sketch("chain", _three(CHAIN)),
    ),
)


def _residual(**more: Any) -> dict[str, Any]:
    return {"model": "resnet18", "small": True, "units": (1, 1, 1), "width": 16, **more}


BOTTLENECKS = {"block": "bottleneck"}
CARDINALITY = Claim(
    "cardinality",
    "At equal cost, many narrow paths in each unit are more accurate than one wide path.",
    "Xie et al. 2016, arXiv:1611.05431, section 5.1, Table 3: 1 x 64d against 32 x 4d",
    (better("units of 4 groups are more accurate than units of one, at equal multiply-adds", "4 x 6d", "1 x 16d"),),
    small(
        "cardinality",
        Arm("1 x 16d", _residual(**BOTTLENECKS)),
        Arm("4 x 6d", _residual(**BOTTLENECKS, groups=4, group_width=6)),
        rates=(0.1,),
        epochs=6,
    ),
    imagenet(
        "cardinality",
        "resnext-2016",
        Arm("1 x 16d", {"model": "resnet50"}),
        Arm("4 x 6d", {"model": "resnext50_32x4d"}),
    ),
    note="At paper scale the arms are ResNet-50 (1 x 64d) and ResNeXt-50 (32 x 4d).",
)


def _gate_costs() -> dict[str, Any]:
    plain, gated = cost_of({"model": "resnet50_v1"}), cost_of({"model": "seresnet50"})
    return {
        "parameters, SE-ResNet-50 over ResNet-50": gated[0] / plain[0],
        "multiply-adds, SE-ResNet-50 over ResNet-50": gated[1] / plain[1],
    }


SQUEEZE = Claim(
    "squeeze-excitation",
    "Squeeze-and-excitation costs a tenth more parameters and hardly any multiply-adds, and makes a ResNet more accurate.",
    "Hu et al. 2018, arXiv:1709.01507, section 4, Tables 1 and 2",
    (
        between(
            "SE-ResNet-50 has 10 % more parameters than ResNet-50, within a point",
            "parameters, SE-ResNet-50 over ResNet-50",
            1.09,
            1.11,
            unit="times",
        ),
        between(
            "SE-ResNet-50 has less than 1 % more multiply-adds",
            "multiply-adds, SE-ResNet-50 over ResNet-50",
            1,
            1.01,
            unit="times",
        ),
        better("a ResNet with squeeze-and-excitation is more accurate", "SE", "none"),
    ),
    small("squeeze-excitation", Arm("none", _residual()), Arm("SE", _residual(se=8)), rates=(0.1,), epochs=8),
    imagenet(
        "squeeze-excitation", "senet-2018", Arm("none", {"model": "resnet50_v1"}), Arm("SE", {"model": "seresnet50"})
    ),
    _gate_costs,
)
CLAIMS = (BOTTLENECK, BRANCHES, CARDINALITY, SQUEEZE)
