"""Which layer of a Keras model reads which, from the model's configuration, through nested models."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from podium.weights.keras_kinds import MODELS, is_model, layers_in, own_class
from podium.weights.keras_layers import kind_of, snake
from podium.weights.keras_steps import name_of, operation_of, read_by


@dataclass(eq=False)
class Layer:
    """A layer or an operation, or where a model begins or ends.

    Args:
        entry: of the configuration.
        reads: the layers whose results it reads.
    """

    entry: Mapping[str, Any]
    reads: list[Layer] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The class, or what an operation is called."""
        return operation_of(self.entry)

    @property
    def weighted(self) -> str:
        """The class as in automatic names where it is Keras's own and has weights, else empty."""
        if own_class(self.entry):
            return ""
        equation = str(self.settings.get("equation"))
        as_dense = self.kind == "einsum_dense" and re.fullmatch(r"(\w)(\w),\2(\w)->\1\3", equation)
        return "dense" if as_dense else kind_of(self.entry)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the configuration says of the layer."""
        config = self.entry["config"]
        return config if isinstance(config, dict) else {}

    @property
    def named(self) -> str:
        """The name and the class, for messages."""
        return f"{name_of(self.entry)!r} ({self.entry['class_name']})"


def end_of(model: Mapping[str, Any], given: Layer | None = None) -> Layer:
    """Where a model ends; it reads what the model gives.

    Args:
        model: the configuration.
        given: what a nested model reads.
    """
    inside = model["config"]
    kind, outputs = snake(model.get("class_name", "")), "output_layers" in inside
    in_a_row = kind == "sequential" or (kind not in MODELS | {""} and not outputs)
    ends: dict[str, Layer] = {}
    begins = []
    for entry in layers_in(model):
        begin = Layer(entry)
        begins.append(begin)
        ends[name_of(entry)] = end_of(entry, begin) if is_model(entry) else begin
    last = [given] if given else []
    for begin in begins:
        if in_a_row or begin.kind == "input_layer":
            begin.reads += last if in_a_row else [given] if given else []
        else:
            begin.reads += [ends[name] for name in read_by(begin.entry.get("inbound_nodes", ())) if name in ends]
        last = [ends[name_of(begin.entry)]]
    if not in_a_row:
        names = read_by(inside.get("output_layers", ()) if isinstance(inside, dict) else ())
        last = [ends[name] for name in names if name in ends]
    return Layer({"class_name": "Functional", **model}, last)


def chain(layer: Layer) -> Iterator[Layer]:
    """A layer, what it reads, and so on, as long as each reads one thing."""
    seen: set[Layer] = set()
    while layer not in seen:
        yield layer
        seen.add(layer)
        if len(layer.reads) != 1:
            return
        (layer,) = layer.reads


def first_weighted(end: Layer) -> list[Layer]:
    """The layers with weights that no other one follows on the way to the end."""
    return [layer for layer in before(end, lambda each: bool(each.weighted)) if layer.weighted]


def before(end: Layer, stops: Callable[[Layer], bool] = lambda layer: False) -> list[Layer]:
    """A layer, what it reads, and so on, each once; nothing that only layers read at which the walk stops."""
    found, seen, todo = list[Layer](), set[Layer](), [end]
    while todo:
        layer = todo.pop()
        if layer not in seen:
            seen.add(layer)
            found.append(layer)
            todo += [] if stops(layer) else layer.reads
    return found


def own_models(model: Mapping[str, Any]) -> list[str]:
    """The classes of a model and of those inside it that are not known as Keras's."""
    inside = [cls for entry in layers_in(model) if is_model(entry) for cls in own_models(entry)]
    cls = str(model.get("class_name", "Model"))
    return [cls, *inside] if own_class(model) or snake(cls) not in MODELS else inside
