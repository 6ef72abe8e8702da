"""What each figure for papers looks like: Matplotlib draws the data of the page's charts, one function a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from podium.comparison.report.charts import PALETTE
from podium.evaluation.cost import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

WIDTH, HEIGHT = 3.35, 2.4  # inches of a column of two
WIDEST = 6.9  # of a page
MARKS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "cross": "P", "x": "X", "star": "*", "hexagon": "h"}  # fmt: skip
DASHES: tuple[Any, ...] = ("solid", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))  # after as many networks as colours
# Where a name may stand beside its mark, the best place first: in which direction it is moved away, which decides the side of the
# text that is there; and by how many points, with a line to the mark from the second distance on.
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7))
DISTANCES = (5, 12, 20, 30, 42)
PLACES = tuple((distance * right, distance * up) for distance in DISTANCES for right, up in DIRECTIONS)
GREY, INK, BLUES = "#999999", "#1c2024", ("#ffffff", "#cfe4f3", "#0072B2")
MOST_NAMES = 10  # of a legend


def _figure(width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """A figure with one chart. Without pyplot, so that nothing is shown and nothing is kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _titles(axes: Axes, layout: dict[str, Any]) -> None:
    """The titles of the axes, as the page has them."""
    axes.set_xlabel(layout["xaxis"]["title"]["text"])
    axes.set_ylabel(layout["yaxis"]["title"]["text"])


def accuracy(chart: dict[str, Any]) -> Figure:
    """Accuracy against a cost, with intervals, names, and the Pareto front."""
    figure, axes = _figure(height=2.9)
    front, *points = chart["data"]
    axes.step(front["x"], front["y"], where="post", color=GREY, linestyle=(0, (2, 2)), linewidth=0.9, zorder=1)
    for point in points:
        low, high = point["error_y"]["arrayminus"], point["error_y"]["array"]
        colour, mark = point["marker"]["color"], MARKS[point["marker"]["symbol"]]
        axes.errorbar(
            point["x"], point["y"], yerr=(low, high), fmt=mark, color=colour, markersize=4.5, elinewidth=0.7, zorder=3
        )
    _titles(axes, chart["layout"])
    axes.set_xscale("log")
    axes.set_xlim(*(10**end for end in chart["layout"]["xaxis"]["range"]))
    counts = max(cost for point in points for cost in point["x"]) >= 10_000
    _log_ticks(axes.xaxis, (lambda value: short(value).replace(".0", "")) if counts else "{:g}".format)
    axes.margins(y=0.12)
    _names(axes, points)
    return figure


