"""What tuning found for a network: its trials, the best of them, and by how much that choice flatters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.comparison.ranking import SCORES


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: "lr, batch_size and weight_decay"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


@dataclass(frozen=True)
class Own:
    """Settings that one network of a comparison has for itself.

    Args:
        settings: by name; none: those that hold for all.
        by: what decided them, for `settings.yaml`.
    """

    settings: Mapping[str, Any]
    by: str


@dataclass(frozen=True)
class Trial:
    """A training of a network with settings that are tried.

    Args:
        number: from 1; the first has the values that the network has without tuning.
        settings: the value of each setting that is tuned.
        path: of its run folder.
        value: the mean over the validation images of what each adds to the score that ranks, so that more is better; None where
            the run failed.
        likelihood: the mean log-likelihood of their labels, which decides between equal scores.
        error: why the run failed.
    """

    number: int
    settings: dict[str, Any]
    path: Path
    value: float | None = None
    likelihood: float = 0.0
    error: str | None = None

    def words(self) -> str:
        """The settings for people: "lr 0.003, weight_decay 0.01"."""
        return ", ".join(f"{name} {value:g}" for name, value in self.settings.items())

    def score(self, by: str) -> float | None:
        """The score as tables have it: of a loss, less is better. None where the run failed."""
        return None if self.value is None else SCORES[by].sign * self.value

    def shown(self, by: str) -> str:
        """The score for people, or that the run failed."""
        score = self.score(by)
        return "failed" if score is None else SCORES[by].format(score)


@dataclass(frozen=True)
class Tuned:
    """The trials of a network.

    Args:
        names: of the settings that were tuned.
        trials: in their order; one at least has not failed.
        ranked_by, n: the score that chose, and on how many validation images.
        flatters: how far the score of the best trial is above what such a choice has on new images, estimated by choosing again
            on images that are drawn anew; in units of the score.
    """

    names: tuple[str, ...]
    trials: tuple[Trial, ...]
    ranked_by: str
    n: int = 0
    flatters: float = 0.0
    best: Trial = field(init=False)

    def __post_init__(self) -> None:
        finished = [trial for trial in self.trials if trial.value is not None]
        best = max(finished, key=lambda trial: (trial.value, trial.likelihood, -trial.number))
        object.__setattr__(self, "best", best)

    @property
    def flattery(self) -> str:
        """`flatters` for people."""
        return SCORES[self.ranked_by].format_distance(self.flatters)

    @property
    def listed(self) -> str:
        """The names of the settings, for people."""
        return listed(self.names)

    @property
    def heading(self) -> str:
        """The heading of a column of scores."""
        return f"{SCORES[self.ranked_by].name}, validation images"

    @property
    def how(self) -> str:
        """How the settings came about: "best of 20 trials"."""
        return f"best of {len(self.trials)} trials"

    def to_dict(self) -> dict[str, Any]:
        """The values by name, for JSON."""
        return {
            "settings": self.best.settings,
            "best": self.best.number,
            "ranked_by": self.ranked_by,
            "n": self.n,
            "flatters": self.flatters,
            "trials": [
                {
                    "number": t.number,
                    **t.settings,
                    "score": t.score(self.ranked_by),
                    "error": t.error,
                    "run": str(t.path),
                }
                for t in self.trials
            ],
        }


def tuned_sentence(tuned: Mapping[str, Tuned]) -> str:
    """What a verdict says of networks whose settings were tuned on the images that rank them; empty where none was.

    Args:
        tuned: by the name of each network.
    """
    if not tuned:
        return ""
    first = next(iter(tuned.values()))
    least, most = (pick(tuned, key=lambda name: tuned[name].flatters) for pick in (min, max))
    by = tuned[most].flattery
    if len(tuned) > 1:
        by = f"{tuned[least].flattery} ({least}) to {by} ({most})"
    whose = "each network" if len(tuned) > 1 else most
    then = ", which is taken off before networks are ranked" if len(tuned) > 1 else "; test images chose nothing"
    return (
        f"The {listed(first.names)} of {whose}: the {first.how} on {first.n:,} validation images. That choice flatters the "
        f"score there by about {by}{then}."
    )
