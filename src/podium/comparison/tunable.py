"""The settings that tuning searches, as data: how far around the value that a network has, and on which scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from podium.errors import UsageError, closest
from podium.settings import FIELDS, Settings
from podium.training.idle import USES

TRIALS, MOST_TRIALS = 20, 1000  # of each network: where no number is given, and at most
DIGITS = 3  # of a value that is tried, so that a person can read and repeat it


@dataclass(frozen=True)
class Range:
    """Where a setting is searched, around the value that the recipe or a flag gives it.

    Args:
        reach: how far below and above that value: a factor on a logarithmic scale, else a distance.
        log: whether the scale is logarithmic.
        least, most: bounds of the setting itself.
        zero: the value to search around where the setting is 0, which has no place on a logarithmic scale.
        doubled: whether only the value itself, doubled or halved, is tried.
    """

    reach: float
    log: bool = False
    least: float = 0.0
    most: float = math.inf
    zero: float = 0.0
    doubled: bool = False

    def around(self, centre: float) -> tuple[float, float]:
        """The lowest and the highest value to try, of which the value itself may be one, where it is beyond the bounds.

        Args:
            centre: the value that the network has without tuning.
        """
        centre = centre or self.zero
        low, high = (
            (centre / self.reach, centre * self.reach) if self.log else (centre - self.reach, centre + self.reach)
        )
        return min(centre, rounded(max(self.least, low))), max(centre, rounded(min(self.most, high)))

    def value(self, point: float, centre: float) -> float:
        """The value to try for a point between the lowest and the highest."""
        if not self.doubled:
            return rounded(point)
        return max(int(self.least), round(centre * 2.0 ** round(math.log2(point / centre))))


TUNABLE = {
    "lr": Range(10, log=True, most=999, zero=1e-3),
    "weight_decay": Range(10, log=True, zero=5e-4),
    "batch_size": Range(4, log=True, least=2, doubled=True),
    "momentum": Range(0.1, most=0.99),
    "label_smoothing": Range(0.2, most=0.5),
    "layer_decay": Range(0.25, most=1.0),
    "mixup": Range(0.4),
    "cutmix": Range(1.0),
    "erase": Range(0.4, most=0.8),
}
NAMES = f"{', '.join(TUNABLE)} can be tuned"


def rounded(value: float) -> float:
    """A value with as many digits as are tried."""
    return float(f"{value:.{DIGITS}g}")


def tuned_names(given: str | Sequence[str]) -> tuple[str, ...]:
    """Read the names of settings to tune, each once: "lr,weight-decay", or a list of names."""
    names = given.split(",") if isinstance(given, str) else given
    return tuple(dict.fromkeys(str(name).strip().replace("-", "_") for name in names))


def refuse_tuning(
    names: Sequence[str] | None, trials: int | None, s: Settings, heats: int | None, rank_on: str
) -> None:
    """Refuse to tune settings that cannot be tuned, or where no images are left to choose by.

    Args:
        names: of the settings; None: nothing is tuned.
        trials: of each network, where a person gave a number.
        s: of the comparison.
        heats: as `Choice` has it.
        rank_on: as `Choice` has it.

    Raises:
        UsageError: says what does not go, and what does.
    """
    if names is None:
        if trials is not None:
            raise UsageError(f"trials: {trials}, but no setting is tuned", "name some, as in --tune lr,weight_decay")
        return
    for name in names or ("",):
        if name not in TUNABLE:
            what = f"tune: {name!r} cannot be tuned" if name in FIELDS else f"tune: no setting is called {name!r}"
            raise UsageError(what, closest(name, list(TUNABLE)) or NAMES)
    if trials is not None and not 2 <= trials <= MOST_TRIALS:
        what = f"trials: {trials}; the first has the values that the recipe has"
        raise UsageError(what, f"give 2 to {MOST_TRIALS}")
    if s.folds is not None:
        what = f"tune: {', '.join(names)}, but with folds every image evaluates networks, so none is left to choose settings by"
        raise UsageError(what, "leave one of the two out")
    if rank_on == "test":
        what = f"tune: {', '.join(names)}, but with rank_on: test no validation images are left to choose settings by"
        raise UsageError(what, "leave one of the two out")
    if heats is not None:
        what = f"tune: {', '.join(names)}, but heats choose among networks with the settings of their recipe"
        raise UsageError(what, "compare in heats first, and tune the best in a second comparison: -m A,B --tune lr")


def refuse_idle(names: Sequence[str], s: Settings) -> None:
    """Refuse to tune a setting that has no effect in the runs.

    Args:
        names: of the settings to tune.
        s: of the comparison.

    Raises:
        UsageError: names the setting, and why it has none.
    """
    for key, use in USES:
        if key in names and not use.acts(s):
            add = f", or add {use.mend}" if use.mend else ""
            why = use.why.format(**vars(s))
            raise UsageError(f"tune: {key} does nothing here: {why}", f"leave it out of --tune{add}")
