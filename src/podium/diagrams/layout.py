"""The pieces of a diagram: boxes, chains, forks, shortcuts and repetitions, each with its size and a method that draws it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from podium.diagrams.svg import COLOURS, FAINT, SIZE, Canvas, text_width

GAP = 15  # from one piece to the next, with the arrow
ASIDE = 16  # from one branch to the next
THIN = {"normalisation", "activation", "join", "other"}


class Piece(Protocol):
    """A part of a diagram that can be drawn.

    A line enters at the top, at the distance `axis` from the left edge; where `arrow` is true, it ends with an arrow head.
    One line leaves at the bottom at each of the distances `exits` from the left edge.
    """

    @property
    def width(self) -> float: ...  # noqa: D102
    @property
    def height(self) -> float: ...  # noqa: D102
    @property
    def axis(self) -> float: ...  # noqa: D102
    @property
    def exits(self) -> tuple[float, ...]: ...  # noqa: D102
    @property
    def arrow(self) -> bool: ...  # noqa: D102

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw with the upper left corner at (x, y)."""


@dataclass(frozen=True)
class Box:
    """A layer.

    Args:
        text: description of the layer.
        kind: a key of `COLOURS`.
        after: kinds of the layers directly behind it, which are shown as bars at its lower edge.
        times: number of equal layers in a row.
        least: smallest width.
    """

    text: str
    kind: str
    after: tuple[str, ...] = ()
    times: int = 1
    least: float = 0
    arrow = True

    @property
    def label(self) -> str:
        """The text, with the number of layers before it."""
        return self.text if self.times == 1 else f"{self.times} × {self.text}"

    @cached_property
    def width(self) -> float:  # noqa: D102
        return max(self.least, text_width(self.label) + 12)

    @property
    def height(self) -> float:  # noqa: D102
        return 18 if self.kind in THIN else 24

    @property
    def axis(self) -> float:  # noqa: D102
        return self.width / 2

    @property
    def exits(self) -> tuple[float, ...]:  # noqa: D102
        return (self.axis,)

    def draw(self, canvas: Canvas, x: float, y: float) -> None:  # noqa: D102
        canvas.rectangle(x, y, self.width, self.height, *COLOURS[self.kind])
        bar = 3
        for number, kind in enumerate(reversed(self.after), 1):
            canvas.rectangle(x, y + self.height - number * bar, self.width, bar, COLOURS[kind][1])
        middle = y + (self.height - bar * len(self.after)) / 2
        canvas.text(x + self.axis, middle + 0.36 * SIZE, self.label)


@dataclass(frozen=True)
class Chain:
    """Pieces one after the other; a chain without pieces is a plain line."""

    pieces: tuple[Piece, ...]

    @cached_property
    def axis(self) -> float:  # noqa: D102
        return max((piece.axis for piece in self.pieces), default=0)

    @cached_property
    def width(self) -> float:  # noqa: D102
        return self.axis + max((piece.width - piece.axis for piece in self.pieces), default=0)

    @cached_property
    def height(self) -> float:  # noqa: D102
        return sum(piece.height for piece in self.pieces) + GAP * max(0, len(self.pieces) - 1)

    @property
    def exits(self) -> tuple[float, ...]:  # noqa: D102
        if not self.pieces:
            return (self.axis,)
        last = self.pieces[-1]
        return tuple(self.axis - last.axis + exit for exit in last.exits)

    @property
    def arrow(self) -> bool:  # noqa: D102
        return bool(self.pieces) and self.pieces[0].arrow

    def draw(self, canvas: Canvas, x: float, y: float) -> None:  # noqa: D102
        for number, piece in enumerate(self.pieces):
            if number:
                canvas.line((x + self.axis, y - GAP), (x + self.axis, y), arrow=piece.arrow)
            piece.draw(canvas, x + self.axis - piece.axis, y)
            y += piece.height + GAP


def chain(pieces: list[Piece]) -> Chain:
    """A chain of pieces, in which all boxes have the same width."""
    widest = max((piece.width for piece in pieces if isinstance(piece, Box)), default=0)
    return Chain(tuple(replace(piece, least=widest) if isinstance(piece, Box) else piece for piece in pieces))


