"""What every loaded network can do, with torch or without: read images of any kind, and answer them in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from podium.calls import public
from podium.data.inputs import Input, as_uint8, inputs
from podium.data.preprocessing import Preprocessing
from podium.errors import DataError, PodiumError, UsageError, closest, no_answer
from podium.explain.explanation import Explanation
from podium.runs.answers import Rule, row_of

BATCH = 32  # images that are answered at a time
SHOWN = 5  # classes that a console shows
MOST_NAMED = 10  # classes that a message names
OTHER_METHODS = ("layers", "nearest")  # of `podium explain`, which make no heat map

Answer = tuple[str, dict[str, Any] | PodiumError]  # the name of an image, and its row or its error
Explained = Iterator[tuple[str, Explanation | PodiumError]]  # the same with what explains it


class Predictor(ABC):
    """A network with the names of its classes, its preprocessing and its card.

    Attributes:
        classes: in the order of the logits.
        preprocessing: from an image to the square that the network sees.
        card: what is on record about the network.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    card: dict[str, Any]

    @abstractmethod
    def outputs(self, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What `logits_and_probabilities` returns, of squares that are checked."""

    @public
    def logits_and_probabilities(self, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The outputs of the network for images that are cropped and resized already. Several threads may ask at once.

        Args:
            squares: (N, S, S, C) uint8, in RGB.

        Returns:
            Logits (N, K), and probabilities (N, K) with the card's calibration temperature, float32.

        Raises:
            UsageError: an array of another shape, or of numbers that are not uint8.
        """
        p = self.preprocessing
        sides = (p.image_size, p.image_size, p.channels)
        if squares.ndim != 4 or squares.shape[1:] != sides or not len(squares):
            shape = ", ".join(map(str, ("N", *sides)))
            what = f"squares: an array {squares.shape}, and the network takes ({shape})"
            raise UsageError(what, "give images of that shape, or hand them to predict, which crops and resizes them")
        if squares.dtype != np.uint8:
            raise UsageError(f"squares: an array {squares.shape} of {squares.dtype}", as_uint8(squares))
        return self.outputs(squares)

    def __repr__(self) -> str:
        shown = ", ".join(self.classes[:SHOWN]) + (", ..." if len(self.classes) > SHOWN else "")
        model, p = self.card.get("spec", {}).get("model", "network"), self.preprocessing
        return f"<{type(self).__name__} {model}, {p.image_size} px, {len(self.classes)} classes: {shown}>"

    @cached_property
    def rule(self) -> Rule:
        """How probabilities become an answer, by the card."""
        return Rule.of_card(self.card, self.classes)

    @public
    def predict(self, images: Any, top: int = 5, *, min_confidence: float | None = None) -> list[dict[str, Any]]:
        """Return the most probable classes of images, in the order given.

        Args:
            images: a path, a folder (all images in it and below), a pattern such as "photos/*.jpg", an https URL, the bytes of an
                image file, a Pillow image, an array (H, W) or (H, W, C) uint8 in RGB; or a list of these.
            top: how many classes of each; fewer where there are fewer.
            min_confidence: the least probability of an answer; less is "unknown". None takes the threshold of the card, and 0
                answers every image. A class with an operating point keeps its own threshold.

        Returns:
            For each image {file, answer: a class or "unknown", known: whether it is a class, top: [{class, probability}]}, most
            probable first. "file" is the path or URL; of what has no name it is "image", or "images[2]" in a list.

        Raises:
            DataError: something that is missing or is not an image.
            NumericError: the network's output for an image is not a number; names the image.
            UsageError: an argument of the wrong kind, or the network takes neither 1 nor 3 channels.
        """
        rows = []
        for _, row in self.answers(images, top, min_confidence):
            if isinstance(row, PodiumError):
                raise row
            rows.append(row)
        return rows

    @public
    def probabilities(self, image: Any) -> np.ndarray:
        """Return the probabilities of all classes for one image.

        Args:
            image: as `predict` takes one.

        Returns:
            (K,) float32, in the order of `classes`, with the card's calibration temperature.

        Raises:
            DataError: it is missing or is not an image.
            NumericError: the network's output is not a number.
            UsageError: not one image, or the network takes neither 1 nor 3 channels.
        """
        p = self.preprocessing
        p.check_channels()
        found = list(islice(inputs(image), 2))
        if len(found) != 1:
            what = f"image: {'several images' if found else 'no image'}, but probabilities are those of one"
            raise UsageError(what, "give one image; predict takes several")
        logits, probabilities = self.logits_and_probabilities(p.square(found[0].read(p))[None])
        if not (np.isfinite(logits).all() and np.isfinite(probabilities).all()):
            raise no_answer(found[0].name)
        return probabilities[0]

    @property
    def methods(self) -> tuple[str, ...]:
        """Those by which it can be explained, the usual one first."""
        return ()

    def heat(self, squares: np.ndarray, classes: np.ndarray, method: str) -> np.ndarray:
        """Heat maps of squares that are checked.

        Args:
            squares: (N, S, S, C) uint8, in RGB.
            classes: (N,), the number of the class that is explained in each.
            method: one of `methods`.

        Returns:
            (N, h, w) float32 in 0..1.
        """
        raise NotImplementedError(f"{type(self).__name__} has no heat maps")

    def span(self, method: str) -> float:
        """The side of this method's heat maps as a share of that of the square, in whose middle they lie."""
        return 1.0

    @public
    def explain(self, image: Any, label: str | None = None, *, method: str | None = None) -> Explanation:
        """Show where in an image an answer comes from.

        Args:
            image: as `predict` takes one.
            label: the class that is explained; None: the most probable one.
            method: one of `methods`; None: the first of them.

        Returns:
            The map: `.array` (H, W) float32 in 0..1 on the photo's pixels, and `.picture`; a notebook shows it.

        Raises:
            DataError: the image is missing or is no image.
            NumericError: the network's output is not a number.
            UsageError: not one image, an unknown class or method, or the network takes neither 1 nor 3 channels.
        """
        found = list(islice(self.explained(image, label, method), 2))
        if len(found) != 1:
            what = f"image: {'several images' if found else 'no image'}, but an explanation is that of one"
            raise UsageError(what, "give one image")
        if isinstance(found[0][1], PodiumError):
            raise found[0][1]
        return found[0][1]

    def explained(self, images: Any, label: str | None = None, method: str | None = None) -> Explained:
        """Explain images one after the other; arguments as of `explain`, and `images` as `predict` takes them.

        Returns:
            For each image its name, and its explanation or its error.

        Raises:
            UsageError: as `explain`, before the first image is read.
        """
        chosen = None if label is None else self.number_of(label)
        if not self.methods:
            raise UsageError("explain: this network makes no heat maps", "give the run or bundle that it was made from")
        if method is not None and method not in self.methods:
            run = ", or explain the run that the file was made from" if len(self.methods) == 1 else ""
            known = closest(method, self.methods) or f"give {' or '.join(self.methods)}{run}"
            fix = (
                f"the command does that: podium explain RUN IMAGE --method {method}"
                if method in OTHER_METHODS
                else known
            )
            raise UsageError(f"method: {method!r} is none of this network's heat maps", fix)
        self.preprocessing.check_channels()
        how = method or self.methods[0]
        span = self.span(how)
        return (self._explained(one, chosen, how, span) for one in inputs(images))

    def number_of(self, label: str) -> int:
        """The number of a class.

        Raises:
            UsageError: the network has no class of this name.
        """
        if label in self.classes:
            return self.classes.index(label)
        known = f"it has {', '.join(self.classes[:MOST_NAMED])}{', ...' if len(self.classes) > MOST_NAMED else ''}"
        if label.isdecimal() and int(label) < len(self.classes):
            known = f"give the name: class {label} is {self.classes[int(label)]}"
        likely = (closest(part.strip(), self.classes) for part in (label, *label.split(",")))
        fix = next(filter(None, likely), known)
        raise UsageError(f"class: the network has no {label!r}", fix)

    def _explained(
        self, one: Input, chosen: int | None, method: str, span: float
    ) -> tuple[str, Explanation | PodiumError]:
        """The explanation of one image, or why it has none."""
        p = self.preprocessing
        try:
            photo = one.read(p)
            square = p.square(photo)
        except (DataError, UsageError) as problem:
            return one.name, problem
        logits, probabilities = self.logits_and_probabilities(square[None])
        if not (np.isfinite(logits).all() and np.isfinite(probabilities).all()):
            return one.name, no_answer(one.name)
        answer = int(self.rule.answers(probabilities, None)[0])
        row = row_of(one.name, probabilities[0], answer, self.classes, SHOWN)
        number = int(probabilities[0].argmax()) if chosen is None else chosen
        made = self.heat(square[None], np.array([number]), method)[0]
        probability, box = float(probabilities[0, number]), p.region(*photo.size)
        return one.name, Explanation(row, self.classes[number], probability, method, made, photo, box, span)

    def answers(self, images: Any, top: int = 5, min_confidence: float | None = None) -> Iterator[Answer]:
        """Answer images as `predict` does, one after the other; an image that has no answer gives its error and stops nothing.

        Returns:
            For each image its name, and its row or its error.

        Raises:
            UsageError: as `predict`, before the first image is read.
        """
        if top < 1:
            raise UsageError(f"top: {top}", "give at least 1")
        if min_confidence is not None and not 0 <= min_confidence <= 1:
            raise UsageError(f"min_confidence: {min_confidence}", "give a probability between 0 and 1, such as 0.8")
        self.preprocessing.check_channels()
        return self._answers(inputs(images), top, min_confidence)

    def _answers(self, waiting: Iterator[Input], top: int, least: float | None) -> Iterator[Answer]:
        while batch := [(one.name, self._square(one)) for one in islice(waiting, BATCH)]:
            rows = iter(self._rows([(name, s) for name, s in batch if isinstance(s, np.ndarray)], top, least))
            for name, square in batch:
                yield name, square if isinstance(square, PodiumError) else next(rows)

    def _square(self, one: Input) -> np.ndarray | PodiumError:
        """An image as the network sees it, (S, S, C), or why it cannot be read."""
        p = self.preprocessing
        try:
            return p.square(one.read(p))
        except (DataError, UsageError) as problem:  # any other is the machine's, and stops all
            return problem

    def _rows(
        self, squares: list[tuple[str, np.ndarray]], top: int, least: float | None
    ) -> list[dict[str, Any] | PodiumError]:
        """The answers to squares, each with its name."""
        if not squares:
            return []
        logits, probabilities = self.logits_and_probabilities(np.stack([square for _, square in squares]))
        finite = np.isfinite(logits).all(1) & np.isfinite(probabilities).all(1)
        chosen = self.rule.answers(np.where(finite[:, None], probabilities, 0.0), least)
        return [
            row_of(name, probabilities[i], int(chosen[i]), self.classes, top) if finite[i] else no_answer(name)
            for i, (name, _) in enumerate(squares)
        ]
