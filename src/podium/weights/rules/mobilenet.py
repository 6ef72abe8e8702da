"""How Keras's MobileNet is read."""

from podium.networks.mobilenet import STAGES, WIDTHS
from podium.weights.peers import INCEPTION_PIXELS, Rules, peer

# Keras numbers the blocks from 1 through all stages.
PLACES = [f"stages.stage{s}.{i}." for s, widths in enumerate(STAGES, 1) for i in range(len(widths))]
KIND = {"dw": "depthwise", "pw": "pointwise"}
KERAS: Rules = (
    (r"^conv1\.", "stem.conv."),
    (r"^conv1_bn\.", "stem.bn."),
    (r"^conv_(dw|pw)_(\d+)(_bn)?\.", lambda m: PLACES[int(m[2]) - 1] + f"{KIND[m[1]]}.{'bn' if m[3] else 'conv'}."),
    (r"^conv_preds\.", "head.classifier."),
)

NAMES = {"MobileNet": "mobilenet_v1"} | {f"MobileNet_{w:.2f}": f"mobilenet_v1_{100 * w:03.0f}" for w in WIDTHS}
peer("keras", NAMES, KERAS, {"six": True}, INCEPTION_PIXELS)
