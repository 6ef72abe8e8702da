"""The answers of a network, whether torch or another engine runs it, to the images of a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from podium.api.evaluate import in_words_of, split_to_evaluate, with_classes_of
from podium.comparison.answered import Answered, Labelled, digest_of
from podium.comparison.cross_validation import fold_folders
from podium.data.dataset import Dataset, Split
from podium.data.groups import group_keys
from podium.data.loader import Loader
from podium.data.readers import Readers
from podium.data.roles import for_evaluation
from podium.data.sources import load_stored
from podium.deployment.runtime import Exported, is_exported, load_exported
from podium.devices import pick_device
from podium.errors import UsageError, no_answer
from podium.evaluation.evaluate import Outputs
from podium.evaluation.evaluate import evaluate as run_network
from podium.runs import bundle
from podium.runs.bundle import Bundle
from podium.training.images import evaluated_on

BATCH = 16  # images that an exported file answers at a time
WORKERS = 2  # threads that decode images

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Network:
    """A network that is open.

    Args:
        predictor: the run, bundle or exported file.
        run: the last part of its path; empty where that is not known.
        device: that computes a run or bundle.
    """

    predictor: Bundle | Exported
    run: str
    device: str = "auto"

    @classmethod
    def open(cls, place: Path | Bundle | Exported, device: str = "auto") -> Network:
        """Open a network that a device computes.

        Raises:
            ModelFileError: it is damaged, or there is none.
            UsageError: the folder holds the pooled answers of several networks.
        """
        if isinstance(place, Bundle):
            return cls(place, place.folder.resolve().name if place.folder is not None else "", device)
        if isinstance(place, Exported):
            return cls(place, "")
        run = place.resolve().name
        if is_exported(place):
            return cls(load_exported(place), run)
        if (fold := next(fold_folders(place), None)) is not None:
            what = f"{place}: the pooled answers of the networks of several folds, and no network"
            raise UsageError(
                what, f"compare it with the pooled answers of another, or give the network of a fold: {fold}"
            )
        return cls(bundle.load(place), run, device)

    @property
    def model(self) -> str:
        """The network's name, with the dtype where that is not float32."""
        card = self.predictor.card
        name, dtype = card.get("spec", {}).get("model", "network"), card.get("dtype", "float32")
        return name if dtype == "float32" else f"{name} {dtype}"

    @property
    def folder(self) -> Path | None:
        """The run's folder; None of a file, or where it is not known."""
        return self.predictor.folder if isinstance(self.predictor, Bundle) else None

    @property
    def digests(self) -> set[str]:
        """The digests of its weights and of those that it was exported from."""
        card = self.predictor.card
        parent = card.get("parent")
        found = [digest_of(card), parent.get("sha256") if isinstance(parent, dict) else None]
        return {digest for digest in found if digest is not None}

    @property
    def facts(self) -> dict[str, str]:
        """What is known of it, for people."""
        card, facts = self.predictor.card, {}
        if "steps" in card:
            facts["training"] = f"{card['steps']:,} steps, seed {card.get('seed')}"
        if card.get("start"):
            facts["start"] = str(card["start"])
        if isinstance(self.predictor, Exported):
            facts["engine"] = f"{self.predictor.engine['engine']}, {self.predictor.engine['dtype']}"
        return facts


@dataclass(frozen=True)
class Part:
    """The images on which a network is evaluated.

    Args:
        network: that answers them.
        data: its classes are in the words of the network.
        split: the name of theirs.
    """

    network: Network
    data: Dataset
    split: str

    @classmethod
    def of(cls, network: Network, source: str | Path | Dataset, how: dict[str, Any], shown: Progress) -> Part:
        """Load a data set for a network, without the images that it was trained on.

        Args:
            network: that will answer them.
            source: the data set, its path or its name.
            how: reading= and on_bad= as `load_stored` takes them, where something is known of these.
            shown: called with (files read, files to read).
        """
        p = network.predictor.preprocessing
        p.check_channels()
        if isinstance(network.predictor, Bundle):
            data = evaluated_on(network.predictor, source, None, shown, how.get("reading"))
        elif isinstance(source, Dataset):
            data = for_evaluation(source, None)
        else:
            sizes: dict[str, Any] = {"resize": p.resize, "channels": p.channels, "max_pixels": p.max_pixels}
            data = for_evaluation(load_stored(source, progress=shown, **sizes, **how), None)
        split = split_to_evaluate(None, data)
        return cls(network, in_words_of(network.predictor, data), split)

    @property
    def images(self) -> Split:
        """The images."""
        return self.data.splits[self.split]

    def labelled(self, name: str) -> Labelled:
        """The images by content and class; `name` is what people call the network."""
        classes = [self.data.classes[label] for label in self.images.labels.tolist()]
        return Labelled(name, self.split, self.images.contents(), classes)

    def answers(self, rows: np.ndarray, shown: Progress) -> Answered:
        """The network's answers to the images of these numbers."""
        images, predictor = self.images.select(rows), self.network.predictor
        if isinstance(predictor, Bundle):
            outputs = _by_torch(predictor, images, self.network.device, shown)
        else:
            outputs = _by_engine(predictor, images, shown)
        outputs = with_classes_of(predictor, outputs, self.data)
        return Answered(
            model=self.network.model,
            run=self.network.run,
            split=self.split,
            classes=predictor.classes,
            logits=outputs.logits,
            labels=outputs.labels,
            keys=images.contents(),
            preprocessing=predictor.preprocessing,
            groups=group_keys(images),
            digest=digest_of(predictor.card) if isinstance(predictor, Bundle) else None,
            temperature=predictor.rule.temperature,
            facts=self.network.facts,
        )

    def notes(self, other: Network) -> list[str]:
        """What a person should know about the images; `other` is the network that it is compared with."""
        if isinstance(self.network.predictor, Bundle) or self.network.digests & other.digests:
            return list(self.data.notes)
        unknown = f"note: which images {self.network.run or self.network.model} was trained on is not on record; were some of these among them, it would look better than it is"
        return [*self.data.notes, unknown]


def _by_torch(model: Bundle, images: Split, device: str, shown: Progress) -> Outputs:
    """The logits of a run or bundle."""
    loader = Loader(images, model.preprocessing, batch_size=250, device=pick_device(device), workers=WORKERS)
    return run_network(model.model.to(loader.device), loader, shown)


def _by_engine(model: Exported, images: Split, shown: Progress) -> Outputs:
    """The logits of an exported file.

    Raises:
        NumericError: one is not a number; names the image.
    """
    p, logits = model.preprocessing, []
    seen = images.scaled(p.white)
    with Readers(WORKERS) as pool:
        for start in range(0, len(images), BATCH):
            rows = range(start, min(start + BATCH, len(images)))
            squares = pool.map(lambda row: p.square(seen.image(row, p.channels)), rows)
            found = model.logits_and_probabilities(np.stack(list(squares)))[0]
            if not np.isfinite(found).all():
                raise no_answer(images.name_of(start + int((~np.isfinite(found)).any(1).argmax())))
            logits.append(found)
            shown(rows[-1] + 1, len(images))
    return Outputs(np.concatenate(logits), images.labels)
