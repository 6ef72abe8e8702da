"""How the VGGs of torchvision, timm and Keras are read."""

from torch import nn

from podium.weights.peers import CAFFE_PIXELS, InOrder, Rules, peer

FEATURES = (r"^features\.(\d+)\.", InOrder((nn.Conv2d, nn.BatchNorm2d)))
TORCHVISION: Rules = (FEATURES, (r"^classifier\.(\d+)\.", InOrder(nn.Linear)))
TIMM: Rules = (
    FEATURES,
    (r"^pre_logits\.fc1\.", "head.hidden.0."),
    (r"^pre_logits\.fc2\.", "head.hidden.3."),
    (r"^head\.fc\.", "head.classifier."),
)
KERAS: Rules = (
    (r"^block(\d)_conv(\d)\.", lambda m: f"stages.stage{m[1]}.{2 * int(m[2]) - 2}."),
    (r"^fc1\.", "head.hidden.0."),
    (r"^fc2\.", "head.hidden.3."),
    (r"^predictions\.", "head.classifier."),
)

NAMES = {f"vgg{depth}{end}": f"vgg{depth}{end}" for depth in (11, 13, 16, 19) for end in ("", "_bn")}
peer("torchvision", NAMES, TORCHVISION)
peer("timm", NAMES, TIMM)
peer("keras", {"VGG16": "vgg16", "VGG19": "vgg19"}, KERAS, pixels=CAFFE_PIXELS)
