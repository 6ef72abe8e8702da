"""Claims on what a network sees: ten crops against one, the whole image densely, colour noise in training."""

from __future__ import annotations

from podium.experiments.claim import Arm, Claim
from podium.experiments.schedules import imagenet, sketch, small
from podium.experiments.statements import better, not_worse

SEEN = 28 / 32  # the side of a crop, as AlexNet's 224 of 256
CONVOLUTIONS = "3x3:16 relu max2/2; 3x3:32 relu 3x3:32 relu max2/2; 3x3:48 relu max2/2"
# One network for both claims, trained on random crops of 28 px out of 32, mirrored or not. Its map is of 8x8 where it sees all of an
# image and of 7x7 where it sees a crop: so the dense form answers at more than one place.
CROPPED = small(
    "crops",
    sketch("network", f"{CONVOLUTIONS.removesuffix(' max2/2')} -> flat fc128 relu drop0.5"),
    side=None,
    crop_pct=SEEN,
    epochs=10,
    settings={"crop": "scale", "crop_range": (1 / SEEN, 1 / SEEN)},
)
TEN_CROPS = Claim(
    "ten-crops",
    "The mean of the answers to ten crops is more accurate than the answer to one.",
    "Krizhevsky et al. 2012, sections 4.1 and 6: 1.5 points of top-1",
    (better("ten crops are more accurate than the centre alone", "network@10", "network"),),
    CROPPED,
    imagenet("ten-crops", "alexnet-2012", Arm("network", {"model": "alexnet"})),
)
DENSE = Claim(
    "dense",
    "To see the whole image, by the fully convolutional form of a network, is more accurate than one crop, and several crops are "
    "slightly better still.",
    "Simonyan and Zisserman 2014, arXiv:1409.1556, sections 3.2 and 4.3, Table 5",
    (
        better("the whole image is more accurate than the centre alone", "network@dense", "network"),
        not_worse(
            "ten crops are as accurate as the whole image, within half a point",
            "network@10",
            "network@dense",
            allowed=0.005,
        ),
    ),
    CROPPED,
    imagenet("dense", "vgg-2014", Arm("network", {"model": "vgg16"})),
)
COLOUR = Claim(
    "colour-noise",
    "Noise along the principal components of colours, in training, makes a network more accurate.",
    "Krizhevsky et al. 2012, section 4.1: over a point of top-1",
    (better("colour noise of 0.1 makes the network more accurate", "noise", "none"),),
    small(
        "colour-noise",
        sketch("none", f"{CONVOLUTIONS} -> flat fc128 relu"),
        sketch("noise", f"{CONVOLUTIONS} -> flat fc128 relu", {"colour": 0.1}),
    ),
    imagenet(
        "colour-noise",
        "alexnet-2012",
        Arm("none", {"model": "alexnet"}, {"colour": 0.0}),
        Arm("noise", {"model": "alexnet"}),
    ),
)
CLAIMS = (TEN_CROPS, DENSE, COLOUR)
