"""What a claim is: statements of a paper, the arms of an experiment that decides them, and what is measured without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from podium.data.dataset import Dataset
from podium.errors import UsageError
from podium.experiments.verdict import Evidence, Finding
from podium.models.convnet import ConvNet

Scale = Literal["small", "paper"]
SCALES: tuple[Scale, ...] = ("small", "paper")
SEEDS = 3  # the fewest that have an error bar worth the name


@dataclass(frozen=True)
class Arm:
    """One of the networks that an experiment compares.

    Args:
        name: of the arm, as statements and results have it.
        model: the arguments of `create_model`, its name under "model".
        settings: of its training, where they differ from those of the protocol.
        rates: learning rates of which validation images choose; those of the protocol if there are none.
        parent: the arm whose trained network, of the same seed, `change` makes this arm's network from; "" where it is built.
        change: from the parent's network, the data and the seed to the network that is trained.
        recipe: named settings beneath, where they are not those of the protocol.
    """

    name: str
    model: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    rates: tuple[float, ...] = ()
    parent: str = ""
    change: Callable[[ConvNet, Dataset, int], ConvNet] | None = None
    recipe: str | None = None


@dataclass(frozen=True)
class Protocol:
    """How the arms of an experiment are trained.

    Args:
        name: of the folder of its runs; two claims with the same protocol share them.
        data: the name of a data set: "mnist", "fashion-mnist", "cifar10", "cifar100" or "imagenet".
        arms: what is compared, parents before the arms that come from them.
        settings: of every training, over those of `recipe`.
        rates: learning rates, each of which the first seed of every arm tries; the best on validation images is the arm's.
        recipe: named settings beneath.
        train, val, test: images of each split; None: all there are.
        side: what images are made smaller to beforehand, in pixels; None leaves them.
        crop_pct: the share of an image's side that the single crop sees.
        seeds: runs of each arm.
    """

    name: str
    data: str
    arms: tuple[Arm, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    rates: tuple[float, ...] = ()
    recipe: str | None = None
    train: int | None = None
    val: int = 1000
    test: int | None = None
    side: int | None = None
    crop_pct: float = 1.0
    seeds: int = SEEDS

    def rates_of(self, arm: Arm) -> tuple[float | None, ...]:
        """The learning rates that an arm tries; None stands for the recipe's own."""
        return arm.rates or self.rates or (None,)


@dataclass(frozen=True)
class Statement:
    """One sentence that is true or false, and how it is decided.

    Args:
        text: the sentence.
        reads: the answers and measured numbers that decide it, as `Evidence` names them.
        decide: from the evidence to the finding.
        source: where it is said, if not where the claim is from.
    """

    text: str
    reads: tuple[str, ...]
    decide: Callable[[Evidence], Finding]
    source: str = ""


@dataclass(frozen=True)
class Claim:
    """What a paper or article says, as an experiment.

    Args:
        name: of one word or two, for the command line.
        title: a sentence.
        source: paper and section, table or article.
        statements: what is decided.
        small: the protocol for minutes on two cores; None where nothing is trained.
        paper: the source's own protocol, or the nearest to it.
        measure: measures what takes no training, by name: a number, or [value, low, high, rounds] of what is timed.
        note: what the small scale cannot show, or another remark on the result.
    """

    name: str
    title: str
    source: str
    statements: tuple[Statement, ...]
    small: Protocol | None = None
    paper: Protocol | None = None
    measure: Callable[[], dict[str, Any]] | None = None
    note: str = ""

    def protocol(self, scale: Scale) -> Protocol | None:
        """The protocol of a scale; None where nothing is trained."""
        if scale not in SCALES:
            raise UsageError(f"scale: {scale!r}", "give small or paper")
        return self.small if scale == "small" else self.paper

    def views(self, arm: str) -> list[str]:
        """How the networks of an arm are evaluated: "test", "train", "10" crops or "dense"."""
        named = [read.partition("@") for statement in self.statements for read in statement.reads]
        return list(dict.fromkeys(["test", *(view for name, _, view in named if name == arm and view)]))
