"""Whole networks in a file: where they are in it, and the line that leaves their weights in their place.

`torch.save(net)` keeps a network's code by name, and opening the file runs it. Podium refuses such a file; the line is for someone
who has the code and trusts it.
"""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from podium.errors import ModelFileError
from podium.files import shell_word
from podium.weights.front import WHITE
from podium.weights.named import names_in
from podium.weights.pixel_means import WIDE, is_statistic, without_normalizers
from podium.weights.stand_in import MOST, StandIn, numbers_of

DEEPEST, MOST_OBJECTS = 5, 100_000  # how far a network is looked for
MOST_MODULES = 10_000
_PIXELS = "where the network prepares pixels itself, give --mean and --std too"


@dataclass(frozen=True)
class Network:
    """A whole network.

    Args:
        held: what stands in for it.
        top: the entry of the file that it is in; empty where it is the file itself.
        place: the expression that leads to it, such as `["checkpoint"]["model"]`.
        entry: whether it is an entry of dictionaries and lists, and can be replaced in them.
    """

    held: StandIn
    top: str = ""
    place: str = ""
    entry: bool = True

    @property
    def pixels(self) -> str:
        """What it says of pixels that its state dict lacks; empty where it says nothing."""
        return _pixels(self.held)


def networks_in(content: Any) -> list[Network]:
    """Every whole network with weights, at any depth of dictionaries, lists and objects."""
    seen: set[int] = set()
    return [each for each in _walk(Network(content), content, seen, DEEPEST) if _has_weights(each.held)]


def _walk(at: Network, content: Any, seen: set[int], depth: int) -> Iterator[Network]:
    """The networks in a value."""
    if not isinstance(content, dict | list | tuple) or id(content) in seen or len(seen) > MOST_OBJECTS:
        return
    seen.add(id(content))
    if isinstance(content, StandIn) and content.is_network:
        yield Network(content, at.top, at.place, at.entry)
    elif depth:
        for name, place, entry, value in _inside(content, outermost=not at.place):
            inner = Network(at.held, at.top or name, at.place + place, at.entry and entry)
            yield from _walk(inner, value, seen, depth - 1)


def _inside(content: Any, outermost: bool) -> Iterator[tuple[str, str, bool, Any]]:
    """What is in a value: its name, the end of an expression that leads there, whether it can be replaced, and it itself."""
    if isinstance(content, list | tuple):
        replaced = isinstance(content, list) or outermost  # the outermost tuple becomes a list
        yield from ((str(i), f"[{i}]", replaced, value) for i, value in enumerate(content))
        return
    for key, value in content.items():
        if isinstance(key, int) or (isinstance(key, str) and key.isprintable()):
            yield str(key), f"[{_quoted(key)}]", True, value
    if isinstance(content, StandIn) and isinstance(content.state, dict):
        for key, value in content.state.items():
            if isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key):
                yield key, f".{key}", False, value


def _quoted(text: str | int) -> str:
    return json.dumps(text, ensure_ascii=False)


def _modules(net: StandIn, prefix: str = "", depth: int = 64) -> Iterator[tuple[str, dict[Any, Any]]]:
    """The attributes of a network's modules, by their names with a dot behind them."""
    yield prefix, net.state
    inside = net.state["_modules"]
    for name, module in inside.items() if isinstance(inside, dict) and depth else ():
        if isinstance(module, StandIn) and module.is_network:
            yield from _modules(module, f"{prefix}{name}.", depth - 1)


def _first_modules(net: StandIn) -> Iterator[tuple[str, dict[Any, Any]]]:
    return (each for each, _ in zip(_modules(net), range(MOST_MODULES), strict=False))


def _has_weights(net: StandIn) -> bool:
    held = (state["_parameters"] for _, state in _first_modules(net))
    return any(
        isinstance(value, Tensor) and value.ndim > 1
        for each in held
        if isinstance(each, dict)
        for value in each.values()
    )


