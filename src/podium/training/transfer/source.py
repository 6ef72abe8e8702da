"""The weights that a run starts from, its teacher, and which parts of its network are frozen at a step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from podium import imagenet
from podium.data import augment as aug
from podium.data.dataset import Dataset
from podium.data.preprocessing import Preprocessing
from podium.errors import ModelFileError, UsageError
from podium.files import PIN, content_digest
from podium.models.convnet import ConvNet
from podium.models.registry import rebuild
from podium.runs import bundle
from podium.runs.bundle import Bundle
from podium.runs.named import CIFAR10_CLASSES
from podium.runs.recommended import run_of
from podium.settings import Settings
from podium.units import to_steps
from podium.weights.download import official
from podium.weights.load import adapt_channels, statistics
from podium.weights.official import find_official
from podium.weights.sharded import files_of

NAMED = 3  # classes that a note lists
RANDOM, GIVEN = "random weights", "a network given in Python"


@dataclass(frozen=True)
class Source:
    """Weights that were read, with what they came from.

    Args:
        bundle: the network with its classes and preprocessing.
        pinned: its name and the SHA-256 of its file, as `settings.yaml` and the card have them.
    """

    bundle: Bundle
    pinned: str


def read_source(name: str, setting: str = "weights") -> Source:
    """Read the weights that a name stands for.

    Args:
        name: a run or bundle, LIBRARY:NAME, or LIBRARY:NAME=FILE; "@sha256:..." after it pins the content.
        setting: that has the name, for errors.

    Raises:
        UsageError: nothing has this name, or its content is not the pinned one.
        ModelFileError: it is damaged.
    """
    what, _, pin = name.partition(PIN)
    if Path(what).exists():
        if Path(what).is_file() and Path(what).name not in (bundle.WEIGHTS, bundle.CARD):
            fix = f"say whose names its weights have: LIBRARY:NAME={what}, such as torchvision:resnet18={what}"
            raise UsageError(f"{setting}: {what}: a file, and no run or bundle", fix)
        what = str(run_of(what))  # for a comparison its recommended run, since it may recommend another one later
        made = bundle.load(what)
        where, digest = str(Path(what).resolve()), str(made.card["sha256"])
    elif ":" in what:
        peer, _, file = what.partition("=")
        path = Path(file) if file else official(peer)
        if not path.exists():
            raise UsageError(f"{setting}: {path}: no such file", "give LIBRARY:NAME=FILE")
        main, parts = files_of(path)
        made, digest = bundle.from_peer(peer, main, body=setting == "weights"), content_digest(main, *(parts or ()))
        where = f"{peer}={main.resolve()}"
    else:
        raise UsageError(f"{setting}: there is nothing at {what!r}", "give a run or bundle, or LIBRARY:NAME=FILE")
    if pin and pin != digest:
        raise UsageError(
            f"{setting}: {what} has changed since the run began (sha256 {digest[:12]}, not {pin[:12]})",
            "put the old one back, or start another run with -o",
        )
    return Source(made, f"{where}{PIN}{digest}")


def origin_of(source: Source) -> str:
    """Return what weights were trained on, where that is known, and their name: "ImageNet (torchvision:resnet18)"."""
    card, classes = source.bundle.card, source.bundle.classes
    name = str(card.get("origin") or Path(source.pinned.partition(PIN)[0]).name)
    if (official := card.get("official")) and ((meant := find_official(name)) is None or meant.source != official):
        name = str(official)  # the file is known by its digest, and is not the one that the name stands for
    images = card.get("data") or ("ImageNet" if classes == imagenet.class_names() else None)
    if images is None and classes == CIFAR10_CLASSES:
        images = "CIFAR-10"
    return f"{images} ({name})" if images else name


def same_source(name: str, recorded: str | None) -> bool:
    """Return whether a name stands for the weights that a run has on record."""
    plain, _, pin = name.partition(PIN)
    old, _, digest = (recorded or "").partition(PIN)
    peer, equals, file = plain.partition("=")
    file = str(files_of(Path(file))[0]) if Path(file).is_dir() and file else file
    where = str(run_of(plain).resolve()) if Path(plain).exists() else peer + equals + str(Path(file).resolve())
    return (where == old and pin in ("", digest)) or (not equals and old.startswith(f"{plain}="))


def adapted(source: Source, s: Settings, data: Dataset) -> tuple[ConvNet, Preprocessing]:
    """Fit a network that was read to a data set.

    Where the classes are the same, in whatever order, the classifier is kept; else it is drawn anew, from the seed.

    Args:
        source: of the weights.
        s: of the run.
        data: to train on.

    Returns:
        The network in training mode, and its preprocessing.

    Raises:
        UsageError: the settings name another network, form or size than the weights have.
    """
    net, old = source.bundle.model, source.bundle.preprocessing
    name = source.pinned.partition(PIN)[0]
    if s.model and s.model != net.spec["model"]:
        fix = f"name {net.spec['model']} as the network, or give weights of {s.model}"
        raise UsageError(f"weights: {name} is a {net.spec['model']}, not a {s.model}", fix)
    if s.small is not None and s.small != net.spec["small"]:
        form = "small" if net.spec["small"] else "full"
        raise UsageError(f"small: {name} has the {form} form", "leave it out")
    if s.image_size is not None and s.image_size != net.spec["image_size"]:
        net = _resized(net, s.image_size, name)
    pixels = {"mean": old.mean, "std": old.std}
    if data.channels != net.spec["in_chans"]:
        before, after = (statistics(pixels, channels) for channels in (net.spec["in_chans"], data.channels))
        adapt_channels(net, data.channels, before, after)
    same = set(data.classes) == set(source.bundle.classes)
    if same:
        reorder(net, [source.bundle.classes.index(c) for c in data.classes], name)
    else:
        torch.manual_seed(aug.key(s.seed, "head"))
        net.reset_head(len(data.classes))
    crop = old.crop_pct if same else data.crop_pct
    several = data.channels == old.channels
    mean, std = (old.mean, old.std) if several else statistics(pixels, data.channels)
    preprocessing = dataclasses.replace(
        old,
        image_size=net.spec["image_size"],
        channels=data.channels,
        resize=data.resize,
        crop_pct=crop if data.resize == "crop" else 1.0,
        mean=tuple(mean),
        std=tuple(std),
        channel_order=old.channel_order if several else "rgb",
        white=old.white if same else data.depth[0],
    )
    return net.train(), preprocessing


def head_notes(source: Source, data: Dataset) -> list[str]:
    """Return what a person should know of weights that a run starts from: what was read how, and whether the head stays.

    Args:
        source: of the weights.
        data: to train on.
    """
    made, fresh = source.bundle, f"a fresh one for the {len(data.classes)} classes of {data.name} takes its place"
    notes = [f"weights: {note}" for note in made.card.get("notes", ())] if made.folder is None else []
    if not made.classes:
        notes.append(f"weights: the file has no classifier: {fresh}")
    elif set(made.classes) != set(data.classes):
        names = ", ".join(made.classes[:NAMED]) + (", ..." if len(made.classes) > NAMED else "")
        notes.append(f"weights: the classifier for {len(made.classes)} classes ({names}) goes: {fresh}")
    return notes


def _resized(net: ConvNet, size: int, name: str) -> ConvNet:
    """Return a network with the same weights for images of another size, in pixels."""
    other = rebuild({**net.spec, "image_size": size})
    state = net.state_dict()
    if any(value.shape != state[key].shape for key, value in other.state_dict().items()):
        raise UsageError(
            f"image_size: the fully connected layers of {name} are for {net.spec['image_size']} px, not {size}",
            f"--image-size {net.spec['image_size']}",
        )
    other.load_state_dict(state)
    return other


@torch.no_grad()
def reorder(net: ConvNet, order: list[int], name: str) -> None:
    """Put the rows of a network's classifiers into another order, in place.

    Args:
        net: whose head and auxiliary heads are changed.
        order: for each new row the number of the old one.
        name: of the network, for the error.

    Raises:
        ModelFileError: a classifier is not a linear layer.
    """
    if order == sorted(order):
        return
    for part in (net.head, *net.auxiliary.values()):
        layer = part.classifier
        if not isinstance(layer, nn.Linear):
            raise ModelFileError(f"{name}: has its classes in another order than the data", "train a fresh network")
        layer.weight.copy_(layer.weight[order].clone())
        layer.bias.copy_(layer.bias[order].clone())


@dataclass(frozen=True)
class Teacher:
    """A network that the student imitates.

    Args:
        source: the network and its preprocessing, which the student shares.
        logits: from images (N, C, H, W) to the teacher's logits, in the order of the data's classes.
    """

    source: Source
    logits: Callable[[Tensor], Tensor]


def read_teacher(name: str, data: Dataset, device: torch.device) -> Teacher:
    """Read a teacher, which must have exactly the data's classes.

    Args:
        name: as `read_source` takes it.
        data: to train on.
        device: that trains.

    Raises:
        UsageError: it has other classes, or another number of channels.
    """
    source = read_source(name, "teacher")
    made, order = source.bundle, [source.bundle.classes.index(c) for c in data.classes if c in source.bundle.classes]
    if len(order) != len(data.classes) or len(order) != len(made.classes):
        what = (
            f"teacher: {name} knows {len(made.classes)} classes, {len(order)} of the {len(data.classes)} of {data.name}"
        )
        raise UsageError(what, "give one that was trained on the same classes")
    if made.preprocessing.channels != data.channels:
        raise UsageError(
            f"teacher: {name} sees {made.preprocessing.channels} channels, {data.name} has {data.channels}",
            f"--channels {made.preprocessing.channels}",
        )
    reorder(made.model, order, name)
    net = made.model.eval().requires_grad_(False).to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Teacher(source, net)


def check_same_pixels(preprocessing: Preprocessing, teacher: Preprocessing) -> None:
    """Refuse a teacher that would get other pixels than the student.

    Args:
        preprocessing: of the student.
        teacher: its preprocessing.

    Raises:
        UsageError: names the first thing that differs.
    """
    for key in ("image_size", "channels", "mean", "std", "channel_order", "white"):
        own, theirs = getattr(preprocessing, key), getattr(teacher, key)
        if own != theirs:
            raise UsageError(f"teacher: its {key} is {theirs}, the student's {own}", "take one that sees the same")


def frozen_parts(s: Settings, net: ConvNet, step: int, total: int, steps_per_epoch: int) -> int:
    """Return how many parts of a network, counted from the stem, are frozen at a step (counted from 0) of `total`.

    Everything up to the part that `freeze` names is frozen until `unfreeze`. Then the parts thaw one after the other, the
    last one first, until all train at twice that time [Howard and Ruder 2018, section 3.3, "gradual unfreezing"].
    """
    if s.freeze is None:
        return 0
    parts = len(net.parts_until(s.freeze))
    if s.unfreeze is None:
        return parts
    begin = to_steps("unfreeze", s.unfreeze, steps_per_epoch, total)
    if step < begin:
        return parts
    return max(0, parts - 1 - (step - begin) * parts // max(1, begin))
