"""Draw the Mermaid graphs of the documents, which GitHub draws itself, as SVG: Mermaid's own script has three megabytes.

The layout is that of Sugiyama, Tagawa and Toda (IEEE Transactions on Systems, Man, and Cybernetics 11:109, 1981): layers by
the longest path, long arrows divided by points in between, and each layer in the order of its neighbours' means.
"""

from __future__ import annotations

import itertools
import re
from html import escape

WIDE, HIGH, ACROSS, DOWN = 116, 28, 172, 42  # of a box, and from one box to the next, in pixels
MERMAID = re.compile(r"^```mermaid\nflowchart LR\n(.*?)^```$", re.M | re.S)


def with_pictures(text: str) -> str:
    """Return a document with a picture in place of each graph."""
    return MERMAID.sub(lambda match: _picture(match[1]), text)


def _picture(graph: str) -> str:
    """Draw one graph, given by lines such as `a["A"]` and `a --> b`."""
    labels = dict(re.findall(r'^\s*(\w+)\["(.+?)"\]$', graph, re.M))
    arrows = re.findall(r"^\s*(\w+) --> (\w+)$", graph, re.M)
    layers, chains = _layers(list(labels), arrows)
    at = {node: (ACROSS * x + 4, DOWN * y + 4) for x, layer in enumerate(layers) for y, node in enumerate(layer)}
    lines = []
    for chain in chains:
        points = [(at[node][0], at[node][1] + HIGH / 2) for node in chain]
        (x, y), path = points[0], ""
        for left, ahead in points[1:]:
            middle = (x + WIDE + left) / 2
            path += f"M{x + WIDE} {y}C{middle} {y} {middle} {ahead} {left} {ahead}"
            path += f"H{left + WIDE}" if (left, ahead) != points[-1] else ""
            x, y = left, ahead
        lines.append(f'<path d="{path}"/><path d="m{x - 6} {y - 3} 6 3-6 3" fill="none"/>')
    boxes = [
        f'<rect x="{at[node][0]}" y="{at[node][1]}" width="{WIDE}" height="{HIGH}" rx="4"/>'
        f'<text x="{at[node][0] + WIDE / 2}" y="{at[node][1] + HIGH / 2 + 4}">{escape(label)}</text>'
        for node, label in labels.items()
    ]
    width, height = (max(place[axis] for place in at.values()) for axis in (0, 1))
    return (
        f'<div class="graph"><svg viewBox="0 0 {width + WIDE + 4} {height + HIGH + 4}" role="img" '
        f'aria-label="{escape("; ".join(f"{labels[a]} to {labels[b]}" for a, b in arrows))}">'
        f"<g>{''.join(lines)}</g>{''.join(boxes)}</svg></div>"
    )


def _layers(nodes: list[str], arrows: list[tuple[str, str]]) -> tuple[list[list[str]], list[list[str]]]:
    """The layers from left to right, each from above, and each arrow as the nodes and points that it passes."""
    depth: dict[str, int] = {}

    def deep(node: str) -> int:
        if node not in depth:
            depth[node] = 1 + max((deep(a) for a, b in arrows if b == node), default=-1)
        return depth[node]

    layers: list[list[str]] = [[] for _ in range(1 + max(map(deep, nodes)))]
    for node in nodes:
        layers[depth[node]].append(node)
    chains = []
    for a, b in arrows:
        between = [f"{a}>{b}>{x}" for x in range(depth[a] + 1, depth[b])]
        for x, point in enumerate(between, depth[a] + 1):
            layers[x].append(point)
        chains.append([a, *between, b])
    pairs = [pair for chain in chains for pair in itertools.pairwise(chain)]
    for sweep in range(8):
        order = range(1, len(layers)) if sweep % 2 == 0 else range(len(layers) - 2, -1, -1)
        for x in order:
            beside = layers[x - 1] if sweep % 2 == 0 else layers[x + 1]
            pick = (1, 0) if sweep % 2 == 0 else (0, 1)
            layers[x].sort(key=lambda node, beside=beside, pick=pick: _mean(node, beside, pairs, pick))
    return layers, chains


def _mean(node: str, beside: list[str], pairs: list[tuple[str, str]], pick: tuple[int, int]) -> float:
    """The mean place of a node's neighbours in the layer beside its own."""
    own, other = pick
    places = [beside.index(pair[other]) for pair in pairs if pair[own] == node]
    return sum(places) / len(places) if places else 0.0
