"""How the ResNeXts of torchvision and timm are read."""

from podium.networks.resnext import SIZES
from podium.weights.peers import BICUBIC, IMAGENET_PIXELS, peer
from podium.weights.rules.resnet import TORCHVISION

NAMES = [f"resnext{size}" for size in SIZES]
LATER = ("resnext50_32x4d", "resnext101_64x4d")  # whose default weights in timm have another preprocessing

peer("torchvision", {name: name for name in NAMES}, TORCHVISION)
peer("timm", {name: name for name in NAMES if name not in LATER}, TORCHVISION)
peer("timm", {name: name for name in LATER}, TORCHVISION, pixels=IMAGENET_PIXELS | BICUBIC | {"crop_pct": 0.95})