def _log_ticks(axis: Any, label: Callable[[float], str]) -> None:
    """Ticks of a logarithmic axis as plain numbers, the powers of ten among them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    subs = (1.0,) if high / low > 100 else (1.0, 2.0, 5.0) if high / low > 5 else tuple(range(1, 10))
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_minor_locator(LogLocator(subs=range(1, 10)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axis.set_minor_formatter(NullFormatter())


def _names(axes: Axes, points: Sequence[dict[str, Any]]) -> None:
    """Write names beside their marks, each at the first place where it covers nothing, or else the least."""
    from matplotlib.transforms import Bbox

    figure: Any = axes.figure
    figure.draw_without_rendering()  # decides where the marks are
    point_size = figure.dpi / 72
    taken: list[Bbox] = []
    for point in points:  # neither marks nor intervals are to be covered
        (x,), (y,), error = point["x"], point["y"], point["error_y"]
        ends = [(x, y), (x, y + error["array"][0]), (x, y - error["arrayminus"][0])]
        (left, middle), (_, top), (_, bottom) = axes.transData.transform(ends)
        half = 3.2 * point_size
        taken += [
            Bbox([[left - 1, bottom], [left + 1, top]]),
            Bbox([[left - half, middle - half], [left + half, middle + half]]),
        ]
    for point in sorted(points, key=lambda each: -each["y"][0]):
        place = point["x"][0], point["y"][0]
        text = axes.annotate(point["name"], place, fontsize=6.5, color=INK, zorder=2)
        size, mark = text.get_window_extent(), axes.transData.transform(place)
        text.remove()
        boxes = [_box(mark, size, right * point_size, up * point_size) for right, up in PLACES]
        costs = [_covered(box, taken) + _outside(box, axes.bbox) for box in boxes]
        number = min(range(len(PLACES)), key=lambda place: (costs[place], place))
        taken.append(boxes[number])
        right, up = PLACES[number]
        line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2}
        text = axes.annotate(
            point["name"], place, (right, up), textcoords="offset points", fontsize=6.5, color=INK, zorder=2,
            ha="left" if right > 0 else "right" if right < 0 else "center", va="bottom" if up > 0 else "top" if up < 0 else "center",
            arrowprops=line if number >= len(DIRECTIONS) else None,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3},
        )  # fmt: skip
        text.set_in_layout(False)


def _box(mark: Any, size: Bbox, right: float, up: float) -> Bbox:
    """Where a text lies that is moved away from a mark, in pixels."""
    from matplotlib.transforms import Bbox

    left = mark[0] + right - size.width * (0 if right > 0 else 1 if right < 0 else 0.5)
    bottom = mark[1] + up - size.height * (0 if up > 0 else 1 if up < 0 else 0.5)
    return Bbox.from_bounds(left, bottom, size.width, size.height)


def _covered(box: Bbox, others: Sequence[Bbox]) -> float:
    """The area of a box that lies on others, in pixels."""
    from matplotlib.transforms import Bbox

    found = (Bbox.intersection(box, other) for other in others)
    return sum(both.width * both.height for both in found if both is not None)


def _outside(box: Bbox, axes: Any) -> float:
    """The area of a box beyond the chart, in pixels, about."""
    beside = max(0.0, axes.x0 - box.x0) + max(0.0, box.x1 - axes.x1)
    return box.height * beside + box.width * (max(0.0, axes.y0 - box.y0) + max(0.0, box.y1 - axes.y1))


def curves(chart: dict[str, Any]) -> Figure:
    """Learning curves, a line for each run."""
    figure, axes = _figure()
    named = [trace["name"] for trace in chart["data"] if trace["showlegend"]]
    for trace in chart["data"]:
        dash = DASHES[named.index(trace["name"]) // len(PALETTE) % len(DASHES)]
        mark = "o" if len(trace["x"]) < 15 else ""
        label = trace["name"] if trace["showlegend"] else None
        axes.plot(trace["x"], trace["y"], marker=mark, color=trace["line"]["color"], linestyle=dash, label=label)
    _titles(axes, chart["layout"])
    if chart["layout"]["yaxis"]["type"] == "log":
        axes.set_yscale("log")
        _log_ticks(axes.yaxis, "{:g}".format)
    if len(named) > 1:
        columns = 2 if len(named) <= MOST_NAMES else 3
        figure.set_size_inches(WIDTH, HEIGHT + 0.14 * -(-len(named) // columns))
        figure.legend(loc="outside lower center", ncols=columns, columnspacing=1.2, handlelength=1.8)
    return figure


def confusion(chart: dict[str, Any]) -> Figure:
    """The confusion matrix: the share of each true class, with counts where there is room."""
    from matplotlib.colors import LinearSegmentedColormap

    (trace,) = chart["data"]
    names, count = [_cut(name) for name in trace["y"]], len(trace["y"])
    room = 0.45 + 0.065 * max(map(len, names))
    side = min(WIDEST, max(WIDTH, room + 0.2 * count))
    figure, axes = _figure(side, side)
    cell = 72 * (side - room) / count
    size = max(3.0, min(7.0, cell / 1.4))
    colours = LinearSegmentedColormap.from_list("shares", list(zip((0, 0.05, 1), BLUES, strict=True)))
    counts = np.array(trace["customdata"])
    of_class = counts / np.maximum(1, counts.sum(1, keepdims=True))
    shares = axes.pcolormesh(
        of_class, cmap=colours, vmin=0, vmax=1, edgecolors="white", linewidth=0.4 if count < 40 else 0
    )
    if trace["texttemplate"]:
        _counts(axes, counts, of_class, min(size, 1.4 * cell / len(str(counts.max()))))
    else:
        bar = figure.colorbar(shares, ax=axes, shrink=0.4, aspect=25, pad=0.02, label="share of the true class")
        bar.outline.set_visible(False)
    middles = [place + 0.5 for place in range(count)]
    axes.set_xticks(middles, names, rotation=90, fontsize=size)
    axes.set_yticks(middles, names, fontsize=size)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _titles(axes, chart["layout"])
    return figure


def _counts(axes: Axes, counts: np.ndarray, shares: np.ndarray, size: float) -> None:
    """Write the number of images into the cells of a confusion matrix; both arrays are (K, K)."""
    for row, column in zip(*np.nonzero(counts), strict=True):
        ink, text = "white" if shares[row, column] > 0.55 else INK, str(counts[row, column])
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center_baseline", fontsize=size, color=ink)


def _cut(name: str, most: int = 24) -> str:
    """A name that leaves room for the matrix."""
    line = " ".join(name.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def reliability(chart: dict[str, Any]) -> Figure:
    """Accuracy against confidence, beside the line of perfect calibration."""
    figure, axes = _figure(height=WIDTH * 0.85)
    ideal, points = chart["data"]
    axes.plot(ideal["x"], ideal["y"], color=GREY, linestyle=(0, (2, 2)), linewidth=0.9)
    colour = points["line"]["color"]
    axes.plot(points["x"], points["y"], color=colour, linewidth=0.8, clip_on=False)
    areas = [(size / 2) ** 2 for size in points["marker"]["size"]]
    axes.scatter(points["x"], points["y"], areas, color=colour, clip_on=False, zorder=3)
    _titles(axes, chart["layout"])
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    return figure


def risk_coverage(chart: dict[str, Any]) -> Figure:
    """The share of wrong answers against the share of images that is answered, and the threshold."""
    from matplotlib.ticker import PercentFormatter

    figure, axes = _figure()
    line, mark = chart["data"]
    axes.step(line["x"], line["y"], where="post", color=line["line"]["color"])
    axes.plot(mark["x"], mark["y"], marker="D", markersize=5, linestyle="none", color=line["line"]["color"])
    _titles(axes, chart["layout"])
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    return figure
