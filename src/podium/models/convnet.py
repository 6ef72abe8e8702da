"""The contract every network keeps: a stem, ordered stages, a head. All else is derived from that one declaration."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from podium.errors import UsageError

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
        return self.classifier(self.hidden(self.pool(x)))


class ConvNet(nn.Module):
    """A convolutional classifier. Input is float (N, C, H, W), normalised; `forward` always returns logits (N, K).

    Args:
        stem: what stands before the first stage.
        stages: (name, module) pairs, in order.
        head: features to logits.
    """

    spec: dict[str, Any]  # what `create_model` was called with; rebuilds the network

    def __init__(self, stem: nn.Module, stages: Iterable[tuple[str, nn.Module]], head: Head) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.Sequential(OrderedDict(stages))
        self.head = head
        self.frozen: tuple[str, ...] = ()

    def forward_features(self, x: Tensor) -> Tensor:
        """The last feature map (N, C', H', W')."""
        return self.stages(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K)."""
        return self.head(self.forward_features(x))

    def endpoints(self, x: Tensor) -> dict[str, Tensor]:
        """Every intermediate by name, as slim's end_points: stem, each stage, features, pooled, logits."""
        out = {"stem": self.stem(x)}
        x = out["stem"]
        for name, stage in self.stages.named_children():
            x = out[name] = stage(x)
        out["features"] = x
        out["pooled"] = self.head.pool(x)
        out["logits"] = self.head.classifier(self.head.hidden(out["pooled"]))
        return out

    def training_loss(self, x: Tensor, y: Tensor, loss: Loss) -> Tensor:
        """The loss to train on; networks with auxiliary heads or a loss of their own override it.

        Args:
            x: (N, C, H, W).
            y: labels (N,), or soft targets (N, K).
            loss: of logits and y.
        """
        return loss(self(x), y)

    @property
    def cam_target(self) -> nn.Module:
        """The layer whose output Grad-CAM weighs: the last with spatial extent."""
        return self.stages

    def freeze(self, until: str) -> None:
        """Stop training the stem and all stages up to and including `until` ("stem", a stage's name, or "features").

        Frozen batch norms use their stored statistics and keep them, also in training mode.

        Raises:
            UsageError: there is no such part.
        """
        parts = ["stem", *(name for name, _ in self.stages.named_children())]
        if until == "features":
            until = parts[-1]
        if until not in parts:
            raise UsageError(f"cannot freeze {until!r}", f"the parts are {', '.join(parts)}, features")
        self.frozen = tuple(parts[: parts.index(until) + 1])
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

    def parameter_groups(self, weight_decay: float, decay_all: bool = False) -> list[dict[str, Any]]:
        """Parameters for an optimiser: weights decay, norms and biases do not unless `decay_all` (Goyal et al. 2017, 5.3)."""
        trained = [p for p in self.parameters() if p.requires_grad]
        decayed = [p for p in trained if decay_all or p.ndim > 1]
        rest = [p for p in trained if not (decay_all or p.ndim > 1)]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
        return [group for group in groups if group["params"]]

    def reset_head(self, num_classes: int) -> None:
        """Replace the classifier by a fresh one for `num_classes` classes."""
        old = self.head.classifier
        if not isinstance(old, nn.Linear):
            raise UsageError(f"the classifier of {type(self).__name__} is not a linear layer", "build a new network")
        new = nn.Linear(old.in_features, num_classes, device=old.weight.device, dtype=old.weight.dtype)
        nn.init.normal_(new.weight, std=0.01)
        nn.init.zeros_(new.bias)
        self.head.classifier = new
        self.spec = {**self.spec, "num_classes": num_classes}


def map_size(layers: nn.Module, size: int) -> int:
    """Side of the feature map that a chain of convolutions and pools makes from a square input, in pixels."""
    for layer in layers.modules():
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
