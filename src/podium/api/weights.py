"""`podium.import_weights`: other libraries' checkpoints as bundles."""

from __future__ import annotations

from pathlib import Path

from podium.calls import public
from podium.errors import UsageError
from podium.runs import bundle
from podium.runs.bundle import Bundle


@public
def import_weights(
    source: str,
    path: str | Path | None = None,
    out: str | Path | None = None,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
) -> Bundle:
    """Turn another library's checkpoint into a bundle.

    Args:
        source: "torchvision:resnet50", "timm:resnet50.tv_in1k", "keras:Xception", "akamaster:resnet20" and the like.
        path: the downloaded file; None downloads the official one.
        out: a folder that the bundle is also written to.
        num_classes: the size of a fresh classifier that replaces the checkpoint's own.
        in_chans: the number of input channels that the first convolution is adapted to.

    Returns:
        The bundle: network, class names, preprocessing and card.

    Raises:
        UsageError: the library or network is unknown, or `out` holds something already.
        ModelFileError: the file does not hold the weights of that network.
    """
    made = bundle.from_peer(source, Path(path) if path is not None else None, num_classes, in_chans)
    if out is not None:
        folder = Path(out)
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder}: exists already", "name another folder with -o")
        bundle.save(folder, made.model, made.classes, made.preprocessing, made.card)
    return made
