"""Draw a network as a diagram with the detail of its paper's figure: an SVG page, made from the layers of the network."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from functools import cached_property

from torch import nn

from podium.diagrams.layout import Box, Chain, Detour, Fork, Piece, Repeat, chain
from podium.diagrams.svg import COLOURS, FAINT, SIZE, Canvas, text_width
from podium.models.convnet import ConvNet
from podium.models.modules import Branches, Grid, Residual, SqueezeExcitation
from podium.models.structure import Node, describe, format_sizes, trace

MARGIN = 24
BETWEEN = 40  # from one part to the next; the shape of the map is written there
GUTTER = 44  # from one column of parts to the next
WIDEST = 1400  # of the columns together: what a screen shows without scrolling
HEADING = 150  # about the height of the title, notes and legend above them
ASPECT = 1.4  # width to height that a page comes near to

# The kind of a layer by a word in its description; the first that matches.
KINDS = {
    "conv": "convolution",
    "pool": "pooling",
    "subsampling": "pooling",
    "norm": "normalisation",
    "LRN": "normalisation",
    "ReLU": "activation",
    "tanh": "activation",
    "fc": "fully connected",
    "radial basis": "fully connected",
    "squeeze": "squeeze-excitation",
}


def pieces(node: Node) -> list[Piece]:
    """The pieces of a block, in order; conv-BN-ReLU is one box, and equal neighbours are one piece with their number."""
    module = node.module
    if isinstance(module, Residual):
        branch, after = pieces(node.children[0]), "ReLU" if module.act else ""
        if module.scale != 1:
            branch.append(_box(f"× {module.scale:g}"))
        if module.shortcut is None:
            return _folded([*branch, _box(after)]) if after else branch
        return [Detour(chain(branch), chain(pieces(node.children[1])), after)]
    if isinstance(module, Branches):
        return [Fork(tuple(chain(_open(pieces(child))) for child in node.children))]
    if isinstance(module, SqueezeExcitation):
        return [_box("squeeze-excitation")]
    if node.children:
        found: list[Piece] = []
        for group, equal in itertools.groupby(pieces(child) for child in node.children):
            times = len(list(equal))
            found += [Repeat(chain(group), times)] if times > 1 and len(group) > 1 else group * times
        return _folded(found)
    unchanged = isinstance(module, Grid | nn.AdaptiveAvgPool2d) and node.inputs[-2:] == _grid(node)
    if unchanged or isinstance(module, nn.Identity | nn.Flatten):
        return []
    return [_box(f"avg pool to {format_sizes(_grid(node))}" if isinstance(module, Grid) else describe(module))]


def _grid(node: Node) -> tuple[int, ...]:
    """Height and width of the map that average pooling to a grid makes."""
    return (node.module.side, node.module.side) if isinstance(node.module, Grid) else node.shape[-2:]


def _box(text: str) -> Box:
    return Box(text, next((kind for word, kind in KINDS.items() if word in text), "other"))


def _open(branch: list[Piece]) -> list[Piece]:
    """The branch, with a fork at its end opened, so that its lines lead to the join of the fork around it."""
    if branch and isinstance(branch[-1], Fork):
        branch[-1] = replace(branch[-1], join=None)
    return branch


def _folded(found: list[Piece]) -> list[Piece]:
    """The pieces with norms and activations merged into the layers before them, and each run of equal pieces as one."""
    merged: list[Piece] = []
    for piece in found:
        one = _merged(merged[-1], piece) if merged else None
        merged[-1:] = [one] if one else [*merged[-1:], piece]
    out: list[Piece] = []
    for piece, equal in itertools.groupby(merged, lambda p: replace(p, times=1) if isinstance(p, Box) else p):
        run = list(equal)
        if isinstance(piece, Box):
            out.append(replace(piece, times=sum(box.times for box in run if isinstance(box, Box))))
        elif len(run) == 1:
            out += run
        else:
            dense = isinstance(piece, Fork) and any(not branch.pieces for branch in piece.branches)
            out.append(Repeat(piece, len(run), "dense layer" if dense else ""))
    return out


def _merged(before: Piece, piece: Piece) -> Box | None:
    """Two layers as one box where papers draw them so, else None."""
    if not (isinstance(before, Box) and isinstance(piece, Box)) or before.times > 1:
        return None
    norm = piece.text == "batch norm" and before.kind == "convolution" and not before.after
    activation = piece.kind == "activation" and "activation" not in (before.kind, *before.after)
    if norm or activation:
        return replace(before, after=(*before.after, piece.kind))
    if before.text.startswith("depthwise conv") and not before.after and piece.text.startswith("conv 1x1,"):
        kernel = before.text.removeprefix("depthwise conv ").partition(",")[0]
        return replace(piece, text=f"separable conv {kernel},{piece.text.partition(',')[2]}")
    return None


@dataclass(frozen=True)
class Part:
    """The stem, the head, a stage or several equal stages: a frame with a name, around the pieces in it.

    Args:
        names: of the equal parts that it stands for.
        body: the pieces in the frame.
        shape: of the output, as text.
        auxiliary: the pieces of the classifier that reads the output in training.
    """

    names: tuple[str, ...]
    body: Chain
    shape: str
    auxiliary: Chain | None = None
    side, top = 12, 28

    @property
    def title(self) -> str:
        """The name; both names of two parts; the first and the last name of more."""
        return ", ".join(self.names) if len(self.names) < 3 else f"{self.names[0]} to {self.names[-1]}"

    @cached_property
    def left(self) -> float:
        """From the left edge to the axis; the title stands there too."""
        return max(self.body.axis, text_width(self.title, SIZE + 1) + 4) + self.side

    @cached_property
    def right(self) -> float:
        """From the axis to the right edge; the shape is written beneath."""
        return max(self.body.width - self.body.axis + self.side, text_width(self.shape) + 8)

    @cached_property
    def height(self) -> float:
        """Height of the frame."""
        return self.top + self.body.height + self.side

    def draw(self, canvas: Canvas, axis: float, y: float, left: float, right: float) -> None:
        """Draw the frame with its top at y, and its edges at the distances `left` and `right` from the axis."""
        frame = canvas.rectangle(axis - left, y, left + right, self.height, "#f6f8fa", "#d0d7de")
        ET.SubElement(frame, "title").text = ", ".join(self.names)
        canvas.text(axis - left + 8, y + 16, self.title, SIZE + 1, anchor="start", bold=True)
        if len(self.names) > 1:
            times = f"× {len(self.names)}"
            canvas.text(axis + right - 8, y + 16, times, SIZE + 1, anchor="end", bold=True)
        top = y + self.top
        canvas.line((axis, y), (axis, top), arrow=self.body.arrow)
        self.body.draw(canvas, axis - self.body.axis, top)
        canvas.line((axis, y + self.height - self.side), (axis, y + self.height), arrow=False)


@dataclass(frozen=True)
class Column:
    """Parts from top to bottom, with the auxiliary classifiers beside them."""

    parts: tuple[Part, ...]
    heading = ("auxiliary classifier", "in training only")

    @cached_property
    def left(self) -> float:  # noqa: D102
        return max(part.left for part in self.parts)

    @cached_property
    def right(self) -> float:
        """From the axis to the right edge of the frames."""
        return max(part.right for part in self.parts)

    @cached_property
    def lane(self) -> float:
        """Width of the auxiliary classifiers beside the frames, with their margin."""
        beside = [part.auxiliary.width for part in self.parts if part.auxiliary]
        return max(*beside, text_width(self.heading[0])) + 2 * Part.side + MARGIN if beside else 0

    @property
    def width(self) -> float:  # noqa: D102
        return self.left + self.right + self.lane

    @cached_property
    def height(self) -> float:
        """From the top of the first part to the end of the last shape's text."""
        ends, y = [], 0.0
        for part in self.parts:
            y += part.height
            ends += [y + BETWEEN] + ([y + 24 + self._tall(part.auxiliary) + MARGIN] if part.auxiliary else [])
            y += BETWEEN
        return max(ends)

    @staticmethod
    def _tall(auxiliary: Chain) -> float:
        """Height of the frame around an auxiliary classifier."""
        return 44 + auxiliary.height + Part.side

    def draw(self, canvas: Canvas, x: float, y: float) -> tuple[float, float]:
        """Draw the column with its top at y, and return the point where the line leaves its last part."""
        axis = x + self.left
        for part in self.parts:
            part.draw(canvas, axis, y, self.left, self.right)
            y += part.height
            canvas.text(axis + 7, y + 26, part.shape, anchor="start", fill=FAINT)
            if part.auxiliary:
                self._draw_auxiliary(canvas, part.auxiliary, axis, y)
            if part is not self.parts[-1]:
                canvas.line((axis, y), (axis, y + BETWEEN))
                y += BETWEEN
        return axis, y

    def _draw_auxiliary(self, canvas: Canvas, auxiliary: Chain, axis: float, y: float) -> None:
        left, width, top = axis + self.right + MARGIN, self.lane - MARGIN, y + 24
        middle = left + width / 2
        canvas.rectangle(left, top, width, self._tall(auxiliary), "none", FAINT, dashed=True)
        canvas.line((axis, y + 9), (middle, y + 9), (middle, top))
        for number, line in enumerate(self.heading):
            canvas.text(middle, top + 16 + 14 * number, line, fill=FAINT)
        auxiliary.draw(canvas, middle - auxiliary.axis, top + 44)


