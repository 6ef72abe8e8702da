"""How much the highest score of several flatters, where the same images rank the networks and report the score.

The networks are drawn anew by a bootstrap of the images: the highest on the images drawn is scored on those that were not.
The mean of that is what a network chosen so has on new images [BBC-CV; Tsamardinos, Greasidou and Borboudakis 2018].
"""

from __future__ import annotations

import numpy as np

from podium.comparison.resampling import resamples
from podium.comparison.statistics import Answers

RESAMPLES = 1000


def optimism(answers: Answers) -> float:
    """Estimate how far the highest score is above what the network has on new images; 0 of a single network.

    Args:
        answers: of the networks, on the images that rank them and report.
    """
    if len(answers.scores) < 2 or answers.units < 2:
        return 0.0
    found = []
    for drawn in resamples(answers.n, RESAMPLES, np.random.default_rng(0), answers.groups):
        out = (drawn == 0).astype(np.float32)
        left = out.sum(1)
        chosen = (answers.scores @ drawn.T / drawn.sum(1)).argmax(0)
        scores = (answers.scores @ out.T) / np.maximum(left, 1)
        found.append(scores[chosen, np.arange(len(chosen))][left > 0])
    return max(0.0, float(answers.scores.mean(1).max() - np.concatenate(found).mean()))
