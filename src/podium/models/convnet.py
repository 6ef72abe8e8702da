"""The contract every network keeps: a stem, ordered stages, a head. All else is derived from that one declaration."""

from __future__ import annotations

import copy
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from podium.errors import UsageError
from podium.models.dense import Dense

FEW_IMAGES = 16  # up to which VGG's fully connected layers take no more time in float32 than in bfloat16, measured
Loss = Callable[[Tensor, Tensor], Tensor]  # (logits (N, K), labels (N,) or soft targets (N, K)) -> scalar


class Head(nn.Module):
    """From the last feature map to logits: pool and flatten, hidden layers if the paper has any, classifier.

    Args:
        pool: (N, C, H, W) -> (N, F).
        classifier: (N, D) -> (N, K).
        hidden: (N, F) -> (N, D); nothing by default.
    """

    def __init__(self, pool: nn.Module, classifier: nn.Module, hidden: nn.Module | None = None) -> None:
        super().__init__()
        self.pool = pool
        self.hidden = hidden if hidden is not None else nn.Identity()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = self.pool(x)
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and self._is_read_bound(x):
            with torch.autocast("cpu", enabled=False):
                return self.classifier(self.hidden(x.float()))
        return self.classifier(self.hidden(x))

    def _is_read_bound(self, x: Tensor) -> bool:
        """Whether hidden layers spend their time on reading weights, of which bfloat16 would first write a copy."""
        return len(x) <= FEW_IMAGES and not isinstance(self.hidden, nn.Identity)


