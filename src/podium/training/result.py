"""What a run leaves behind: the room it needs on disk, the card of its weights, its result."""

from __future__ import annotations

import io
import shutil
from typing import Any

import numpy as np
import torch

from podium import __version__, bundle
from podium.data.dataset import is_text
from podium.errors import DataError, MachineError
from podium.evaluation.evaluate import Outputs
from podium.files import json_text, write_atomic
from podium.models.convnet import ConvNet
from podium.settings import Settings
from podium.training import state
from podium.training.folder import PREDICTIONS, RESULT, RunFolder
from podium.training.plan import Plan


def check_disk(folder: RunFolder, net: ConvNet, optimizer: torch.optim.Optimizer, s: Settings) -> None:
    """Two checkpoints, a third while it is written, and two bundles must fit: before the first step, not after the last."""
    weights = sum(t.numel() * t.element_size() for t in net.state_dict().values())
    copies = 1 + {"sgd": 1, "rmsprop": 2, "adam": 2, "adamw": 2}[s.optimizer] + (s.ema > 0)
    there = sum(path.stat().st_size for path in state.newest(folder.path))
    needed, free = (3 * copies + 2) * weights - there, shutil.disk_usage(folder.path).free
    if free < needed:
        what = f"disk full: need {needed / 1e6:.0f} MB, have {free / 1e6:.0f} MB at {folder.path}"
        raise MachineError(what, "free some space, or name another folder with -o")


def card(plan: Plan, split: str, step: int, scores: dict[str, Any]) -> dict[str, Any]:
    """What the card of a run's weights says of where they come from."""
    s = plan.settings
    return {
        "podium": __version__,
        "torch": torch.__version__,
        "data": plan.data.name,
        "data_sha256": plan.images,
        "held_out": plan.data.held_out,
        "split": split,
        "steps": step,
        "seed": s.seed,
        "recipe": s.recipe,
        "flip": s.flip,
        **plan.parents,
        "scores": scores,
    }


def rehearse(plan: Plan) -> None:
    """Make what the end writes, with the numbers still to come: what cannot be written is said before the first step.

    Raises:
        DataError: names what it is.
    """
    for name in plan.data.classes:
        if not is_text(name):
            what = (
                f"{plan.data.name}: the name of class {name!r} is not a text of UTF-8, which no card or report can hold"
            )
            raise DataError(what, "rename it")
    at = state.Position(seconds=1.0, threads=[1])
    try:
        json_text([card(plan, plan.judge, 0, {}), _result(plan, at, "", 0, {})])
    except (TypeError, ValueError) as error:
        raise DataError(f"{plan.data.name}: its result could not be written ({error})", "give plain values") from None


def write_result(
    plan: Plan, folder: RunFolder, at: state.Position, shipped: str, outputs: Outputs, scores: dict[str, Any]
) -> None:
    """Write the predictions, then `result.json`, which says that the run is finished; the checkpoint before the last goes.

    Args:
        at: the end.
        shipped: which weights these are.
        outputs: what they say of the images they are judged on.
        scores: of that, from `metrics.summarize`.
    """
    _write_predictions(folder, outputs)
    size = (folder / bundle.WEIGHTS).stat().st_size
    folder.write_json(RESULT, _result(plan, at, shipped, size, scores))
    for path in state.newest(folder.path):
        if path.name != state.LAST:
            path.unlink()


def _result(plan: Plan, at: state.Position, shipped: str, size: int, scores: dict[str, Any]) -> dict[str, Any]:
    s = plan.settings
    return {
        "model": s.model,
        "seed": s.seed,
        "data": plan.data.name,
        "classes": list(plan.data.classes),
        "split": plan.judge,
        "weights": shipped,
        "epochs": round(at.step / len(plan.train), 2),
        "steps": at.step,
        "devices": at.devices[-1],
        "threads": at.threads[-1],
        "bit_comparable": len(at.devices) == len(at.threads) == 1,  # with a run of the same settings
        "seconds": round(at.seconds, 3),
        "images_per_second": round(at.step * plan.train.batch_size / at.seconds, 1),
        "image_size": s.image_size,
        "small": s.small,
        "params": plan.cost.params,
        "macs": plan.cost.macs,
        "size_bytes": size,
        "skipped": [list(pair) for pair in plan.data.skipped],
        **scores,
    }


def _write_predictions(folder: RunFolder, outputs: Outputs) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, logits=outputs.logits, labels=outputs.labels)
    write_atomic(folder / PREDICTIONS, buffer.getvalue())