def diagram(net: ConvNet, title: str, *notes: str) -> str:
    """Draw a network, and return the text of an SVG file: white, in a font that every machine has, at most a screen wide.

    Args:
        net: the network, of which only the layers and their shapes count.
        title: the headline.
        notes: lines under the title.
    """
    columns, canvas = _columns(_parts(net)), Canvas()
    y: float = MARGIN + 20
    canvas.text(MARGIN, y, title, 20, anchor="start", bold=True)
    for note in notes:
        y += 18
        canvas.text(MARGIN, y, note, 12, anchor="start", fill=FAINT)
    wide = sum(column.width for column in columns) + GUTTER * (len(columns) - 1)
    wide = max(wide, text_width(title, 20), *(text_width(note, 12) for note in notes), 480)
    y = _legend(canvas, columns, y + 18, wide) + MARGIN
    end = y + BETWEEN + max(column.height for column in columns)
    x: float = MARGIN
    image = format_sizes((net.spec["in_chans"], net.spec["image_size"], net.spec["image_size"]))
    canvas.text(x + columns[0].left + 7, y + 14, f"image {image}", anchor="start", fill=FAINT)
    canvas.line((x + columns[0].left, y), (x + columns[0].left, y + BETWEEN))
    for column, following in itertools.zip_longest(columns, columns[1:]):
        axis, bottom = column.draw(canvas, x, y + BETWEEN)
        x += column.width
        if following is None:
            canvas.line((axis, bottom), (axis, bottom + BETWEEN))
        else:
            lane, entry = x + GUTTER / 2, x + GUTTER + following.left
            low, high = y + column.height + BETWEEN, y + BETWEEN / 2
            canvas.line((axis, bottom), (axis, low), (lane, low), (lane, high), (entry, high), (entry, y + BETWEEN))
        x += GUTTER
    return canvas.page(title, wide + 2 * MARGIN, end + MARGIN)


