"""The default input size of a network for a data set, and which of its two forms it takes.

The small form keeps the full resolution in the stem. It is for images that are stored small, with at most 64 px a side.
Photos that are resized to such a size use the full form by default, because the small form of a ResNet-18 costs 15 times as
much at 64 px.
"""

from __future__ import annotations

from podium.models.registry import architecture

SMALL_UP_TO = 64  # pixels: the side, as stored, up to which images are small themselves


def form(name: str, stored: int | None, image_size: int | None = None, small: bool | None = None) -> tuple[int, bool]:
    """The input size of a network, in pixels, and whether it takes its small form.

    Args:
        name: of a network.
        stored: side of the images as they are stored, in pixels; None for photos, whose sizes differ.
        image_size: the size that is wanted, in pixels. None: the side as stored, enlarged where the network cannot take it;
            for photos the paper's size.
        small: the form that is wanted. None: the small form for images that are stored with at most 64 px and are not
            enlarged beyond that.
    """
    known = architecture(name)
    own = stored is not None and stored <= SMALL_UP_TO
    if image_size is None:
        image_size = (
            known.input_size if stored is None else max(stored, known.smallest(own if small is None else small))
        )
    return image_size, (own and image_size <= SMALL_UP_TO) if small is None else small


def small_without_data(image_size: int | None) -> bool:
    """Whether a network without a data set takes its small form: a size of at most 64 px stands for images that are stored so."""
    return image_size is not None and image_size <= SMALL_UP_TO
