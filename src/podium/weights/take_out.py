"""Save a checkpoint again without layers that its answers do not need, and the line that does so."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from podium.errors import ModelFileError
from podium.files import shell_word
from podium.weights.foreign import read_checkpoint
from podium.weights.pixel_means import is_called_a_mean


def line_without(path: Path, layers: Iterable[str]) -> str:
    """What to run so that layers are out of a checkpoint, and what to give then.

    Args:
        path: of the checkpoint.
        layers: names of them, or of single tensors.
    """
    out = f"{path.stem}-net.safetensors"
    given = ", ".join(json.dumps(each, ensure_ascii=False) for each in (path.name, out, *layers))
    line = f"from podium.weights.take_out import save_without; save_without({given})"
    return f"run python -c {shell_word(line)} beside it, and give {out}"


def save_without(path: str, out: str, *layers: str) -> None:
    """Write the tensors of a checkpoint and its names of classes as safetensors, without some layers.

    Args:
        path: of the checkpoint, in any form that Podium reads.
        out: the file to write.
        layers: names of layers, or of single tensors.

    Raises:
        ModelFileError: the file is no checkpoint, or `out` exists.
    """
    from safetensors.torch import save_file

    held = read_checkpoint(Path(path))
    if Path(out).exists():
        raise ModelFileError(f"{out}: exists", "move it away, or name another file")
    under = tuple(f"{layer}." for layer in layers)
    left = {k: v.contiguous().clone() for k, v in held.tensors.items() if k not in layers and not k.startswith(under)}
    unreadable = [None]
    named = {place.partition(" in ")[0]: json.dumps(names or unreadable) for place, names in held.named.items()}
    unread = {name: "not read" for name in held.beside if is_called_a_mean(name)}
    save_file(left, out, named | unread)
