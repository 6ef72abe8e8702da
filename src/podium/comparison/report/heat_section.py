"""The report's section of heat maps: the chosen images, each beside what every network looks at in it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from podium.comparison.heat_maps import chosen_images, pictures_of
from podium.comparison.report.gallery import Shown, small_picture
from podium.comparison.report.pictures import name_below
from podium.data.dataset import Dataset
from podium.errors import PodiumError

logger = logging.getLogger("podium")


def heat_section(names: Sequence[str], networks: Sequence[Shown], data: Dataset) -> list[dict[str, Any]]:
    """What the section shows.

    Args:
        names: of the networks.
        networks: their answers to the same images.
        data: with these images.

    Returns:
        {truth, name, picture, right, of, networks: [{name, answer, percent, right, picture}]} of each chosen image; empty where
        there are fewer than two networks, no network has weights, or the images cannot be read any more.
    """
    first = networks[0]
    alike = all(each.split == first.split and np.array_equal(each.labels, first.labels) for each in networks)
    if len(networks) < 2 or not alike or data.channels not in (1, 3) or first.split not in data.splits:
        return []
    guesses, sure = np.stack([each.guesses for each in networks]), np.stack([each.sure for each in networks])
    rows = chosen_images(guesses, sure, first.labels)
    images = data.splits[first.split].scaled(data.depth[0])
    if max(rows) >= len(images):
        return []
    chosen = images.select(rows)
    try:
        sections = [
            {
                "truth": data.classes[first.labels[row]],
                "name": name_below(images, row),
                "picture": small_picture(images.image(row, data.channels)),
                "right": int((guesses[:, row] == first.labels[row]).sum()),
                "of": len(networks),
                "networks": [],
            }
            for row in rows
        ]
        for number, (name, each) in enumerate(zip(names, networks, strict=True)):
            pictures = pictures_of(each.run, chosen, guesses[number, rows])
            for place, picture in enumerate(pictures or ()):
                row = rows[place]
                sections[place]["networks"].append(
                    {
                        "name": name,
                        "answer": data.classes[guesses[number, row]],
                        "percent": f"{100 * sure[number, row]:.0f}",
                        "right": bool(guesses[number, row] == first.labels[row]),
                        "picture": small_picture(picture),
                    }
                )
    except PodiumError as problem:  # the report is worth more than its maps
        logger.warning(f"the report has no heat maps: {problem.what}")
        return []
    return sections if sections[0]["networks"] else []
