"""The second language of a page: Chinese forms of its texts, from a phrase book that is data (`templates/zh.json`).

A phrase is an English text with {holes} and its Chinese form with the same holes. A sentence that Podium has put together is
recognised by its phrase, and what stands in the holes is put into the Chinese form. So the numbers of a page have one source, and a
room that writes a sentence need not know that there is a second language.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

HOLE = re.compile(r"(?<!%)\{(\w+)\}")  # %{x} is plotly's
# What may stand in the holes of these names: a number, a score, the name of a network, a setting, a list. In others, any text.
KINDS = {
    "n": r"[\d.,]+",
    "k": r"[\d.,]+",
    "score_value": r"[\d.,]+(?: %)?",
    "model": r"[^,;: ]+(?: \([^() ]*\))?",
    "one": "[a-z_]+(?:, [a-z_]+)*",
    "other": "[a-z_]+",
    "names": "[^;:]+?",
}
# What separates the items of a list and the clauses of a text, and what does so in Chinese.
ITEMS = {"; ": "；", ", ": "，"}
CLAUSES = {". ": "。", ": ": "："}
ENDS = {".": "。"}
GAP = re.compile(
    "(?<=[\u3000-\u9fff\uff00-\uffef]) (?=[\u3000-\u9fff\uff00-\uffef])"
)  # a space between Chinese characters
NAME = re.compile(r"[^ ]*[\d_/.+×%→-][^ ]*|[a-z]+\d*|[\d.,]+ ?%?")  # what needs no translation: a name, a number


class Phrases:
    """A phrase book.

    Args:
        forms: English text with {holes} -> its form in the other language, with the same holes.
    """

    def __init__(self, forms: Mapping[str, str]) -> None:
        self.forms = dict(forms)
        longest_first = sorted((text for text in forms if HOLE.search(text)), key=lambda t: -len(HOLE.sub("", t)))
        self.patterns = [(_pattern(text), text) for text in longest_first]

    def translate(self, text: str, **values: Any) -> str | None:
        """Translate a text; None where the phrase book does not have it.

        Args:
            text: a phrase, or a text that was made of phrases.
            values: what to put into the holes of the phrase; texts among them are translated where the phrase book has them.
        """
        if values:
            form = self.forms.get(text)
            return None if form is None else self._filled(form, {key: str(value) for key, value in values.items()})
        if text in self.forms:
            return self.forms[text]
        if (items := self._of_parts(text, ITEMS)) is not None:
            return items
        for pattern, phrase in self.patterns:
            if (match := pattern.fullmatch(text)) is not None:
                return self._filled(self.forms[phrase], match.groupdict())
        return self._of_parts(text, CLAUSES)

    def _filled(self, form: str, values: Mapping[str, str]) -> str:
        filled = HOLE.sub(lambda hole: self.translate(values[hole[1]]) or values[hole[1]], form)
        return GAP.sub("", filled)

    def _of_parts(self, text: str, separators: Mapping[str, str]) -> str | None:
        """Translate a text part by part; None where a part has no translation and is not a name or a number."""
        for separator, other in separators.items():
            parts = text.split(separator)
            done = [self._with_end(part) for part in parts] if len(parts) > 1 else []
            named = (new is not None or NAME.fullmatch(old) for new, old in zip(done, parts, strict=False))
            if any(new is not None for new in done) and all(named):
                return other.join(old if new is None else new for new, old in zip(done, parts, strict=True))
        return self._with_end(text) if separators is CLAUSES and text[-1:] in ENDS else None

    def _with_end(self, text: str) -> str | None:
        """Translate a text that may end with a full stop which its phrase lacks."""
        end = ENDS.get(text[-1:], "") if text not in self.forms else ""
        done = self.translate(text[:-1] if end else text)
        return None if done is None else done + end


def _pattern(phrase: str) -> re.Pattern[str]:
    """A pattern of all texts that a phrase can become."""
    parts = HOLE.split(phrase)  # text, hole, text, hole, ..., text
    written = [
        f"(?P<{part}>{KINDS.get(part, '.+?')})" if place % 2 else re.escape(part) for place, part in enumerate(parts)
    ]
    return re.compile("".join(written), re.DOTALL)


@functools.cache
def chinese() -> Phrases:
    """The Chinese phrase book of the pages."""
    text = files("podium").joinpath("comparison/report/templates/zh.json").read_text(encoding="utf-8")
    return Phrases(json.loads(text))


def say(text: str, **values: Any) -> Any:
    """A text for a page, in English, with its Chinese form beside it for the page's switch.

    Args:
        text: a phrase of the phrase book, or a sentence made of such; one without a Chinese form stays English.
        values: what to put into the holes of the phrase.

    Returns:
        Markup, with all that is not ours escaped.
    """
    from markupsafe import Markup, escape

    english, other = _both(text, values)
    return escape(english) if other is None else Markup('<span data-zh="{}">{}</span>').format(other, english)


def label(text: str, **values: Any) -> Any:
    """The attributes that name an element to a screen reader in both languages; arguments as of `say`."""
    from markupsafe import Markup

    english, other = _both(text, values)
    shown = Markup('aria-label="{}"').format(english)
    return shown if other is None else shown + Markup(' data-zh-label="{}"').format(other)


def _both(text: str, values: Mapping[str, Any]) -> tuple[str, str | None]:
    return (text.format(**values) if values else text), chinese().translate(text, **values)