def _pixels(net: StandIn) -> str:
    """The mean and the deviation that a module keeps as plain numbers, in words; empty where there are none, or several."""
    found: dict[str, Tensor] = {}
    for prefix, state in _first_modules(net):
        buffers = state.get("_buffers")
        unsaved = state.get("_non_persistent_buffers_set")
        names = unsaved.given[0] if isinstance(unsaved, StandIn) and unsaved.given else ()
        fleeting = {key: value for key, value in buffers.items() if key in names} if isinstance(buffers, dict) else {}
        for key, value in {**state, **fleeting}.items():
            if isinstance(key, str) and (prefix + key).isprintable() and is_statistic(prefix + key):
                numbers = value.detach().flatten().tolist() if _is_small(value) else numbers_of(value)
                found |= {prefix + key: torch.tensor(numbers, dtype=torch.float64)} if numbers else {}
    pairs = [each for each in without_normalizers(found)[1] if each.std and not each.doubt]
    if len(pairs) != 1:
        return ""
    scale = WHITE if any(bool((value > WIDE).any()) for value in pairs[0].values) else 1.0
    mean, std = (", ".join(f"{number / scale:.6g}" for number in value.tolist()) for value in pairs[0].values)
    return f"its {pairs[0].mean} is {mean} and its {pairs[0].std} {std}" + (", divided by 255" if scale > 1 else "")


def _is_small(value: Any) -> bool:
    plain = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
    return plain and value.is_floating_point() and value.numel() <= MOST


def refusal(path: Path, content: Any, networks: list[Network]) -> ModelFileError:
    """The refusal of a file of whole networks, with the line that leaves their weights in their place, and all else as it is."""
    load, first = _loading(path), networks[0]
    what, lost = f"a whole network ({first.held.origin})", ""
    names = _attributes_of_names(first.held)
    if not first.place or not all(each.entry for each in networks):
        lost = "this leaves out what else is in the file, such as names of classes" if first.place and not names else ""
        kept = "".join(f", {_quoted(key)}: n{place}" for key, place in names.items())
        save = f"torch.save({load}{first.place}.state_dict(), {{out}})"
        if kept:
            save = f'n = {load}{first.place}; torch.save({{"state_dict": n.state_dict(){kept}}}, {{out}})'
        return _refusal(path, what, save, first.pixels, lost)
    all_of_it = f"list({load})" if isinstance(content, tuple) else load
    own = "".join(f"d.setdefault({_quoted(key)}, d{first.place}{place}); " for key, place in names.items())
    if not isinstance(content, dict):
        own, lost = "", f"this leaves out its {' and '.join(names)}: give these as --classes" if names else ""
    steps = "".join(f"d{each.place} = d{each.place}.state_dict(); " for each in networks)
    return _refusal(path, what, f"d = {all_of_it}; {own}{steps}torch.save(d, {{out}})", first.pixels, lost)


def _attributes_of_names(net: StandIn) -> dict[str, str]:
    """The attributes in which a network, or the one that DataParallel holds, keeps names of its classes, and where they are."""
    found: dict[str, str] = {}
    inner = net.state["_modules"]
    module = inner.get("module") if isinstance(inner, dict) else None
    for at, each in (("", net), (".module", module)):
        if isinstance(each, StandIn) and each.is_network:
            found |= {key: f"{at}.{key}" for key in names_in(each.state) if key.isidentifier()}
    return found


def _loading(path: Path) -> str:
    """The expression that loads a file of `torch.save`, of any version, or of `pickle.dump`."""
    with path.open("rb") as file:
        head = file.read(32)
    if head.startswith(b"PK") or torch.serialization.MAGIC_NUMBER.to_bytes(10, "little") in head:
        return f"torch.load({_quoted(path.name)}, weights_only=False)"
    return f'__import__("pickle").loads(__import__("pathlib").Path({_quoted(path.name)}).read_bytes())'


class Archive(Exception):
    """The file is an archive of code and weights.

    Args:
        what: it is.
        state: the expression that loads its weights, with {file} for its name.
    """

    def __init__(self, what: str, state: str) -> None:
        super().__init__(what)
        self.what, self.state = what, state

    def refusal(self, path: Path) -> ModelFileError:
        """The refusal, with the line that takes the weights out."""
        return _refusal(path, self.what, f"torch.save({self.state.format(file=_quoted(path.name))}, {{out}})")


def _refusal(path: Path, what: str, save: str, pixels: str = "", lost: str = "") -> ModelFileError:
    """The refusal of code and weights in one.

    Args:
        path: of the file.
        what: it holds.
        save: the statements that save the weights, with {out} for the name of the new file.
        pixels: what the network says of pixels that its weights do not.
        lost: what the statements do not save.
    """
    out = path.with_name(f"{path.stem}-weights.pth").name
    line = f"import torch; {save.replace('{out}', _quoted(out))}"
    more = [lost, f"{pixels}, which its weights do not say: give these as --mean and --std" if pixels else _PIXELS]
    return ModelFileError(
        f"{path}: holds more than weights: {what}, whose code runs where it is opened",
        f"where you trust it and have its code, run python -c {shell_word(line)} beside it, and give {out}; "
        + "; ".join(filter(None, more)),
    )
