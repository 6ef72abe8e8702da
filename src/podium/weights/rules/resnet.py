"""How the ResNets of torchvision, timm and Keras are read, and the CIFAR ResNets of akamaster/pytorch_resnet_cifar10."""

from podium.networks.resnet import DEEP, UNITS
from podium.weights.peers import BICUBIC, CAFFE_PIXELS, IMAGENET_PIXELS, Rules, peer

# A unit here keeps its layers in `residual`, beside its `shortcut`.
AKAMASTER: Rules = (
    (r"^(conv1|bn1)\.", r"stem.\1."),
    (r"^layer(\d)\.(\d+)\.", r"stages.stage\1.\2.residual."),
    (r"^linear\.", "head.classifier."),
)
# `nn.Sequential(*net.children())`, which people and fastai take as a body, numbers torchvision's parts instead of naming them.
CHILDREN: Rules = (
    (r"^0\.(?=weight$)", "conv1."),
    (r"^1\.(?=[a-z_]+$)", "bn1."),
    (r"^([4-7])\.(?=\d+\.)", lambda m: f"layer{int(m[1]) - 3}."),
    (r"^9\.", "fc."),
)
TORCHVISION: Rules = (
    *CHILDREN,
    (r"^(conv1|bn1)\.", r"stem.\1."),
    (r"^layer(\d)\.(\d+)\.downsample\.0\.", r"stages.stage\1.\2.shortcut.conv1."),
    (r"^layer(\d)\.(\d+)\.downsample\.1\.", r"stages.stage\1.\2.shortcut.bn1."),
    (r"^layer(\d)\.(\d+)\.", r"stages.stage\1.\2.residual."),
    (r"^fc\.", "head.classifier."),
)
KERAS: Rules = (
    (r"^conv1_(conv|bn)\.", r"stem.\g<1>1."),
    (r"^conv(\d)_block(\d+)_0_(conv|bn)\.", lambda m: f"stages.stage{int(m[1]) - 1}.{int(m[2]) - 1}.shortcut.{m[3]}1."),
    (
        r"^conv(\d)_block(\d+)_(\d)_(conv|bn)\.",
        lambda m: f"stages.stage{int(m[1]) - 1}.{int(m[2]) - 1}.residual.{m[4]}{m[3]}.",
    ),
    (r"^(predictions|probs|fc1000)\.", "head.classifier."),
)

CIFAR = {f"resnet{6 * n + 2}": f"resnet{6 * n + 2}" for n in (3, 5, 7, 9, 18, 200)}
peer("akamaster", CIFAR, AKAMASTER, {"shortcut": "A-split"}, IMAGENET_PIXELS | {"crop_pct": 1.0})
NAMES = {f"resnet{n}": f"resnet{n}" for n in UNITS}
peer("torchvision", NAMES, TORCHVISION)
peer("timm", NAMES, TORCHVISION, pixels=IMAGENET_PIXELS | BICUBIC | {"crop_pct": 0.95})
KERAS_NAMES = {f"ResNet{n}": f"resnet{n}_v1" for n in DEEP}
peer("keras", KERAS_NAMES, KERAS, {"bias": True, "eps": 1.001e-5}, CAFFE_PIXELS)
