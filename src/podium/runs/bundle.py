"""Bundles: `model.safetensors` and `card.json`, a network's weights with its classes and preprocessing. No pickle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from podium.data.preprocessing import Preprocessing
from podium.devices import float32
from podium.errors import DataError, ModelFileError, NumericError, closest
from podium.explain.heat import heat_maps, methods_for, span_of
from podium.files import json_text, not_finite, seal, shell_word, without_folders, write_together
from podium.models.convnet import ConvNet
from podium.models.outline import outline
from podium.models.registry import rebuild
from podium.models.undrawn import undrawn
from podium.runs.card import Facts, card_read, facts_of, parse_card
from podium.runs.forked import one_thread_if_forked
from podium.runs.named import choose_names
from podium.runs.predictor import Predictor
from podium.runs.recommended import run_of
from podium.runs.tensors import safetensors_parts, sha256
from podium.weights.download import official
from podium.weights.front import Statistics
from podium.weights.load import TRANSFORMED, load_state, read_weights, refuse_others, statistics
from podium.weights.official import pixels_of
from podium.weights.peers import find_peer

WEIGHTS, CARD = "model.safetensors", "card.json"
SEAL = "card_sha256"  # in a card: the digest of all else in it
FORMAT = 1
SPARE = 1000  # classes of a classifier that is drawn and then replaced


@dataclass(repr=False)
class Bundle(Predictor):
    """A network with the names of its classes and its preprocessing.

    Args:
        model: in evaluation mode.
        classes: in the order of the logits.
        preprocessing: from an image file to the network's input.
        card: all that `card.json` says.
        folder: where it was read from; None if it was not read.
    """

    model: ConvNet
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    card: dict[str, Any]
    folder: Path | None = None

    @torch.inference_mode()
    def outputs(self, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # noqa: D102
        one_thread_if_forked()
        x = self.normalised(squares)
        with float32():
            logits = self.model(x.to(next(self.model.parameters()).device)).float()
        return logits.cpu().numpy(), (logits / self.rule.temperature).softmax(1).cpu().numpy()

    @property
    def methods(self) -> tuple[str, ...]:  # noqa: D102
        return methods_for(self.model)

    def heat(self, squares: np.ndarray, classes: np.ndarray, method: str) -> np.ndarray:  # noqa: D102
        one_thread_if_forked()
        return heat_maps(self.model, self.normalised(squares), classes, method)

    def span(self, method: str) -> float:  # noqa: D102
        return span_of(self.model, method, self.preprocessing.image_size)

    def normalised(self, squares: np.ndarray) -> Tensor:
        """Squares (N, S, S, C) uint8 in RGB as the network's input (N, C, S, S) float32."""
        p = self.preprocessing
        scale, offset = map(torch.from_numpy, p.scale_and_offset())
        pixels = squares if p.channel_order == "rgb" else squares[..., ::-1]
        return (torch.tensor(np.ascontiguousarray(pixels)).float() * scale + offset).permute(0, 3, 1, 2)


