"""Pictures beside each other with captions, as one PNG: what every kind of explanation shows. Pillow only."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

MARK = "Podium explain"  # in every file, by which an earlier one is recognised
SIDE = 320  # pixels of the longest side of a large picture
ROW = 4 * SIDE  # pixels of a row of pictures
GAP, LINE, TEXT = 12, 20, 15  # pixels between pictures, of a line of text, of its letters
PAPER, INK = (255, 255, 255), (28, 32, 36)
FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "PingFang.ttc", "msyh.ttc", "wqy-zenhei.ttc")


@dataclass(frozen=True)
class Picture:
    """A picture with its caption.

    Args:
        image: of mode "L" or "RGB", at the size at which it is shown.
        caption: lines of text below it.
    """

    image: Image.Image
    caption: str = ""


@dataclass(frozen=True)
class Panel:
    """Some pictures that belong together.

    Args:
        title: a line above them.
        pictures: shown side by side, in rows where they need several.
    """

    title: str
    pictures: Sequence[Picture]


def short_name(name: str) -> str:
    """An image's name for a picture that is passed on, which must not name folders of this machine: its last two parts."""
    return name if "://" in name else "/".join(PurePath(name).parts[-2:])


def fitted(image: Image.Image, side: int = SIDE) -> Image.Image:
    """An image with its longest side at a number of pixels; small images are enlarged so that their pixels stay squares."""
    longest = max(image.size)
    if longest <= side // 2:
        times = side // longest
        return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    size = max(1, round(image.width * side / longest)), max(1, round(image.height * side / longest))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def as_png(panels: Sequence[Panel]) -> bytes:
    """Draw panels below each other."""
    drawn = [_drawn(panel) for panel in panels]
    sheet = Image.new("RGB", (max(each.width for each in drawn), sum(each.height for each in drawn)), PAPER)
    top = 0
    for each in drawn:
        sheet.paste(each, (0, top))
        top += each.height
    out, note = io.BytesIO(), PngInfo()
    note.add_text("Software", MARK)
    sheet.save(out, "PNG", pnginfo=note)
    return out.getvalue()


def _drawn(panel: Panel) -> Image.Image:
    """One panel: its title, and its pictures in rows."""
    texts = [panel.title, *(picture.caption for picture in panel.pictures)]
    font = _font("".join(texts))
    rows: list[list[tuple[Picture, list[str], int]]] = [[]]
    for picture in panel.pictures:
        lines = picture.caption.splitlines()
        width = max([picture.image.width, *(int(font.getlength(line)) + 1 for line in lines)])
        if rows[-1] and sum(w + GAP for _, _, w in rows[-1]) + width > ROW:
            rows.append([])
        rows[-1].append((picture, lines, width))
    heights = [max(p.image.height + LINE * len(lines) for p, lines, _ in row) + GAP if row else 0 for row in rows]
    title = LINE + GAP // 2 if panel.title else 0
    wide = max(sum(w + GAP for _, _, w in row) for row in rows)
    width = max(wide, int(font.getlength(panel.title)) + GAP) + GAP
    sheet = Image.new("RGB", (width, GAP + title + sum(heights)), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, GAP), panel.title, INK, font)
    top = GAP + title
    for row, height in zip(rows, heights, strict=True):
        left = GAP
        for picture, lines, width in row:
            sheet.paste(picture.image, (left, top))
            for number, line in enumerate(lines):
                pen.text((left, top + picture.image.height + 3 + LINE * number), line, INK, font)
            left += width + GAP
        top += height
    return sheet


def _font(text: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font for a text: Pillow's own, or one of the system's where the text has letters beyond Latin."""
    usual = ImageFont.load_default(TEXT)
    if all(ord(letter) < 0x250 for letter in text):
        return usual
    for name in FONTS[1:] if any(ord(letter) >= 0x2E80 for letter in text) else FONTS:
        try:
            return ImageFont.truetype(name, TEXT)
        except OSError:
            continue
    return usual
