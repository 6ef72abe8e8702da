"""The verdict in words: which network wins, how certain that is, and what the claim covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podium.comparison.ranking import SCORES
from podium.comparison.sizes import different_sizes
from podium.runs.folder import SPEED

if TYPE_CHECKING:
    from podium.comparison.leaderboard import Leaderboard
    from podium.comparison.rows import Row


def verdict(board: Leaderboard) -> str:
    """Who wins, how certain that is, and which network is as good within the noise but faster."""
    if not board.networks:
        return "No network finished."
    winner = board.networks[0] if board.networks[0].learned else None
    sentences = _nothing_learned(board) if winner is None else _won(board, winner)
    if different := different_sizes({row.model: row.image_size for row in board.networks}):
        sentences += [different, board.one_size]
    sentences += _busy(board)
    if board.curve is not None:
        sentences.append(board.curve.sentence())
    if board.untrained:
        sentences.append(f"Not trained, so not in this verdict: {', '.join(row.model for row in board.untrained)}.")
    return " ".join(sentence for sentence in sentences if sentence)


def _won(board: Leaderboard, best: Row) -> list[str]:
    does = "wins with" if len(board.networks) + len(board.failed) > 1 else "reaches"
    text = [f"{best.model} {does} {_scored(board, best)}."]
    others = board.networks[1:]
    text += _cross_validated(board)
    if len(board.networks) > 1 and not board.over_seeds and board.folds is None:
        text.append(
            "With one seed each that is said of these trained networks, not of what other seeds would give (--seeds 3 tells)."
        )
    equal = [row for row in others if row.behind <= row.behind_95]
    if equal:
        named = ", ".join(f"{row.model} ({apart(row)} behind)" for row in equal)
        more = "seeds or images" if board.over_seeds else "images"
        text.append(f"Within the noise of that: {named}; more {more} would tell them apart.")
        text += _faster(equal, best)
    elif others:
        text.append(
            f"The next, {others[0].model}, has {_value(others[0])}: clearly {_worse(board)}, by {apart(others[0])}."
        )
    if blind := [row.model for row in board.networks if not row.learned]:
        text.append(f"Not learned: {', '.join(blind)}; {_guessing(board)}. Train longer, or with a lower lr.")
    return text


def _cross_validated(board: Leaderboard) -> list[str]:
    """What the accuracies of a cross-validation are, and what they are not."""
    if board.folds is None:
        return []
    text = [
        f"Cross-validated in {board.folds} folds: each image is classified once, by a network that was not trained on it."
    ]
    if len(board.networks) > 1:
        text.append(
            "These accuracies choose the network, so the highest is not its test accuracy and may be a little high."
        )
    return text


def _faster(equal: list[Row], best: Row) -> list[str]:
    """The fastest of the networks that are as good as the best, where it is at least a tenth faster."""
    timed = [(latency, row.model) for row in equal if row.learned and (latency := row.latency_p50_ms)]
    if not timed or not best.latency_p50_ms:
        return []
    latency, model = min(timed, key=lambda pair: pair[0])
    ratio = best.latency_p50_ms / latency
    return [f"{model} answers {ratio:.1f}x faster."] if latency < best.latency_p50_ms / 1.1 else []


def _busy(board: Leaderboard) -> list[str]:
    """Whose speed was measured while other programs had the processors, and how to measure it again."""
    busy = [row for row in board.networks if row.busy]
    if not busy:
        return []
    most = max(row.waited or 0.0 for row in busy)
    what = f"Measured on a busy machine, so slower than on a quiet one: {', '.join(row.model for row in busy)}"
    again = f"delete {SPEED} in their folders, and run the same comparison again on a quiet machine"
    return [f"{what} (up to {100 * most:.0f} % of the time they waited for a processor). To measure again: {again}."]


def _nothing_learned(board: Leaderboard) -> list[str]:
    best = board.networks[0]
    which = f"the highest, {best.model}, has" if len(board.networks) > 1 else f"{best.model} has"
    text = [f"Nothing has clearly learned: {which} {_scored(board, best)}, {_guessing(board)}."]
    if not board.enough:
        return [*text, f"{board.n:,} images are too few to show more: even all of them right would not."]
    if board.over_seeds and board.some_run_learned:
        return [*text, "The seeds differ too much to tell: more of them (--seeds), or longer training, would."]
    return [*text, "Train longer, or with a lower lr, or look whether the classes are what they are called."]


def _value(row: Row) -> str:
    return f"{100 * row.top1:.2f} %" if row.score is None else f"{row.score:.3f}"


def _worse(board: Leaderboard) -> str:
    return "more" if board.rank_by == "log-loss" else "less"


def _scored(board: Leaderboard, row: Row) -> str:
    low, high = 100 * row.top1_low, 100 * row.top1_high
    images = f"{board.n:,} {board.split} images"
    images += f" of {board.groups:,} groups" if board.groups is not None else ""
    if row.score is not None:
        name = SCORES[board.rank_by].name
        interval = f"95 % interval {row.score_low:.3f}-{row.score_high:.3f}, over the images alone, {images}"
        return f"{name} {row.score:.3f} ({interval}; top-1 {100 * row.top1:.2f} %)"
    how = f"{row.seeds} seeds and {images}" if row.seeds > 1 else images
    return f"{100 * row.top1:.2f} % top-1 (95 % interval {low:.2f}-{high:.2f} %, from {how})"


def _guessing(board: Leaderboard) -> str:
    if board.rank_by != "top1":
        return "not clearly better than answering without looking at an image"
    return f"not clearly better than the most frequent class every time ({100 * board.guess:.1f} %)"


def apart(row: Row) -> str:
    """How far a network is behind the best, for people."""
    if row.score is not None:
        return f"{row.behind:.3f} ± {row.behind_95:.3f}"
    return f"{100 * row.behind:.2f} ± {100 * row.behind_95:.2f} points"
