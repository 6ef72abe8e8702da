"""Puts a network in int8 where it is to stay, with its card and its table; nothing else that lies there is touched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from podium.errors import UsageError
from podium.files import write_json
from podium.runs.bundle import CARD

REPORT = "quantize.json"


def finish(folder: Path, out: Path, card: dict[str, Any], report: dict[str, Any]) -> None:
    """Write card and report beside the model, and move all of it to where it is to stay.

    Args:
        folder: with the model's files.
        out: where they go.
        card, report: without the digests of those files.
    """
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    write_json(folder / CARD, {**card, "sha256": files})
    write_json(folder / REPORT, report)
    out.mkdir(exist_ok=True)
    with _claimed(out / REPORT):
        for name in (*files, REPORT, CARD):
            os.replace(folder / name, out / name)


def clear(kept: Path) -> None:
    """Remove an earlier network in int8 whose outcome is open, and nothing else that lies there."""
    card = json.loads((kept / CARD).read_text(encoding="utf-8")) if (kept / CARD).is_file() else {}
    for name in (*card.get("sha256", {}), CARD, REPORT):
        (kept / Path(name).name).unlink(missing_ok=True)


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Within it the folder of a file is this process's to fill; another that makes the same is refused."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        what = f"{path.parent}: was made by another process meanwhile"
        raise UsageError(what, "use that, or name another folder with -o") from None
    yield
