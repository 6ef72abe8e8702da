"""The verdict in words: which network to take and why, which are worse, how certain that is, and what the claim covers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from podium.comparison.decide import Outcome
from podium.comparison.ranking import SCORES
from podium.comparison.recommend import Recommendation
from podium.comparison.sizes import different_sizes
from podium.comparison.tuned import tuned_sentence
from podium.runs.folder import ENGINE_SPEED, SPEED

if TYPE_CHECKING:
    from podium.comparison.leaderboard import Leaderboard
    from podium.comparison.rows import Row

NAMED = 6  # networks that a sentence names
SPLITS = {"val": "validation", "test": "test", "cross-validated": "cross-validated"}


def verdict(board: Leaderboard) -> list[str]:
    """Which network to take and why, how sure that is, and its accuracy on images that chose nothing, in sentences."""
    if board.found is None:
        return ["No network finished."]
    sentences = _nothing_learned(board, board.found)
    if board.found.taken is not None:
        sentences = _decided(board, board.found, board.found.taken)
    elif any(row.learned for row in board.networks):
        sentences = _none_within(board, board.found)
    if different := different_sizes({row.model: row.image_size for row in board.networks}):
        sentences += [different, board.one_size]
    sentences += _busy(board)
    if board.curve is not None:
        sentences.append(board.curve.sentence())
    sentences += [tuned_sentence(board.tuned), _dropped(board), _short_heats(board), _failed(board)]
    if board.untrained:
        sentences.append(f"Not trained, so not in this verdict: {', '.join(row.model for row in board.untrained)}.")
    return [sentence for sentence in sentences if sentence]


def _decided(board: Leaderboard, found: Outcome, taken: Recommendation) -> list[str]:
    if len(found.rows) + len(board.failed) == 1:
        return [f"{taken.row.model} reaches {_reported(found, taken.row)}.", _cross_validated(board), _above(board)]
    first = found.rows[0]
    score = SCORES[board.rules.by]
    text = [
        f"Take {taken.row.model}: {_reason(board, taken)}.",
        _cross_validated(board),
        _accuracy(board, found, taken.row),
        f"By {score.name} on {_ranked_images(found)}, {first.model} is first with {score.format(first.score)}.",
        _above(board),
    ]
    worse = [row for row in found.rows if row.learned and row.worse]
    equal = [row for row in found.rows[1:] if row.learned and not row.worse]
    if worse:
        text.append(f"Worse than the best, at 95 % for all at once: {_listed(board, worse, 'by {}')}.")
    if equal:
        text.append(f"Not told apart from it: {_listed(board, equal, '{} behind')}.")
    if unlearned := [row.model for row in found.rows if not row.learned]:
        text.append(
            f"Not learned: {', '.join(unlearned)}; {_guessing(board, found)}. Train longer, or with a lower lr."
        )
    if not found.over_seeds:
        of = "these trained networks" if board.folds is None else "training with this seed"
        text.append(f"With one seed each, this is said of {of}, not of what other seeds would give (--seeds 3).")
    return text


def _reason(board: Leaderboard, taken: Recommendation) -> str:
    """Why a network is the one to take."""
    score, row = SCORES[board.rules.by], taken.row
    allowed = score.format_distance(board.rules.within).replace(".00 points", " points")
    allowed = "1 point" if allowed == "1 points" else allowed
    most = score.format_distance(row.behind_at_most)
    if not taken.near:
        best = next(other.model for other in board.networks if other.learned)
        return f"of those within the limits it ranks first; none of them is sure to be within {allowed} of {best}, and this may be up to {most} below it, at 95 %"
    if not taken.best:
        return f"it is the cheapest that is sure to be within {allowed} of the best (at most {most} below it, at 95 %)"
    if len([other for other in board.networks if other.learned]) == 1:
        return "no other network has learned"
    if taken.cheapest:
        unlearned = " that has learned" * any(not other.learned for other in board.networks)
        within = " within the limits" * any(not board.rules.limits.allow(other) for other in board.networks)
        return f"it ranks first, and none{unlearned}{within} is cheaper"
    if taken.nearest is not None and taken.nearest.behind >= board.rules.within:
        return f"it ranks first, and every cheaper network ranks {allowed} or more below it"
    why = f"it ranks first, and no cheaper network is sure to be within {allowed} of the best"
    if taken.cheaper is None:
        return f"{why}; more seeds would show whether {taken.nearest.model if taken.nearest else 'one'} is (--seeds)"
    needed = int(float(f"{taken.cheaper.images_needed or 0:.2g}"))
    return f"{why}; about {needed:,} images to rank on would show it of {taken.cheaper.model}"


def _accuracy(board: Leaderboard, found: Outcome, row: Row) -> str:
    """What accuracy is stated of the network to take, of which runs, and on which images."""
    runs = f"its {row.seeds} seeds have" if row.seeds > 1 else "it has"
    one_of = f"; that is their mean, and {row.run} is the run to take" if row.seeds > 1 else ""
    text = f"On {found.n:,} {SPLITS.get(found.split, found.split)} images"
    if found.ranked_on != found.split:
        return f"{text}, which chose nothing, {runs} {_with_interval(row)}{one_of}."
    text += (
        f", {runs} {_with_interval(row)}{one_of}; these images chose the network too, so this is not its test accuracy"
    )
    text += ": the highest of several looks better than it is, here by"
    score = SCORES[board.rules.by]
    most, none = score.format_distance(found.flatters), score.format_distance(0.0)
    least = score.format_distance(1e-4 if score.unit == 100 else 1e-3)  # that is not written as 0
    return f"{text} less than {least}." if most == none else f"{text} about {most}."


def _cross_validated(board: Leaderboard) -> str:
    """What the accuracies of a cross-validation are."""
    each = "each image is classified once, by a network that was not trained on it"
    return f"Cross-validated in {board.folds} folds: {each}." if board.folds is not None else ""


def _listed(board: Leaderboard, rows: Sequence[Row], form: str) -> str:
    """Networks with how far they are behind, the first ones named."""
    score = SCORES[board.rules.by]
    named = [f"{row.model} ({form.format(score.format_distance(row.behind))})" for row in rows[:NAMED]]
    more = [f"{len(rows) - NAMED} more"] if len(rows) > NAMED else []
    return ", ".join(named + more)


def _reported(found: Outcome, row: Row) -> str:
    how = f"{found.n:,} {SPLITS.get(found.split, found.split)} images"
    how = f"{row.seeds} seeds and {how}" if row.seeds > 1 else how
    return f"{_with_interval(row, f', from {how}')}"


def _with_interval(row: Row, how: str = "") -> str:
    low, high = 100 * row.top1_low, 100 * row.top1_high
    return f"{100 * row.top1:.2f} % top-1 (95 % interval {low:.2f}-{high:.2f} %{how})"


def _ranked_images(found: Outcome) -> str:
    groups = f" of {found.groups:,} group{'s' * (found.groups != 1)}" if found.groups is not None else ""
    return f"{found.ranked_n:,} {SPLITS.get(found.ranked_on, found.ranked_on)} images{groups}"


def _dropped(board: Leaderboard) -> str:
    """Which networks dropped out in heats, and that the verdict is not of them; an empty text where none did."""
    rounds = sorted({row.heat for row in board.dropped})
    names = (", ".join(row.model for row in board.dropped if row.heat == heat) + f" (heat {heat})" for heat in rounds)
    all_of = "All of this is said of the networks that were trained in full"
    return f"{all_of}. Not trained further, which does not mean worse: {'; '.join(names)}." if rounds else ""


def _short_heats(board: Leaderboard) -> str:
    """That networks dropped out before they had seen every training image once."""
    short = {row.heat for row in board.dropped if row.epochs < 1}
    if not short:
        return ""
    return f"Heat {max(short)} was shorter than an epoch, so chance had a large part in who dropped out."


def _failed(board: Leaderboard) -> str:
    """Which networks failed, so that nothing is said of them."""
    names = ", ".join(row.model for row in board.failed)
    return f"Failed, so not in this verdict: {names}; the leaderboard says why." if names else ""


def _busy(board: Leaderboard) -> list[str]:
    """Whose speed was measured while other programs had the processors, and how to measure it again."""
    busy = [row for row in board.networks if row.busy]
    if not busy:
        return []
    most = max(row.occupied or 0.0 for row in busy)
    what = f"Measured on a busy machine, so slower than on a quiet one: {', '.join(row.model for row in busy)}"
    again = f"delete {SPEED} and {ENGINE_SPEED} in their folders, and run the same comparison again on a quiet machine"
    return [f"{what} (other programs took up to {100 * most:.0f} % of the processors). To measure again: {again}."]


def _above(board: Leaderboard) -> str:
    """Which networks are not recommended because they are above the limits."""
    limits = board.rules.limits
    above = [f"{row.model} ({limits.figures(row)})" for row in board.networks if row.learned and not limits.allow(row)]
    named = ", ".join(above[:NAMED]) + (f", {len(above) - NAMED} more" if len(above) > NAMED else "")
    return f"Not recommended, since above the limits, {limits}: {named}." if above else ""


def _none_within(board: Leaderboard, found: Outcome) -> list[str]:
    """That no network is within the limits, and which is the nearest to them."""
    score, limits, first = SCORES[board.rules.by], board.rules.limits, found.rows[0]
    nearest = min((row for row in board.networks if row.learned), key=lambda row: row.of_limits or math.inf)
    return [
        f"No network is within the limits, {limits}, so none is recommended: the nearest, {nearest.model}, has {limits.figures(nearest)}.",
        _cross_validated(board),
        f"By {score.name} on {_ranked_images(found)}, {first.model} is first with {score.format(first.score)}.",
    ]


def _nothing_learned(board: Leaderboard, found: Outcome) -> list[str]:
    best, score = found.rows[0], SCORES[board.rules.by]
    end = "highest" if score.sign > 0 else "lowest"
    which = f"the {end}, {best.model}, has" if len(found.rows) > 1 else f"{best.model} has"
    value = f"{score.format(best.score)} {score.name} on {_ranked_images(found)}"
    text = [f"Nothing has clearly learned: {which} {value}, {_guessing(board, found)}."]
    if not found.enough:
        if found.groups == 1:
            return [*text, "Images of a single group say nothing of others: rank on images of several groups."]
        return [*text, f"{found.ranked_n:,} images are too few to show more: even all of them right would not."]
    if found.over_seeds and found.some_run_learned:
        return [*text, "The seeds differ too much to tell: more of them (--seeds), or longer training, would."]
    return [*text, "Train longer, or with a lower lr, or look whether the classes are what they are called."]


def _guessing(board: Leaderboard, found: Outcome) -> str:
    if board.rules.by != "top1":
        return "not clearly better than answering without looking at an image"
    return f"not clearly better than the most frequent class every time ({100 * found.guess:.1f} %)"
