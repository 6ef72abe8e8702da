"""How the DenseNets of torchvision, timm and Keras are read."""

from podium.networks.densenet import LAYERS
from podium.weights.peers import BICUBIC, IMAGENET_PIXELS, Rules, peer

TORCHVISION: Rules = (
    (r"^features\.(conv0|norm0)\.", r"stem.\1."),
    (r"^features\.norm5\.", "stages.norm.norm."),
    (
        r"^features\.denseblock(\d)\.denselayer(\d+)\.",
        lambda m: f"stages.block{m[1]}.{int(m[2]) - 1}.new.",
    ),
    (r"\.(norm|conv)\.([12])\.(?=weight|bias|running|num)", r".\1\2."),  # files from before 2018 write norm.1 for norm1
    (r"^features\.transition(\d)\.", r"stages.transition\1."),
    (r"^classifier\.", "head.classifier."),
)

LEAF = {("0", "bn"): "norm1.", ("1", "conv"): "conv1.", ("1", "bn"): "norm2.", ("2", "conv"): "conv2."}
KERAS: Rules = (
    (r"^conv1_conv\.", "stem.conv0."),
    (r"^conv1_bn\.", "stem.norm0."),
    (
        r"^conv(\d)_block(\d+)_([012])_(bn|conv)\.",
        lambda m: f"stages.block{int(m[1]) - 1}.{int(m[2]) - 1}.new." + LEAF[m[3], m[4]],
    ),
    (r"^pool(\d)_(bn|conv)\.", lambda m: f"stages.transition{int(m[1]) - 1}.{'norm' if m[2] == 'bn' else 'conv'}."),
    (r"^bn\.", "stages.norm.norm."),
    (r"^predictions\.", "head.classifier."),
)

NAMES = {f"densenet{n}": f"densenet{n}" for n in LAYERS}
peer("torchvision", NAMES, TORCHVISION)
peer("timm", NAMES, TORCHVISION, pixels=IMAGENET_PIXELS | BICUBIC)
peer("keras", {f"DenseNet{n}": f"densenet{n}" for n in LAYERS}, KERAS, {"eps": 1.001e-5})
