"""Load weights into networks: our own state dicts, and the checkpoints of other libraries by the rules of their family."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from podium import imagenet
from podium.errors import ModelFileError, UsageError
from podium.models.convnet import ConvNet
from podium.models.modules import Grid
from podium.models.registry import add_ones, architecture, build_model
from podium.weights.choose import choose
from podium.weights.foreign import read_checkpoint
from podium.weights.front import Front, Prepared, Statistics, prepare_as
from podium.weights.match import first_conv, mismatches, refuse_not_finite
from podium.weights.named import Named
from podium.weights.peers import find_peer

# Of a file of torchvision that its owner trained and that says nothing of pixels.
TRANSFORMED = (
    "preprocessing as after fine-tuning torchvision's own weights, whose transform_input is on: where the network was trained "
    "with it off, give --mean and --std"
)


def load_state(net: ConvNet, state: dict[str, Tensor], origin: str) -> None:
    """Fill a network with weights that have exactly its names and shapes.

    Raises:
        ModelFileError: weights are missing, unexpected, of another shape, or not finite; names the first of them.
    """
    refuse_others(net, state, origin)
    refuse_not_finite(state, origin)
    net.load_state_dict(state, strict=False)


def refuse_others(
    net: ConvNet, state: dict[str, Tensor], origin: str, fix: str = "name the network that they belong to"
) -> None:
    """Refuse what are not the weights of a network, which may be on the meta device.

    Raises:
        ModelFileError: weights are missing, unexpected or of another shape; names the first of them.
    """
    if wrong := mismatches(net.state_dict(), state):
        raise ModelFileError(f"{origin}: not the weights of {net.spec['model']} ({wrong})", fix)


@dataclass(frozen=True)
class Imported:
    """The network of a checkpoint.

    Args:
        net: the network, filled.
        notes: a line for each difference from the file.
        has_head: whether its classifier is the file's.
        drawn: a line that says that the file has no classifier that is taken over; empty where it has one.
        prepared: the preprocessing that the file or the caller names.
        named: what the file has of names of classes.
    """

    net: ConvNet
    notes: list[str]
    has_head: bool
    drawn: str
    prepared: Prepared
    named: Named


def import_weights(
    source: str, path: Path, *, num_classes: int | None = None, in_chans: int | None = None, ema: bool = False
) -> tuple[ConvNet, list[str]]:
    """Build the network of a checkpoint of another library, and fill it.

    Args:
        source: "LIBRARY:NAME", such as "torchvision:resnet50".
        path: the downloaded file, or the index or folder of one in parts.
        num_classes: where it differs from the file's, the network gets a fresh classifier of this size.
        in_chans: where it differs from the file's, the first convolution is adapted to this many channels
            (`adapt_channels`).
        ema: take the EMA weights of a file that has both.

    Returns:
        The network, and a line for each difference from the file.

    Raises:
        UsageError: a library or network without rules, a number below its minimum, or no EMA weights.
        ModelFileError: the file does not hold these weights; names the known network whose weights they are.
    """
    made = read_weights(source, path, num_classes=num_classes, in_chans=in_chans, ema=ema)
    return made.net, [*filter(None, [made.drawn]), *made.notes]


def read_weights(
    source: str,
    path: Path,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    ema: bool = False,
    spare: int | None = None,
    body: bool = False,
    stated: Statistics | None = None,
) -> Imported:
    """Build and fill a network as `import_weights` does, from a file with or without a classifier.

    Args:
        source, path, num_classes, in_chans, ema: see `import_weights`.
        spare: classes of the fresh classifier that a file without one gets; None: as `num_classes`.
        body: leave out a head that may not be the one that answers, as `num_classes` does.
        stated: mean and standard deviation of pixels from 0 to 1 that the network in the file was trained with, red first;
            None: what the file does to them, or else the source's.
    """
    known = find_peer(source)
    for key, value, least in (("num_classes", num_classes, 2), ("in_chans", in_chans, 1)):
        if value is not None and value < least:
            raise UsageError(f"{key}: {value}", f"give at least {least}")
    fresh = num_classes if num_classes is not None else spare
    held = read_checkpoint(path)
    found, notes, front = choose(source, known, held, path, fresh, ema, body or num_classes is not None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a fresh classifier is the same each time
        size, said = _size(found.net, front)
        notes += said
        net, state = build_model(known.model, **found.arguments, **size), found.state
        if not found.has_head:
            state = {key: value for key, value in net.state_dict().items() if key.startswith("head.")} | state
        if source.startswith("keras:"):
            _channels_first(net, state, {key for key in state if key not in found.state})
        if low := sorted({str(v.dtype).removeprefix("torch.") for v in state.values() if _is_other_float(v)}):
            notes.append(f"the weights are {' and '.join(low)} in the file, and float32 here")
        load_state(net, {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, str(path))
        had = net.spec["in_chans"]
        prepared = prepare_as(front, stated, had, known.transforms, known.pixels.get("channel_order", "rgb"))
        if known.transforms and found.has_head and not prepared.origin and net.spec["num_classes"] != imagenet.CLASSES:
            notes.append(TRANSFORMED)
        if in_chans is not None and in_chans != had:
            notes.append(f"the first convolution is adapted from {had} to {in_chans} channels")
            pixels = {**known.pixels, **prepared.pixels}
            adapt_channels(net, in_chans, *(statistics(pixels, channels) for channels in (had, in_chans)))
        elif in_chans is not None:
            notes.append(f"the first convolution reads {had} channels already, and stays as it is")
        replaced = num_classes is not None and num_classes != net.spec["num_classes"]
        if num_classes is not None and replaced:
            notes.append(f"the classifier is fresh: {num_classes} classes, not {net.spec['num_classes']}")
            net.reset_head(num_classes)
        elif num_classes is not None and found.has_head:
            notes.append(f"the classifier has {num_classes} classes already, and stays as it is")
    lacks = "no classifier that is taken over" if found.odd_head else "no classifier"
    drawn = "" if found.has_head else f"the file has {lacks}: a fresh one for {fresh} classes"
    return Imported(net, notes, found.has_head and not replaced, drawn, prepared, held.named)


def _size(net: ConvNet, front: Front | None) -> tuple[dict[str, Any], list[str]]:
    """The argument for the size of a network's images where the file says one, and a note.

    Args:
        net: the network, for images of its usual size.
        front: what the file says of images.
    """
    usual = net.spec["image_size"]
    sides = front.size if front is not None else ()
    if set(sides) <= {usual}:
        return {}, []
    stated = "x".join(map(str, sides))
    least = architecture(net.spec["model"]).smallest(bool(net.spec.get("small")))
    if len({*sides}) > 1 or sides[0] < least or isinstance(net.head.pool, Grid):
        return {}, [
            f"the model in the file reads images of {stated} pixels, and here {usual}x{usual}: its answers differ"
        ]
    return {"image_size": sides[0]}, [f"images of {stated} pixels, as the model in the file reads them"]


def _is_other_float(value: Tensor) -> bool:
    return value.is_floating_point() and value.dtype != torch.float32


def _channels_first(net: ConvNet, state: dict[str, Tensor], fresh: Collection[str]) -> None:
    """Reorder the columns of the first fully connected layer in place: Keras flattens maps with the channels last.

    Args:
        net: the network.
        state: its weights.
        fresh: names of weights that are not the file's.
    """
    if isinstance(grid := net.head.pool, Grid):
        key = next(f"head.{n}.weight" for n, m in net.head.named_modules() if isinstance(m, nn.Linear))
        if key in state and key not in fresh and state[key].shape[1] % grid.side**2 == 0:
            state[key] = state[key].unflatten(1, (grid.side, grid.side, -1)).permute(0, 3, 1, 2).flatten(1)


def statistics(pixels: Mapping[str, Any], channels: int) -> Statistics:
    """Mean and deviation to normalise images of `channels` channels: the peer's own, or their mean for another number of channels."""
    mean, std = pixels["mean"], pixels["std"]
    if len(mean) == channels:
        return mean, std
    return (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels


@torch.no_grad()
def adapt_channels(
    net: ConvNet, in_chans: int, before: Statistics | None = None, after: Statistics | None = None
) -> None:
    """Change the number of channels that the first convolution reads, in place.

    A grey image, repeated in all channels, keeps its logits. The ratio of the standard deviations is folded into the weights.
    Where the means differ, normalised pixels differ by a constant for each channel, but the padding around the image does
    not; one more input channel of ones (`modules.Ones`) carries this constant.

    Args:
        net: the network.
        in_chans: at least 1.
        before, after: mean and standard deviation by which images were and will be normalised; 0 and 1 if None.
    """
    name = first_conv(net)
    layer: Any = net.get_submodule(name)
    had = net.spec["in_chans"]
    old_mean, old_std = (torch.tensor(v, dtype=torch.float64) for v in before or ((0.0,) * had, (1.0,) * had))
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in after or ((0.0,) * in_chans, (1.0,) * in_chans))
    # Pairs of an old and a new channel: of the two, the smaller number of channels is repeated in turn.
    most = max(had, in_chans)
    old, new = torch.arange(most) % had, torch.arange(most) % in_chans
    share = 1 / torch.bincount(old, minlength=had)[old] / old_std[old]  # of the filter, divided by the old deviation
    filters = layer.weight.double()
    parts = filters[:, old] * share.view(1, -1, 1, 1)  # (K, most, h, w)
    fresh = filters.new_zeros(len(filters), in_chans, *filters.shape[2:])
    fresh.index_add_(1, new, parts * std[new].view(1, -1, 1, 1))
    shift = (parts * (mean[new] - old_mean[old]).view(1, -1, 1, 1)).sum(1, keepdim=True)
    ones = bool(net.spec.get("ones"))
    if ones:
        shift += filters[:, had:]
    if bool((mean[new] != old_mean[old]).any()) and not ones:
        add_ones(net)
        ones = True
    if ones:
        fresh = torch.cat([fresh, shift], 1)
    layer.weight, layer.in_channels = nn.Parameter(fresh.to(layer.weight.dtype)), fresh.shape[1]
    net.spec = {**net.spec, "in_chans": in_chans}
