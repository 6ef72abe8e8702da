"""`podium.verify`: the files of a model checked against their recorded digests, and the weights that the model came from.

Each file is opened by the reader of everyday use, so that what passes here is what `podium predict` and `--resume` accept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from podium.calls import public
from podium.deployment.described import described, read_bytes
from podium.deployment.runtime import engine_here, file_of, is_exported, load_exported
from podium.errors import ModelFileError, PodiumError, UsageError
from podium.files import PIN, content_digest
from podium.runs.recommended import run_of
from podium.weights.sharded import files_of

CARD = "card.json"


@public
def verify(path: str | Path) -> dict[str, Any]:
    """Check the files of a model against the digests that were recorded when they were written.

    Args:
        path: a run folder, a bundle, or a comparison's folder for the run it recommends. Also an exported file or a folder
            that `podium quantize` made, which need no torch.

    Returns:
        {path, ok, files: [{file, sha256, checked, error}], origins: [{as, source, sha256, state, origins}]}. `error` is None
        if the file is as it was written; `checked` is false for a card without a digest. `origins` are the weights that the
        model came from, whose `state` is "unchanged", "changed", "gone", or None if it is not known where they lie.

    Raises:
        ModelFileError: there is no model at the path.
        UsageError: the file is of a format that carries no digest.
    """
    path = run_of(path)
    files, card = _exported(file_of(path)) if is_exported(path) else _bundle(path)
    ok = all(row["error"] is None for row in files)
    folder = path if path.is_dir() else path.parent
    return {"path": str(path), "ok": ok, "files": files, "origins": _origins(card, folder, frozenset())}


def _row(path: Path, error: str | None) -> dict[str, Any]:
    """What is said of one file."""
    return {"file": path.name, "sha256": digest(path), "checked": True, "error": error}


def digest(path: Path) -> str | None:
    """The SHA-256 of a file, or None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _source_digest(source: Path) -> str | None:
    """The SHA-256 of a run's weights or of another library's file, also of one in parts; None if it cannot be read."""
    if source.is_dir():
        return digest(source / "model.safetensors")
    try:
        main, parts = files_of(source)
        return content_digest(main, *(parts or ()))
    except (OSError, PodiumError):
        return None


def _error_of(read: Callable[[], Any]) -> str | None:
    """What is wrong with a file, by the function that reads it; None if nothing is."""
    try:
        read()
    except PodiumError as error:
        return error.what
    return None


def _exported(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The files of an exported network with what is wrong with each, and its card."""
    if path.suffix.lower() == ".pt2":
        raise UsageError(f"{path}: torch's format carries no digest", "verify the run, or its .onnx")
    parts = [path, path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else [path]
    for part in parts:
        read_bytes(part)
    card: dict[str, Any] = {}
    problem = _error_of(lambda: card.update(described(path).card))
    if problem is None and engine_here(path) is not None:  # only an engine can say whether it takes the graph
        problem = _error_of(lambda: load_exported(path))
    rows = [_row(part, problem) for part in parts]
    recorded = _json(path.with_name(CARD)).get("sha256")  # in a folder that `podium quantize` made
    for row in rows:
        if row["error"] is None and isinstance(recorded, dict) and recorded.get(row["file"]) != row["sha256"]:
            row["error"] = f"{path.with_name(row['file'])}: not the file that {CARD} beside it names"
    return rows, card


def _bundle(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The files of a run or bundle with what is wrong with each, and its card."""
    from podium.runs import bundle, checkpoint

    folder = path.parent if path.name in (bundle.WEIGHTS, bundle.CARD) else path
    checkpoints = list(checkpoint.newest(folder))
    if not (folder / bundle.CARD).is_file() and not checkpoints:
        what = "no run, bundle or exported file" if folder.exists() else "no such file or folder"
        raise ModelFileError(f"{folder}: {what}", "give the folder of a run, or an exported file")
    rows = []
    if (folder / bundle.CARD).is_file():
        problem = _error_of(lambda: bundle.load(folder))
        weights = problem if problem is not None and bundle.WEIGHTS in problem else None
        rows = [_row(folder / bundle.WEIGHTS, weights), _row(folder / bundle.CARD, None if weights else problem)]
        rows[1]["checked"] = bundle.SEAL in _json(folder / bundle.CARD)
    rows += [_row(file, _error_of(partial(checkpoint.read, file))) for file in checkpoints]
    return rows, _json(folder / bundle.CARD)


def _json(path: Path) -> dict[str, Any]:
    """The content of a card; empty if there is none or it cannot be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _origins(card: dict[str, Any], folder: Path, below: frozenset[str]) -> list[dict[str, Any]]:
    """The weights that a card names, with those that their own cards name.

    The run's settings say where the weights lie. A card whose run is not here has their names and digests only.

    Args:
        card: the card.
        folder: the folder that it lies in.
        below: the names that led to this card, so that a circle ends.
    """
    from podium.runs.folder import source_on_record

    made = card.get("made")
    named: list[tuple[str, Any]] = [("parent", card.get("parent")), ("teacher", card.get("teacher"))]
    named += [(f"{key} of the start", made.get(key)) for key in ("parent", "teacher")] if isinstance(made, dict) else []
    found: list[dict[str, Any]] = []
    for role, name in named:
        if isinstance(name, dict):  # an exported file knows the digest alone: it is made to leave its machine
            found.append({"as": role, "source": None, "sha256": name.get("sha256"), "state": None, "origins": []})
        if not isinstance(name, str) or name in below:
            continue
        where, _, recorded = source_on_record(folder, name).partition(PIN)
        if not recorded or not Path(where.partition("=")[2] or where).is_absolute():
            known = {"source": where, "sha256": recorded} if recorded else {"source": None, "sha256": where}
            found.append({"as": role, **known, "state": None, "origins": []})
            continue
        source = Path(where) if Path(where).exists() else Path(where.partition("=")[2] or where)
        now = _source_digest(source)
        state = "gone" if now is None else "unchanged" if now == recorded else "changed"
        above = _origins(_json(source / CARD), source, below | {name}) if state == "unchanged" else []
        found.append({"as": role, "source": where, "sha256": recorded, "state": state, "origins": above})
    return found
