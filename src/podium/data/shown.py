"""A data set as a line of text, and as what a notebook shows of it: classes, counts, six pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podium import html
from podium.data.names import show
from podium.errors import PodiumError

if TYPE_CHECKING:
    from PIL import Image

    from podium.data.dataset import Dataset

PICTURES = 6
MANY = 20  # classes, from which on a table would be longer than a screen


def describe(data: Dataset) -> str:
    """Describe a data set in one line: its name, the images of each split, classes and channels."""
    images = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
    names = ", ".join(data.classes[:3]) + (", ..." if len(data.classes) > 3 else "")
    kind = {1: "grey", 3: "colour"}.get(data.channels, f"{data.channels} channels")
    return f"<Dataset {show(data.name)}: {images} images of {len(data.classes):,} classes ({names}), {kind}>"


def as_html(data: Dataset) -> str:
    """What a notebook shows of a data set: `describe`, the images of each class and split, and six pictures of different classes."""
    names = list(data.splits)
    counts = [
        [int((split.labels == label).sum()) for split in data.splits.values()] for label in range(len(data.classes))
    ]
    rows = [[name, *(f"{count:,}" for count in row)] for name, row in zip(data.classes, counts, strict=True)]
    left_out = [["...", *[""] * len(names)]] if len(rows) > MANY else []
    notes = "".join(
        html.paragraph(note) for note in data.notes if not note.startswith(f"{show(data.name)}: {names[0]} ")
    )
    table = html.table(["class", *names], rows[:MANY] + left_out)
    return html.heading(describe(data).strip("<>")) + notes + table + html.pictures(_examples(data))


def _examples(data: Dataset) -> list[tuple[Image.Image, str]]:
    """Some images with the names of their classes, each class once before any a second time."""
    split = next(iter(data.splits.values())).scaled(data.depth[0])
    examples = list[tuple["Image.Image", str]]()
    seen: dict[int, int] = {}
    turns = []
    for index, label in enumerate(split.labels.tolist()):
        seen[label] = seen.get(label, 0) + 1
        turns.append((seen[label], label, index))
    for _, label, index in sorted(turns):
        try:
            examples.append((split.image(index, 1 if data.channels == 1 else 3), data.classes[label]))
        except PodiumError:  # a damaged file; training and `podium check` name it
            continue
        if len(examples) == PICTURES:
            break
    return examples
