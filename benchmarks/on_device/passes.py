"""Single steps: every architecture against the processor, memory that is not there, and numbers that the processor reads."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import podium
from on_device.check import Check, Here, images
from podium.devices import float32, has_bf16, has_tf32
from podium.errors import UsageError
from podium.models.convnet import ConvNet
from podium.models.registry import architecture, build_model
from podium.training.autotune.fastest import memory_formats, set_memory_format
from podium.training.autotune.trial import memory_in_use

DRY = ("lenet5", "resnet18", "mobilenet_v1_025", "alexnet")
IMAGES = 4
READ = "_local_scalar_dense"
KEPT = 64e6  # bytes that a run which did not fit may leave behind


@dataclass(frozen=True)
class Precision:
    """What the passes of a network multiply in.

    Args:
        autocast: to which type; None: float32.
        tf32: whether the factors of float32 are rounded to 10 bits.
        tolerance: the share of themselves by which the loss and the norm of its gradient may differ from those of the
            processor in float32.
    """

    autocast: torch.dtype | None = None
    tf32: bool = False
    tolerance: float = 2e-3


PRECISIONS = {
    "float32": Precision(),
    "TF32": Precision(tf32=True, tolerance=0.05),
    "bfloat16": Precision(torch.bfloat16, tolerance=0.15),
    "float16": Precision(torch.float16, tolerance=0.15),
}


def precisions(device: torch.device) -> list[str]:
    """The names of the precisions that are tried on a device."""
    return ["float32", *["TF32"] * has_tf32(device), "bfloat16" if has_bf16(device) else "float16"]


def steps(here: Here) -> Iterator[Check]:
    """One forward and backward pass of every architecture, in each memory format and precision, against the processor."""
    names = DRY if here.dry else [name for name in podium.list_models() if not name.startswith("article_")]
    furthest = dict.fromkeys(precisions(here.device), 0.0)
    wrong, done = [], 0
    for name in names:
        if here.left() < 20:
            break
        net = _network(name)
        true, done = _numbers(net, torch.device("cpu"), PRECISIONS["float32"]), done + 1
        for layout in memory_formats(here.device):
            for kind in furthest:
                placed = set_memory_format(copy.deepcopy(net).to(here.device), layout)
                found = _numbers(placed, here.device, PRECISIONS[kind])
                apart = max(abs(a - b) / max(abs(b), 1e-6) for a, b in zip(found, true, strict=True))
                furthest[kind] = max(furthest[kind], apart)
                if not apart <= PRECISIONS[kind].tolerance:
                    wrong.append(f"{name}, {layout}, {kind}: {apart:.2g}")
    for kind, apart in furthest.items():
        least = PRECISIONS[kind].tolerance
        yield Check(f"{done} networks in {kind}", apart <= least, f"{apart:.2g} apart (at most {least:g})")
    if wrong:
        yield Check("further apart", False, "; ".join(wrong[:8]) + (f"; {len(wrong) - 8} more" if wrong[8:] else ""))
    if done < len(names):
        yield Check("left out for want of time", None, f"{len(names) - done} networks")


def _network(name: str) -> ConvNet:
    """A network at the smallest size that it takes, without the luck of dropout."""
    known = architecture(name)
    small = known.small_min_size is not None
    torch.manual_seed(0)
    net = build_model(name, num_classes=10, image_size=max(32, known.smallest(small)), small=small)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return net.train()


def _numbers(net: ConvNet, device: torch.device, precision: Precision) -> tuple[float, float]:
    """The loss of a batch of noise, and the norm of its gradient."""
    side, channels = net.spec["image_size"], net.spec["in_chans"]
    x = torch.randn(IMAGES, channels, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    y = (torch.arange(IMAGES) % 10).to(device)
    net.zero_grad(set_to_none=True)
    kind = precision.autocast
    with float32(precision.tf32):
        with torch.autocast(device.type, kind or torch.bfloat16, enabled=kind is not None):
            loss = net.training_loss(x, y, nn.functional.cross_entropy)
        loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in net.parameters() if p.grad is not None])
    return loss.item(), norm.item()


def memory(here: Here) -> Iterator[Check]:
    """A batch that does not fit is refused with one that does, and the next run has all the memory again."""
    if here.device.type == "cpu":
        yield Check("a batch that does not fit", None, "not tried: the processor's memory is everybody's")
        return
    data, (before, _) = images(20_000, 64), memory_in_use(here.device)
    settings: dict[str, Any] = {"device": str(here.device), "steps": 2, "amp": "off", "workers": 0, "seed": 0}
    try:
        podium.train(
            "vgg16", data, here.folder / "large", batch_size=20_000, progress=False, image_size=224, **settings
        )
        yield Check("a batch that does not fit", None, "20,000 images of 224 px fit into this device")
    except UsageError as error:
        yield Check("a batch that does not fit", "--batch-size" in str(error.fix), f"{error.what}; {error.fix}")
    kept = memory_in_use(here.device)[0] - before
    yield Check("what it leaves behind", kept <= KEPT, f"{kept / 1e6:,.0f} MB (at most {KEPT / 1e6:g})")
    after = podium.train(
        "resnet18", data, here.folder / "after", batch_size=64, progress=False, image_size=64, **settings
    )
    steps_ = after.result["steps"]
    yield Check("a run after it", steps_ == settings["steps"], f"{steps_} steps of {settings['steps']}")


class _Reads(TorchDispatchMode):
    """Counts the numbers that the processor reads from tensors of a device."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.counts = device, Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if READ in str(func) and args[0].device.type == self.device:
            self.counts[READ] += 1
        return func(*args, **(kwargs or {}))


def reads(here: Here) -> Iterator[Check]:
    """How many numbers of the device the processor waits for in a step of a plain run."""
    data, counts = images(1024, 32), {}
    for steps_ in (8, 24):
        mode = _Reads(here.device.type)
        with mode:
            out = here.folder / f"reads-{steps_}"
            settings: dict[str, Any] = {"steps": steps_, "batch_size": 64, "amp": "off", "workers": 0, "seed": 0}
            podium.train("resnet20", data, out, progress=False, device=str(here.device), **settings)
        counts[steps_] = mode.counts[READ]
    each = (counts[24] - counts[8]) / 16
    late = here.device.type == "cuda"  # other devices are read in every step
    yield Check("numbers read in a step", each == 0 if late else None, f"{each:g}" + (" (none)" if late else ""))
