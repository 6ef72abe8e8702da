"""Where names stand beside the marks of a chart, so that they cover neither each other nor marks and intervals."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 500.0, 280.0  # of the chart's inside where two stand side by side, in pixels, about
LETTER, LINE = 7.0, 14.0  # the size of a letter
MARK = 8.0  # half the side of a mark
# What plotly calls the places -> in which direction the name is moved away from the mark; the best place first.
PLACES = {
    "top center": (0, 1),
    "bottom center": (0, -1),
    "middle right": (1, 0),
    "middle left": (-1, 0),
    "top right": (1, 1),
    "top left": (-1, 1),
    "bottom right": (1, -1),
    "bottom left": (-1, -1),
}
Box = tuple[float, float, float, float]  # left, bottom, right, top


def places(points: Sequence[tuple[float, float, float, float, str]]) -> list[str]:
    """Where each name stands: at the first place where it covers nothing, or else the least.

    Args:
        points: x, y, the lower and the upper end of the interval of y, and the name of each mark.
    """
    if not points:
        return []
    left, right = min(x for x, *_ in points), max(x for x, *_ in points)
    low, high = min(point[2] for point in points), max(point[3] for point in points)
    across, up = WIDTH / max(right - left, 0.5) / 1.24, HEIGHT / max(high - low, 1e-9) / 1.1
    ends = 0.12 * max(right - left, 0.5)  # as `charts.scatter` leaves beside the first and the last mark
    inside = ((left - ends) * across, (right + ends) * across)
    taken: list[Box] = []
    for x, y, least, most, _ in points:
        x, y = x * across, y * up
        taken += [(x - MARK, y - MARK, x + MARK, y + MARK), (x - 3, least * up, x + 3, most * up)]
    found = []
    for x, y, _, _, name in points:
        boxes = {place: _box(x * across, y * up, LETTER * len(name), *to) for place, to in PLACES.items()}
        costs = {
            place: sum(_shared(box, other) for other in taken) + _outside(box, *inside) for place, box in boxes.items()
        }
        best = min(costs, key=lambda place: costs[place])
        taken.append(boxes[best])
        found.append(best)
    return found


def _box(x: float, y: float, width: float, right: int, up: int) -> Box:
    """Where a name lies that is moved away from a mark."""
    left = x - width / 2 + right * (width / 2 + MARK)
    bottom = y - LINE / 2 + up * (LINE / 2 + MARK)
    return left, bottom, left + width, bottom + LINE


def _outside(box: Box, left: float, right: float) -> float:
    """The area of a box beyond the chart, where the numbers of the axis are."""
    return LINE * (max(0.0, left - box[0]) + max(0.0, box[2] - right))


def _shared(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)
