"""The official weight files on record: one row a file in `torchvision.csv`, `timm.csv` and `keras.csv` beside this module.

The rows were taken from what the libraries publish of their files: torchvision's weight enumerations, timm's configurations
and its `results-imagenet.csv`, Keras's `applications` and the history of its README. An empty cell has no public source.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from podium import imagenet
from podium.errors import UsageError, closest

# Where each library keeps its files; timm's lie in one repository a file, "timm/NAME.TAG" on the Hugging Face Hub.
HOSTS = {
    "torchvision": "https://download.pytorch.org/models/",
    "keras": "https://storage.googleapis.com/tensorflow/keras-applications/",
}
LIBRARIES = ("torchvision", "timm", "keras")


@dataclass(frozen=True)
class OfficialFile:
    """One official weight file.

    Args:
        library: torchvision, timm or keras.
        name: the library's name of the network.
        tag: which of its weights; empty where there is one only.
        file: its name below the library's host or in its repository.
        bytes: its exact size; None where no source gives it.
        mib: its size in units of 2**20 bytes, rounded to three decimals; None where no source gives it.
        sha256: its digest, or the first digits of it, which are in torchvision's file names; empty where unknown.
        md5: Keras's digest of it; empty where unknown.
        pixels: fields of its preprocessing that differ from those of the library's other files of this network.
        top1: published accuracy on the validation images of ImageNet-2012, in percent; None where unknown.
        top1_at: size of the images, and the share of the short side, by which it was measured.
        licence: as stated by the library for this file; empty where it states none.
        also_named: a digest by which the same weights were named in an earlier release.
    """

    library: str
    name: str
    tag: str
    file: str
    bytes: int | None
    mib: float | None
    sha256: str
    md5: str
    pixels: Mapping[str, Any]
    top1: float | None
    top1_at: str
    licence: str
    also_named: str

    @property
    def peer(self) -> str:
        """LIBRARY:NAME, by which the rules of the weights' names are found."""
        return f"{self.library}:{self.name}"

    @property
    def source(self) -> str:
        """LIBRARY:NAME.TAG, which names this file only."""
        return f"{self.peer}.{self.tag}" if self.tag else self.peer

    @property
    def repository(self) -> str | None:
        """The repository on the Hugging Face Hub; None of files that are elsewhere."""
        return f"timm/{self.name}.{self.tag}" if self.library == "timm" else None

    @property
    def cached_as(self) -> str:
        """The file's name in the cache: unlike names of different files, and what a person finds when downloading it."""
        if self.repository:
            return f"{self.name}.{self.tag}.safetensors"
        return self.file.rpartition("/")[2]

    @property
    def address(self) -> str:
        """Where it is published."""
        if self.repository:
            return f"https://huggingface.co/{self.repository}/resolve/main/{self.file}"
        return HOSTS[self.library] + self.file


@functools.cache
def official_files() -> Mapping[str, tuple[OfficialFile, ...]]:
    """The official files of each network, by "LIBRARY:NAME"; the first is the one that this name stands for."""
    found: dict[str, list[OfficialFile]] = {}
    for library in LIBRARIES:
        text = resources.files("podium.weights").joinpath(f"{library}.csv").read_text(encoding="utf-8")
        for row in csv.DictReader(text.splitlines()):
            record = _record(library, row)
            found.setdefault(record.peer, []).append(record)
    return {peer: tuple(own) for peer, own in found.items()}


def _record(library: str, row: dict[str, str]) -> OfficialFile:
    """A row of a table as a record."""
    pixels: dict[str, Any] = {}
    if row["crop"]:
        share, _, whole = row["crop"].partition("/")  # "224/232": resized to 232, of which the central 224 are kept
        pixels["crop_pct"] = float(share) / float(whole or 1)
    if row["interpolation"]:
        pixels["interpolation"] = row["interpolation"]
    if row["statistics"]:
        pixels |= {"mean": imagenet.MEAN, "std": imagenet.STD}
    return OfficialFile(
        library,
        row["name"],
        row["tag"],
        row["file"],
        int(row["bytes"]) if row["bytes"] else None,
        float(row["mib"]) if row["mib"] else None,
        row["sha256"],
        row["md5"],
        pixels,
        float(row["top1"]) if row["top1"] else None,
        row["top1_at"],
        row["licence"],
        row["also_named"],
    )


def split_tag(source: str) -> tuple[str, str]:
    """ "LIBRARY:NAME" and the tag of a source; the tag is empty where the source has none.

    A name may have dots of its own, as Keras's "MobileNet_0.75" has.

    Raises:
        UsageError: no file of this network has the tag; those there are are named.
    """
    peer, _, tag = source.partition(".")
    if source in official_files() or not tag or peer not in official_files():
        return source, ""
    tags = [record.tag for record in official_files()[peer]]
    if tag not in tags:
        hint = closest(tag, tags) or f"{peer} has {', '.join(each or 'one file, without a tag' for each in tags)}"
        raise UsageError(f"{peer} has no weights {tag!r}", hint)
    return peer, tag
