"""Other people's checkpoints, read into our names. A pickle is opened with `weights_only` and in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from podium.errors import ModelFileError
from podium.models.blocks import Grid
from podium.models.convnet import ConvNet, meta
from podium.models.registry import InOrder, Rules, create_model, find_peer

# Runs in the child: tensors out of the pickle and into safetensors; anything else in the file is left behind.
_READ_PICKLE = """
import sys, torch
from safetensors.torch import save_file
content = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
for key in ("state_dict", "model", "model_state_dict"):
    if isinstance(content, dict) and isinstance(content.get(key), dict):
        content = content[key]
tensors = {k: v.contiguous().clone() for k, v in content.items() if isinstance(v, torch.Tensor)}
save_file(tensors, sys.argv[2])
"""


def read_foreign(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors`, `.pt`, `.pth` or `.th` file, by the names they have there.

    Raises:
        ModelFileError: missing, damaged, not a weight file, or a pickle that would run code.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelFileError(f"{path}: no such file", "give the path of a downloaded checkpoint")
    with path.open("rb") as file:
        head = file.read(16)
    if head[8:9] == b"{":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ModelFileError(f"{path}: a damaged safetensors file ({error})", "download it again") from None
    if not head.startswith((b"PK\x03\x04", b"\x80")):
        raise ModelFileError(f"{path}: not a model file (it starts with {head!r})", "download it again")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "weights.safetensors"
        child = subprocess.run(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-P", "-c", _READ_PICKLE, str(path), str(out)], capture_output=True, text=True, check=False
        )
        if child.returncode != 0:
            reason = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
            if "weights_only" in child.stderr or "UnpicklingError" in child.stderr:
                raise ModelFileError(
                    f"{path}: holds more than weights, and opening it could run code",
                    "where you trust it, save its state_dict as .safetensors and give that",
                )
            raise ModelFileError(f"{path}: damaged or not a checkpoint ({reason})", "download it again")
        return load_file(out)


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
    state = read_foreign(path)
    library = source.partition(":")[0]
    net = meta(lambda: create_model(known.model, **known.arguments))
    state = rename(state, known.rules, net)
    arguments = dict(known.arguments)
    if net.auxiliary and not any(key.startswith("auxiliary.") for key in state):
        arguments["aux"] = False  # files that ship often have none
    held = state.get("head.classifier.weight")
    first = state.get(first_conv(net) + ".weight")
    if held is not None:
        arguments["num_classes"] = held.shape[0]
    if first is not None:
        arguments["in_chans"] = first.shape[1]
    net = create_model(known.model, **arguments)
    own = net.state_dict()
    if library == "keras":
        _channels_first(net, state)
    for key, value in state.items():
        if key in own and value.shape != own[key].shape and value.flatten(1).shape == own[key].flatten(1).shape:
            state[key] = value.reshape(own[key].shape)  # a fully connected layer that was written as a convolution
        if value.is_floating_point():
            state[key] = state[key].float()
    load_state(net, state, str(path))
    notes = []
    if in_chans is not None and in_chans != net.spec["in_chans"]:
        notes.append(
            f"the first convolution reads {in_chans} channels, not {net.spec['in_chans']}: its filters are adapted"
        )
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
