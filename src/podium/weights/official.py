"""Official weights: which file a source names, which source is best known for a network, and which file is which."""

from __future__ import annotations

from podium.errors import UsageError, closest
from podium.weights.peers import peers
from podium.weights.records import LIBRARIES, Record, records, split_tag


def find_record(source: str) -> Record | None:
    """The official file that a source names; None for a network whose weights can be read but of which no file is on record.

    Args:
        source: "LIBRARY:NAME", which stands for the best-known file, or "LIBRARY:NAME.TAG", such as
            "torchvision:resnet50.v2" and "timm:resnet50.a1_in1k".

    Raises:
        UsageError: no file of this network has the tag; those there are are named.
    """
    peer, tag = split_tag(source)
    own = records().get(peer, ())
    if tag:
        return next(record for record in own if record.tag == tag)
    if own:
        return own[0]
    name, _, tag = source.partition(".")
    if tag and name in records():
        tags = [record.tag for record in records()[name]]
        hint = closest(tag, tags) or f"{name} has {', '.join(tag or 'one file, without a tag' for tag in tags)}"
        raise UsageError(f"{name} has no weights {tag!r}", hint)
    return None


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
        for source in records()
        for library, _, name in [source.partition(":")]
        if known[library, name].model == model
    ]
    return min(sources)[2] if sources else None
