"""How the ResNets v2 of timm and Keras are read."""

from podium.weights.peers import BICUBIC, INCEPTION_PIXELS, Rules, peer

# The first unit of a stage has its BN-ReLU before the fork, the others have it inside the branch.
TIMM: Rules = (
    (r"^stem\.conv\.", "stem.conv1."),
    (r"^norm\.", "stages.norm.norm."),
    (r"^head\.fc\.", "head.classifier."),
    (r"^stages\.(\d)\.blocks\.0\.norm1\.", lambda m: f"stages.stage{int(m[1]) + 1}.0.norm1."),
    (r"^stages\.(\d)\.blocks\.0\.downsample\.conv\.", lambda m: f"stages.stage{int(m[1]) + 1}.0.unit.shortcut."),
    (r"^stages\.(\d)\.blocks\.0\.", lambda m: f"stages.stage{int(m[1]) + 1}.0.unit.residual."),
    (r"^stages\.(\d)\.blocks\.(\d+)\.", lambda m: f"stages.stage{int(m[1]) + 1}.{m[2]}.residual."),
)
# The first unit of a network of basic blocks has no projection.
TIMM_BASIC: Rules = ((r"^stages\.0\.blocks\.0\.", "stages.stage1.0.residual."), *TIMM)
KERAS: Rules = (
    (r"^conv1_conv\.", "stem.conv1."),
    (r"^post_bn\.", "stages.norm.norm."),
    (r"^predictions\.", "head.classifier."),
    (r"^conv(\d)_block1_preact_bn\.", lambda m: f"stages.stage{int(m[1]) - 1}.0.norm1."),
    (r"^conv(\d)_block1_0_conv\.", lambda m: f"stages.stage{int(m[1]) - 1}.0.unit.shortcut."),
    (r"^conv(\d)_block1_", lambda m: f"stages.stage{int(m[1]) - 1}.0.unit.residual."),
    (r"^conv(\d)_block(\d+)_", lambda m: f"stages.stage{int(m[1]) - 1}.{int(m[2]) - 1}.residual."),
    (r"residual\.preact_bn\.", "residual.norm1."),
    (r"residual\.(\d)_conv\.", r"residual.conv\1."),
    (r"residual\.(\d)_bn\.", lambda m: f"residual.norm{int(m[1]) + 1}."),
)

BARE = {"form": "bare"}
TIMM_PIXELS = INCEPTION_PIXELS | BICUBIC
NAMES = {n: f"resnetv2_{n}" for n in (18, 34, 50, 101, 152)}
DEEP = (50, 101, 152)
peer("timm", {NAMES[n]: NAMES[n] for n in DEEP}, TIMM, BARE, TIMM_PIXELS | {"crop_pct": 0.95})
peer("timm", {NAMES[n]: NAMES[n] for n in (18, 34)}, TIMM_BASIC, BARE, TIMM_PIXELS | {"crop_pct": 0.9})
KERAS_NAMES = {f"ResNet{n}V2": f"resnetv2_{n}_slim" for n in DEEP}
peer("keras", KERAS_NAMES, KERAS, {"eps": 1.001e-5, "zeros_in_pool": True}, INCEPTION_PIXELS)
