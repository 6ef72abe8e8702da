"""The card of a run's weights and its result, and the checks that both can be written before the first step."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from podium import __version__
from podium.data.dataset import Split
from podium.data.groups import group_keys
from podium.data.loader import Loader
from podium.data.names import is_text
from podium.errors import DataError, MachineError
from podium.evaluation.evaluate import Outputs, evaluate
from podium.files import json_text, without_folders, write_atomic
from podium.models.convnet import ConvNet
from podium.runs import checkpoint
from podium.runs.answers import CONFIDENCE
from podium.runs.folder import PREDICTIONS, RESULT, RunFolder
from podium.settings import PRECISION, Settings, parse_recall
from podium.training.confidence import fit_confidence, is_handed_over, not_fitted
from podium.training.distributed.parallel import Ranks
from podium.training.plan import Plan


def check_disk(folder: RunFolder, net: ConvNet, optimizer: torch.optim.Optimizer, s: Settings) -> None:
    """Check before the first step that the disk has room for two checkpoints, a third that is being written, and two bundles.

    A run needs this much at its peak, whether or not it keeps a checkpoint in the end.

    Raises:
        MachineError: there is less room.
    """
    weights = sum(t.numel() * t.element_size() for t in net.state_dict().values())
    copies = 1 + {"sgd": 1, "rmsprop": 2, "adam": 2, "adamw": 2, "muon": 2}[s.optimizer] + (s.ema > 0)
    there = sum(path.stat().st_size for path in checkpoint.newest(folder.path))
    needed, free = (3 * copies + 2) * weights - there, shutil.disk_usage(folder.path).free
    if free < needed:
        what = f"disk full: need {needed / 1e6:.0f} MB, have {free / 1e6:.0f} MB at {folder.path}"
        raise MachineError(what, "free some space, or name another folder with -o")


def card(
    plan: Plan, split: str, step: int, scores: dict[str, Any], confidence: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return what the card of a run's weights says about their origin.

    Args:
        plan: of the run.
        split: that the scores are of.
        step: steps taken.
        scores: of the weights.
        confidence: how far their confidences can be trusted, once that is known.
    """
    s = plan.settings
    return {
        "podium": __version__,
        "torch": torch.__version__,
        "data": plan.data.name,
        "data_sha256": plan.fingerprint,
        "held_out": plan.data.held_out,
        "split": split,
        "steps": step,
        "seed": s.seed,
        "recipe": s.recipe,
        "flip": s.flip,
        **plan.parents,
        "start": plan.start,
        "scores": scores,
        **({} if confidence is None else {CONFIDENCE: confidence}),
    }


def rehearse(plan: Plan) -> None:
    """Make the card and the result without their numbers, so that what cannot be written is found before the first step.

    Raises:
        DataError: names what cannot be written.
    """
    for name in plan.data.classes:
        if not is_text(name):
            what = (
                f"{plan.data.name}: the name of class {name!r} is not a text of UTF-8, which no card or report can hold"
            )
            raise DataError(what, "rename it")
    at = checkpoint.Position(seconds=1.0, threads=[1])
    try:
        json_text([card(plan, plan.evaluation_split, 0, {}), facts(plan, at, "", 0)])
    except (TypeError, ValueError) as error:
        raise DataError(f"{plan.data.name}: its result could not be written ({error})", "give plain values") from None


def evaluate_together(net: ConvNet, loader: Loader, ranks: Ranks) -> Outputs:
    """Evaluate a network on a split that the ranks share; each returns the outputs for all images.

    Args:
        net: the same on every rank, but for batch-norm statistics, which become those of rank 0.
        loader: of this rank's part of the split.
        ranks: that share it.
    """
    ranks.same_buffers(net)
    part = evaluate(net, loader)
    return Outputs(ranks.joined(part.logits), ranks.joined(part.labels))


def confidence_of(plan: Plan, validation: Outputs | None, reported: Outputs) -> dict[str, Any]:
    """Fit what a card says of confidence on the validation images, and measure it on the images that the result reports.

    Args:
        plan: of the run.
        validation: the outputs of the network that is saved for the validation images; None where the run has none besides
            those that the result reports.
        reported: its outputs for the images that the result reports.
    """
    if validation is None:
        return not_fitted(plan.evaluation_split, after_folds=is_handed_over(plan.settings))
    splits = plan.monitor, plan.evaluation_split
    return fit_confidence(validation, reported, plan.data.classes, parse_recall(plan.settings.recall), splits)


@dataclass(frozen=True)
class Predicted:
    """What a network says of some images.

    Args:
        outputs: of the saved weights.
        groups: (N,) the key of each image's group; None where images have no groups.
    """

    outputs: Outputs
    groups: np.ndarray | None = None

    @classmethod
    def of(cls, outputs: Outputs, split: Split) -> Predicted:
        """The outputs for a split, with the groups of its images."""
        return cls(outputs, group_keys(split))


def write_result(
    folder: RunFolder,
    known: dict[str, Any],
    scores: dict[str, Any],
    reported: Predicted,
    validation: Predicted | None = None,
) -> None:
    """Write the predictions, then `result.json`, with which the run is finished.

    Args:
        folder: of the run.
        known: its `facts`.
        scores: of the images that the result reports, from `metrics.summarize`.
        reported: the predictions for these images.
        validation: those for the validation images, where the run has some besides.
    """
    write_predictions(folder, reported, validation)
    rate = known["steps"] * known["batch_size"] / max(known["seconds"], 1e-3)
    folder.write_json(RESULT, {**known, "images_per_second": round(rate, 1), **scores})


def facts(plan: Plan, at: checkpoint.Position, weights: str, size: int) -> dict[str, Any]:
    """Return what a result says beside its scores.

    Args:
        plan: of the run.
        at: the end of the run.
        weights: which epoch's weights are saved, in words.
        size: of their file in bytes.
    """
    s = plan.settings
    return {
        "model": s.model,
        "seed": s.seed,
        "data": plan.data.name,
        "classes": list(plan.data.classes),
        "split": plan.evaluation_split,
        "weights": weights,
        "start": plan.start,
        "parent": without_folders(plan.parents.get("parent")),
        "epochs": round(at.step / len(plan.train), 2),
        "steps": at.step,
        "devices": at.devices[-1],
        "threads": at.threads[-1],
        **({"platform": at.platforms[-1]} if at.platforms else {}),
        "precision": PRECISION.get(s.amp, "float32"),
        "bit_comparable": at.bit_comparable,
        "batch_size": plan.train.batch_size,
        "seconds": round(at.seconds, 3),
        "image_size": s.image_size,
        "small": s.small,
        "params": plan.cost.params,
        "macs": plan.cost.macs,
        "size_bytes": size,
        "skipped": [list(pair) for pair in plan.data.skipped],
    }


def write_predictions(folder: RunFolder, reported: Predicted, validation: Predicted | None) -> None:
    """Write the outputs of a run, and the key of each image's group where images have groups."""
    arrays: dict[str, np.ndarray | None] = {}
    for prefix, predicted in (("", reported), ("val_", validation)):
        if predicted is not None:
            arrays[f"{prefix}logits"], arrays[f"{prefix}labels"] = predicted.outputs.logits, predicted.outputs.labels
            arrays[f"{prefix}groups"] = predicted.groups
    buffer = io.BytesIO()
    np.savez(buffer, **{name: values for name, values in arrays.items() if values is not None})  # type: ignore[arg-type]
    write_atomic(folder / PREDICTIONS, buffer.getvalue())
