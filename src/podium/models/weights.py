"""Other people's checkpoints, read into our names by the rules of the families."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from podium.errors import ModelFileError, UsageError
from podium.models.blocks import Grid
from podium.models.convnet import ConvNet, meta
from podium.models.foreign import read_foreign
from podium.models.registry import InOrder, Rules, build_model, find_peer


def load_state(net: ConvNet, state: dict[str, Tensor], origin: str) -> None:
    """Fill a network with weights of exactly its names and shapes.

    Raises:
        ModelFileError: names the first missing, unexpected and mismatched ones.
    """
    own = net.state_dict()
    mismatched = [
        f"{k} is {tuple(state[k].shape)}, not {tuple(v.shape)}"
        for k, v in own.items()
        if k in state and state[k].shape != v.shape
    ]
    wrong = {
        "missing": [k for k in own if k not in state and not k.endswith("num_batches_tracked")],
        "unexpected": [k for k in state if k not in own],
        "mismatched": mismatched,
    }
    if any(wrong.values()):
        listed = "; ".join(f"{len(v)} {kind}: {', '.join(v[:5])}" for kind, v in wrong.items() if v)
        raise ModelFileError(
            f"{origin}: not the weights of {net.spec['model']} ({listed})", "name the architecture they are of"
        )
    net.load_state_dict(state, strict=False)


def import_weights(
    source: str, path: Path, *, num_classes: int | None = None, in_chans: int | None = None
) -> tuple[ConvNet, list[str]]:
    """A network filled from a peer's checkpoint.

    Args:
        source: "LIBRARY:NAME", such as "torchvision:resnet50".
        path: the downloaded file.
        num_classes: put a fresh head of this size on it, where it has another.
        in_chans: sum or spread the first convolution's filters over this many channels, where it has others.

    Returns:
        The network, and a line for each thing that is not as it is in the file.

    Raises:
        UsageError: an unknown peer or network, or one whose weights have no rules here.
        ModelFileError: the file is not those weights.
    """
    known = find_peer(source)
    for what, asked, least in (("num_classes", num_classes, 2), ("in_chans", in_chans, 1)):
        if asked is not None and asked < least:
            raise UsageError(f"{what}: {asked}", f"give at least {least}")
    state = read_foreign(path)
    arguments, notes = dict(known.arguments), []
    blank = meta(lambda: build_model(known.model, **known.arguments))
    state = rename(state, known.rules, blank)
    if blank.auxiliary and not any(key.startswith("auxiliary.") for key in state):
        arguments["aux"] = False  # files that are shipped often have none
    first, head = state.get(f"{first_conv(blank)}.weight"), state.get("head.classifier.weight")
    if first is not None and first.ndim == 4:
        arguments["in_chans"] = first.shape[1]
    if head is not None:
        arguments["num_classes"] = head.shape[0]
    elif num_classes is not None:
        arguments["num_classes"] = num_classes
    net = build_model(known.model, **arguments)
    own = net.state_dict()
    if head is None and num_classes is not None:  # Keras's "notop"
        notes.append(f"the file has no classifier: a fresh one for {num_classes} classes")
        state |= {key: value for key, value in own.items() if key.startswith("head.")}
    if source.startswith("keras:"):
        _channels_first(net, state)
    for key, value in state.items():
        if key in own and value.shape != own[key].shape and value.flatten(1).shape == own[key].flatten(1).shape:
            value = value.reshape(own[key].shape)  # a fully connected layer that was written as a convolution
        state[key] = value.float() if value.is_floating_point() else value
    load_state(net, state, str(path))
    if in_chans is not None and in_chans != net.spec["in_chans"]:
        notes.append(f"the first convolution is adapted from {net.spec['in_chans']} to {in_chans} channels")
        adapt_channels(net, in_chans)
    if num_classes is not None and num_classes != net.spec["num_classes"]:
        notes.append(f"the classifier is fresh: {num_classes} classes, not {net.spec['num_classes']}")
        net.reset_head(num_classes)
    return net, notes


def rename(state: dict[str, Tensor], rules: Rules, net: ConvNet) -> dict[str, Tensor]:
    """Weights by our names, by one rule after the other."""
    for pattern, replacement in rules:
        target: Any = replacement
        if isinstance(replacement, InOrder):
            target = _numbered(pattern, replacement, list(state), net)
        state = {re.sub(pattern, target, key): value for key, value in state.items()}
    return state


def _numbered(pattern: str, rule: InOrder, keys: list[str], net: ConvNet) -> Callable[[re.Match[str]], str]:
    """From the number in a peer's name to the layer of ours that has its rank."""
    numbers = sorted({int(match[1]) for key in keys if (match := re.search(pattern, key))})
    ours = [n for n, m in net.named_modules() if isinstance(m, rule.kind) and re.search(rule.where, n)]
    names = dict(zip(numbers, ours, strict=False))
    return lambda match: f"{names[int(match[1])]}." if int(match[1]) in names else f"unknown.{match[1]}."


def _channels_first(net: ConvNet, state: dict[str, Tensor]) -> None:
    """Keras flattens maps with the channels last: the columns of the layer that reads them change places."""
    if isinstance(grid := net.head.pool, Grid):
        key = next(f"head.{n}.weight" for n, m in net.head.named_modules() if isinstance(m, nn.Linear))
        if key in state and state[key].shape[1] % grid.side**2 == 0:
            state[key] = state[key].unflatten(1, (grid.side, grid.side, -1)).permute(0, 3, 1, 2).flatten(1)


def first_conv(net: ConvNet) -> str:
    """The name of the convolution that reads the image."""
    return next(name for name, m in net.named_modules() if isinstance(m, nn.Conv2d))


@torch.no_grad()
def adapt_channels(net: ConvNet, in_chans: int) -> None:
    """Let the first convolution read another number of channels.

    One channel takes the sum of the filters, which answers grey as it answered the same grey in all channels; more repeat
    them in turn, scaled so that the sum stays.
    """
    name = first_conv(net)
    old = net.get_submodule(name)
    weight: Tensor = old.weight  # type: ignore[assignment]
    had = weight.shape[1]
    fresh = weight.sum(1, keepdim=True) if in_chans == 1 else weight[:, torch.arange(in_chans) % had] * (had / in_chans)
    old.weight, old.in_channels = nn.Parameter(fresh.contiguous()), in_chans  # type: ignore[assignment]
    net.spec = {**net.spec, "in_chans": in_chans}
