"""Wide ResNet, in the form that is called wide_resnet50_2: ResNet v1.5 with 3x3 of twice the width [Zagoruyko and Komodakis 2016]."""

from __future__ import annotations

from podium.models.registry import register
from podium.networks.resnet import UNITS, ResNet, ResNetDesign

NAMES = {f"wide_resnet{depth}_2": depth for depth in (50, 101)}
register(
    ResNet,
    {name: {"units": UNITS[depth], "block": "bottleneck", "group_width": 128} for name, depth in NAMES.items()},
    design=ResNetDesign,
    family="Wide ResNet",
    year=2016,
    paper="Zagoruyko & Komodakis 2016, arXiv:1605.07146",
    input_size=224,
    min_size=32,
    small_min_size=8,
    recipe="resnet-2015",
)
