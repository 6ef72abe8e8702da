"""`podium.evaluate`: a trained network on the images of a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from podium import imagenet
from podium.api.run_images import reading_of
from podium.bars import counting_progress
from podium.calls import public
from podium.comparison.slices import accuracy_by
from podium.data.dataset import Dataset, Split
from podium.data.groups import group_keys
from podium.data.image_columns import with_slices
from podium.data.loader import Loader
from podium.data.reading import ReadingFields
from podium.data.sampling import stratified
from podium.devices import pick_device
from podium.errors import DataError, UsageError
from podium.evaluation.crops import parse_crops
from podium.evaluation.evaluate import Outputs
from podium.evaluation.evaluate import evaluate as run_network
from podium.evaluation.metrics import summarize
from podium.runs import bundle
from podium.runs.answers import CONFIDENCE
from podium.runs.bundle import Bundle
from podium.runs.folder import SETTINGS
from podium.runs.predictor import Predictor
from podium.settings import read_file
from podium.training.confidence import measure_confidence
from podium.training.images import evaluated_on

OTHERS = ("run", "data", "split", "limit", "workers", "crops", "split_seed", "slice", "device", "progress")


@public
def evaluate(
    run: str | Path | Bundle,
    data: str | Path | Dataset,
    *,
    split: str | None = None,
    limit: int | None = None,
    workers: int | None = None,
    crops: Any = 1,
    split_seed: int | None = None,
    slice: str | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | bool | None = None,
    **reading: Unpack[ReadingFields],
) -> dict[str, Any]:
    """Evaluate a run or bundle on a data set, with the run's own preprocessing.

    Images that the network was trained on are recognised by their content and are never among its validation or test
    images. Of a folder without splits, the images are those that the run held out, or all if the run has not seen the folder.

    Args:
        run: a run folder or bundle.
        data: a data set as `load_data` takes or returns it.
        split: "train", "val" or "test". If None: "test", or "val" where the data set has no test split.
        limit: the largest number of images, taken from all classes in proportion and the same each time.
        workers: the number of threads that decode images; None: two where a CPU computes, for a GPU as many as cores, at most 16.
        crops: the views of each image whose probabilities are averaged. 1: the centre. 10: also the four corners, and all
            five mirrored. 144: crops of three squares at four scales. "dense": the whole image and its mirror image, by the
            fully convolutional form of the network. No view is mirrored if the run was trained without mirroring.
        split_seed: the seed of the split of a run of Podium 0.1.0 whose own split cannot be recognised.
        slice: the name of a column, or a regular expression that finds a value in each image's path: the accuracy is reported
            for each of its values too.
        device: what computes: "auto" for a GPU where there is one, else the processor; "cpu", "cuda", "cuda:1" or "mps".
        progress: called with (files read, files to read), then with (images done, images in all); False: nothing; None: a bar.
        reading: image_column=, label_column=, split_column= and class_from=, as for `load_data`; those of the run where these
            are its own data.

    Returns:
        split, crops, notes (what was left out), of several crops mirrored (whether half of the views were), of one crop
        confidence (what the card's temperature and thresholds are worth here), of a slice slices (see
        `comparison.slices.Slices`), and what `metrics.summarize` returns: top1, top5, loss, ece, n, per_class, ...

    Raises:
        DataError: the data set has classes that the network does not know, or no image that it was not trained on.
        UsageError: the data set has no such split, or a number is out of range.
    """
    how, crops = reading_of("evaluate", reading, data, OTHERS), parse_crops(crops)
    model = run if isinstance(run, Bundle) else bundle.load(run)
    model.preprocessing.check_channels()
    place = pick_device(device)
    mirrored = _mirrored(model)
    with counting_progress(progress, "evaluating") as shown:
        data = evaluated_on(model, data, split_seed, shown, how)
        name = split_to_evaluate(split, data)
        data, column = with_slices(data, slice) if slice is not None else (data, "")
        data = in_words_of(model, data)
        images = _limited(data.splits[name], limit)
        loader = Loader(images, model.preprocessing, batch_size=250, device=place, workers=workers)
        answers = run_network(model.model.to(place), loader, shown, crops, mirrored)
    outputs = with_classes_of(model, answers, data)
    more: dict[str, Any] = _confidence(model, outputs, name) if crops == 1 else {"mirrored": mirrored}
    more |= _slices(images, outputs, column) if slice is not None else {}
    scores = summarize(outputs.logits, outputs.labels, model.classes)
    return {"split": name, "crops": crops, **more, "notes": _notes(data, name), **scores}


def _slices(images: Split, outputs: Outputs, column: str) -> dict[str, Any]:
    """The accuracy for each value of a column."""
    right = outputs.logits.argmax(1) == outputs.labels
    return {"slices": accuracy_by(right, images.columns[column], column, group_keys(images)).to_dict()}


def _confidence(model: Bundle, outputs: Outputs, split: str) -> dict[str, Any]:
    """What the card's temperature and thresholds, which are of one view's logits, are worth on these images."""
    fitted = model.card.get(CONFIDENCE) or {}
    if "threshold" not in fitted:
        return {}
    measured = measure_confidence(fitted, outputs, model.classes, split)
    return {"confidence": {**fitted, "notes": [], "measured": measured}}


def _notes(data: Dataset, split: str) -> list[str]:
    """What a person should know about the evaluated images; of training images, that they say nothing of others."""
    if split != "train":
        return list(data.notes)
    left_out = ("left out: the run was", "left out: the weights were")
    kept = [note for note in data.notes if not any(words in note for words in left_out)]
    return [*kept, "note: a network learned from its train images; how well it knows them says nothing of other images"]


def split_to_evaluate(given: str | None, data: Dataset) -> str:
    """The split that the caller names, else "test" or "val".

    Raises:
        DataError: every image was trained on.
        UsageError: the data set has no such split.
    """
    name = given or next((s for s in ("test", "val") if s in data.splits), None)
    if name is None:
        what = f"{data.name}: the network was trained on all {len(data.splits['train']):,} images"
        raise DataError(what, "give images that it has not seen, or say --split train")
    if name not in data.splits:
        raise UsageError(f"split: {data.name} has no {name!r}", f"it has {', '.join(data.splits)}")
    return name


def in_words_of(model: Predictor, data: Dataset) -> Dataset:
    """A data set whose classes the network knows; those of ImageNet by its own words for them: names, or WordNet ids."""
    classes = imagenet.in_other_words(data.classes, model.classes)
    if classes is None:
        _check_classes(data, model)
        return data
    note = f"note: the class folders are ImageNet's: {data.classes[0]} is {classes[0]} of the network, and so on"
    return replace(data, classes=classes, notes=(*data.notes, note))


def _check_classes(data: Dataset, model: Predictor) -> None:
    """Raise a DataError unless the network knows every class of the data set."""
    unknown = [c for c in data.classes if c not in model.classes]
    if unknown:
        what = f"{data.name} has classes the network was not trained on: {', '.join(unknown[:5])}"
        raise DataError(what, f"it knows {', '.join(model.classes[:10])}")


def _limited(images: Split, limit: int | None) -> Split:
    """At most `limit` of the images, from all classes in proportion."""
    if limit is None:
        return images
    if limit < 1:
        raise UsageError(f"limit: {limit}", "give at least 1")
    return images.select(stratified(images.labels, limit))


def _mirrored(model: Bundle) -> bool:
    """Whether half of several views are mirrored: as in the run's training, and yes if that is not on record."""
    flip = model.card.get("flip")
    if flip is None and model.folder is not None and (model.folder / SETTINGS).is_file():
        flip = read_file(model.folder / SETTINGS).get("flip")
    return flip is not False


def with_classes_of(model: Predictor, outputs: Outputs, data: Dataset) -> Outputs:
    """The outputs with labels that number the network's classes: the data set may have fewer, or another order."""
    order = np.array([model.classes.index(c) for c in data.classes])
    return Outputs(outputs.logits, order[outputs.labels])
