"""How the Xception of Keras and timm is read."""

from torch import nn

from podium.weights.peers import BICUBIC, INCEPTION_PIXELS, InOrder, Rules, peer

KERAS: Rules = (
    (r"^block1_conv(\d)\.", lambda m: f"stem.{int(m[1]) - 1}.conv."),
    (r"^block1_conv(\d)_bn\.", lambda m: f"stem.{int(m[1]) - 1}.bn."),
    (r"^block14_sepconv(\d)_bn\.", r"stages.block14.sep\1.bn."),
    (r"^block14_sepconv(\d)\.", r"stages.block14.sep\1."),
    (r"^block(\d+)_sepconv(\d)_bn\.", r"stages.block\1.residual.sep\2.bn."),
    (r"^block(\d+)_sepconv(\d)\.", r"stages.block\1.residual.sep\2."),
    (r"^conv2d_(\d+)\.", InOrder(nn.Conv2d, r"\.shortcut\.")),
    (r"^batch_normalization_(\d+)\.", InOrder(nn.BatchNorm2d, r"\.shortcut\.")),
    (r"^predictions\.", "head.classifier."),
)
# timm numbers the blocks from 1, beginning with the paper's second module, and counts a block's ReLUs among its layers.
TIMM: Rules = (
    (r"^conv([12])\.", lambda m: f"stem.{int(m[1]) - 1}.conv."),
    (r"^bn([12])\.", lambda m: f"stem.{int(m[1]) - 1}.bn."),
    (r"^(conv|bn)([34])\.", lambda m: f"stages.block14.sep{int(m[2]) - 2}." + ("bn." if m[1] == "bn" else "")),
    (r"^block(\d+)\.skip\.", lambda m: f"stages.block{int(m[1]) + 1}.shortcut.conv."),
    (r"^block(\d+)\.skipbn\.", lambda m: f"stages.block{int(m[1]) + 1}.shortcut.bn."),
    (
        r"^block(\d+)\.rep\.(\d+)\.(?=conv1|pointwise)",
        lambda m: f"stages.block{int(m[1]) + 1}.residual.sep{int(m[2]) // 3 + 1}.",
    ),
    (
        r"^block(\d+)\.rep\.(\d+)\.",
        lambda m: f"stages.block{int(m[1]) + 1}.residual.sep{int(m[2]) // 3 + 1}.bn.",
    ),
    (r"(?<=\.sep\d\.)conv1\.", "depthwise."),
    (r"^fc\.", "head.classifier."),
)

peer("keras", {"Xception": "xception"}, KERAS, pixels=INCEPTION_PIXELS)
TIMM_PIXELS = INCEPTION_PIXELS | BICUBIC | {"crop_pct": 0.8975}
peer("timm", {"legacy_xception": "xception"}, TIMM, {"eps": 1e-5, "pool": "half"}, TIMM_PIXELS)
