"""What the next trial of a network tries: points spread evenly, then those of Optuna's TPE [Bergstra et al. 2011].

The first points fill the space evenly around the recipe's, which a random draw of so few would not [Bousquet et al. 2017,
arXiv:1706.03200]. The Tree-structured Parzen Estimator suggests the others.

No Optuna study is kept. It is made anew for each trial from the trials before it, with a sampler whose seed is the number of the
trial. So the next point is a function of the trials on disk, and tuning that was killed anywhere goes on with the same trials.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence

from podium.comparison.tunable import TUNABLE
from podium.comparison.tuned import Trial
from podium.errors import EXTRAS, MachineError

SPREAD = 6  # trials, the first with the values of the recipe among them, before TPE models what is good


def check_optuna() -> None:
    """Check that Optuna is installed.

    Raises:
        MachineError: it is not.
    """
    if importlib.util.find_spec("optuna") is None:
        what = "optuna is not installed, which tuning needs"
        raise MachineError(what, f'pip install "podium[{EXTRAS["optuna"]}]"')


def suggest(centre: Mapping[str, float], trials: Sequence[Trial]) -> dict[str, float]:
    """Return the settings of the next trial.

    Args:
        centre: name of each setting that is tuned -> its value without tuning.
        trials: all before it. One that failed counts as worse than all others.
    """
    spans = {name: TUNABLE[name].around(value) for name, value in centre.items()}
    drawn = _modelled(spans, trials) if len(trials) >= SPREAD else _spread(spans, len(trials))
    return {name: TUNABLE[name].value(drawn[name], value or TUNABLE[name].zero) for name, value in centre.items()}


def _spread(spans: Mapping[str, tuple[float, float]], number: int) -> dict[str, float]:
    """A point of an additive recurrence that fills the space evenly from its middle on [Roberts 2018, the R sequence].

    Args:
        spans: name of each setting -> the lowest and the highest value.
        number: of the point; 0 is the middle.
    """
    ratio = 1.0  # the root of x^(d+1) = x + 1, the golden ratio for one setting
    for _ in range(50):
        ratio = (1 + ratio) ** (1 / (len(spans) + 1))
    found = {}
    for axis, (name, (low, high)) in enumerate(spans.items(), 1):
        place = (0.5 + number * ratio**-axis) % 1
        found[name] = low * (high / low) ** place if TUNABLE[name].log else low + (high - low) * place
    return found


def _modelled(spans: Mapping[str, tuple[float, float]], trials: Sequence[Trial]) -> dict[str, float]:
    """The point that TPE suggests.

    Args:
        spans: name of each setting -> the lowest and the highest value.
        trials: all before it.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    axes: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(low, high, log=TUNABLE[name].log)
        for name, (low, high) in spans.items()
    }
    sampler = optuna.samplers.TPESampler(seed=len(trials), n_startup_trials=SPREAD)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    state = optuna.trial.TrialState
    for trial in trials:
        # A weight decay of 0 has no place on a logarithmic scale: it counts as the lowest value.
        at = {name: min(max(trial.settings[name], low), high) for name, (low, high) in spans.items()}
        ended = state.PRUNED if trial.value is None else state.COMPLETE
        told = optuna.trial.create_trial(state=ended, value=trial.value, params=at, distributions=axes)
        study.add_trial(told)
    return study.ask(axes).params
