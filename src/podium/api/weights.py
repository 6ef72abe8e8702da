"""`podium.import_weights`: other libraries' checkpoints as bundles."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
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
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
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
            folders or a table of images, whose classes are then put in order. If None: those that the file itself names, or else
            those on record for the source.
        class_order: how the classes of a data set are ordered: "text" (1, 10, 2), as torchvision's ImageFolder and Keras number
            them, or "natural" (1, 2, 10), as Podium does. If None: as text for class folders, and natural for a table.
        ema: take the EMA weights of a checkpoint that has both.
        mean, std: by which pixels from 0 to 1 were normalised for the network, one number for all channels or one a channel,
            red first. If None: what the file itself does to pixels, or else what networks of this source usually get.

    Returns:
        The bundle: network, class names, preprocessing and card.

    Raises:
        UsageError: the library or network is unknown, an order has no effect, only one of `mean` and `std` is given, or `out`
            holds something already.
        ModelFileError: the file does not hold the weights of that network, or does something to pixels that no mean and
            standard deviation say.
        DataError: the class names cannot be read, occur twice, or are not as many as the classes.
    """
    _refuse_order(class_order, classes)
    stated = _statistics(mean, std)
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
        stated=stated,
    )
    if names is not None:
        made.card["notes"] += names.notes
    if out is not None:
        bundle.save(Path(out), made.model, made.classes, made.preprocessing, made.card)
    return made


def _refuse_order(class_order: str | None, classes: object) -> None:
    """Refuse an order that is not known, or that orders nothing."""
    if class_order not in (None, *ORDERS):
        raise UsageError(f"class_order: {class_order!r}", f"give {' or '.join(ORDERS)}")
    if class_order is not None and classes is None:
        what = f"class_order: {class_order!r} does nothing here: it is the order of the classes of a data set"
        raise UsageError(what, "give --classes DATA, or leave it out")


def _statistics(
    mean: float | Sequence[float] | None, std: float | Sequence[float] | None
) -> tuple[Sequence[float], Sequence[float]] | None:
    """Mean and standard deviation as numbers for each channel; None where neither is given."""
    if (mean is None) != (std is None):
        given, missing = ("mean", "std") if std is None else ("std", "mean")
        raise UsageError(f"{given}: does nothing without {missing}", f"give --{missing} too, or leave both out")
    if mean is None or std is None:
        return None
    means, stds = ((value,) if isinstance(value, int | float) else tuple(value) for value in (mean, std))
    for name, values in (("mean", means), ("std", stds)):
        if not values or not all(isfinite(value) for value in values):
            raise UsageError(f"{name}: {list(values)}", "give one finite number, or one for each channel")
    if min(stds) <= 0:
        raise UsageError(f"std: {min(stds):g}", "give numbers above 0, for pixels from 0 to 1")
    return means, stds
