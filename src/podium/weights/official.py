"""Official weights: which file a source names, which source is best known for a network, and which file is which."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podium.errors import UsageError
from podium.files import PIN
from podium.weights.official_files import LIBRARIES, OfficialFile, official_files, split_tag
from podium.weights.peers import find_peer, peers

DIGEST_IN_NAME = re.compile(r"(?<![0-9a-z])[0-9a-f]{8}(?![0-9a-z])")
ENDING = re.compile(r"\.(safetensors|bin|pth|pt|th)$")


def find_official(source: str) -> OfficialFile | None:
    """The official file that a source names; None for a network whose weights can be read but of which no file is on record.

    Args:
        source: "LIBRARY:NAME", which stands for the best-known file, or "LIBRARY:NAME.TAG", such as
            "torchvision:resnet50.v2" and "timm:resnet50.a1_in1k".

    Raises:
        UsageError: no file of this network has the tag; those there are are named.
    """
    peer, tag = split_tag(source)
    return next((record for record in official_files().get(peer, ()) if tag in ("", record.tag)), None)


def best_source(model: str) -> str | None:
    """The best-known official weights of exactly one network, as "LIBRARY:NAME"; None where there are none.

    Preferred are weights of the network as its paper has it, then torchvision's, timm's and Keras's in this order. What stands
    for a network in its library is its first official file, trained with plain cross-entropy where there is one: its features
    serve other images better than those of later recipes [Kornblith et al. 2021, arXiv:2010.16402].

    Args:
        model: our name of a network.
    """
    known = peers()
    sources = [
        (len(known[library, name].arguments), LIBRARIES.index(library), source)
        for source in official_files()
        for library, _, name in [source.partition(":")]
        if known[library, name].model == model
    ]
    return min(sources)[2] if sources else None


def recognised(source: str, path: Path) -> OfficialFile | None:
    """The official file that a file is, by the digest in its name, its name, or its content; None where it is none on record.

    Args:
        source: "LIBRARY:NAME" or "LIBRARY:NAME.TAG", whose network the file is of. Libraries that share a format are all tried.
        path: of the file, which need not be readable.
    """
    model = find_peer(source).model
    own = [record for each in official_files().values() for record in each if find_peer(record.peer).model == model]
    own.sort(key=lambda record: record.peer != split_tag(source)[0])  # the library that was named comes first
    digests = set(DIGEST_IN_NAME.findall(path.name))
    names = {ENDING.sub("", part).rpartition("--")[2] for part in path.parts[-4:]}  # as the hub's cache has them
    for record in own:
        if digests & {record.sha256[:8], record.also_named}:
            return record
        if record.repository and f"{record.name}.{record.tag}" in names:
            return record
        if not record.repository and path.name == record.cached_as:
            return record
    if not path.is_file():
        return None
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return next((record for record in own if record.sha256 and content.startswith(record.sha256)), None)


def official_of(pinned: str) -> OfficialFile | None:
    """The official file that weights are; None where they are others, such as a person's own.

    Args:
        pinned: their name in a card or result: "LIBRARY:NAME=FILE@sha256:DIGEST".
    """
    where, _, digest = pinned.partition(PIN)
    source, _, file = where.partition("=")
    try:
        found = recognised(source, Path(file)) if file else find_official(source)
    except UsageError:  # a run or a bundle, or a network of a library that is no longer on record
        return None
    return found if found is None or digest.startswith(found.sha256) or not digest else None


def pixels_of(source: str, path: Path) -> tuple[dict[str, Any], OfficialFile | None, list[str]]:
    """The preprocessing of a weight file.

    Args:
        source: "LIBRARY:NAME" or "LIBRARY:NAME.TAG".
        path: of the file. An official file is recognised, and has its own preprocessing whatever the source's tag says.

    Returns:
        Fields of `Preprocessing`, the official file that it is, and a line for what was overruled or had to be assumed.
    """
    found, named = recognised(source, path), find_official(source)
    if found is not None:
        overruled = split_tag(source)[1] and named is not None and recorded_pixels(found) != recorded_pixels(named)
        note = f"{path.name} is {found.source}, not {source}: it has the preprocessing of the former"
        return recorded_pixels(found), found, [note] if overruled else []
    if named is None:
        return dict(find_peer(source).pixels), None, []
    others = [each for each in official_files()[named.peer] if recorded_pixels(each) != recorded_pixels(named)]
    if split_tag(source)[1] or not others:
        return recorded_pixels(named), None, []
    note = (
        f"{path.name} is no official file on record, so it is assumed to need the preprocessing of "
        f"{named.source} ({_shown(named)}); give {others[0].source} ({_shown(others[0])}) "
        f"{'or another ' if len(others) > 1 else ''}in place of {source} if it was trained from that"
    )
    return recorded_pixels(named), None, [note]


def recorded_pixels(record: OfficialFile) -> dict[str, Any]:
    """The preprocessing of an official file, as fields of `Preprocessing`."""
    return {**find_peer(record.peer).pixels, **record.pixels}


def _shown(record: OfficialFile) -> str:
    """How images are cut and scaled for a file's weights, in a few words."""
    pixels: Mapping[str, Any] = recorded_pixels(record)
    return f"the central {100 * pixels['crop_pct']:.3g} %, {pixels.get('interpolation', 'bilinear')}"
