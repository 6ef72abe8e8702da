"""What the networks of a comparison started from, as its folder has it on record, and how well linear probes of that did."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from podium.comparison.candidates import Candidate, is_path
from podium.comparison.rows import LinearProbeOnly
from podium.data.dataset import Dataset
from podium.errors import ModelFileError, UsageError
from podium.files import PIN, write_json
from podium.settings import Settings
from podium.training.images import inherited
from podium.training.transfer.linear_probe import LinearProbe, linear_probe_of
from podium.training.transfer.source import adapted, origin_of, read_source, same_source

STARTS = "starts.json"  # in a comparison's folder


@dataclass(frozen=True)
class Start:
    """What one network started from.

    Args:
        source: of its weights, with the SHA-256 of the file.
        start: the same for people.
        linear_probe: what the linear probe found; None where there was none.
    """

    source: str
    start: str
    linear_probe: LinearProbe | None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            KeyError, TypeError: a value is missing, or of another kind.
        """
        found = values["linear_probe"]
        linear_probe = LinearProbe.read(found) if found is not None else None
        return cls(str(values["source"]), str(values["start"]), linear_probe)

    def to_dict(self) -> dict[str, Any]:
        """The values by name, for a JSON file."""
        return dataclasses.asdict(self)


@dataclass
class Starts:
    """What the networks of a comparison started from, as its folder has it on record.

    Args:
        path: of the file.
        entries: name of a candidate -> what it started from.
    """

    path: Path
    entries: dict[str, Start]

    @classmethod
    def read(cls, folder: Path) -> Starts:
        """Read the record of a comparison; an empty one where it has none.

        Raises:
            ModelFileError: it is damaged.
        """
        path = folder / STARTS
        if not path.is_file():
            return cls(path, {})
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, {str(name): Start.read(entry) for name, entry in entries.items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"{path}: damaged ({type(error).__name__}: {error})"
            raise ModelFileError(what, "delete it: the linear probes are then computed again") from None

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def source(self, name: str) -> str:
        """The source of a candidate, with the SHA-256 of its file."""
        return self.entries[name].source

    @property
    def sources(self) -> dict[str, str]:
        """The source of each candidate as a person would name it: without its digest, and of a library's without the file."""
        return {name: _as_named(self.source(name)) for name in self.entries}

    def label(self, name: str) -> str:
        """What a candidate started from, for people."""
        return self.entries[name].start

    def is_there(self, name: str) -> bool:
        """Whether the file, run or bundle that a candidate started from is where it was."""
        where = self.source(name).partition(PIN)[0]
        return is_path(where) or is_path(where.partition("=")[2])

    def linear_probe(self, name: str) -> LinearProbe | None:
        """What the linear probe of a candidate found; None where there was none."""
        return self.entries[name].linear_probe if name in self else None

    def enter(
        self, candidate: Candidate, s: Settings, data: Dataset, measured: bool, progress: Callable[[int, int], None]
    ) -> str | None:
        """Put on record what a candidate starts from, with its linear probe.

        Weights that have learned from some of the images get no linear probe: their features know the classes of these.

        Args:
            candidate: which has a source.
            s: of the comparison.
            data: its images in their roles.
            measured: whether a linear probe is made.
            progress: called with (images done, images in all).

        Returns:
            Why it has no linear probe, where it should have one.

        Raises:
            PodiumError: its weights cannot be read or do not fit the images.
        """
        source, own = read_source(str(candidate.source)), s.replace(model=candidate.model, weights=candidate.source)
        net, pixels = adapted(source, own, data)
        record = inherited(own, data) if measured else None
        known = 0 if record is None else int(record.learned_from(data.splits["train"]).sum())
        pixels = dataclasses.replace(pixels, image_size=net.spec["image_size"], resize=data.resize)
        found = linear_probe_of(net, pixels, data, s, progress) if measured and not known else None
        self.entries[candidate.name] = Start(source.pinned, origin_of(source), found)
        write_json(self.path, {name: entry.to_dict() for name, entry in self.entries.items()})
        return (
            f"{candidate.name}: no linear probe: its weights have learned from {known:,} of these images"
            if known
            else None
        )

    def untrained(self, candidate: Candidate) -> LinearProbeOnly:
        """The row of a candidate that is not trained."""
        found = self.linear_probe(candidate.name)
        top1, images = (found.top1, found.images) if found is not None else (None, 0)
        return LinearProbeOnly(candidate.model, self.label(candidate.name), top1, images)

    def refuse_others(self, candidates: Sequence[Candidate]) -> None:
        """Refuse candidates that start from other weights than those on record.

        Raises:
            UsageError: names the first.
        """
        again = "give the same to go on with it, or name another folder with -o"
        for candidate in candidates:
            if candidate.name not in self:
                continue
            if candidate.source is None or not same_source(candidate.source, self.source(candidate.name)):
                was, now = self.source(candidate.name).partition(PIN)[0], candidate.source or "random weights"
                raise UsageError(f"{self.path.parent}: {candidate.name} started from {was}, not from {now}", again)

    def best_first(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return candidates in the order of their linear probes, the best first; those without one stay last."""

        def rank(candidate: Candidate) -> tuple[bool, float, float]:
            found = self.linear_probe(candidate.name)
            return (True, 0.0, 0.0) if found is None else (False, -found.top1, found.loss)

        return sorted(candidates, key=rank)


def _as_named(recorded: str) -> str:
    """A source on record without its digest, and where it is a library's without the file."""
    where = recorded.partition(PIN)[0]
    return where if is_path(where) else where.partition("=")[0]
