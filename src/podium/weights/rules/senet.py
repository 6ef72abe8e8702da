"""How timm's SE-ResNets, SE-ResNeXts and SENet-154 are read: those it calls legacy, and its own of ResNet v1.5."""

from podium.networks.resnet import DEEP
from podium.weights.peers import BICUBIC, IMAGENET_PIXELS, Rules, peer
from podium.weights.rules.resnet import TORCHVISION

LEGACY: Rules = (
    (r"^layer0\.(conv|bn)(\d)\.", r"stem.\1\2."),
    (r"\.se_module\.", ".se."),
    (r"^last_linear\.", "head.classifier."),
    *TORCHVISION,
)

NAMES = (*(f"seresnet{n}" for n in DEEP), "seresnext50_32x4d", "seresnext101_32x4d")
peer("timm", {f"legacy_{name}": name for name in NAMES}, LEGACY)
peer("timm", {"legacy_seresnet18": "seresnet18"}, LEGACY, {"se_relu": True}, IMAGENET_PIXELS | BICUBIC)
peer("timm", {"legacy_seresnet34": "seresnet34"}, LEGACY, {"se_relu": True})
peer("timm", {"legacy_senet154": "senet154"}, LEGACY)

MODERN = {"pool": "half", "stride_in": "3x3"}
PIXELS = IMAGENET_PIXELS | BICUBIC
peer("timm", {name: name for name in NAMES if name != "seresnet50"}, TORCHVISION, MODERN, PIXELS)
peer("timm", {"seresnet50": "seresnet50"}, TORCHVISION, MODERN, PIXELS | {"crop_pct": 0.95})
