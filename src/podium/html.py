"""Small pieces of HTML that a notebook shows below a cell: a table, a picture, a curve. Standard library and Pillow only."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

SIDE = 112  # of a picture, in pixels
WIDTH, HEIGHT = 360, 120  # of a curve, in pixels


def heading(text: str) -> str:
    """One line in bold."""
    return f"<p><b>{escape(text)}</b></p>"


def paragraph(text: str) -> str:
    """Some sentences."""
    return f"<p>{escape(text)}</p>"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = True) -> str:
    """Make a table.

    Args:
        columns: their headings.
        rows: of as many cells; the first is a name.
        numbers: whether the other cells are numbers, which stand at the right.
    """
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:{"right" if i and numbers else "left"}">{escape(cell)}</td>' for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )  # fmt: skip
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def pictures(images: Sequence[tuple[Image.Image, str]], side: int = SIDE) -> str:
    """Images side by side, each with its caption; they stand in the page itself, without metadata.

    Args:
        images: of mode "L" or "RGB", with their captions.
        side: of the largest picture, in pixels.
    """
    return "".join(
        f'<figure style="display:inline-block;margin:4px;text-align:center">{_picture(image, side)}'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for image, caption in images
    )


def _picture(image: Image.Image, side: int) -> str:
    small = image.copy()
    if max(small.size) < side:  # pixels of small images stay squares
        factor = side // max(small.size)
        small = small.resize((small.width * factor, small.height * factor), 0)
    small.thumbnail((side, side))
    small.info.clear()
    file = io.BytesIO()
    small.save(file, "PNG")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"/>'


def curve(values: Sequence[float], label: str) -> str:
    """A line through values, from the first to the last, between the lowest and the highest; nothing for fewer than two.

    Args:
        values: such as a score after each epoch.
        label: says what they are.
    """
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    across, up = WIDTH / (len(values) - 1), HEIGHT / ((high - low) or 1.0)
    points = " ".join(f"{i * across:.1f},{HEIGHT - (value - low) * up:.1f}" for i, value in enumerate(values))
    line = f'<polyline points="{points}" fill="none" stroke="#4583c0" stroke-width="2"/>'
    box = f'viewBox="-4 -4 {WIDTH + 8} {HEIGHT + 8}" width="{WIDTH}" height="{HEIGHT}"'
    return f'<figure><svg {box} role="img" aria-label="{escape(label)}">{line}</svg><figcaption>{escape(label)}</figcaption></figure>'
