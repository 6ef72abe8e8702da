"""The names of an imported network's classes: those that its file keeps, else those on record for its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from podium.data.name_lists import checked, from_tree, shown
from podium.data.names import show
from podium.errors import DataError
from podium.imagenet import CLASSES, class_names
from podium.weights.named import Named, is_key
from podium.weights.official_files import LIBRARIES

# The classes of akamaster/pytorch_resnet_cifar10, in its order.
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class _Names:
    """Names that a file keeps at one place: in the order of the outputs, or what is wrong with them."""

    place: str
    names: tuple[str, ...] = ()
    how: str = ""
    wrong: str = ""


def choose_names(
    source: str, named: Named, num_classes: int, given: Sequence[str] | None, *, fresh: bool
) -> tuple[tuple[str, ...], list[str]]:
    """Choose the names of the classes: those that are given, else those that the file has, else those on record.

    Args:
        source, named, num_classes: as `names_of` takes them.
        given: names; None where there are none.
        fresh: whether the classifier is not the file's, so that its names mean nothing.

    Returns:
        The names in the order of the outputs, and notes on where they come from and what is not taken.
    """
    if given is None and not fresh:
        return names_of(source, named, num_classes)
    names = numbered(num_classes) if given is None else tuple(given)
    return names, notes_of_fresh(named) if fresh else notes_beside(names, named)


def numbered(num_classes: int) -> tuple[str, ...]:
    """What classes without names are called."""
    return tuple(f"class {i}" for i in range(num_classes))


def names_of(source: str, named: Named, num_classes: int) -> tuple[tuple[str, ...], list[str]]:
    """Choose the names of the classes.

    Args:
        source: "LIBRARY:NAME".
        named: what the file has of names, by the place in it.
        num_classes: outputs of the network.

    Returns:
        The names in the order of the outputs, and notes on where they come from. Names on record are taken only where the file has
        none; where it has some that do not fit, or that differ, the classes are numbered.
    """
    read = _read_all(named, num_classes)
    fit = [each for each in read if not each.wrong]
    notes = [f"not taken: names of classes in the file, since {each.wrong}" for each in read if each.wrong]
    if fit and all(each.names == fit[0].names for each in fit):
        places = " and ".join(f"'{show(each.place)}'" for each in fit)
        return fit[0].names, [
            f"names of the classes from the file's {places}, in {fit[0].how}: {shown(fit[0].names)}",
            *notes,
        ]
    if fit:
        other = next(each for each in fit if each.names != fit[0].names)
        notes.append(f"not taken: names of classes in the file, since {_difference(fit[0], other)}")
    if not read and (recorded := recorded_classes(source, num_classes)) is not None:
        if num_classes == CLASSES:
            return recorded, []
        return recorded, [
            f"the file does not name its {num_classes} classes: they are taken for CIFAR-10's; podium import --classes names others"
        ]
    unnamed = f"they are called class 0 to class {num_classes - 1}; podium import --classes names them"
    lacking = "no names in the file fit" if read else "the file does not name"
    notes.append(f"{lacking} its {num_classes} classes: {unnamed}")
    return numbered(num_classes), notes


def notes_beside(given: Sequence[str], named: Named) -> list[str]:
    """A line for each place where the file names its classes otherwise than they are given."""
    own = _Names("the names that are given", tuple(given))
    read = [each for each in _read_all(named, len(given)) if each.names != own.names]
    return [f"not taken: names of classes in the file, since {each.wrong or _difference(each, own)}" for each in read]


def notes_of_fresh(named: Named) -> list[str]:
    """A line where the file names the classes of a classifier that is not taken."""
    places = ", ".join(map(show, named))
    return [f"not taken: names of classes in the file ({places}), since the classifier is fresh"] if named else []


def recorded_classes(source: str, num_classes: int) -> tuple[str, ...] | None:
    """The names of a source's own classes, in its order; None where they are not on record for so many classes."""
    library = source.partition(":")[0]
    if library in LIBRARIES and num_classes == CLASSES:
        return class_names()
    return CIFAR10_CLASSES if library == "akamaster" and num_classes == len(CIFAR10_CLASSES) else None


def _read_all(named: Named, num_classes: int) -> list[_Names]:
    """The names at each place. What may also be something else counts only where it fits, and nothing surer is there."""
    read = [_read(place, held, num_classes) for place, held in named.items()]
    sure = [each for each in read if not is_key(each.place, doubtful=True)]
    return sure or [each for each in read if not each.wrong]


def _read(place: str, held: object, num_classes: int) -> _Names:
    """The names at one place."""
    if held is None:
        return _Names(place, wrong=f"{show(place)} cannot be read as a list or a dictionary of names")
    try:
        names, how = from_tree(held, show(place))
        found = checked(names, show(place))
    except DataError as error:
        return _Names(place, wrong=error.what)
    if len(found) != num_classes:
        return _Names(
            place, found, wrong=f"{show(place)} has {len(found)} names, and the network {num_classes} outputs"
        )
    return _Names(place, found, how)


def _difference(one: _Names, other: _Names) -> str:
    """The first class that two lists of as many names call differently."""
    number = next(i for i, pair in enumerate(zip(one.names, other.names, strict=True)) if len(set(pair)) > 1)
    pairs = [f"{each.names[number]!r} in {show(each.place)}" for each in (one, other)]
    return f"class {number} is {pairs[0]}, and {pairs[1]}"