def _parts(net: ConvNet) -> list[Part]:
    """The parts from the stem to the head, each with the auxiliary classifier that reads it."""
    nodes = {node.name.removeprefix("stages."): node for node in trace(net)}
    parts: list[Part] = []
    for name, node in nodes.items():
        body = chain(pieces(node))
        if name.startswith("auxiliary.") or not body.pieces:
            continue
        side = nodes.get(f"auxiliary.{name}")
        shape = f"{node.shape[0]} classes" if name == "head" else format_sizes(node.shape)
        part = Part((name,), body, shape, chain(pieces(side)) if side else None)
        if parts and replace(parts[-1], names=(name,)) == replace(part, auxiliary=None):
            part = replace(part, names=(*parts.pop().names, name))
        parts.append(part)
    return parts


def _columns(parts: list[Part]) -> list[Column]:
    """Arrange the parts in columns, so that the page comes near to `ASPECT` and is at most `WIDEST` wide."""

    def filled(limit: float) -> list[Column]:
        columns: list[Column] = []
        for part in parts:
            longer = Column((*columns[-1].parts, part)) if columns else Column((part,))
            if columns and longer.height <= limit:
                columns[-1] = longer
            else:
                columns.append(Column((part,)))
        return columns

    def strain(columns: list[Column]) -> tuple[bool, float]:
        wide = sum(column.width for column in columns) + GUTTER * (len(columns) - 1)
        high = max(column.height for column in columns)
        ratio = wide / ASPECT / (high + HEADING)
        uneven = high * len(columns) / sum(column.height for column in columns)
        return wide > WIDEST, uneven * max(ratio, 1 / ratio)

    limits = {Column(tuple(parts[i:j])).height for i, j in itertools.combinations(range(len(parts) + 1), 2)}
    return min(map(filled, sorted(limits)), key=strain)


def _legend(canvas: Canvas, columns: list[Column], y: float, wide: float) -> float:
    """Draw the legend of the colours that the columns use, and return the y where it ends."""
    drawn = Canvas()
    for column in columns:
        column.draw(drawn, 0, 0)
    used = {element.get("fill") for element in drawn.group}
    entries = [(kind, False) for kind, (fill, _) in COLOURS.items() if fill in used]
    bars = ("normalisation", "activation")
    entries += [(kind, True) for kind in bars if COLOURS[kind][1] in {e.get("fill") for e in drawn.group.iter("rect")}]
    x: float = MARGIN
    for kind, bar in entries:
        label = f"{kind.replace('normalisation', 'batch norm')} after it" if bar else kind
        width = 24 + text_width(label) + 12
        if x > MARGIN and x + width > MARGIN + wide:
            x, y = MARGIN, y + 20
        fill, edge = COLOURS[kind]
        if bar:
            canvas.rectangle(x, y, 18, 12, "#ffffff", FAINT)
            canvas.rectangle(x, y + 9, 18, 3, edge)
        else:
            canvas.rectangle(x, y, 18, 12, fill, edge)
        canvas.text(x + 24, y + 10, label, anchor="start", fill=FAINT)
        x += width
    return y + 12
