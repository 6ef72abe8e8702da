"""The layers of a network in order of execution: the output, cost and receptive field of each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from podium.evaluation.cost import count_net, multiply_adds
from podium.models.convnet import ConvNet
from podium.models.modules import Branches, Grid, Residual, SqueezeExcitation
from podium.models.published import Published, published
from podium.models.registry import architecture, rebuild
from podium.models.structure import Node, Shape, describe, pair, trace
from podium.models.undrawn import meta

AUXILIARY = "auxiliary."


@dataclass(frozen=True)
class Layer:
    """A row of the layer table.

    Args:
        name: of the module in the network.
        part: the stem, the stage, the head or the auxiliary classifier that it is of.
        type: in a few words.
        shape: (C, H, W) or (F,) of its output.
        params: trainable parameters of its own.
        macs: multiply-adds for one image.
        receptive_field: (height, width) in pixels of what one position of its output sees; None for the whole image.
        activations: numbers that its output adds to memory; 0 where it works in place or passes its input on.
        training_only: whether it belongs to an auxiliary classifier, which is used in training only.
    """

    name: str
    part: str
    type: str
    shape: Shape
    params: int
    macs: int
    receptive_field: tuple[int, int] | None
    activations: int
    training_only: bool


@dataclass(frozen=True)
class View:
    """What positions of a map see of the image, as (height, width) in pixels.

    Args:
        field: what one position sees, with the padding around the image.
        step: from one position to the next.
    """

    field: tuple[int, int] = (1, 1)
    step: tuple[int, int] = (1, 1)

    def through(self, kernel: tuple[int, int], stride: tuple[int, int]) -> View:
        """The view of the next layer's positions [Dumoulin and Visin 2016, section 2; Araujo et al. 2019, Eq. 2]."""
        (height, width), (down, right) = self.field, self.step
        field = (height + (kernel[0] - 1) * down, width + (kernel[1] - 1) * right)
        return View(field, (down * stride[0], right * stride[1]))


def layers(net: ConvNet) -> list[Layer]:
    """A row for each layer, and for each join of branches, on one image of the network's own size.

    Receptive fields follow the paths of the maps; the gate of a squeeze-and-excitation, which knows the whole image, leaves
    them as they are.
    """
    rows: list[Layer] = []
    ends: dict[str, View | None] = {}
    view: View | None = View()
    for node in trace(net):
        part = node.name.removeprefix("stages.")
        before = ends[part.removeprefix(AUXILIARY)] if part.startswith(AUXILIARY) else view
        view = ends[part] = _rows(node, part, before, rows)
    return rows


def summary(net: ConvNet) -> dict[str, Any]:
    """Describe a registered network: its costs, the results of its paper, its stages and layers; errors are fractions."""
    rows, cost, name = layers(net), count_net(net), net.spec["model"]
    known, says = architecture(name), published(name)
    if says is not None and (whole := _paper_form(net)) is not None:
        depth = says.depth and says.depth + weighted_depth(net) - weighted_depth(whole)
        says = Published(
            depth, None, None, "", f"{'pruned' if 'edits' in net.spec else 'resized'}: not the paper's network"
        )
    errors = {"top1_error": says.top1, "top5_error": says.top5} if says else {"top1_error": None, "top5_error": None}
    return {
        "name": name,
        "family": known.family,
        "year": known.year,
        "paper": known.paper,
        "note": known.note,
        "spec": net.spec,
        "params": cost.params,
        "auxiliary_params": cost.auxiliary_params,
        "macs": cost.macs,
        "params_bytes": 4 * cost.params,
        "activations_bytes": 4 * sum(row.activations for row in rows if not row.training_only),
        "depth": says.depth if says else None,
        **{key: None if error is None else round(error / 100, 6) for key, error in errors.items()},
        "protocol": says.protocol if says else "",
        "source": says.source if says else "",
        "stages": [{"name": stage, "shape": shape} for stage, shape in cost.stages],
        "layers": [asdict(row) for row in rows],
    }


# Of a spec: what leaves a network the paper's.
FORM = ("model", "num_classes", "in_chans", "image_size", "small", "ones")


def _paper_form(net: ConvNet) -> ConvNet | None:
    """The paper's network in the same form, where this one was pruned, or built narrower or shallower; else None."""
    if set(net.spec) <= {*FORM, "aux"}:
        return None
    whole = meta(lambda: rebuild({key: net.spec[key] for key in FORM if key in net.spec}))
    return whole if "edits" in net.spec or count_net(whole).macs != count_net(net).macs else None


def weighted_depth(net: ConvNet) -> int:
    """Convolutions and fully connected layers on the longest path from input to output; without projections and gates."""
    return sum(_deep(node) for node in trace(net) if not node.name.startswith(AUXILIARY))


def _deep(node: Node) -> int:
    if isinstance(node.module, Branches):
        return max(map(_deep, node.children))
    if isinstance(node.module, Residual):
        return _deep(node.children[0])
    if isinstance(node.module, SqueezeExcitation):
        return 0
    return sum(map(_deep, node.children)) + isinstance(node.module, nn.Conv2d | nn.Linear)


def _rows(node: Node, part: str, view: View | None, rows: list[Layer]) -> View | None:
    """Append the rows of a block, or of a layer; the view of what comes out of it."""
    module = node.module
    if isinstance(module, nn.Identity):
        return view
    if isinstance(module, Branches | Residual):
        sides = [_rows(child, part, view, rows) for child in node.children]
        view = _widest(sides)
    elif isinstance(module, SqueezeExcitation):
        gate: View | None = None
        for child in node.children:
            gate = _rows(child, part, gate, rows)
    elif node.children:
        for child in node.children:
            view = _rows(child, part, view, rows)
        return view
    else:
        view = _after(node, view)
    if text := describe(module):
        rows.append(_row(node, part, text, view))
    return view


def _row(node: Node, part: str, text: str, view: View | None) -> Layer:
    output = torch.empty(node.shape, device="meta")
    own = 0 if node.children else sum(p.numel() for p in node.module.parameters())
    hands_on = getattr(node.module, "inplace", False) or isinstance(node.module, nn.Flatten | nn.Dropout | Grid)
    return Layer(
        name=node.name,
        part=part,
        type=text,
        shape=node.shape,
        params=own,
        macs=multiply_adds(node.module, output),
        receptive_field=view.field if view else None,
        activations=0 if hands_on else output.numel(),
        training_only=part.startswith(AUXILIARY),
    )


def _after(node: Node, view: View | None) -> View | None:
    """What a layer's positions see; a vector's numbers, and those of a global average, see the whole image."""
    layer: Any = node.module
    if view is None or len(node.shape) == 1:
        return None
    if not isinstance(layer, nn.AdaptiveAvgPool2d):
        return view.through(pair(getattr(layer, "kernel_size", 1)), pair(getattr(layer, "stride", 1)))
    if node.shape[1:] == (1, 1):
        return None
    (height, width), (rows, columns) = node.inputs[1:], node.shape[1:]
    stride = (height // rows, width // columns)
    return view.through((height - (rows - 1) * stride[0], width - (columns - 1) * stride[1]), stride)


def _widest(sides: list[View | None]) -> View | None:
    """Of branches that join: at each axis the largest field."""
    known = [side for side in sides if side is not None]
    if len(known) < len(sides):
        return None
    heights, widths = zip(*(side.field for side in known), strict=True)
    return View((max(heights), max(widths)), known[0].step)
