"""How torchvision's AlexNet is read."""

from torch import nn

from podium.weights.peers import InOrder, Rules, peer

TORCHVISION: Rules = (
    (r"^features\.(\d+)\.", InOrder(nn.Conv2d)),
    (r"^classifier\.(\d+)\.", InOrder(nn.Linear)),
)

peer("torchvision", {"alexnet": "alexnet_owt"}, TORCHVISION)
