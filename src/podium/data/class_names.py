"""Names of classes in the order in which another program numbered them: from a file, or from the data it was trained on.

torchvision's ImageFolder and Keras sort class folders as text, so that 1, 10, 2 are the classes 0, 1, 2; Podium counts 1, 2, 10.
The labels of a table are in Podium's own order.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from podium.data.name_lists import NUMBER_FROM_0, checked, from_tree, numbers_of, shown
from podium.data.names import EXTENSIONS, show, suffix
from podium.data.refusals import faulty_rows
from podium.data.sources import listed, read_stored
from podium.data.table_files import is_table
from podium.errors import DataError, UsageError
from podium.natural import natural

Order = Literal["text", "natural"]
ORDERS: tuple[str, ...] = get_args(Order)
CARD = "card.json"  # in a run folder or bundle
FILES = (".txt", ".names", ".labels", ".json", ".yaml", ".yml", ".csv", ".tsv")
_NAME_COLUMNS = ("name", "class", "label", "class_name", "label_name", "category", "names", "classes", "labels")
OWN_FILE = "give a text file with one name a line, in the order of the network's outputs"
# What people keep names in from Python.
_BINARY = {".npy": "an array of numpy", ".pkl": "a pickle", ".pickle": "a pickle", ".joblib": "a pickle"}
AS_JSON = (
    "open it by the program that wrote it, save the list of names, or the dictionary of names and numbers, as JSON: "
    'json.dump(NAMES, open("classes.json", "w")), and give --classes classes.json'
)


@dataclass(frozen=True)
class ClassNames:
    """Names of classes.

    Args:
        names: in the order of the network's outputs.
        notes: where they come from, and in which order.
    """

    names: tuple[str, ...]
    notes: list[str]


def read_class_names(source: str | Path | Sequence[str], order: Order | None = None) -> ClassNames:
    """Read the names of classes.

    Args:
        source: the names themselves; a file with one name a line, a list or numbers (JSON, YAML, CSV); a run or bundle, for the
            classes that it has; or a data set.
        order: of the classes of a data set, "text" or "natural"; None: as text for class folders, and natural for a table.

    Raises:
        DataError: it cannot be read, a name is empty or occurs twice, or the numbers are not 0, 1, 2, ...
        UsageError: an order of class folders is given, and the names have one already.
    """
    if not isinstance(source, str | Path):
        _refuse_order(order, "a list")
        return ClassNames(checked(list(source), "classes"), [])
    path = Path(source)
    if path.is_file() and (held := _BINARY.get(path.suffix.lower())):
        raise DataError(f"{show(str(path))}: {held}, not a text of names", AS_JSON)
    if path.is_file() and path.suffix.lower() in FILES:
        try:
            names, how = _from_file(path)
            if is_table(path) and any(map(_names_image, names)):
                raise DataError(f"{show(path)}: names images, not classes", "give a list of the classes")
        except DataError as error:
            if not is_table(path):
                raise
            return _from_table_of_images(path, order, error)
        _refuse_order(order, show(path.name))
        return ClassNames(names, [f"classes of {show(path.name)}, in {how}: {shown(names)}"])
    if (path / CARD).is_file():
        _refuse_order(order, show(str(path)))
        names, _ = _from_file(path / CARD)
        return ClassNames(names, [f"classes of {show(str(path))}, in the order of its outputs: {shown(names)}"])
    return _from_data(source, order)


def _refuse_order(order: str | None, giver: str) -> None:
    """Refuse an order of class folders beside names that are in an order already."""
    if order is not None:
        what = f"class_order: {order!r} does nothing here: {giver} has the names in the order of the outputs"
        raise UsageError(what, "leave it out, or give the data set whose class folders are to be put in order")


def _from_table_of_images(path: Path, order: Order | None, no_names: DataError) -> ClassNames:
    """The classes of a table of images; where it is none either, the error of the one that it seems to be.

    Args:
        path: of the file.
        order: as `read_class_names` takes it.
        no_names: why it is no list of names.
    """
    try:
        return _from_data(path, order)
    except DataError as error:
        raise error if _names_image(_text(path)) else no_names from None


def _from_data(source: str | Path, order: Order | None) -> ClassNames:
    """The classes of a data set: those of folders as another program would have numbered them, those of tables as Podium does."""
    if (stored := read_stored(source)) is not None:
        _refuse_order(order, show(str(source)))
        return ClassNames(stored.classes, [f"classes of {show(source)}, in its own order: {shown(stored.classes)}"])
    try:
        listing = listed(source)
    except DataError as error:
        # These flags say how images are read, and an import reads none.
        if any(flag in (error.fix or "") for flag in ("class_from=", "-column")):
            raise DataError(error.what, OWN_FILE) from None
        raise
    if listing.faults:
        raise faulty_rows(listing, str(source))
    names = list(dict.fromkeys(listing.classes))
    if not names:
        raise DataError(
            f"{show(source)}: no class folders", "give a file of names, or the data the network was trained on"
        )
    usual: Order = "natural" if listing.labels_in == "rows" else "text"
    chosen = order or usual
    found: dict[Order, list[str]] = {"text": sorted(names), "natural": sorted(names, key=natural)}
    named = checked(found[chosen], show(source))
    how = "sorted as text, as ImageFolder and Keras number them" if chosen == "text" else "in natural order"
    notes = [f"classes of {show(source)}, {how}: {shown(named)}"]
    if found["text"] != found["natural"]:
        other: Order = "natural" if chosen == "text" else "text"
        said = f"{other} order is {shown(found[other])} (--class-order {other})"
        notes.append(f"the order of these classes is a guess: {said}")
    return ClassNames(named, notes)


def _from_file(path: Path) -> tuple[tuple[str, ...], str]:
    """The names in a file, and the order they are in, in words."""
    where, content = show(path), _text(path)
    ending = path.suffix.lower()
    if ending in (".json", ".yaml", ".yml"):
        names, how = from_tree(_parsed(content, ending, where), where)
    elif ending in (".csv", ".tsv"):
        names, how = _from_table(content, where)
    else:
        names, how = _from_lines(content, where)
    return checked(names, where), how


def _text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark."""
    content = path.read_bytes()
    try:
        return content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{show(path)}: not a text in UTF-8", "save it as UTF-8") from None


