"""How the Inception v3 of torchvision, timm and Keras is read."""

import re

from torch import nn

from podium.weights.peers import BICUBIC, INCEPTION_PIXELS, InOrder, Rules, peer


def _unit(match: re.Match[str]) -> str:
    """`branch7x7dbl_3` is `double7.2`, and the forked `branch3x3_2a` is `branch3.1.a`."""
    side, double, number, letter = match["side"], match["double"], int(match["number"] or 1) - 1, match["letter"]
    forked = f".{letter}" if letter else ""
    return f".{'double' if double else 'branch'}{side}.{number}{forked}."


TORCHVISION: Rules = (
    (r"^Conv2d_1a_3x3\.", "stem.0."),
    (r"^Conv2d_2a_3x3\.", "stem.1."),
    (r"^Conv2d_2b_3x3\.", "stem.2."),
    (r"^Conv2d_3b_1x1\.", "stem.4."),
    (r"^Conv2d_4a_3x3\.", "stem.5."),
    (r"^AuxLogits\.conv(\d)\.", r"auxiliary.mixed6e.conv.\1."),
    (r"^AuxLogits\.fc\.", "auxiliary.mixed6e.classifier."),
    (r"^Mixed_(\d\w)\.", r"stages.mixed\1."),
    (r"\.branch_pool\.", ".pool.1."),
    (r"\.branch(?P<side>\d)x\d(?:x3)?(?P<double>dbl)?(?:_(?P<number>\d)(?P<letter>[ab])?)?\.", _unit),
    (r"^fc\.", "head.classifier."),
)
KERAS: Rules = (
    (r"^conv2d_(\d+)\.", InOrder(nn.Conv2d)),
    (r"^batch_normalization_(\d+)\.", InOrder(nn.BatchNorm2d)),
    (r"^predictions\.", "head.classifier."),
)

NAMES = {"inception_v3": "inception_v3"}
peer("torchvision", NAMES, TORCHVISION, {"count_padding": True}, INCEPTION_PIXELS, transforms=True)
peer("timm", NAMES, TORCHVISION, {"count_padding": True}, INCEPTION_PIXELS | BICUBIC)
peer("keras", {"InceptionV3": "inception_v3"}, KERAS, {"aux": False}, INCEPTION_PIXELS)
