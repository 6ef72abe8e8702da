"""How torchvision's GoogLeNet is read."""

from podium.weights.peers import INCEPTION_PIXELS, Rules, peer

TORCHVISION: Rules = (
    (r"^conv1\.", "stem.0."),
    (r"^conv2\.", "stem.2."),
    (r"^conv3\.", "stem.3."),
    (r"^inception(3a|4a|5a)\.", r"stages.inception\1.1."),
    (r"^inception(\d\w)\.", r"stages.inception\1."),
    (r"\.branch4\.1\.", ".branch4.1."),
    (r"^aux1\.", "auxiliary.inception4a."),
    (r"^aux2\.", "auxiliary.inception4d."),
    (r"\.fc1\.", ".hidden.0."),
    (r"\.fc2\.", ".classifier."),
    (r"^fc\.", "head.classifier."),
)

# torchvision's weights come from TensorFlow; its `transform_input` turns ImageNet's statistics back into TensorFlow's.
peer("torchvision", {"googlenet": "googlenet_tv"}, TORCHVISION, pixels=INCEPTION_PIXELS, transforms=True)
