"""`podium.official_weights`: what is on record of official weight files, and which of them are on this machine."""

from __future__ import annotations

import fnmatch
from typing import Any

from podium.calls import public
from podium.errors import UsageError, closest
from podium.models.registry import architecture, list_models
from podium.weights.download import address_of, by_hand, cached
from podium.weights.official import best_source, find_official, recorded_pixels
from podium.weights.official_files import OfficialFile, official_files
from podium.weights.peers import find_peer


@public
def official_weights(pattern: str = "*") -> list[dict[str, Any]]:
    """List the official weight files on record.

    Args:
        pattern: a shell pattern for the names of our networks, or for sources such as "timm:resnet50.*".

    Returns:
        For each file its source, our network, its address, its size in bytes and digests (None where nobody publishes them),
        classes, preprocessing, licence, published top-1 accuracy in percent, whether the bare name of the network stands for
        it (`best`), and where it lies on this machine (None where it must be downloaded). In the order of libraries.
    """
    rows = [_row(record, record is own[0]) for own in official_files().values() for record in own]
    return [
        row
        for row in rows
        if any(
            fnmatch.fnmatchcase(name, pattern) for name in (row["model"], row["source"], row["source"].split(".")[0])
        )
    ]


def _row(record: OfficialFile, first: bool) -> dict[str, Any]:
    known, path = find_peer(record.peer), cached(record)
    model = known.model
    return {
        "source": record.source,
        "model": model,
        "best": first and best_source(model) == record.peer,
        "file": record.cached_as,
        "address": address_of(record),
        "bytes": record.bytes,
        "mib": record.mib,
        "sha256": record.sha256 or None,
        "md5": record.md5 or None,
        "classes": "ImageNet-2012, 1,000",
        "image_size": architecture(model).input_size,
        "preprocessing": recorded_pixels(record),
        "licence": record.licence or None,
        "top1": record.top1,
        "top1_at": record.top1_at or None,
        "cached": None if path is None else str(path),
        "by_hand": str(by_hand(record)),
    }


def official_name(name: str) -> str:
    """The source of official weights that a person means: a source, or the best known for one of our networks.

    Args:
        name: "LIBRARY:NAME", "LIBRARY:NAME.TAG" or a network.

    Raises:
        UsageError: there is no such name, or no official file on record for it.
    """
    if ":" in name:
        find_peer(name)
        if find_official(name) is None:
            raise UsageError(f"no official file of {name} is on record", "`podium weights` lists those that are")
        return name
    source = best_source(name)
    if source is None:
        known = name in list_models()
        what = f"no official weights of {name} are on record" if known else f"no network is called {name!r}"
        fix = "train it from fresh weights" if known else closest(name, list_models()) or "`podium weights` lists them"
        raise UsageError(what, fix)
    return source