def save(
    folder: Path, net: ConvNet, classes: Sequence[str], preprocessing: Preprocessing, facts: dict[str, Any]
) -> None:
    """Write a network as a bundle, without the auxiliary classifiers that only training needs.

    Args:
        folder: made where it does not exist.
        net: the network.
        classes: their names, in the order of the logits.
        preprocessing: from an image file to the network's input.
        facts: more for the card, such as scores, versions and parents; paths in it are cut to their last part.

    Raises:
        MachineError: the disk is full; a bundle that was there stays whole.
        NumericError: a number for the card is NaN or infinite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    net = net.strip()
    weights = safetensors_parts(net.state_dict())
    spec = {key: list(value) if isinstance(value, tuple) else value for key, value in net.spec.items()}
    card = {
        "format": FORMAT,
        "spec": spec,
        "classes": list(classes),
        "preprocessing": preprocessing.to_dict(),
        "sha256": sha256(weights),
        **without_folders(facts),
    }
    if where := not_finite(card):
        what = f"{folder / CARD}: {where} is not a finite number, so the network was not saved"
        raise NumericError(what, "train it again at a lower learning rate (lr)")
    card = json.loads(json.dumps(card))  # as it will be read
    card[SEAL] = seal(card, SEAL)
    write_together(folder, {WEIGHTS: weights, CARD: [json_text(card, indent=1).encode()]})


def amend(folder: Path, facts: dict[str, Any]) -> None:
    """Add facts to the card of a bundle, and seal it again.

    Args:
        folder: of the bundle.
        facts: more for the card, which it does not have yet or has with other values.
    """
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    changed = json.loads(json.dumps({**card, **facts}))
    if changed != card:
        changed.pop(SEAL, None)
        changed[SEAL] = seal(changed, SEAL)
        write_together(folder, {CARD: [json_text(changed, indent=1).encode()]})


def _no_bundle(path: Path, missing: str) -> ModelFileError:
    """The error for a path at which there is no run or bundle."""
    fix = "give the folder of a finished run"
    if path.is_file():
        more = "; `podium predict`, `explain`, `bench` and `verify` take exported files too"
        return ModelFileError(f"{path}: a file, and no run or bundle", fix + more)
    if not path.exists():
        beside = [str(other) for other in path.parent.iterdir() if other.is_dir()] if path.parent.is_dir() else []
        return ModelFileError(f"{path}: no such file or folder", closest(str(path), beside, cutoff=0.8) or fix)
    return ModelFileError(f"{path}: no run or bundle ({missing} is missing)", fix)


def load(path: str | os.PathLike[str]) -> Bundle:
    """Read a run folder or a bundle; for a comparison's folder, the run that it recommends.

    Raises:
        ModelFileError: it is no bundle, is damaged, was made by a newer Podium, or lacks classes or preprocessing.
    """
    one_thread_if_forked()
    folder = run_of(path)
    folder = folder.parent if folder.name in (WEIGHTS, CARD) else folder
    for name in (WEIGHTS, CARD):
        if not (folder / name).is_file():
            raise _no_bundle(folder, name)
    card, facts, shapes = _card(folder)
    state, origin = _weights(folder, card["sha256"]), str(folder / WEIGHTS)
    refuse_others(shapes, state, origin, _repair(folder))  # before memory is taken for what the card asks for
    net = undrawn(lambda: rebuild(card["spec"]))
    load_state(net, state, origin)
    return Bundle(net.eval(), facts.classes, facts.preprocessing, card, folder)


def _card(folder: Path) -> tuple[dict[str, Any], Facts, ConvNet]:
    """The card of a bundle, its facts, and the network that it describes, on the meta device."""
    name, fix = str(folder / CARD), _repair(folder)
    card = parse_card((folder / CARD).read_bytes(), FORMAT, name, fix)
    if SEAL in card and card[SEAL] != seal(card, SEAL):
        what = f"{name}: changed since it was written ({SEAL} says so)"
        raise ModelFileError(what, f"copy it again; if the change is yours, take the line {SEAL} out of it")
    with card_read(name, fix):
        spec, facts = card["spec"], facts_of(card)
        if len(facts.classes) != spec["num_classes"]:
            raise ValueError(f"the network has {spec['num_classes']} classes, the names are {list(facts.classes)}")
        if facts.preprocessing.channels != spec["in_chans"]:
            raise ValueError(f"{facts.preprocessing.channels} channels for a network of {spec['in_chans']}")
        if not isinstance(card["sha256"], str):
            raise ValueError(f"sha256: {card['sha256']!r}")
        return card, facts, outline(spec, facts.preprocessing.image_size)


def _weights(folder: Path, expected: str) -> dict[str, torch.Tensor]:
    """The weights of a bundle, if they are those of the card."""
    from safetensors import SafetensorError
    from safetensors.torch import load as deserialize

    content = (folder / WEIGHTS).read_bytes()
    actual = hashlib.sha256(content).hexdigest()
    if actual != expected:
        what = f"{folder / WEIGHTS}: damaged (sha256 {actual[:12]}, the card says {expected[:12]})"
        raise ModelFileError(what, _repair(folder))
    try:
        return deserialize(content)
    except SafetensorError as error:
        raise ModelFileError(f"{folder / WEIGHTS}: not a safetensors file ({error})", "copy it again") from None


def _repair(folder: Path) -> str:
    """What to do about a damaged file of a run or bundle."""
    settings = folder / "settings.yaml"  # a run has them, and can be trained once more
    again = f", or train it again: podium train --config {shell_word(settings)} -o NEW" if settings.is_file() else ""
    return f"copy it again from where it is whole{again}"


def from_peer(
    source: str,
    path: Path | None = None,
    num_classes: int | None = None,
    in_chans: int | None = None,
    *,
    classes: Sequence[str] | None = None,
    ema: bool = False,
    body: bool = False,
    stated: Statistics | None = None,
) -> Bundle:
    """Read another library's checkpoint as a bundle, with the preprocessing it was trained with.

    Args:
        source: LIBRARY:NAME or LIBRARY:NAME.TAG.
        path: of the file; None: the official one, from the cache.
        num_classes, in_chans, ema: as `podium.import_weights` takes them.
        classes: the names of the classes, in the order of the logits; None: those in the file, or on record for the source.
        body: accept a file without a classifier; the bundle then has no classes, and a head that was drawn.
        stated: as `read_weights` takes it.

    Raises:
        ModelFileError: what the file does to pixels before its network cannot be taken over, and nothing is stated.
        DataError: there are more or fewer names than classes.
    """
    find_peer(source)  # refuses an unknown name before anything is downloaded
    path = path if path is not None else official(source)
    spare = len(classes) if classes is not None else SPARE if body else None
    made = read_weights(
        source, path, num_classes=num_classes, in_chans=in_chans, ema=ema, spare=spare, body=body, stated=stated
    )
    if made.prepared.refusal is not None:
        raise ModelFileError(f"{path}: {made.prepared.refusal.what}", made.prepared.refusal.fix)
    net, notes = made.net.eval(), [*made.notes, *made.prepared.notes]
    (pixels, record, said), k = pixels_of(source, path), net.spec["num_classes"]
    if record is None and not made.prepared.origin and TRANSFORMED not in notes:
        notes.append(made.prepared.usual(source, pixels))
    pixels |= made.prepared.pixels
    if (channels := net.spec["in_chans"]) != len(pixels["mean"]):
        mean, std = statistics(pixels, channels)
        pixels |= {"mean": mean, "std": std, "channel_order": "rgb"}
    if classes is not None and len(classes) != k:
        what = f"classes: {len(classes)} names, but the classifier of {path} is for {k} classes"
        raise DataError(what, f"give {k} names, or --num-classes {len(classes)} for a fresh classifier")
    if body and made.drawn:
        classes = ()
    elif made.drawn:
        notes.insert(0, made.drawn)
    classes, told = choose_names(source, made.named, k, classes, fresh=not made.has_head)
    notes += told
    preprocessing = Preprocessing(net.spec["image_size"], channels, **pixels)
    card: dict[str, Any] = {"origin": source, "file": path.name, "notes": [*notes, *said]}
    if made.prepared.origin:
        card["preprocessing_from"] = made.prepared.origin
    if record is not None:
        card |= {"official": record.source, "licence": record.licence or "not stated by its source"}
    return Bundle(net, classes, preprocessing, card)
