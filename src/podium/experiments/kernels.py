"""Claims on kernels: two 3x3 for a 5x5, three for a 7x7, 1xn and nx1 for nxn, depthwise separable for dense."""

from __future__ import annotations

from typing import Any

from podium.experiments.claim import Arm, Claim
from podium.experiments.measure import cost_of, receptive_field
from podium.experiments.schedules import NORM_RATES, imagenet, sketch, small
from podium.experiments.statements import better, between, exactly, not_worse

MAPS = 64  # in and out of the layers that are counted
STACKS = {"5x5": ("5x5",), "two 3x3": ("3x3", "3x3"), "7x7": ("7x7",), "three 3x3": ("3x3", "3x3", "3x3")}


def _stack(kernels: tuple[str, ...], maps: int, between: str = "relu") -> str:
    """Convolutions in a row to so many maps, with rectifiers between them."""
    return " ".join(f"{kernel}:{maps} {between}" for kernel in kernels)


def _net(kernels: tuple[str, ...], act: str = "bn relu") -> str:
    """A network of two stages of such convolutions, behind a 3x3."""
    first, second = _stack(kernels, 24, act), _stack(kernels, 32, act)
    return f"3x3:24 {act}; {first} max2/2; {second} max2/2 -> average"


def _vgg_b(kernels: tuple[str, ...]) -> str:
    """VGG-B, each of its pairs of 3x3 written as these kernels."""
    widths = (64, 128, 256, 512, 512)
    stages = "; ".join(f"{_stack(kernels, width)} max2/2" for width in widths)
    return f"{stages} -> flat fc4096 relu drop0.5 fc4096 relu drop0.5"


def _stack_costs() -> dict[str, Any]:
    """Receptive fields, and weights of layers of 64 maps without biases."""
    found: dict[str, Any] = {}
    for name, kernels in STACKS.items():
        words = [f"{kernel}:{MAPS}" for kernel in kernels]
        found[f"receptive field of {name}"] = receptive_field(" ".join(words))
        found[f"weights of {name}"] = cost_of(" ".join(words), MAPS)[0]
    found["weights, two 3x3 over 5x5"] = found["weights of two 3x3"] / found["weights of 5x5"]
    found["weights, three 3x3 over 7x7"] = found["weights of three 3x3"] / found["weights of 7x7"]
    return found


SMALL_KERNELS = Claim(
    "small-kernels",
    "Two 3x3 see as much as a 5x5, and three as much as a 7x7, with fewer weights and better answers.",
    "Simonyan and Zisserman 2014, arXiv:1409.1556, section 2.3; section 4: a net of 5x5 has 7 points more top-1 errors than B",
    (
        exactly("two 3x3 see 5 pixels", "receptive field of two 3x3", 5, unit="pixels"),
        exactly("three 3x3 see 7 pixels", "receptive field of three 3x3", 7, unit="pixels"),
        exactly("two 3x3 have 18/25 of the weights of a 5x5", "weights, two 3x3 over 5x5", 18 / 25, unit="times"),
        exactly("three 3x3 have 27/49 of the weights of a 7x7", "weights, three 3x3 over 7x7", 27 / 49, unit="times"),
        better("two 3x3 are more accurate than a 5x5", "two 3x3", "5x5"),
        better("three 3x3 are more accurate than a 7x7", "three 3x3", "7x7"),
    ),
    small(
        "small-kernels",
        *(sketch(name, _net(kernels)) for name, kernels in STACKS.items()),
        epochs=4,
        seeds=3,
        rates=NORM_RATES,
    ),
    imagenet(
        "small-kernels",
        "vgg-2014",
        *(
            Arm(name, {"model": "sketch", "image_size": 224, "layers": _vgg_b(kernels)})
            for name, kernels in STACKS.items()
        ),
    ),
    _stack_costs,
)


def _factorised_costs() -> dict[str, Any]:
    square, cross = (cost_of(words, MAPS)[1] for words in (f"7x7:{MAPS}", f"1x7:{MAPS} 7x1:{MAPS}"))
    three, pair = (cost_of(words, MAPS)[1] for words in (f"3x3:{MAPS}", f"3x1:{MAPS} 1x3:{MAPS}"))
    return {"multiply-adds, 1x7-7x1 over 7x7": cross / square, "multiply-adds, 3x1-1x3 over 3x3": pair / three}


