"""The second language of a page: Chinese forms of its texts, from a phrase book that is data (`templates/zh*.json`).

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

BOOKS = ("zh.json", "zh_check.json", "zh_networks.json")  # the report's and what it shares; of checks; of the networks
HOLE = re.compile(r"(?<!%)\{(\w+)\}")  # %{x} is plotly's
# What may stand in the holes of these names: a number, a score, the name of a network, a setting, a list. In others, any text.
KINDS = {
    "n": r"[\d.,]+",
    "k": r"[\d.,]+",
    "score_value": r"[\d.,]+(?: %)?",
    "model": r"[^,;: ]+(?: \([^() ]*\))?",
    "other_model": r"[^,;: ]+(?: \([^() ]*\))?",
    "one": "[a-z_]+(?:, [a-z_]+)*",
    "other": "[a-z_]+",
    "names": "[^;:]+?",
    "signed": r"[-+][\d.,]+",
    "signed_end": r"[-+][\d.,]+",
    "ending": r"\.\w+|without an ending",
    "quoted": "'.*'|\".*\"",
    "other_quoted": "'.*'|\".*\"",
    "file": "[^:;,]+",
}
# Holes for names of files, classes and columns, which are never translated.
VERBATIM = {
    *(
        "name",
        "other_name",
        "path",
        "other_path",
        "file",
        "tables",
        "folders",
        "other_folders",
        "columns",
        "other_columns",
    ),
    *("classes", "label", "own", "value", "quoted", "other_quoted"),
}
# What separates the parts of a sentence, the items of a list and the clauses of a text, and what does so in Chinese.
PARTS = {"; ": "；"}
ITEMS = {", ": "，"}
CLAUSES = {". ": "。", ": ": "："}
ENDS = {".": "。"}
NOTE, OTHER_NOTE = "note: ", "注："  # what a note begins with
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
        self.patterns = [(_pattern(text), text) for text in longest_first if not _has_commas(text)]
        self.with_commas = [(_pattern(text), text) for text in longest_first if _has_commas(text)]

    def translate(self, text: str, **values: Any) -> str | None:
        """Translate a text; None where the phrase book does not have it.

        Args:
            text: a phrase, or a text that was made of phrases.
            values: what to put into the holes of the text; texts among them are translated where the phrase book has them.
        """
        if values:
            form = self.translate(text)
            return None if form is None else self._filled(form, {key: str(value) for key, value in values.items()})
        if text in self.forms:
            return self.forms[text]
        if text.startswith(NOTE):
            form = self.translate(text.removeprefix(NOTE))
            return None if form is None else OTHER_NOTE + form
        return (
            self._of_parts(text, PARTS)
            or self._recognised(text, self.with_commas)
            or self._of_parts(text, ITEMS)
            or self._recognised(text, self.patterns)
            or self._of_parts(text, CLAUSES)
        )

    def _recognised(self, text: str, patterns: list[tuple[re.Pattern[str], str]]) -> str | None:
        """The form of the first phrase that the text is one of, with what stands in its holes."""
        for pattern, phrase in patterns:
            if (match := pattern.fullmatch(text)) is not None:
                return self._filled(self.forms[phrase], match.groupdict())
        return None

    def _filled(self, form: str, values: Mapping[str, str]) -> str:
        def filled(hole: re.Match[str]) -> str:
            value = values.get(hole[1], hole[0])
            return value if hole[1] in VERBATIM else self.translate(value) or value

        return GAP.sub("", HOLE.sub(filled, form))

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


def _has_commas(phrase: str) -> bool:
    """Whether a comma in a text that a phrase has become may be its own, or that of a name, and no list's."""
    return ", " in HOLE.sub("", phrase) or not VERBATIM.isdisjoint(HOLE.findall(phrase))


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
    folder = files("podium").joinpath("comparison/report/templates")
    forms: dict[str, str] = {}
    for name in BOOKS:
        forms |= json.loads(folder.joinpath(name).read_text(encoding="utf-8"))
    return Phrases(forms)


def say(text: str, **values: Any) -> Any:
    """A text for a page, in English, with its Chinese form beside it for the page's switch.

    Args:
        text: a phrase of the phrase book, or a sentence made of such; one without a Chinese form stays English.
        values: what to put into its holes.

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
    english = HOLE.sub(lambda hole: str(values.get(hole[1], hole[0])), text)
    return english, chinese().translate(text, **values)
