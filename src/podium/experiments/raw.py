"""The raw file of a claim: everything that its verdicts follow from, as JSON."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from podium import __version__
from podium.errors import DataError, UsageError
from podium.experiments.claim import Claim, Protocol, Scale
from podium.experiments.experiment import Result
from podium.experiments.verdict import Evidence, Finding
from podium.files import disk_error, write_json
from podium.platform import cores

KINDS: dict[str, type | tuple[type, ...]] = {  # what the page reads of a raw file
    "claim": str,
    "title": str,
    "source": str,
    "scale": str,
    "command": str,
    "threads": int,
    "date": str,
    "seconds": (int, float),
    "protocol": (dict, type(None)),
    "measured": dict,
    "arms": dict,
    "statements": list,
}


def record(
    claim: Claim,
    scale: Scale,
    measured: dict[str, Any],
    results: dict[str, Result],
    seconds: float,
    fingerprint: str | None,
) -> dict[str, Any]:
    """Everything about a claim that was decided, as plain values.

    Args:
        claim: that was decided.
        scale: of the experiment.
        measured: what was measured without training.
        results: of each arm.
        seconds: that all trainings took, and the measuring.
        fingerprint: of the images; None where nothing is trained.
    """
    import torch

    evidence = evidence_of(measured, {name: result.right for name, result in results.items()})
    protocol = claim.protocol(scale)
    return {
        "claim": claim.name,
        "title": claim.title,
        "source": claim.source,
        "scale": scale,
        "command": command(claim, scale),
        "podium": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": cores(),
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "protocol": None if protocol is None else plain_protocol(protocol),
        "data_fingerprint": fingerprint,
        "measured": measured,
        "arms": {name: _arm(result) for name, result in results.items()},
        "statements": decided(claim, evidence),
    }


def decided(claim: Claim, evidence: Evidence) -> list[dict[str, Any]]:
    """What each statement of a claim says, and what is found of it."""
    return [{"text": each.text, "source": each.source, **plain(each.decide(evidence))} for each in claim.statements]


def command(claim: Claim, scale: Scale) -> str:
    """The command line that decides a claim."""
    return f"podium claims {claim.name}" + (" --scale paper" if scale == "paper" else "")


def plain(finding: Finding) -> dict[str, Any]:
    """A finding as plain values."""
    return {key: value for key, value in dataclasses.asdict(finding).items() if value is not None}


def plain_protocol(protocol: Protocol) -> dict[str, Any]:
    """A protocol with its arms as plain values."""
    named = ("name", "data", "recipe", "train", "val", "test", "side", "crop_pct", "seeds")
    found = {key: value for key in named if (value := getattr(protocol, key)) is not None}
    arms = [
        {
            "name": arm.name,
            "model": dict(arm.model),
            "settings": dict(arm.settings),
            "rates": list(protocol.rates_of(arm)),
            "parent": arm.parent,
        }
        | ({"recipe": arm.recipe} if arm.recipe else {})
        for arm in protocol.arms
    ]
    return found | {"settings": dict(protocol.settings), "arms": arms}


def _arm(result: Result) -> dict[str, Any]:
    facts = {field.name: getattr(result, field.name) for field in dataclasses.fields(result) if field.name != "right"}
    packed = {
        view: {"n": right.shape[1], "top1": right.mean(1).round(5).tolist(), "right": [_packed(run) for run in right]}
        for view, right in result.right.items()
    }
    return facts | {"answers": packed}


def _packed(right: np.ndarray) -> str:
    """Which images are right, a bit each, as base64."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def _unpacked(text: str, n: int) -> np.ndarray:
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=n).astype(bool)


def evidence_of(measured: dict[str, Any], right: dict[str, dict[str, np.ndarray]]) -> Evidence:
    """The evidence of an experiment.

    Args:
        measured: what was measured without training.
        right: arm -> view -> (seeds, images) bool.
    """
    named = {
        name if view == "test" else f"{name}@{view}": each
        for name, views in right.items()
        for view, each in views.items()
    }
    return Evidence(named, measured)


def evidence_in(raw: dict[str, Any]) -> Evidence:
    """The evidence that a raw file holds."""
    right = {
        name: {
            view: np.stack([_unpacked(run, each["n"]) for run in each["right"]])
            for view, each in arm["answers"].items()
        }
        for name, arm in raw["arms"].items()
    }
    return evidence_of(raw["measured"], right)


def file_of(folder: Path, name: str) -> Path:
    """The raw file of a claim in a folder."""
    return folder / f"{name}.json"


def refuse_no_folder(folder: Path, need: str, flag: str) -> None:
    """Refuse a folder that cannot be made or written into, before anything is computed for it.

    Args:
        folder: with the folders around it, those that are still to be made.
        need: what the folder is for: "the results need a folder".
        flag: by which another is given, with its placeholder: "--out DIR".

    Raises:
        UsageError: it is a file, or lies in one.
        MachineError: says why nothing can be written there.
    """
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir():
        raise UsageError(f"{there}: a file, and {need}", f"give a folder with {flag}")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise disk_error(error, folder, 0) from None


def write(folder: Path, raw: dict[str, Any]) -> None:
    """Write the raw file of a claim."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file_of(folder, raw["claim"]), raw)


def read(path: Path) -> dict[str, Any]:
    """Read a raw file.

    Raises:
        DataError: it is damaged.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        for name, kind in KINDS.items():
            if not isinstance(raw, dict) or not isinstance(raw.get(name), kind):
                raise ValueError(f"it has no {name}")
        evidence_in(raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not the raw file of a claim ({error})", "delete it, and run the claim again"
        ) from None
    found: dict[str, Any] = raw
    return found


def same_experiment(raw: dict[str, Any], claim: Claim, scale: Scale) -> bool:
    """Whether a raw file is of the claim as it is now: the same scale and protocol, and statements that find the same in it."""
    protocol = claim.protocol(scale)
    now = None if protocol is None else json.loads(json.dumps(plain_protocol(protocol)))
    if (raw["scale"], raw["protocol"], raw["source"]) != (scale, now, claim.source):
        return False
    evidence = evidence_in(raw)
    known = {*evidence.right, *evidence.measured}
    return (
        all(known.issuperset(each.reads) for each in claim.statements) and decided(claim, evidence) == raw["statements"]
    )


def half_of(values: list[float]) -> float:
    """Half of the 95 % interval of a mean of a few runs, by Student's t: what the error bars show; 0 for one run."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return 0.0
    return float(stdtrit(n - 1, 0.975)) * float(np.std(values, ddof=1)) / math.sqrt(n)
