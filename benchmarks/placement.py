"""Where a heat map lies: does each place of a last feature map look where the padding puts it, or where the map drawn over the whole image has it?

Padding on both sides and a stride of two put place i of a ResNet's map at pixel i * step of the image [Araujo et al. 2019, Eq. 4],
half a step further up and left than its place in a map that is centred on the image. Two measurements say what a network really
looks at, before and after training. "looks": the centre of the squared gradient of what the strongest places of the map add to the
logit, in pixels from their places in the centred map; the image is the middle one of nine, so that no gradient is cut off at an
edge. "agreement": the mean correlation of the map with occlusion, which covers pixels of the image and knows no layers, for the
map stretched over the image, centred with its own step (what Podium draws), and where the padding puts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from pointing import BATCH, built, images, trained
from record import SHARED, arguments, record
from torch import Tensor, nn

import podium
from podium.explain.colours import on_photo
from podium.explain.heat import heat_maps, span_of
from podium.explain.last_map import last_map, pieces
from podium.models.convnet import ConvNet
from podium.models.modules import Branches, Residual, SqueezeExcitation
from podium.models.registry import rebuild
from podium.models.structure import Node, pair, trace

SMALL: dict[
    str, tuple[int, dict[str, Any]]
] = {  # pixels, and what makes a network small enough to be trained in seconds
    "lenet5_modern": (32, {}),
    "resnet20": (32, {}),
    "resnet18": (32, {"width": 16}),
    "seresnet18": (32, {"width": 16}),
    "resnetv2_110": (32, {"units": (2, 2, 2)}),
    "wide_resnet50_2": (32, {"units": (1, 1, 1, 1), "width": 16, "group_width": 32}),
}
WEIGHTS = SHARED / "data" / "weights"
FOREIGN = {  # weights that others trained, and the images that they see
    "akamaster:resnet20": ("resnet20-12fca82f.th", "cifar10"),
    "akamaster:resnet56": ("resnet56-4bfd9763.th", "cifar10"),
    "keras:MobileNet_0.75": ("mobilenet_7_5_224_tf.h5", "flowers/flowers-500.tar"),
}
LOOKS, COVERED = 24, {32: 60, 224: 16}  # images; those of occlusion by their side
STRONGEST = 3  # places of each image


def first_path(nodes: list[Node] | tuple[Node, ...]) -> Iterator[nn.Module]:
    """The layers along the first branch wherever there are several, in order; in these networks all branches are centred alike."""
    for node in nodes:
        if isinstance(node.module, Branches | Residual):
            yield from first_path(node.children[:1])
        elif node.children and not isinstance(node.module, SqueezeExcitation):
            yield from first_path(node.children)
        else:
            yield node.module


def first_place(net: ConvNet) -> tuple[float, int]:
    """The pixel on which the first place of the last map is centred, by the padding, and the step to the next, in pixels."""
    centre, step = 0.5, 1
    for layer in first_path([node for node in trace(net) if node.name != "head"]):
        kernel, stride = (pair(getattr(layer, name, 1))[0] for name in ("kernel_size", "stride"))
        padding = pair(layer.padding)[0] if isinstance(layer, nn.ZeroPad2d) or kernel > 1 else 0  # type: ignore[arg-type]
        centre += ((kernel - 1) / 2 - padding) * step
        step *= stride
    return centre, step


def looks(net: ConvNet, x: Tensor, classes: Tensor) -> float:
    """How far down and right of its place in a centred map the network looks, in pixels; negative for up and left."""
    side, found = x.shape[-1], []
    centre, step = first_place(net)
    trunk = nn.Sequential(*pieces(net)[: last_map(net, x[:1])[0] + 1])
    weights = net.head.classifier.weight.detach()  # type: ignore[operator]
    for number, label in enumerate(classes.tolist()):
        nine = x[[(number + shift) % len(x) for shift in (1, 2, 3, 4, 0, 5, 6, 7, 8)]]
        canvas = nine.unflatten(0, (3, 3)).permute(2, 0, 3, 1, 4).reshape(1, -1, 3 * side, 3 * side).requires_grad_()
        features = trunk(canvas)[0]
        fits = weights.shape[1] == len(features)  # behind an average pool; elsewhere all channels count alike
        places = (weights[label][:, None, None] * features).sum(0) if fits else features.relu().sum(0)
        first, last = (int(np.ceil((edge - centre) / step)) for edge in (side, 2 * side))
        inner = places[first:last, first:last]
        for place in inner.flatten().topk(STRONGEST).indices.tolist():
            row, column = divmod(place, inner.shape[1])
            (gradient,) = torch.autograd.grad(inner[row, column], canvas, retain_graph=True)
            seen = gradient[0].double().square().sum(0)
            pixels = torch.arange(3 * side) + 0.5
            for at, line in ((row, seen.sum(1)), (column, seen.sum(0))):
                found.append(float((line * pixels).sum() / line.sum()) - (centre + (first + at) * step))
    return float(np.mean(found)) - to_middle(net, centre, step)


def to_middle(net: ConvNet, centre: float, step: int) -> float:
    """Pixels from where the padding puts a map to where it is centred on the image."""
    size = net.spec["image_size"]
    places = span_of(net, "grad-cam", size) * size / step
    return size / 2 - (centre + (places - 1) / 2 * step)


def agreement(net: ConvNet, x: Tensor, classes: Tensor) -> dict[str, float]:
    """The mean correlation of Grad-CAM with occlusion, by where the map is drawn."""
    size, labels = net.spec["image_size"], classes.numpy()
    maps = np.concatenate(
        [heat_maps(net, x[i : i + BATCH], labels[i : i + BATCH], "grad-cam") for i in range(0, len(x), BATCH)]
    )
    covered = heat_maps(net, x, labels, "occlusion")
    middle, span = to_middle(net, *first_place(net)), span_of(net, "grad-cam", size)
    half = span * size / 2
    low, high = size / 2 - half - middle, size / 2 + half - middle
    drawn = {
        "stretched": lambda one: on_photo(one, (0, 0, size, size), size, size),
        "centred": lambda one: on_photo(one, (0, 0, size, size), size, size, span),
        "by_padding": lambda one: beyond(one, low, high, size),
    }
    return {
        name: round(float(np.nanmean([alike(draw(a), b) for a, b in zip(maps, covered, strict=True)])), 3)
        for name, draw in drawn.items()
    }


def beyond(values: np.ndarray, low: float, high: float, size: int) -> np.ndarray:
    """A map whose places are spread from one pixel to another, over the image; beyond the outer places it stays as it is there."""
    at = (np.arange(size) + 0.5 - low) / (high - low) * len(values) - 0.5
    weights = np.maximum(0, 1 - np.abs(at.clip(0, len(values) - 1)[:, None] - np.arange(len(values))))
    return weights @ values @ weights.T


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """The correlation of two maps; not a number where one is flat."""
    with np.errstate(invalid="ignore"):
        return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def row(name: str, net: ConvNet, x: Tensor, classes: Tensor) -> dict[str, Any]:
    """What is measured of a network, and of the same network with fresh weights."""
    torch.manual_seed(0)
    fresh, (centre, step) = rebuild(net.spec).eval(), first_place(net)
    few = COVERED[min(COVERED, key=lambda side: abs(side - x.shape[-1]))]
    return {
        "name": name,
        "image_size": net.spec["image_size"],
        "step": step,
        "padding": round(-to_middle(net, centre, step), 2),
        "looks_untrained": round(looks(fresh, x[:LOOKS], classes[:LOOKS]), 2),
        "looks": round(looks(net, x[:LOOKS], classes[:LOOKS]), 2),
        "agreement": agreement(net, x[:few], classes[:few]),
    }


def small(name: str) -> dict[str, Any]:
    """The row of a network that learns which corner carries the class."""
    side, arguments = SMALL[name]
    net = built(name, side, **arguments)
    trained(net, 2000)
    x, classes, _ = images(100, side, net.spec["in_chans"], seed=3)
    return row(name, net.eval(), x[classes < 4], classes[classes < 4])


def foreign(name: str) -> dict[str, Any]:
    """The row of a network that others trained, on real images, each explained for the network's answer."""
    file, data = FOREIGN[name]
    model = podium.import_weights(name, WEIGHTS / file)
    source, p = podium.load_data(SHARED / "data" / data), model.preprocessing
    split = source.splits["test" if "test" in source.splits else "val"]
    rows = np.linspace(0, len(split) - 1, max(COVERED.values()), dtype=int)
    x = model.normalised(np.stack([p.square(split.image(int(i), p.channels)) for i in rows]))
    with torch.no_grad():
        classes = torch.cat([model.model.eval()(some).argmax(1) for some in x.split(BATCH)])
    return row(name, model.model, x, classes)


if __name__ == "__main__":
    arguments(__doc__).parse_args()
    done = [small(name) for name in SMALL] + [foreign(name) for name in FOREIGN]
    record("placement", {"networks": done})
