"""`podium.import_weights`: other libraries' checkpoints as bundles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from podium.calls import public
from podium.data.class_names import ORDERS, Order, read_class_names
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
    classes: str | Path | Sequence[str] | None = None,
    class_order: Order | None = None,
    ema: bool = False,
) -> Bundle:
    """Turn another library's checkpoint into a bundle.

    Args:
        source: "torchvision:resnet50", "timm:resnet50.tv_in1k", "keras:Xception", "akamaster:resnet20" and the like.
        path: the downloaded file; the index or the folder of one in parts; None downloads the official one.
        out: a folder that the bundle is also written to.
        num_classes: the size of a fresh classifier that replaces the checkpoint's own.
        in_chans: the number of input channels that the first convolution is adapted to.
        classes: the names of the classes in the order of the network's outputs; or a file of them (text with a name a line,
            JSON, YAML or CSV); or a run or bundle that has the same; or the data set that the network was trained on, class
            folders or a table of images, whose classes are then put in order.
        class_order: how the classes of a data set are ordered: "text" (1, 10, 2), as torchvision's ImageFolder and Keras number
            them, or "natural" (1, 2, 10), as Podium does. If None: as text for class folders, and natural for a table.
        ema: take the EMA weights of a checkpoint that has both.

    Returns:
        The bundle: network, class names, preprocessing and card.

    Raises:
        UsageError: the library or network is unknown, an order has no effect, or `out` holds something already.
        ModelFileError: the file does not hold the weights of that network.
        DataError: the class names cannot be read, occur twice, or are not as many as the classes.
    """
    if class_order not in (None, *ORDERS):
        raise UsageError(f"class_order: {class_order!r}", f"give {' or '.join(ORDERS)}")
    if class_order is not None and classes is None:
        what = f"class_order: {class_order!r} does nothing here: it is the order of the classes of a data set"
        raise UsageError(what, "give --classes DATA, or leave it out")
    if out is not None and Path(out).exists() and any(Path(out).iterdir()):
        raise UsageError(f"{out}: exists already", "name another folder with -o")
    names = read_class_names(classes, class_order) if classes is not None else None
    made = bundle.from_peer(
        source,
        Path(path) if path is not None else None,
        num_classes,
        in_chans,
        classes=names.names if names is not None else None,
        ema=ema,
    )
    if names is not None:
        made.card["notes"] += names.notes
    if out is not None:
        bundle.save(Path(out), made.model, made.classes, made.preprocessing, made.card)
    return made
