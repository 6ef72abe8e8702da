"""Quotes in tables: cells of several lines are read, and a quote that does not close never hides the rows below it."""

import pytest

from podium.data.sources import read
from podium.errors import DataError
from test_tables import LABELS, classes_of, pictures

ROWS = [[name, label, "x"] for name, label in LABELS.items()]


def write(root, cells, ending=".csv", delimiter=",", header=("image", "label", "note")):
    """A table of the photos in which some cells, (row, column) -> text, are written as given."""
    rows = [[cells.get((number, place), cell) for place, cell in enumerate(row)] for number, row in enumerate(ROWS)]
    path = pictures(root / "photos", *LABELS) / f"labels{ending}"
    path.write_text("\n".join(delimiter.join(row) for row in [header, *rows]) + "\n")
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "|"])
@pytest.mark.parametrize("column", range(3))
@pytest.mark.parametrize("later", ['{}"', '"{}"', "{}"])  # a quote that ends a later cell, one that is quoted, none
def test_an_open_quote_is_named_with_its_line(tmp_path, delimiter, column, later):
    cells = {(1, column): f'"{ROWS[1][column]}', (4, column): later.format(ROWS[4][column])}
    with pytest.raises(DataError, match=r"labels\.csv, line 3: a quote opens in this line"):
        read(write(tmp_path, cells, delimiter=delimiter))


@pytest.mark.parametrize("end", ["x", '5"'])
def test_an_open_quote_in_the_header_is_named(tmp_path, end):
    with pytest.raises(DataError, match=r"line 1: a quote opens"):
        read(write(tmp_path, {(2, 2): end}, header=("image", "label", '"note')))


def test_an_open_quote_in_the_last_line_is_named(tmp_path):
    with pytest.raises(DataError, match=r"line 7: a quote opens"):
        read(write(tmp_path, {(5, 2): '"x'}))


@pytest.mark.parametrize(("ending", "delimiter"), [(".csv", ","), (".tsv", "\t")])
@pytest.mark.parametrize("text", ['"one, two\nthree, four"', '"a ""big""\none"', 'a 5" disk', '"x" '])
def test_quotes_that_close_and_quotes_amid_text_are_read(tmp_path, ending, delimiter, text):
    assert classes_of(read(write(tmp_path, {(1, 2): text, (3, 2): text}, ending, delimiter))) == LABELS


def test_a_quote_that_never_closes_is_text_between_tabs(tmp_path):
    """Programs that write tabs often know no quotes."""
    assert classes_of(read(write(tmp_path, {(1, 2): '"odd', (4, 2): '"too'}, ".tsv", "\t"))) == LABELS
    with pytest.raises(DataError, match=r'line 3: a label with one quote \("dog\)'):
        read(write(tmp_path, {(1, 1): '"dog'}, ".tsv", "\t"))