FACTORISED = Claim(
    "factorised",
    "A 1xn and an nx1 do the work of an nxn for 2/n of the cost, on maps of middle size.",
    "Szegedy et al. 2015, arXiv:1512.00567, section 3.2",
    (
        exactly("3x1-1x3 costs a third less than 3x3", "multiply-adds, 3x1-1x3 over 3x3", 2 / 3, unit="times"),
        exactly("1x7-7x1 costs 2/7 of 7x7", "multiply-adds, 1x7-7x1 over 7x7", 2 / 7, unit="times"),
        not_worse("1x7-7x1 is as accurate as 7x7, within a point", "1x7-7x1", "7x7"),
    ),
    small(
        "factorised",
        sketch("7x7", _net(("7x7",))),
        sketch("1x7-7x1", _net(("1x7", "7x1"))),
        epochs=4,
        rates=NORM_RATES,
    ),
    imagenet(
        "factorised",
        "inception-2016",
        *(
            Arm(
                name,
                {
                    "model": "sketch",
                    "image_size": 224,
                    "layers": f"7x7/2:64 bn relu max3/2; 3x3:192 bn relu max3/2; {_stack(kernels, 192, 'bn relu')} max3/2; {_stack(kernels, 384, 'bn relu')} -> average",
                },
            )
            for name, kernels in (("7x7", ("7x7",)), ("1x7-7x1", ("1x7", "7x1")))
        ),
    ),
    _factorised_costs,
    "Maps are of 16 and 8 px at small scale, of 28 and 14 px at paper scale; the paper found it to work well between 12 and 20.",
)


def _separable_costs() -> dict[str, Any]:
    """The article's example, a 3x3 from 3 maps to 64, and the parameters of two networks."""
    dense, separable = (cost_of(words, 3)[0] for words in ("3x3:64", "dw3x3 1x1:64"))
    depthwise = cost_of("dw3x3", 3)[0]
    xception, inception = (cost_of({"model": name})[0] for name in ("xception", "inception_v3"))
    return {
        "weights of the dense 3x3": dense,
        "weights of the depthwise 3x3": depthwise,
        "weights of the 1x1 behind it": separable - depthwise,
        "parameters of Xception, millions": xception / 1e6,
        "parameters of Inception v3, millions": inception / 1e6,
        "parameters, Inception v3 over Xception": inception / xception,
    }


SEPARABLE = Claim(
    "separable",
    "A depthwise separable convolution has a fraction of the weights of a dense one, and at equal cost it is more accurate.",
    "Chollet 2016, arXiv:1610.02357, section 4.5; the article S003",
    (
        exactly("a dense 3x3 from 3 maps to 64 has 1,728 weights", "weights of the dense 3x3", 1728, unit="weights"),
        exactly("the depthwise 3x3 has 27 weights", "weights of the depthwise 3x3", 27, unit="weights"),
        exactly("the 1x1 behind it has 192 weights", "weights of the 1x1 behind it", 192, unit="weights"),
        between(
            "Inception v3 has 23 and Xception 6 million parameters: 3.8 times as many",
            "parameters, Inception v3 over Xception",
            3.5,
            4.2,
            unit="times",
            source="The article S003",
        ),
        between(
            "Xception has as many parameters as Inception v3, within 5 %",
            "parameters, Inception v3 over Xception",
            0.95,
            1.05,
            unit="times",
        ),
        better("at equal cost, separable convolutions are more accurate than dense ones", "separable", "dense"),
    ),
    small(
        "separable",
        sketch(
            "dense",
            "3x3:24 bn relu; 3x3:24 bn relu 3x3:24 bn relu max2/2; 3x3:32 bn relu 3x3:32 bn relu max2/2; 3x3:48 bn relu -> average",
        ),
        sketch(
            "separable",
            "3x3:24 bn relu; dw3x3 1x1:76 bn relu dw3x3 1x1:76 bn relu max2/2; dw3x3 1x1:108 bn relu dw3x3 1x1:108 bn relu max2/2; dw3x3 1x1:164 bn relu -> average",
        ),
        rates=NORM_RATES,
    ),
    imagenet(
        "separable",
        "xception-2017",
        Arm("dense", {"model": "inception_v3", "aux": False}),
        Arm("separable", {"model": "xception"}),
    ),
    _separable_costs,
    "Equal cost is an equal number of multiply-adds at small scale. At paper scale it is an equal number of parameters, as in the paper: "
    "Xception has 1.5 times the multiply-adds of Inception v3.",
)
CLAIMS = (SMALL_KERNELS, FACTORISED, SEPARABLE)
