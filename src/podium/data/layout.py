"""The layout of a data set in folders: which part of a path is a wrapper, a split or a class, decided by the images only.

    DATA/CLASS/image.jpg              classes
    DATA/SPLIT/CLASS/image.jpg        splits, by their names: train, training_set, Train, flowers_train, ...
    DATA/CLASS/SPLIT/image.jpg        splits inside of each class
    DATA/WRAPPER/.../any of these     a folder around everything is ignored

An ambiguous layout is not read as a data set. It is reported, with how to make it unambiguous.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from podium.data.image_file import ImageFile
from podium.data.names import is_text, show, split_named
from podium.files import shell_word
from podium.natural import natural

LAYOUT = "arrange it as DATA/CLASS/image.jpg, or DATA/train/CLASS/image.jpg with val/ or test/ beside train/"
OUTSIDE = "an image outside of a class folder"
Parts = tuple[str, ...]
Cells = tuple[Mapping[str, Sequence[str]], int]  # the columns of a table as text, and the number of one of its rows


@dataclass(frozen=True)
class Left:
    """An entry of a folder or archive that is not read.

    Args:
        kind: "folder"; "unread", an image of a format that Podium does not read; "denied", without permission; "hidden", an image in
            a folder whose name begins with a dot; "other".
        why: the reason in words; for "unread" the format.
    """

    kind: Literal["folder", "unread", "denied", "hidden", "other"]
    why: str = ""


FOLDER, HIDDEN = Left("folder"), Left("hidden")
Entries = list[tuple[PurePosixPath, ImageFile | Left]]  # the path of each entry below the data, and what it is


@dataclass
class Listing:
    """What a folder or archive holds.

    Args:
        files: split -> class -> images; the split is "" where there are no split folders.
        strays: (name, reason) of entries that are not an image in a class folder.
        unread: (name, format) of images of formats that Podium does not read.
        denied: (name, reason) of files and folders that may not be read.
        faults: (place, reason) of rows of a table that cannot be used, such as ("labels.csv, line 3", "no image 'a.jpg'").
        nested: class -> its path below the data and its sub-folders, for classes that have several.
        cells: (split, name below the root) -> what the table has on the image, where the labels stand in one.
        labels_in: what has the labels: "folders", "rows" of a table, or file "names".
        problem: what prevents it from being one data set, and what to do about it.
        alike: whether that is only that classes hold the same sub-folders, which groups of images explain.
        flat: whether that is only that images lie in folders of splits without class folders, so that files' names may have the
            classes.
        notes: what a person should know about it, one line each.
    """

    files: dict[str, dict[str, list[ImageFile]]] = field(default_factory=dict)
    strays: list[tuple[str, str]] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)
    denied: list[tuple[str, str]] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    nested: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    cells: dict[tuple[str, str], Cells] = field(default_factory=dict)
    labels_in: Literal["folders", "rows", "names"] = "folders"
    problem: tuple[str, str] | None = None
    alike: bool = False
    flat: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """The classes of all splits, those of train first, in natural order."""
        order = sorted(self.files, key=lambda split: ["", "train", "val", "test"].index(split))
        return list(dict.fromkeys(name for split in order for name in sorted(self.files[split], key=natural)))


def arrange(found: Iterable[tuple[PurePosixPath, ImageFile | Left]], where: str) -> Listing:
    """Sort what was found into splits and classes.

    Args:
        found: (path below the root, image or reason why it is none), without hidden files and folders.
        where: the name of the data in messages.
    """
    entries = sorted(found, key=lambda entry: natural(str(entry[0])))
    listing = Listing()
    pictures = [path.parts for path, file in entries if is_picture(file)]
    root = _wrapper(pictures)
    tree = _tree(p[len(root) :] for p in pictures if p[: len(root)] == root)
    splits = _splits(tree)
    first = splits is None and _classes_first(tree)
    inner = {top: _wrapper_in_split(top, tree, splits) for top in splits or ()}
    inside: dict[str, dict[str, list[Parts]]] = {}
    roots: dict[tuple[str, str], Parts] = {}
    for path, file in entries:
        parts = path.parts[len(root) :] if path.parts[: len(root)] == root else ()
        split, rest = "", parts
        if splits is not None and parts:
            split, around = splits.get(parts[0], ""), inner.get(parts[0], ())
            rest = parts[1 + len(around) :] if split and parts[1 : 1 + len(around)] == around else ()
            if not split and file == FOLDER and len(parts) == 1 and split_named(parts[0])[1]:
                listing.notes.append(f"note: {show(parts[0])} holds no images")
        elif first and len(parts) > 2:
            split, rest = split_named(parts[1])[0], (parts[0], *parts[2:])
        elif first and file == FOLDER:
            continue
        _place(listing, str(path), "/".join(parts), split, rest, file)
        if len(rest) > 1 and is_picture(file):
            inside.setdefault(split, {}).setdefault(rest[0], []).append(rest[1:])
            roots.setdefault((split, rest[0]), path.parts[: len(path.parts) - len(rest) + 1])
    flat = _flat_splits(tree) if splits is None and not first else []
    if flat:
        what = f"{where}: {', '.join(map(show, flat))} are named like splits, but train holds no class folders"
        listing.problem, listing.flat = (what, LAYOUT), True
    else:
        listing.problem = _problem(tree, splits, first, where)
    _look_inside(listing, inside, roots, where)
    return listing


def is_picture(file: ImageFile | Left) -> bool:
    """Whether an entry is an image, also one of a format that Podium does not read."""
    return isinstance(file, ImageFile) or file.kind == "unread"


def _look_inside(
    listing: Listing, inside: dict[str, dict[str, list[Parts]]], roots: dict[tuple[str, str], Parts], where: str
) -> None:
    """Note the classes that have sub-folders; these are a problem where several classes have the same ones, or are called so."""
    for split, classes in inside.items():
        classes_of_split = listing.files.get(split, {})
        subs: dict[str, list[str]] = {}
        for name, paths in classes.items():
            around = _wrapper(paths)
            tree = _tree(p[len(around) :] for p in paths)
            again = [sub for sub in (*around, *sorted(tree, key=natural)) if sub != name and sub in classes_of_split]
            if again and listing.problem is None:
                listing.problem = _again("/".join(roots[split, name]), again, where)
            if len(tree) > 1:
                subs[name] = sorted(tree, key=natural)
                listing.nested.setdefault(name, ("/".join((*roots[split, name], *around)), subs[name]))
            kinds = {split_named(sub) for sub in tree}
            if listing.problem is None and len({kind for kind, alone in kinds if kind and alone}) > 1:
                what = f"{where}: {show(name)} holds splits ({', '.join(map(show, subs[name]))}), and other class folders do not"
                listing.problem = what, LAYOUT
        alike = _alike(subs)
        if alike and listing.problem is None:
            shared = ", ".join(map(show, subs[alike[0]][:5])) + (", ..." if len(subs[alike[0]]) > 5 else "")
            what = f"{where}: {', '.join(map(show, alike[:5]))} hold the same sub-folders ({shared}), so they are no classes"
            listing.alike = True
            listing.problem = (
                what,
                (
                    "name them train, val and test if they are splits; give one of them if it is a data set of its own; if they "
                    "are classes, put the images of each into its folder, without sub-folders; if each sub-folder is a patient or "
                    "video, train and compare keep it on one side with --group-from '([^/]+)/[^/]+$'"
                ),
            )


def _again(folder: str, names: list[str], where: str) -> tuple[str, str]:
    """The problem of a class with sub-folders that are called like other classes, as of a set that holds itself once more."""
    what = f"{where}: {show(folder)} holds {', '.join(map(show, names[:5]))}, and so does the folder around it"
    mend = f"take {show(folder)} out of the data if it holds the same images once more; rename its sub-folders if it is a class"
    return what, mend


def _place(listing: Listing, name: str, below: str, split: str, rest: Parts, file: ImageFile | Left) -> None:
    """Add one entry to the listing; `rest` is its path from the class on."""
    if isinstance(file, ImageFile):
        if len(rest) < 2:
            listing.strays.append((file.name, OUTSIDE))
        else:
            listing.files.setdefault(split, {}).setdefault(rest[0], []).append(replace(file, below=below))
    elif file.kind == "folder":
        if len(rest) == 1:
            listing.files.setdefault(split, {}).setdefault(rest[0], [])
    elif file.kind == "unread":
        listing.unread.append((show(name), file.why))
        if len(rest) > 1:
            listing.files.setdefault(split, {}).setdefault(rest[0], [])
    elif file.kind == "denied":
        listing.denied.append((show(name), file.why))
    elif file.kind == "other":
        listing.strays.append((show(name), file.why))


def _tree(paths: Iterable[Parts]) -> dict[str, list[Parts]]:
    """Group paths by their first folder: folder -> the paths in it."""
    tree: dict[str, list[Parts]] = {}
    for parts in paths:
        if len(parts) > 1:
            tree.setdefault(parts[0], []).append(parts[1:])
    return tree


def _wrapper(paths: list[Parts]) -> Parts:
    """The folders that lie around everything else.

    Single images beside several class folders, such as a preview, leave the folder that holds them a wrapper: it would be
    the only class.
    """
    root: Parts = ()
    while True:
        tree = _tree(p[len(root) :] for p in paths if p[: len(root)] == root)
        top = next(iter(tree), "")
        inside = _tree(tree.get(top, []))
        if len(tree) != 1 or (len(inside) < 2 and any(len(p) < 2 for p in tree[top])):
            return root
        if split_named(top)[1] and not (len(inside) > 1 and _splits(inside)):
            return root
        root = (*root, top)


def _splits(tree: dict[str, list[Parts]]) -> dict[str, str] | None:
    """Folder -> split; None where the folders are no splits. A split has class folders; other files beside it do not count."""
    named = {top: split_named(top) for top in tree}
    kinds = {top: kind for top, (kind, _) in named.items() if kind}
    strict = {top: kind for top, kind in kinds.items() if named[top][1]}
    deep = {top for top, paths in tree.items() if any(len(p) > 1 for p in paths)}
    for chosen in (strict, kinds):
        trains = [top for top, kind in chosen.items() if kind == "train"]
        if trains and len(set(chosen.values())) > 1 and deep.issuperset(trains):
            beside = tree.keys() - chosen.keys()
            if chosen is strict or not beside or _share_folders([tree[top] for top in chosen]):
                return chosen
    return strict if strict and strict.keys() == deep == tree.keys() else None


def _share_folders(trees: list[list[Parts]]) -> bool:
    """Whether all trees have a folder of the same name that holds images."""
    return bool(set.intersection(*({p[-2] for p in paths if len(p) > 1} for paths in trees)))


def _wrapper_in_split(top: str, tree: dict[str, list[Parts]], splits: dict[str, str] | None) -> Parts:
    """The folders around all classes of one split, such as the second in train/train/rose, but never a class of another split."""
    around = _wrapper(tree[top])
    others = {p[0] for other in splits or () if other != top for p in tree[other] if len(p) > 1}
    several = {other for other in splits or () if other != top and len(_tree(tree[other])) > 1}
    return () if around and several and around[0] in others else around


def _classes_first(tree: dict[str, list[Parts]]) -> bool:
    """Whether every class folder holds split folders: rose/train/1.jpg, rose/test/2.jpg."""
    return len(tree) > 1 and all(all(len(p) > 1 and split_named(p[0])[0] for p in paths) for paths in tree.values())


def _alike(subs: dict[str, list[str]]) -> list[str]:
    """Folders that have two sub-folders in common, and half of those of the smaller: these are splits, years or views, not classes."""
    for one, names in subs.items():
        own, same = set(names), []
        for other, theirs in subs.items():
            common = own & set(theirs)
            if other != one and len(common) > 1 and 2 * len(common) >= min(len(own), len(theirs)):
                same.append(other)
        if same:
            return [one, *same]
    return []


def _flat_splits(tree: dict[str, list[Parts]]) -> list[str]:
    """Folders that are named like splits and are none, since train holds no class folders."""
    named = {top: split_named(top) for top in tree}
    strict, every = {kind for kind, alone in named.values() if alone}, {kind for kind, _ in named.values()}
    several = len(strict) > 1 or (len(every) > 1 and "" not in every)
    return [top for top, (kind, _) in named.items() if kind] if several else []


def _problem(
    tree: dict[str, list[Parts]], splits: dict[str, str] | None, first: bool, where: str
) -> tuple[str, str] | None:
    """What is ambiguous in a layout, and how to make it unambiguous; None where nothing is."""
    if splits is not None:
        for kind in sorted(set(splits.values())):
            same = [top for top, other in splits.items() if other == kind]
            if len(same) > 1:
                what = f"{where}: {' and '.join(map(show, same))} could both be the {kind} images"
                return what, "put them together into one folder, or move one of them out of the data"
        return None
    kinds = {top: kind for top, (kind, strict) in ((top, split_named(top)) for top in tree) if strict}
    for top, kind in kinds.items() if len(tree) > 1 and not first else ():
        inside = _tree(tree[top])
        among = [name for name in inside if name in tree]
        if among:
            what = f"{where}: {show(top)} holds {', '.join(map(show, among[:5]))}, and so does the folder around it"
            return what, f"put the class folders beside {show(top)} into a folder train/, beside {show(top)}/"
        flat = any(len(p) == 1 for other in tree if other != top for p in tree[other])
        if kind == "train" and len(inside) > 1 and all(len(p) > 1 for p in tree[top]) and flat:
            subs = ", ".join(map(show, sorted(inside, key=natural)[:5]))
            what = f"{where}: {show(top)} with its sub-folders {subs} could be the training images, or a class"
            return what, f"give {where}/{show(top)} if it holds the classes; rename it if it is one of them"
        if kind != "train" and top.lower() != "valid":
            what = f"{where}: {show(top)} lies beside class folders, and could be {kind} images or a class"
            mend = "if it is a class, rename it; else put the class folders into train/, and class folders into it"
            return what, mend
    return None


def not_utf8(listing: Listing) -> dict[str, str]:
    """Classes whose names are not UTF-8, which no card or report can hold, and the command that renames their folders."""
    odd: dict[str, list[str]] = {}
    for classes in listing.files.values():
        for name, files in classes.items():
            if not is_text(name):
                folder = next((above for above in files[0].path.parents if above.name == name), None) if files else None
                moves = odd.setdefault(name, [])
                if folder is not None:
                    moves.append(f"mv {shell_word(folder)} {shell_word(folder.with_name(_as_text(folder)))}")
    return {name: " && ".join(moves) or "unpack it, and rename the folder" for name, moves in odd.items()}


def _as_text(folder: Path) -> str:
    """A readable form of a name that is not UTF-8: decoded as Windows-1252, or else with the bytes as hexadecimal numbers."""
    with contextlib.suppress(UnicodeDecodeError):
        meant = os.fsencode(folder.name).decode("cp1252")
        if meant.isprintable() and not folder.with_name(meant).exists():
            return meant
    return "".join(chr(byte) if 32 <= byte < 127 else f"_{byte:02x}" for byte in os.fsencode(folder.name))
