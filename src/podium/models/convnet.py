"""The contract of every network: a stem, ordered stages and a head. Everything else is derived from these three."""

from __future__ import annotations

import copy
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from podium.devices import channels_last_is_right
from podium.errors import UsageError
from podium.models.dense import Dense
from podium.models.pooling import MeanPool

FEW_IMAGES = (
    16  # measured: up to this batch size VGG's fully connected layers are no slower in float32 than in bfloat16
)
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
        """Whether reading the hidden layers' weights takes most of the time; autocast would first write a bfloat16 copy of them."""
        return len(x) <= FEW_IMAGES and not isinstance(self.hidden, nn.Identity)


class Auxiliary(nn.Module):
    """A classifier on an intermediate map, for training only [Szegedy et al. 2014, section 5].

    Args:
        side: of the grid that a 5x5 average pool of stride 3 makes of the paper's map; maps of other sizes are pooled to the
            same grid.
        conv: (N, C, side, side) -> (N, C', H, W).
        classifier: to logits, from the flattened map or what `hidden` makes of it.
        hidden: layers between.
    """

    def __init__(self, side: int, conv: nn.Module, classifier: nn.Module, hidden: nn.Module | None = None) -> None:
        super().__init__()
        self.side, self.conv, self.classifier = side, conv, classifier
        self.hidden = hidden if hidden is not None else nn.Identity()

    def pool(self, height: int, width: int) -> nn.Module:
        """The average pool that brings a map of this size to the grid."""
        fits = all((size - 5) // 3 + 1 == self.side for size in (height, width))
        return nn.AvgPool2d(5, 3) if fits else MeanPool(self.side)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = self.pool(*x.shape[-2:])(x)
        return self.classifier(self.hidden(self.conv(x).flatten(1)))


class ConvNet(nn.Module):
    """A convolutional classifier. Input is float (N, C, H, W), normalised; `forward` always returns logits (N, K).

    Args:
        stem: the layers before the first stage.
        stages: (name, module) pairs, in order.
        head: from the last feature map to logits.
        auxiliary: classifiers for training only, by the name of the stage whose output they read.
        auxiliary_weight: factor of each auxiliary classifier's loss.
    """

    spec: dict[str, Any]  # the arguments of `create_model`, from which `rebuild` makes the network again
    memory_format: torch.memory_format | None = None  # that images are converted to; None leaves them as they are
    checkpointing = (
        False  # recompute each stage in the backward pass and do not store its insides: less memory, more time
    )

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
        """Run the stem and the stages, and yield the name and the output of each, in order."""
        if self.memory_format is not None:
            x = x.contiguous(memory_format=self.memory_format)
        elif not channels_last_is_right(x.device):
            x = x.contiguous()
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
        """The loss to train on: that of the logits, plus the weighted loss of each auxiliary classifier.

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
        """(channels, stride in pixels of the input) of the stem's and of each stage's feature map, by name."""
        skeleton, step = self.skeleton().eval(), 64

        def maps(side: int) -> dict[str, Tensor]:
            return dict(skeleton.walk(skeleton.no_images(side)))

        one, two = maps(self.spec["image_size"]), maps(self.spec["image_size"] + step)
        return {name: (x.shape[1], step // (two[name].shape[-1] - x.shape[-1])) for name, x in one.items()}

    def skeleton(self) -> ConvNet:
        """A copy to measure shapes with: it shares the weights, and of no images it makes maps of the right shapes without computing.

        That of a network on a GPU is on the meta device, where every first operation imports torch's compiler: two seconds.
        """
        own = [*self.parameters(), *self.buffers()]
        if all(tensor.device.type == "cpu" for tensor in own):
            return copy.deepcopy(self, {id(tensor): tensor for tensor in own})
        memo: dict[int, Any] = {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in self.parameters()}
        memo |= {id(b): b.to("meta") for b in self.buffers()}
        return copy.deepcopy(self, memo)

    def no_images(self, side: int) -> Tensor:
        """A batch of no images, (0, C, side, side), where the weights are."""
        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        return torch.zeros(0, self.spec["in_chans"], side, side, device=device)

    def to_dense(self) -> nn.Module:
        """The fully convolutional form: (N, C, H, W) of any size to a map of logits (N, K, h, w) [VGG, section 3.2].

        It shares the weights. Each place of the map has the logits of one window of the image. The window is as large as the
        network's input, but never larger than the canonical input of fully connected layers, such as 224 px for VGG: a VGG
        for 256 px averages its 8x8 map down to 7x7, and its dense form has 2x2 logits of 7x7 windows of that map. On an image
        as large as the window, the map is 1 x 1 and has the network's own logits. In larger images a window has the pixels
        around it where a crop of the same place has zero padding, so only networks without padding (LeNet-5) give exactly the
        logits of each crop.
        """
        skeleton = self.skeleton().eval()
        with torch.no_grad():
            side = skeleton.forward_features(skeleton.no_images(self.spec["image_size"])).shape[-1]
        return Dense(self.stem, self.stages, self.head, side).train(self.training)

    def strip(self) -> ConvNet:
        """The network without its auxiliary classifiers, as it is deployed; it shares all weights with this one."""
        if not self.auxiliary:
            return self
        bare = copy.copy(self)
        bare._modules = {**self._modules, "auxiliary": nn.ModuleDict()}
        bare.spec = {**self.spec, "aux": False}
        return bare

    def freeze(self, until: str) -> None:
        """Stop training the stem and all stages up to and including `until` ("stem", a stage's name, or "features").

        Frozen batch norms use and keep their stored statistics, also in training mode. Parts that an earlier call froze and
        this one does not are trained again.

        Raises:
            UsageError: there is no such part.
        """
        self.freeze_first(len(self.parts_until(until)))

    def parts_until(self, until: str) -> tuple[str, ...]:
        """Names of the stem and of the stages up to and including `until`, as `freeze` takes it.

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
        """Freeze the first `count` parts, counting the stem and then the stages, as `freeze` does; 0 unfreezes all."""
        for part in self._frozen_modules():
            part.requires_grad_(True)
        self.frozen = ("stem", *(name for name, _ in self.stages.named_children()))[:count]
        for part in self._frozen_modules():
            part.requires_grad_(False)
        self.train(self.training)

    def _frozen_modules(self) -> list[nn.Module]:
        return [self.stem if name == "stem" else self.stages.get_submodule(name) for name in self.frozen]

    def train(self, mode: bool = True) -> ConvNet:
        """Switch to training or evaluation mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in self._frozen_modules():
            part.eval()
        return self

    def parameter_groups(
        self, weight_decay: float, decay_all: bool = False, layer_decay: float = 1.0
    ) -> list[dict[str, Any]]:
        """The trainable parameters in groups for an optimiser.

        Args:
            weight_decay: of weights; norms and biases have none (Goyal et al. 2017, 5.3).
            decay_all: decay the parameters of norms and the biases too.
            layer_decay: factor of the learning rate from each part to the part before it. The head has the factor 1, the last
                stage `layer_decay`, the stage before it its square, and so on (Howard and Ruder 2018, section 3.2,
                "discriminative fine-tuning").

        Returns:
            Groups with "params", "weight_decay" and "scale", the factor of the learning rate.
        """
        parts = [[self.stem], *([stage] for stage in self.stages), [self.head, self.auxiliary]]
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for depth, part in enumerate(parts):
            scale = layer_decay ** (len(parts) - 1 - depth)
            for name, p in (named for module in part for named in module.named_parameters() if named[1].requires_grad):
                weight = p.ndim > 1 and not name.endswith(
                    "bias"
                )  # LeNet-5's subsampling has biases of three dimensions
                groups.setdefault((scale, decay_all or weight), []).append(p)
        ordered = sorted(groups.items(), key=lambda item: (-item[0][0], not item[0][1]))
        return [
            {"params": params, "weight_decay": weight_decay if decays else 0.0, "scale": scale}
            for (scale, decays), params in ordered
        ]

    def reset_head(self, num_classes: int) -> None:
        """Replace the classifier and the auxiliary ones by new ones for `num_classes` classes.

        Raises:
            UsageError: a classifier is not a linear layer, or there are fewer than two classes.
        """
        if num_classes < 2:
            raise UsageError(f"num_classes={num_classes}", "give at least 2")
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
    """The stage's output, with gradient checkpointing: the backward pass computes the stage again.

    The second computation does not change the running statistics of batch norms.
    """
    from torch.utils.checkpoint import checkpoint

    norms = [m for m in stage.modules() if isinstance(m, nn.BatchNorm2d) and m.training]

    @contextmanager
    def uncounted() -> Iterator[None]:
        before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]  # type: ignore[union-attr]
        for norm in norms:
            norm.momentum = 0.0
        try:
            yield
        finally:  # torch ends the recomputation by an exception, as soon as every tensor it needs is there
            for norm, (momentum, count) in zip(norms, before, strict=True):
                norm.momentum = momentum
                norm.num_batches_tracked.copy_(count)  # type: ignore[union-attr]

    return checkpoint(stage, x, use_reentrant=False, context_fn=lambda: (nullcontext(), uncounted()))


def map_size(parts: Iterable[nn.Module], size: int) -> int:
    """Side of the feature map, in pixels, that a sequence of convolutions and pools makes from a square input of side `size`."""
    for layer in (layer for part in parts for layer in part.modules()):
        if not hasattr(layer, "kernel_size"):
            continue
        values: list[Any] = [layer.kernel_size, layer.stride, layer.padding]
        kernel, stride, padding = (value[0] if isinstance(value, tuple) else value for value in values)
        span = size + 2 * padding - kernel
        size = (-(-span // stride) if getattr(layer, "ceil_mode", False) else span // stride) + 1
    return size
