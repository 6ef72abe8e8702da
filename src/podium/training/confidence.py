"""What a run's validation images say of its confidence: a temperature, and the thresholds below which an image is unknown.

Validation images choose, and test images only report. A run that has no validation images besides those that it reports on
therefore has neither temperature nor thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from podium.errors import UsageError, closest
from podium.evaluation.calibration import calibration_error, enough_for, fit_temperature, keeping
from podium.evaluation.evaluate import Outputs
from podium.evaluation.metrics import wilson
from podium.runs.answers import Rule
from podium.settings import Settings, parse_recall

KEPT = 0.95  # share of the right answers that the threshold for unknown images keeps


def check_recall(text: str | None, classes: Sequence[str], mend: str | None = None) -> None:
    """Refuse the setting `recall` before the first step, where it could have no effect.

    Args:
        text: the setting.
        classes: of the data.
        mend: how to get images that can fit a threshold; None where there are some.

    Raises:
        UsageError: a class is not there, or no images can fit a threshold.
    """
    points = parse_recall(text)
    for name in points:
        if name not in classes:
            fix = closest(name, list(classes)) or f"the classes are {', '.join(classes[:10])}"
            raise UsageError(f"recall: no class is called {name!r}", fix)
    if points and mend is not None:
        raise UsageError(f"recall: {text} needs held-out images other than those that measure the accuracy", mend)


def check_patience(patience: int, mend: str | None = None) -> None:
    """Refuse the setting `patience` where no images choose the epoch.

    Args:
        patience: the setting; 0 has none.
        mend: how to get images that choose; None where there are some.

    Raises:
        UsageError: there is patience.
    """
    if patience and mend is not None:
        raise UsageError(f"patience: {patience} needs held-out images other than those that measure the accuracy", mend)


def is_handed_over(s: Settings) -> bool:
    """Whether a run is the one that a cross-validation hands over."""
    return s.folds is not None and s.fold is None


def how_to_have_both(evaluation_split: str) -> str:
    """How a run gets validation images besides those that it reports on."""
    return f"add --{'val' if evaluation_split == 'test' else 'test'} 0.1"


def not_fitted(evaluation_split: str, after_folds: bool = False) -> dict[str, Any]:
    """What a card says of confidence where there are no validation images besides those that the result reports.

    Args:
        evaluation_split: that the result reports.
        after_folds: whether the run is the one that a cross-validation hands over.
    """
    why = f"that needs held-out images other than the {evaluation_split} images, which measure the accuracy, and there are none"
    fix = how_to_have_both(evaluation_split)
    if after_folds:
        why = f"this network was trained on the images of all folds but the {evaluation_split} images, which the result reports"
        fix = "let podium compare --folds train it, which fits them on the answers of the folds"
    return {
        "notes": [f'confidences are not calibrated, and predict never answers "unknown": {why}; to have them, {fix}']
    }


def fit_confidence(
    validation: Outputs, reported: Outputs, classes: Sequence[str], recall: Mapping[str, float], splits: tuple[str, str]
) -> dict[str, Any]:
    """Fit a temperature and thresholds on validation images, and measure them on test images.

    Args:
        validation: the network's outputs for the images to fit on.
        reported: its outputs for the images to measure on, of which none is among the former.
        classes: names, in the order of the logits.
        recall: the wanted recall of each class that gets an operating point.
        splits: the names of the two.

    Returns:
        What stands in the card as "confidence": split, images, calibration_temperature (None where none can be fitted),
        threshold (None where no validation image is answered right), keeps, classes {name: {recall, threshold, images}},
        notes, and measured, see `measure_confidence`.
    """
    notes, temperature = [], fit_temperature(validation.logits, validation.labels)
    if temperature is None:
        every = bool((validation.logits.argmax(1) == validation.labels).all())
        why = "every validation image is answered right" if every else "the answers are no better than chance"
        notes.append(f"no temperature is fitted: {why}, so that none is best")
    p = Rule(temperature or 1.0).probabilities(validation.logits)
    right = p.argmax(1) == validation.labels
    found: dict[str, Any] = {
        "split": splits[0],
        "images": len(validation.labels),
        "calibration_temperature": temperature,
        "threshold": keeping(p.max(1)[right], KEPT) if right.any() else None,
        "keeps": KEPT,
        "classes": {},
        "notes": notes,
    }
    for name, share in recall.items():
        number = list(classes).index(name)
        own = p[validation.labels == number, number]
        if len(own) < (needed := enough_for(share)):
            few = f"{name}: {len(own):,} validation images are too few to promise a recall of {share:g}, which takes {needed:,}"
            notes.append(few if len(own) else f"{few}; it has no threshold of its own")
        if len(own):
            found["classes"][name] = {"recall": share, "threshold": keeping(own, share), "images": len(own)}
    return {**found, "measured": measure_confidence(found, reported, classes, splits[1])}


def measure_confidence(
    fitted: Mapping[str, Any], outputs: Outputs, classes: Sequence[str], split: str
) -> dict[str, Any]:
    """Measure a fitted temperature and thresholds on images that did not fit them.

    Args:
        fitted: as `fit_confidence` returns it.
        outputs: the network's outputs for the images.
        classes: names, in the order of the logits.
        split: the name of the images' split.

    Returns:
        split, images, calibration_error and calibration_error_before (15 bins of equal mass, with the temperature and
        without), coverage (share of images answered), accuracy (of those that are answered; None where none is), right_kept
        (share of the network's right first classes among the images answered), and classes {name: {recall, precision, images}}.
        Every share has its 95 % interval under NAME_interval.
    """
    rule, labels = Rule.of_card({"confidence": fitted}, classes), outputs.labels
    p = rule.probabilities(outputs.logits)
    before = Rule().probabilities(outputs.logits)
    right = p.argmax(1) == labels
    answers = rule.answers(p)
    kept = answers >= 0
    points: dict[str, Any] = {}
    for name in fitted["classes"]:
        number = list(classes).index(name)
        own, given = labels == number, answers == number
        recalled, precise = _share(given[own], "recall"), _share(own[given], "precision")
        points[name] = {**recalled, **precise, "images": int(own.sum())}
    return {
        "split": split,
        "images": len(labels),
        "calibration_error": calibration_error(p.max(1), right),
        "calibration_error_before": calibration_error(before.max(1), right),
        **_share(kept, "coverage"),
        **_share((answers == labels)[kept], "accuracy"),
        **_share(kept[right], "right_kept"),
        "classes": points,
    }


def _share(hits: np.ndarray, name: str) -> dict[str, Any]:
    """A share with its interval [Wilson 1927]; None where there is nothing to count."""
    if not len(hits):
        return {name: None, f"{name}_interval": None}
    share = float(hits.mean())
    low, high = wilson(share, len(hits))
    return {name: share, f"{name}_interval": [max(0.0, low), min(1.0, high)]}


def format_confidence(found: Mapping[str, Any] | None) -> list[str]:
    """What a card says of confidence, as lines for people; none for a card of an older version."""
    if not found:
        return []
    lines, measured = [], found.get("measured")
    if measured is not None:
        if (temperature := found["calibration_temperature"]) is not None:
            lines.append(
                f"calibration temperature {temperature:.3f}, fitted on {found['images']:,} {found['split']} images: calibration "
                f"error {measured['calibration_error_before']:.4f} -> {measured['calibration_error']:.4f} on {measured['split']}"
            )
        if (threshold := found["threshold"]) is not None:
            lines.append(
                f"unknown below {100 * threshold:.1f} %: {_percent(measured, 'coverage')} of {measured['images']:,} "
                f"{measured['split']} images are answered, {_percent(measured, 'accuracy')} of them right"
            )
        for name, point in found["classes"].items():
            own = measured["classes"][name]
            lines.append(
                f"{name} from {100 * point['threshold']:.2f} % on, for a recall of {point['recall']:g}: {measured['split']} recall "
                f"{_percent(own, 'recall')} of {own['images']:,}, precision {_percent(own, 'precision')}"
            )
    return [*lines, *found.get("notes", [])]


def _percent(measured: Mapping[str, Any], name: str) -> str:
    """A share with its interval: "97.1 % (95.0-98.3)"."""
    if measured[name] is None:
        return "none"
    low, high = measured[f"{name}_interval"]
    return f"{100 * measured[name]:.1f} % ({100 * low:.1f}-{100 * high:.1f})"
