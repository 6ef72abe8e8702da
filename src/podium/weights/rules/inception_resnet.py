"""How the Inception-ResNet v2 of timm and Keras is read."""

from torch import nn

from podium.weights.peers import BICUBIC, INCEPTION_PIXELS, InOrder, Rules, peer

TIMM: Rules = (
    (r"^conv2d_1a\.", "stem.0."),
    (r"^conv2d_2a\.", "stem.1."),
    (r"^conv2d_2b\.", "stem.2."),
    (r"^conv2d_3b\.", "stem.4."),
    (r"^conv2d_4a\.", "stem.5."),
    (r"^mixed_(\d\w)\.", r"stages.mixed\1."),
    (r"^repeat\.(\d+)\.", r"stages.block35.\1.residual."),
    (r"^repeat_1\.(\d+)\.", r"stages.block17.\1.residual."),
    (r"^repeat_2\.(\d+)\.", r"stages.block8.\1.residual."),
    (r"^block8\.", "stages.block8.9.residual."),
    (r"\.residual\.branch", ".residual.branches.branch"),
    (r"\.residual\.conv2d\.", ".residual.up."),
    (r"^conv2d_7b\.", "stages.conv7b."),
    (r"^(classif|last_linear)\.", "head.classifier."),
)

NUMBERED = r"^(?!.*\.up$|stages\.conv7b)"  # our layers whose names Keras numbers; it names the others
KERAS: Rules = (
    (r"^conv2d_(\d+)\.", InOrder(nn.Conv2d, NUMBERED)),
    (r"^batch_normalization_(\d+)\.", InOrder(nn.BatchNorm2d, NUMBERED)),
    (r"^block(35|17|8)_(\d+)_conv\.", lambda m: f"stages.block{m[1]}.{int(m[2]) - 1}.residual.up."),
    (r"^conv_7b\.", "stages.conv7b.conv."),
    (r"^conv_7b_bn\.", "stages.conv7b.bn."),
    (r"^predictions\.", "head.classifier."),
)

TIMM_PIXELS = INCEPTION_PIXELS | BICUBIC | {"crop_pct": 0.8975}
peer("timm", {"inception_resnet_v2": "inception_resnet_v2"}, TIMM, pixels=TIMM_PIXELS)
peer("keras", {"InceptionResNetV2": "inception_resnet_v2"}, KERAS, pixels=INCEPTION_PIXELS)
