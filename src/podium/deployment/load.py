"""`podium.load`: open a run, a bundle or an exported file. Torch is imported for runs and bundles only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.calls import public
from podium.deployment.runtime import Exported, is_exported, load_exported
from podium.errors import UsageError

if TYPE_CHECKING:
    from podium.runs.bundle import Bundle


@public
def load(path: str | Path, **how: Any) -> Bundle | Exported:
    """Read a run folder, a bundle or an exported file.

    Args:
        path: a run folder or bundle, a comparison's folder (for the run it recommends), an `.onnx` or `.xml` file, or a folder
            that `podium quantize` made.
        how: engine=, dtype=, threads= for an exported file, as `load_exported` takes them.

    Returns:
        `.classes`, `.preprocessing`, `.card`, `.predict(images, top)`; of a run or bundle also `.model`.

    Raises:
        ModelFileError: not one of these, damaged, or without classes or preprocessing.
    """
    if is_exported(path):
        return load_exported(path, **how)
    if how:
        raise UsageError(f"{', '.join(how)}: {path} is not an exported file", "torch runs a run or bundle")
    from podium.runs import bundle

    return bundle.load(path)