class Auxiliary(nn.Module):
    """A classifier on an intermediate map, for training only [Szegedy et al. 2014, section 5].

    Args:
        side: of the grid that 5x5 averages with stride 3 make of the paper's map; maps of other sizes are averaged onto it.
        conv: (N, C, side, side) -> (N, C', H, W).
        classifier: to logits, from the flattened map or what `hidden` makes of it.
        hidden: layers between.
    """

    def __init__(self, side: int, conv: nn.Module, classifier: nn.Module, hidden: nn.Module | None = None) -> None:
        super().__init__()
        self.side, self.conv, self.classifier = side, conv, classifier
        self.hidden = hidden if hidden is not None else nn.Identity()

    def pool(self, height: int, width: int) -> nn.Module:
        """What brings a map of this size onto the grid."""
        fits = all((size - 5) // 3 + 1 == self.side for size in (height, width))
        return nn.AvgPool2d(5, 3) if fits else nn.AdaptiveAvgPool2d(self.side)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = self.pool(*x.shape[-2:])(x)
        return self.classifier(self.hidden(self.conv(x).flatten(1)))


class ConvNet(nn.Module):
    """A convolutional classifier. Input is float (N, C, H, W), normalised; `forward` always returns logits (N, K).

    Args:
        stem: what stands before the first stage.
        stages: (name, module) pairs, in order.
        head: features to logits.
        auxiliary: classifiers for training only, by the stage whose output they read.
        auxiliary_weight: of each one's loss.
    """

    spec: dict[str, Any]  # what `create_model` was called with; rebuilds the network
    memory_format: torch.memory_format | None = (
        None  # the order in memory that images are brought into; None: as they come
    )
    checkpointing = False  # forget what is inside a stage and compute it again going backward: less memory, more time

    def __init__(
        self,
        stem: nn.Module,
        stages: Iterable[tuple[str, nn.Module]],
        head: Head,
        auxiliary: Mapping[str, nn.Module] | None = None,
        auxiliary_weight: float = 0.3,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.Sequential(OrderedDict(stages))
        self.head = head
        self.auxiliary = nn.ModuleDict(auxiliary or {})
        self.auxiliary_weight = auxiliary_weight
        self.frozen: tuple[str, ...] = ()

    def walk(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """What the stem and each stage give, by name and in order."""
        if self.memory_format is not None:
            x = x.contiguous(memory_format=self.memory_format)
        again = self.checkpointing and self.training and torch.is_grad_enabled()
        for name, part in (("stem", self.stem), *self.stages.named_children()):
            x = _checkpointed(part, x) if again and name != "stem" else part(x)
            yield name, x

    def forward_features(self, x: Tensor) -> Tensor:
        """The last feature map (N, C', H', W')."""
        _, last = deque(self.walk(x), maxlen=1).pop()
        return last

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K)."""
        return self.head(self.forward_features(x))

    def endpoints(self, x: Tensor) -> dict[str, Tensor]:
        """Every intermediate by name, as slim's end_points: stem, each stage, features, pooled, logits, auxiliary logits."""
        out = dict(self.walk(x))
        out["features"] = list(out.values())[-1]
        out["pooled"] = self.head.pool(out["features"])
        out["logits"] = self.head.classifier(self.head.hidden(out["pooled"]))
        return out | {f"auxiliary.{name}": head(out[name]) for name, head in self.auxiliary.items()}

    def training_loss(self, x: Tensor, y: Tensor, loss: Loss) -> Tensor:
        """The loss to train on: of the logits, and the weighted one of each auxiliary classifier.

        Args:
            x: (N, C, H, W).
            y: labels (N,), or soft targets (N, K).
            loss: of logits and y.
        """
        extra: list[Tensor] = []
        for name, out in self.walk(x):
            if name in self.auxiliary:
                extra.append(self.auxiliary_weight * loss(self.auxiliary[name](out), y))
        return sum(extra, loss(self.head(out), y))

    def feature_info(self) -> dict[str, tuple[int, int]]:
        """(channels, pixels of the input from one position to the next) of the stem's and of each stage's map."""
        skeleton, step = self.skeleton().eval(), 64

        def maps(side: int) -> dict[str, Tensor]:
            return dict(skeleton.walk(torch.zeros(1, self.spec["in_chans"], side, side, device="meta")))

        one, two = maps(self.spec["image_size"]), maps(self.spec["image_size"] + step)
        return {name: (x.shape[1], step // (two[name].shape[-1] - x.shape[-1])) for name, x in one.items()}

    def skeleton(self) -> ConvNet:
        """The same network on the meta device: it has shapes, and neither weights nor arithmetic."""
        memo: dict[int, Any] = {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in self.parameters()}
        memo |= {id(b): b.to("meta") for b in self.buffers()}
        return copy.deepcopy(self, memo)

    def to_dense(self) -> nn.Module:
        """The fully convolutional form: (N, C, H, W) of any size to a map of logits (N, K, h, w) [VGG, section 3.2].

        It shares the weights. On an image of the canonical size the map is 1 x 1 and has the network's own logits.
        """
        size = self.spec["image_size"]
        canonical = torch.zeros(1, self.spec["in_chans"], size, size, device="meta")
        with torch.no_grad():
            side = self.skeleton().eval().forward_features(canonical).shape[-1]
        return Dense(self.stem, self.stages, self.head, side).train(self.training)

    def strip(self) -> ConvNet:
        """The network that answers: without auxiliary classifiers, sharing all weights."""
        if not self.auxiliary:
            return self
        bare = copy.copy(self)
        bare._modules = {**self._modules, "auxiliary": nn.ModuleDict()}
        bare.spec = {**self.spec, "aux": False}
        return bare

    @property
    def cam_target(self) -> nn.Module:
        """The layer whose output Grad-CAM weighs: the last with spatial extent."""
        return self.stages

    def freeze(self, until: str) -> None:
        """Stop training the stem and all stages up to and including `until` ("stem", a stage's name, or "features").

        Frozen batch norms use their stored statistics and keep them, also in training mode. What was frozen before and
        is not now is trained again.

        Raises:
            UsageError: there is no such part.
        """
        self.freeze_first(len(self.parts_until(until)))

    def parts_until(self, until: str) -> tuple[str, ...]:
        """The stem and the stages up to one, by name.

        Raises:
            UsageError: there is no such part.
        """
        parts = ("stem", *(name for name, _ in self.stages.named_children()))
        if until == "features":
            until = parts[-1]
        if until not in parts:
            raise UsageError(f"cannot freeze {until!r}", f"the parts are {', '.join(parts)}, features")
        return parts[: parts.index(until) + 1]

    def freeze_first(self, count: int) -> None:
        """As `freeze`, the first `count` of the stem and the stages; 0 thaws all."""
        for part in self._frozen_modules():
            part.requires_grad_(True)
        self.frozen = ("stem", *(name for name, _ in self.stages.named_children()))[:count]
        for part in self._frozen_modules():
            part.requires_grad_(False)
        self.train(self.training)

    def _frozen_modules(self) -> list[nn.Module]:
        return [self.stem if name == "stem" else self.stages.get_submodule(name) for name in self.frozen]

    def train(self, mode: bool = True) -> ConvNet:
        """Switch to training (or evaluation) mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        for part in self._frozen_modules():
            part.eval()
        return self

    def parameter_groups(
        self, weight_decay: float, decay_all: bool = False, layer_decay: float = 1.0
    ) -> list[dict[str, Any]]:
        """Parameters for an optimiser.

        Args:
            weight_decay: of weights; norms and biases have none unless `decay_all` (Goyal et al. 2017, 5.3).
            layer_decay: the learning rate's factor from each part to the one before it: the head has 1, the last stage
                this, the one before its square, and so on (Howard and Ruder 2018, section 3.2, "discriminative").

        Returns:
            Groups with "params", "weight_decay" and "scale", the factor of the learning rate.
        """
        parts = [[self.stem], *([stage] for stage in self.stages), [self.head, self.auxiliary]]
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for depth, part in enumerate(parts):
            scale = layer_decay ** (len(parts) - 1 - depth)
            for p in (p for module in part for p in module.parameters() if p.requires_grad):
                groups.setdefault((scale, decay_all or p.ndim > 1), []).append(p)
        ordered = sorted(groups.items(), key=lambda item: (-item[0][0], not item[0][1]))
        return [
            {"params": params, "weight_decay": weight_decay if decays else 0.0, "scale": scale}
            for (scale, decays), params in ordered
        ]

    def reset_head(self, num_classes: int) -> None:
        """Replace the classifiers by fresh ones for `num_classes` classes."""
        for part in (self.head, *self.auxiliary.values()):
            old = part.classifier
            if not isinstance(old, nn.Linear):
                raise UsageError(
                    f"the classifier of {type(self).__name__} is not a linear layer", "build a new network"
                )
            new = nn.Linear(old.in_features, num_classes, device=old.weight.device, dtype=old.weight.dtype)
            nn.init.normal_(new.weight, std=0.01)
            nn.init.zeros_(new.bias)
            part.classifier = new
        self.spec = {**self.spec, "num_classes": num_classes}


def _checkpointed(stage: nn.Module, x: Tensor) -> Tensor:
    """The stage's output, with nothing kept for the way back; computed there once more, without counting for the batch norms."""
    from torch.utils.checkpoint import checkpoint

    norms = [m for m in stage.modules() if isinstance(m, nn.BatchNorm2d) and m.training]

    @contextmanager
    def uncounted() -> Iterator[None]:
        before = [(norm.momentum, int(norm.num_batches_tracked)) for norm in norms]  # type: ignore[arg-type]
        for norm in norms:
            norm.momentum = 0.0
        try:
            yield
        finally:  # it ends by an exception, as soon as all that was forgotten is there again
            for norm, (momentum, count) in zip(norms, before, strict=True):
                norm.momentum = momentum
                norm.num_batches_tracked.fill_(count)  # type: ignore[union-attr]

    return checkpoint(stage, x, use_reentrant=False, context_fn=lambda: (nullcontext(), uncounted()))


def map_size(parts: Iterable[nn.Module], size: int) -> int:
    """Side of the feature map that convolutions and pools in a row make from a square input, in pixels."""
    for layer in (layer for part in parts for layer in part.modules()):
        if not hasattr(layer, "kernel_size"):
            continue
        values: list[Any] = [layer.kernel_size, layer.stride, layer.padding]
        kernel, stride, padding = (value[0] if isinstance(value, tuple) else value for value in values)
        span = size + 2 * padding - kernel
        size = (-(-span // stride) if getattr(layer, "ceil_mode", False) else span // stride) + 1
    return size


def meta(build: Callable[[], ConvNet]) -> ConvNet:
    """Build without memory for weights, to count and to measure shapes."""
    with torch.device("meta"):
        return build()
