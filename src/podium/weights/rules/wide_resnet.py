"""How the Wide ResNets of torchvision and timm are read."""

from podium.networks.wide_resnet import NAMES
from podium.weights.peers import BICUBIC, IMAGENET_PIXELS, peer
from podium.weights.rules.resnet import TORCHVISION

peer("torchvision", {name: name for name in NAMES}, TORCHVISION)
peer("timm", {"wide_resnet50_2": "wide_resnet50_2"}, TORCHVISION, pixels=IMAGENET_PIXELS | BICUBIC)
peer("timm", {"wide_resnet101_2": "wide_resnet101_2"}, TORCHVISION)
