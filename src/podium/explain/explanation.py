"""A heat map of one image: the map on the photo's pixels, as a picture, as JSON, and in a notebook. numpy and Pillow only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from podium import html
from podium.explain.colours import Box, on_photo, over
from podium.explain.panels import SIDE, Panel, Picture, fitted, short_name

NOTHING = "nothing in this image speaks for the class"


@dataclass(frozen=True, repr=False)
class Explanation:
    """Where in an image the answer of a network comes from.

    Attributes:
        row: the network's answer, as `predict` returns it: file, answer, known, top.
        label: the class that is explained.
        probability: of that class.
        method: that made the map.
        map: (h, w) float32 in 0..1, over the square that the network sees.
        photo: the whole image, of mode "L" or "RGB".
        box: where the square lies in the photo: left, top, right, bottom in pixels.
        span: the map's side as a share of the square's, in whose middle it lies.
    """

    row: dict[str, Any]
    label: str
    probability: float
    method: str
    map: np.ndarray
    photo: Image.Image
    box: Box
    span: float = 1.0

    @property
    def name(self) -> str:
        """The image's path or URL, or "image"."""
        return str(self.row["file"])

    @cached_property
    def array(self) -> np.ndarray:
        """(H, W) float32 in 0..1 on the photo's own pixels; 0 where the network sees nothing."""
        return on_photo(self.map, self.box, self.photo.width, self.photo.height, self.span)

    @property
    def peak(self) -> tuple[float, float] | None:
        """Where in the photo the map is highest, (x, y) in pixels; None where it is 0 everywhere."""
        if not self.map.any():
            return None
        row, column = np.unravel_index(int(self.map.argmax()), self.map.shape)
        left, top, right, bottom = self.box
        height, width = self.map.shape
        across, down = (0.5 + self.span * ((at + 0.5) / n - 0.5) for at, n in ((column, width), (row, height)))
        x, y = left + across * (right - left), top + down * (bottom - top)
        return min(max(float(x), 0.0), float(self.photo.width)), min(max(float(y), 0.0), float(self.photo.height))

    @cached_property
    def picture(self) -> Image.Image:
        """The map over the photo, of mode "RGB"; a large photo is made smaller, a small one larger."""
        shown = fitted(self.photo)
        across, down = shown.width / self.photo.width, shown.height / self.photo.height
        left, top, right, bottom = self.box
        return over(shown, self.map, (left * across, top * down, right * across, bottom * down), self.span)

    def panels(self) -> list[Panel]:
        """The photo and the map over it, with the most probable classes."""
        named = "\n".join(f"{each['class']} {100 * each['probability']:.1f} %" for each in self.row["top"][:3])
        said = f"{self.method}: {self.label}" if self.map.any() else f"{self.method}: {self.label}\n{NOTHING}"
        return [Panel(short_name(self.name), [Picture(fitted(self.photo), named), Picture(self.picture, said)])]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the answer, the class that is explained, and the map with its place in the photo."""
        return {
            **self.row,
            "method": self.method,
            "class": self.label,
            "probability": self.probability,
            "width": self.photo.width,
            "height": self.photo.height,
            "box": list(self.box),
            "span": self.span,
            "peak": None if self.peak is None else list(self.peak),
            "map": [[round(float(value), 4) for value in line] for line in self.map],
        }

    def describe(self) -> str:
        """One line: the image, the class that is explained, and where the map is highest."""
        where = f"{self.method}: {NOTHING}"
        if self.peak is not None:
            x, y = 100 * self.peak[0] / self.photo.width, 100 * self.peak[1] / self.photo.height
            where = f"{self.method} highest {x:.0f} % from the left, {y:.0f} % from the top"
        return f"{self.name}: {self.label} {100 * self.probability:.1f} %, {where}"

    def __repr__(self) -> str:
        return f"<Explanation of {self.describe()}>"

    def _repr_html_(self) -> str:
        (panel,) = self.panels()
        shown = [(each.image, each.caption.replace("\n", ", ")) for each in panel.pictures]
        return html.heading(panel.title) + html.pictures(shown, SIDE)
