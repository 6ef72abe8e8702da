"""Names of classes that a checkpoint keeps beside its weights, as plain lists and dictionaries.

People save `classes`, `class_to_idx` or `id2label` at the top of a checkpoint or in its settings; a folder of the hub has them in
its `config.json`. Here they are found, and nothing is decided: whether they fit the network is not known yet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from podium.weights.stand_in import StandIn, array_of

Named = dict[str, list[Any] | dict[str, Any] | None]  # by the place in the file; None: names that cannot be read

CONFIG = "config.json"  # beside the weights in a folder of the hub
# Keys in small letters, without underscores, and with "to" for 2. What the doubtful ones hold may also be something else.
_SURE = (
    "classes classnames classlist classlabels labelnames targetnames classtoidx idxtoclass classtoindex indextoclass labeltoid "
    "idtolabel labeltoidx idxtolabel"
)
_KEYS = set(_SURE.split())
_DOUBTFUL = {"labels", "labelmap", "names", "categories", "vocab"}
_SETTINGS = re.compile(
    r"\w*hyper_?parameters|hparams|args|opt|options|params|config|cfg|settings|meta|metadata|info|\w*dataset\w*|data|checkpoint|\d+",
    re.IGNORECASE,
)
_HALVES = re.compile("[\ud800-\udfff]")  # of letters in UTF-16, which no file can hold alone
_UNSAID = re.compile(r"LABEL_\d+")  # how Hugging Face calls classes without names
MOST_NAMES, MOST_LETTERS, MOST_IN_ALL, MOST_PLACES = 100_000, 1000, 1_000_000, 8
_LONGEST_KEY = 100  # letters
_MOST_BYTES = 1 << 25  # of a config.json


def is_key(name: str, doubtful: bool = False) -> bool:
    """Whether something is called as names of classes are, or, on demand, as both they and other things are."""
    plain = name.rpartition(".")[2].lower().replace("_", "").replace("2", "to")
    return plain in (_DOUBTFUL if doubtful else _KEYS)


def names_in(content: Any) -> Named:
    """The names of classes in what was unpickled, by their places, such as "args.classes"."""
    found: Named = {}
    for place, value in _candidates(content, ""):
        if len(found) == MOST_PLACES:
            break
        held = _plain(value)
        if (held is not None or is_key(place)) and not _says_nothing(held):
            found[place] = held
    return found


def names_in_config(folder: Path) -> Named:
    """The names of classes in a folder's `config.json`, where there is one."""
    file = folder / CONFIG
    try:
        if not file.is_file() or file.stat().st_size > _MOST_BYTES:
            return {}
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {CONFIG: None}
    return {f"{place} in {CONFIG}": names for place, names in names_in(content).items() if is_key(place)}


def names_in_texts(metadata: Mapping[str, str]) -> Named:
    """The names of classes in the metadata of safetensors, which are texts: each is read as JSON."""

    def parsed(text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return [None]  # names that cannot be read

    return names_in({key: parsed(text) for key, text in metadata.items() if is_key(key) or is_key(key, doubtful=True)})


def _candidates(content: Any, prefix: str, depth: int = 3) -> Iterator[tuple[str, Any]]:
    """What is called as names of classes are, at the top and in settings; an object's attributes count as entries."""
    if isinstance(content, list | tuple) and not prefix:
        content = {str(i): value for i, value in enumerate(content)}
    if isinstance(content, StandIn) and not content and isinstance(content.state, dict) and not content.is_network:
        content = content.state
    for key, value in content.items() if isinstance(content, dict) else ():
        if not isinstance(key, str) or len(key) > _LONGEST_KEY:
            continue
        if (is_key(key) or is_key(key, doubtful=True)) and _holds_more_than_one(value):
            yield prefix + key, value
        elif depth and _SETTINGS.fullmatch(key):
            yield from _candidates(value, f"{prefix}{key}.", depth - 1)


def _holds_more_than_one(value: Any) -> bool:
    """Whether a value holds others, or is an object of which that is not known; a number of classes is neither."""
    if isinstance(value, StandIn):
        return (array := array_of(value)) is None or array.ndim > 0
    return isinstance(value, list | tuple | dict) and len(value) > 0


def _plain(value: Any) -> list[Any] | dict[str, Any] | None:
    """Names as a list of texts and numbers, or a dictionary of both; None where they are anything else, or too many or too long."""
    if isinstance(value, StandIn):
        value = _elements(value)
    if not isinstance(value, list | tuple | dict) or len(value) > MOST_NAMES:
        return None
    if not isinstance(value, dict):
        names = [_word(each) for each in value]
        return names if _is_plain(names) else None
    pairs = [(_word(key), _word(each)) for key, each in value.items()]
    named = {str(key): each for key, each in pairs}
    return named if len(named) == len(pairs) and _is_plain([word for pair in pairs for word in pair]) else None


def _elements(value: StandIn) -> Any:
    """The entries of a dictionary of a class of its own, or the elements of an array of numpy."""
    match value.state:
        case (int(), tuple(), StandIn(), bool(), list() as held):  # an array of objects
            return held
    if (array := array_of(value)) is not None and array.ndim == 1 and len(array) <= MOST_NAMES:
        try:
            return array.tolist()
        except ValueError:  # no letters of Unicode
            return None
    return dict(value) or None


def _word(value: Any) -> str | int | None:
    """A text that can be written, or a whole number, also one of numpy; None for anything else."""
    if isinstance(value, StandIn) and (array := array_of(value)) is not None and array.ndim == 0:
        try:
            value = array.item()
        except ValueError:
            return None
    if isinstance(value, str):
        return value if len(value) <= MOST_LETTERS and (value.isascii() or not _HALVES.search(value)) else None
    return value if type(value) is int and abs(value) < 1 << 53 else None


def _is_plain(words: list[str | int | None]) -> bool:
    return None not in words and sum(len(word) for word in words if isinstance(word, str)) <= MOST_IN_ALL


def _says_nothing(names: list[Any] | dict[str, Any] | None) -> bool:
    """Whether names are only numbers from 0, or what Hugging Face calls classes without names."""
    if not names:
        return False
    lists = [names] if isinstance(names, list) else [list(names), list(names.values())]
    unsaid = any(all(isinstance(name, str) and _UNSAID.fullmatch(name) for name in each) for each in lists)
    return unsaid or names == list(range(len(names)))
