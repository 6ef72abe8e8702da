"""Train the arms of a protocol: each arm at the learning rate that suits it best, with several seeds, in ordinary run folders."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from podium.data import augment as aug
from podium.data.dataset import Dataset
from podium.data.loader import Loader
from podium.devices import pick_device
from podium.errors import NumericError
from podium.evaluation.cost import count_net
from podium.evaluation.evaluate import evaluate
from podium.experiments.claim import Arm, Protocol
from podium.files import json_text, write_atomic
from podium.models.convnet import ConvNet
from podium.models.registry import rebuild
from podium.runs import bundle
from podium.runs.folder import RunFolder
from podium.runs.tensors import safetensors_parts, sha256
from podium.settings import Settings
from podium.training.loop import Callbacks, train
from podium.training.recipes.named import settings_of

Tell = Callable[[str, int, int, dict[str, Any]], None]  # (which run, steps done, steps in all, what to show)


@dataclass
class Result:
    """What is known of an arm.

    Args:
        spec: of its network.
        params, macs: its cost.
        tried: learning rate -> validation accuracy of the first seed; 0 where the loss was not finite.
        rate: the one that was chosen; None: the recipe's own.
        steps: of each run.
        seeds: of the runs.
        diverged: whether no seed had a finite loss. A seed that has none answers the first class, for every image.
        right: view -> (seeds, images) bool.
        loss: training loss of the last epoch, of each seed whose loss was finite.
    """

    spec: dict[str, Any]
    params: int
    macs: int
    tried: dict[str, float] = field(default_factory=dict)
    rate: float | None = None
    steps: int = 0
    seeds: list[int] = field(default_factory=list)
    diverged: bool = False
    right: dict[str, np.ndarray] = field(default_factory=dict)
    loss: list[float] = field(default_factory=list)


class Experiment:
    """The runs of a protocol in a folder; what is finished there is not trained again.

    Args:
        protocol: how.
        data: the images, as `images.part` gives them.
        folder: of the runs of all experiments, one folder an arm, learning rate and seed.
        tell: called after every step.
        device: that computes, as in the settings; a finished run stays the one of its folder on any device.
    """

    def __init__(
        self, protocol: Protocol, data: Dataset, folder: Path, tell: Tell = lambda *_: None, device: str = "auto"
    ) -> None:
        self.protocol, self.data, self.folder, self.tell = protocol, data, folder, tell
        self.device = device
        self.runs: dict[str, list[RunFolder]] = {}  # arm -> the run of each seed; none where it diverged
        self.took: dict[Path, float] = {}  # finished run -> seconds of its training

    def run(self, views: Callable[[str], list[str]]) -> dict[str, Result]:
        """Train what is not trained yet.

        Args:
            views: from the name of an arm to how its networks are evaluated.

        Returns:
            The result of each arm by name.
        """
        return {arm.name: self._arm(arm, views(arm.name)) for arm in self.protocol.arms}

    def _arm(self, arm: Arm, views: list[str]) -> Result:
        """Choose the arm's learning rate on validation images, train all seeds with it, and evaluate them."""
        net = self._net(arm, 0)
        cost = count_net(net)
        result = Result(net.spec, cost.params, cost.macs)
        scores: dict[float | None, float] = {}
        rates = self.protocol.rates_of(arm)
        for rate in rates:
            run = self._train(arm, rate, 0)
            scores[rate] = 0.0 if run is None else _validation(run)
            result.tried[f"{rate:g}" if rate is not None else "recipe"] = round(scores[rate], 4)
        for rate in sorted(rates, key=lambda each: -scores[each]):
            every = range(self.protocol.seeds)
            runs = [self._train(arm, rate, seed) if scores[rate] else None for seed in every]
            finished = [run for run in runs if run is not None]
            if not result.right or len(finished) == len(runs):  # no rate at which all seeds learn: the best one
                result.rate, result.seeds, result.diverged = rate if finished else None, list(every), not finished
                result.steps = int(finished[0].result["steps"]) if finished else 0
                result.loss = [round(float(run.epochs[-1]["train_loss"]), 4) for run in finished]
                result.right = {view: np.stack([self._right(run, view) for run in runs]) for view in views}
            if len(finished) == len(runs):
                self.runs[arm.name] = finished
                break
        return result

    def _net(self, arm: Arm, seed: int) -> ConvNet:
        """The network of an arm before its training, whose weights are a function of the seed."""
        if arm.change is not None:
            if arm.parent not in self.runs:
                raise NumericError(f"{arm.name}: its parent {arm.parent} did not learn", "give the parent lower rates")
            parent = bundle.load(self.runs[arm.parent][seed].path).model
            return arm.change(parent, self.data, seed)
        torch.manual_seed(aug.key(seed, "weights"))
        given = {"num_classes": len(self.data.classes), "in_chans": self.data.channels}
        if self.data.splits["train"].pixels is not None:  # a network sees photos at its own size
            given["image_size"] = round(self.data.image_size * self.data.crop_pct)
        return rebuild({**given, **arm.model})

    def _train(self, arm: Arm, rate: float | None, seed: int) -> RunFolder | None:
        """Train one run, or go on with it; None where its loss is not finite."""
        settings, net = settings_for(self.protocol, arm, rate, seed), self._net(arm, seed)
        settings = settings.replace(model=net.spec["model"], data=self.data.name)
        start = sha256(
            safetensors_parts(net.state_dict())
        )  # what is pruned, and the code that draws weights, may change
        folder = self._folder(arm, seed, json_text([net.spec, start, settings.to_dict(), self.data.fingerprint()]))
        failed = folder.path.with_name(f"{folder.path.name}.diverged")
        if failed.is_file():
            return None
        name = f"{arm.name}, seed {seed}" + (f", lr {rate:g}" if rate is not None else "")

        def heard(step: int, steps: int, shown: dict[str, Any]) -> None:
            self.tell(name, step, steps, shown)

        try:
            here = settings.replace(device=self.device)
            run = train(here, folder.path, resume=folder.started, data=self.data, net=net, callbacks=Callbacks(heard))
        except NumericError as error:
            write_atomic(failed, error.what.encode())
            return None
        self.took[run.path] = float(run.result["seconds"])
        return run

    def _folder(self, arm: Arm, seed: int, given: str) -> RunFolder:
        """The folder of a run; an equal run of another arm or claim is the same run.

        Args:
            arm, seed: of the run, for the folder's name.
            given: all that the run is a function of.
        """
        digest = hashlib.sha256(given.encode()).hexdigest()[:10]
        there = next((path for path in self.folder.glob(f"*-{digest}") if path.is_dir()), None)
        name = "-".join(
            f"{self.protocol.name} {arm.name} seed{seed} {digest}".replace(",", "").replace("/", "").split()
        )
        return RunFolder(there or self.folder / name)

    def _right(self, run: RunFolder | None, view: str) -> np.ndarray:
        """Which images the network of a run has right, (N,) bool; kept beside the run. Without a run all are the first class."""
        if run is None:
            return np.asarray(self.data.splits[_split_of(view)].labels == 0)
        if view == "test":
            logits, labels = run.predictions
            return np.asarray(logits.argmax(1) == labels)
        kept = run / f"right-{view}.npy"
        if kept.is_file():
            return np.asarray(np.load(kept, allow_pickle=False))
        model = bundle.load(run.path)
        images = self.data.splits[_split_of(view)]
        loader = Loader(images, model.preprocessing, batch_size=250, device=pick_device(self.device), workers=2)
        crops = view if view == "dense" else 1 if view == "train" else int(view)
        net = model.model.to(loader.device)
        found = evaluate(net, loader, crops=crops)
        right = np.asarray(found.logits.argmax(1) == found.labels)
        buffer = io.BytesIO()
        np.save(buffer, right)
        write_atomic(kept, buffer.getvalue())
        return right


def settings_for(protocol: Protocol, arm: Arm, rate: float | None, seed: int) -> Settings:
    """The settings of a run.

    Args:
        protocol: with what holds for all arms.
        arm: with what is its own.
        rate: the learning rate; None: that of the recipe.
        seed: of the run.
    """
    own = {**protocol.settings, **arm.settings, **({} if rate is None else {"lr": rate})}
    recipe = arm.recipe or protocol.recipe
    merged = settings_of(recipe, None, own).settings if recipe else Settings().replace(**own)
    return merged.replace(seed=seed)


def _validation(run: RunFolder) -> float:
    """The validation accuracy of a run's saved weights."""
    found = run.validation
    logits, labels = found if found is not None else run.predictions
    return float((logits.argmax(1) == labels).mean())


def _split_of(view: str) -> str:
    return "train" if view == "train" else "test"