def _parsed(content: str, ending: str, where: str) -> Any:
    import yaml

    def once(keys: Sequence[Any]) -> None:
        if twice := [key for key, count in Counter(keys).items() if count > 1]:
            raise DataError(f"{where}: {twice[0]!r} occurs more than once", "give every class its own number and name")

    def pairs_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        once([key for key, _ in pairs])
        return dict(pairs)

    class Loader(yaml.SafeLoader):
        """Of plain data, in which no key occurs twice."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            once([key.value for key, _ in node.value])
            return super().construct_mapping(node, deep)

    try:
        if ending == ".json":
            return json.loads(content, object_pairs_hook=pairs_once)
        return Loader(content).get_single_data()
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        line = " ".join(str(error).split())
        raise DataError(
            f"{where}: cannot be read ({line})", "save it as JSON or YAML, or as text with one name a line"
        ) from None


def _from_lines(content: str, where: str) -> tuple[list[str], str]:
    """One name a line; where every line begins or ends with a number, as "0 cat" or "cat: 0", the numbers give the order."""
    lines = [line.strip() for line in content.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if _is_of_python(lines) or (len(lines) == 1 and re.search(r"[,;\s]", lines[0])):
        found = "a list or a dictionary in brackets" if _is_of_python(lines) else "one line"
        raise DataError(f"{where}: {found}, not one name a line", "write one name a line")
    if "" in lines:
        raise DataError(f"{where}, line {lines.index('') + 1}: an empty name", "write a name on every line")
    before = (re.fullmatch(r"(?P<number>\d{1,9})(?:\s*[:,;=]\s*|\s+)(?P<name>\S.*)", line) for line in lines)
    behind = (re.fullmatch(r"(?P<name>.*?\S)(?:\s*[:,;=]\s*|\s+)(?P<number>\d{1,9})", line) for line in lines)
    pairs = _pairs(before) or _pairs(behind)
    if len(pairs) < len(lines) or len({name for _, name in pairs}) < len(pairs):  # no numbers, or they are of the names
        return lines, "the order of its lines"
    if sorted(number for number, _ in pairs) == list(range(len(pairs))):
        return [name for _, name in sorted(pairs)], "the order of its numbers"
    if sorted(number for number, _ in pairs) == list(range(1, len(pairs) + 1)):
        raise DataError(f"{where}: numbers its {len(pairs)} lines from 1", NUMBER_FROM_0)
    return lines, "the order of its lines"


def _is_of_python(lines: Sequence[str]) -> bool:
    """Whether lines are the text of one list, tuple or dictionary, and not names that may have brackets."""
    text = "\n".join(lines)
    first, bracket = lines[0] if lines else "", text[:1]
    closed = {"[": "]", "(": ")", "{": "}"}.get(bracket, "")
    spread = len(lines) > 1 and first.count(bracket) == first.count(closed)
    return bool(closed) and text.endswith(closed) and not spread


def _pairs(found: Iterable[re.Match[str] | None]) -> list[tuple[int, str]]:
    """The number and the name of each line; nothing where some line has no number."""
    matches = list(found)
    return [(int(match["number"]), match["name"]) for match in matches if match] if all(matches) else []


def _from_table(content: str, where: str) -> tuple[list[str], str]:
    """A column of names, in the order of a column of numbers where there is one."""
    first = content.partition("\n")[0]
    rows = [row for row in csv.reader(io.StringIO(content), delimiter=max(",;\t", key=first.count)) if any(row)]
    if not rows or len({len(row) for row in rows}) > 1:
        raise DataError(f"{where}: its lines have different numbers of columns", "write NUMBER,NAME on every line")
    head = [cell.strip().lower() for cell in rows[0]]
    titled = any(cell in _NAME_COLUMNS for cell in head) or _below_a_title(rows)
    columns = [[cell.strip() for cell in column] for column in zip(*(rows[titled:]), strict=True)]
    numbered = [i for i, column in enumerate(columns) if numbers_of(column)]
    named = [i for i in range(len(columns)) if i not in numbered[:1]]
    if titled and len(named) > 1:
        named = [i for i in named if head[i] in _NAME_COLUMNS] or named
    if len(columns) == 1:
        return columns[0], "the order of its lines"
    if len(named) != 1 or (not numbered and all(cell.isdigit() for column in columns for cell in column[:1])):
        raise DataError(
            f"{where}: no single column of names among {', '.join(rows[0])}", "give two columns: index,name"
        )
    names = columns[named[0]]
    if not numbered:
        if other := next((c for i, c in enumerate(columns) if i not in named and all(map(str.isdigit, c))), None):
            raise DataError(
                f"{where}: its classes are numbered {other[0]} to {other[-1]}, not 0 to {len(other) - 1}", NUMBER_FROM_0
            )
        return names, "the order of its lines"
    return [
        name for _, name in sorted(zip(numbers_of(columns[numbered[0]]), names, strict=True))
    ], "the order of its numbers"


def _below_a_title(rows: list[list[str]]) -> bool:
    """Whether some column holds numbers below a first line that is none."""
    return any(numbers_of(column[1:]) and not column[0].strip().isdigit() for column in zip(*rows, strict=True))


def _names_image(text: str) -> bool:
    return any(suffix(word) in EXTENSIONS for word in re.split(r"[\s,;\"']+", text))