@dataclass(frozen=True)
class Fork:
    """Branches side by side over one input.

    Args:
        branches: from left to right; an empty one is a plain line.
        join: text of the box that the branches lead into; None where each leads to the join of a fork around this one.
    """

    branches: tuple[Chain, ...]
    join: str | None = "concat"
    arrow = False
    # From the entry to the branches; largest distance of a branch from the middle to have the entry above it.
    lead, near = 20, 20

    @cached_property
    def width(self) -> float:  # noqa: D102
        return sum(branch.width for branch in self.branches) + ASIDE * (len(self.branches) - 1)

    @cached_property
    def height(self) -> float:  # noqa: D102
        return self._joined + (Box(self.join, "join").height if self.join else 0)

    @property
    def _joined(self) -> float:
        return self.lead + max(branch.height for branch in self.branches) + (GAP if self.join else 0)

    @cached_property
    def axis(self) -> float:  # noqa: D102
        middle = self.width / 2
        over = min((left + branch.axis for left, branch in self._placed()), key=lambda x: abs(x - middle))
        return over if abs(over - middle) < self.near else middle

    @cached_property
    def exits(self) -> tuple[float, ...]:  # noqa: D102
        if self.join:
            return (self.axis,)
        return tuple(left + exit for left, branch in self._placed() for exit in branch.exits)

    def _placed(self) -> list[tuple[float, Chain]]:
        lefts, left = [], 0.0
        for branch in self.branches:
            lefts.append(left)
            left += branch.width + ASIDE
        return list(zip(lefts, self.branches, strict=True))

    def draw(self, canvas: Canvas, x: float, y: float) -> None:  # noqa: D102
        rail, top, bottom = y + self.lead / 3, y + self.lead, y + self._joined
        canvas.line((x + self.axis, y), (x + self.axis, rail), arrow=False)
        for left, branch in self._placed():
            column = x + left + branch.axis
            canvas.line((x + self.axis, rail), (column, rail), (column, top), arrow=branch.arrow)
            branch.draw(canvas, x + left, top)
            for exit in branch.exits:
                place = x + left + exit
                canvas.line((place, top + branch.height), (place, bottom), arrow=self.join is not None)
        if self.join:
            Box(self.join, "join", least=self.width).draw(canvas, x, bottom)


@dataclass(frozen=True)
class Detour:
    """A residual unit: a branch, and a shortcut around it to where both are added.

    Args:
        branch: the residual branch.
        shortcut: empty for the identity.
        after: text of the layer directly behind the addition.
    """

    branch: Chain
    shortcut: Chain
    after: str = ""
    arrow = False
    lead, radius = 18, 8

    @property
    def axis(self) -> float:  # noqa: D102
        return max(self.branch.axis, text_width(self.after) + self.radius + 4)

    @property
    def _label(self) -> str:
        return "" if self.shortcut.pieces else "identity"

    @property
    def _beside(self) -> float:
        """Distance from the left edge to the shortcut."""
        return self.axis - self.branch.axis + self.branch.width + ASIDE

    @cached_property
    def width(self) -> float:  # noqa: D102
        return self._beside + max(self.shortcut.width, text_width(self._label) + 5)

    @cached_property
    def height(self) -> float:  # noqa: D102
        return self.lead + max(self.branch.height, self.shortcut.height) + GAP + 2 * self.radius

    @property
    def exits(self) -> tuple[float, ...]:  # noqa: D102
        return (self.axis,)

    def draw(self, canvas: Canvas, x: float, y: float) -> None:  # noqa: D102
        middle, side = x + self.axis, x + self._beside + self.shortcut.axis
        top, centre = y + self.lead, y + self.height - self.radius
        canvas.line((middle, y), (middle, top), arrow=self.branch.arrow)
        self.branch.draw(canvas, middle - self.branch.axis, top)
        canvas.line((middle, top + self.branch.height), (middle, centre - self.radius))
        fork, joined = (middle, y + self.lead / 3), (middle + self.radius, centre)
        if self.shortcut.pieces:
            start = top + (centre - self.radius - GAP - top - self.shortcut.height) / 2
            canvas.line(fork, (side, fork[1]), (side, start))
            self.shortcut.draw(canvas, x + self._beside, start)
            canvas.line((side, start + self.shortcut.height), (side, centre), joined)
        else:
            canvas.line(fork, (side, fork[1]), (side, centre), joined)
            canvas.text(side + 5, (top + centre) / 2, self._label, anchor="start", fill=FAINT)
        canvas.circle(middle, centre, self.radius, *COLOURS["join"])
        canvas.text(middle, centre + 0.36 * 14, "+", 14)
        if self.after:
            beside, colour = middle - self.radius - 4, COLOURS["activation"][1]
            canvas.text(beside, centre + 0.36 * SIZE, self.after, anchor="end", fill=colour)


@dataclass(frozen=True)
class Repeat:
    """A piece that is repeated several times in a row.

    Args:
        body: the piece.
        times: number of repetitions, at least 2.
        name: of the body, for the label.
    """

    body: Piece
    times: int
    name: str = ""
    arrow = False
    top, bottom, side = 22, 8, 10

    @property
    def label(self) -> str:
        """The text at the upper edge."""
        return f"{self.name} × {self.times}".strip()

    @property
    def axis(self) -> float:  # noqa: D102
        return self.side + self.body.axis

    @cached_property
    def width(self) -> float:  # noqa: D102
        return max(self.side + self.body.width, self.axis + text_width(self.label) + 4) + self.side

    @property
    def height(self) -> float:  # noqa: D102
        return self.top + self.body.height + self.bottom

    @property
    def exits(self) -> tuple[float, ...]:  # noqa: D102
        return tuple(self.side + exit for exit in self.body.exits)

    def draw(self, canvas: Canvas, x: float, y: float) -> None:  # noqa: D102
        canvas.rectangle(x, y, self.width, self.height, "none", FAINT, dashed=True)
        canvas.text(x + self.width - 6, y + 14, self.label, anchor="end", bold=True)
        canvas.line((x + self.axis, y), (x + self.axis, y + self.top), arrow=self.body.arrow)
        self.body.draw(canvas, x + self.side, y + self.top)
        for exit in self.exits:
            canvas.line((x + exit, y + self.height - self.bottom), (x + exit, y + self.height), arrow=False)
