"""`create_model`: a network by name, with fresh weights or with those of another library."""

from __future__ import annotations

from typing import Any

from podium.calls import public
from podium.errors import UsageError
from podium.models.convnet import ConvNet
from podium.models.registry import build_model
from podium.weights.download import official
from podium.weights.load import import_weights
from podium.weights.peers import find_peer


@public
def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    image_size: int | None = None,
    small: bool = False,
    weights: str | None = None,
    **arguments: Any,
) -> ConvNet:
    """Build a network by name.

    Args:
        name: one of `list_models()`.
        num_classes: at least 2; the paper's number if None.
        in_chans: channels of the input, at least 1; the paper's number if None.
        image_size: side of the images, in pixels, which decides the size of fully connected heads; the canonical one if None.
        small: build the form for images of 28-64 pixels, whose stem keeps the resolution; networks made for such images
            have only one form.
        weights: "LIBRARY:NAME", such as "torchvision:resnet50": the official weights, downloaded once, with a fresh
            classifier where `num_classes` differs and an adapted first convolution where `in_chans` does. Fresh weights if
            None. `podium.import_weights` reads a file.
        arguments: the family's own arguments, such as `shortcut="A"` for ResNets.

    Returns:
        The network, in training mode. Its `spec` rebuilds it.

    Raises:
        UsageError: unknown name or argument, an image smaller than the network takes, or weights of another network.
        MachineError: the weights cannot be downloaded; says where to put the file.
    """
    if weights is None:
        form = {"num_classes": num_classes, "in_chans": in_chans, "image_size": image_size, "small": small}
        return build_model(name, **form, **arguments)  # type: ignore[arg-type]
    theirs = find_peer(weights).model
    if theirs != name:
        raise UsageError(f"{weights} has the weights of {theirs}, not of {name}", f"build {theirs}")
    fixed = {"image_size": image_size, "small": small or None, **arguments}
    if changed := [key for key, value in fixed.items() if value is not None]:
        raise UsageError(
            f"{weights} fixes {', '.join(changed)}", "leave that out; num_classes and in_chans may be given"
        )
    return import_weights(weights, official(weights), num_classes=num_classes, in_chans=in_chans)[0]
