"""What people wrap weights in: dictionaries, prefixes of names, EMA weights beside the weights.

`read_checkpoint` joins the names of nested dictionaries by dots, so that a dictionary is a prefix like any other: the weights of
`{"state_dict": {"module.conv1.weight": ...}}` are those whose names begin with "state_dict.module.". A view is what is below one
prefix.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, takewhile

from torch import Tensor

# DataParallel, torch.compile, FSDP and activation checkpointing put these into names, also in the middle.
_INSERTED = re.compile(r"(?:^|(?<=\.))(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# Words in the names of EMA weights and of other means over training: model_ema, state_dict_ema, ema.shadow, teacher, momentum_encoder.
_EMA = re.compile(r"(?:^|[._])(ema|averaged?|avg|swa|shadow|polyak|teacher|momentum)(?=[._]|$)", re.IGNORECASE)
# What an optimiser keeps of each weight, by the weight's name and of its shape; it is no network.
_MOMENT = re.compile(r"(?:^|\.)(exp_avg(_sq)?|max_exp_avg_sq|momentum_buffer|square_avg|exp_inf)\.")
# A loss or a metric that is a part of the saved module: its class weights and counters are no weights of the network.
_LOSS = re.compile(r"^\w*(?:criterion|loss|metric)\w*\.", re.IGNORECASE)
_ORIG, _MASK = "_orig", "_mask"  # which torch.nn.utils.prune puts in the place of a weight
COUNTS = ("total_ops", "total_params")  # which the package thop leaves in every layer
_SHARE = 8  # a prefix is looked at if at least one in so many names begins with it
_MORE = 16  # of the other prefixes, how many are looked at: the first below which there are as many weights as in the network
_SPARE = 4  # weights that a head may have more than the network's own


@dataclass(frozen=True)
class View:
    """The tensors below one prefix of a checkpoint.

    Args:
        prefix: such as "state_dict.module."; empty for all tensors.
        tensors: by their names without the prefix.
        others: the tensors that are not below the prefix, by their whole names.
        inserted: names that wrappers put into the middle of these names, and which are taken off.
        counts: how many counters of operations, which are no weights, are left out.
        ema: whether these are EMA weights, or another mean over training.
    """

    prefix: str
    tensors: dict[str, Tensor]
    others: dict[str, Tensor]
    inserted: tuple[str, ...]
    counts: int
    ema: bool

    @cached_property
    def around(self) -> list[dict[str, Tensor]]:
        """The other tensors of each dictionary that this one is in, the nearest first; there a head may stand.

        Around EMA weights the EMA ones come first, and around others there are none of these.
        """
        averaged, plain = list[dict[str, Tensor]](), list[dict[str, Tensor]]()
        parts = self.prefix.split(".")[:-1]
        for depth in range(len(parts) - 1, -1, -1):
            outer = "".join(f"{part}." for part in parts[:depth])
            near = {name: value for name, value in self.others.items() if name.startswith(outer)}
            means = {name for name in near if is_averaged(name if self.ema else name[len(outer) :])}
            averaged.append({name: value for name, value in near.items() if name in means})
            plain.append({name: value for name, value in near.items() if name not in means})
        return averaged + plain if self.ema else plain

    def notes(self) -> Iterator[str]:
        """What was taken off to reach these tensors."""
        if self.prefix:
            yield f"the weights stand under {self.prefix[:-1]!r} in the file, which is taken off their names"
        if self.inserted:
            yield f"{' and '.join(f'{name}.' for name in self.inserted)} is taken out of the names"
        if self.counts:
            yield f"left out: {self.counts} counters of operations ({' and '.join(COUNTS)}), which are no weights"


def views(tensors: Mapping[str, Tensor], least: int, most: int) -> list[View]:
    """Every view of a checkpoint that may be a network, the one with the shortest prefix first.

    Args:
        tensors: by their names in the file.
        least, most: how many weights, without vectors, the network has: without its head, and with it.
    """
    counts = Counter(prefix for name in tensors for prefix in _prefixes(name))
    weights = Counter(prefix for name, value in tensors.items() if value.ndim > 1 for prefix in _prefixes(name))
    shortest = [prefix for prefix in sorted(counts, key=len) if not _MOMENT.search(prefix)]
    likely = {prefix for prefix in shortest if _SHARE * counts[prefix] >= len(tensors)}
    alike = (prefix for prefix in shortest if prefix not in likely and least <= weights[prefix] <= most + _SPARE)
    likely.update(islice(alike, _MORE))
    return [_view(tensors, prefix) for prefix in ["", *(prefix for prefix in shortest if prefix in likely)]]


def _prefixes(name: str) -> Iterator[str]:
    """The beginnings of a name that end with a dot."""
    return (name[: found.end()] for found in re.finditer(r"\.", name))


def _view(tensors: Mapping[str, Tensor], prefix: str) -> View:
    below = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    others = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
    weights = {name: value for name, value in below.items() if not name.endswith(COUNTS)}
    own = {name: value for name, value in weights.items() if value.ndim > 1 or not _LOSS.search(name)}
    plain = {without_inserted(name): value for name, value in own.items()}
    inserted: set[str] = set()
    if len(plain) == len(own):  # else two tensors would get one name
        inserted = {word for name in own for word in _INSERTED.findall(name)}
        own = plain
    container = re.sub(r"(?:module\.)+$", "", prefix)  # torch's AveragedModel counts beside its module
    ema = is_averaged(prefix) or f"{container}n_averaged" in others
    return View(prefix, own, others, tuple(sorted(inserted)), len(below) - len(weights), ema)


def with_masks(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Apply the masks of layers that torch.nn.utils.prune has pruned, as the network itself does in each forward pass.

    Args:
        tensors: by their names in the file; `weight_orig` and `weight_mask` become `weight`.

    Returns:
        The tensors, and a note where there were masks.
    """
    names = [name.removesuffix(_ORIG) for name in tensors if name.endswith(_ORIG)]
    pruned = {name for name in names if name + _MASK in tensors and name not in tensors}
    found = dict[str, Tensor]()
    for key, value in tensors.items():
        if key.endswith(_ORIG) and (name := key.removesuffix(_ORIG)) in pruned:
            found[name] = value * tensors[name + _MASK]
        elif not (key.endswith(_MASK) and key.removesuffix(_MASK) in pruned):
            found[key] = value
    return found, [f"the masks of {len(pruned)} pruned tensors are applied"] if pruned else []


def is_of_a_loss(name: str) -> bool:
    """Whether a tensor is of a loss or a metric, by a part of its name."""
    return any(_LOSS.match(name[start:]) for start in [0, *(found.end() for found in re.finditer(r"\.", name))])


def is_averaged(name: str) -> bool:
    """Whether a name is that of EMA weights, or of another mean over training."""
    return bool(_EMA.search(name))


def is_of_an_optimiser(name: str) -> bool:
    """Whether a tensor is what an optimiser keeps of a weight."""
    return bool(_MOMENT.search(name))


def branch(name: str, prefix: str) -> str:
    """A name up to the first part in which it differs from a prefix."""
    parts = name.split(".")
    same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(parts, prefix.split("."), strict=False))))
    return ".".join(parts[: same + 1])


def without_inserted(name: str) -> str:
    """A name without what DataParallel, torch.compile and the like put into it."""
    return _INSERTED.sub("", name)
