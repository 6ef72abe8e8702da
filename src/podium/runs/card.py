"""What the card of every model says, of a bundle and of an exported file alike: its format, classes and preprocessing. Without torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from podium.data.preprocessing import Preprocessing
from podium.errors import ModelFileError
from podium.files import not_finite
from podium.runs.answers import Rule

LEAST = 2  # classes


@dataclass(frozen=True)
class Facts:
    """What a prediction needs of a card.

    Args:
        classes: at least two names, all different, in the order of the logits.
        preprocessing: from an image file to the network's input.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing


@contextmanager
def card_read(name: str, fix: str) -> Iterator[None]:
    """Within it, a value of a card that cannot be is a ModelFileError that names the card.

    Args:
        name: of the card's file.
        fix: what to do about it.
    """
    try:
        yield
    except KeyError as error:
        raise ModelFileError(f"{name}: not a card of Podium (without {error})", fix) from None
    except ValueError as error:
        raise ModelFileError(f"{name}: not a card of Podium ({error})", fix) from None
    except (TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{name}: not a card of Podium ({type(error).__name__}: {error})", fix) from None


def parse_card(content: bytes | str, newest: int, name: str, fix: str) -> dict[str, Any]:
    """Read the JSON of a card, and refuse one of a format that this Podium does not read.

    Args:
        content: the JSON.
        newest: the newest format that is read; the first was 1, and cards of all since are read.
        name: of the card's file.
        fix: what to do about a card that is damaged.

    Raises:
        ModelFileError: damaged, with a number that is not finite, or of another format.
    """
    with card_read(name, fix):
        card = json.loads(content)
        if where := not_finite(card):
            raise ModelFileError(f"{name}: {where} is not a finite number", fix)
        number = card["format"]
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"format {number!r}, which no Podium wrote")
        if number > newest:
            raise ModelFileError(
                f"{name}: made by a newer Podium (format {number}), and this one reads up to format {newest}",
                "update podium",
            )
        return card


def facts_of(card: Mapping[str, Any]) -> Facts:
    """The classes and the preprocessing of a card, whose rule of answers is checked with them.

    Raises:
        KeyError, ValueError, TypeError, AttributeError: one is missing or cannot be; see `card_read`.
    """
    classes = card["classes"]
    if not isinstance(classes, list) or len(classes) < LEAST:
        count = f"{len(classes)} of them" if isinstance(classes, list) else repr(classes)
        raise ValueError(f"classes: {count}, where a classifier has at least {LEAST} names")
    for name in classes:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"classes: {name!r} is no name")
    if twice := [name for name, count in Counter(classes).items() if count > 1]:
        raise ValueError(f"classes: {twice[0]!r} stands there more than once")
    facts = Facts(tuple(classes), Preprocessing.from_dict(card["preprocessing"]))
    Rule.of_card(card, facts.classes)
    return facts
