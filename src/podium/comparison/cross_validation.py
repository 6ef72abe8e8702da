"""Cross-validation of networks: the runs of all folds of a network as one result, and the network that is handed over.

Each image is classified once, by the run of its fold, which has not seen it; the epoch of that run was chosen by validation
images among those it trained beside. The pooled answers rank the networks. The one that is recommended is trained once more, on
all images but a small validation part, and its card has the cross-validated accuracy of its kind. Temperature and thresholds
are fitted on the pooled answers, too.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from podium.comparison.leaderboard import Leaderboard
from podium.comparison.rows import Row
from podium.data.dataset import Dataset, Split
from podium.data.folds import in_roles
from podium.data.record import Record
from podium.data.roles import described
from podium.errors import ModelFileError
from podium.evaluation.evaluate import Outputs
from podium.evaluation.metrics import summarize
from podium.runs import bundle
from podium.runs.answers import CONFIDENCE
from podium.runs.folder import RESULT, RunFolder
from podium.runs.recommended import FOLD
from podium.settings import Settings, parse_recall
from podium.training.confidence import check_patience, check_recall, fit_confidence
from podium.training.images import split_seed
from podium.training.result import Predicted, write_result

CROSS_VALIDATED = "cross-validated"  # the split that a pooled result reports
MEANS = ("seconds", "steps", "epochs")  # of a result, over the folds
SAME = (
    "model",
    "start",
    "parent",
    "seed",
    "data",
    "classes",
    "devices",
    "threads",
    "batch_size",
    "image_size",
    "small",
    "params",
    "macs",
)


@dataclass(frozen=True)
class Folds:
    """The images of a cross-validation.

    Args:
        parts: for each fold the images in their roles: its own are "test".
        whole: all images in their roles, for the network that is handed over.
    """

    parts: list[Dataset]
    whole: Dataset

    @classmethod
    def of(cls, data: Dataset, s: Settings, earlier: Record | None) -> Folds:
        """Divide a data set as settings say.

        Args:
            data: with the splits that it was given, or that `load_data` made.
            s: the settings, whose `folds` is a number.
            earlier: the record of starting weights and teacher.

        Raises:
            DataError: a class has too few images for so many folds, or the weights were trained on some of the images.
            UsageError: an operating point is wanted of a class that is not there, or patience where nothing can have it.
        """
        count, seed = s.folds or 1, split_seed(s)
        parts = [in_roles(data, s.val, seed, earlier, count, number, s.test) for number in range(1, count + 1)]
        whole = described(in_roles(data, s.val, seed, earlier, count, test=s.test))
        check_recall(s.recall, whole.classes)
        if "test" not in whole.splits:  # the run that is handed over would refuse it, after all the others
            check_patience(s.patience, "leave it out, or give a test folder, whose images stay out of the folds")
        return cls(parts, whole)

    @property
    def shown(self) -> Dataset:
        """All images, with the split "cross-validated" in the order of the pooled answers."""
        first, *others = [part.splits["test"] for part in self.parts]
        images = first.images
        for split in others:
            images = images.joined(split.images)
        every = [first, *others]
        columns = {name: np.concatenate([split.columns[name] for split in every]) for name in first.columns}
        keys = np.concatenate([split.contents() for split in every])
        tested = Split(np.concatenate([split.labels for split in every]), images, keys, columns)
        return replace(self.whole, splits={**self.whole.splits, CROSS_VALIDATED: tested})


def fold_folder(path: Path, number: int) -> Path:
    """The folder of a fold's run, in that of its network and seed."""
    return path / f"{FOLD}{number}"


def fold_folders(path: Path) -> Iterator[Path]:
    """The folders of the folds that a pooled result is of; none of another run."""
    number = 1
    while (fold := fold_folder(path, number)).is_dir():
        yield fold
        number += 1


def final_folder(out: Path, name: str) -> Path:
    """The folder of the network that is trained on all images, in that of the comparison."""
    return out / f"{name}-final"


