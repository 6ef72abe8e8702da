"""Names that are not UTF-8, as in archives from Windows: decoded by the encoding in which they most likely are words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from podium.data.names import show

# The most frequent syllables of Korean, which distinguish it from Chinese in the same bytes.
SYLLABLES = frozenset(
    "이다는에을의가고하지로한기나리사어도자그아니시를은서해대일라게인만수스정있부보으여구원면전제들조오과상거마장"
    "주안성비요데선화우러와미소세동트중모신관았연유계것했될드운경위개용치방물르행크호공진영실적단학국생너바내때"
    "차분식문타야파산교무저발당집무꽃새고양강말돼닭토끼사과포도미곰소나무배추감귤김버섯컵책상의신발옷모빨노란초록"
)
WESTERN = frozenset("àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿß")
CENTRAL = frozenset("ąćęłńóśźżáčďéěíňřšťúůýžľĺŕôäöüßőűăâîşţđ")  # of languages from Polish to Romanian
ASCII, ODD = 1 / 60, 1e-7  # the probability of a character of ASCII, and of one that the language does not use

# From a character, and whether it stands alone among ASCII letters, to its probability.
Chance = Callable[[str, bool], float]


def readable(names: Sequence[str | bytes]) -> tuple[list[str], str]:
    """Decode names as people wrote them.

    Args:
        names: text where the encoding is known, else bytes.

    Returns:
        The names, and the encoding by which bytes were decoded. The encoding is "" where it is UTF-8, or where none fits and
        the bytes that are not UTF-8 are escaped as by `os.fsdecode`.
    """
    raw = {name for name in names if isinstance(name, bytes) and not name.isascii()}
    codec, label = "utf-8", ""
    if any(not _decodes(name, "utf-8") for name in raw):
        parts = sorted({part for name in raw for part in name.split(b"/")})
        best, shown, _ = max(ENCODINGS, key=lambda known: _likelihood(parts, known[0], known[2]))
        if all(_decodes(name, best) for name in raw):
            codec, label = best, shown
    return [name if isinstance(name, str) else name.decode(codec, "surrogateescape") for name in names], label


def guessed(names: Sequence[str], encoding: str, mend: str) -> str:
    """What to say of names that `readable` decoded by an encoding: how they look, and what to do where they are wrong."""
    parts = dict.fromkeys(part for name in names for part in name.split("/") if not part.isascii())
    shown = ", ".join(map(show, list(parts)[:3]))
    return f"read as {encoding} ({shown}), which is a guess: where it is wrong, {mend}"


def _decodes(name: bytes, codec: str) -> bool:
    try:
        name.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _likelihood(parts: list[bytes], codec: str, chance: Chance) -> float:
    """The logarithm of the probability of these words in an encoding; minus infinity where they cannot be decoded."""
    total = 0.0
    for part in parts:
        try:
            text = part.decode(codec)
        except UnicodeDecodeError:
            return -math.inf
        for before, c, after in zip(" " + text, text, text[1:] + " ", strict=False):
            amid = before.isascii() and after.isascii() and (before + after).strip().isalpha()
            total += math.log(ASCII if c.isascii() else chance(c, amid))
    return total


def _lead(c: str, codec: str) -> int:
    """The first of the two bytes of a character; 0 where it has another number of bytes."""
    try:
        content = c.encode(codec)
    except UnicodeEncodeError:
        return 0
    return content[0] if len(content) == 2 else 0


# The probability of a character in each language. An accented letter stands alone among ASCII letters (`amid`); a character
# of an Asian or Cyrillic script does not.


def _chinese(codec: str, common: tuple[int, int], often: float, seldom: float) -> Chance:
    """The probabilities of Chinese characters in an encoding of two bytes a character.

    Args:
        codec: the encoding.
        common: first bytes, from and to, of the characters in everyday use.
        often: the probability of one of these.
        seldom: the probability of any other character of the encoding.
    """

    def chance(c: str, amid: bool) -> float:
        lead = _lead(c, codec)
        if amid or not lead:
            return ODD
        return often if common[0] <= lead <= common[1] else seldom

    return chance


def _japanese(c: str, amid: bool) -> float:
    if amid:
        return ODD
    if "\u3041" <= c <= "\u30fe":
        return 0.5 / 170
    lead = _lead(c, "shift_jis")
    return 0.5 / 1500 if 0x88 <= lead <= 0x97 else 0.03 / 3400 if lead > 0x97 else ODD


def _korean(c: str, amid: bool) -> float:
    if amid:
        return ODD
    return 0.8 / len(SYLLABLES) if c in SYLLABLES else 0.2 / 2150 if "가" <= c <= "힣" else ODD


def _cyrillic(c: str, amid: bool) -> float:
    if amid:
        return ODD
    return 1 / 40 if "а" <= c <= "я" or c == "ё" else 1 / 200 if "А" <= c <= "Я" else ODD


def _latin(letters: frozenset[str]) -> Chance:
    """The probabilities of these accented letters, of which two seldom stand side by side."""
    return lambda c, amid: ODD if c.lower() not in letters else 1 / 60 if amid else 1 / 1000


ENCODINGS: tuple[tuple[str, str, Chance], ...] = (  # codec, its name for people, probabilities
    ("gb18030", "GBK", _chinese("gb2312", (0xB0, 0xD7), 1 / 1500, 0.03 / 3000)),
    ("cp932", "Shift-JIS", _japanese),
    ("cp949", "EUC-KR", _korean),
    ("big5", "Big5", _chinese("big5", (0xA4, 0xC6), 0.9 / 1800, 0.03 / 7650)),
    ("cp866", "CP866", _cyrillic),
    ("cp1251", "Windows-1251", _cyrillic),
    ("cp437", "CP437", _latin(WESTERN)),
    ("cp1252", "Windows-1252", _latin(WESTERN)),
    ("cp850", "CP850", _latin(WESTERN)),
    ("cp852", "CP852", _latin(CENTRAL)),
    ("cp1250", "Windows-1250", _latin(CENTRAL)),
)
