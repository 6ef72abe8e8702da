"""Names of classes in plain data, as people keep them: a list, or a dictionary of names and numbers either way round."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from podium.data.names import show
from podium.errors import DataError

LISTED = 6  # names that a note lists
# Keys of files that hold more than names: Hugging Face's config.json, timm's, YOLO's data.yaml.
_KEYS = ("id2label", "label2id", "label_names", "class_to_idx", "idx_to_class", "class_names", "classes", "categories", "names", "labels")  # fmt: skip
NUMBER_FROM_0 = (
    "number the classes from 0, as the network's outputs are; where the numbers are folder names, give the data"
)


def from_tree(content: Any, where: str) -> tuple[list[Any], str]:
    """A list of names, or a dictionary of names and numbers, whichever is the key; or either under a known key."""
    if isinstance(content, dict):
        key = next((key for key in _KEYS if isinstance(content.get(key), list | dict)), None)
        content = content[key] if key is not None else content
    if isinstance(content, list):
        return [_without_id(name) for name in content], "the order of its list"
    if not isinstance(content, dict) or not content:
        raise DataError(
            f"{where}: holds no names of classes", 'give a list, or a dictionary such as {"0": "cat", "1": "dog"}'
        )
    by_key, by_value = (numbers_of(values) for values in (content.keys(), content.values()))
    if (
        by_key
        and by_value
        and any(str(k) != str(v) for k, v in content.items())
        and all(isinstance(v, str) for v in content.values())
    ):
        raise DataError(
            f"{where}: names and numbers cannot be told apart, both are numbers",
            "give a list in the order of the outputs",
        )
    pairs = zip(content.values(), by_key, strict=True) if by_key and not _whole(content.values()) else None
    pairs = pairs or (zip(content.keys(), by_value, strict=True) if by_value else None)
    if pairs is None:
        raise DataError(f"{where}: its {len(content)} classes are not numbered 0 to {len(content) - 1}", NUMBER_FROM_0)
    return [_without_id(name) for name, _ in sorted(pairs, key=lambda pair: pair[1])], "the order of its numbers"


def _without_id(entry: Any) -> Any:
    """The name in a pair of WordNet id and name, as in `imagenet_class_index.json`; anything else as it is."""
    pair = isinstance(entry, list) and len(entry) == 2 and all(isinstance(part, str) for part in entry)
    return entry[1] if pair and re.fullmatch(r"n\d{8}", entry[0]) else entry


def _whole(values: Any) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)


def numbers_of(values: Any) -> list[int]:
    """The values as numbers where they are 0, 1, 2, ... in any order; else nothing."""
    texts = [str(value).strip() for value in values]
    numbers = [int(text) for text in texts if re.fullmatch(r"\d{1,9}", text)]
    return numbers if sorted(numbers) == list(range(len(texts))) else []


def checked(names: Sequence[Any], where: str) -> tuple[str, ...]:
    """The names, all of them texts that are not empty and differ."""
    if odd := [name for name in names if not isinstance(name, str | int | float) or isinstance(name, bool)]:
        raise DataError(f"{where}: {odd[0]!r} is not the name of a class", "give texts")
    texts = [str(name).strip() for name in names]
    if "" in texts:
        raise DataError(f"{where}: the name of class {texts.index('')} is empty", "give every class a name")
    if twice := [name for name, count in Counter(texts).items() if count > 1]:
        raise DataError(
            f"{where}: {', '.join(map(repr, twice[:5]))} occurs more than once", "give every class its own name"
        )
    if len(texts) < 2:
        raise DataError(f"{where}: {len(texts)} names of classes", "give at least two, in a text file one a line")
    return tuple(texts)


def shown(names: Sequence[str]) -> str:
    """The first names, as a note lists them."""
    return ", ".join(map(show, names[:LISTED])) + (", ..." if len(names) > LISTED else "")