def pool(path: Path) -> None:
    """Write the result and the predictions of all folds of a network and seed into the folder that holds their runs.

    Raises:
        ModelFileError: a fold's run is damaged.
    """
    runs = [RunFolder(fold) for fold in fold_folders(path)]
    results, answers = [run.result for run in runs], [run.predictions for run in runs]
    logits, labels = (np.concatenate(arrays) for arrays in zip(*answers, strict=True))
    first = results[0]
    groups = [run.groups for run in runs]
    known = [keys for keys in groups if keys is not None]
    facts: dict[str, Any] = {
        **{key: first[key] for key in SAME},
        **{key: round(statistics.fmean(result[key] for result in results), 3) for key in MEANS},
        "split": CROSS_VALIDATED,
        "weights": f"one network for each of {len(runs)} folds",
        "bit_comparable": all(result["bit_comparable"] for result in results),
        "size_bytes": first["size_bytes"],
        "skipped": first["skipped"],
        "cross_validation": {
            "folds": len(runs),
            "top1": [result["top1"] for result in results],
            "n": [result["n"] for result in results],
        },
    }
    scores = summarize(logits, labels, first["classes"])
    folder = RunFolder(path)
    if folder.finished and folder.intact and {**folder.result, **facts, **scores} == folder.result:
        return
    keys = np.concatenate(known) if len(known) == len(runs) else None
    write_result(folder, facts, scores, Predicted(Outputs(logits, labels), keys))


def complete_card(run: RunFolder, board: Leaderboard, pooled: RunFolder, data: Dataset, recall: str | None) -> None:
    """Write what the folds say of a network into the card of the run that is handed over: its accuracy, and its confidence.

    Args:
        run: the run that was trained on all images.
        board: the ranking, which recommends this network.
        pooled: the folder with the pooled answers of the same network and seed.
        data: the images, as `Folds.shown` has them.
        recall: the setting.

    Raises:
        ModelFileError: the run has no card.
    """
    if not (run / bundle.CARD).is_file():
        raise ModelFileError(f"{run.path}: {bundle.CARD} is gone", f"delete {run.path} to train it again")
    facts, result = {"cross_validation": accuracy(board.taken or board.networks[0], board)}, run.result
    if "test" not in data.splits:  # else the run has fitted its confidence on its validation images
        facts[CONFIDENCE] = _confidence(run, pooled, data, recall)
        if result.get(CONFIDENCE) != facts[CONFIDENCE]:
            run.write_json(RESULT, {**result, CONFIDENCE: facts[CONFIDENCE]})
    bundle.amend(run.path, facts)


def _confidence(run: RunFolder, pooled: RunFolder, data: Dataset, recall: str | None) -> dict[str, Any]:
    """Fit a temperature and thresholds on the pooled answers, and measure them on the validation images of the run.

    The pooled answers are of networks trained like this one, to images that they have not seen, as scikit-learn's
    CalibratedClassifierCV(ensemble=False) takes them. They are nine times as many as the run's own validation images. These
    have chosen nothing in the run, so they can report; the answers to them are left out of the fit.
    """
    logits, labels = pooled.predictions
    fitting = ~np.isin(data.splits[CROSS_VALIDATED].contents(), data.splits["val"].contents())
    validation = Outputs(logits[fitting], labels[fitting])
    return fit_confidence(
        validation, Outputs(*run.predictions), data.classes, parse_recall(recall), (CROSS_VALIDATED, "val")
    )


def accuracy(row: Row, board: Leaderboard) -> dict[str, Any]:
    """The cross-validated accuracy of a network as its card has it.

    Args:
        row: of the network.
        board: that has the row.
    """
    return {
        "folds": row.folds,
        "seeds": row.seeds,
        "n": board.n,
        "top1": row.top1,
        "top1_low": row.top1_low,
        "top1_high": row.top1_high,
        "macro_f1": row.macro_f1,
        "loss": row.loss,
        "networks_compared": len(board.networks) + len(board.failed),
        "flatters": board.found.flatters if board.found is not None else 0.0,
        "about": "accuracy of networks trained like this one on the other folds; of this network itself it is an estimate",
    }


def complete(path: Path, folds: int) -> bool:
    """Whether all folds of a network and seed are finished."""
    return all((fold_folder(path, number) / RESULT).is_file() for number in range(1, folds + 1))
