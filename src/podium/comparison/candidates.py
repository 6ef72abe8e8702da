"""The networks of a comparison: which ones, and what each starts from: official weights, a file, a run, or random weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from podium.comparison.decide import Rules
from podium.comparison.ranking import RANKS, RankBy
from podium.comparison.recommend import WITHIN, Limits
from podium.comparison.tunable import TRIALS, refuse_tuning
from podium.data.dataset import Dataset
from podium.data.stored import stored_size
from podium.errors import MachineError, UsageError, closest
from podium.models.forms import SMALL_UP_TO
from podium.models.registry import architecture, matching
from podium.settings import Origins, Settings
from podium.training.prepare import form_for
from podium.weights.download import cached, official, without_download
from podium.weights.official import best_source, find_official
from podium.weights.peers import find_peer

RankOn = Literal["val", "test"]
MODELS = ("lenet5", "lenet5_modern", "alexnet", "vgg11_bn", "plain20", "resnet20")
# From 150 M to 4.1 G multiply-adds, in steps of about three; docs/decisions has the reasons.
PRETRAINED = ("mobilenet_v1_050", "mobilenet_v1", "googlenet_tv", "resnet18", "resnet50")

MOST_HEATS = 6


@dataclass(frozen=True)
class Choice:
    """What a person decided about a comparison: how networks start, and how they are ranked.

    Args:
        pretrained: from pretrained weights or from random ones; None: photos from pretrained ones, other data from random ones.
        finetune: how many networks are trained, the ones with the best linear probe; None: all.
        settings: those that hold where networks start from pretrained weights; None: the same as where they do not.
        rank_by: the score that networks are ranked by, one of `ranking.RANKS`.
        within: how many points below the best the recommended network may be, hundredths of the score that ranks.
        learning_curve: whether the recommended network is trained on shares of the images too.
        max_params, max_macs: networks with more parameters, or more multiply-adds of one image, are left out; None: none are.
        rank_on: "val": validation images rank the networks, and test images report; "test": the same images do both.
        jobs: runs that train side by side; None: as many as there are cores, where the networks are small.
        heats: rounds of training, each longer than the one before and of fewer networks; None: all are trained in full at once.
        max_latency, max_size: milliseconds for one image, and bytes of the deployed file, that the recommended network may
            have; None: any.
        tune: names of settings, of which each network gets the values that are best on validation images; None: nothing is tuned.
        trials: trainings of each network that are compared for it; None: `TRIALS`.
        figures: the folder that gets the charts as SVG and PDF; None: none are drawn.
        command: the command line as it was typed, for the report; None: a call from Python.
        words: of the command line; none of a call from Python.
        log_to: what the runs are logged to besides their folders, of `tracking.notes.TRACKERS`.
        cluster: the place of a cluster that trains the runs, as `cluster.refuse_cluster` takes it; None: this machine does.
    """

    pretrained: bool | None = None
    finetune: int | None = None
    settings: Origins | None = None
    rank_by: RankBy = "top1"
    within: float = 100 * WITHIN
    learning_curve: bool = False
    max_params: float | None = None
    max_macs: float | None = None
    rank_on: RankOn = "val"
    jobs: int | None = None
    heats: int | None = None
    max_latency: float | None = None
    max_size: float | None = None
    tune: tuple[str, ...] | None = None
    trials: int | None = None
    figures: Path | None = None
    command: str | None = None
    words: tuple[str, ...] = ()
    log_to: tuple[str, ...] = ()
    cluster: str | None = None

    @property
    def trials_each(self) -> int:
        """Trainings of each network where settings are tuned."""
        return TRIALS if self.trials is None else self.trials

    @property
    def rules(self) -> Rules:
        """How networks are ranked and recommended."""
        limits = Limits(self.max_latency, self.max_size / 1e6 if self.max_size is not None else None)
        return Rules(self.rank_by, self.rank_on, self.within / 100, limits)

    def refuse(self, s: Settings) -> None:
        """Refuse values that are not possible, alone or together with the settings.

        Args:
            s: settings of the comparison.

        Raises:
            UsageError: a number or a score is not possible, or does not go with folds.
        """
        if self.finetune is not None and self.finetune < 1:
            raise UsageError(f"finetune: {self.finetune}", "give at least 1")
        if self.finetune is not None and s.folds is not None:
            what = f"finetune: {self.finetune}, but with folds every image evaluates networks, so none is left to choose which are trained"
            raise UsageError(what, "leave one of the two out, or name fewer networks with -m")
        if self.heats is not None and not 2 <= self.heats <= MOST_HEATS:
            raise UsageError(f"heats: {self.heats}", f"give 2 to {MOST_HEATS}, the last of which is in full")
        if self.heats is not None and s.folds is not None:
            what = f"heats: {self.heats}, but with folds every image evaluates networks, so none is left to choose who goes on"
            raise UsageError(what, "leave one of the two out")
        refuse_tuning(self.tune, self.trials, s, self.heats, self.rank_on)
        if self.rank_by not in RANKS:
            hint = closest(self.rank_by, RANKS) or f"one of {', '.join(RANKS)}"
            raise UsageError(f"rank_by: {self.rank_by!r}", hint)
        if not 0 <= self.within <= 100:
            raise UsageError(f"within: {self.within:g}", "give points from 0 to 100, such as 1")
        if self.rank_on not in get_args(RankOn):
            raise UsageError(
                f"rank_on: {self.rank_on!r}", closest(self.rank_on, get_args(RankOn)) or "give val or test"
            )
        if self.rank_on == "test" and s.folds is not None:
            what = "rank_on: test, but with folds every image tests once, and the pooled answers rank"
            raise UsageError(what, "leave one of the two out")
        if self.learning_curve and s.folds is not None:
            what = "learning_curve: it begins with runs on all training images, which folds do not have"
            raise UsageError(what, "leave one of the two out")


@dataclass(frozen=True)
class Candidate:
    """A network of a comparison.

    Args:
        model: its name.
        source: LIBRARY:NAME, LIBRARY:NAME=FILE, a run or a bundle that it starts from; None: random weights.
        named: whether a person named it by its source.
        matched: whether a pattern or a family gave it, so that it is left out where it does not suit the data.
    """

    model: str
    source: str | None = None
    named: bool = False
    matched: bool = False

    @property
    def name(self) -> str:
        """What its folders are called, before the seed: by the source where that was named, so that a network may start twice."""
        if not self.named or self.source is None:
            return self.model
        return self.source.partition("=")[0].replace(":", "-").replace("/", "-")

    @property
    def downloaded(self) -> bool:
        """Whether its weights are an official file in the cache, not a path that a person gave."""
        return self.source is not None and ":" in self.source and "=" not in self.source and not is_path(self.source)


def is_path(source: str) -> bool:
    """Whether a source is a file or a folder that is there, such as a run."""
    return source != "" and Path(source).exists()


def candidates_of(names: Sequence[str], weights: str | None = None) -> list[Candidate]:
    """Return the networks that were named, each with the source that was named for it.

    Args:
        names: of networks, patterns such as "resnet*", families such as "ResNet", or LIBRARY:NAME[=FILE].
        weights: a source for each network, separated by commas.

    Raises:
        UsageError: a name is unknown, two have the same name, or there is another number of weights than of networks.
    """
    found: dict[Candidate, bool] = {}  # whether it is in the list for a pattern or a family only
    for name in names:
        if ":" in name:
            found[Candidate(find_peer(name.partition("=")[0]).model, name, named=True)] = False
        elif (models := matching(name)) is not None:
            found |= {Candidate(model): found.get(Candidate(model), True) for model in models}
        else:
            found[Candidate(architecture(name).name)] = False
    candidates = [dataclasses.replace(candidate, matched=matched) for candidate, matched in found.items()]
    if weights is not None:
        sources = [source.strip() for source in weights.split(",")]
        if len(sources) != len(candidates) or any(candidate.named or candidate.matched for candidate in candidates):
            networks = (
                f"{len(candidates)} network{'s' * (len(candidates) != 1)}"
                if candidates
                else "networks that are not named"
            )
            what = f"weights: {len(sources)} given for {networks}"
            one_each = "give one for each network, in their order: -m resnet18,resnet50 --weights A,B"
            raise UsageError(what, f"{one_each}; or name sources with -m: -m torchvision:resnet18,resnet50")
        candidates = [dataclasses.replace(c, source=s) for c, s in zip(candidates, sources, strict=True)]
    seen: dict[str, Candidate] = {}
    for candidate in candidates:
        if (other := seen.setdefault(candidate.name, candidate)) is not candidate:
            what = f"models: {other.source} and {candidate.source} would share one folder, {candidate.name}"
            raise UsageError(what, "compare them in two comparisons")
    return candidates


def start_pretrained(models: Sequence[str], s: Settings, data: Dataset) -> bool:
    """Return whether networks start from pretrained weights where a person has not decided it.

    They do on photos, which have no fixed small size; unless no network that was named has official weights, or the settings
    have what those cannot: a teacher's pixels, or a small form.

    Args:
        models: the networks that were named; none: the default ones.
        s: of the comparison.
        data: its images.
    """
    if s.teacher is not None or s.small or stored_size(data, SMALL_UP_TO) is not None:
        return False
    return not models or any(best_source(model) is not None for model in models)


def spec_of(candidate: Candidate, s: Settings, data: Dataset) -> dict[str, Any] | None:
    """Return the spec that a candidate will have, as far as its name tells it; None for a run or a bundle, which has its own.

    Args:
        candidate: a network and its source.
        s: of the comparison.
        data: its images.
    """
    known = architecture(candidate.model)
    spec: dict[str, Any] = {"model": candidate.model, "num_classes": len(data.classes), "in_chans": data.channels}
    if candidate.source is None:
        size, small = form_for(s.replace(model=candidate.model), data)
        return {**spec, "image_size": size, "small": small and known.small_min_size is not None}
    if is_path(candidate.source):
        return None
    spec |= {"image_size": known.input_size, "small": False, **find_peer(candidate.source.partition("=")[0]).arguments}
    return {**spec, "image_size": s.image_size or spec["image_size"]}


def with_sources(candidates: Sequence[Candidate], recorded: Mapping[str, str]) -> list[Candidate]:
    """Return the networks, those whose source was not named with the one on record, or else the best-known official weights.

    Args:
        candidates: the networks.
        recorded: name of a candidate -> the source that the comparison has on record.

    Raises:
        UsageError: no official weights are known of some.
    """
    candidates = [
        c if c.source is not None else dataclasses.replace(c, source=recorded.get(c.name)) for c in candidates
    ]
    without = [c.model for c in candidates if c.source is None and best_source(c.model) is None]
    if without:
        what = f"no official weights are known of {', '.join(without)}"
        fix = f"leave {'them' if len(without) > 1 else 'it'} out, give LIBRARY:NAME=FILE, or train from random weights: --scratch"
        raise UsageError(what, fix)
    sourced = [c if c.source is not None else dataclasses.replace(c, source=best_source(c.model)) for c in candidates]
    return list({(c.model, c.source): c for c in reversed(sourced)}.values())[::-1]  # of the same twice the first


def fetch(
    candidates: Sequence[Candidate], progress: Callable[[Candidate, int, int | None], None] | None = None
) -> None:
    """Download the official weights that are not in the cache yet, and refuse files that are not there.

    Args:
        candidates: networks with their sources.
        progress: called as bytes arrive, with (candidate, bytes so far, bytes in all, where that is known).

    Raises:
        UsageError: a file, run or bundle that was named is not there.
        MachineError: one cannot be downloaded; names the file, its address, where to put it, and what else can be done.
    """
    for candidate in candidates:
        place = str(candidate.source)
        if not (candidate.downloaded or is_path(place) or is_path(place.partition("=")[2])):
            what = f"{candidate.model}: {place.partition('=')[2] or place}: no such file"
            raise UsageError(what, "give LIBRARY:NAME, LIBRARY:NAME=FILE, or with --weights a run or bundle")
    wanted = [candidate for candidate in candidates if candidate.downloaded]
    for number, candidate in enumerate(wanted):
        try:
            official(str(candidate.source), partial(progress, candidate) if progress is not None else None)
        except MachineError as error:
            record, *others = (find_official(str(other.source)) for other in wanted[number:])
            missing = [other for other in others if other is not None and cached(other) is None]
            also = f"; missing too: {', '.join(other.peer for other in missing)}" if missing else ""
            fix = str(error.fix)
            if record is not None and fix == without_download([record]):
                fix = without_download([record, *missing])
            raise MachineError(f"{error.what}{also}", f"{fix}; or train from random weights, by --scratch") from None
