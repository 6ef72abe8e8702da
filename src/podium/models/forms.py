"""At what size, and in which of its two forms, a network takes a person's images, where they did not say.

The small form keeps the full resolution in the stem. It is for images that are small themselves: as stored, up to 64 px.
Photos that are shrunk to such a size go through the full form, unless the small one is asked for: at 64 px it costs a ResNet-18
15 times as much.
"""

from __future__ import annotations

from podium.models.registry import architecture

SMALL_UP_TO = 64  # pixels: the side, as stored, up to which images are small themselves


def form(name: str, stored: int | None, image_size: int | None = None, small: bool | None = None) -> tuple[int, bool]:
    """The input size of a network, in pixels, and whether it takes its small form.

    Args:
        name: of a network.
        stored: side of the images as they are stored; None for photos, which have no size of their own.
        image_size: what a person asked for. None: the side as stored, enlarged where the network cannot take it; for photos
            the paper's size.
        small: what a person asked for. None: the small form for images that are stored small and are not enlarged beyond that.
    """
    known = architecture(name)
    own = stored is not None and stored <= SMALL_UP_TO
    if image_size is None:
        image_size = (
            known.input_size if stored is None else max(stored, known.smallest(own if small is None else small))
        )
    return image_size, (own and image_size <= SMALL_UP_TO) if small is None else small


def small_without_data(image_size: int | None) -> bool:
    """Whether a bare name takes its small form: a size up to 64 px then stands for images that are stored so."""
    return image_size is not None and image_size <= SMALL_UP_TO
