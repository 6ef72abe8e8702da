"""Which columns of a table hold the splits of its images, by words or as 0/1 columns such as is_valid, and the split of each row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from podium.data.names import MORE_SPLIT_NAMES, SPLIT_NAMES, show, split_named
from podium.data.table_files import Table, plain
from podium.errors import DataError
from podium.files import shell_word

# Names of columns that hold words, without spaces, dashes and underscores.
USUAL = "split splits subset partition datasplit datasettype trainvaltest traintest usage phase dataset set fold"
NAMES = USUAL.split()
WORDS = {
    **MORE_SPLIT_NAMES,
    "tr": "train",
    "va": "val",
    "te": "test",
    "publictest": "val",
    "privatetest": "test",
}  # whole cells
ALONE = {  # names of 0/1 columns that say which images are of a split, and which are of another
    **dict.fromkeys(("isvalid", "isval", "isvalidation"), "val"),
    "istest": "test",
    **dict.fromkeys(("istrain", "istraining", "istrainingimage"), "train"),
}
# The others only where such columns of two splits are there: valid may also say which images are good, and train be a class.
FLAGS = {**SPLIT_NAMES, **ALONE}
BITS = {
    **dict.fromkeys(("0", "0.0", "-1", "-1.0", "false", "f", "no", "n"), False),
    **dict.fromkeys(("1", "1.0", "true", "t", "yes", "y"), True),
}
REST = {("val",): "train", ("test",): "train", ("test", "val"): "train", ("train",): "test", ("train", "val"): "test"}


def find_splits(table: Table, others: Collection[str | None]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Find the columns of splits by their names and cells.

    Args:
        table: the table.
        others: columns that hold something else.

    Returns:
        One column of words, or the 0/1 columns; empty where there are none. Then a note on each column that is called like
        splits and not read.
    """
    unread = dict[str, str]()
    names = [name for name in table.columns if name not in others]
    for name in names:
        if plain(name) in NAMES:
            if _mostly(table, name, _words(set(table.texts(name)))):
                return (name,), unread
            unread[name] = _not_read(table, name)
    called = [name for name in names if plain(name) in FLAGS]
    flags = [name for name in called if _mostly(table, name, _bits(set(table.texts(name))))]
    alone = [name for name in flags if plain(name) in ALONE]
    several = len({FLAGS[plain(name)] for name in flags}) > 1
    splits = flags if several and (not alone or _divide(table, flags)) else alone
    for name in called:
        if name in flags and name not in splits:
            mend = f"--split-column {shell_word(','.join([*splits, name]))}"
            unread[name] = f"note: column {show(name)} is not read as a split; {mend} reads it"
        elif plain(name) in ALONE and name not in flags:
            unread[name] = _not_read(table, name)
    return tuple(splits), unread


def splits_of(table: Table, names: Sequence[str], called: str = "") -> list[str]:
    """The split of each row.

    Args:
        table: the table.
        names: of the columns that have it; none where the table says nothing.
        called: the split that the name of the table means, as test.csv: of rows that 0/1 columns of other splits leave out.

    Raises:
        DataError: a cell names no split, or 0/1 columns name none or two for a row.
    """
    if not names:
        return [""] * len(table)
    cells = {name: table.texts(name) for name in names}
    if len(names) == 1 and not (plain(names[0]) in FLAGS and _bits(set(cells[names[0]]))):
        words = _words(set(cells[names[0]]))
        _refuse_odd(table, names[0], words, "train, val or test")
        return [words[text] for text in cells[names[0]]]
    found = list[str]()
    flags = {name: _bits(set(texts)) for name, texts in cells.items()}
    for name, bits in flags.items():
        _refuse_odd(table, name, bits, "0 or 1")
    kinds = {name: FLAGS.get(plain(name), split_named(name)[0]) for name in names}
    rest = called if called and called not in kinds.values() else REST.get(tuple(sorted(set(kinds.values()))), "")
    for row in range(len(table)):
        said = sorted({kinds[name] for name in names if flags[name][cells[name][row]]}) or [rest]
        if len(said) > 1 or not said[0]:
            shown = f"{', '.join(map(show, names))} say {' and '.join(said) or 'none'} for the split"
            what = f"{show(table.path)}, {table.where(row)}: {shown}"
            mend = "write 1 into one of them there, name the columns of splits with --split-column, or rename these if they are none"
            raise DataError(what, mend)
        found.append(said[0])
    return found


def _refuse_odd(table: Table, name: str, read: Collection[str], instead: str) -> None:
    """Refuse a column with a cell that is not among those that could be read; `instead` is what to write there."""
    texts = table.texts(name)
    odd = next((row for row, text in enumerate(texts) if text not in read), None)
    if odd is not None:
        what = f"{show(table.path)}, {table.where(odd)}: {texts[odd]!r} in column {show(name)} is not a split"
        raise DataError(what, f"write {instead} there, or name another column with --split-column")


def _mostly(table: Table, name: str, read: Collection[str]) -> bool:
    """Whether half of a column's cells can be read; others are an error then, as rows without a split."""
    texts = table.texts(name)
    return 2 * sum(text in read for text in texts) >= len(texts)


def _divide(table: Table, names: Sequence[str]) -> bool:
    """Whether 0/1 columns divide the rows: each row is set in just one."""
    bits = [[BITS.get(text.lower(), False) for text in table.texts(name)] for name in names]
    return all(sum(row) == 1 for row in zip(*bits, strict=True))


def _words(values: Iterable[str]) -> dict[str, str]:
    """The values that mean splits, and these."""
    read = ((value, WORDS.get(value.lower()) or split_named(value)[0]) for value in values)
    return {value: split for value, split in read if split}


def _bits(values: Iterable[str]) -> dict[str, bool]:
    """The values that mean yes or no."""
    return {value: BITS[value.lower()] for value in values if value.lower() in BITS}


def _not_read(table: Table, name: str) -> str:
    example = sorted(set(table.texts(name)))[0]
    return f"note: column {show(name)} is not read as splits: {example!r} is neither train, val nor test"
