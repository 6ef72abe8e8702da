"""How timm's Inception v4 is read."""

import re

from podium.weights.peers import BICUBIC, INCEPTION_PIXELS, Rules, peer

# timm numbers the three convolutions of the stem from 0, and the modules after them from 3 to 21.
NUMBERED = ("3a", "4a", "5a", "5b", "5c", "5d", "5e", "6a", *(f"6{x}" for x in "bcdefgh"), "7a", "7b", "7c", "7d")


def _module(match: re.Match[str]) -> str:
    """`features.4` is `stages.mixed4a`."""
    number = int(match[1])
    return f"stem.{number}." if number < 3 else f"stages.mixed{NUMBERED[number - 3]}."


TIMM: Rules = (
    (r"^features\.(\d+)\.", _module),
    (r"\.branch1_0\.", ".branch1.0."),
    (r"\.branch1_1([ab])\.", r".branch1.1.\1."),
    (r"\.branch2_([012])\.", r".branch2.\1."),
    (r"\.branch2_3([ab])\.", r".branch2.3.\1."),
    (r"^last_linear\.", "head.classifier."),
)

peer("timm", {"inception_v4": "inception_v4"}, TIMM, pixels=INCEPTION_PIXELS | BICUBIC)
