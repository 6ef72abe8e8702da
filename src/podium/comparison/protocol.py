"""How a comparison ranks its networks and recommends one: what a person decided, as it is recorded and shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from podium.comparison.candidates import Choice
from podium.comparison.ranking import SCORES, RankBy, RankOn
from podium.comparison.recommend import WITHIN, Limits
from podium.evaluation.cost import short
from podium.files import write_json

PROTOCOL = "protocol.json"


@dataclass(frozen=True)
class Protocol:
    """What a person decided about a ranking. Another protocol ranks the same runs anew; the one on record is that of the last.

    Args:
        rank_by, rank_on, within, max_params, max_macs, finetune, heats: as of `candidates.Choice`.
        max_latency_ms, max_size_bytes: limits of the recommended network; None: any.
        seeds, folds: runs of each network; None: no folds.
    """

    rank_by: RankBy
    rank_on: RankOn
    within: float
    max_latency_ms: float | None
    max_size_bytes: float | None
    max_params: float | None
    max_macs: float | None
    finetune: int | None
    heats: int | None
    seeds: int
    folds: int | None

    @classmethod
    def of(cls, choice: Choice, seeds: int, folds: int | None) -> Protocol:
        """The protocol of a comparison."""
        return cls(
            rank_by=choice.rank_by,
            rank_on=choice.rank_on,
            within=choice.within,
            max_latency_ms=choice.max_latency,
            max_size_bytes=choice.max_size,
            max_params=choice.max_params,
            max_macs=choice.max_macs,
            finetune=choice.finetune,
            heats=choice.heats,
            seeds=seeds,
            folds=folds,
        )

    def to_dict(self) -> dict[str, Any]:
        """The values by name, for JSON."""
        return asdict(self)

    def write(self, out: Path) -> None:
        """Record it in the folder of a comparison."""
        write_json(out / PROTOCOL, self.to_dict())

    def words(self) -> str:
        """What differs from the default, for people; seeds, folds and heats are said with the training. Empty where nothing does."""
        said = []
        if self.rank_by != "top1":
            said.append(f"by {SCORES[self.rank_by].name}")
        if self.rank_on == "test":
            said.append("on the same held-out images that report")
        if self.within != 100 * WITHIN:
            said.append(f"within {self.within:g} point{'s' * (self.within != 1)} of the best")
        if self.max_latency_ms is not None or self.max_size_bytes is not None:
            size = None if self.max_size_bytes is None else self.max_size_bytes / 1e6
            said.append(str(Limits(self.max_latency_ms, size)))
        for most, what in ((self.max_params, "parameters"), (self.max_macs, "multiply-adds")):
            if most is not None:
                said.append(f"networks of at most {short(most)} {what}")
        if self.finetune is not None:
            said.append(f"the best {self.finetune} by linear probe")
        return "; ".join(said)
