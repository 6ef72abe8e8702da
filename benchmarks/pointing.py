"""The pointing game [Zhang et al. 2018, section 4.1] for every network, on images of which only one corner carries the class.

A random corner of an image has a patch of stripes or squares, which are the class, and the others have noise or nothing. A fifth
class has no such patch: without it a network could take one class for granted, and find it where the others are not. A network that
has learned the class must have found it there, so most of a heat map for the class should lie in that quarter of the image (the
energy-based form of the game [Wang et al. 2020, "Score-CAM", section 4.2]), and its highest place too. Our target is 99 % of the images
for every network by both. A network is built for images of 64 pixels, in its small form where it has one, or for photos of 128 pixels,
whichever costs less, and trained in bfloat16 where the processor has it; its maps are computed in float32. Occlusion, which takes as long
as training, is tried on the cheapest network of each family. Each finished network is kept, and the same command goes on with the others.
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from record import ROOT, arguments, record
from torch import Tensor, nn

from podium.devices import native_bf16
from podium.evaluation.cost import count
from podium.explain.class_map import map_sides
from podium.explain.colours import on_photo
from podium.explain.heat import heat_maps, span_of
from podium.models import architecture, list_models
from podium.models.convnet import ConvNet
from podium.models.registry import rebuild
from podium.training.muon import Muon

CLASSES, BATCH = 5, 32  # the last class has no corner
SIDE, PHOTO = 64, 128  # pixels of the images: of networks for small images, and for photos
TESTED, COVERED = 200, 50  # images on which a map is evaluated; by occlusion, which takes a hundred times as long
CHECK_EVERY = 20  # steps
RATE, RATES = 1e-2, {"lenet5": 5e-3}  # learning rate; the tanh and the weights of 1998 take a higher one
QUICK = ("grad-cam", "class-map")
METHODS = (*QUICK, "occlusion")
CPU = torch.device("cpu")
RESULT = ROOT / "benchmarks" / "results" / "pointing.json"
LEARNED = 0.995  # accuracy on fresh images at which training ends


def images(count: int, side: int, channels: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw images (N, C, side, side), their classes (N,), and the corners (N,) that carry them: 0 top left to 3 bottom right."""
    draw = np.random.default_rng(seed)
    patch, width = side // 4, max(1, side // 32)
    x = draw.normal(0, 0.15, (count, side, side)).astype(np.float32)
    classes, corners = draw.integers(0, CLASSES, count), draw.integers(0, 4, count)
    patches = (
        draw.integers(0, 2, (count, 4, patch // width, patch // width)).repeat(width, 2).repeat(width, 3) * 2.0 - 1
    )
    patches *= draw.random((count, 4, 1, 1)) < 0.5
    rows, columns = np.indices((patch, patch)) // width
    textures = np.stack([rows, columns, rows + columns, (rows + columns) // 2]) % 2 * 2.0 - 1
    carried = np.flatnonzero(classes < len(textures))
    patches[carried, corners[carried]] = textures[classes[carried]]
    inwards = draw.integers(0, side // 8 + 1, (count, 4, 2))  # pixels between a patch and the corner of the image
    halves = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
    places = np.where(halves, side - patch - inwards, inwards)
    for image, own, where in zip(x, patches, places, strict=True):
        for each, (top, left) in zip(own, where.tolist(), strict=True):
            image[top : top + patch, left : left + patch] += each
    whole = torch.from_numpy(x)[:, None].repeat(1, channels, 1, 1)
    return whole, torch.from_numpy(classes), torch.from_numpy(corners)


def spec_of(name: str, side: int | None = None) -> dict[str, Any]:
    """How a network is built for images of a side: in its small form where it has one; None: for `SIDE` or photos, as costs less."""
    known = architecture(name)
    has_small = known.small_min_size is not None
    spec = {"model": name, "num_classes": CLASSES, "in_chans": known.in_chans}
    small = {**spec, "image_size": max(side or SIDE, known.smallest(has_small)), "small": has_small}
    photo = {**spec, "image_size": max(PHOTO, known.smallest(False)), "small": False}
    return small if side is not None or not has_small else min(small, photo, key=lambda spec: count(spec).macs)


def built(name: str, side: int | None = None, **arguments: Any) -> ConvNet:
    """A network for these images, with fresh weights; the arguments make a smaller one of the same family."""
    torch.manual_seed(0)
    net = rebuild({**spec_of(name, side), **arguments})
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = (
                0.1  # papers that train for days have less, and their statistics would not be there in time
            )
    return net


def trained(net: ConvNet, steps: int) -> tuple[int, float]:
    """Train a network until it answers fresh images, and return the steps it took and its accuracy."""
    side, channels = net.spec["image_size"], net.spec["in_chans"]
    test = images(TESTED, side, channels, seed=1)
    lr = RATES.get(net.spec["model"], RATE)
    optimizer = Muon([{"params": list(net.parameters()), "weight_decay": 0.01}], lr=lr)
    accuracy = 0.0
    for step in range(1, steps + 1):
        net.train()
        x, y, _ = images(BATCH, side, channels, seed=1000 + step)
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, step / 20)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=native_bf16(CPU)):
            loss = net.training_loss(x, y, F.cross_entropy)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if step % CHECK_EVERY == 0 or step == steps:
            net.eval()
            with torch.no_grad():
                accuracy = float((net(test[0]).argmax(1) == test[1]).float().mean())
            if accuracy >= LEARNED:
                break
    return step, accuracy


def quarters(maps: np.ndarray, span: float) -> tuple[Tensor, Tensor]:
    """The quarter of the image, (N,) numbers as of `images`, in which each map (N, h, w) is highest, and that which has most of it.

    The maps are drawn on the image first, of which they have the share `span` of each side.
    """
    drawn = [on_photo(one, (0, 0, SIDE, SIDE), SIDE, SIDE, span) for one in maps]
    fine = torch.from_numpy(np.stack(drawn))[:, None]
    place, half = fine.flatten(1).argmax(1), SIDE // 2
    highest = 2 * (place // SIDE >= half).long() + (place % SIDE >= half).long()
    return highest, F.avg_pool2d(fine, half).flatten(1).argmax(1)


def hits(net: ConvNet, method: str, count: int = TESTED) -> dict[str, float]:
    """The shares of images whose map for their class is highest, and has most of its heat, in the corner that carries it."""
    x, y, corners = images(count * CLASSES, net.spec["image_size"], net.spec["in_chans"], seed=2)
    rows = torch.nonzero(y < CLASSES - 1)[:count, 0]
    maps = np.concatenate([heat_maps(net, x[some], y[some].numpy(), method) for some in rows.split(BATCH)])
    span = span_of(net, method, net.spec["image_size"])
    shares = [round(float((found == corners[rows]).float().mean()), 4) for found in quarters(maps, span)]
    return dict(zip(("highest", "most"), shares, strict=True))


def measured(name: str, steps: int, methods: tuple[str, ...]) -> dict[str, Any]:
    """The row of one network."""
    start, net = time.perf_counter(), built(name)
    taken, accuracy = trained(net, steps)
    seconds = time.perf_counter() - start
    methods = tuple(method for method in methods if method != "class-map" or max(map_sides(net)) > 1)
    shares = {method: hits(net, method, COVERED if method == "occlusion" else TESTED) for method in methods}
    form = {"image_size": net.spec["image_size"], "small": net.spec["small"]}
    form |= {"amp": "bf16" if native_bf16(CPU) else "off", "optimizer": "Muon"}
    return {"name": name, **form, "steps": taken, "seconds": round(seconds, 1), "accuracy": accuracy, "hits": shares}


def in_order(names: list[str]) -> dict[str, tuple[str, ...]]:
    """The cheapest network of each family, then the others, each by what an image costs; with the methods to try."""
    by_cost = sorted(names, key=lambda name: count(spec_of(name)).macs)
    first: dict[str, str] = {}
    for name in by_cost:
        first.setdefault(architecture(name).family, name)
    return {**dict.fromkeys(first.values(), METHODS), **{name: QUICK for name in by_cost if name not in first.values()}}


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=2000, help="the most training steps of a network [2000]")
    parser.add_argument("--models", default="*", help="a shell pattern [all]")
    args = parser.parse_args()
    done = json.loads(RESULT.read_text())["networks"] if RESULT.is_file() else []
    finished = {row["name"] for row in done}
    for name, methods in in_order(list_models(args.models)).items():
        if name in finished:
            continue
        done.append(measured(name, args.steps, methods))
        record("pointing", {"target": 0.99, "images": TESTED, "networks": done})
