"""`podium.load`: open a run, a bundle or an exported file. Torch is imported for runs and bundles only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.calls import public
from podium.deployment.runtime import Exported, is_exported, load_exported
from podium.devices import parse_device, pick_device
from podium.errors import UsageError

if TYPE_CHECKING:
    from podium.runs.bundle import Bundle


@public
def load(path: str | Path, *, device: str = "cpu", **how: Any) -> Bundle | Exported:
    """Read a run folder, a bundle or an exported file.

    Args:
        path: a run folder or bundle, a comparison's folder (for the run it recommends), an `.onnx` or `.xml` file, or a folder
            that `podium quantize` made.
        device: what computes a run or bundle: "cpu", "cuda", "cuda:1", "mps", or "auto" for a GPU where there is one.
        how: engine=, dtype=, threads= for an exported file, as `load_exported` takes them.

    Returns:
        `.classes`, `.preprocessing`, `.card`, `.predict(images, top)`; of a run or bundle also `.model`.

    Raises:
        ModelFileError: not one of these, damaged, or without classes or preprocessing.
        UsageError: an engine is given for a run or bundle, or another device than the processor for an exported file.
        MachineError: the machine has no such device.
    """
    if is_exported(path):
        if parse_device(device) not in ("auto", "cpu"):
            what = f"device: {device}, but {path} is an exported file, which its engine computes on the processor"
            raise UsageError(what, "leave it out, or give the run that the file was made from")
        return load_exported(path, **how)
    if how:
        raise UsageError(f"{', '.join(how)}: {path} is not an exported file", "torch runs a run or bundle")
    from podium.runs import bundle

    model = bundle.load(path)
    model.model.to(pick_device(device))
    return model
