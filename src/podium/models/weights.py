"""Other people's checkpoints, read into our names. A pickle is opened with `weights_only` and in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from podium.errors import ModelFileError, UsageError, closest
from podium.models.convnet import ConvNet
from podium.models.registry import architecture, create_model

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


# Where a peer's networks differ from ours of the same name: arguments that make ours theirs.
PEER_ARGUMENTS: dict[str, dict[str, Any]] = {"akamaster": {"shortcut": "A-split"}}


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


def import_weights(source: str, path: Path, *, num_classes: int | None = None, in_chans: int | None = None) -> ConvNet:
    """A network filled from a peer's checkpoint.

    Args:
        source: "PEER:NAME", such as "akamaster:resnet20".
        path: the downloaded file.
        num_classes: put a fresh head of this size on it.
        in_chans: only the checkpoint's own number at present.

    Raises:
        UsageError: an unknown peer or network, or one whose weights have no rules here.
        ModelFileError: the file is not those weights.
    """
    peer, _, name = source.partition(":")
    if peer not in PEER_ARGUMENTS:
        raise UsageError(f"no rules for weights of {peer!r}", closest(peer, list(PEER_ARGUMENTS)) or "known: akamaster")
    known = architecture(name)
    rules = known.peers.get(peer)
    if rules is None or PEER_ARGUMENTS[peer].keys() & known.arguments.keys():  # plain20 has no shortcuts to change
        raise UsageError(f"no rules for the weights of {peer}'s {name}", f"`podium models` lists what {peer} has")
    state = read_foreign(path)
    for pattern, replacement in rules:
        state = {re.sub(pattern, replacement, key): value for key, value in state.items()}
    classes = state["head.classifier.weight"].shape[0] if "head.classifier.weight" in state else None
    net = create_model(name, num_classes=classes, in_chans=in_chans, **PEER_ARGUMENTS[peer])
    load_state(net, {k: v.to(torch.float32) if v.is_floating_point() else v for k, v in state.items()}, str(path))
    if num_classes is not None and num_classes != classes:
        net.reset_head(num_classes)
    return net
