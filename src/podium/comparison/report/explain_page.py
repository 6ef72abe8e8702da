"""What `podium explain` writes: a page, or one picture, with the explanations of several images."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from podium.comparison.report.page import refuse_foreign, write_page
from podium.errors import UsageError
from podium.explain.explanation import NOTHING
from podium.explain.panels import MARK, Panel, as_png
from podium.files import write_atomic

FORMATS = (".html", ".png")
MOST = {".html": 500, ".png": 50}  # images in a file
QUALITY = 88  # of the WebP pictures
LOSSLESS = 128  # pixels of the longest side up to which a picture is kept to the bit

# What a reader should know of a picture before trusting it.
NOTES = {
    "grad-cam": "The brighter the colour of a place, the more the feature maps there raise the logit of the class (Grad-CAM). The map is coarse, as coarse as the network's last map, and it is scaled so that its highest place is always bright: it says where, not how much.",
    "class-map": "The brighter the colour of a place, the more it adds to the logit of the class. The map is coarse, as coarse as the network's last map, and it is scaled so that its highest place is always bright: it says where, not how much.",
    "occlusion": "The brighter the colour of a place, the more the logit of the class falls when that place is covered with the mean colour. The map is scaled so that its highest place is always bright: it says where, not how much.",
    "integrated-gradients": "The brighter the colour of a pixel, the more it changes the logit of the class on the line from the mean colour to the image. Edges are bright in most images, whatever the class.",
    "layers": "The filters of the first convolution from their lowest weight (dark) to their highest (bright): noise in most of them means that the network was trained too short. Then of each stage the maps with the highest mean, each from its lowest value to its highest, with the number of the channel. The first maps are fine and show edges and colours, the last ones coarse.",
    "nearest": "The training images whose pooled features point in the direction nearest to that of the image, with their class and the cosine between the two. If they have other classes than the answer, the answer rests on little.",
}  # fmt: skip


def check_target(path: Path, images: int) -> None:
    """Refuse a file that cannot be written, or would replace another than an earlier one of `podium explain`.

    Args:
        path: of the file.
        images: that it will show.

    Raises:
        UsageError: it has another ending than .html or .png, shows too many images, or another file is there.
        MachineError: it cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise UsageError(f"{path}: explanations are written as HTML or PNG", "give a name that ends in .html or .png")
    if images > MOST[ending]:
        other = "a name that ends in .html" if ending == ".png" else "--json in its place"
        what = f"{path}: {images:,} images, and such a file shows at most {MOST[ending]}"
        raise UsageError(what, f"give fewer images, or {other}")
    refuse_foreign(path, MARK)


def write_explanations(path: Path, network: str, method: str, panels: Sequence[Panel]) -> Path:
    """Write a page that works offline, or a PNG.

    Args:
        path: of the file, which ends in .html or .png.
        network: the folder or file whose answers are explained; the page has the last part of its path.
        method: that explains them.
        panels: the pictures.
    """
    if path.suffix.lower() == ".png":
        write_atomic(path, as_png(panels))
        return path
    title = f"{MARK}: {method} of {Path(network).resolve().name}"
    shown = [(panel.title, [(_uri(p.image), p.caption.splitlines()) for p in panel.pictures]) for panel in panels]
    return write_page(path, "explain.html.j2", {}, title=title, note=NOTES[method], panels=shown, nothing=NOTHING)


def _uri(image: Image.Image) -> str:
    """An image as a data URI, drawn from the pixels alone."""
    out = io.BytesIO()
    Image.frombytes(image.mode, image.size, image.tobytes()).save(
        out, "WEBP", lossless=max(image.size) <= LOSSLESS, quality=QUALITY
    )
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
