"""The record of a run's images: which it learned from and which it held out, by the keys of their content, as a file on disk."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from podium.data.dataset import Dataset, Split
from podium.data.groups import GROUP, group_keys, with_groups
from podium.errors import DataError, ModelFileError, UsageError
from podium.files import write_atomic

RECORD = "images.npz"  # in a run folder


@dataclass(frozen=True)
class Record:
    """Which images a run learned from and which it held out, by the keys of their content.

    Args:
        roles: split -> keys, (N,) uint64.
        earlier: keys, (M,) uint64, of the images from which its starting weights, or its teacher, had learned.
        made: how the split was made: the fingerprint of the data; share and seed where Podium chose the validation images,
            and "test", the share of the test images, where it chose those; the setting that named the groups.
        groups: split, or "earlier", -> keys of groups, (G,) uint64; empty where images had no groups.
    """

    roles: dict[str, np.ndarray]
    earlier: np.ndarray
    made: dict[str, Any]
    groups: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def learned(self) -> np.ndarray:
        """The keys of all images from which the weights learned, sorted."""
        return np.union1d(self.roles.get("train", self.earlier), self.earlier)

    @property
    def held(self) -> np.ndarray:
        """The keys of the images that were held out, sorted."""
        others = [keys for name, keys in self.roles.items() if name != "train"]
        return np.setdiff1d(np.concatenate([*others, self.earlier[:0]]), self.learned)

    @property
    def learned_groups(self) -> np.ndarray:
        """The keys of all groups from whose images the weights learned."""
        known = [self.groups[name] for name in ("train", "earlier") if name in self.groups]
        return np.unique(np.concatenate([self.earlier[:0], *known]))

    def learned_from(self, split: Split) -> np.ndarray:
        """Which images the weights learned from, or from others of their group, (N,) bool."""
        groups = group_keys(split)
        known = np.isin(split.contents(), self.learned)
        return known if groups is None else known | (np.isin(groups, self.learned_groups) & (groups != 0))

    def held_out(self, split: Split) -> np.ndarray:
        """Which images were held out, or belong to a group that was, and were not learned from, (N,) bool."""
        others = [self.held_as(name, split) for name in self.roles if name != "train"]
        return np.logical_or.reduce([*others, np.zeros(len(split), bool)]) & ~self.learned_from(split)

    def held_as(self, name: str, split: Split) -> np.ndarray:
        """Which images, or others of their group, had the role "val" or "test", (N,) bool."""
        known, groups = np.isin(split.contents(), self.roles.get(name, self.earlier[:0])), group_keys(split)
        if groups is not None:
            known |= np.isin(groups, self.groups.get(name, self.earlier[:0])) & (groups != 0)
        return known

    def with_groups_of(self, data: Dataset) -> Dataset:
        """The images with their groups named as those of the record are; as they are where either has none to name."""
        named = {key: self.made[key] for key in ("group_from", "group_column") if self.made.get(key)}
        if not self.groups or not named or any(GROUP in split.columns for split in data.splits.values()):
            return data
        try:
            return with_groups(data, **named, strict=False)
        except (DataError, UsageError):  # other images, which have no paths or no such column
            why = "note: groups cannot be named here as they were when the network was trained: whether it has learned from others of a group is not known"
            return replace(data, notes=(*data.notes, why))

    def write(self, folder: Path) -> None:
        """Write the record into a run folder or bundle."""
        buffer = io.BytesIO()
        arrays = {f"split {name}": keys for name, keys in self.roles.items()}
        arrays |= {f"group {name}": keys for name, keys in self.groups.items()}
        np.savez(buffer, earlier=self.earlier, made=np.array(json.dumps(self.made)), **arrays)  # type: ignore[arg-type]
        write_atomic(folder / RECORD, buffer.getvalue())


def read_record(folder: Path) -> Record | None:
    """Read the record of a run folder or bundle; None where it has none.

    Raises:
        ModelFileError: it is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            roles = {name[6:]: arrays[name].astype(np.uint64) for name in arrays if name.startswith("split ")}
            groups = {name[6:]: arrays[name].astype(np.uint64) for name in arrays if name.startswith("group ")}
            return Record(roles, arrays["earlier"].astype(np.uint64), json.loads(str(arrays["made"])), groups)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        what = f"{path}: damaged ({error}); it says which images the run was trained on"
        raise ModelFileError(what, "copy it again from where it is whole") from None


def record_of(data: Dataset, earlier: Record | None) -> Record:
    """The record of a run on these images.

    Args:
        data: the images in their roles.
        earlier: the record of its starting weights and its teacher; None where there is none.
    """
    learned = earlier.learned if earlier is not None else np.zeros(0, np.uint64)
    roles = {name: split.contents() for name, split in data.splits.items()}
    made = {"fingerprint": data.fingerprint(), **(data.held_out or {}), **(data.grouping or {})}
    keys = {name: group_keys(split) for name, split in data.splits.items()}
    groups = {name: np.unique(known[known != 0]) for name, known in keys.items() if known is not None}
    if earlier is not None and earlier.groups:
        groups["earlier"] = earlier.learned_groups
        made = {key: earlier.made[key] for key in ("group_from", "group_column") if key in earlier.made} | made
    return Record(roles, learned, made, groups)


def merged(records: list[Record]) -> Record | None:
    """Merge the records of several runs: an image that one learned from trains, and one that one chose by is "val".

    Returns:
        None of an empty list.
    """
    if len(records) < 2:
        return records[0] if records else None
    learned = np.unique(np.concatenate([record.learned for record in records]))
    roles, groups = {"train": learned}, dict[str, np.ndarray]()
    if any(record.groups for record in records):
        groups["train"] = np.unique(np.concatenate([record.learned_groups for record in records]))
    for name in ("val", "test"):
        if any(name in record.roles for record in records):
            roles[name] = _other([record.roles.get(name, learned[:0]) for record in records], roles)
        if any(name in record.groups for record in records):
            groups[name] = _other([record.groups.get(name, learned[:0]) for record in records], groups)
    made = next((record.made for record in records if record.groups), records[0].made)
    return Record(roles, learned[:0], made, groups)


def _other(keys: list[np.ndarray], known: dict[str, np.ndarray]) -> np.ndarray:
    """Which of the keys are none of the known ones, sorted."""
    return np.setdiff1d(np.concatenate(keys), np.concatenate(list(known.values())))
