"""From the images of a request to its answer: decoded, through the network, and by the rule of its card."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from podium.deployment.described import span_read
from podium.runs.answers import row_of
from podium.serving.batching import Batcher, Engine, Outputs
from podium.serving.metrics import Metrics
from podium.serving.models import Model, Models
from podium.serving.pictures import Picture, Pictures
from podium.web.problems import Problem


@dataclass(frozen=True)
class Answered:
    """The images of a request with what the network says of each.

    Args:
        pictures: the images.
        outputs: of the network, for each.
        chosen: the number of the class of each, -1 for unknown.
        decode: seconds until all were decoded.
    """

    pictures: list[Picture]
    outputs: list[Outputs]
    chosen: list[int]
    decode: float

    @property
    def milliseconds(self) -> dict[str, float]:
        """Where the time went: the largest of each part."""
        parts = {
            "decode": self.decode,
            "queue": max(one.queue for one in self.outputs),
            "compute": max(one.compute for one in self.outputs),
        }
        return {name: round(1000 * seconds, 2) for name, seconds in parts.items()}


class Answering:
    """What answers: the decoding threads, the engine, and a queue for each network.

    Args:
        models: the networks.
        decoders: threads that decode.
        calls: of the engine that run side by side.
        metrics: that count it.
    """

    def __init__(self, models: Models, decoders: int, calls: int, metrics: Metrics) -> None:
        self.models, self.metrics = models, metrics
        self.pictures, self.engine, self.coming = Pictures(decoders), Engine(calls), 0
        self.batchers = {model.name: self._batcher(model) for model in models}

    def _batcher(self, model: Model) -> Batcher:
        return Batcher(
            model.exported.outputs_of,
            self.engine,
            coming=lambda: self.coming,
            ran=self.metrics.batch_of(model.name),
            changed=lambda: self.metrics.depth.set(self.waiting),
        )

    def begin(self) -> None:
        """Start to answer; in the event loop."""
        for batcher in self.batchers.values():
            batcher.begin()

    async def end(self) -> None:
        """Stop, and end the threads."""
        await asyncio.gather(*(batcher.end() for batcher in self.batchers.values()))
        pools = (self.pictures.usual, self.pictures.large, self.engine.threads)
        await asyncio.gather(*(asyncio.to_thread(pool.close) for pool in pools))

    @property
    def waiting(self) -> int:
        """The images that wait for a network."""
        return sum(len(batcher.waiting) for batcher in self.batchers.values())

    async def answer(self, model: Model, files: Sequence[bytes]) -> Answered:
        """Answer the images of a request.

        Raises:
            Problem: one cannot be read, or the network's answer is not a number.
        """
        began = time.perf_counter()
        self.coming += len(files)
        try:
            pictures = await self.pictures.decode(files, model.exported.preprocessing)
        finally:
            self.coming -= len(files)
        decode = time.perf_counter() - began
        outputs = await self.batchers[model.name].answer([picture.square for picture in pictures])
        probabilities = np.stack([one.probabilities for one in outputs])
        if not all(one.is_finite for one in outputs):
            fix = "send another image: this network cannot answer it"
            raise Problem(422, "answer_not_finite", "the network's answer is not a number (NaN or infinite)", fix)
        self.metrics.answered(model.name, len(files), decode, outputs)
        return Answered(pictures, outputs, model.exported.rule.answers(probabilities).tolist(), decode)


def answer_of(model: Model, answered: Answered, top: int, heat_map: bool = False) -> dict[str, Any]:
    """The answer to `/v1/predict`.

    Args:
        model: the network.
        answered: the images.
        top: how many classes of each are listed.
        heat_map: whether heat maps are listed, which the network has.
    """
    answers = []
    for picture, outputs, chosen in zip(answered.pictures, answered.outputs, answered.chosen, strict=True):
        row = row_of("", outputs.probabilities, chosen, model.classes, top)
        known = {"class": row["answer"]} if row["known"] else {"class": None}
        size = {"width": picture.width, "height": picture.height}
        answers.append(
            {
                "classes": row["top"],
                "answer": known["class"],
                "unknown": not row["known"],
                **size,
                "heat_map": _listed(outputs.heat_map, model) if heat_map else None,
            }
        )
    return {"model": model.name, "answers": answers, "milliseconds": answered.milliseconds}


def _listed(heat_map: np.ndarray | None, model: Model) -> dict[str, Any] | None:
    """A heat map as JSON has it, row by row from the top."""
    if heat_map is None:
        return None
    height, width = heat_map.shape
    span = span_read(model.exported.card)
    return {"width": width, "height": height, "span": span, "values": np.round(heat_map.astype(float), 4).tolist()}
