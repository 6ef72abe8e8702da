"""Draw an SVG page of rectangles, lines and texts: one file, with a white background in dark viewers too."""

from __future__ import annotations

import xml.etree.ElementTree as ET

INK, FAINT = "#24292f", "#68707a"
SIZE = 11  # of the text, in pixels
NARROW = " ,./()ijlt"

# Fill and edge of each kind of layer.
COLOURS = {
    "convolution": ("#d3e5f8", "#4583c0"),
    "pooling": ("#f9d6d2", "#c4584a"),
    "normalisation": ("#fdf3c4", "#dcb52a"),
    "activation": ("#fbd5bd", "#d9622b"),
    "fully connected": ("#d2ecd3", "#4b9850"),
    "squeeze-excitation": ("#ccebe9", "#2f908b"),
    "join": ("#e2daf2", "#7d63b3"),
    "other": ("#e8eaed", "#838a92"),
}


def text_width(text: str, size: float = SIZE) -> float:
    """Estimate the width of a text in the common sans-serif fonts, in pixels, rather too wide than too narrow."""
    return size * sum(0.32 if letter in NARROW else 0.6 for letter in text)


class Canvas:
    """A drawing; coordinates are pixels from the upper left corner."""

    def __init__(self) -> None:
        self.group = ET.Element("g")

    def _add(self, tag: str, numbers: dict[str, float], **look: str) -> ET.Element:
        return ET.SubElement(self.group, tag, {key: f"{value:.5g}" for key, value in numbers.items()} | look)

    def rectangle(
        self, x: float, y: float, width: float, height: float, fill: str, edge: str = "none", *, dashed: bool = False
    ) -> ET.Element:
        """Draw a rectangle with rounded corners, and return its element."""
        place = {"x": x, "y": y, "width": width, "height": height, "rx": 3}
        look = {"stroke-dasharray": "4 3"} if dashed else {}
        return self._add("rect", place, fill=fill, stroke=edge, **look)

    def circle(self, x: float, y: float, radius: float, fill: str, edge: str) -> None:
        """Draw a circle around (x, y)."""
        self._add("circle", {"cx": x, "cy": y, "r": radius}, fill=fill, stroke=edge)

    def line(self, *points: tuple[float, float], arrow: bool = True) -> None:
        """Draw a line through all points, with an arrow head at the last one by default."""
        look = {"points": " ".join(f"{x:.5g},{y:.5g}" for x, y in points), "stroke-linejoin": "round"}
        look |= {"marker-end": "url(#arrow)"} if arrow else {}
        self._add("polyline", {}, fill="none", stroke=FAINT, **look)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: int = SIZE,
        *,
        anchor: str = "middle",
        fill: str = INK,
        bold: bool = False,
    ) -> None:
        """Write one line of text, with its baseline at y."""
        look = {"text-anchor": anchor, "fill": fill} | ({"font-weight": "bold"} if bold else {})
        self._add("text", {"x": x, "y": y, "font-size": size}, **look).text = text

    def page(self, title: str, width: float, height: float) -> str:
        """The drawing as the text of an SVG file."""
        page = ET.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "width": f"{width:.0f}",
                "height": f"{height:.0f}",
                "viewBox": f"0 0 {width:.0f} {height:.0f}",
                "font-family": "Helvetica, Arial, sans-serif",
            },
        )
        ET.SubElement(page, "title").text = title
        head = {"id": "arrow", "viewBox": "0 0 8 8", "refX": "7", "refY": "4", "markerWidth": "7", "markerHeight": "7"}
        marker = ET.SubElement(ET.SubElement(page, "defs"), "marker", {**head, "orient": "auto"})
        ET.SubElement(marker, "path", {"d": "M0,1 L8,4 L0,7 z", "fill": FAINT})
        ET.SubElement(page, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
        page.append(self.group)
        ET.indent(page)
        return ET.tostring(page, encoding="unicode") + "\n"
